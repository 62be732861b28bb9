// The floating-point library against the host's FPU in all its rounding modes (single, double; half through
// F16C), its host fast paths against its own soft implementation, and the Arm rules that have no counterpart
// on the host.
#include "arch/fp/fp.h"

#include <cfenv>
#include <cmath>

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include <bit>
#include <type_traits>

#include <catch2/catch.hpp>

#include "arch/fp/packed.h"
#include "vmm/base/rng.h"

namespace vmm::arch::fp::test {

namespace {

constexpr int kCases = 200'000;

template <class T>
using Host = std::conditional_t<sizeof(T) == 4, f32, f64>;

// Patterns that sit on edges: exponents near 0, the bias and the maximum, fractions near all zeros and ones.
template <class T>
T edge_pattern(Rng& rng) {
    using F = Format<T>;
    const T sign = rng.below(2) != 0 ? F::kSign : T{0};
    T exponent = 0;
    switch (rng.below(6)) {
        case 0: exponent = static_cast<T>(rng.below(3)); break;
        case 1: exponent = static_cast<T>(F::kMaxExpField - static_cast<int>(rng.below(3))); break;
        case 2: exponent = static_cast<T>(F::kBias - 2 + static_cast<int>(rng.below(5))); break;
        case 3: exponent = static_cast<T>(F::kBias + static_cast<int>(rng.below(F::kFracBits + 3))); break;
        default: exponent = static_cast<T>(rng.below(F::kMaxExpField + 1)); break;
    }
    T fraction = 0;
    switch (rng.below(5)) {
        case 0: fraction = static_cast<T>(rng.below(3)); break;
        case 1: fraction = static_cast<T>(F::kFracMask - rng.below(3)); break;
        case 2: fraction = static_cast<T>(T{1} << rng.below(F::kFracBits)); break;
        default: fraction = static_cast<T>(rng.next() & F::kFracMask); break;
    }
    return static_cast<T>(sign | exponent << F::kFracBits | fraction);
}

/// A result with the cumulative flags an operation raised.
template <class T>
struct Outcome {
    T value;
    u32 flags;
    friend bool operator==(const Outcome&, const Outcome&) = default;
};

template <class T, class Operation>
Outcome<T> ours(u32 fpcr, Operation operation) {
    u32 fpsr = 0;
    const T value = operation(FpEnv{fpcr, fpsr});
    return {value, fpsr};
}

u32 host_flags() {
    const int raised = std::fetestexcept(FE_ALL_EXCEPT);
    return ((raised & FE_INVALID) != 0 ? kIoc : 0) | ((raised & FE_DIVBYZERO) != 0 ? kDzc : 0) |
           ((raised & FE_OVERFLOW) != 0 ? kOfc : 0) | ((raised & FE_UNDERFLOW) != 0 ? kUfc : 0) |
           ((raised & FE_INEXACT) != 0 ? kIxc : 0);
}

/// `operation` on the host's values under the host's rounding mode; volatile keeps the compiler from moving
/// it.
template <class T, class Operation>
Outcome<T> on_host(Rounding rounding, T a, T b, T c, Operation operation) {
    constexpr int kModes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    volatile Host<T> x = std::bit_cast<Host<T>>(a);
    volatile Host<T> y = std::bit_cast<Host<T>>(b);
    volatile Host<T> z = std::bit_cast<Host<T>>(c);
    std::fesetround(kModes[static_cast<int>(rounding)]);
    std::feclearexcept(FE_ALL_EXCEPT);
    volatile Host<T> result = operation(x, y, z);
    const u32 flags = host_flags();
    std::fesetround(FE_TONEAREST);
    const Host<T> value = result;
    return {std::bit_cast<T>(value), flags};
}

/// Equal but for the host's NaN, and but for underflow where the result rounds up to the smallest normal
/// number: the host detects tininess after rounding.
template <class T>
bool agree(Outcome<T> us, Outcome<T> host) {
    if (is_nan(us.value) || is_nan(host.value)) {
        return is_nan(us.value) == is_nan(host.value);
    }
    if (magnitude(us.value) == Format<T>::kMinNormal) {
        host.flags |= us.flags & kUfc;
    }
    return us == host;
}

u32 fpcr_of(Rounding rounding) {
    return static_cast<u32>(rounding) << kFpcrRModeShift;
}

template <class T, class Ours, class HostOperation>
void compare_with_host(u64 seed, Ours our_operation, HostOperation host_operation) {
    Rng rng(seed);
    for (int i = 0; i < kCases; ++i) {
        const T a = edge_pattern<T>(rng);
        const T b = rng.below(8) == 0 ? static_cast<T>(a ^ rng.below(4)) : edge_pattern<T>(rng);
        const T c = edge_pattern<T>(rng);
        const auto rounding = static_cast<Rounding>(rng.below(4));
        const Outcome<T> us =
            ours<T>(fpcr_of(rounding), [&](const FpEnv& env) { return our_operation(a, b, c, env); });
        const Outcome<T> host = on_host<T>(rounding, a, b, c, host_operation);
        INFO(std::hex << "a=" << a << " b=" << b << " c=" << c << " rounding=" << static_cast<int>(rounding)
                      << " ours=" << us.value << "/" << us.flags << " host=" << host.value << "/"
                      << host.flags);
        if (!agree(us, host)) {
            FAIL("differs from the host");
        }
    }
    SUCCEED();
}

}  // namespace

TEMPLATE_TEST_CASE("soft arithmetic is the host's in every rounding mode", "[fp]", u32, u64) {
    using T = TestType;
    using F = Host<T>;
    compare_with_host<T>(
        1, [](T a, T b, T, FpEnv env) { return soft::add(a, b, env); }, [](F x, F y, F) { return x + y; });
    compare_with_host<T>(
        2, [](T a, T b, T, FpEnv env) { return soft::sub(a, b, env); }, [](F x, F y, F) { return x - y; });
    compare_with_host<T>(
        3, [](T a, T b, T, FpEnv env) { return soft::mul(a, b, env); }, [](F x, F y, F) { return x * y; });
    compare_with_host<T>(
        4, [](T a, T b, T, FpEnv env) { return soft::div(a, b, env); }, [](F x, F y, F) { return x / y; });
    compare_with_host<T>(
        5, [](T a, T, T, FpEnv env) { return soft::sqrt(a, env); }, [](F x, F, F) { return std::sqrt(x); });
    compare_with_host<T>(
        6, [](T a, T b, T c, FpEnv env) { return soft::mul_add(c, a, b, env); },
        [](F x, F y, F z) { return std::fma(x, y, z); });
    compare_with_host<T>(
        7, [](T a, T, T, FpEnv env) { return soft::round_to_integral(a, env.rounding(), true, env); },
        [](F x, F, F) { return std::rint(x); });
}

TEMPLATE_TEST_CASE("host fast paths give the soft results and flags", "[fp]", u32, u64) {
    using T = TestType;
    Rng rng(11);
    for (int i = 0; i < kCases; ++i) {
        // Small integers make exact results common; edge patterns everything else.
        const auto pick = [&] {
            return rng.below(3) == 0 ? std::bit_cast<T>(static_cast<Host<T>>(rng.below(64)) - Host<T>{32})
                                     : edge_pattern<T>(rng);
        };
        const T a = pick();
        const T b = pick();
        const T c = pick();
        const u32 fpcr =
            static_cast<u32>(rng.next()) & (rng.below(2) != 0 ? 0 : kFpcrRMode | kFpcrFz | kFpcrDn);
        const u32 before = rng.below(2) != 0 ? kIxc : 0;
        const auto rounding = static_cast<Rounding>(rng.below(5));
        const unsigned width = rng.below(2) != 0 ? 32 : 64;
        const auto same = [&](auto fast, auto reference) {
            u32 fpsr = before;
            u32 fpsr_reference = before;
            const auto value = fast(FpEnv{fpcr, fpsr});
            const auto expected = reference(FpEnv{fpcr, fpsr_reference});
            return value == expected && fpsr == fpsr_reference;
        };
        INFO(std::hex << "a=" << a << " b=" << b << " c=" << c << " fpcr=" << fpcr << " fpsr=" << before);
        using E = const FpEnv&;
        bool good = true;
        good &= same([&](E e) { return add(a, b, e); }, [&](E e) { return soft::add(a, b, e); });
        good &= same([&](E e) { return sub(a, b, e); }, [&](E e) { return soft::sub(a, b, e); });
        good &= same([&](E e) { return mul(a, b, e); }, [&](E e) { return soft::mul(a, b, e); });
        good &= same([&](E e) { return mulx(a, b, e); }, [&](E e) { return soft::mulx(a, b, e); });
        good &= same([&](E e) { return div(a, b, e); }, [&](E e) { return soft::div(a, b, e); });
        good &= same([&](E e) { return sqrt(a, e); }, [&](E e) { return soft::sqrt(a, e); });
        good &=
            same([&](E e) { return mul_add(c, a, b, e); }, [&](E e) { return soft::mul_add(c, a, b, e); });
        good &= same([&](E e) { return max(a, b, e); }, [&](E e) { return soft::max(a, b, e); });
        good &= same([&](E e) { return min(a, b, e); }, [&](E e) { return soft::min(a, b, e); });
        good &= same([&](E e) { return max_num(a, b, e); }, [&](E e) { return soft::max_num(a, b, e); });
        good &= same([&](E e) { return min_num(a, b, e); }, [&](E e) { return soft::min_num(a, b, e); });
        good &= same([&](E e) { return compare(a, b, true, e); },
                     [&](E e) { return soft::compare(a, b, true, e); });
        good &= same([&](E e) { return round_to_integral(a, rounding, true, e); },
                     [&](E e) { return soft::round_to_integral(a, rounding, true, e); });
        good &=
            same([&](E e) { return to_signed(a, width, 0, rounding, e); },
                 [&](E e) { return soft::to_fixed(a, width, 0, Signedness::signed_integer, rounding, e); });
        good &=
            same([&](E e) { return to_unsigned(a, width, 0, rounding, e); },
                 [&](E e) { return soft::to_fixed(a, width, 0, Signedness::unsigned_integer, rounding, e); });
        const u64 integer = rng.next() >> rng.below(64);
        good &= same([&](E e) { return from_signed<T>(integer, 0, e); },
                     [&](E e) { return soft::from_fixed<T>(integer, 0, Signedness::signed_integer, e); });
        good &= same([&](E e) { return from_unsigned<T>(integer, 0, e); },
                     [&](E e) { return soft::from_fixed<T>(integer, 0, Signedness::unsigned_integer, e); });
        using Other = std::conditional_t<sizeof(T) == 4, u64, u32>;
        good &= same([&](E e) { return convert<Other>(a, e); },
                     [&](E e) { return soft::convert<Other>(a, e.rounding(), e); });
        if (!good) {
            FAIL("a fast path differs from the soft implementation");
        }
    }
    SUCCEED();
}

TEMPLATE_TEST_CASE("packed operations, where they apply, are the soft ones lane by lane", "[fp]", u32, u64) {
    using T = TestType;
    constexpr unsigned kLanes = 16 / sizeof(T);
    Rng rng(12);
    unsigned applied = 0;
    for (int i = 0; i < kCases; ++i) {
        packed::Bits<T> a{};
        packed::Bits<T> b{};
        packed::Bits<T> c{};
        for (unsigned lane = 0; lane < kLanes; ++lane) {
            const auto pick = [&] {
                return rng.below(3) != 0
                           ? std::bit_cast<T>(static_cast<Host<T>>(rng.below(1000)) / Host<T>{7})
                           : edge_pattern<T>(rng);
            };
            a[lane] = pick();
            b[lane] = pick();
            c[lane] = pick();
        }
        u32 fpsr = rng.below(4) != 0 ? kIxc : 0;
        const u32 fpsr_before = fpsr;
        const u32 fpcr =
            rng.below(4) != 0 ? 0 : static_cast<u32>(rng.next()) & (kFpcrRMode | kFpcrFz | kFpcrDn);
        const FpEnv env{fpcr, fpsr};
        const auto check = [&](auto whole, auto lane_operation) {
            packed::Bits<T> result{};
            if (!whole(result)) {
                return true;
            }
            ++applied;
            for (unsigned lane = 0; lane < kLanes; ++lane) {
                if (lane_operation(lane) != result[lane]) {
                    return false;
                }
            }
            return fpsr == fpsr_before;
        };
        const auto mask = [](bool holds) { return holds ? static_cast<T>(~T{0}) : T{0}; };
        using R = packed::Bits<T>&;
        bool good = check([&](R r) { return packed::add<T>(a, b, env, r); },
                          [&](unsigned n) { return soft::add(a[n], b[n], env); });
        good &= check([&](R r) { return packed::sub<T>(a, b, env, r); },
                      [&](unsigned n) { return soft::sub(a[n], b[n], env); });
        good &= check([&](R r) { return packed::abs_diff<T>(a, b, env, r); },
                      [&](unsigned n) { return abs(soft::sub(a[n], b[n], env)); });
        good &= check([&](R r) { return packed::mul<T>(a, b, env, r); },
                      [&](unsigned n) { return soft::mul(a[n], b[n], env); });
        good &= check([&](R r) { return packed::div<T>(a, b, env, r); },
                      [&](unsigned n) { return soft::div(a[n], b[n], env); });
        good &= check([&](R r) { return packed::mul_add<T>(c, a, b, env, r); },
                      [&](unsigned n) { return soft::mul_add(c[n], a[n], b[n], env); });
        good &= check([&](R r) { return packed::mul_sub<T>(c, a, b, env, r); },
                      [&](unsigned n) { return soft::mul_add(c[n], neg(a[n]), b[n], env); });
        good &= check([&](R r) { return packed::max<T>(a, b, env, r); },
                      [&](unsigned n) { return soft::max(a[n], b[n], env); });
        good &= check([&](R r) { return packed::min<T>(a, b, env, r); },
                      [&](unsigned n) { return soft::min(a[n], b[n], env); });
        good &= check([&](R r) { return packed::equal<T>(a, b, env, r); },
                      [&](unsigned n) { return mask(soft::compare(a[n], b[n], false, env) == kEqual); });
        good &= check([&](R r) { return packed::greater<T>(a, b, env, r); },
                      [&](unsigned n) { return mask(soft::compare(a[n], b[n], true, env) == kGreater); });
        good &= check([&](R r) { return packed::greater_equal<T>(a, b, env, r); },
                      [&](unsigned n) {
                          const u32 nzcv = soft::compare(a[n], b[n], true, env);
                          return mask(nzcv == kGreater || nzcv == kEqual);
                      });
        if (!good) {
            FAIL("a packed operation differs from the soft implementation, case " << i);
        }
    }
    CHECK(applied > static_cast<unsigned>(kCases));  // the packed paths are really taken
}

#if defined(__F16C__)
namespace {

template <int Mode>
u16 f16c_narrow(f32 value) {
    return static_cast<u16>(_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(value), Mode), 0));
}

