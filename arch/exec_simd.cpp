// Advanced SIMD copy, extract, table lookup, permute and modified immediate.
#if defined(__SSSE3__)
#include <immintrin.h>
#endif

#include "arch/decode_section.h"
#include "arch/simd_lanes.h"

namespace vmm::arch {

namespace {

using namespace operands;
using namespace simd;

// ── Copy ───────────────────────────────────────────────────────────────────────────────────────────────────

/// log2 of the element's bytes: the lowest set bit of imm5. 4 or more (which no form allows) for the reserved
/// x0000.
constexpr u32 copy_size(u32 imm5) {
    return static_cast<u32>(std::countr_zero(imm5));
}
constexpr u32 copy_index(u32 imm5, u32 size) {
    return imm5 >> (size + 1);
}

Exec dup_element(Vcpu& v, Q q, Imm5 imm5, Rn rn, Rd rd) {
    const u32 size = copy_size(imm5);
    return with_vector_element<kUnsigned, kBHSD>(v, size, q, [&](auto element) {
        using T = decltype(element);
        return write_vector(v, rd, q, broadcast(v.s.v[rn].template lane<T>(copy_index(imm5, size))));
    });
}

Exec dup_scalar(Vcpu& v, Imm5 imm5, Rn rn, Rd rd) {
    const u32 size = copy_size(imm5);
    return with_element<kUnsigned, kBHSD>(v, size, [&](auto element) {
        using T = decltype(element);
        return write_scalar(v, rd, v.s.v[rn].template lane<T>(copy_index(imm5, size)));
    });
}

Exec dup_general(Vcpu& v, Q q, Imm5 imm5, Rn rn, Rd rd) {
    return with_vector_element<kUnsigned, kBHSD>(v, copy_size(imm5), q, [&](auto element) {
        return write_vector(v, rd, q, broadcast(static_cast<decltype(element)>(v.x(rn))));
    });
}

Exec ins_general(Vcpu& v, Imm5 imm5, Rn rn, Rd rd) {
    const u32 size = copy_size(imm5);
    return with_element<kUnsigned, kBHSD>(v, size, [&](auto element) {
        v.s.v[rd].set_lane(copy_index(imm5, size), static_cast<decltype(element)>(v.x(rn)));
        return Exec::next;
    });
}

Exec ins_element(Vcpu& v, Imm5 imm5, Imm4 imm4, Rn rn, Rd rd) {
    const u32 size = copy_size(imm5);
    return with_element<kUnsigned, kBHSD>(v, size, [&](auto element) {
        using T = decltype(element);
        v.s.v[rd].set_lane(copy_index(imm5, size), v.s.v[rn].template lane<T>(imm4 >> size));
        return Exec::next;
    });
}

Exec smov(Vcpu& v, Q q, Imm5 imm5, Rn rn, Rd rd) {
    const u32 size = copy_size(imm5);
    if (size == 2 && q == 0) {
        return v.undefined();
    }
    return with_element<kSigned, kBHS>(v, size, [&](auto element) {
        const s64 value = v.s.v[rn].template lane<decltype(element)>(copy_index(imm5, size));
        v.set_reg(rd, q != 0, static_cast<u64>(value));
        return Exec::next;
    });
}

Exec umov(Vcpu& v, Q q, Imm5 imm5, Rn rn, Rd rd) {
    const u32 size = copy_size(imm5);
    if ((size == 3) != (q != 0)) {
        return v.undefined();
    }
    return with_element<kUnsigned, kBHSD>(v, size, [&](auto element) {
        v.set_x(rd, v.s.v[rn].template lane<decltype(element)>(copy_index(imm5, size)));
        return Exec::next;
    });
}

// ── Extract ────────────────────────────────────────────────────────────────────────────────────────────────

/// 64 bits of high:low from bit `shift` up; 0 <= shift < 64.
constexpr u64 extract(u64 low, u64 high, unsigned shift) {
    return static_cast<u64>((u128{high} << 64 | low) >> shift);
}

Exec ext(Vcpu& v, Q q, Rm rm, Imm4 imm4, Rn rn, Rd rd) {
    const Vreg n = v.s.v[rn];
    const Vreg m = v.s.v[rm];
    const unsigned shift = 8 * (imm4 & 7);
    const bool upper = (imm4 & 8) != 0;
    if (q == 0) {
        return upper ? v.undefined() : write_vector(v, rd, 0, {extract(n.lo, m.lo, shift), 0});
    }
    v.s.v[rd] = upper ? Vreg{extract(n.hi, m.lo, shift), extract(m.lo, m.hi, shift)}
                      : Vreg{extract(n.lo, n.hi, shift), extract(n.hi, m.lo, shift)};
    return Exec::next;
}

// ── Table lookup ───────────────────────────────────────────────────────────────────────────────────────────

/// The bytes of `table` at those of `index` that lie in base..base+15; zero for others.
Vreg lookup_16(const Vreg& table, const Vreg& index, unsigned base) {
#if defined(__SSSE3__)
    // PSHUFB clears bytes whose index has bit 7 set; the saturating addition sets it in every index above 15.
    const __m128i relative =
        _mm_sub_epi8(std::bit_cast<__m128i>(index), _mm_set1_epi8(static_cast<char>(base)));
    const __m128i select = _mm_adds_epu8(relative, _mm_set1_epi8(0x70));
    return std::bit_cast<Vreg>(_mm_shuffle_epi8(std::bit_cast<__m128i>(table), select));
#else
    const auto bytes = lanes_of<u8>(table);
    const auto wanted = lanes_of<u8>(index);
    Lanes<u8> result;
    for (std::size_t i = 0; i < result.size(); ++i) {
        const unsigned relative = wanted[i] - base;
        result[i] = relative < 16 ? bytes[relative] : u8{0};
    }
    return vreg_of<u8>(result);
#endif
}

template <bool KeepOutOfRange>
Exec table_lookup(Vcpu& v, Q q, Rm rm, Operand<"len", 2> len, Rn rn, Rd rd) {
    const Vreg index = v.s.v[rm];
    Vreg result;
    for (unsigned i = 0; i <= len; ++i) {
        const Vreg part = lookup_16(v.s.v[(rn + i) % 32], index, 16 * i);
        result.lo |= part.lo;
        result.hi |= part.hi;
    }
    if constexpr (KeepOutOfRange) {
        const auto wanted = lanes_of<u8>(index);
        const auto old = lanes_of<u8>(v.s.v[rd]);
        auto bytes = lanes_of<u8>(result);
        const unsigned table_bytes = 16 * (len + 1);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            bytes[i] = wanted[i] < table_bytes ? bytes[i] : old[i];
        }
        result = vreg_of<u8>(bytes);
    }
    return write_vector(v, rd, q, result);
}

// ── Permute ────────────────────────────────────────────────────────────────────────────────────────────────

template <unsigned Part>
Exec zip(Vcpu& v, Q q, Size size, Rm rm, Rn rn, Rd rd) {
    return with_vector_element<kUnsigned, kBHSD>(v, size, q, [&](auto element) {
        using T = decltype(element);
        if (q == 0) {
            // The two halves of a 64-bit interleaving are those of the 128-bit ZIP1.
            const Vreg both = shuffle<T, zip_order<0>>(v.s.v[rn], v.s.v[rm]);
            return write_vector(v, rd, 0, {Part == 0 ? both.lo : both.hi, 0});
        }
        v.s.v[rd] = shuffle<T, zip_order<Part>>(v.s.v[rn], v.s.v[rm]);
        return Exec::next;
    });
}

template <unsigned Part>
Exec unzip_vectors(Vcpu& v, Q q, Size size, Rm rm, Rn rn, Rd rd) {
    return with_vector_element<kUnsigned, kBHSD>(v, size, q, [&](auto element) {
        return write_vector(v, rd, q, unzip<decltype(element), Part>(v.s.v[rn], v.s.v[rm], q));
    });
}

template <unsigned Part>
Exec transpose(Vcpu& v, Q q, Size size, Rm rm, Rn rn, Rd rd) {
    return with_vector_element<kUnsigned, kBHSD>(v, size, q, [&](auto element) {
        return write_vector(v, rd, q, shuffle<decltype(element), trn_order<Part>>(v.s.v[rn], v.s.v[rm]));
    });
}

// ── Modified immediate ─────────────────────────────────────────────────────────────────────────────────────

using Abc = Operand<"abc", 3>;
using Defgh = Operand<"defgh", 5>;

/// The sign, exponent and fraction of an 8-bit floating-point immediate, in a format with `exponent_bits`.
constexpr u64 expand_float(u32 imm8, unsigned width, unsigned exponent_bits) {
    const u64 sign = imm8 >> 7;
    const bool small = bit(imm8, 6);
    const u64 exponent =
        (u64{!small} << (exponent_bits - 1)) | (small ? ones(exponent_bits - 3) << 2 : 0) | bits(imm8, 5, 4);
    return sign << (width - 1) | exponent << (width - 1 - exponent_bits) |
           bits(imm8, 3, 0) << (width - 5 - exponent_bits);
}

/// AdvSIMDExpandImm for op = 0: also what MVNI, ORR and BIC start from.
template <unsigned Cmode>
constexpr u64 expand_immediate(u32 imm8) {
    if constexpr (Cmode < 0b1000) {
        return replicate(u64{imm8} << (8 * (Cmode >> 1)), 32);
    } else if constexpr (Cmode < 0b1100) {
        return replicate(u64{imm8} << (8 * ((Cmode >> 1) & 1)), 16);
    } else if constexpr (Cmode == 0b1100) {
        return replicate(u64{imm8} << 8 | 0xFF, 32);
    } else if constexpr (Cmode == 0b1101) {
        return replicate(u64{imm8} << 16 | 0xFFFF, 32);
    } else if constexpr (Cmode == 0b1110) {
        return replicate(imm8, 8);
    } else {
        return replicate(expand_float(imm8, 32, 8), 32);
    }
}

template <unsigned Cmode>
Exec movi(Vcpu& v, Q q, Abc abc, Defgh defgh, Rd rd) {
    const u64 imm = expand_immediate<Cmode>(abc << 5 | defgh);
    return write_vector(v, rd, q, {imm, imm});
}

template <unsigned Cmode>
Exec mvni(Vcpu& v, Q q, Abc abc, Defgh defgh, Rd rd) {
    const u64 imm = ~expand_immediate<Cmode>(abc << 5 | defgh);
    return write_vector(v, rd, q, {imm, imm});
}

template <unsigned Cmode>
Exec orr_imm(Vcpu& v, Q q, Abc abc, Defgh defgh, Rd rd) {
    const u64 imm = expand_immediate<Cmode>(abc << 5 | defgh);
    return write_vector(v, rd, q, {v.s.v[rd].lo | imm, v.s.v[rd].hi | imm});
}

template <unsigned Cmode>
Exec bic_imm(Vcpu& v, Q q, Abc abc, Defgh defgh, Rd rd) {
    const u64 imm = expand_immediate<Cmode>(abc << 5 | defgh);
    return write_vector(v, rd, q, {v.s.v[rd].lo & ~imm, v.s.v[rd].hi & ~imm});
}

/// MOVI of 64 bits: each bit of the immediate becomes a byte.
Exec movi_64(Vcpu& v, Q q, Abc abc, Defgh defgh, Rd rd) {
    const u32 imm8 = abc << 5 | defgh;
    u64 imm = 0;
    for (unsigned i = 0; i < 8; ++i) {
        imm |= bit(imm8, i) ? u64{0xFF} << (8 * i) : 0;
    }
    return write_vector(v, rd, q, {imm, imm});
}

Exec fmov_double(Vcpu& v, Abc abc, Defgh defgh, Rd rd) {
    const u64 imm = expand_float(abc << 5 | defgh, 64, 11);
    return write_vector(v, rd, 1, {imm, imm});
}

Exec fmov_half(Vcpu& v, Q q, Abc abc, Defgh defgh, Rd rd) {
    const u64 imm = replicate(expand_float(abc << 5 | defgh, 16, 5), 16);
    return write_vector(v, rd, q, {imm, imm});
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_simd.inc"
};

}  // namespace

std::span<const DecodeRow> simd_rows() {
    return kRows;
}

}  // namespace vmm::arch
