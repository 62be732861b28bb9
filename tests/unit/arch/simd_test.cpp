// Advanced SIMD integer and cryptographic instructions: published vectors built from the instructions, and
// the rules that hold for whole groups. Lane arithmetic is checked at large by tests/oracle.
#include <array>
#include <bit>

#include <catch2/catch.hpp>

#include "arch/crypto.h"
#include "tests/unit/arch/ldst_bench.h"
#include "vmm/base/rng.h"

namespace vmm::arch::test {

namespace {

constexpr u32 kQcBit = u32{1} << 27;
constexpr unsigned kEcUnknown = 0x00;

/// An instruction with Vd, Vn and, where it has one, Vm.
constexpr u32 with_registers(u32 opcode, unsigned rd, unsigned rn, unsigned rm = 0) {
    return opcode | rm << 16 | rn << 5 | rd;
}

struct Pe {
    LdstWorld world;
    std::unique_ptr<Vcpu> vcpu = world.make_pe();
    Vreg& v(unsigned n) { return vcpu->s.v[n]; }

    void run(u32 insn) {
        INFO("instruction " << std::hex << insn);
        REQUIRE(execute(*vcpu, insn) == Exec::next);
    }
    bool is_undefined(u32 insn) {
        vcpu->s.esr_el1 = ~u64{0};
        return execute(*vcpu, insn) == Exec::exception && exception_class(*vcpu) == kEcUnknown;
    }
};

Vreg from_bytes(const std::array<u8, 16>& bytes) {
    return std::bit_cast<Vreg>(bytes);
}

// ── Published vectors ──────────────────────────────────────────────────────────────────────────────────────

constexpr u32 kAese = 0x4E284800;
constexpr u32 kAesd = 0x4E285800;
constexpr u32 kAesmc = 0x4E286800;
constexpr u32 kAesimc = 0x4E287800;

/// FIPS 197 appendix A.1: the expansion of the key 2b7e1516 28aed2a6 abf71588 09cf4f3c, big-endian words.
constexpr u32 kAesSchedule[44] = {
    0x2b7e1516, 0x28aed2a6, 0xabf71588, 0x09cf4f3c, 0xa0fafe17, 0x88542cb1, 0x23a33939, 0x2a6c7605,
    0xf2c295f2, 0x7a96b943, 0x5935807a, 0x7359f67f, 0x3d80477d, 0x4716fe3e, 0x1e237e44, 0x6d7a883b,
    0xef44a541, 0xa8525b7f, 0xb671253b, 0xdb0bad00, 0xd4d1c6f8, 0x7c839d87, 0xcaf2b8bc, 0x11f915bc,
    0x6d88a37a, 0x110b3efd, 0xdbf98641, 0xca0093fd, 0x4e54f70e, 0x5f5fc9f3, 0x84a64fb2, 0x4ea6dc4f,
    0xead27321, 0xb58dbad2, 0x312bf560, 0x7f8d292f, 0xac7766f3, 0x19fadc21, 0x28d12941, 0x575c006e,
    0xd014f9a8, 0xc9ee2589, 0xe13f0cc8, 0xb6630ca6};

/// FIPS 197 appendix B.
constexpr std::array<u8, 16> kAesPlain{0x32, 0x43, 0xf6, 0xa8, 0x88, 0x5a, 0x30, 0x8d,
                                       0x31, 0x31, 0x98, 0xa2, 0xe0, 0x37, 0x07, 0x34};
constexpr std::array<u8, 16> kAesCipher{0x39, 0x25, 0x84, 0x1d, 0x02, 0xdc, 0x09, 0xfb,
                                        0xdc, 0x11, 0x85, 0x97, 0x19, 0x6a, 0x0b, 0x32};

Vreg round_key(unsigned round) {
    std::array<u8, 16> bytes{};
    for (unsigned i = 0; i < 16; ++i) {
        bytes[i] = static_cast<u8>(kAesSchedule[4 * round + i / 4] >> (24 - 8 * (i % 4)));
    }
    return from_bytes(bytes);
}

TEST_CASE("AES-128 of FIPS 197 encrypts with AESE and AESMC") {
    Pe pe;
    pe.v(0) = from_bytes(kAesPlain);
    for (unsigned round = 0; round < 10; ++round) {
        pe.v(1) = round_key(round);
        pe.run(with_registers(kAese, 0, 1));
        if (round < 9) {
            pe.run(with_registers(kAesmc, 0, 0));
        }
    }
    const Vreg last = round_key(10);
    CHECK(Vreg{pe.v(0).lo ^ last.lo, pe.v(0).hi ^ last.hi} == from_bytes(kAesCipher));
}

TEST_CASE("AES-128 of FIPS 197 decrypts with AESD and AESIMC") {
    Pe pe;
    pe.v(0) = from_bytes(kAesCipher);
    for (unsigned round = 10; round > 0; --round) {
        pe.v(1) = round_key(round);
        if (round < 10) {
            pe.run(with_registers(kAesimc, 1, 1));
        }
        pe.run(with_registers(kAesd, 0, 1));
        if (round > 1) {
            pe.run(with_registers(kAesimc, 0, 0));
        }
    }
    const Vreg last = round_key(0);
    CHECK(Vreg{pe.v(0).lo ^ last.lo, pe.v(0).hi ^ last.hi} == from_bytes(kAesPlain));
}

using Words = std::array<u32, 4>;

Vreg from_words(const Words& words) {
    return std::bit_cast<Vreg>(words);
}
Words to_words(const Vreg& value) {
    return std::bit_cast<Words>(value);
}

/// The one padded block of the message "abc", as REV32 leaves it in V16..V19.
void load_abc_block(Pe& pe) {
    pe.v(16) = from_words({0x61626380, 0, 0, 0});
    pe.v(17) = Vreg{};
    pe.v(18) = Vreg{};
    pe.v(19) = from_words({0, 0, 0, 24});
}

constexpr u32 kAddWords = 0x4EA08400;  // ADD Vd.4S, Vn.4S, Vm.4S

TEST_CASE("SHA-1 of abc comes out of the SHA-1 instructions") {
    constexpr u32 kSha1[3] = {0x5E000000 /* C */, 0x5E001000 /* P */, 0x5E002000 /* M */};
    constexpr u32 kSha1su0 = 0x5E003000;
    constexpr u32 kSha1h = 0x5E280800;
    constexpr u32 kSha1su1 = 0x5E281800;
    constexpr u32 kConstants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    constexpr unsigned kKind[4] = {0, 1, 2, 1};

    Pe pe;
    load_abc_block(pe);
    pe.v(0) = from_words({0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476});
    pe.v(1) = Vreg{0xc3d2e1f0, 0};
    for (unsigned group = 0; group < 20; ++group) {
        const unsigned w = 16 + group % 4;
        if (group >= 4) {
            pe.run(with_registers(kSha1su0, w, 16 + (group + 1) % 4, 16 + (group + 2) % 4));
            pe.run(with_registers(kSha1su1, w, 16 + (group + 3) % 4));
        }
        const u32 k = kConstants[group / 5];
        pe.v(2) = from_words({k, k, k, k});
        pe.run(with_registers(kAddWords, 2, 2, w));
        pe.run(with_registers(kSha1h, 3, 0));
        pe.run(with_registers(kSha1[kKind[group / 5]], 0, 1, 2));
        pe.v(1) = pe.v(3);
    }
    pe.v(4) = from_words({0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476});
    pe.run(with_registers(kAddWords, 0, 0, 4));
    CHECK(to_words(pe.v(0)) == Words{0xa9993e36, 0x4706816a, 0xba3e2571, 0x7850c26c});
    CHECK(static_cast<u32>(pe.v(1).lo) + 0xc3d2e1f0 == 0x9cd0d89d);
}

constexpr u32 kSha256Constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

TEST_CASE("SHA-256 of abc comes out of the SHA-256 instructions") {
    constexpr u32 kSha256h = 0x5E004000;
    constexpr u32 kSha256h2 = 0x5E005000;
    constexpr u32 kSha256su1 = 0x5E006000;
    constexpr u32 kSha256su0 = 0x5E282800;
    const Vreg abcd = from_words({0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a});
    const Vreg efgh = from_words({0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19});

    Pe pe;
    load_abc_block(pe);
    pe.v(0) = abcd;
    pe.v(1) = efgh;
    for (unsigned group = 0; group < 16; ++group) {
        const unsigned w = 16 + group % 4;
        if (group >= 4) {
            pe.run(with_registers(kSha256su0, w, 16 + (group + 1) % 4));
            pe.run(with_registers(kSha256su1, w, 16 + (group + 2) % 4, 16 + (group + 3) % 4));
        }
        const u32* k = &kSha256Constants[4 * group];
        pe.v(2) = from_words({k[0], k[1], k[2], k[3]});
        pe.run(with_registers(kAddWords, 2, 2, w));
        pe.v(3) = pe.v(0);
        pe.run(with_registers(kSha256h, 0, 1, 2));
        pe.run(with_registers(kSha256h2, 1, 3, 2));
    }
    pe.v(4) = abcd;
    pe.v(5) = efgh;
    pe.run(with_registers(kAddWords, 0, 0, 4));
    pe.run(with_registers(kAddWords, 1, 1, 5));
    CHECK(to_words(pe.v(0)) == Words{0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223});
    CHECK(to_words(pe.v(1)) == Words{0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad});
}

TEST_CASE("PMULL of all ones is the square with every second bit set") {
    Pe pe;
    pe.v(1) = Vreg{~u64{0}, 3};
    pe.v(2) = Vreg{~u64{0}, 5};
    pe.run(with_registers(0x0EE0E000, 0, 1, 2));  // PMULL V0.1Q, V1.1D, V2.1D
    CHECK(pe.v(0) == Vreg{0x5555555555555555, 0x5555555555555555});
    pe.run(with_registers(0x4EE0E000, 1, 1, 2));  // PMULL2 onto its own source: (x + 1)(x^2 + 1)
    CHECK(pe.v(1) == Vreg{0xF, 0});
}

/// The new value of Vd.
template <class F, class... Operands>
Vreg result_of(F f, Vreg d, Operands... operands) {
    f(d, operands...);
    return d;
}

TEST_CASE("the portable and the host's cryptographic primitives agree") {
    const CryptoPrimitives& a = portable_crypto();
    const CryptoPrimitives& b = host_crypto();
    Rng rng(0xC0DE);
    for (int i = 0; i < 2000; ++i) {
        const Vreg d{rng.next(), rng.next()};
        const Vreg n{rng.next(), rng.next()};
        const Vreg m{rng.next(), rng.next()};
        for (const auto f :
             {&CryptoPrimitives::aese, &CryptoPrimitives::aesd, &CryptoPrimitives::aesmc,
              &CryptoPrimitives::aesimc, &CryptoPrimitives::sha1su1, &CryptoPrimitives::sha256su0}) {
            REQUIRE(result_of(a.*f, d, n) == result_of(b.*f, d, n));
        }
        for (const auto f : {&CryptoPrimitives::sha1c, &CryptoPrimitives::sha1p, &CryptoPrimitives::sha1m,
                             &CryptoPrimitives::sha1su0, &CryptoPrimitives::sha256h,
                             &CryptoPrimitives::sha256h2, &CryptoPrimitives::sha256su1}) {
            REQUIRE(result_of(a.*f, d, n, m) == result_of(b.*f, d, n, m));
        }
        REQUIRE(result_of(a.pmull64, d, n.lo, m.lo) == result_of(b.pmull64, d, n.lo, m.lo));
        REQUIRE(result_of(a.aesimc, d, result_of(a.aesmc, d, n)) == n);
    }
}

// The portable implementation also stands alone, on hosts where the comparison above is with itself.
TEST_CASE("the portable AES round makes the first round of FIPS 197 appendix B") {
    const CryptoPrimitives& crypto = portable_crypto();
    const Vreg substituted = result_of(crypto.aese, from_bytes(kAesPlain), round_key(0));
    CHECK(result_of(crypto.aesmc, Vreg{}, substituted) ==
          from_bytes({0x04, 0x66, 0x81, 0xe5, 0xe0, 0xcb, 0x19, 0x9a, 0x48, 0xf8, 0xd3, 0x7a, 0x28, 0x06,
                      0x26, 0x4c}));
}

// ── Rules of whole groups ──────────────────────────────────────────────────────────────────────────────────

TEST_CASE("64-bit vector forms clear the upper half and scalar forms everything above the element") {
    Pe pe;
    pe.v(1) = Vreg{0x0102030405060708, 0x1112131415161718};
    pe.v(0) = Vreg{~u64{0}, ~u64{0}};
    pe.run(with_registers(0x0E208400, 0, 1, 1));  // ADD V0.8B
    CHECK(pe.v(0) == Vreg{0x020406080A0C0E10, 0});
    pe.v(0) = Vreg{~u64{0}, ~u64{0}};
    pe.run(with_registers(0x5E200C00, 0, 1, 1));  // SQADD B0
    CHECK(pe.v(0) == Vreg{0x10, 0});
    pe.v(0) = Vreg{~u64{0}, ~u64{0}};
    pe.run(with_registers(0x0E31B800, 0, 1));  // ADDV B0, V1.8B
    CHECK(pe.v(0) == Vreg{36, 0});
}

TEST_CASE("the narrowing 2 forms write the upper half and keep the lower") {
    Pe pe;
    pe.v(0) = Vreg{0x1111111111111111, 0x2222222222222222};
    pe.v(1) = Vreg{0x0001000200030004, 0x0005000600070008};
    pe.run(with_registers(0x4E212800, 0, 1));  // XTN2 V0.16B, V1.8H
    CHECK(pe.v(0) == Vreg{0x1111111111111111, 0x0506070801020304});
    pe.run(with_registers(0x0E212800, 1, 1));  // XTN V1.8B, V1.8H
    CHECK(pe.v(1) == Vreg{0x0506070801020304, 0});
}

TEST_CASE("QC is set by a saturating lane, is sticky, and is not set by lanes a 64-bit vector lacks") {
    Pe pe;
    constexpr u32 kSqadd8b = 0x0E200C00;
    pe.v(1) = Vreg{0x0102030405060708, 0x7F7F7F7F7F7F7F7F};
    pe.run(with_registers(kSqadd8b, 0, 1, 1));
    CHECK((pe.vcpu->s.fpsr & kQcBit) == 0);
    pe.run(with_registers(kSqadd8b | 1u << 30, 0, 1, 1));
    CHECK(pe.vcpu->s.fpsr == kQcBit);
    CHECK(pe.v(0) == Vreg{0x020406080A0C0E10, 0x7F7F7F7F7F7F7F7F});
    pe.run(with_registers(kSqadd8b, 0, 1, 1));
    CHECK(pe.vcpu->s.fpsr == kQcBit);
}

TEST_CASE("a table of registers wraps from V31 to V0") {
    Pe pe;
    pe.v(31) = Vreg{0x0706050403020100, 0x0F0E0D0C0B0A0908};
    pe.v(0) = Vreg{0x1716151413121110, 0x1F1E1D1C1B1A1918};
    pe.v(2) = Vreg{0x201F100F01807F00, 0};
    pe.v(3) = Vreg{0xAAAAAAAAAAAAAAAA, 0xBBBBBBBBBBBBBBBB};
    pe.run(with_registers(0x0E003000, 3, 31, 2));  // TBX V3.8B, {V31, V0}, V2.8B
    CHECK(pe.v(3) == Vreg{0xAA1F100F01AAAA00, 0});
    pe.run(with_registers(0x4E002000, 0, 31, 2));  // TBL V0.16B, {V31, V0}, V2.16B: onto its own table
    CHECK(pe.v(0) == Vreg{0x001F100F01000000, 0});
}

TEST_CASE("reserved combinations of size and Q are UNDEFINED") {
    constexpr u32 kReserved[] = {
        0x0EE08400,  // ADD V.1D
        0x4EE00400,  // SHADD V.2D
        0x4EE09C00,  // MUL V.2D
        0x2E609C00,  // PMUL V.4H
        0x0E20B400,  // SQDMULH V.8B
        0x0EE00000,  // SADDL of 64-bit elements
        0x0E60E000,  // PMULL of 16-bit elements
        0x0F208000,  // MUL by a byte element: size 0
        0x0FC08000,  // ... by a doubleword element
        0x4EE00800,  // REV64 of doublewords
        0x6EA00800,  // REV32 of words
        0x2EA05800,  // NOT with size 2
        0x0EB1B800,  // ADDV V.2S
        0x4EF1B800,  // ADDV V.2D
        0x0F400400,  // SSHR V.1D
        0x0F408400,  // SHRN from 128-bit elements
        0x5F200400,  // SSHR of a 32-bit scalar
        0x0E000400,  // DUP with imm5 = 0
        0x0E080400,  // DUP V.1D
        0x4E103C00,  // UMOV with imm5 = x0000
        0x0E083C00,  // UMOV Wd from a doubleword
        0x4E013C00,  // UMOV Xd from a byte
        0x0E042C00,  // SMOV Wd from a word
        0x2E004000,  // EXT V.8B from byte 8
        0x0EC03800,  // ZIP1 V.1D
        0x2F00F400,  // FMOV V.1D
        0x5EA18400,  // ADD of a 32-bit scalar
        0x7E218C00,  // CMEQ of an 8-bit scalar
        0x2F00FC00,  // modified immediate: op and o2 both set
    };
    Pe pe;
    for (const u32 insn : kReserved) {
        INFO("instruction " << std::hex << insn);
        CHECK(pe.is_undefined(insn));
    }
}

TEST_CASE("modified immediates expand as the assembler says") {
    struct Row {
        u32 insn;
        Vreg expected;
    };
    constexpr auto twice = [](u64 half) { return Vreg{half, half}; };
    constexpr u64 kOld = 0x0123456789ABCDEF;
    const Row rows[] = {
        {0x4F05E540, twice(0xAAAAAAAAAAAAAAAA)},               // movi v0.16b, #0xaa
        {0x2F05E4C0, {0xFF00FF0000FFFF00, 0}},                 // movi d0, #0xff00ff0000ffff00
        {0x6F01E420, twice(0x0000FF00000000FF)},               // movi v0.2d, #0xff00000000ff
        {0x4F026560, twice(0x4B0000004B000000)},               // movi v0.4s, #0x4b, lsl #24
        {0x0F02D560, {0x004BFFFF004BFFFF, 0}},                 // movi v0.2s, #0x4b, msl #16
        {0x6F02C560, twice(0xFFFFB400FFFFB400)},               // mvni v0.4s, #0x4b, msl #8
        {0x6F00A640, twice(0xEDFFEDFFEDFFEDFF)},               // mvni v0.8h, #0x12, lsl #8
        {0x0F009640, {kOld | 0x0012001200120012, 0}},          // orr v0.4h, #0x12
        {0x6F005640, twice(kOld & ~u64{0x0012000000120000})},  // bic v0.4s, #0x12, lsl #16
        {0x4F07F7E0, twice(0xBFF80000BFF80000)},               // fmov v0.4s, #-1.9375
        {0x6F02F400, twice(0x3FC0000000000000)},               // fmov v0.2d, #0.125
        {0x4F01FFE0, twice(0x4FC04FC04FC04FC0)},               // fmov v0.8h, #31.0
    };
    Pe pe;
    for (const Row& row : rows) {
        INFO("instruction " << std::hex << row.insn);
        pe.v(0) = twice(kOld);
        pe.run(row.insn);
        CHECK(pe.v(0) == row.expected);
    }
}

}  // namespace

}  // namespace vmm::arch::test
