// Loads and stores of SIMD&FP registers: scalar and Q forms in all addressing modes, pairs, and the structure
// loads and stores LD1-LD4, ST1-ST4, LD1R-LD4R. Arm ARM C4.1 "Loads and Stores", C7.2.
//
// As for the general-purpose registers: accesses first, then the transferred registers, the base last. A store that
// reaches into a second page is checked as a whole before anything is stored.
//
// UNPREDICTABLE: LDP with Rt equal to Rt2: the second value remains.
#include "arch/addressing.h"
#include "arch/decode_section.h"
#include "arch/ldst_access.h"

namespace vmm::arch {

namespace {

using namespace addressing;
using Size1 = Operand<"size1", 1>;  // size<1>, where size<0> is fixed

// ── One or two registers ───────────────────────────────────────────────────────────────────────────────────

/// B, H, S, D: T is the memory type. A load clears the rest of the register.
template <class T>
struct LoadFp {
    static constexpr unsigned kScale = std::countr_zero(sizeof(T));

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt) {
        T value;
        if (!v.read(va, value)) [[unlikely]] {
            return false;
        }
        v.s.v[rt] = {.lo = value, .hi = 0};
        return true;
    }
};

template <class T>
struct StoreFp {
    static constexpr unsigned kScale = std::countr_zero(sizeof(T));

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt) {
        return v.write(va, static_cast<T>(v.s.v[rt].lo));
    }
};

struct LdrQ {
    static constexpr unsigned kScale = 4;

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt) {
        Vreg value;
        if (!quadwords_allowed(v, va, 16, AccessType::read) || !read_two<u64>(v, va, value.lo, value.hi)) [[unlikely]] {
            return false;
        }
        v.s.v[rt] = value;
        return true;
    }
};

struct StrQ {
    static constexpr unsigned kScale = 4;

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt) {
        return quadwords_allowed(v, va, 16, AccessType::write) &&
               write_two<u64>(v, va, v.s.v[rt].lo, v.s.v[rt].hi);
    }
};

using LdrB = LoadFp<u8>;
using LdrH = LoadFp<u16>;
using LdrS = LoadFp<u32>;
using LdrD = LoadFp<u64>;
using StrB = StoreFp<u8>;
using StrH = StoreFp<u16>;
using StrS = StoreFp<u32>;
using StrD = StoreFp<u64>;

template <class T>
struct LoadFpPair {
    static constexpr unsigned kScale = std::countr_zero(sizeof(T));

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt, unsigned rt2) {
        T first;
        T second;
        if (!read_two<T>(v, va, first, second)) [[unlikely]] {
            return false;
        }
        v.s.v[rt] = {.lo = first, .hi = 0};
        v.s.v[rt2] = {.lo = second, .hi = 0};
        return true;
    }
};

template <class T>
struct StoreFpPair {
    static constexpr unsigned kScale = std::countr_zero(sizeof(T));

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt, unsigned rt2) {
        return write_two<T>(v, va, static_cast<T>(v.s.v[rt].lo), static_cast<T>(v.s.v[rt2].lo));
    }
};

struct LdpQ {
    static constexpr unsigned kScale = 4;

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt, unsigned rt2) {
        Vreg first;
        Vreg second;
        if (!quadwords_allowed(v, va, 32, AccessType::read) || !read_two<u64>(v, va, first.lo, first.hi) ||
            !read_two<u64>(v, va + 16, second.lo, second.hi)) [[unlikely]] {
            return false;
        }
        v.s.v[rt] = first;
        v.s.v[rt2] = second;
        return true;
    }
};

struct StpQ {
    static constexpr unsigned kScale = 4;

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt, unsigned rt2) {
        if (!quadwords_allowed(v, va, 32, AccessType::write) ||
            (crosses_page(va, 32) && !v.probe_access(va, 32, AccessType::write))) [[unlikely]] {
            return false;
        }
        return write_two<u64>(v, va, v.s.v[rt].lo, v.s.v[rt].hi) &&
               write_two<u64>(v, va + 16, v.s.v[rt2].lo, v.s.v[rt2].hi);
    }
};

using LdpS = LoadFpPair<u32>;
using LdpD = LoadFpPair<u64>;
using StpS = StoreFpPair<u32>;
using StpD = StoreFpPair<u64>;

