#include "tests/oracle/rules.h"

#include <cstring>

#include "arch/insn_pattern.h"
#include "vmm/base/bits.h"

namespace vmm::oracle {

namespace {

constexpr u8 kQemu = 1 << static_cast<u8>(ModelId::qemu);
constexpr u8 kVixl = 1 << static_cast<u8>(ModelId::vixl);
constexpr u8 kAll = kQemu | kVixl;

struct ExcludedWord {
    u8 models;
    arch::Pattern pattern;
    const char* reason;
};

constexpr ExcludedWord kExcludedWords[] = {
    {kAll, arch::parse_pattern("1101 0101 00 l:1 1 op0:1 op1:3 crn:4 crm:4 op2:3 rt:5"),
     "MRS/MSR: EL0 views depend on the model and the kernel (shape_case() picks the ones that can be compared)"},
    {kAll, arch::parse_pattern("1101 0101 00 l:1 01 op1:3 crn:4 crm:4 op2:3 rt:5"),
     "SYS/SYSL without a row: as MRS/MSR"},
    {kAll, arch::parse_pattern("1101 0100 010 imm16:16 000 00"), "HLT: calls of qemu-user and of VIXL's own"},
    {kQemu, arch::parse_pattern("0 q:1 1 0111100000 abc:3 1111 11 defgh:5 rd:5"),
     "modified immediate with op, o2 and cmode 1111: unallocated, but qemu ignores op and makes it FMOV (half)"},
    {kQemu, arch::parse_pattern("0 1 001000 0 a:1 1 11110 r:1 11111 rn:5 rt:5"),
     "CASP X30, XZR: qemu 7.2 writes the upper half to SP"},
    {kQemu, arch::parse_pattern("0 q:1 0 01110 o1:1 1 11000 011 opcode:2 10 rn:5 rd:5"),
     "FMAXV and its kin in half precision with bit 22 set: unallocated, but qemu 7.2 ignores the bit"},
    {kQemu, arch::parse_pattern("0 q:1 0 01110 1 1111 00 11111 10 rn:5 rd:5"),
     "the vector form FRECPX (half) would have: unallocated, and qemu 7.2 stops at an assertion"},
    {kQemu, arch::parse_pattern("1101 0101 0000 1011 0111 1100 001 rt:5"),
     "DC CVAP: qemu-user 7.2 lacks it, though ID_AA64ISAR1_EL1.DPB of neoverse-n1 has it"},
    {kVixl, arch::parse_pattern("1101 0101 0000 0011 0010 0000 111 11111"), "XPACLRI: a NOP without FEAT_PAuth"},
    {kVixl, arch::parse_pattern("1101 0101 0000 0011 0010 0001 op2:3 11111"), "PACIA1716…: NOPs without FEAT_PAuth"},
    {kVixl, arch::parse_pattern("1101 0101 0000 0011 0010 0011 op2:3 11111"), "PACIAZ…: NOPs without FEAT_PAuth"},
    {kVixl, arch::parse_pattern("0 q:1 0011001 l:1 x:1 rm:5 opcode:4 size:2 11111 rt:5"),
     "LDn, STn (multiple, post-index) from SP: VIXL 5.1 writes XZR back"},
    {kVixl, arch::parse_pattern("0 q:1 0011011 l:1 x:1 rm:5 opcode:4 size:2 11111 rt:5"),
     "LDn, STn (single, post-index) from SP: VIXL 5.1 writes XZR back"},
    {kVixl, arch::parse_pattern("size:2 001000 00 x:1 11111 o0:1 rt2:5 rn:5 rt:5"),
     "store-exclusives with the status in WZR: VIXL lets a few fail for no reason, which would not show"},
};

u32 field(u32 insn, unsigned hi, unsigned lo) {
    return static_cast<u32>(bits(insn, hi, lo));
}

/// Keys of MSR/MRS that mean the same on both sides at EL0, bits [20:5]. VIXL has no FPSR.
constexpr u32 kComparableSysregs[] = {0xDA10 /* NZCV */, 0xDA20 /* FPCR */, 0xDA21 /* FPSR */};

struct Bits {
    u32 mask;
    u32 value;
    constexpr bool match(u32 insn) const { return (insn & mask) == value; }
};

// Encoding groups of chapter C4 that shaping tells apart.
constexpr Bits kLoadsStores{0x0A000000, 0x08000000};
constexpr Bits kOrdered{0x3F000000, 0x08000000};  // exclusives, ordered, CAS, CASP
constexpr Bits kStoreExclusive{0x3FC00000, 0x08000000};  // and CASP
constexpr Bits kLiteral{0x3B000000, 0x18000000};
constexpr Bits kPair{0x3A000000, 0x28000000};
constexpr Bits kRegister{0x3A000000, 0x38000000};
constexpr Bits kMsrMrs{0xFFD00000, 0xD5100000};
constexpr Bits kSystem{0xFFD80000, 0xD5080000};  // SYS and SYSL
constexpr Bits kConvertToFloat{0x8EA7FC00, 0x0E21D800};               // SCVTF, UCVTF (vector and scalar, integer)
constexpr Bits kFixedToFloat{0x8F80FC00, 0x0F00E400};                   // the same, fixed-point
constexpr Bits kNarrowFloat{0xBFBFFC00, 0x0E216800};                    // FCVTN
constexpr Bits kNarrowFloatOdd{0x8FBFFC00, 0x0E216800};                 // FCVTN, FCVTXN
constexpr Bits kFloatByElement{0x8F003400, 0x0F001000};               // FMLA, FMLS, FMUL, FMULX by element
constexpr Bits kPmull{0xBF20FC00, 0x0E20E000};
constexpr Bits kMovkWord{0xFF800000, 0x72800000};
constexpr Bits kSignedMinMaxNarrow{0xBF20EC00, 0x38204000};  // LDSMAXB, LDSMAXH, LDSMINB, LDSMINH
constexpr Bits kDcZva{0xFFFFFFE0, 0xD50B7420};
constexpr Bits kScalarFixedPointHalf{0xDFF0FC00, 0x5F10FC00};  // FCVTZS, FCVTZU (scalar, fixed-point) of half precision
constexpr Bits kBranchImmediate{0x7C000000, 0x14000000};
constexpr Bits kCompareBranch{0x7E000000, 0x34000000};
constexpr Bits kTestBranch{0x7E000000, 0x36000000};
constexpr Bits kConditionalBranch{0xFF000010, 0x54000000};
constexpr Bits kBranchRegister{0xFE000000, 0xD6000000};

bool is_atomic_group(u32 insn) {
    return kRegister.match(insn) && field(insn, 24, 24) == 0 && field(insn, 21, 21) == 1 && field(insn, 11, 10) == 0;
}

bool is_vector(u32 insn) {
    return bit(insn, 26);
}

/// CONSTRAINED UNPREDICTABLE register combinations; what each side chooses is its own business.
bool is_unpredictable(u32 insn) {
    const u32 rt = field(insn, 4, 0);
    const u32 rn = field(insn, 9, 5);
    const u32 rt2 = field(insn, 14, 10);
    const u32 rs = field(insn, 20, 16);
    if (kPair.match(insn)) {
        const bool load = bit(insn, 22);
        const u32 mode = field(insn, 24, 23);
        const bool writeback = mode == 1 || mode == 3;
        return (load && rt == rt2) || (writeback && !is_vector(insn) && rn != 31 && (rn == rt || rn == rt2));
    }
    if (kRegister.match(insn) && field(insn, 24, 24) == 0 && field(insn, 21, 21) == 0) {
        return bit(insn, 10) && !is_vector(insn) && rn != 31 && rn == rt;
    }
    if (kOrdered.match(insn) && !bit(insn, 23)) {
        const bool pair = bit(insn, 21);
        const bool load = bit(insn, 22);
        if (!bit(insn, 31) && pair) {
            return false;  // CASP
        }
        if (load) {
            return pair && rt == rt2;
        }
        return rs == rt || (pair && rs == rt2) || (rs == rn && rn != 31);
    }
    return false;
}

/// Bytes one element of the access has, where shaping needs it.
unsigned access_scale(u32 insn) {
    return is_vector(insn) && bit(insn, 23) ? 4 : field(insn, 31, 30);
}

/// Instructions in which VIXL gets overlapping registers wrong, with such registers.
bool vixl_overlaps(u32 insn) {
    const u32 rd = field(insn, 4, 0);
    const bool rn = rd == field(insn, 9, 5);
    const bool rm = rd == field(insn, 20, 16);
    const bool rm4 = field(insn, 23, 22) == 0 && rd == field(insn, 19, 16);  // half precision
    const bool convert = kConvertToFloat.match(insn & ~u32{0x70400000}) || kFixedToFloat.match(insn) ||
                         kNarrowFloatOdd.match(insn & ~u32{0x70000000});
    return (convert && rn) || (kFloatByElement.match(insn & ~u32{0x70000000}) && (rm || rm4)) || (kPmull.match(insn) && (rn || rm));
}

/// What an immediate adds to the base before the access.
s64 displacement(u32 insn) {
    if (kPair.match(insn)) {
        const unsigned scale = is_vector(insn) ? 2 + field(insn, 31, 30) : bit(insn, 31) ? 3 : 2;
        return field(insn, 24, 23) == 1 ? 0 : sign_extend(field(insn, 21, 15), 7) * (s64{1} << scale);
    }
    if (!kRegister.match(insn)) {
        return 0;
    }
    if (bit(insn, 24)) {
        return static_cast<s64>(u64{field(insn, 21, 10)} << access_scale(insn));
    }
    return bit(insn, 21) || field(insn, 11, 10) == 1 ? 0 : sign_extend(field(insn, 20, 12), 9);
}

void set_base(OracleCase& c, u32 rn, u64 address) {
    (rn == 31 ? c.input.sp : c.input.x[rn]) = address;
}

/// The register offset of a load/store, as the extend option will see it: a few bytes either way.
void set_offset(OracleCase& c, u32 insn, Rng& rng) {
    const u32 rm = field(insn, 20, 16);
    if (rm == 31) {
        return;
    }
    const s64 small = static_cast<s64>(rng.below(17)) - 8;
    switch (field(insn, 15, 13)) {
        case 0b010: c.input.x[rm] = rng.next() << 32 | static_cast<u64>(small & 15); break;
        case 0b110: c.input.x[rm] = rng.next() << 32 | static_cast<u32>(small); break;
        default: c.input.x[rm] = static_cast<u64>(small); break;
    }
}

/// CAS and its kin: let the comparison succeed in about half of the cases.
void plant_expected_value(OracleCase& c, u32 insn, u64 base, CaseGenerator& generator) {
    const u64 offset = base - (ORACLE_WINDOW_BASE + ORACLE_IMAGE_OFFSET);
    const u32 rs = field(insn, 20, 16);
    if (generator.one_in(2) || rs == 31 || offset > ORACLE_IMAGE_SIZE - 16) {
        return;
    }
    const unsigned size = 1u << field(insn, 31, 30);
    const bool pair = kOrdered.match(insn) && !bit(insn, 23);
    if (!pair) {
        std::memcpy(c.input.image + offset, &c.input.x[rs], size);
    } else if (rs < 30) {
        const unsigned each = bit(insn, 30) ? 8 : 4;
        std::memcpy(c.input.image + offset, &c.input.x[rs], each);
        std::memcpy(c.input.image + offset + each, &c.input.x[rs + 1], each);
    }
}

/// A store-exclusive follows a load-exclusive of the same address and size (in most cases), and sometimes a CLREX.
void complete_exclusive(OracleCase& c, u32 insn, CaseGenerator& generator) {
    if (bit(insn, 23) || bit(insn, 22) || (bit(insn, 21) && !bit(insn, 31)) || generator.one_in(8)) {
        return;  // ordered, load, CASP; or no load-exclusive at all: the store must fail
    }
    // Destinations of the load that the store does not use.
    u32 free[2] = {};
    unsigned found = 0;
    for (u32 n = 0; n < 31 && found < 2; ++n) {
        if (n != field(insn, 4, 0) && n != field(insn, 9, 5) && n != field(insn, 14, 10) && n != field(insn, 20, 16)) {
            free[found++] = n;
        }
    }
    u32 load = insn | u32{1} << 22 | u32{31} << 16;
    load = static_cast<u32>(deposit(load, 4, 0, free[0]));
    load = static_cast<u32>(deposit(load, 14, 10, bit(insn, 21) ? free[1] : 31));
    unsigned n = 0;
    c.insns[n++] = load;
    if (generator.one_in(8)) {
        c.insns[n++] = 0xD5033F5F;  // CLREX
    }
    c.insns[n++] = insn;
    c.insn_count = n;
}

bool shape_load_store(OracleCase& c, u64 code_address, CaseGenerator& generator) {
    u32& insn = c.insns[0];
    Rng& rng = generator.rng();
    constexpr u64 kCentre = ORACLE_WINDOW_BASE + ORACLE_WINDOW_SIZE / 2;
    if (kLiteral.match(insn)) {
        const u64 target = kCentre - 256 + 4 * rng.below(128);
        insn = static_cast<u32>(deposit(insn, 23, 5, (target - code_address) >> 2));
        return true;
    }
    const u32 rn = field(insn, 9, 5);
    // A store-exclusive without a load may check its address or not, and the reference does not.
    const bool atomic = is_atomic_group(insn);
    if (rn != 31 && !kStoreExclusive.match(insn) && generator.one_in(50)) {
        // Wherever the random value points: mostly a fault.
        if (atomic || kOrdered.match(insn)) {
            c.input.x[rn] = align_down(c.input.x[rn], 16);  // qemu-user has no alignment faults to rank first
        }
        return bits(c.input.x[rn], 55, 29) != 0;  // below are the runner's image and the code of the cases
    }
    // Anywhere near the page boundary, or just in front of it.
    u64 base = generator.one_in(4) ? kCentre - 1 - (generator.one_in(3) ? 0 : rng.below(15)) : kCentre - 192 + rng.below(385);
    if (rn == 31 || kOrdered.match(insn) || atomic) {
        base = align_down(base, 16);
    }
    const u64 data = base;
    if (const s64 offset = displacement(insn); offset != 0) {
        base -= static_cast<u64>(offset);
        if (rn == 31 && base % 16 != 0) {
            base = align_down(base, 16);
        }
    } else if (kRegister.match(insn) && bit(insn, 21) && field(insn, 11, 10) == 0b10) {
        set_offset(c, insn, rng);
    }
    if (rn != 31 && generator.one_in(16)) {
        base |= rng.below(256) << 56;  // a tagged address
    }
    set_base(c, rn, base);
    if (atomic || kOrdered.match(insn)) {
        plant_expected_value(c, insn, data, generator);
    }
    if (kOrdered.match(insn)) {
        complete_exclusive(c, insn, generator);
    }
    return true;
}

void shape_system_register(OracleCase& c, CaseGenerator& generator, ModelId model) {
    u32& insn = c.insns[0];
    const u64 choices = model == ModelId::vixl ? 2 : std::size(kComparableSysregs);
    insn = static_cast<u32>(deposit(insn, 20, 5, kComparableSysregs[generator.rng().below(choices)]));
    if (field(insn, 4, 0) != 31 && field(insn, 20, 5) != kComparableSysregs[0]) {
        // FPCR.{Stride, Len} and FPSR.{N, Z, C, V}: stored by PEs with AArch32, which ours are not. VIXL has no FZ16.
        c.input.x[field(insn, 4, 0)] &= ~u64{model == ModelId::vixl ? 0xF03F0000 : 0xF0370000};
    }
}

/// Keeps clear of what VIXL 5.1 gets wrong for some values only.
void shape_for_vixl(OracleCase& c) {
    const u32 insn = c.insns[0];
    if (kMovkWord.match(insn) && field(insn, 4, 0) != 31) {
        c.input.x[field(insn, 4, 0)] &= 0x7FFFFFFF;  // it extends the sign of the old Wd
    }
    if (kConvertToFloat.match(insn & ~u32{0x70400000}) || kFixedToFloat.match(insn) || kNarrowFloat.match(insn)) {
        c.input.v[field(insn, 4, 0)][0] = c.input.v[field(insn, 4, 0)][1] = 0;  // it leaves the rest of Vd as it was
    }
    if (kSignedMinMaxNarrow.match(insn)) {
        for (u8& byte : c.input.image) {
            byte &= 0x7F;  // it loads with sign extension
        }
    }
}

/// System instructions at EL0: cache maintenance of the window, or UNDEFINED.
bool shape_system(OracleCase& c, CaseGenerator& generator) {
    // Maintenance that EL0 may do, beside what the words of the row are at random.
    static constexpr u32 kAllowed[] = {0xD50B7520 /* IC IVAU */, 0xD50B7A20 /* DC CVAC */, 0xD50B7B20 /* DC CVAU */,
                                       0xD50B7E20 /* DC CIVAC */};
    u32& insn = c.insns[0];
    if (field(insn, 21, 19) == 1 && field(insn, 15, 12) == 7 && generator.one_in(2)) {
        insn = kAllowed[generator.rng().below(std::size(kAllowed))] | field(insn, 4, 0);
    }
    const u32 rt = field(insn, 4, 0);
    if (rt == 31) {
        return false;  // maintenance of address 0 faults, and qemu-user reports a PC that is not the instruction's
    }
    c.input.x[rt] = ORACLE_WINDOW_BASE + generator.rng().below(ORACLE_WINDOW_SIZE);
    return true;
}

/// A branch must land on a BRK or outside the code region: not where any slot has instructions.
bool lands_safely(u64 target) {
    const bool inside = target - ORACLE_CODE_BASE < ORACLE_CODE_SIZE;
    return inside ? (target % ORACLE_SLOT_SIZE) >= 4 * ORACLE_MAX_INSNS : target - ORACLE_CODE_BASE < (u64{1} << 28) || target > ~u64{0} - 16;
}

bool shape_branch(OracleCase& c, u64 code_address, CaseGenerator& generator) {
    u32& insn = c.insns[0];
    Rng& rng = generator.rng();
    const u64 near = static_cast<u64>(static_cast<s64>(rng.below(31)) - 15) * 4;
    if (kBranchImmediate.match(insn)) {
        if (generator.one_in(2)) {
            insn = static_cast<u32>(deposit(insn, 25, 0, near >> 2));
        } else {
            insn &= ~(u32{1} << 25);  // forwards: backwards lies the runner
        }
        return lands_safely(code_address + static_cast<u64>(sign_extend(insn, 26) * 4));
    }
    if (kCompareBranch.match(insn) || kConditionalBranch.match(insn)) {
        insn = static_cast<u32>(generator.one_in(2) ? deposit(insn, 23, 5, near >> 2) : insn & ~(u32{1} << 23));
        return lands_safely(code_address + static_cast<u64>(sign_extend(field(insn, 23, 5), 19) * 4));
    }
    if (kTestBranch.match(insn)) {
        insn = static_cast<u32>(generator.one_in(2) ? deposit(insn, 18, 5, near >> 2) : insn & ~(u32{1} << 18));
        return lands_safely(code_address + static_cast<u64>(sign_extend(field(insn, 18, 5), 14) * 4));
    }
    const u32 rn = field(insn, 9, 5);
    if (rn == 31) {
        return true;  // to address 0, which is not mapped
    }
    const u64 target = code_address + (generator.one_in(4) ? rng.below(1 << 20) : 32 + 4 * rng.below(8));
    c.input.x[rn] = target;
    return lands_safely(target);
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view text) {
    if (pattern.empty()) {
        return text.empty();
    }
    if (pattern[0] == '*') {
        return glob_matches(pattern.substr(1), text) || (!text.empty() && glob_matches(pattern, text.substr(1)));
    }
    return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) &&
           glob_matches(pattern.substr(1), text.substr(1));
}

const char* exclusion_reason(u32 insn, ModelId model) {
    if (kDcZva.match(insn)) {
        return nullptr;
    }
    if (kMsrMrs.match(insn)) {
        for (const u32 key : kComparableSysregs) {
            if (field(insn, 20, 5) == key) {
                return nullptr;
            }
        }
    }
    for (const ExcludedWord& excluded : kExcludedWords) {
        if ((excluded.models >> static_cast<u8>(model) & 1) != 0 && excluded.pattern.matches(insn)) {
            return excluded.reason;
        }
    }
    if (model == ModelId::vixl && vixl_overlaps(insn)) {
        return "VIXL 5.1 writes the destination before it has read a source that is the same register";
    }
    return is_unpredictable(insn) ? "CONSTRAINED UNPREDICTABLE operands" : nullptr;
}

namespace {

bool shape(OracleCase& c, u64 code_address, CaseGenerator& generator, ModelId model) {
    u32& insn = c.insns[0];
    if (kDcZva.match(insn)) {
        const u32 rt = field(insn, 4, 0);
        if (rt == 31) {
            return false;  // faults, and qemu-user reports a PC that is not the instruction's
        }
        c.input.x[rt] = ORACLE_WINDOW_BASE + ORACLE_WINDOW_SIZE / 2 - 256 + generator.rng().below(512);
        return true;
    }
    if (kSystem.match(insn)) {
        return shape_system(c, generator);
    }
    if (kMsrMrs.match(insn)) {
        shape_system_register(c, generator, model);
        return true;
    }
    if (exclusion_reason(insn, model) != nullptr) {
        return false;
    }
    if (kLoadsStores.match(insn)) {
        return shape_load_store(c, code_address, generator);
    }
    if (kBranchImmediate.match(insn) || kCompareBranch.match(insn) || kTestBranch.match(insn) ||
        kConditionalBranch.match(insn) || kBranchRegister.match(insn)) {
        return shape_branch(c, code_address, generator);
    }
    return true;
}

}  // namespace

void correct_outcome(OracleCase& c, ModelId model) {
    const u32 insn = c.insns[c.insn_count - 1];
    if (model == ModelId::qemu && c.outcome.signal == 0 && kScalarFixedPointHalf.match(insn)) {
        c.outcome.state.v[field(insn, 4, 0)][0] &= 0xFFFF;  // qemu 7.2 extends the sign of the result beyond the half
    }
}

bool may_be_unaligned(const arch::DecodeRow& row) {
    const u32 insn = row.pattern.value;
    OracleCase c{};
    return kLoadsStores.match(insn) && access_of(c, insn).size > 1;
}

AccessShape access_of(const OracleCase& c, u32 insn) {
    if (!kLoadsStores.match(insn) || is_atomic_group(insn) || !(kRegister.match(insn) || kPair.match(insn))) {
        return {};
    }
    const bool register_offset = kRegister.match(insn) && !bit(insn, 24) && bit(insn, 21);
    const bool prefetch = kRegister.match(insn) && !is_vector(insn) && field(insn, 31, 30) == 3 && field(insn, 23, 22) == 2;
    const bool vector_pair = kPair.match(insn) && is_vector(insn);
    if (register_offset || prefetch) {
        return {};
    }
    const unsigned size = vector_pair         ? 8u << field(insn, 31, 30)
                          : kPair.match(insn) ? (bit(insn, 31) ? 16u : 8u)
                                              : 1u << access_scale(insn);
    const u32 rn = field(insn, 9, 5);
    const u64 base = rn == 31 ? c.input.sp : c.input.x[rn];
    return {bits(base + static_cast<u64>(displacement(insn)), 55, 0), size};
}

bool fit_as_prefix(u32 insn, ModelId model) {
    return model != ModelId::vixl || !kMovkWord.match(insn);
}

bool shape_case(OracleCase& c, u64 code_address, CaseGenerator& generator, ModelId model) {
    if (!shape(c, code_address, generator, model)) {
        return false;
    }
    if (model == ModelId::vixl) {
        shape_for_vixl(c);
    }
    return true;
}

}  // namespace vmm::oracle
