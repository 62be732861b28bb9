#include "arch/crypto.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include <array>
#include <bit>

namespace vmm::arch {

namespace {

// ── AES (FIPS 197)
// ───────────────────────────────────────────────────────────────────────────────────────────────

/// Multiplication by x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
constexpr u8 xtime(u8 a) {
    return static_cast<u8>((a << 1) ^ ((a & 0x80) != 0 ? 0x1B : 0));
}

constexpr u8 gf_multiply(u8 a, u8 b) {
    u8 product = 0;
    for (; b != 0; b = static_cast<u8>(b >> 1), a = xtime(a)) {
        product = static_cast<u8>(product ^ ((b & 1) != 0 ? a : 0));
    }
    return product;
}

struct AesTables {
    std::array<u8, 256> sub{};
    std::array<u8, 256> inverse_sub{};
    std::array<u32, 256> mix{};          // column of MixColumns for its first byte
    std::array<u32, 256> inverse_mix{};  // ... of InvMixColumns
};

constexpr AesTables make_aes_tables() {
    AesTables t;
    // Walk the multiplicative group by its generator 3 and, in step, by the generator's inverse.
    u8 value = 1;
    u8 inverse = 1;
    do {
        value = gf_multiply(value, 0x03);
        inverse = gf_multiply(inverse, 0xF6);
        const u8 affine = static_cast<u8>(inverse ^ std::rotl(inverse, 1) ^ std::rotl(inverse, 2) ^
                                          std::rotl(inverse, 3) ^ std::rotl(inverse, 4) ^ 0x63);
        t.sub[value] = affine;
    } while (value != 1);
    t.sub[0] = 0x63;
    for (unsigned i = 0; i < 256; ++i) {
        const u8 a = static_cast<u8>(i);
        t.inverse_sub[t.sub[i]] = a;
        t.mix[i] = u32{gf_multiply(a, 2)} | u32{a} << 8 | u32{a} << 16 | u32{gf_multiply(a, 3)} << 24;
        t.inverse_mix[i] = u32{gf_multiply(a, 14)} | u32{gf_multiply(a, 9)} << 8 |
                           u32{gf_multiply(a, 13)} << 16 | u32{gf_multiply(a, 11)} << 24;
    }
    return t;
}

constexpr AesTables kAes = make_aes_tables();

using Bytes = std::array<u8, 16>;
using Words = std::array<u32, 4>;

Vreg exclusive_or(Vreg a, Vreg b) {
    return {a.lo ^ b.lo, a.hi ^ b.hi};
}

/// Byte i of the result is box[byte (i * Step mod 16) of the state]: 5 shifts the rows left, 13 right.
template <unsigned Step>
Vreg shift_rows_and_substitute(Vreg state, const std::array<u8, 256>& box) {
    const auto in = std::bit_cast<Bytes>(state);
    Bytes out;
    for (unsigned i = 0; i < 16; ++i) {
        out[i] = box[in[(i * Step) % 16]];
    }
    return std::bit_cast<Vreg>(out);
}

Vreg mix_columns(Vreg state, const std::array<u32, 256>& table) {
    const auto in = std::bit_cast<Bytes>(state);
    Words out;
    for (unsigned column = 0; column < 4; ++column) {
        const u8* byte = &in[4 * column];
        out[column] = table[byte[0]] ^ std::rotl(table[byte[1]], 8) ^ std::rotl(table[byte[2]], 16) ^
                      std::rotl(table[byte[3]], 24);
    }
    return std::bit_cast<Vreg>(out);
}

Vreg aese(Vreg d, Vreg n) {
    return shift_rows_and_substitute<5>(exclusive_or(d, n), kAes.sub);
}
Vreg aesd(Vreg d, Vreg n) {
    return shift_rows_and_substitute<13>(exclusive_or(d, n), kAes.inverse_sub);
}
Vreg aesmc(Vreg n) {
    return mix_columns(n, kAes.mix);
}
Vreg aesimc(Vreg n) {
    return mix_columns(n, kAes.inverse_mix);
}

// ── SHA-1 and SHA-256 (FIPS 180-4)
// ───────────────────────────────────────────────────────────────────────────────

constexpr u32 choose(u32 x, u32 y, u32 z) {
    return ((y ^ z) & x) ^ z;
}
constexpr u32 parity(u32 x, u32 y, u32 z) {
    return x ^ y ^ z;
}
constexpr u32 majority(u32 x, u32 y, u32 z) {
    return (x & y) | ((x | y) & z);
}

/// Four rounds of SHA-1. d = {a, b, c, d}, n = e, m = schedule words with the round constant added.
template <u32 (*F)(u32, u32, u32)>
Vreg sha1_rounds(Vreg d, u32 n, Vreg m) {
    auto [a, b, c, x] = std::bit_cast<Words>(d);
    u32 e = n;
    for (const u32 word : std::bit_cast<Words>(m)) {
        const u32 next = std::rotl(a, 5) + F(b, c, x) + e + word;
        e = x;
        x = c;
        c = std::rotl(b, 30);
        b = a;
        a = next;
    }
    return std::bit_cast<Vreg>(Words{a, b, c, x});
}

Vreg sha1su0(Vreg d, Vreg n, Vreg m) {
    return {d.hi ^ d.lo ^ m.lo, n.lo ^ d.hi ^ m.hi};
}

Vreg sha1su1(Vreg d, Vreg n) {
    const auto x = std::bit_cast<Words>(d);
    const auto y = std::bit_cast<Words>(n);
    Words w{std::rotl(x[0] ^ y[1], 1), std::rotl(x[1] ^ y[2], 1), std::rotl(x[2] ^ y[3], 1), 0};
    w[3] = std::rotl(x[3] ^ w[0], 1);
    return std::bit_cast<Vreg>(w);
}

struct Sha256State {
    Words abcd;
    Words efgh;
};

Sha256State sha256_rounds(Words abcd, Words efgh, Vreg m) {
    auto [a, b, c, d] = abcd;
    auto [e, f, g, h] = efgh;
    for (const u32 word : std::bit_cast<Words>(m)) {
        const u32 sum1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
        const u32 sum0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
        const u32 t1 = h + sum1 + choose(e, f, g) + word;
        const u32 t2 = sum0 + majority(a, b, c);
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    return {{a, b, c, d}, {e, f, g, h}};
}

Vreg sha256h(Vreg d, Vreg n, Vreg m) {
    return std::bit_cast<Vreg>(sha256_rounds(std::bit_cast<Words>(d), std::bit_cast<Words>(n), m).abcd);
}
Vreg sha256h2(Vreg d, Vreg n, Vreg m) {
    return std::bit_cast<Vreg>(sha256_rounds(std::bit_cast<Words>(n), std::bit_cast<Words>(d), m).efgh);
}

Vreg sha256su0(Vreg d, Vreg n) {
    const auto x = std::bit_cast<Words>(d);
    const std::array<u32, 5> w{x[0], x[1], x[2], x[3], static_cast<u32>(n.lo)};
    Words result;
    for (unsigned i = 0; i < 4; ++i) {
        result[i] = w[i] + (std::rotr(w[i + 1], 7) ^ std::rotr(w[i + 1], 18) ^ (w[i + 1] >> 3));
    }
    return std::bit_cast<Vreg>(result);
}

Vreg sha256su1(Vreg d, Vreg n, Vreg m) {
    const auto x = std::bit_cast<Words>(d);
    const auto y = std::bit_cast<Words>(n);
    const auto z = std::bit_cast<Words>(m);
    const Words middle{y[1], y[2], y[3], z[0]};
    Words w;
    for (unsigned i = 0; i < 4; ++i) {
        const u32 recent = i < 2 ? z[i + 2] : w[i - 2];
        w[i] = x[i] + middle[i] + (std::rotr(recent, 17) ^ std::rotr(recent, 19) ^ (recent >> 10));
    }
    return std::bit_cast<Vreg>(w);
}

// ── Polynomial multiplication
// ────────────────────────────────────────────────────────────────────────────────────

Vreg pmull64(u64 n, u64 m) {
    u128 product = 0;
    for (unsigned i = 0; i < 64; ++i) {
        product ^= (u128{n} << i) & (u128{0} - ((m >> i) & 1));
    }
    return {static_cast<u64>(product), static_cast<u64>(product >> 64)};
}

constexpr CryptoPrimitives kPortable{
    aese,    aesd,    aesmc,   aesimc,   sha1_rounds<choose>, sha1_rounds<parity>, sha1_rounds<majority>,
    sha1su0, sha1su1, sha256h, sha256h2, sha256su0,           sha256su1,           pmull64,
};

// ── x86
// ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#if defined(__x86_64__)

__m128i to_host(Vreg value) {
    return std::bit_cast<__m128i>(value);
}
Vreg from_host(__m128i value) {
    return std::bit_cast<Vreg>(value);
}

__attribute__((target("aes"))) Vreg aese_x86(Vreg d, Vreg n) {
    return from_host(_mm_aesenclast_si128(to_host(exclusive_or(d, n)), _mm_setzero_si128()));
}
__attribute__((target("aes"))) Vreg aesd_x86(Vreg d, Vreg n) {
    return from_host(_mm_aesdeclast_si128(to_host(exclusive_or(d, n)), _mm_setzero_si128()));
}
__attribute__((target("aes"))) Vreg aesmc_x86(Vreg n) {
    // There is no bare MixColumns: undo the row shift and substitution that AESENC makes first.
    const __m128i zero = _mm_setzero_si128();
    return from_host(_mm_aesenc_si128(_mm_aesdeclast_si128(to_host(n), zero), zero));
}
__attribute__((target("aes"))) Vreg aesimc_x86(Vreg n) {
    return from_host(_mm_aesimc_si128(to_host(n)));
}

__attribute__((target("pclmul"))) Vreg pmull64_x86(u64 n, u64 m) {
    return from_host(_mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<s64>(n)),
                                          _mm_cvtsi64_si128(static_cast<s64>(m)), 0));
}

// SHA256RNDS2 makes two rounds on {f, e, b, a} and {h, g, d, c} (lowest lane first) and returns the new {f,
// e, b, a}; the new {h, g, d, c} is the old {f, e, b, a}.
__m128i abef_of(Vreg abcd, Vreg efgh) {
    return to_host({std::rotr(efgh.lo, 32), std::rotr(abcd.lo, 32)});
}
__m128i cdgh_of(Vreg abcd, Vreg efgh) {
    return to_host({std::rotr(efgh.hi, 32), std::rotr(abcd.hi, 32)});
}

struct Sha256Host {
    Vreg abef;
    Vreg cdgh;
};

__attribute__((target("sha"))) Sha256Host sha256_rounds_x86(Vreg abcd, Vreg efgh, Vreg m) {
    const __m128i abef = abef_of(abcd, efgh);
    const __m128i after_2 = _mm_sha256rnds2_epu32(cdgh_of(abcd, efgh), abef, to_host(m));
    const __m128i after_4 = _mm_sha256rnds2_epu32(abef, after_2, to_host({m.hi, 0}));
    return {from_host(after_4), from_host(after_2)};
}

Vreg sha256h_x86(Vreg d, Vreg n, Vreg m) {
    const auto [abef, cdgh] = sha256_rounds_x86(d, n, m);
    return {std::rotr(abef.hi, 32), std::rotr(cdgh.hi, 32)};
}
Vreg sha256h2_x86(Vreg d, Vreg n, Vreg m) {
    const auto [abef, cdgh] = sha256_rounds_x86(n, d, m);
    return {std::rotr(abef.lo, 32), std::rotr(cdgh.lo, 32)};
}
__attribute__((target("sha"))) Vreg sha256su0_x86(Vreg d, Vreg n) {
    return from_host(_mm_sha256msg1_epu32(to_host(d), to_host(n)));
}
__attribute__((target("sha"))) Vreg sha256su1_x86(Vreg d, Vreg n, Vreg m) {
    const __m128i middle = to_host({n.lo >> 32 | n.hi << 32, n.hi >> 32 | m.lo << 32});
    return from_host(_mm_sha256msg2_epu32(_mm_add_epi32(to_host(d), middle), to_host(m)));
}

CryptoPrimitives choose_primitives() {
    CryptoPrimitives result = kPortable;
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) {
        if ((ecx & bit_AES) != 0) {
            result.aese = aese_x86;
            result.aesd = aesd_x86;
            result.aesmc = aesmc_x86;
            result.aesimc = aesimc_x86;
        }
        if ((ecx & bit_PCLMUL) != 0) {
            result.pmull64 = pmull64_x86;
        }
    }
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & bit_SHA) != 0) {
        result.sha256h = sha256h_x86;
        result.sha256h2 = sha256h2_x86;
        result.sha256su0 = sha256su0_x86;
        result.sha256su1 = sha256su1_x86;
    }
    return result;
}

#else

CryptoPrimitives choose_primitives() {
    return kPortable;
}

#endif

}  // namespace

const CryptoPrimitives& portable_crypto() {
    return kPortable;
}

const CryptoPrimitives& host_crypto() {
    static const CryptoPrimitives chosen = choose_primitives();
    return chosen;
}

}  // namespace vmm::arch
