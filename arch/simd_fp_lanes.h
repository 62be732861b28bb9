// Vector arrangements and lane loops for the Advanced SIMD floating-point handlers. A handler is a template
// over its arrangement; the scalar forms of Advanced SIMD are arrangements of one lane. Every write clears
// the register's bits beyond the arrangement.
#pragma once

#include <bit>

#include "arch/exec_fp_common.h"
#include "arch/fp/packed.h"

namespace vmm::arch::simd_fp {

template <class T, unsigned N>
struct Arrangement {
    using Lane = T;
    static constexpr unsigned kLanes = N;
    static constexpr unsigned kLaneBits = sizeof(T) * 8;
    static constexpr bool kFull = sizeof(T) * N == 16;       // a 128-bit vector
    static constexpr bool kPacked = N > 1 && sizeof(T) > 2;  // packed.h can do it
};

using V1H = Arrangement<u16, 1>;
using V1S = Arrangement<u32, 1>;
using V1D = Arrangement<u64, 1>;
using V4H = Arrangement<u16, 4>;
using V8H = Arrangement<u16, 8>;
using V2S = Arrangement<u32, 2>;
using V4S = Arrangement<u32, 4>;
using V2D = Arrangement<u64, 2>;

template <class A>
using LaneOf = typename A::Lane;

/// The register's lanes within the arrangement; zeros beyond.
template <class A>
inline Vreg operand(const Vcpu& v, u32 n) {
    if constexpr (A::kFull) {
        return v.s.v[n];
    } else {
        return Vreg{v.s.v[n].lo & ones(A::kLaneBits * A::kLanes), 0};
    }
}

template <class A>
using PackedBits = fp::packed::Bits<LaneOf<A>>;

template <class A>
inline PackedBits<A> packed_bits(const Vreg& reg) {
    return std::bit_cast<PackedBits<A>>(reg);
}

/// A register of equal lanes.
template <class T>
inline Vreg splat(T value) {
    const u64 half = replicate(value, sizeof(T) * 8);
    return Vreg{half, half};
}

/// Stands for a packed operation that does not exist.
struct NoPacked {};
inline constexpr NoPacked kNoPacked{};

/// result[i] = operation(a[i], env).
template <class A, class Operation>
inline Exec map(Vcpu& v, u32 rd, const Vreg& a, Operation operation) {
    using T = LaneOf<A>;
    const fp::FpEnv env = fp_env(v);
    Vreg result;
    for (unsigned i = 0; i < A::kLanes; ++i) {
        result.set_lane<T>(i, operation(a.lane<T>(i), env));
    }
    v.s.v[rd] = result;
    return Exec::next;
}

/// Lane by lane, out of line: what is left when a whole vector at once is not possible.
template <class A, class Operation>
[[gnu::noinline]] Vreg map2_slow(const Vreg& a, const Vreg& b, fp::FpEnv env, Operation operation) {
    using T = LaneOf<A>;
    Vreg result;
    for (unsigned i = 0; i < A::kLanes; ++i) {
        result.set_lane<T>(i, operation(a.lane<T>(i), b.lane<T>(i), env));
    }
    return result;
}

template <class A, class Operation>
[[gnu::noinline]] Vreg map3_slow(const Vreg& d, const Vreg& a, const Vreg& b, fp::FpEnv env,
                                 Operation operation) {
    using T = LaneOf<A>;
    Vreg result;
    for (unsigned i = 0; i < A::kLanes; ++i) {
        result.set_lane<T>(i, operation(d.lane<T>(i), a.lane<T>(i), b.lane<T>(i), env));
    }
    return result;
}

/// result[i] = operation(a[i], b[i], env); `packed` is the same on whole vectors (packed.h) or kNoPacked.
template <class A, class Operation, class Packed>
inline Exec map2(Vcpu& v, u32 rd, const Vreg& a, const Vreg& b, Operation operation,
                 [[maybe_unused]] Packed packed) {
    const fp::FpEnv env = fp_env(v);
    if constexpr (A::kLanes == 1) {
        using T = LaneOf<A>;
        return write_scalar(v, rd, operation(a.lane<T>(0), b.lane<T>(0), env));
    }
    if constexpr (A::kPacked && !std::is_same_v<Packed, NoPacked>) {
        PackedBits<A> result;
        if (packed(packed_bits<A>(a), packed_bits<A>(b), env, result)) [[likely]] {
            v.s.v[rd] = std::bit_cast<Vreg>(result);
            if constexpr (!A::kFull) {
                v.s.v[rd].hi = 0;
            }
            return Exec::next;
        }
    }
    v.s.v[rd] = map2_slow<A>(a, b, env, operation);
    return Exec::next;
}

/// result[i] = operation(Vd[i], a[i], b[i], env).
template <class A, class Operation, class Packed>
inline Exec map3(Vcpu& v, u32 rd, const Vreg& a, const Vreg& b, Operation operation,
                 [[maybe_unused]] Packed packed) {
    const fp::FpEnv env = fp_env(v);
    const Vreg d = operand<A>(v, rd);
    if constexpr (A::kPacked && !std::is_same_v<Packed, NoPacked>) {
        PackedBits<A> result;
        if (packed(packed_bits<A>(d), packed_bits<A>(a), packed_bits<A>(b), env, result)) [[likely]] {
            v.s.v[rd] = std::bit_cast<Vreg>(result);
            if constexpr (!A::kFull) {
                v.s.v[rd].hi = 0;
            }
            return Exec::next;
        }
    }
    v.s.v[rd] = map3_slow<A>(d, a, b, env, operation);
    return Exec::next;
}

/// FPCompare results as lanes.
template <class T>
constexpr T lane_mask(bool holds) {
    return holds ? static_cast<T>(~T{0}) : T{0};
}

}  // namespace vmm::arch::simd_fp
