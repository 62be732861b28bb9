// One A64 processing element (PE): its state and everything an instruction handler may do.
//
// A Vcpu belongs to one host thread. Other threads reach it only through `pins` and `requests`.
#pragma once

#include <memory>

#include "arch/cpu_state.h"
#include "arch/exec.h"
#include "arch/interconnect.h"
#include "arch/op_trace.h"
#include "arch/pins.h"
#include "arch/ports.h"
#include "arch/self_hosted_debug.h"
#include "arch/sysreg.h"
#include "arch/tlb.h"
#include "mm/guest_access.h"
#include "mm/guest_ram.h"
#include "mm/table_watch.h"

namespace vmm::arch {

class DebugHook;
class Engine;
class Mmu;
class Pmu;
struct CpuModel;

/// What a Vcpu is connected to; all pointees outlive it.
struct VcpuConfig {
    unsigned index = 0;
    u64 mpidr = 0x80000000;       // MPIDR_EL1
    const CpuModel* model = nullptr;
    mm::GuestRam ram;
    MmioPort* mmio = nullptr;
    FirmwarePort* firmware = nullptr;
    CounterPort* counter = nullptr;
    Interconnect* interconnect = nullptr;
    mm::TableWatch* table_watch = nullptr;  // told of stores to pages it watches; nullptr: nobody asks
    u32 translate_after = 32;     // times a block is interpreted before it becomes host code; 0: always interpreted
    bool reference_only = false;  // every instruction by its own handler of the decode table: nothing fast, nothing joined
    bool pmu = false;             // PMUv3 present
    u8 pmsver = 0;                // ID_AA64DFR0_EL1.PMSVer: 0 = no SPE
    bool uniform_spe = true;      // all PEs have the same: what depends on SPE elsewhere must not differ between PEs
};

/// How a data access is made, beyond its size.
struct AccessKind {
    bool unprivileged = false;  // LDTR/STTR
    bool ordered = false;       // acquire or release: must be naturally aligned (before LSE2)
    bool exclusive = false;     // LDXR/STXR: must be naturally aligned
    bool atomic = false;        // LSE read-modify-write: must be naturally aligned
    bool returns_value = false; // atomic with a destination other than XZR (for OpTrace)
};

enum class AccessType : u8 { read, write, fetch };

/// Arm ARM D2.12.6: SoftwareStep_DidNotStep, SoftwareStep_SteppedEX.
enum class Stepped : u8 { nothing, instruction, load_exclusive };

/// Why run() came back.
enum class RunResult : u8 {
    budget,  // executed the requested number of operations
    wait,    // WFI/WFE with nothing pending: park until pins are kicked or a deadline passes
    stop,    // a handler asked for it (PSCI, reset)
    kicked,  // another thread kicked the pins and nothing in arch wanted it: the caller should look at its own state
    debug,   // the debug hook says why
};

class Vcpu {
  public:
    explicit Vcpu(const VcpuConfig& config);
    ~Vcpu();
    Vcpu(const Vcpu&) = delete;
    Vcpu& operator=(const Vcpu&) = delete;

    const VcpuConfig config;
    CpuState s;
    Pins pins;
    SysregBank sysregs;
    SelfHostedDebug debug;
    RequestQueue requests;

    unsigned index() const { return config.index; }

    /// Warm reset: architectural reset values; PC and X0 as given (PSCI entry point and context, or the boot protocol).
    void reset(u64 entry, u64 x0);

    /// Runs up to `budget` operations. The caller's thread owns the Vcpu meanwhile. (engine.cpp)
    RunResult run(u64 budget);

    /// Operations executed since reset; exact also inside a handler. (engine.cpp)
    u64 ops_executed() const;

    /// Whether code that is executed often becomes host code. (engine.cpp)
    bool translates() const;

    /// The profiling unit; nullptr: none. Set before the first run.
    void set_observer(OpObserver* observer) { observer_ = observer; }
    OpObserver* observer() const { return observer_; }

    /// To be called by whoever changes what observer()->ops_until_sample() returns, outside the observer's own callbacks
    /// (a write to a profiling register): the engine re-reads it before the next operation. (engine.cpp)
    void observer_changed();

    /// What a debugger wants; nullptr: nothing. To be called, while the vCPU does not execute, whenever the breakpoints
    /// have changed: code is decoded again. (engine.cpp)
    void set_debug_hook(DebugHook* hook);
    DebugHook* debug_hook() const { return debug_hook_; }

    // ── General-purpose registers ──────────────────────────────────────────────────────────────────────────
    // Number 31 is XZR in x()/w() and SP in xsp()/wsp().

    u64 x(unsigned n) const { return s.x[n]; }
    u32 w(unsigned n) const { return static_cast<u32>(s.x[n]); }
    u64 xsp(unsigned n) const { return s.x[n == 31 ? kSp : n]; }
    void set_x(unsigned n, u64 value) { s.x[n == 31 ? kSink : n] = value; }
    void set_w(unsigned n, u32 value) { set_x(n, value); }
    void set_xsp(unsigned n, u64 value) { s.x[n == 31 ? kSp : n] = value; }
    void set_wsp(unsigned n, u32 value) { set_xsp(n, value); }