// Of the same names as for general-purpose registers, told apart in the tables.
template <class T>
constexpr auto& fp_unsigned_offset = unsigned_offset<T>;
template <class T>
constexpr auto& fp_unscaled = unscaled<T>;
template <class T>
constexpr auto& fp_post_index = post_index<T>;
template <class T>
constexpr auto& fp_pre_index = pre_index<T>;
template <class T>
constexpr auto& fp_register_offset = register_offset<T>;
template <class T>
constexpr auto& fp_literal = literal<T>;
template <class T>
constexpr auto& fp_pair_offset = pair_offset<T>;
template <class T>
constexpr auto& fp_pair_post_index = pair_post_index<T>;
template <class T>
constexpr auto& fp_pair_pre_index = pair_pre_index<T>;

// ── Structures ─────────────────────────────────────────────────────────────────────────────────────────────

/// `count` elements of T from consecutive addresses. False after having taken the exception.
template <class T>
[[nodiscard]] [[gnu::always_inline]] inline bool read_elements(Vcpu& v, u64 va, T* out, unsigned count) {
    const unsigned bytes = count * sizeof(T);
    if (const u8* host = cached_host(v, va, bytes, AccessType::read); host != nullptr) [[likely]] {
        // By words where possible: an aligned element stays in one machine access.
        u8* to = reinterpret_cast<u8*>(out);
        unsigned i = 0;
        for (; i + 8 <= bytes; i += 8) {
            const u64 word = mm::load_relaxed<u64>(host + i);
            std::memcpy(to + i, &word, 8);
        }
        if constexpr (sizeof(T) < 8) {
            for (; i < bytes; i += sizeof(T)) {
                out[i / sizeof(T)] = mm::load_relaxed<T>(host + i);
            }
        }
        return true;
    }
    for (unsigned i = 0; i < count; ++i) {
        if (!v.read(va + i * sizeof(T), out[i])) {
            return false;
        }
    }
    return true;
}

/// As read_elements, storing; nothing is stored where any of it cannot be.
template <class T>
[[nodiscard]] [[gnu::always_inline]] inline bool write_elements(Vcpu& v, u64 va, const T* in,
                                                                unsigned count) {
    const unsigned bytes = count * sizeof(T);
    if (u8* host = cached_host(v, va, bytes, AccessType::write); host != nullptr) [[likely]] {
        const u8* from = reinterpret_cast<const u8*>(in);
        unsigned i = 0;
        for (; i + 8 <= bytes; i += 8) {
            u64 word;
            std::memcpy(&word, from + i, 8);
            mm::store_relaxed<u64>(host + i, word);
        }
        if constexpr (sizeof(T) < 8) {
            for (; i < bytes; i += sizeof(T)) {
                mm::store_relaxed<T>(host + i, in[i / sizeof(T)]);
            }
        }
        return true;
    }
    if (!crossing_store_allowed(v, va, bytes, sizeof(T))) {
        return false;
    }
    for (unsigned i = 0; i < count; ++i) {
        if (!v.write(va + i * sizeof(T), in[i])) {
            return false;
        }
    }
    return true;
}

// Layouts: load() and store() move one instruction's data between memory and N registers from `rt` on,
// modulo 32. `which` is the Q bit, or the lane number for a single structure. They return false after having
// taken the exception.

/// LD1, ST1 (multiple structures): N whole registers, in elements of type T.
template <class T, unsigned N>
struct Consecutive {
    static constexpr unsigned bytes(unsigned q) { return N * (q != 0 ? 16 : 8); }

    static bool load(Vcpu& v, u64 va, unsigned q, unsigned rt) {
        T elements[N * 16 / sizeof(T)];
        if (!read_elements(v, va, elements, bytes(q) / sizeof(T))) [[unlikely]] {
            return false;
        }
        const u8* from = reinterpret_cast<const u8*>(elements);
        const unsigned stride = bytes(q) / N;
        for (unsigned r = 0; r < N; ++r) {
            Vreg value;
            std::memcpy(&value.lo, from + r * stride, 8);
            if (q != 0) {
                std::memcpy(&value.hi, from + r * stride + 8, 8);
            }
            v.s.v[(rt + r) % 32] = value;
        }
        return true;
    }

    static bool store(Vcpu& v, u64 va, unsigned q, unsigned rt) {
        T elements[N * 16 / sizeof(T)];
        u8* to = reinterpret_cast<u8*>(elements);
        const unsigned stride = bytes(q) / N;
        for (unsigned r = 0; r < N; ++r) {
            const Vreg& value = v.s.v[(rt + r) % 32];
            std::memcpy(to + r * stride, &value.lo, 8);
            if (q != 0) {
                std::memcpy(to + r * stride + 8, &value.hi, 8);
            }
        }
        return write_elements(v, va, elements, bytes(q) / sizeof(T));
    }
};

