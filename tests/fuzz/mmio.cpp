// Accesses of any size, alignment and value to every device of the machine, and to the registers of GIC and timers.
#include "arch/cpu_model.h"
#include "devices/bus.h"
#include "devices/generic_timer/system_counter.h"
#include "devices/virtio/mmio_transport.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/virtio_host.h"
#include "vmm/cpu.h"
#include "vmm/memory_map.h"

namespace vmm::fuzz {
namespace {

constexpr unsigned kCpus = 3;
constexpr u64 kRamSize = 0x1'0000;
constexpr unsigned kMostActions = 400;
constexpr unsigned kWires = 100;  // of shared interrupts

class Board {
  public:
    Board(GuardedRam& ram, VirtioHost& host) : counter_(clock_) {
        std::vector<devices::GicPe> pes;
        for (unsigned i = 0; i < kCpus; ++i) {
            arch::VcpuConfig pe;
            pe.index = i;
            pe.mpidr = 0x8000'0000 | cpu_affinity(i);
            pe.model = arch::find_cpu_model("neoverse-n1");
            pe.ram = ram.view();
            pe.mmio = &bus_;
            pe.counter = &counter_;
            pe.interconnect = &interconnect_;
            pe.translate_after = 0;
            pe.pmu = true;
            vcpus_.push_back(std::make_unique<arch::Vcpu>(pe));
            pes.push_back({&vcpus_.back()->pins, pe.mpidr});
        }
        gic_ = std::make_unique<devices::GicV3>(pes);
        for (const auto& vcpu : vcpus_) {
            cpus_.push_back(std::make_unique<Cpu>(*vcpu, counter_, *gic_));
        }
        attach(gic_->distributor(), kGicDistributorWindow);
        attach(gic_->redistributors(), gic_redistributor_window(kCpus));
        for (unsigned n = 0; n < kUarts; ++n) {
            uarts_.push_back(std::make_unique<devices::Uart16550>(gic_->spi(kUartIntid + n), sink_));
            attach(*uarts_.back(), uart_window(n));
        }
        rtc_ = std::make_unique<devices::Pl031>(gic_->spi(kRtcIntid), clock_);
        attach(*rtc_, kRtcWindow);
        for (unsigned slot = 0; slot < VirtioHost::kKinds; ++slot) {
            transports_.push_back(std::make_unique<devices::virtio::MmioTransport>(host.make(slot), ram.view(),
                                                                                  gic_->spi(kVirtioIntid + slot)));
            attach(*transports_.back(), virtio_window(slot));
        }
    }

    /// Power-on state.
    void begin() {
        clock_.set_ns(0);
        for (unsigned intid = kUartIntid; intid < kUartIntid + kWires; ++intid) {
            gic_->spi(intid).set(false);
        }
        bus_.reset();
        gic_->reset();
        for (unsigned i = 0; i < kCpus; ++i) {
            for (unsigned intid = 16; intid < 32; ++intid) {
                gic_->ppi(i, intid).set(false);
            }
            cpus_[i]->begin({});
        }
    }

    void act(FuzzInput& in) {
        const u8 what = in.get<u8>();
        switch (what % 16) {
            case 0: register_access(in); break;
            case 1: clock_.advance_ns(u64{1} << in.below(63)); break;
            case 2: input(in); break;
            case 3: cpus_[in.below(kCpus)]->timer.update(); break;
            case 4: reset(in); break;
            case 5: gic_->spi(kUartIntid + in.below(kWires)).set(in.flag()); break;
            case 6: gic_->ppi(in.below(kCpus), 16 + in.below(16)).set(in.flag()); break;
            case 7: access(in.get<u64>(), what, in); break;
            default: {
                const auto& slots = bus_.slots();
                const devices::Window& window = slots[in.below(static_cast<unsigned>(slots.size()))].window;
                const u64 offset = window.size <= 256 ? in.get<u8>() : in.get<u32>();
                access(window.base + offset % window.size, what, in);
                break;
            }
        }
    }

  private:
    void attach(devices::Device& device, devices::Window window) {
        VMM_CHECK(bus_.attach(device, window).has_value());
    }
    void access(u64 pa, u8 what, FuzzInput& in) {
        const unsigned size = 1u << (what >> 4) % 4;
        const unsigned cpu = in.below(kCpus);
        u64 value = 0;
        if ((what & 0x80) != 0) {
            (void)bus_.write(pa, size, in.flag() ? in.get<u64>() : in.get<u8>(), cpu);
        } else if (bus_.read(pa, size, value, cpu)) {
            VMM_CHECK(size == 8 || value >> 8 * size == 0);
        }
    }
    /// ICC_* and CNT*.
    void register_access(FuzzInput& in) {
        arch::Vcpu& v = *vcpus_[in.below(kCpus)];
        const auto gic = devices::GicCpuInterface::rows();
        const auto timer = devices::GenericTimer::rows();
        const unsigned number = in.get<u8>() % static_cast<unsigned>(gic.size() + timer.size());
        const arch::SysregKey key = number < gic.size() ? gic[number].key : timer[number - gic.size()].key;
        const arch::SysregBank::Entry* entry = v.sysregs.find(key);
        if (in.flag()) {
            if (entry->write != nullptr) {
                entry->write(entry->self, v, in.flag() ? in.get<u64>() : u64{in.get<u8>()});
            }
        } else if (entry->read != nullptr) {
            (void)entry->read(entry->self, v);
        }
    }
    void input(FuzzInput& in) {
        const std::span<const u8> bytes = in.chunk(100);
        (void)uarts_[in.below(kUarts)]->push_input(bytes);
    }
    void reset(FuzzInput& in) {
        switch (in.below(8)) {
            case 0: bus_.reset(); break;
            case 1: gic_->reset(); break;
            case 2: gic_->reset_cpu_interface(in.below(kCpus)); break;
            case 3: cpus_[in.below(kCpus)]->begin({}); break;
            default: rtc_->poll(); break;
        }
    }

    ManualClock clock_;
    devices::SystemCounter counter_;
    NullSink sink_;
    devices::Bus bus_;
    arch::Interconnect interconnect_;
    std::vector<std::unique_ptr<arch::Vcpu>> vcpus_;
    std::unique_ptr<devices::GicV3> gic_;
    std::vector<std::unique_ptr<Cpu>> cpus_;
    std::vector<std::unique_ptr<devices::Uart16550>> uarts_;
    std::unique_ptr<devices::Pl031> rtc_;
    std::vector<std::unique_ptr<devices::virtio::MmioTransport>> transports_;
};

}  // namespace
}  // namespace vmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm::fuzz;
    static GuardedRam ram(vmm::kRamBase, kRamSize);
    static VirtioHost host(ram.view());
    static Board& board = *new Board(ram, host);  // threads live as long as the process
    ram.clear();
    board.begin();
    FuzzInput in({data, size});
    for (unsigned n = 0; n < kMostActions && !in.empty(); ++n) {
        board.act(in);
    }
    return 0;
}