    /// X[n] or W[n] by the instruction's sf bit; a W write clears the upper half.
    u64 reg(unsigned n, bool sf) const { return sf ? x(n) : w(n); }
    void set_reg(unsigned n, bool sf, u64 value) { set_x(n, sf ? value : static_cast<u32>(value)); }

    /// ConditionHolds(cond).
    bool condition_holds(unsigned cond) const {
        bool result = false;
        switch (cond >> 1) {
            case 0: result = s.nzcv.z; break;
            case 1: result = s.nzcv.c; break;
            case 2: result = s.nzcv.n; break;
            case 3: result = s.nzcv.v; break;
            case 4: result = s.nzcv.c && !s.nzcv.z; break;
            case 5: result = s.nzcv.n == s.nzcv.v; break;
            case 6: result = s.nzcv.n == s.nzcv.v && !s.nzcv.z; break;
            default: return true;
        }
        return result != ((cond & 1) != 0);
    }

    // ── Branches ───────────────────────────────────────────────────────────────────────────────────────────

    /// Takes a branch. Records it in the trace.
    Exec branch_to(u64 target) {
        if (trace_ != nullptr) [[unlikely]] {
            trace_->taken = true;
            trace_->target = target;
            trace_->target_el = s.el;
        }
        s.pc = target;
        return Exec::branch;
    }

    /// Records the outcome of a condition (conditional branches, selects, compares); returns `holds`.
    bool conditional(bool holds) {
        if (trace_ != nullptr) [[unlikely]] {
            trace_->conditional = true;
            trace_->cond_failed = !holds;
        }
        return holds;
    }

    // ── Memory ─────────────────────────────────────────────────────────────────────────────────────────────
    // All return false after having taken the exception; the handler then returns Exec::exception at once and must not
    // have written anything architectural.

    /// T is u8, u16, u32 or u64.
    template <class T>
    [[nodiscard]] bool read(u64 va, T& value, AccessKind kind = {}) {
        const TlbEntry& entry = tlb_.entry(va);
        const u64 probe = ((va + sizeof(T) - 1) & kPageMask) | (kind.unprivileged ? unprivileged_ctx_ : ctx_);
        if (probe == entry.read_tag) [[likely]] {
            value = mm::load_relaxed<T>(reinterpret_cast<const void*>(va + entry.addend));
            return true;
        }
        u64 wide = 0;
        if (!read_slow(va, sizeof(T), wide, kind)) {
            return false;
        }
        value = static_cast<T>(wide);
        return true;
    }

    template <class T>
    [[nodiscard]] bool write(u64 va, T value, AccessKind kind = {}) {
        const TlbEntry& entry = tlb_.entry(va);
        const u64 probe = ((va + sizeof(T) - 1) & kPageMask) | (kind.unprivileged ? unprivileged_ctx_ : ctx_);
        if (probe == entry.write_tag) [[likely]] {
            mm::store_relaxed<T>(reinterpret_cast<void*>(va + entry.addend), value);
            return true;
        }
        return write_slow(va, sizeof(T), value, kind);
    }

    /// 16 bytes as two 8-byte accesses, both checked before either is made (LDP, Q registers).
    [[nodiscard]] bool read_pair(u64 va, u64& first, u64& second, AccessKind kind = {});
    [[nodiscard]] bool write_pair(u64 va, u64 first, u64 second, AccessKind kind = {});

    /// Checks that [va, va + size) can be accessed (all pages, alignment per `kind`) and takes the fault if not.
    /// For operations of several accesses that must fault before they write (structure stores, DC ZVA).
    [[nodiscard]] bool probe_access(u64 va, u64 size, AccessType type, AccessKind kind = {});

    /// Host address for an atomic or exclusive access of `size` bytes (1..16, naturally aligned); nullptr after having
    /// taken the exception (translation, permission, alignment, or memory that does not support atomics). With
    /// AccessType::write the page is made writable (dirty state updated).
    [[nodiscard]] u8* host_for_atomic(u64 va, unsigned size, AccessType type, AccessKind kind);

    /// Address from a base register with SP alignment checking: false after having taken the exception.
    [[nodiscard]] bool base_address(unsigned rn, u64& address) {
        address = xsp(rn);
        return rn != 31 || (address & 15) == 0 || check_sp_alignment();
    }

    // ── Exclusive monitor (this PE's local monitor; exec_ldst_exclusive.cpp says how it works on host atomics) 
    struct ExclusiveMonitor {
        bool armed = false;
        u8 size = 0;      // bytes
        u64 pa = 0;
        u64 value_lo = 0; // what the load-exclusive saw
        u64 value_hi = 0;
    } monitor;

