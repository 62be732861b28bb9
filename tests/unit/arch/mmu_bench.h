// A PE with RAM and translation tables that a test builds page by page (4 KiB granule, 48-bit addresses in both halves).
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include <catch2/catch.hpp>

#include "arch/cpu_model.h"
#include "arch/engine.h"
#include "arch/mmu.h"
#include "arch/pmu.h"
#include "arch/vcpu.h"

namespace vmm::arch::bench {

// Descriptor bits, typed from the Arm ARM's table D8-52.
inline constexpr u64 kValidPage = 3;
inline constexpr u64 kValidBlock = 1;
inline constexpr u64 kUser = u64{1} << 6;       // AP[1]
inline constexpr u64 kReadOnly = u64{1} << 7;   // AP[2]
inline constexpr u64 kAf = u64{1} << 10;
inline constexpr u64 kNg = u64{1} << 11;
inline constexpr u64 kDbm = u64{1} << 51;
inline constexpr u64 kPxn = u64{1} << 53;
inline constexpr u64 kUxn = u64{1} << 54;
inline constexpr u64 kDevice = 1 << 2;          // AttrIndx 1
inline constexpr u64 kNonCacheable = 2 << 2;    // AttrIndx 2

inline constexpr u64 kRam = 0x8000'0000;
inline constexpr u64 kRamSize = 0x100'0000;     // 16 MiB
inline constexpr u64 kMmioPa = 0x0900'0000;
inline constexpr u64 kUpper = 0xFFFF'0000'0000'0000;

struct MmioLog final : MmioPort {
    bool read(u64 pa, unsigned size, u64& value, unsigned) override {
        reads.push_back({pa, size, 0});
        value = 0x8877665544332211;
        value = size == 8 ? value : value & ones(8 * size);
        return pa >= kMmioPa && pa < kMmioPa + 0x1000;
    }
    bool write(u64 pa, unsigned size, u64 value, unsigned) override {
        writes.push_back({pa, size, value});
        return pa >= kMmioPa && pa < kMmioPa + 0x1000;
    }
    struct One {
        u64 pa;
        unsigned size;
        u64 value;
    };
    std::vector<One> reads;
    std::vector<One> writes;
};

class MmuBench {
  public:
    explicit MmuBench(bool pmu = false, const char* cpu = "neoverse-n1") : memory_(kRamSize + kPageSize) {
        u8* aligned = memory_.data() + (-reinterpret_cast<std::uintptr_t>(memory_.data()) & (kPageSize - 1));
        ram = mm::GuestRam(aligned, kRam, kRamSize);
        root0_ = new_table();
        root1_ = new_table();
        watch_ = std::make_unique<mm::TableWatch>(ram);
        VcpuConfig config;
        config.model = find_cpu_model(cpu);
        config.ram = ram;
        config.table_watch = watch_.get();
        config.mmio = &mmio;
        config.interconnect = &interconnect;
        config.pmu = pmu;
        vcpu = std::make_unique<Vcpu>(config);
        CpuState& s = vcpu->s;
        s.vbar_el1 = 0x8080'0000;
        s.cpacr_el1 = u64{3} << 20;
        s.mair_el1 = 0x44'00'FF;  // 0: Normal write-back, 1: Device-nGnRnE, 2: Normal non-cacheable
        // 48-bit PA, 16-bit ASID in TTBR0, 4 KiB granules, T0SZ = T1SZ = 16
        s.tcr_el1 = u64{5} << 32 | u64{1} << 36 | u64{2} << 30 | u64{16} << 16 | 16;
        s.ttbr0_el1 = root0_ | u64{1} << 48;
        s.ttbr1_el1 = root1_;
        s.sctlr_el1 = 0x30D0'0981;  // M, SPAN, RES1
        vcpu->context_changed();
    }

    Vcpu& v() { return *vcpu; }
    mm::TableWatch& watch() { return *watch_; }

    /// A zeroed page for a table, from the end of RAM.
    u64 new_table() {
        next_table_ -= kPageSize;
        std::memset(ram.host(next_table_, kPageSize), 0, kPageSize);
        return next_table_;
    }