/// LD2-LD4, ST2-ST4 (multiple structures): structures of N elements of type T, one element per register.
template <class T, unsigned N>
struct Interleaved {
    static constexpr unsigned bytes(unsigned q) { return N * (q != 0 ? 16 : 8); }

    static bool load(Vcpu& v, u64 va, unsigned q, unsigned rt) {
        T elements[N * 16 / sizeof(T)];
        const unsigned lanes = bytes(q) / N / sizeof(T);
        if (!read_elements(v, va, elements, N * lanes)) [[unlikely]] {
            return false;
        }
        for (unsigned r = 0; r < N; ++r) {
            Vreg value;
            for (unsigned lane = 0; lane < lanes; ++lane) {
                value.set_lane<T>(lane, elements[lane * N + r]);
            }
            v.s.v[(rt + r) % 32] = value;
        }
        return true;
    }

    static bool store(Vcpu& v, u64 va, unsigned q, unsigned rt) {
        T elements[N * 16 / sizeof(T)];
        const unsigned lanes = bytes(q) / N / sizeof(T);
        for (unsigned r = 0; r < N; ++r) {
            for (unsigned lane = 0; lane < lanes; ++lane) {
                elements[lane * N + r] = v.s.v[(rt + r) % 32].lane<T>(lane);
            }
        }
        return write_elements(v, va, elements, N * lanes);
    }
};

/// LD1-LD4, ST1-ST4 (single structure): N elements of type T, one lane of each register; a load keeps the
/// other lanes.
template <class T, unsigned N>
struct OneLane {
    static constexpr unsigned bytes(unsigned) { return N * sizeof(T); }

    static bool load(Vcpu& v, u64 va, unsigned lane, unsigned rt) {
        T elements[N];
        if (!read_elements(v, va, elements, N)) [[unlikely]] {
            return false;
        }
        for (unsigned r = 0; r < N; ++r) {
            v.s.v[(rt + r) % 32].set_lane<T>(lane, elements[r]);
        }
        return true;
    }

    static bool store(Vcpu& v, u64 va, unsigned lane, unsigned rt) {
        T elements[N];
        for (unsigned r = 0; r < N; ++r) {
            elements[r] = v.s.v[(rt + r) % 32].lane<T>(lane);
        }
        return write_elements(v, va, elements, N);
    }
};

/// LD1R-LD4R: N elements of type T, each to all lanes of its register.
template <class T, unsigned N>
struct AllLanes {
    static constexpr unsigned bytes(unsigned) { return N * sizeof(T); }

    static bool load(Vcpu& v, u64 va, unsigned q, unsigned rt) {
        T elements[N];
        if (!read_elements(v, va, elements, N)) [[unlikely]] {
            return false;
        }
        for (unsigned r = 0; r < N; ++r) {
            const u64 lanes = replicate(elements[r], 8 * sizeof(T));
            v.s.v[(rt + r) % 32] = {.lo = lanes, .hi = q != 0 ? lanes : 0};
        }
        return true;
    }
};

/// Gives a layout its direction.
template <class Layout>
struct LoadOf : Layout {
    static bool transfer(Vcpu& v, u64 va, unsigned which, unsigned rt) {
        return Layout::load(v, va, which, rt);
    }
};
template <class Layout>
struct StoreOf : Layout {
    static bool transfer(Vcpu& v, u64 va, unsigned which, unsigned rt) {
        return Layout::store(v, va, which, rt);
    }
};

