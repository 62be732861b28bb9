// A profiling unit under a guest that writes anything to its registers, its buffer's translation and its memory, while the host
// takes pages away and refuses to pin.
#include <map>
#include <memory>

#include "arch/cpu_model.h"
#include "arch/engine.h"
#include "arch/mmu.h"
#include "mm/host_memory.h"
#include "spe/profiling_unit.h"
#include "tests/fuzz/pe_world.h"
#include "tests/fuzz/target.h"
#include "vmm/base/check.h"

namespace vmm::fuzz {
namespace {

constexpr u64 kPage = 4096;
constexpr u64 kMemory = u64{2} << 20;
constexpr u64 kBuffer = kRam + (u64{1} << 20);
constexpr u64 kBudget = 64 * kPage;
constexpr unsigned kMostActions = 200;

/// Pins nothing, but knows what would be pinned.
class Pins final : public mm::PinBackend {
  public:
    mm::PinKind kind() const override { return mm::PinKind::uring; }
    u64 free_slots() const override { return slots - held_.size(); }
    u64 max_bytes_per_slot() const override { return 16 * kPage; }
    bool nests() const override { return true; }
    void prepare(mm::HostRange) override {}
    tl::expected<u32, int> pin(mm::HostRange range) override {
        VMM_CHECK(range.bytes != 0 && range.bytes <= max_bytes_per_slot());
        if (free_slots() == 0 || refuse) {
            return tl::make_unexpected(refuse ? ENOMEM : ENOSPC);
        }
        held_[++last_] = range;
        bytes_ += range.bytes;
        VMM_CHECK(bytes_ <= kBudget);
        return last_;
    }
    void unpin(u32 token, mm::HostRange range) override {
        const auto found = held_.find(token);
        VMM_CHECK(found != held_.end());
        VMM_CHECK(found->second.address == range.address && found->second.bytes == range.bytes);
        bytes_ -= range.bytes;
        held_.erase(found);
    }
    u64 charged_bytes() const override { return bytes_; }

    static constexpr u64 slots = 24;
    bool refuse = false;

  private:
    std::map<u32, mm::HostRange> held_;
    u64 bytes_ = 0;
    u32 last_ = 0;
};

struct Wire final : arch::IrqLine {
    void set(bool value) override { level = value; }
    bool level = false;
};

std::unique_ptr<mm::HostMemory> make_memory(FuzzInput& in, Pins*& pins) {
    mm::HostMemory::Options options;
    options.size = kMemory;
    options.guest_base = kRam;
    options.huge_pages = false;
    options.pin_policy = in.flag() ? mm::PinPolicy::lazy : mm::PinPolicy::eager;
    options.pin_budget = kBudget;
    options.pins.synchronous = true;
    options.pins.shortage = in.flag() ? mm::ShortagePolicy::inject : mm::ShortagePolicy::degrade;
    options.pins.watch_pressure = false;
    auto backend = std::make_unique<Pins>();
    pins = backend.get();
    mm::PinBackendChain chain;
    chain.backends.push_back(std::move(backend));
    auto made = mm::HostMemory::create(options, std::move(chain));
    VMM_CHECK(made.has_value());
    return *std::move(made);
}

/// nullopt: the architecture does not allow it.
std::optional<spe::ProfilingConfig> make_config(FuzzInput& in) {
    spe::ProfilingConfig config;
    config.pmsver = static_cast<u8>(1 + in.below(5));
    const u16 bits = in.get<u16>();
    spe::FeatureOptions& o = config.features;
    o.ernd = bits & 1;
    o.pbt = bits & 2;
    o.lds = (bits & 4) == 0;
    o.eft = bits & 8;
    o.arch_inst = (bits & 16) == 0;
    o.counter_bits = (bits & 32) != 0 ? 16 : 12;
    o.strict_writes = bits & 64;
    o.collisions = bits & 128;
    o.eager_faults = bits & 256;
    o.higher_owner = (bits & 0xE00) == 0xE00;
    config.model = (bits & 0x1000) != 0 ? spe::ModelKind::detailed : spe::ModelKind::basic;
    config.max_buffer_size = (bits & 0x2000) != 0 ? 8 * kPage : 0;
    const u8 sizes = in.get<u8>();
    if (sizes != 0) {
        o.record_bytes = 64u << (sizes & 7) % 6;
        o.align_bytes = 1u << (sizes >> 3) % 12;
    }
    if (spe::invalid_features(spe::resolve(config.pmsver, o))) {
        return std::nullopt;
    }
    return config;
}

class World {
  public:
    World(FuzzInput& in, const spe::ProfilingConfig& config)
        : memory_(make_memory(in, pins_)), v_(vcpu_config(config.pmsver)), unit_(v_, config, memory_.get()) {
        ports_.cpu = &v_;
        unit_.set_irq(&wire_);
        unit_.attach();
    }
    ~World() { unit_.reset(); }

