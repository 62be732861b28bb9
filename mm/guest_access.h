// Accesses to guest memory through host pointers.
//
// Guest threads race on this memory by design, so every access is one machine access that the compiler may neither
// split, merge nor invent: a volatile access of a type that may be unaligned and may alias. An aligned one is
// single-copy atomic on x86-64 and arm64 hosts, which is what the Arm ARM (B2.2.1) asks of aligned guest accesses.
//
// Ordering on an x86-64 host (TSO): plain loads are acquire and plain stores are release already, so LDAR and LDAPR need
// nothing more; STLR must not be passed by a later LDAR and is an exchange; DMB and DSB with store-to-load ordering are
// a full fence. On other hosts the same functions map to the C++ orders.
//
// To ThreadSanitizer a volatile access is a plain one: for it they are relaxed atomics, which it allows to race with each
// other. It has them at any alignment.
#pragma once

#include <atomic>
#include <type_traits>

#include "vmm/base/sanitizers.h"
#include "vmm/base/types.h"

namespace vmm::mm {

namespace detail {
template <class T>
struct UnalignedOf {
    typedef T __attribute__((aligned(1), may_alias)) type;
};
}  // namespace detail

/// Relaxed load of T (1, 2, 4 or 8 bytes) at any alignment.
template <class T>
[[gnu::always_inline]] inline T load_relaxed(const void* p) {
    static_assert(std::is_integral_v<T> && sizeof(T) <= 8);
    if constexpr (kThreadSanitizer) {
        return __atomic_load_n(static_cast<const T*>(p), __ATOMIC_RELAXED);
    }
    return *static_cast<const volatile typename detail::UnalignedOf<T>::type*>(p);
}

/// Relaxed store of T (1, 2, 4 or 8 bytes) at any alignment.
template <class T>
[[gnu::always_inline]] inline void store_relaxed(void* p, T value) {
    static_assert(std::is_integral_v<T> && sizeof(T) <= 8);
    if constexpr (kThreadSanitizer) {
        __atomic_store_n(static_cast<T*>(p), value, __ATOMIC_RELAXED);
        return;
    }
    *static_cast<volatile typename detail::UnalignedOf<T>::type*>(p) = value;
}

/// Full barrier (DMB SY/ISH, DSB).
[[gnu::always_inline]] inline void full_fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

/// Load-acquire (LDAR, LDAPR). Naturally aligned.
template <class T>
[[gnu::always_inline]] inline T load_acquire(const void* p) {
    return __atomic_load_n(static_cast<const T*>(p), __ATOMIC_ACQUIRE);
}

/// Store-release that a later load-acquire may not pass (STLR is RCsc). Naturally aligned.
template <class T>
[[gnu::always_inline]] inline void store_release(void* p, T value) {
    __atomic_store_n(static_cast<T*>(p), value, __ATOMIC_SEQ_CST);
}

/// Compare-and-swap, sequentially consistent; true when `desired` was stored, else `expected` holds what was there.
template <class T>
[[gnu::always_inline]] inline bool compare_exchange(void* p, T& expected, T desired) {
    return __atomic_compare_exchange_n(static_cast<T*>(p), &expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

/// 16-byte compare-and-swap (STXP of X registers, CASP). 16-byte aligned.
inline bool compare_exchange(void* p, u128& expected, u128 desired) {
    const u128 seen = __sync_val_compare_and_swap(static_cast<u128*>(p), expected, desired);
    const bool swapped = seen == expected;
    expected = seen;
    return swapped;
}

}  // namespace vmm::mm