// Names for the table: LD<structure elements>, of whole registers (x<count>), single lane (l), all lanes (r).
// clang-format off
template <class T> using Ld1x1 = LoadOf<Consecutive<T, 1>>;
template <class T> using Ld1x2 = LoadOf<Consecutive<T, 2>>;
template <class T> using Ld1x3 = LoadOf<Consecutive<T, 3>>;
template <class T> using Ld1x4 = LoadOf<Consecutive<T, 4>>;
template <class T> using Ld2 = LoadOf<Interleaved<T, 2>>;
template <class T> using Ld3 = LoadOf<Interleaved<T, 3>>;
template <class T> using Ld4 = LoadOf<Interleaved<T, 4>>;
template <class T> using St1x1 = StoreOf<Consecutive<T, 1>>;
template <class T> using St1x2 = StoreOf<Consecutive<T, 2>>;
template <class T> using St1x3 = StoreOf<Consecutive<T, 3>>;
template <class T> using St1x4 = StoreOf<Consecutive<T, 4>>;
template <class T> using St2 = StoreOf<Interleaved<T, 2>>;
template <class T> using St3 = StoreOf<Interleaved<T, 3>>;
template <class T> using St4 = StoreOf<Interleaved<T, 4>>;
template <class T> using Ld1l = LoadOf<OneLane<T, 1>>;
template <class T> using Ld2l = LoadOf<OneLane<T, 2>>;
template <class T> using Ld3l = LoadOf<OneLane<T, 3>>;
template <class T> using Ld4l = LoadOf<OneLane<T, 4>>;
template <class T> using St1l = StoreOf<OneLane<T, 1>>;
template <class T> using St2l = StoreOf<OneLane<T, 2>>;
template <class T> using St3l = StoreOf<OneLane<T, 3>>;
template <class T> using St4l = StoreOf<OneLane<T, 4>>;
template <class T> using Ld1r = LoadOf<AllLanes<T, 1>>;
template <class T> using Ld2r = LoadOf<AllLanes<T, 2>>;
template <class T> using Ld3r = LoadOf<AllLanes<T, 3>>;
template <class T> using Ld4r = LoadOf<AllLanes<T, 4>>;
// clang-format on

/// [Xn]
template <class L>
Exec structure(Vcpu& v, unsigned which, unsigned rn, unsigned rt) {
    u64 base;
    if (!v.base_address(rn, base) || !L::transfer(v, base, which, rt)) [[unlikely]] {
        return Exec::exception;
    }
    return Exec::next;
}

/// [Xn], Xm or, where m is 31, [Xn], #bytes transferred
template <class L>
Exec structure_post(Vcpu& v, unsigned which, unsigned rm, unsigned rn, unsigned rt) {
    u64 base;
    if (!v.base_address(rn, base) || !L::transfer(v, base, which, rt)) [[unlikely]] {
        return Exec::exception;
    }
    v.set_xsp(rn, base + (rm == 31 ? L::bytes(which) : v.x(rm)));
    return Exec::next;
}

// Multiple structures and replicate: `which` is Q.

template <class L>
Exec structures(Vcpu& v, Q q, Rn rn, Rt rt) {
    return structure<L>(v, q, rn, rt);
}
template <class L>
Exec structures_post(Vcpu& v, Q q, Rm rm, Rn rn, Rt rt) {
    return structure_post<L>(v, q, rm, rn, rt);
}

// The same with Q fixed at 1 (.2D; .1D is unallocated).

template <class L>
Exec structures_2d(Vcpu& v, Rn rn, Rt rt) {
    return structure<L>(v, 1, rn, rt);
}
template <class L>
Exec structures_2d_post(Vcpu& v, Rm rm, Rn rn, Rt rt) {
    return structure_post<L>(v, 1, rm, rn, rt);
}

// Single structure: `which` is the lane, spread over Q, S and size.

template <class L>
Exec lane_b(Vcpu& v, Q q, S s, Size size, Rn rn, Rt rt) {
    return structure<L>(v, q << 3 | s << 2 | size, rn, rt);
}
template <class L>
Exec lane_b_post(Vcpu& v, Q q, Rm rm, S s, Size size, Rn rn, Rt rt) {
    return structure_post<L>(v, q << 3 | s << 2 | size, rm, rn, rt);
}
template <class L>
Exec lane_h(Vcpu& v, Q q, S s, Size1 size1, Rn rn, Rt rt) {
    return structure<L>(v, q << 2 | s << 1 | size1, rn, rt);
}
template <class L>
Exec lane_h_post(Vcpu& v, Q q, Rm rm, S s, Size1 size1, Rn rn, Rt rt) {
    return structure_post<L>(v, q << 2 | s << 1 | size1, rm, rn, rt);
}
template <class L>
Exec lane_s(Vcpu& v, Q q, S s, Rn rn, Rt rt) {
    return structure<L>(v, q << 1 | s, rn, rt);
}
template <class L>
Exec lane_s_post(Vcpu& v, Q q, Rm rm, S s, Rn rn, Rt rt) {
    return structure_post<L>(v, q << 1 | s, rm, rn, rt);
}
template <class L>
Exec lane_d(Vcpu& v, Q q, Rn rn, Rt rt) {
    return structure<L>(v, q, rn, rt);
}
template <class L>
Exec lane_d_post(Vcpu& v, Q q, Rm rm, Rn rn, Rt rt) {
    return structure_post<L>(v, q, rm, rn, rt);
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_ldst_simd.inc"
};

}  // namespace

std::span<const DecodeRow> ldst_simd_rows() {
    return kRows;
}

}  // namespace vmm::arch