u16 f16c_narrow(f32 value, Rounding rounding) {
    switch (rounding) {
        case Rounding::plus_infinity: return f16c_narrow<_MM_FROUND_TO_POS_INF>(value);
        case Rounding::minus_infinity: return f16c_narrow<_MM_FROUND_TO_NEG_INF>(value);
        case Rounding::toward_zero: return f16c_narrow<_MM_FROUND_TO_ZERO>(value);
        default: return f16c_narrow<_MM_FROUND_TO_NEAREST_INT>(value);
    }
}

f32 f16c_widen(u16 value) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(value)));
}

/// `exact`, rounded to half by the host: to single by truncation with a sticky last bit, then by F16C.
u16 narrow_exact(f64 exact, Rounding rounding) {
    std::fesetround(FE_TOWARDZERO);
    volatile f64 wide = exact;
    volatile f32 cut = static_cast<f32>(wide);
    const f32 truncated = cut;
    std::fesetround(FE_TONEAREST);
    const u32 sticky = static_cast<f64>(truncated) != exact ? 1 : 0;
    return f16c_narrow(std::bit_cast<f32>(std::bit_cast<u32>(truncated) | sticky), rounding);
}

}  // namespace

TEST_CASE("half precision converts as the host's F16C does", "[fp]") {
    for (u32 i = 0; i < 0x10000; ++i) {
        const u16 half = static_cast<u16>(i);
        const u32 expected = std::bit_cast<u32>(f16c_widen(half));
        const auto us = ours<u32>(0, [&](const FpEnv& env) { return convert<u32>(half, env); });
        if (us.value != expected || us.flags != (is_snan(half) ? kIoc : 0)) {
            FAIL("widening " << std::hex << half);
        }
    }
    Rng rng(21);
    for (int i = 0; i < 4 * kCases; ++i) {
        u32 single = edge_pattern<u32>(rng);
        if (rng.below(2) != 0) {  // near the halves
            const u16 half = static_cast<u16>(rng.next());
            single = std::bit_cast<u32>(f16c_widen(half)) + static_cast<u32>(rng.below(5)) * 0x800 - 0x1000;
        }
        const auto rounding = static_cast<Rounding>(rng.below(4));
        const u16 expected = f16c_narrow(std::bit_cast<f32>(single), rounding);
        const auto us =
            ours<u16>(fpcr_of(rounding), [&](const FpEnv& env) { return convert<u16>(single, env); });
        if (us.value != expected) {
            FAIL("narrowing " << std::hex << single << " ours " << us.value << " host " << expected);
        }
    }
}

