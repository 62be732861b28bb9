// Fields of the profiling registers, and which of their bits exist in each version of the extension.
// Arm ARM (DDI 0487), "Statistical Profiling Extension registers".
#pragma once

#include "vmm/base/bits.h"
#include "vmm/base/types.h"

namespace vmm::spe {

/// Bits [Hi:Lo] of a register.
template <unsigned Hi, unsigned Lo = Hi>
struct Field {
    static_assert(Hi >= Lo && Hi < 64);
    static constexpr u64 kMask = ones(Hi - Lo + 1) << Lo;

    static constexpr u64 get(u64 word) { return (word & kMask) >> Lo; }
    static constexpr u64 put(u64 value) { return (value << Lo) & kMask; }
    static constexpr u64 set(u64 word, u64 value) { return (word & ~kMask) | put(value); }
};

/// ID_AA64DFR0_EL1.PMSVer.
enum PmsVer : u8 { kSpeV1p0 = 1, kSpeV1p1 = 2, kSpeV1p2 = 3, kSpeV1p3 = 4, kSpeV1p4 = 5 };

/// PMSCR_EL1, Statistical Profiling Control Register.
namespace pmscr {
using Pct = Field<7, 6>;  // which counter gives timestamps; reads as 0b01 (physical) without EL2
using Ts = Field<5>;      // timestamp packets
using Pa = Field<4>;      // data physical address packets
using Cx = Field<3>;      // CONTEXTIDR_EL1 packets
using E1Spe = Field<1>;   // profile EL1
using E0Spe = Field<0>;   // profile EL0
}  // namespace pmscr

/// PMSIRR_EL1, Sampling Interval Reload Register.
namespace pmsirr {
using Interval = Field<31, 8>;
using Rnd = Field<0>;
}  // namespace pmsirr

/// PMSICR_EL1, Sampling Interval Counter Register. ECOUNT does not exist (PMSIDR_EL1.ERnd = 0).
namespace pmsicr {
using Count = Field<31, 0>;
}  // namespace pmsicr

/// PMSFCR_EL1, Sampling Filter Control Register.
namespace pmsfcr {
using St = Field<18>;
using Ld = Field<17>;
using B = Field<16>;
using FnE = Field<3>;  // inverted event filter
using Fl = Field<2>;   // latency filter
using Ft = Field<1>;   // type filter
using Fe = Field<0>;   // event filter
}  // namespace pmsfcr

/// PMSLATFR_EL1, Sampling Latency Filter Register.
namespace pmslatfr {
using MinLat = Field<15, 0>;
}  // namespace pmslatfr

/// PMSIDR_EL1, Sampling Profiling ID Register.
namespace pmsidr {
using CountSize = Field<19, 16>;
using MaxSize = Field<15, 12>;
using Interval = Field<11, 8>;
using FnE = Field<6>;
using ERnd = Field<5>;
using Lds = Field<4>;
using ArchInst = Field<3>;
using Fl = Field<2>;
using Ft = Field<1>;
using Fe = Field<0>;
}  // namespace pmsidr

/// PMBLIMITR_EL1, Profiling Buffer Limit Address Register.
namespace pmblimitr {
inline constexpr u64 kLimitMask = ~u64{0xFFF};  // address of the first byte after the buffer
using Pmfz = Field<5>;
using Fm = Field<2, 1>;
using E = Field<0>;
inline constexpr u64 kFmDiscard = 0b10;
}  // namespace pmblimitr

/// PMBSR_EL1, Profiling Buffer Status/syndrome Register.
namespace pmbsr {
using Mss2 = Field<55, 32>;
using Ec = Field<31, 26>;
using Dl = Field<19>;
using Ea = Field<18>;
using S = Field<17>;
using Coll = Field<16>;
using Mss = Field<15, 0>;  // BSC or FSC in [5:0]

inline constexpr u64 kEcOther = 0x00;
inline constexpr u64 kEcStage1Abort = 0x24;
inline constexpr u64 kBscFull = 0b000001;
inline constexpr u64 kBscTooLarge = 0b000100;
inline constexpr u64 kFscAlignment = 0x21;
}  // namespace pmbsr

/// PMBIDR_EL1, Profiling Buffer ID Register.
namespace pmbidr {
using MaxBuffSize = Field<47, 32>;
using Ea = Field<11, 8>;
using F = Field<5>;
using P = Field<4>;
using Align = Field<3, 0>;
}  // namespace pmbidr

/// Bits of the Events packet, PMSEVFR_EL1 and PMSNEVFR_EL1.
namespace event {
inline constexpr u64 kException = u64{1} << 0;
inline constexpr u64 kRetired = u64{1} << 1;
inline constexpr u64 kL1dAccess = u64{1} << 2;
inline constexpr u64 kL1dRefill = u64{1} << 3;
inline constexpr u64 kTlbAccess = u64{1} << 4;
inline constexpr u64 kTlbWalk = u64{1} << 5;
inline constexpr u64 kNotTaken = u64{1} << 6;  // condition failed
inline constexpr u64 kMispredicted = u64{1} << 7;
inline constexpr u64 kLlcAccess = u64{1} << 8;
inline constexpr u64 kLlcMiss = u64{1} << 9;
inline constexpr u64 kRemote = u64{1} << 10;
inline constexpr u64 kMisaligned = u64{1} << 11;
inline constexpr u64 kL2Access = u64{1} << 19;
inline constexpr u64 kL2Miss = u64{1} << 20;
inline constexpr u64 kHitModified = u64{1} << 21;
inline constexpr u64 kRecentlyFetched = u64{1} << 22;
inline constexpr u64 kSnooped = u64{1} << 23;
}  // namespace event

/// Every record is this long and this aligned: it never crosses a page (PMSIDR_EL1.MaxSize = PMBIDR_EL1.Align = 6).
inline constexpr unsigned kRecordLog2 = 6;
inline constexpr u64 kRecordBytes = u64{1} << kRecordLog2;

/// What the registers of one unit can hold: the architecture at `pmsver` as this unit implements it.
struct RegisterMasks {
    u64 pmscr = 0;
    u64 pmsirr = 0;
    u64 pmsicr = 0;
    u64 pmsfcr = 0;
    u64 pmsevfr = 0;  // also PMSNEVFR_EL1: the events that can be filtered
    u64 pmslatfr = 0;
    u64 pmblimitr = 0;
    u64 pmbptr = 0;
    u64 pmbsr = 0;

