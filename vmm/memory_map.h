// Every guest-physical window and every interrupt of the machine, in one table. The addresses are kvmtool's.
//
//   0x0100_0000  UARTs          0x3FFF_0000  GIC distributor
//   0x0101_0000  RTC            below it     GIC redistributors, one frame pair per vCPU
//   0x0300_0000  virtio-mmio    0x8000_0000  RAM
#pragma once

#include <array>
#include <string_view>

#include "devices/device.h"
#include "devices/generic_timer/generic_timer.h"
#include "devices/gicv3/gicv3.h"
#include "devices/pl031.h"
#include "devices/uart16550.h"
#include "devices/virtio/mmio_transport.h"
#include "vmm/base/types.h"

namespace vmm {

inline constexpr unsigned kMaxCpus = devices::GicV3::kMaxPes;
inline constexpr unsigned kUarts = 4;
inline constexpr unsigned kVirtioSlots = 32;

inline constexpr u64 kUartBase = 0x0100'0000;
inline constexpr u64 kUartStride = 0x1000;
inline constexpr u64 kRtcBase = 0x0101'0000;
inline constexpr u64 kVirtioBase = 0x0300'0000;
inline constexpr u64 kGicDistributorBase = 0x3FFF'0000;
inline constexpr u64 kRamBase = 0x8000'0000;
/// RAM ends below 2^40, which every CPU model can address.
inline constexpr u64 kMaxRam = u64{512} << 30;

// Private interrupts (INTID 16 + n is PPI n).
inline constexpr unsigned kSpeIntid = 21;  // unless --spe-ppi says another
inline constexpr unsigned kPmuIntid = 23;
inline constexpr unsigned kVirtualTimerIntid = devices::GenericTimer::kVirtualIntid;
inline constexpr unsigned kPhysicalTimerIntid = devices::GenericTimer::kPhysicalIntid;

// Shared interrupts (INTID 32 + n is SPI n).
inline constexpr unsigned kUartIntid = 32;  // one each
inline constexpr unsigned kRtcIntid = 36;
inline constexpr unsigned kVirtioIntid = 48;  // one each

/// The redistributors end where the distributor begins.
constexpr u64 gic_redistributor_base(unsigned cpus) {
    return kGicDistributorBase - cpus * devices::GicV3::kRedistributorSize;
}

constexpr devices::Window uart_window(unsigned n) {
    return {kUartBase + n * kUartStride, devices::Uart16550::kWindowSize};
}
constexpr devices::Window virtio_window(unsigned slot) {
    return {kVirtioBase + slot * devices::virtio::MmioTransport::kWindowSize,
            devices::virtio::MmioTransport::kWindowSize};
}
inline constexpr devices::Window kRtcWindow{kRtcBase, devices::Pl031::kWindowSize};
inline constexpr devices::Window kGicDistributorWindow{kGicDistributorBase, devices::GicV3::kDistributorSize};
constexpr devices::Window gic_redistributor_window(unsigned cpus) {
    return {gic_redistributor_base(cpus), cpus * devices::GicV3::kRedistributorSize};
}

/// Affinity fields of vCPU `index`: 16 to a cluster, because a GIC group SGI names at most 16 targets.
constexpr u64 cpu_affinity(unsigned index) {
    return u64{index >> 4} << 8 | (index & 15);
}

/// A row of the table: a window with as many interrupts as its devices have.
struct MemoryMapRow {
    std::string_view name;
    u64 base = 0;
    u64 size = 0;              // bytes
    unsigned first_intid = 0;  // 0: none
    unsigned intids = 0;
};

inline constexpr std::array kMemoryMap{
    MemoryMapRow{"uart", kUartBase, kUarts* kUartStride, kUartIntid, kUarts},
    MemoryMapRow{"rtc", kRtcWindow.base, kRtcWindow.size, kRtcIntid, 1},
    MemoryMapRow{"virtio", kVirtioBase, kVirtioSlots* devices::virtio::MmioTransport::kWindowSize,
                 kVirtioIntid, kVirtioSlots},
    MemoryMapRow{"gicr", gic_redistributor_base(kMaxCpus),
                 kGicDistributorBase - gic_redistributor_base(kMaxCpus)},
    MemoryMapRow{"gicd", kGicDistributorWindow.base, kGicDistributorWindow.size},
    MemoryMapRow{"ram", kRamBase, kMaxRam},
};

inline constexpr std::array<unsigned, 4> kPrivateIntids{kSpeIntid, kPmuIntid, kVirtualTimerIntid,
                                                        kPhysicalTimerIntid};

/// Who uses a private interrupt besides the profiling unit; empty: nobody.
constexpr std::string_view private_intid_user(unsigned intid) {
    if (intid == kPmuIntid) {
        return "the PMU";
    }
    for (const unsigned ppi : devices::GenericTimer::kFdtPpis) {
        if (intid == devices::GicV3::kFirstPpi + ppi) {
            return "the timer";
        }
    }
    return {};
}

/// True when no two windows and no two interrupts coincide and everything lies where it must.
template <std::size_t N>
constexpr bool memory_map_is_sound(const std::array<MemoryMapRow, N>& rows) {
    for (std::size_t i = 0; i < N; ++i) {
        const MemoryMapRow& a = rows[i];
        if (a.size == 0 || a.base + a.size < a.base) {
            return false;
        }
        if (a.intids != 0 &&
            (a.first_intid < devices::GicV3::kFirstSpi ||
             a.first_intid + a.intids > devices::GicV3::kFirstSpi + devices::GicV3::kMaxSpis)) {
            return false;
        }
        for (std::size_t j = i + 1; j < N; ++j) {
            const MemoryMapRow& b = rows[j];
            if (a.base < b.base + b.size && b.base < a.base + a.size) {
                return false;
            }
            if (a.first_intid < b.first_intid + b.intids && b.first_intid < a.first_intid + a.intids) {
                return false;
            }
        }
    }
    return true;
}

template <std::size_t N>
constexpr bool private_intids_are_sound(const std::array<unsigned, N>& intids) {
    for (std::size_t i = 0; i < N; ++i) {
        if (intids[i] < devices::GicV3::kFirstPpi || intids[i] >= devices::GicV3::kFirstSpi) {
            return false;
        }
        for (std::size_t j = i + 1; j < N; ++j) {
            if (intids[i] == intids[j]) {
                return false;
            }
        }
    }
    return true;
}

static_assert(memory_map_is_sound(kMemoryMap), "windows or interrupts of the machine overlap");
static_assert(private_intid_user(kSpeIntid).empty(), "the default interrupt of the profiling unit is taken");
static_assert(private_intids_are_sound(kPrivateIntids), "private interrupts overlap or are out of range");

}  // namespace vmm