    // ── Exceptions (exceptions.cpp). All return Exec::exception. ───────────────────────────────────────────
    Exec undefined();                     // EC 0x00, also for unallocated encodings
    Exec trap_fp_access();                // EC 0x07
    Exec illegal_state();                 // EC 0x0E
    Exec supervisor_call(u32 imm16);      // SVC, EC 0x15
    Exec hypervisor_call(u32 imm16);      // HVC: firmware port, or UNDEFINED
    Exec secure_monitor_call(u32 imm16);  // SMC: firmware port, or UNDEFINED
    Exec breakpoint_instruction(u32 imm16);  // BRK, EC 0x3C
    Exec trap_system_access(u32 insn);    // EC 0x18; ISS built from the MRS/MSR/SYS word
    Exec trap_wfx(bool wfe);              // EC 0x01
    Exec pc_alignment_fault();            // EC 0x22
    Exec sp_alignment_fault();            // EC 0x26
    Exec data_abort(u64 va, u8 fsc, bool is_write, bool cache_maintenance = false);  // EC 0x24/0x25
    Exec instruction_abort(u64 va, u8 fsc);  // EC 0x20/0x21
    Exec breakpoint();                    // EC 0x30/0x31
    Exec software_step();                 // EC 0x32/0x33
    Exec watchpoint(u64 va, bool is_write, bool cache_maintenance = false);  // EC 0x34/0x35
    Exec irq();                           // vector offset 0x80 group
    Exec exception_return();              // ERET

    /// Exceptions taken so far: tells the caller of a system-register hook that the hook took one (DC, IC, AT).
    u64 exceptions_taken = 0;
    /// What was stepped last, for the syndrome of the Software Step exception behind it; exception entry and return, and
    /// reset, forget it.
    Stepped stepped = Stepped::nothing;

    /// Software step is in force at the current Exception level (D2.12): with PSTATE.SS = 1 the next instruction executes
    /// and clears it, with PSTATE.SS = 0 software_step() is taken instead of an instruction.
    bool software_step_active() const {
        return bit(s.mdscr_el1, kMdscrSs) && debug_exceptions_enabled(s, s.el, (s.daif & kDaifD) != 0);
    }

    bool irq_deliverable() const { return (s.daif & kDaifI) == 0 && pins.irq(); }

    // ── State that other parts derive from registers ───────────────────────────────────────────────────────

    /// Recomputes TLB contexts and the engine's decode context. Call after any change of EL, PSTATE.{PAN,UAO,SP is not
    /// needed}, SCTLR, TCR, TTBRs, MAIR, CPACR, MDSCR. (mmu.cpp)
    void context_changed();

    /// To be called after a change of the breakpoint and watchpoint registers or of MDSCR_EL1.MDE. (vcpu.cpp)
    void debug_registers_changed();

    /// Moves the stack pointer registers when EL or PSTATE.SP changes. (exceptions.cpp)
    void switch_el(u8 el, u8 sp_sel);

    /// SPSR_EL1 image of the current PSTATE. (exceptions.cpp)
    u64 pack_pstate() const;

    /// Serves requests of other PEs (TLB and code maintenance). Owner thread only. (interconnect.cpp)
    void serve_requests();

    /// True while the thread is inside run(); others need not wait for it otherwise. (interconnect.cpp)
    std::atomic<bool> executing{false};

    /// Wakes a WFE of this PE. Owner thread; other PEs have Pins::send_event().
    bool event_register = false;

    Mmu& mmu() { return *mmu_; }
    Pmu& pmu() { return *pmu_; }
    Engine& engine() { return *engine_; }
    const mm::GuestRam& ram() const { return config.ram; }
    OpTrace* trace() { return trace_; }

    /// From here to end_trace(), branches and memory accesses are recorded in `trace`; accesses take the slow paths.
    /// (mmu.cpp)
    void begin_trace(OpTrace* trace);
    void end_trace();

    // ── Fast-path state, public for the engine's hot loop ──────────────────────────────────────────────────
    Tlb tlb_;
    u64 ctx_ = kNoFastPath;               // current data context, a TlbContext as wide as the tags it goes into
    u64 unprivileged_ctx_ = kNoFastPath;  // ... for LDTR/STTR
    OpTrace* trace_ = nullptr;                   // set while an operation is traced; forces the slow paths

  private:
    // mmu.cpp
    [[nodiscard]] bool read_slow(u64 va, unsigned size, u64& value, AccessKind kind);
    [[nodiscard]] bool write_slow(u64 va, unsigned size, u64 value, AccessKind kind);
    // exceptions.cpp: SCTLR_EL1.SA/SA0
    [[nodiscard]] bool check_sp_alignment();

    OpObserver* observer_ = nullptr;
    DebugHook* debug_hook_ = nullptr;
    std::unique_ptr<Mmu> mmu_;
    std::unique_ptr<Pmu> pmu_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace vmm::arch