TEST_CASE("half precision sums and products round once", "[fp]") {
    Rng rng(22);
    for (int i = 0; i < 4 * kCases; ++i) {
        const u16 a = edge_pattern<u16>(rng);
        const u16 b = edge_pattern<u16>(rng);
        const auto rounding = static_cast<Rounding>(rng.below(4));
        const f64 x = f16c_widen(a);
        const f64 y = f16c_widen(b);
        if (!std::isfinite(x) || !std::isfinite(y)) {
            continue;
        }
        const auto sum = ours<u16>(fpcr_of(rounding), [&](const FpEnv& env) { return add(a, b, env); });
        const auto product = ours<u16>(fpcr_of(rounding), [&](const FpEnv& env) { return mul(a, b, env); });
        if (x + y != 0 && sum.value != narrow_exact(x + y, rounding)) {
            FAIL("sum of " << std::hex << a << " and " << b);
        }
        if (x * y != 0 && product.value != narrow_exact(x * y, rounding)) {
            FAIL("product of " << std::hex << a << " and " << b);
        }
        if (x * y != 0) {
            const f64 widened = f16c_widen(product.value);
            const bool overflowed = (product.flags & kOfc) != 0;
            CHECK(((product.flags & kIxc) != 0) == (overflowed || widened != x * y));
            CHECK(((product.flags & kUfc) != 0) == (std::fabs(x * y) < 0x1p-14 && widened != x * y));
        }
    }
}
#endif

