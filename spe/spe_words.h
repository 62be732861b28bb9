// Fields of the profiling registers, and which of their bits exist in each version of the extension.
// Arm ARM (DDI 0487), "Statistical Profiling Extension registers".
#pragma once

#include <optional>

#include "spe/features.h"
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

/// PMSICR_EL1, Sampling Interval Counter Register.
namespace pmsicr {
using Ecount = Field<63, 56>;  // with PMSIDR_EL1.ERnd: operations left of the random extra phase
using Count = Field<31, 0>;
}  // namespace pmsicr

/// PMSFCR_EL1, Sampling Filter Control Register.
namespace pmsfcr {
using Mask = Field<52, 48>;   // EFT: SIMDm, FPm, STm, LDm, Bm; the types that must match exactly
using Types = Field<20, 16>;  // the types below together
using Simd = Field<20>;       // EFT
using Fp = Field<19>;         // EFT
using St = Field<18>;
using Ld = Field<17>;
using B = Field<16>;
using Fds = Field<4>;  // data source filter
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
using Fpf = Field<27>;
using Eft = Field<26>;
using Crr = Field<25>;
using Pbt = Field<24>;
using CountSize = Field<19, 16>;
using MaxSize = Field<15, 12>;
using Interval = Field<11, 8>;
using Fds = Field<7>;
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
inline constexpr u64 kEcImplementationDefined = 0x1F;
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

/// The packets of a record never take more. By default every record is this long and this aligned, and so never crosses a
/// page (PMSIDR_EL1.MaxSize = PMBIDR_EL1.Align = 6); other sizes add padding.
inline constexpr u64 kRecordBytes = 64;

/// Data sources that the models tell, as values of the packet (0, 8..0xC, 0xE): PMSDSFR_EL1 has a bit for each.
inline constexpr u64 kDataSources = 0x5F01;

/// What the registers of one unit can hold.
struct RegisterMasks {
    u64 pmscr = 0;
    u64 pmsirr = 0;
    u64 pmsicr = 0;
    u64 pmsfcr = 0;
    u64 pmsevfr = 0;  // also PMSNEVFR_EL1: the events that can be filtered
    u64 pmslatfr = 0;
    u64 pmsdsfr = 0;
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

constexpr RegisterMasks register_masks(const Features& features) {
    const u8 pmsver = features.pmsver;
    RegisterMasks masks;
    masks.pmscr = pmscr::E0Spe::kMask | pmscr::E1Spe::kMask | pmscr::Cx::kMask | pmscr::Pa::kMask | pmscr::Ts::kMask;
    masks.pmsirr = pmsirr::Interval::kMask | pmsirr::Rnd::kMask;
    masks.pmsicr = pmsicr::Count::kMask | (features.ernd ? pmsicr::Ecount::kMask : 0);
    masks.pmsfcr = pmsfcr::Fe::kMask | pmsfcr::Ft::kMask | pmsfcr::Fl::kMask | pmsfcr::B::kMask | pmsfcr::Ld::kMask |
                   pmsfcr::St::kMask | (has_inverted_event_filter(pmsver) ? pmsfcr::FnE::kMask : 0) |
                   (features.fds ? pmsfcr::Fds::kMask : 0) |
                   (features.eft ? pmsfcr::Types::kMask | pmsfcr::Mask::kMask : 0);
    masks.pmsevfr = filterable_events(pmsver);
    masks.pmslatfr = ones(features.counter_bits);
    masks.pmsdsfr = features.fds ? kDataSources : 0;
    masks.pmblimitr = pmblimitr::kLimitMask | pmblimitr::Fm::kMask | pmblimitr::E::kMask |
                      (pmsver >= kSpeV1p2 ? pmblimitr::Pmfz::kMask : 0);
    masks.pmbptr = ~u64{0};
    masks.pmbsr = pmbsr::Ec::kMask | pmbsr::Dl::kMask | pmbsr::Ea::kMask | pmbsr::S::kMask | pmbsr::Coll::kMask |
                  pmbsr::Mss::kMask;
    return masks;
}

/// PMSCR_EL1.PCT = 0b01: without EL2 timestamps are the physical count and the field ignores writes.
inline constexpr u64 kPmscrFixed = pmscr::Pct::put(0b01);

/// log2 of a power of two.
constexpr unsigned log2_of(unsigned value) {
    unsigned result = 0;
    while (value > 1) {
        value >>= 1;
        ++result;
    }
    return result;
}

/// PMSIDR_EL1.Interval for a minimum interval of so many operations; nullopt where there is no encoding.
constexpr std::optional<u64> interval_code(unsigned operations) {
    switch (operations) {
        case 256: return 0;
        case 512: return 2;
        case 768: return 3;
        case 1024: return 4;
        case 1536: return 5;
        case 2048: return 6;
        case 3072: return 7;
        case 4096: return 8;
        default: return std::nullopt;
    }
}

/// PMSIDR_EL1: the three filters and the optional features.
constexpr u64 pmsidr_value(const Features& f) {
    return pmsidr::Fe::put(1) | pmsidr::Ft::put(1) | pmsidr::Fl::put(1) | pmsidr::ArchInst::put(f.arch_inst) |
           pmsidr::Lds::put(f.lds) | pmsidr::ERnd::put(f.ernd) |
           pmsidr::FnE::put(has_inverted_event_filter(f.pmsver)) | pmsidr::Fds::put(f.fds) |
           pmsidr::Interval::put(interval_code(f.min_interval).value_or(0)) | pmsidr::MaxSize::put(log2_of(f.record_bytes)) |
           pmsidr::CountSize::put(f.counter_bits == 16 ? 3 : 2) | pmsidr::Pbt::put(f.pbt) | pmsidr::Crr::put(f.crr) |
           pmsidr::Eft::put(f.eft) | pmsidr::Fpf::put(f.eft);
}

/// PMBIDR_EL1: Access flag and dirty state managed; external aborts on writes ignored. `max_buffer_size` as
/// encode_max_buffer_size() returns it.
constexpr u64 pmbidr_value(const Features& features, u16 max_buffer_size) {
    return pmbidr::Align::put(log2_of(features.align_bytes)) | pmbidr::F::put(1) | pmbidr::P::put(features.higher_owner) |
           pmbidr::Ea::put(1) | pmbidr::MaxBuffSize::put(max_buffer_size);
}

}  // namespace vmm::spe
