// What a debugger's connection may bring: bytes, packets and commands, on two PEs that execute a little in between.
//
// An input is packets, each with a length in front; a length of 0xFF sends the next 255 bytes raw.
#include "arch/cpu_model.h"
#include "arch/engine.h"
#include "devices/generic_timer/system_counter.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/host_files.h"
#include "tests/fuzz/pe_world.h"
#include "tests/fuzz/target.h"
#include "vmm/dump.h"
#include "vmm/gdb/stub.h"
#include "vmm/memory_map.h"

namespace vmm::fuzz {
namespace {

constexpr unsigned kCpus = 2;
constexpr unsigned kMostPackets = 100;

class Board {
  public:
    Board() : ram_(kRam, kRamSize), counter_(clock_) {
        std::vector<devices::GicPe> pes;
        for (unsigned i = 0; i < kCpus; ++i) {
            arch::VcpuConfig pe;
            pe.index = i;
            pe.mpidr = 0x8000'0000 | i;
            pe.model = arch::find_cpu_model("neoverse-n1");
            pe.ram = ram_.view();
            pe.mmio = &ports_;
            pe.firmware = &ports_;
            pe.counter = &counter_;
            pe.interconnect = &interconnect_;
            pe.translate_after = 2;
            pe.pmu = true;
            pe.pmsver = 3;
            vcpus_.push_back(std::make_unique<arch::Vcpu>(pe));
            pes.push_back({&vcpus_.back()->pins, pe.mpidr});
        }
        gic_ = std::make_unique<devices::GicV3>(pes);
        for (const auto& vcpu : vcpus_) {
            cpus_.push_back(std::make_unique<Cpu>(*vcpu, counter_, *gic_));
            cpus_.back()->add_spe({}, kSpeIntid, nullptr);
        }
        auto listener = gdb::Listener::open({(folder_.path() / "socket").string(), 0});
        VMM_CHECK(listener.has_value());
        stub_ = std::make_unique<gdb::Stub>(*std::move(listener), cpus_, true,
                                            gdb::Stub::Hooks{[] {}, [this] { return dump(); }});
    }

    gdb::Target& target() { return *stub_; }

    void begin() {
        target().detach();
        ram_.clear();
        const auto put = [this](u64 pa, auto value) { ram_.put(pa, value); };
        make_vectors(put);
        make_tables(put);
        // ldr x1, [x2]; add x1, x1, #1; str x1, [x2], #8; stp x29, x30, [sp, #-16]!; bl .+4; b .-20
        constexpr std::array<u32, 6> kLoop{0xF9400041, 0x91000421, 0xF8008441, 0xA9BF7BFD, 0x94000001, 0x17FFFFFB};
        for (std::size_t i = 0; i < kLoop.size(); ++i) {
            put(kCode + 4 * i, kLoop[i]);
        }
        for (const auto& cpu : cpus_) {
            cpu->begin({kCode, 0});
            arch::CpuState& s = cpu->vcpu.s;
            s.vbar_el1 = kVectors;
            s.x[2] = kData;
            s.x[arch::kSp] = kData + 0x1000;
            use_tables(s);
            cpu->vcpu.context_changed();
        }
    }

    /// The machine goes on until a debugger wants something, or for a little while.
    gdb::Stop go() {
        for (unsigned round = 0; round < 4; ++round) {
            for (unsigned i = 0; i < kCpus; ++i) {
                arch::Vcpu& v = cpus_[i]->vcpu;
                if (cpus_[i]->held || v.run(64) != arch::RunResult::debug) {
                    continue;
                }
                VMM_CHECK(v.debug_hook() != nullptr && v.debug_hook()->stop().has_value());
                return {gdb::Stop::Kind::breakpoint, i, v.debug_hook()->stop()->watchpoint.va};
            }
        }
        return {gdb::Stop::Kind::interrupted, 0, 0};
    }

  private:
    std::string dump() {
        std::string text;
        for (const auto& cpu : cpus_) {
            text += dump_registers(*cpu) + dump_backtrace(*cpu);
        }
        return text;
    }

    GuardedRam ram_;
    Ports ports_;
    ManualClock clock_;
    devices::SystemCounter counter_;
    arch::Interconnect interconnect_;
    Folder folder_;
    std::vector<std::unique_ptr<arch::Vcpu>> vcpus_;
    std::unique_ptr<devices::GicV3> gic_;
    std::vector<std::unique_ptr<Cpu>> cpus_;
    std::unique_ptr<gdb::Stub> stub_;
};

void handle(Board& board, gdb::Session& session, std::string_view packet) {
    const auto answer = session.handle(packet);
    if (answer) {
        (void)gdb::frame(*answer);
    }
    if (session.running() && !session.over()) {
        (void)session.stopped(board.go());
    }
}

}  // namespace
}  // namespace vmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm::fuzz;
    namespace gdb = vmm::gdb;
    static Board& board = *new Board;  // the server's thread lives as long as the process
    board.begin();
    gdb::Session session(board.target(), {});
    gdb::PacketParser parser;
    std::vector<gdb::Incoming> incoming;
    FuzzInput in({data, size});
    for (unsigned n = 0; n < kMostPackets && !in.empty() && !session.over(); ++n) {
        const vmm::u8 length = in.get<vmm::u8>();
        const std::string_view content = text_of(in.take(length));
        if (length != 0xFF) {
            handle(board, session, content);
            continue;
        }
        incoming.clear();
        parser.feed({reinterpret_cast<const vmm::u8*>(content.data()), content.size()}, incoming);
        for (const gdb::Incoming& each : incoming) {
            if (each.kind == gdb::Incoming::Kind::packet && !session.over()) {
                // What was framed comes out again.
                const std::string framed = gdb::frame(each.content);
                std::vector<gdb::Incoming> again;
                gdb::PacketParser().feed({reinterpret_cast<const vmm::u8*>(framed.data()), framed.size()}, again);
                VMM_CHECK(again.size() == 1 && again[0] == each);
                handle(board, session, each.content);
            }
        }
    }
    return 0;
}