TEST_CASE("NaN operands propagate in the Arm order", "[fp]") {
    constexpr u32 kQ1 = 0x7FC00001;
    constexpr u32 kQ2 = 0xFFC00002;
    constexpr u32 kS1 = 0x7F800001;
    constexpr u32 kS2 = 0xFF800002;
    constexpr u32 kOne = 0x3F800000;
    constexpr u32 kInf = 0x7F800000;
    const auto sum = [](u32 fpcr, u32 a, u32 b) {
        return ours<u32>(fpcr, [&](const FpEnv& env) { return add(a, b, env); });
    };
    const auto fused = [](u32 addend, u32 a, u32 b) {
        return ours<u32>(0, [&](const FpEnv& env) { return mul_add(addend, a, b, env); });
    };
    using O = Outcome<u32>;
    CHECK(sum(0, kQ1, kQ2) == O{kQ1, 0});
    CHECK(sum(0, kOne, kQ2) == O{kQ2, 0});
    CHECK(sum(0, kQ1, kS2) == O{0xFFC00002, kIoc});
    CHECK(sum(0, kS1, kS2) == O{0x7FC00001, kIoc});
    CHECK(sum(kFpcrDn, kQ2, kOne) == O{0x7FC00000, 0});
    CHECK(sum(kFpcrDn, kS2, kOne) == O{0x7FC00000, kIoc});
    CHECK(sum(0, kInf, kInf | 0x80000000) == O{0x7FC00000, kIoc});
    CHECK(fused(kQ1, kQ2, kOne) == O{kQ1, 0});
    CHECK(fused(kQ1, kQ2, kS2) == O{0xFFC00002, kIoc});
    // Infinity times zero beats a quiet addend, but not a signalling one.
    CHECK(fused(kQ1, kInf, 0) == O{0x7FC00000, kIoc});
    CHECK(fused(kS1, kInf, 0) == O{0x7FC00001, kIoc});
    CHECK(fused(kOne, kInf, 0) == O{0x7FC00000, kIoc});
    // FNMUL negates the result, NaN included; FMULX has no invalid operation.
    CHECK(ours<u32>(0, [&](const FpEnv& e) { return nmul(kInf, 0u, e); }) == O{0xFFC00000, kIoc});
    CHECK(ours<u32>(0, [&](const FpEnv& e) { return mulx(kInf, 0x80000000u, e); }) == O{0xC0000000, 0});
    // FMAXNM ignores one quiet NaN only.
    CHECK(ours<u32>(0, [&](const FpEnv& e) { return max_num(kQ1, kOne, e); }) == O{kOne, 0});
    CHECK(ours<u32>(0, [&](const FpEnv& e) { return max_num(kQ1, kQ2, e); }) == O{kQ1, 0});
    CHECK(ours<u32>(0, [&](const FpEnv& e) { return max_num(kOne, kS2, e); }) == O{0xFFC00002, kIoc});
}

