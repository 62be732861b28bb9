// One sample: everything a record can say about one operation. Filled by the event model and the profiling unit; read by
// the filter and the encoder. Plain data.
#pragma once

#include <optional>

#include "vmm/base/types.h"

namespace vmm::spe {

/// Operation Type packet: which header, and its payload byte. Arm ARM, "Operation Type packet".
enum class OpPacketClass : u8 { other = 0, load_store = 1, branch = 2 };

/// Bits of the type filter, in the order of PMSFCR_EL1[20:16]. FP and SIMD only with the extended type filter.
enum TypeFlag : u8 { kTypeBranch = 1, kTypeLoad = 2, kTypeStore = 4, kTypeFp = 8, kTypeSimd = 16 };

struct OpType {
    OpPacketClass packet = OpPacketClass::other;
    u8 payload = 0;
    u8 flags = 0;  // TypeFlag bits

    bool is_load() const { return (flags & kTypeLoad) != 0; }
    bool is_memory() const { return (flags & (kTypeLoad | kTypeStore)) != 0; }
    friend bool operator==(const OpType&, const OpType&) = default;
};

/// An instruction address and the Exception level it belongs to.
struct CodeAddress {
    u64 address = 0;
    u8 el = 0;
};

struct Sample {
    CodeAddress pc;
    OpType type;
    u64 events = 0;                           // event:: bits

    u32 total_latency = 1;                    // cycles, not yet saturated; issue_latency <= total_latency
    u32 issue_latency = 1;
    std::optional<u32> translation_latency;   // loads and stores; <= total_latency

    std::optional<CodeAddress> target;        // taken branches
    std::optional<CodeAddress> previous_target;  // of the branch taken before this one
    std::optional<u64> va;                    // as the instruction computed it, tag byte included
    std::optional<u64> pa;
    std::optional<u16> data_source;

    std::optional<u32> context_el1;
    std::optional<u64> timestamp;             // without it the record ends in an End packet
};

}  // namespace vmm::spe