    /// Power-on state, with a loop of loads, stores and branches and the MMU on.
    void begin() {
        v_.reset(kCode, 0);
        unit_.reset();
        unit_.set_stop(spe::StopMode::none);
        pins_->refuse = false;
        v_.pins.set_irq(false);
        ports_.restart();
        VMM_CHECK(memory_->take({kRam, kMemory}).has_value());  // reads as zero
        prepare();
    }

    void act(FuzzInput& in) {
        switch (in.below(16)) {
            case 0: write(any_row(in), in.get<u64>()); break;
            case 1: write(any_row(in), interesting(in.get<u8>())); break;
            case 2: write("PMBPTR_EL1", place(in)); break;
            case 3: write("PMBLIMITR_EL1", (place(in) & ~u64{0xFFF}) | in.below(64)); break;
            case 4: enable(in); break;
            case 5: run(in.below(1024)); break;
            case 6: run(64 * in.get<u8>()); break;
            case 7: descriptor(in); break;
            case 8: take_pages(in); break;
            case 9: unit_.set_stop(static_cast<spe::StopMode>(in.below(3))); break;
            case 10: begin(); break;
            case 11: pins_->refuse = in.flag(); break;
            case 12: v_.mmu().tlbi(static_cast<arch::TlbiOp>(in.below(4)), static_cast<u16>(in.below(2)), place(in)); break;
            case 13: code(in); break;
            case 14: v_.s.x[in.below(31)] = interesting(in.get<u8>()); break;
            default: write("PMBSR_EL1", 0); break;
        }
        check();
    }

  private:
    arch::VcpuConfig vcpu_config(u8 pmsver) {
        arch::VcpuConfig config;
        config.model = arch::find_cpu_model("neoverse-n1");
        config.ram = memory_->ram();
        config.mmio = &ports_;
        config.firmware = &ports_;
        config.counter = &ports_;
        config.interconnect = &interconnect_;
        config.table_watch = &memory_->table_watch();
        config.translate_after = 2;
        config.pmu = true;
        config.pmsver = pmsver;
        return config;
    }

    void put(u64 pa, auto value) { std::memcpy(memory_->ram().host(pa, sizeof value), &value, sizeof value); }

    void prepare() {
        const auto store = [this](u64 pa, auto value) { put(pa, value); };
        make_vectors(store);
        make_tables(store);
        for (u64 page = 0; page < 256; ++page) {
            put(kTables + 0x2000 + (256 + page) * 8, (kBuffer + page * kPage) | 0x703 | u64{3} << 53);
        }
        constexpr std::array<u32, 8> kLoop{0xF9400041, 0x91000421, 0xF9000041, 0x1E602820,
                                           0x14000001, 0xB5000041, 0xD503201F, 0x17FFFFF9};
        for (std::size_t i = 0; i < kLoop.size(); ++i) {
            put(kCode + 4 * i, kLoop[i]);
        }
        arch::CpuState& s = v_.s;
        s.x[2] = kData;
        s.x[arch::kSp] = kData + 0x800;
        s.vbar_el1 = kVectors;
        s.cpacr_el1 = u64{3} << 20;
        use_tables(s);
        v_.context_changed();
        v_.engine().invalidate_all_code();
    }