    /// Guest-physical address of the descriptor for `va` at `level`; makes the tables above it.
    u64 descriptor_at(u64 va, unsigned level = 3) { return descriptor_in(bit(va, 55) ? root1_ : root0_, va, level); }
    u64 descriptor_in(u64 table, u64 va, unsigned level = 3) {
        for (unsigned l = 0; l < level; ++l) {
            const u64 at = table + ((va >> (39 - 9 * l)) & 511) * 8;
            if ((load(at) & 1) == 0) {
                store(at, new_table() | 3);
            }
            table = load(at) & 0x0000'FFFF'FFFF'F000;
        }
        return table + ((va >> (39 - 9 * level)) & 511) * 8;
    }
    void map(u64 va, u64 pa, u64 attributes) { store(descriptor_at(va), pa | attributes | kAf | kValidPage); }
    void map_block(u64 va, u64 pa, unsigned level, u64 attributes) {
        store(descriptor_at(va, level), pa | attributes | kAf | kValidBlock);
    }

    u64 load(u64 pa) const {
        u64 value;
        std::memcpy(&value, ram.host(pa, 8), 8);
        return value;
    }
    void store(u64 pa, u64 value) { std::memcpy(ram.host(pa, 8), &value, 8); }

    void set_el(u8 el) {
        v().switch_el(el, el);
        v().context_changed();
    }

    /// ESR_EL1.EC and the fault status of the last exception; 0 when `call` took none.
    template <class F>
    unsigned fault_of(F&& call) {
        Vcpu& pe = v();
        const CpuState before = pe.s;
        const u64 exceptions = pe.exceptions_taken;
        call();
        if (pe.exceptions_taken == exceptions) {
            return 0;
        }
        esr = pe.s.esr_el1;
        far = pe.s.far_el1;
        pe.s = before;
        pe.context_changed();
        return static_cast<unsigned>(bits(esr, 31, 26) << 8 | bits(esr, 5, 0));
    }
    template <class T = u64>
    unsigned read_fault(u64 va, AccessKind kind = {}) {
        return fault_of([&] {
            T value = 0;
            ok = v().read<T>(va, value, kind);
            last = value;
        });
    }
    template <class T = u64>
    unsigned write_fault(u64 va, T value, AccessKind kind = {}) {
        return fault_of([&] { ok = v().write<T>(va, value, kind); });
    }
    unsigned atomic_fault(u64 va, unsigned size, AccessType type, AccessKind kind) {
        return fault_of([&] { ok = v().host_for_atomic(va, size, type, kind) != nullptr; });
    }

    /// Runs one system instruction or register write.
    void sys(unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2, u64 value) {
        SysregBank::Entry* row = v().sysregs.find(sysreg_key(op0, op1, crn, crm, op2));
        REQUIRE(row != nullptr);
        if (row->write != nullptr) {
            row->write(row->self, v(), value);
        } else {
            *row->storage = (value & row->writable) | row->fixed;
        }
    }
    u64 mrs(unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
        REQUIRE(v().sysregs.find(sysreg_key(op0, op1, crn, crm, op2)) != nullptr);
        return v().sysregs.peek(v(), sysreg_key(op0, op1, crn, crm, op2));
    }

    mm::GuestRam ram;
    MmioLog mmio;
    Interconnect interconnect;
    std::unique_ptr<Vcpu> vcpu;
    u64 esr = 0;
    u64 far = 0;
    u64 last = 0;
    bool ok = false;

    u64 root0() const { return root0_; }

  private:
    std::vector<u8> memory_;
    u64 next_table_ = kRam + kRamSize;
    std::unique_ptr<mm::TableWatch> watch_;
    u64 root0_ = 0;
    u64 root1_ = 0;
};

// Exception class << 8 | fault status.
inline constexpr unsigned kSame = 0x25 << 8;
inline constexpr unsigned kLower = 0x24 << 8;
inline constexpr unsigned kAlignmentFault = 0x21;

}  // namespace vmm::arch::bench
