#include "arch/crypto.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include <array>
#include <bit>

namespace vmm::arch {

namespace {

// ── AES (FIPS 197) ─────────────────────────────────────────────────────────────────────────────────────────

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

// ── SHA-1 and SHA-256 (FIPS 180-4) ─────────────────────────────────────────────────────────────────────────

constexpr u32 choose(u32 x, u32 y, u32 z) {
    return ((y ^ z) & x) ^ z;
}
constexpr u32 parity(u32 x, u32 y, u32 z) {
    return x ^ y ^ z;
}
constexpr u32 majority(u32 x, u32 y, u32 z) {
    return (x & y) | ((x | y) & z);
}

/// Four rounds of SHA-1. d = {a, b, c, d}, lane 0 of n = e, m = schedule words with the round constant added.
template <u32 (*F)(u32, u32, u32)>
Vreg sha1_rounds(Vreg d, Vreg n, Vreg m) {
    auto [a, b, c, x] = std::bit_cast<Words>(d);
    u32 e = static_cast<u32>(n.lo);
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

// ── Polynomial multiplication ──────────────────────────────────────────────────────────────────────────────

void pmull64(Vreg& d, u64 n, u64 m) {
    u128 product = 0;
    for (unsigned i = 0; i < 64; ++i) {
        product ^= (u128{n} << i) & (u128{0} - ((m >> i) & 1));
    }
    d = Vreg{static_cast<u64>(product), static_cast<u64>(product >> 64)};
}

// The functions above map old values to the new one; these adapt them to the table's form.
template <Vreg (*F)(Vreg)>
void assign(Vreg& d, const Vreg& n) {
    d = F(n);
}
template <Vreg (*F)(Vreg, Vreg)>
void update(Vreg& d, const Vreg& n) {
    d = F(d, n);
}
template <Vreg (*F)(Vreg, Vreg, Vreg)>
void update(Vreg& d, const Vreg& n, const Vreg& m) {
    d = F(d, n, m);
}

constexpr CryptoPrimitives kPortable{
    .aese = update<aese>,
    .aesd = update<aesd>,
    .aesmc = assign<aesmc>,
    .aesimc = assign<aesimc>,
    .sha1c = update<sha1_rounds<choose>>,
    .sha1p = update<sha1_rounds<parity>>,
    .sha1m = update<sha1_rounds<majority>>,
    .sha1su0 = update<sha1su0>,
    .sha1su1 = update<sha1su1>,
    .sha256h = update<sha256h>,
    .sha256h2 = update<sha256h2>,
    .sha256su0 = update<sha256su0>,
    .sha256su1 = update<sha256su1>,
    .pmull64 = pmull64,
};

// ── x86 ────────────────────────────────────────────────────────────────────────────────────────────────────

#if defined(__x86_64__)

__m128i to_host(const Vreg& value) {
    return std::bit_cast<__m128i>(value);
}
void store(Vreg& d, __m128i value) {
    d = std::bit_cast<Vreg>(value);
}

__attribute__((target("aes"))) void aese_x86(Vreg& d, const Vreg& n) {
    store(d, _mm_aesenclast_si128(_mm_xor_si128(to_host(d), to_host(n)), _mm_setzero_si128()));
}
__attribute__((target("aes"))) void aesd_x86(Vreg& d, const Vreg& n) {
    store(d, _mm_aesdeclast_si128(_mm_xor_si128(to_host(d), to_host(n)), _mm_setzero_si128()));
}
__attribute__((target("aes"))) void aesmc_x86(Vreg& d, const Vreg& n) {
    // There is no bare MixColumns: undo the row shift and substitution that AESENC makes first.
    const __m128i zero = _mm_setzero_si128();
    store(d, _mm_aesenc_si128(_mm_aesdeclast_si128(to_host(n), zero), zero));
}
__attribute__((target("aes"))) void aesimc_x86(Vreg& d, const Vreg& n) {
    store(d, _mm_aesimc_si128(to_host(n)));
}

__attribute__((target("pclmul"))) void pmull64_x86(Vreg& d, u64 n, u64 m) {
    store(d, _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<s64>(n)),
                                  _mm_cvtsi64_si128(static_cast<s64>(m)), 0));
}

struct Sha256Host {
    __m128i abef;  // lanes from the lowest: f, e, b, a
    __m128i cdgh;  // h, g, d, c
};

/// SHA256RNDS2 makes two rounds and returns the new abef; the new cdgh is the old abef.
__attribute__((target("sha,sse4.1"))) Sha256Host sha256_rounds_x86(const Vreg& abcd, const Vreg& efgh,
                                                                   const Vreg& m) {
    const __m128i badc = _mm_shuffle_epi32(to_host(abcd), 0b10'11'00'01);
    const __m128i fehg = _mm_shuffle_epi32(to_host(efgh), 0b10'11'00'01);
    const __m128i abef = _mm_unpacklo_epi64(fehg, badc);
    const __m128i cdgh = _mm_unpackhi_epi64(fehg, badc);
    const __m128i words = to_host(m);
    const __m128i after_2 = _mm_sha256rnds2_epu32(cdgh, abef, words);
    return {_mm_sha256rnds2_epu32(abef, after_2, _mm_unpackhi_epi64(words, words)), after_2};
}

__attribute__((target("sha,sse4.1"))) void sha256h_x86(Vreg& d, const Vreg& n, const Vreg& m) {
    const auto [abef, cdgh] = sha256_rounds_x86(d, n, m);
    store(d, _mm_shuffle_epi32(_mm_unpackhi_epi64(abef, cdgh), 0b10'11'00'01));
}
__attribute__((target("sha,sse4.1"))) void sha256h2_x86(Vreg& d, const Vreg& n, const Vreg& m) {
    const auto [abef, cdgh] = sha256_rounds_x86(n, d, m);
    store(d, _mm_shuffle_epi32(_mm_unpacklo_epi64(abef, cdgh), 0b10'11'00'01));
}
__attribute__((target("sha,sse4.1"))) void sha256su0_x86(Vreg& d, const Vreg& n) {
    store(d, _mm_sha256msg1_epu32(to_host(d), to_host(n)));
}
__attribute__((target("sha,sse4.1"))) void sha256su1_x86(Vreg& d, const Vreg& n, const Vreg& m) {
    const __m128i middle = to_host({n.lo >> 32 | n.hi << 32, n.hi >> 32 | m.lo << 32});
    store(d, _mm_sha256msg2_epu32(_mm_add_epi32(to_host(d), middle), to_host(m)));
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
