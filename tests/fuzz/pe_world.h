// What a PE of a fuzzer is connected to, and numbers that matter to it.
#pragma once

#include "arch/vcpu.h"
#include "tests/fuzz/fuzz_input.h"

namespace vmm::fuzz {

inline constexpr u64 kRam = 0x8000'0000;
inline constexpr u64 kRamSize = 0x4'0000;
inline constexpr u64 kCode = kRam + 0x1000;
inline constexpr u64 kVectors = kRam + 0x2000;
inline constexpr u64 kTables = kRam + 0x4000;  // levels 1, 2, 3; then one of the upper half's
inline constexpr u64 kData = kRam + 0x1'0000;
inline constexpr u64 kMmio = 0x0900'0000;

/// A device window and a counter, the same for the same operations, and firmware that knows nothing.
struct Ports final : arch::MmioPort, arch::FirmwarePort, arch::CounterPort {
    bool read(u64 pa, unsigned size, u64& value, unsigned) override {
        seen = scramble(seen ^ pa ^ size);
        value = size == 8 ? seen : seen & ((u64{1} << 8 * size) - 1);
        return pa >= kMmio && pa < kMmio + 0x1000;
    }
    bool write(u64 pa, unsigned size, u64 value, unsigned) override {
        seen = scramble(seen ^ pa ^ value ^ (u64{size} << 32));
        return pa >= kMmio && pa < kMmio + 0x1000;
    }
    arch::Exec call(arch::Vcpu& v) override {
        const bool stop = (v.x(0) & 1) != 0;
        v.set_x(0, ~u64{0});
        return stop ? arch::Exec::stop : arch::Exec::next;
    }
    u64 count() const override { return cpu == nullptr ? 0 : (cpu->ops_executed() - first_) * 3; }
    u64 frequency() const override { return 1'000'000'000; }

    const arch::Vcpu* cpu = nullptr;
    /// From here on as if new.
    void restart() {
        first_ = cpu->ops_executed();
        seen = 0;
    }
    u64 seen = 0;  // depends on all accesses and their order

  private:
    u64 first_ = 0;
};

/// A number from a byte: an address where something begins or ends, a limit of a type, or noise.
inline u64 interesting(u8 selector) {
    constexpr std::array<u64, 48> kNumbers{
        0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 0x7F, 0x80, 0xFF, 0xFFF, 0x1000, 0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FFFF,
        0x7FFF'FFFF'FFFF'FFFF, 0x8000'0000'0000'0000, ~u64{0}, ~u64{0} - 7, kData, kData + 8, kData + 0xFF8, kData + 0xFFC,
        kData + 0xFFF, kData + 0x1000, kData + 0x2000, kData + 0x2FF8, kData + 0x3000, kData + 0x4000, kCode, kCode + 0x20,
        kVectors, kTables, kTables + 0x2080, kRam, kRam + kRamSize - 1, kRam + kRamSize - 16, kRam - 8, kMmio, kMmio + 0xFFC,
        0xFFFF'FF80'0001'0000, 0x0100'0000'8001'0000};
    return selector < 224 ? kNumbers[selector % kNumbers.size()] : scramble(selector);
}

/// 4 KiB pages, 39-bit addresses: RAM at its place with pages of every sort, and in the upper half; the device window.
template <class Put>
void make_tables(Put&& put) {
    constexpr u64 kTable = 3;
    constexpr u64 kPage = 0x703;  // valid, inner shareable, AF
    constexpr u64 kEl0 = 0x40, kReadOnly = 0x80, kNg = 0x800, kDevice = 4, kNormalNc = 8;
    constexpr u64 kDbm = u64{1} << 51, kPxn = u64{1} << 53, kUxn = u64{1} << 54;
    put(kTables + (kRam >> 30) * 8, (kTables + 0x1000) | kTable);
    put(kTables, (kTables + 0x3000) | kTable);
    put(kTables + 0x1000, (kTables + 0x2000) | kTable);
    put(kTables + 0x1008, kRam | 0x701 | kEl0);  // a block
    put(kTables + 0x3000 + (kMmio >> 21) * 8, kMmio | 0x701 | kEl0 | kDevice | kPxn | kUxn);
    for (u64 page = 0; page < kRamSize >> 12; ++page) {
        u64 bits = kPage | kEl0 | kPxn;
        if (page < (kTables - kRam) >> 12) {
            bits = kPage | (page == 1 ? kEl0 | kReadOnly : 0);
        } else if (page >= (kData - kRam) >> 12) {
            constexpr std::array<u64, 8> kSorts{0, 0, kReadOnly, kNg, kReadOnly | kDbm, kDevice, kNormalNc, kUxn};
            bits |= kSorts[page % 8];
            bits &= page % 16 == 15 ? ~u64{0x400} : page % 16 == 14 ? ~u64{1} : page % 16 == 13 ? ~kEl0 : ~u64{0};
        }
        put(kTables + 0x2000 + page * 8, (kRam + page * 0x1000) | bits);
    }
}

/// TCR_EL1 and SCTLR_EL1 for them; MAIR_EL1 has write-back, device and non-cacheable memory.
inline void use_tables(arch::CpuState& s) {
    s.mair_el1 = 0x44'00'FF;
    s.tcr_el1 = u64{1} << 39 | u64{1} << 40 | u64{1} << 37 | u64{2} << 32 | u64{2} << 30 | u64{25} << 16 | 3 << 12 | 0x500 | 25;
    s.ttbr0_el1 = kTables | u64{1} << 48;
    s.ttbr1_el1 = kTables;
    s.sctlr_el1 = 0x30D0'0981 | u64{1} << 26 | u64{1} << 15 | u64{1} << 14 | u64{1} << 12 | 4;
}

/// Every vector returns behind the instruction that has led there.
template <class Put>
void make_vectors(Put&& put) {
    for (u64 at = kVectors; at < kVectors + 0x800; at += 0x80) {
        put(at, u32{0xD5384031});      // mrs x17, elr_el1
        put(at + 4, u32{0x91001231});  // add x17, x17, #4
        put(at + 8, u32{0xD5184031});  // msr elr_el1, x17
        put(at + 12, u32{0xD69F03E0});  // eret
    }
}

}  // namespace vmm::fuzz
