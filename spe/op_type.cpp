#include "spe/op_type.h"

#include <array>

#include "spe/spe_words.h"

namespace vmm::spe {

namespace {

using arch::OpClass;

// Payload bits of the load/store packet.
constexpr u8 kStore = 0x01;
constexpr u8 kExtended = 0x02;
constexpr u8 kSimdFp = 0x04;
constexpr u8 kAtomic = 0x04;     // with kExtended
constexpr u8 kExclusive = 0x08;  // with kExtended
constexpr u8 kOrdered = 0x10;    // with kExtended
constexpr u8 kUnspecified = 0x10;

// Payload bits of the branch packet. Bits [4:3] stay zero unless call and return information is recorded (FEAT_SPE_CRR).
constexpr u8 kConditional = 0x01;
constexpr u8 kIndirect = 0x02;
constexpr u8 kCall = 0x08;
constexpr u8 kReturn = 0x10;
constexpr u8 kNeitherCallNorReturn = 0x18;

// Payload bits of the other packet.
constexpr u8 kCondSelect = 0x01;
constexpr u8 kOtherFp = 0x02;    // FPF
constexpr u8 kOtherSimd = 0x04;  // FPF

struct ClassRow {
    OpClass op_class;
    OpType type;
};

// clang-format off
constexpr std::array kRows = std::to_array<ClassRow>({
    {OpClass::other,           {OpPacketClass::other,      0,                        0}},
    {OpClass::multiply,        {OpPacketClass::other,      0,                        0}},
    {OpClass::divide,          {OpPacketClass::other,      0,                        0}},
    {OpClass::cond_select,     {OpPacketClass::other,      kCondSelect,              0}},
    {OpClass::fp,              {OpPacketClass::other,      0,                        0}},
    {OpClass::fp_divide,       {OpPacketClass::other,      0,                        0}},
    {OpClass::fp_cond,         {OpPacketClass::other,      kCondSelect,              0}},
    {OpClass::simd,            {OpPacketClass::other,      0,                        0}},
    {OpClass::simd_fp,         {OpPacketClass::other,      0,                        0}},
    {OpClass::crypto,          {OpPacketClass::other,      0,                        0}},
    {OpClass::branch,          {OpPacketClass::branch,     0,                        kTypeBranch}},
    {OpClass::branch_link,     {OpPacketClass::branch,     0,                        kTypeBranch}},
    {OpClass::branch_cond,     {OpPacketClass::branch,     kConditional,             kTypeBranch}},
    {OpClass::branch_ind,      {OpPacketClass::branch,     kIndirect,                kTypeBranch}},
    {OpClass::branch_ind_link, {OpPacketClass::branch,     kIndirect,                kTypeBranch}},
    {OpClass::branch_ret,      {OpPacketClass::branch,     kIndirect,                kTypeBranch}},
    {OpClass::eret,            {OpPacketClass::branch,     kIndirect,                kTypeBranch}},
    {OpClass::load,            {OpPacketClass::load_store, 0,                        kTypeLoad}},
    {OpClass::store,           {OpPacketClass::load_store, kStore,                   kTypeStore}},
    {OpClass::load_fp,         {OpPacketClass::load_store, kSimdFp,                  kTypeLoad}},
    {OpClass::store_fp,        {OpPacketClass::load_store, kSimdFp | kStore,         kTypeStore}},
    {OpClass::load_simd,       {OpPacketClass::load_store, kSimdFp,                  kTypeLoad}},
    {OpClass::store_simd,      {OpPacketClass::load_store, kSimdFp | kStore,         kTypeStore}},
    {OpClass::atomic,          {OpPacketClass::load_store, kExtended | kAtomic,      kTypeLoad | kTypeStore}},
    {OpClass::prefetch,        {OpPacketClass::other,      0,                        0}},
    {OpClass::cache_op,        {OpPacketClass::other,      0,                        0}},
    {OpClass::dc_zva,          {OpPacketClass::load_store, kUnspecified | kStore,    kTypeStore}},
});
// clang-format on

constexpr bool rows_are_in_enum_order() {
    for (std::size_t i = 0; i < kRows.size(); ++i) {
        if (static_cast<std::size_t>(kRows[i].op_class) != i) {
            return false;
        }
    }
    return true;
}
static_assert(rows_are_in_enum_order(), "kRows is indexed by OpClass");

/// LD<op>, as opposed to SWP and CAS, which the architecture counts as loads whatever their destination. The atomic
/// memory operations are size 111 0 00 A R 1 Rs o3 opc 00 Rn Rt; SWP is the one with o3 = 1.
bool is_load_op(u32 insn) {
    return bits(insn, 29, 24) == 0b111000 && bit(insn, 21) && bits(insn, 11, 10) == 0b00 && !bit(insn, 15);
}

bool has_release(u32 insn) {
    return bit(insn, 22);  // R of the atomic memory operations
}

OpType classify_atomic(const arch::OpTrace& trace) {
    OpType type = kRows[static_cast<std::size_t>(OpClass::atomic)].type;
    const bool is_store = !trace.returns_value && is_load_op(trace.insn);
    if (is_store) {  // ST<op>: acquire means nothing without a result
        type.payload |= kStore | (has_release(trace.insn) ? kOrdered : 0);
        type.flags = kTypeStore;
    } else if (trace.is_ordered) {
        type.payload |= kOrdered;
    }
    return type;
}

}  // namespace

OpType classify(const arch::OpTrace& trace, u8 pmsver) {
    const auto index = static_cast<std::size_t>(trace.op_class);
    if (index >= kRows.size()) {
        return {};
    }
    OpType type = kRows[index].type;
    switch (trace.op_class) {
        case OpClass::eret: return trace.exception ? OpType{} : type;  // UNDEFINED at EL0: no branch (D17.6.3)
        case OpClass::atomic: return classify_atomic(trace);
        case OpClass::dc_zva:
            if (pmsver < kSpeV1p1) {
                type.payload = kStore;
            }
            return type;
        case OpClass::load:
        case OpClass::store:
            if (trace.is_ordered || trace.is_exclusive) {
                type.payload |= kExtended;
                type.payload |= trace.is_ordered ? kOrdered : 0;
                type.payload |= trace.is_exclusive ? kExclusive : 0;
            }
            return type;
        default: return type;
    }
}

namespace {

constexpr u8 call_return_bits(OpClass op_class) {
    switch (op_class) {
        case OpClass::branch_link:
        case OpClass::branch_ind_link: return kCall;
        case OpClass::branch_ret: return kReturn;
        default: return kNeitherCallNorReturn;
    }
}

/// Bits [28:24] of the Advanced SIMD encodings with vector operands, of the scalar ones, and of CRC32.
constexpr u32 kVectorGroup = 0b01110;
constexpr u32 kCrcGroup = 0b11010;

/// kTypeFp, kTypeSimd or both.
u8 register_file_flags(const arch::OpTrace& trace) {
    const u32 group = bits(trace.insn, 28, 24);
    switch (trace.op_class) {
        case OpClass::fp:
        case OpClass::fp_cond:
        case OpClass::load_fp:
        case OpClass::store_fp: return kTypeFp;
        case OpClass::fp_divide: return group == kVectorGroup ? kTypeFp | kTypeSimd : kTypeFp;
        case OpClass::simd:
        case OpClass::load_simd:
        case OpClass::store_simd: return kTypeSimd;
        case OpClass::simd_fp: return kTypeFp | kTypeSimd;
        case OpClass::crypto: return group == kCrcGroup ? 0 : kTypeSimd;
        default: return 0;
    }
}

}  // namespace

void add_optional_type(OpType& type, const arch::OpTrace& trace, const Features& features) {
    if (features.crr && type.packet == OpPacketClass::branch) {
        type.payload |= call_return_bits(trace.op_class);
    }
    if (features.eft) {
        const u8 flags = register_file_flags(trace);
        type.flags |= flags;
        if (type.packet == OpPacketClass::other) {
            type.payload |= (flags & kTypeFp) != 0 ? kOtherFp : 0;
            type.payload |= (flags & kTypeSimd) != 0 ? kOtherSimd : 0;
        }
    }
}

}  // namespace vmm::spe
