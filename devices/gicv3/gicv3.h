// Generic Interrupt Controller version 3 (IHI 0069): distributor, redistributors and CPU interfaces.
//
// One security state (GICD_CTLR.DS = 1), affinity routing always on, system registers only, no LPIs, no 1-of-N routing.
// Priorities have 5 bits. Group 1 interrupts drive the PE's IRQ input. The PEs have no FIQ input: group 0 interrupts
// can be acknowledged but are not signalled.
//
// One mutex guards everything; no device is called with it held, only Pins::set_irq().
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "arch/pins.h"
#include "arch/sysreg.h"
#include "devices/device.h"
#include "devices/gicv3/irq_word.h"

namespace vmm::devices {

class GicV3;

/// What the GIC needs to know of a PE. `pins` outlives the GIC.
struct GicPe {
    arch::Pins* pins = nullptr;
    u64 mpidr = 0;  // MPIDR_EL1; only the affinity fields count
};

/// The CPU interface of one PE: the ICC_* registers.
class GicCpuInterface {
  public:
    /// Registers of one vCPU; serve them with the address of its GicCpuInterface.
    static std::span<const arch::SysregRow> rows();

    /// `group` is 0 or 1: ICC_IAR<group>_EL1 and so on.
    u32 acknowledge(unsigned group);
    u32 highest_pending(unsigned group) const;
    void end_of_interrupt(unsigned group, u64 value);
    void deactivate(u64 value);
    u64 running_priority() const;
    u64 priority_mask() const;
    void set_priority_mask(u64 value);
    u64 binary_point(unsigned group) const;
    void set_binary_point(unsigned group, u64 value);
    u64 control() const;
    void set_control(u64 value);
    u64 group_enable(unsigned group) const;
    void set_group_enable(unsigned group, u64 value);
    u64 active_priorities(unsigned group) const;
    void set_active_priorities(unsigned group, u64 value);
    /// ICC_SGI1R_EL1 (any_group) and ICC_SGI0R_EL1, ICC_ASGI1R_EL1 (only SGIs in group 0).
    void send_sgi(u64 value, bool any_group);

  private:
    friend class GicV3;
    GicCpuInterface(GicV3& gic, unsigned cpu) : gic_(gic), cpu_(cpu) {}

    GicV3& gic_;
    const unsigned cpu_;
};

class GicV3 {
  public:
    static constexpr u64 kDistributorSize = 0x1'0000;
    static constexpr u64 kRedistributorSize = 0x2'0000;  // of one PE
    static constexpr const char* kCompatible = "arm,gic-v3";
    static constexpr unsigned kFirstPpi = 16;
    static constexpr unsigned kFirstSpi = 32;
    static constexpr unsigned kMaxSpis = 160;
    static constexpr unsigned kMaxPes = 64;

    /// `spis`: number of shared interrupts, rounded up to a multiple of 32.
    explicit GicV3(std::span<const GicPe> pes, unsigned spis = kMaxSpis);
    ~GicV3();
    GicV3(const GicV3&) = delete;
    GicV3& operator=(const GicV3&) = delete;

    /// GICD_*: a window of kDistributorSize bytes.
    Device& distributor();
    /// GICR_*: a window of pe_count() * kRedistributorSize bytes, PE 0 first.
    Device& redistributors();
    /// The object that serves GicCpuInterface::rows() for a PE.
    GicCpuInterface& cpu_interface(unsigned cpu);

    /// The wire of a shared interrupt; `intid` counts from 32 (SPI n is INTID 32 + n).
    arch::IrqLine& spi(unsigned intid);
    /// The wire of a private interrupt of PE `cpu`; `intid` is 16..31 (PPI n is INTID 16 + n).
    arch::IrqLine& ppi(unsigned cpu, unsigned intid);

    /// Power-on state of distributor, redistributors and CPU interfaces. Wires keep their levels.
    void reset();
    /// Reset of the CPU interface of one PE (PSCI CPU_ON).
    void reset_cpu_interface(unsigned cpu);

    unsigned pe_count() const { return static_cast<unsigned>(pes_.size()); }
    unsigned intid_count() const { return kFirstSpi + static_cast<unsigned>(spis_.size()) * 32; }

  private:
    friend class GicCpuInterface;
    class Line;
    class Distributor;
    class Redistributors;
    struct Pe;

    struct Candidate {
        unsigned intid;
        u8 priority;
        unsigned group;
    };
    static constexpr Candidate kNoCandidate{1023, 0xFF, 1};

    // Everything below is called with mutex_ held.
    IrqWord* word_of(Pe& pe, unsigned intid);  // nullptr where the INTID is not implemented
    Candidate highest_candidate(const Pe& pe) const;  // of both groups
    Candidate signalled(const Pe& pe) const;
    void update_pe(Pe& pe);
    void update_all();
    void set_route(unsigned spi, u64 route);  // counts from 0
    int pe_by_affinity(u64 affinity) const;
    void update_intid(Pe& pe, unsigned intid);
    void send_sgi(const Pe& from, u64 value, bool any_group);
    void reset_pe(Pe& pe);

    void deactivate(Pe& pe, unsigned intid);

    /// Takes over the level of a wire; locks.
    void line_changed(unsigned cpu, unsigned intid, const std::atomic<bool>& level);

    // 32-bit registers, mutex_ held.
    u32 read_distributor(u64 offset) const;
    void write_distributor(u64 offset, u32 value);
    u32 read_redistributor(const Pe& pe, u64 offset) const;
    void write_redistributor(Pe& pe, u64 offset, u32 value);

    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<Pe>> pes_;
    std::vector<IrqWord> spis_;     // 32 SPIs each
    std::vector<u64> routes_;       // GICD_IROUTER<n>
    std::vector<int> targets_;      // index of the PE a SPI goes to; -1: none has that affinity
    u32 group_enables_ = 0;         // GICD_CTLR.EnableGrp1, EnableGrp0
    std::vector<std::unique_ptr<Line>> spi_lines_;
    std::unique_ptr<Distributor> distributor_;
    std::unique_ptr<Redistributors> redistributors_;
};

}  // namespace vmm::devices
