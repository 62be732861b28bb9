// Memory access shapes shared by the load/store handlers: pairs, host pointers for atomic and ordered
// accesses. Written for speed: each helper probes the first-level TLB inline and leaves everything else to
// Vcpu's checked accesses.
#pragma once

#include "arch/vcpu.h"

namespace vmm::arch {

/// Host address of [va, va + size) if one first-level TLB entry allows the access now, else nullptr (not a
/// fault: take the checked path). Does not look at alignment.
[[gnu::always_inline]] inline u8* cached_host(Vcpu& v, u64 va, u64 size, AccessType type) {
    const TlbEntry& entry = v.tlb_.entry(va);
    const u64 probe = ((va + size - 1) & kPageMask) | v.ctx_;
    const u64 tag = type == AccessType::write ? entry.write_tag : entry.read_tag;
    return probe == tag ? reinterpret_cast<u8*>(va + entry.addend) : nullptr;
}

/// Host address for an access that must be naturally aligned (exclusives, LSE); nullptr after having taken
/// the exception. `size` is a power of two, 1..16.
[[gnu::always_inline]] inline u8* atomic_host(Vcpu& v, u64 va, unsigned size, AccessType type,
                                              AccessKind kind) {
    if (is_aligned(va, size)) [[likely]] {
        if (u8* host = cached_host(v, va, size, type); host != nullptr) [[likely]] {
            return host;
        }
    }
    return v.host_for_atomic(va, size, type, kind);
}

inline bool crosses_page(u64 va, u64 size) {
    return ((va ^ (va + size - 1)) & kPageMask) != 0;
}

/// Takes the alignment fault of `size` bytes from `va` on, in parts of `element` bytes (a power of two), where one lies in
/// Device memory, whoever may access it: alignment comes before permission (D8.15.5). Any other fault is left to the access.
/// (memory_access.cpp)
[[nodiscard]] bool device_alignment_fault(Vcpu& v, u64 va, u64 size, AccessType type, unsigned element);

/// As device_alignment_fault(), if `va` is no multiple of `element`; then with SCTLR_EL1.A for any memory.
[[nodiscard]] bool register_alignment_fault(Vcpu& v, u64 va, u64 size, AccessType type, unsigned element);

/// Whether `size` bytes of Q registers may be accessed as far as alignment goes; if not, the fault was taken. Each is accessed
/// as two halves, whose own checks only ask for 8 bytes.
[[gnu::always_inline]] inline bool quadwords_allowed(Vcpu& v, u64 va, u64 size, AccessType type) {
    return is_aligned(va, 16) || cached_host(v, va, size, type) != nullptr ||
           !register_alignment_fault(v, va, size, type, 16);
}

/// Whether a store of `size` bytes, in parts of `element` bytes, may be made as far as a second page could refuse it after the
/// first was stored to; if not, the fault was taken.
[[nodiscard]] inline bool crossing_store_allowed(Vcpu& v, u64 va, u64 size, unsigned element) {
    return !crosses_page(va, size) || (!register_alignment_fault(v, va, size, AccessType::write, element) &&
                                       v.probe_access(va, size, AccessType::write));
}

/// Two consecutive values of T (u32 or u64), each single-copy atomic where aligned. False after having taken
/// the exception.
template <class T>
[[nodiscard]] [[gnu::always_inline]] inline bool read_two(Vcpu& v, u64 va, T& first, T& second) {
    if (const u8* host = cached_host(v, va, 2 * sizeof(T), AccessType::read); host != nullptr) [[likely]] {
        first = mm::load_relaxed<T>(host);
        second = mm::load_relaxed<T>(host + sizeof(T));
        return true;
    }
    if constexpr (sizeof(T) == 8) {
        return v.read_pair(va, first, second);
    } else {
        return v.read(va, first) && v.read(va + sizeof(T), second);
    }
}

/// As read_two, storing. Nothing is stored where the second value cannot be.
template <class T>
[[nodiscard]] [[gnu::always_inline]] inline bool write_two(Vcpu& v, u64 va, T first, T second) {
    if (u8* host = cached_host(v, va, 2 * sizeof(T), AccessType::write); host != nullptr) [[likely]] {
        mm::store_relaxed<T>(host, first);
        mm::store_relaxed<T>(host + sizeof(T), second);
        return true;
    }
    if constexpr (sizeof(T) == 8) {
        return v.write_pair(va, first, second);
    } else {
        return crossing_store_allowed(v, va, 2 * sizeof(T), sizeof(T)) && v.write(va, first) &&
               v.write(va + sizeof(T), second);
    }
}

}  // namespace vmm::arch