    std::size_t any_row(FuzzInput& in) { return in.below(32); }
    void write(std::size_t number, u64 value) {
        const auto rows = unit_.sysreg_rows();
        write(rows[number % rows.size()].key, value);
    }
    void write(std::string_view name, u64 value) {
        for (const arch::SysregRow& row : unit_.sysreg_rows()) {
            if (row.name == name) {
                write(row.key, value);
            }
        }
    }
    /// As MSR does.
    void write(arch::SysregKey key, u64 value) {
        arch::SysregBank::Entry* entry = v_.sysregs.find(key);
        if (entry->access == arch::SysregAccess::ro_el1) {
            return;
        }
        if (entry->write != nullptr) {
            entry->write(entry->self, v_, value);
        } else {
            *entry->storage = (value & entry->writable) | entry->fixed;
        }
    }
    /// In or about the buffer.
    static u64 place(FuzzInput& in) {
        const u16 at = in.get<u16>();
        switch (at >> 13) {
            case 0: return interesting(static_cast<u8>(at));
            case 1: return (u64{0xFFFF'FF80} << 32 | kBuffer) + (at & 0x1FFF) * 64;  // the upper half
            default: return kBuffer + (at & 0x3FFF) * 64;
        }
    }
    void enable(FuzzInput& in) {
        const u64 from = place(in);
        write("PMBPTR_EL1", from);
        write("PMBLIMITR_EL1", align_up(from + (u64{1} + in.below(64)) * kPage, kPage) | 1);
        write("PMSIRR_EL1", u64{in.get<u8>()} << 8 | (in.get<u8>() & 1));
        write("PMSICR_EL1", 0);
        write("PMSCR_EL1", in.get<u8>());
        write("PMSFCR_EL1", in.get<u8>() & 0xF);
    }
    void run(u64 operations) {
        for (unsigned n = 0; n < 16 && operations != 0; ++n) {
            const u64 before = v_.ops_executed();
            v_.run(operations);
            operations -= std::min(operations, v_.ops_executed() - before);
        }
        v_.pins.set_irq(wire_.level);
    }
    void descriptor(FuzzInput& in) {
        const u64 pa = kTables + (in.flag() ? 0x2000 + in.below(512) * 8 : in.below(0x800) * 8);
        const u64 value = in.flag() ? in.get<u64>() : (place(in) & ~u64{0xFFF}) | (in.get<u16>() & 0xFFF);
        if (in.flag()) {
            memory_->table_watch().note_store(pa);
        }
        put(pa, value);
    }
    void take_pages(FuzzInput& in) {
        const mm::GuestRange range{kBuffer + in.below(256) * kPage, (u64{1} + in.below(8)) * kPage};
        if (range.end() <= kRam + kMemory) {
            (void)(in.flag() ? memory_->take(range) : memory_->discard(range));
        }
    }
    void code(FuzzInput& in) {
        put(kCode + 4 * in.below(8), in.get<u32>());
        v_.engine().invalidate_all_code();
    }
    void check() {
        VMM_CHECK(v_.s.x[arch::kZr] == 0);
        const spe::ProfilingStats stats = unit_.stats();
        VMM_CHECK(stats.records + stats.filtered + stats.discarded <= stats.samples);
    }

    Pins* pins_ = nullptr;
    Ports ports_;
    Wire wire_;
    arch::Interconnect interconnect_;
    std::unique_ptr<mm::HostMemory> memory_;
    arch::Vcpu v_;
    spe::ProfilingUnit unit_;
};

constexpr std::size_t kConfigSize = 6;

/// The world with this configuration; nullptr: there is none. They take long to make, so some are kept.
World* world_for(std::span<const u8> bytes) {
    static std::map<std::vector<u8>, std::unique_ptr<World>> worlds;
    const std::vector<u8> key(bytes.begin(), bytes.end());
    const auto found = worlds.find(key);
    if (found != worlds.end()) {
        return found->second.get();
    }
    FuzzInput in(bytes);
    const auto config = make_config(in);
    if (!config) {
        return nullptr;
    }
    if (worlds.size() >= 32) {
        worlds.clear();
    }
    return (worlds[key] = std::make_unique<World>(in, *config)).get();
}

}  // namespace
}  // namespace vmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm::fuzz;
    FuzzInput in({data, size});
    World* world = world_for(in.take(kConfigSize));
    if (world == nullptr) {
        return 0;
    }
    world->begin();
    for (unsigned n = 0; n < kMostActions && !in.empty(); ++n) {
        world->act(in);
    }
    return 0;
}