TEST_CASE("flushing to zero is reported as the manual says", "[fp]") {
    using O32 = Outcome<u32>;
    using O16 = Outcome<u16>;
    constexpr u32 kDenormal = 0x80000001;
    const auto product = [](u32 fpcr, u32 a, u32 b) {
        return ours<u32>(fpcr, [&](const FpEnv& env) { return mul(a, b, env); });
    };
    CHECK(product(0, kDenormal, 0x3F800000) == O32{kDenormal, 0});
    CHECK(product(kFpcrFz, kDenormal, 0x3F800000) == O32{0x80000000, kIdc});
    // 2^-126 * (1 - 2^-24): tiny before rounding though it rounds to the smallest normal number.
    CHECK(product(0, 0x00800000, 0x3F7FFFFF) == O32{0x00800000, kUfc | kIxc});
    CHECK(product(kFpcrFz, 0x00800000, 0x3F7FFFFF) == O32{0, kUfc});
    const auto half_product = [](u32 fpcr, u16 a, u16 b) {
        return ours<u16>(fpcr, [&](const FpEnv& env) { return mul(a, b, env); });
    };
    CHECK(half_product(kFpcrFz, 0x0001, 0x3C00) == O16{0x0001, 0});
    CHECK(half_product(kFpcrFz16, 0x0001, 0x3C00) == O16{0, 0});
    CHECK(half_product(kFpcrFz16, 0x0400, 0x3800) == O16{0, kUfc});
    // Alternative half precision: no infinities, 131008 at most.
    const auto narrow = [](u32 fpcr, u32 a) {
        return ours<u16>(fpcr, [&](const FpEnv& env) { return convert<u16>(a, env); });
    };
    CHECK(narrow(0, 0x47800000) == O16{0x7C00, kOfc | kIxc});
    CHECK(narrow(kFpcrAhp, 0x47800000) == O16{0x7C00, 0});
    CHECK(narrow(kFpcrAhp, 0x48000000) == O16{0x7FFF, kIoc});
    CHECK(narrow(kFpcrAhp, 0xFFC00000) == O16{0x8000, kIoc});
}