    friend bool operator==(const RegisterMasks&, const RegisterMasks&) = default;
};

/// PMSNEVFR_EL1 and PMSFCR_EL1.FnE exist from SPEv1p2 on.
constexpr bool has_inverted_event_filter(u8 pmsver) { return pmsver >= kSpeV1p2; }
constexpr bool has_discard_mode(u8 pmsver) { return pmsver >= kSpeV1p2; }

/// Events a guest can filter by: Arm ARM, PMSEVFR_EL1. From SPEv1p4 on all architected ones without SVE or SME.
constexpr u64 filterable_events(u8 pmsver) {
    constexpr u64 v1p0 = event::kRetired | event::kL1dRefill | event::kTlbWalk | event::kMispredicted;
    constexpr u64 v1p4_adds = event::kL1dAccess | event::kTlbAccess | event::kLlcAccess | event::kLlcMiss |
                              event::kRemote | Field<23, 19>::kMask;
    return v1p0 | (pmsver >= kSpeV1p1 ? event::kMisaligned : 0) | (pmsver >= kSpeV1p2 ? event::kNotTaken : 0) |
           (pmsver >= kSpeV1p4 ? v1p4_adds : 0);
}

/// `counter_bits` is 12 or 16: the width of latency counters.
constexpr RegisterMasks register_masks(u8 pmsver, unsigned counter_bits) {
    RegisterMasks masks;
    masks.pmscr = pmscr::E0Spe::kMask | pmscr::E1Spe::kMask | pmscr::Cx::kMask | pmscr::Pa::kMask | pmscr::Ts::kMask;
    masks.pmsirr = pmsirr::Interval::kMask | pmsirr::Rnd::kMask;
    masks.pmsicr = pmsicr::Count::kMask;
    masks.pmsfcr = pmsfcr::Fe::kMask | pmsfcr::Ft::kMask | pmsfcr::Fl::kMask | pmsfcr::B::kMask | pmsfcr::Ld::kMask |
                   pmsfcr::St::kMask | (has_inverted_event_filter(pmsver) ? pmsfcr::FnE::kMask : 0);
    masks.pmsevfr = filterable_events(pmsver);
    masks.pmslatfr = ones(counter_bits);
    masks.pmblimitr = pmblimitr::kLimitMask | pmblimitr::Fm::kMask | pmblimitr::E::kMask |
                      (pmsver >= kSpeV1p2 ? pmblimitr::Pmfz::kMask : 0);
    masks.pmbptr = ~u64{0};
    masks.pmbsr = pmbsr::Ec::kMask | pmbsr::Dl::kMask | pmbsr::Ea::kMask | pmbsr::S::kMask | pmbsr::Coll::kMask |
                  pmbsr::Mss::kMask;
    return masks;
}

/// PMSCR_EL1.PCT = 0b01: without EL2 timestamps are the physical count and the field ignores writes.
inline constexpr u64 kPmscrFixed = pmscr::Pct::put(0b01);

/// PMSIDR_EL1: instruction population, load data source, all filters; minimum interval 1024; no random extra phase.
constexpr u64 pmsidr_value(u8 pmsver, unsigned counter_bits) {
    constexpr u64 interval_1024 = 4;
    return pmsidr::Fe::put(1) | pmsidr::Ft::put(1) | pmsidr::Fl::put(1) | pmsidr::ArchInst::put(1) |
           pmsidr::Lds::put(1) | pmsidr::FnE::put(has_inverted_event_filter(pmsver)) |
           pmsidr::Interval::put(interval_1024) | pmsidr::MaxSize::put(kRecordLog2) |
           pmsidr::CountSize::put(counter_bits == 16 ? 3 : 2);
}

/// PMBIDR_EL1: not owned by a higher Exception level; Access flag and dirty state managed; external aborts on writes
/// ignored. `max_buffer_size` as encode_max_buffer_size() returns it.
constexpr u64 pmbidr_value(u16 max_buffer_size) {
    return pmbidr::Align::put(kRecordLog2) | pmbidr::F::put(1) | pmbidr::Ea::put(1) |
           pmbidr::MaxBuffSize::put(max_buffer_size);
}

}  // namespace vmm::spe
