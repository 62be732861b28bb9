// A small world for load/store tests: RAM under a real translation table, a device page, and PEs that execute
// single instruction words at EL1 by their decode-table handlers.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "arch/decode.h"
#include "arch/interconnect.h"
#include "arch/vcpu.h"

namespace vmm::arch::test {

/// Answers everywhere; remembers the accesses.
class RecordingMmio final : public MmioPort {
  public:
    bool read(u64 pa, unsigned size, u64& value, unsigned) override {
        ++reads;
        last_pa = pa;
        last_size = size;
        value = next_value;
        return true;
    }
    bool write(u64 pa, unsigned size, u64 value, unsigned) override {
        ++writes;
        last_pa = pa;
        last_size = size;
        next_value = value;
        return true;
    }

    unsigned reads = 0;
    unsigned writes = 0;
    u64 last_pa = 0;
    unsigned last_size = 0;
    u64 next_value = 0;
};

// Virtual addresses. RAM pages are mapped to themselves.
inline constexpr u64 kRamBase = 0x8000'0000;
inline constexpr u64 kData = kRamBase;               // two pages, read/write at EL0 and EL1
inline constexpr u64 kUnmapped = kRamBase + 0x2000;  // follows kData's second page
inline constexpr u64 kReadOnly = kRamBase + 0x4000;  // one page
inline constexpr u64 kKernel = kRamBase + 0x6000;    // one page, no access from EL0
inline constexpr u64 kDevice = kRamBase + 0x8000;    // one page of Device memory, at kDevicePa
inline constexpr u64 kDevicePa = 0x0900'0000;

/// RAM and its tables, shared by any number of PEs.
class LdstWorld {
  public:
    LdstWorld() : memory_(kRamSize + kPageSize) {
        u8* aligned = memory_.data() + (-reinterpret_cast<std::uintptr_t>(memory_.data()) & (kPageSize - 1));
        ram_ = mm::GuestRam(aligned, kRamBase, kRamSize);
        constexpr u64 kTableDescriptor = 3;
        constexpr u64 kPage = u64{1} << 10 /* AF */ | u64{3} << 8 /* SH */ | 3;
        constexpr u64 kEl0 = u64{1} << 6;
        constexpr u64 kNoWrite = u64{1} << 7;
        constexpr u64 kAttrDevice = u64{1} << 2;
        put(kTables + ((kRamBase >> 30) & 511) * 8, (kTables + 0x1000) | kTableDescriptor);
        put(kTables + 0x1000 + ((kRamBase >> 21) & 511) * 8, (kTables + 0x2000) | kTableDescriptor);
        map(kData, kData | kPage | kEl0);
        map(kData + kPageSize, (kData + kPageSize) | kPage | kEl0);
        map(kReadOnly, kReadOnly | kPage | kEl0 | kNoWrite);
        map(kKernel, kKernel | kPage);
        map(kDevice, kDevicePa | kPage | kEl0 | kAttrDevice);
    }

    /// A PE at EL1 with the MMU on, SP alignment checking on, and SP at kData.
    std::unique_ptr<Vcpu> make_pe() {
        VcpuConfig config;
        config.ram = ram_;
        config.mmio = &mmio;
        config.interconnect = &interconnect_;
        config.index = next_index_++;
        auto v = std::make_unique<Vcpu>(config);
        CpuState& s = v->s;
        s.cpacr_el1 = u64{3} << 20;  // FPEN
        s.mair_el1 = 0x00FF;         // attribute 0: Normal write-back, 1: Device-nGnRnE
        // 40-bit PA; no TTBR1 walks; inner shareable write-back tables; 4 KiB granule; 39-bit VA
        s.tcr_el1 = u64{2} << 32 | u64{1} << 23 | u64{25} << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 25;
        s.ttbr0_el1 = kTables;
        s.sctlr_el1 = 0x30D00800 | 1 << 4 | 1 << 3 | 1 << 2 | 1;  // SA0, SA, C, M
        s.x[kSp] = kData;
        v->context_changed();
        return v;
    }

    template <class T>
    T load(u64 pa) const {
        T value;
        std::memcpy(&value, ram_.host(pa, sizeof(T)), sizeof(T));
        return value;
    }
    template <class T>
    void store(u64 pa, T value) {
        std::memcpy(ram_.host(pa, sizeof(T)), &value, sizeof(T));
    }
    void fill(u64 pa, u64 size, u8 value) { std::memset(ram_.host(pa, size), value, size); }
    std::vector<u8> snapshot() const { return {ram_.host_base(), ram_.host_base() + 0x10000}; }

    RecordingMmio mmio;

  private:
    static constexpr u64 kRamSize = 0x100000;
    static constexpr u64 kTables = kRamBase + 0x80000;

    void put(u64 pa, u64 value) { store(pa, value); }
    void map(u64 va, u64 descriptor) { put(kTables + 0x2000 + ((va >> kPageShift) & 511) * 8, descriptor); }

    std::vector<u8> memory_;
    mm::GuestRam ram_;
    Interconnect interconnect_;
    unsigned next_index_ = 0;
};

/// Executes one instruction word; PC does not move.
inline Exec execute(Vcpu& v, u32 insn) {
    const DecodeRow* row = decode(insn);
    return row == nullptr ? v.undefined() : row->handler(v, insn);
}

inline constexpr unsigned kEcSpAlignment = 0x26;
inline constexpr unsigned kEcDataAbortSame = 0x25;

inline unsigned exception_class(const Vcpu& v) {
    return static_cast<unsigned>(bits(v.s.esr_el1, 31, 26));
}
inline unsigned fault_status(const Vcpu& v) {
    return static_cast<unsigned>(bits(v.s.esr_el1, 5, 0));
}
inline bool fault_was_write(const Vcpu& v) {
    return bit(v.s.esr_el1, 6);
}

}  // namespace vmm::arch::test
