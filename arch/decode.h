// The decode table and the way from an instruction word to its row.
#pragma once

#include <span>

#include "arch/exec.h"
#include "arch/insn_pattern.h"
#include "arch/op_class.h"

namespace vmm::arch {

/// Properties of a row that decoding must act on before any handler runs.
enum class Needs : u8 {
    base,  // nothing
    fp,    // SIMD&FP registers: trapped while CPACR_EL1.FPEN forbids them
};

/// One encoding class.
struct DecodeRow {
    const char* name;    // as printed by the Arm ARM
    Pattern pattern;
    Handler handler;
    OpClass op_class;
    Needs needs;
    const char* id;      // the handler's identifier: what the engine's fast paths select by
};

// The sections of the table, each stamped by the exec_*.cpp of the same name.
std::span<const DecodeRow> dp_imm_rows();
std::span<const DecodeRow> branch_system_rows();
std::span<const DecodeRow> dp_reg_rows();
std::span<const DecodeRow> ldst_rows();
std::span<const DecodeRow> ldst_exclusive_rows();
std::span<const DecodeRow> ldst_atomics_rows();
std::span<const DecodeRow> ldst_simd_rows();
std::span<const DecodeRow> fp_rows();
std::span<const DecodeRow> simd_rows();
std::span<const DecodeRow> simd_three_same_rows();
std::span<const DecodeRow> simd_three_different_rows();
std::span<const DecodeRow> simd_two_reg_rows();
std::span<const DecodeRow> simd_shift_imm_rows();
std::span<const DecodeRow> simd_fp_rows();
std::span<const DecodeRow> simd_fp_misc_rows();
std::span<const DecodeRow> crypto_rows();

/// All rows, in the order of the table.
std::span<const DecodeRow* const> decode_rows();

/// The most specific row that matches, or nullptr: the encoding is unallocated or not implemented (UNDEFINED).
const DecodeRow* decode(u32 insn);

}  // namespace vmm::arch