TEST_CASE("estimates and immediates", "[fp]") {
    using O32 = Outcome<u32>;
    CHECK(ours<u32>(0, [](const FpEnv& e) { return recip_estimate(0x3F800000u, e); }) == O32{0x3F7F8000, 0});
    CHECK(ours<u32>(0, [](const FpEnv& e) { return rsqrt_estimate(0x3F800000u, e); }) == O32{0x3F7F8000, 0});
    CHECK(ours<u32>(0, [](const FpEnv& e) { return recip_estimate(0x80000000u, e); }) ==
          O32{0xFF800000, kDzc});
    CHECK(ours<u32>(0, [](const FpEnv& e) { return recip_estimate(1u, e); }) == O32{0x7F800000, kOfc | kIxc});
    CHECK(ours<u32>(0, [](const FpEnv& e) { return rsqrt_estimate(0xBF800000u, e); }) ==
          O32{0x7FC00000, kIoc});
    CHECK(unsigned_recip_estimate(0x80000000) == 0xFF800000);
    CHECK(unsigned_rsqrt_estimate(0x40000000) == 0xFF800000);
    // The estimates are within 2^-8 of the truth.
    Rng rng(31);
    for (int i = 0; i < 10'000; ++i) {
        const f64 x =
            std::ldexp(1.0 + static_cast<f64>(rng.next() >> 11) * 0x1p-53, static_cast<int>(rng.below(100)));
        const auto bits = std::bit_cast<u64>(x);
        u32 fpsr = 0;
        const FpEnv env{0, fpsr};
        const f64 reciprocal = std::bit_cast<f64>(recip_estimate(bits, env));
        const f64 root = std::bit_cast<f64>(rsqrt_estimate(bits, env));
        CHECK(std::fabs(reciprocal * x - 1) < 0x1p-8);
        CHECK(std::fabs(root * std::sqrt(x) - 1) < 0x1p-8);
    }
    CHECK(expand_immediate<u32>(0x70) == std::bit_cast<u32>(1.0f));
    CHECK(expand_immediate<u64>(0x80) == std::bit_cast<u64>(-2.0));
    CHECK(expand_immediate<u64>(0x3F) == std::bit_cast<u64>(31.0));
    CHECK(expand_immediate<u16>(0x70) == 0x3C00);
}

}  // namespace vmm::arch::fp::test
