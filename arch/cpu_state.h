// The architectural state of one processing element: plain data.
#pragma once

#include <array>
#include <cstring>

#include "vmm/base/bits.h"
#include "vmm/base/types.h"

namespace vmm::arch {

/// A 128-bit SIMD&FP register. Lanes are little-endian: lane 0 is the least significant.
struct alignas(16) Vreg {
    u64 lo = 0;
    u64 hi = 0;

    template <class T>
    T lane(unsigned index) const {
        T value;
        std::memcpy(&value, reinterpret_cast<const u8*>(this) + index * sizeof(T), sizeof(T));
        return value;
    }

    template <class T>
    void set_lane(unsigned index, T value) {
        std::memcpy(reinterpret_cast<u8*>(this) + index * sizeof(T), &value, sizeof(T));
    }

    friend bool operator==(const Vreg&, const Vreg&) = default;
};

/// PSTATE.{N,Z,C,V}, one byte each (0 or 1), so that setting and testing them is a byte move.
struct Nzcv {
    u8 n = 0;
    u8 z = 0;
    u8 c = 0;
    u8 v = 0;

    /// Bits [31:28] as in SPSR and the NZCV register.
    u32 pack() const { return u32{n} << 31 | u32{z} << 30 | u32{c} << 29 | u32{v} << 28; }
    void unpack(u64 value) {
        n = bit(value, 31);
        z = bit(value, 30);
        c = bit(value, 29);
        v = bit(value, 28);
    }
    friend bool operator==(const Nzcv&, const Nzcv&) = default;
};

/// Interrupt mask bits of `daif`, placed as in the DAIF register shifted down by 6.
enum : u8 { kDaifF = 1, kDaifI = 2, kDaifA = 4, kDaifD = 8 };

/// Register slots of CpuState::x beyond X0..X30.
inline constexpr unsigned kZr = 31;    // reads as zero; never written
inline constexpr unsigned kSink = 32;  // written in place of XZR; never read
inline constexpr unsigned kSp = 33;    // the stack pointer selected by PSTATE.{EL,SP}

struct CpuState {
    std::array<u64, 34> x{};  // see the slots above
    u64 pc = 0;
    Nzcv nzcv;

    // PSTATE. The machine is AArch64 only; EL is 0 or 1.
    u8 el = 1;
    u8 sp_sel = 1;           // PSTATE.SP; at EL0 always 0
    u8 daif = 0xF;           // kDaif* bits
    u8 pan = 0;
    u8 uao = 0;
    u8 ssbs = 0;
    u8 ss = 0;               // software step
    u8 il = 0;               // illegal execution state

    std::array<Vreg, 32> v{};
    u32 fpcr = 0;
    u32 fpsr = 0;

    u64 sp_el0 = 0;          // valid while not selected (see kSp)
    u64 sp_el1 = 0;

    // Exception state of EL1.
    u64 elr_el1 = 0;
    u64 spsr_el1 = 0;
    u64 esr_el1 = 0;
    u64 far_el1 = 0;
    u64 vbar_el1 = 0;

    // Translation and system control of EL1.
    u64 sctlr_el1 = 0;
    u64 tcr_el1 = 0;
    u64 ttbr0_el1 = 0;
    u64 ttbr1_el1 = 0;
    u64 mair_el1 = 0;
    u64 amair_el1 = 0;
    u64 contextidr_el1 = 0;
    u64 cpacr_el1 = 0;
    u64 par_el1 = 0;
    u64 cntkctl_el1 = 0;

    // Software thread IDs.
    u64 tpidr_el0 = 0;
    u64 tpidrro_el0 = 0;
    u64 tpidr_el1 = 0;

    // Debug state as far as Linux touches it.
    u64 mdscr_el1 = 0;
    u64 osdlr_el1 = 0;
    u64 dbgprcr_el1 = 0;
    u64 oslar_oslk = 1;      // OSLSR_EL1.OSLK

    friend bool operator==(const CpuState&, const CpuState&) = default;
};

}  // namespace vmm::arch
