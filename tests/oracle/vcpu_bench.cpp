#include "tests/oracle/vcpu_bench.h"

#include <csignal>
#include <cstring>

#include "arch/decode.h"
#include "vmm/base/check.h"

namespace vmm::oracle {

namespace {

// RAM: window and code where the runner has them, then what only we need.
constexpr u64 kTables = ORACLE_WINDOW_BASE + 0x100000;   // levels 1, 2, 3; not mapped themselves
constexpr u64 kVectors = ORACLE_WINDOW_BASE + 0x104000;  // one page of WFI, for EL1
constexpr u64 kRamSize = 0x105000;
static_assert(ORACLE_CODE_BASE + ORACLE_CODE_SIZE <= kTables);

/// The signal a Linux process gets for the exception of this syndrome.
u32 signal_of(u64 esr) {
    switch (bits(esr, 31, 26)) {
        case 0x20:
        case 0x21:
        case 0x24:
        case 0x25: return bits(esr, 5, 0) == 0x21 ? SIGBUS : SIGSEGV;
        case 0x22:
        case 0x26: return SIGBUS;
        case 0x3C: return SIGTRAP;
        default: return SIGILL;
    }
}

}  // namespace

VcpuBench::VcpuBench(Execution execution)
    : execution_(execution),
      pe_(ORACLE_WINDOW_BASE, kRamSize, execution == Execution::host_code ? 1 : 0),
      clean_window_(ORACLE_WINDOW_SIZE) {
    build_tables();
    for (u32 i = 0; i < ORACLE_WINDOW_SIZE; ++i) {
        clean_window_[i] = window_fill(i);
    }
    std::memcpy(pe_.ram().host_base(), clean_window_.data(), ORACLE_WINDOW_SIZE);
    pe_.vcpu().reset(0, 0);

    arch::CpuState& s = pe_.vcpu().s;
    s.cpacr_el1 = u64{3} << 20;  // FPEN
    s.mair_el1 = 0xFF;           // attribute 0: Normal, write-back
    // TBI0; 40-bit PA; no TTBR1 walks; inner shareable write-back tables; 4 KiB granule, 39-bit VA.
    s.tcr_el1 = u64{1} << 37 | u64{2} << 32 | u64{1} << 23 | u64{25} << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 25;
    s.ttbr0_el1 = kTables;
    s.vbar_el1 = kVectors;
    // As Linux sets it: UCI, nTWE, nTWI, UCT, DZE, I, SA0, SA, C, M and the RES1 bits.
    s.sctlr_el1 = 0x30D00800 | u64{1} << 26 | u64{1} << 18 | u64{1} << 16 | u64{1} << 15 | u64{1} << 14 | u64{1} << 12 |
                  u64{1} << 4 | u64{1} << 3 | u64{1} << 2 | 1;
}

void VcpuBench::build_tables() {
    const auto put = [this](u64 table, u64 index, u64 value) {
        std::memcpy(pe_.ram().host(kTables + table * 0x1000 + index * 8, 8), &value, 8);
    };
    constexpr u64 kTable = 3;
    constexpr u64 kPage = u64{1} << 10 /* AF */ | u64{3} << 8 /* SH */ | 3;
    constexpr u64 kPxn = u64{1} << 53;
    constexpr u64 kUxn = u64{1} << 54;
    constexpr u64 kEl0 = u64{1} << 6;
    constexpr u64 kReadOnly = u64{1} << 7;
    put(0, ORACLE_WINDOW_BASE >> 30, (kTables + 0x1000) | kTable);
    put(1, (ORACLE_WINDOW_BASE >> 21) & 511, (kTables + 0x2000) | kTable);
    const auto map = [&](u64 first, u64 size, u64 attributes) {
        for (u64 page = first; page < first + size; page += 0x1000) {
            put(2, (page >> 12) & 511, page | kPage | attributes);
        }
    };
    map(ORACLE_WINDOW_BASE, ORACLE_WINDOW_SIZE, kUxn | kPxn | kEl0);
    map(ORACLE_CODE_BASE, align_up(ORACLE_CODE_SIZE, 0x1000), kPxn | kEl0 | kReadOnly);
    map(kVectors, 0x1000, kUxn);
    constexpr u32 kWfi = 0xD503207F;
    for (u64 offset = 0; offset < 0x1000; offset += 4) {
        std::memcpy(pe_.ram().host(kVectors + offset, 4), &kWfi, 4);
    }
}

void VcpuBench::load_code(const std::vector<OracleCase>& cases) {
    constexpr u32 kBrk = ORACLE_BRK;
    for (u64 offset = 0; offset < ORACLE_CODE_SIZE; offset += 4) {
        std::memcpy(pe_.ram().host(ORACLE_CODE_BASE + offset, 4), &kBrk, 4);
    }
    for (std::size_t i = 0; i < cases.size(); ++i) {
        std::memcpy(pe_.ram().host(ORACLE_CODE_BASE + i * ORACLE_SLOT_SIZE, ORACLE_SLOT_SIZE), cases[i].insns,
                    4 * cases[i].insn_count);
    }
    pe_.vcpu().engine().invalidate_all_code();
}

void VcpuBench::enter(const OracleState& input, u64 pc) {
    arch::CpuState& s = pe_.vcpu().s;
    std::memcpy(s.x.data(), input.x, sizeof input.x);
    s.x[arch::kZr] = 0;
    s.x[arch::kSp] = input.sp;
    s.pc = pc;
    s.nzcv.unpack(input.nzcv);
    s.el = 0;
    s.sp_sel = 0;
    s.daif = 0;
    s.pan = s.uao = s.ss = s.il = 0;
    std::memcpy(s.v.data(), input.v, sizeof input.v);
    s.fpcr = input.fpcr;
    s.fpsr = input.fpsr;
    pe_.vcpu().monitor = {};
    pe_.vcpu().context_changed();
    std::memcpy(pe_.ram().host_base() + ORACLE_IMAGE_OFFSET, input.image, ORACLE_IMAGE_SIZE);
}

u32 VcpuBench::execute(const OracleCase& c, u64 code_address) {
    arch::Vcpu& v = pe_.vcpu();
    for (;;) {
        const u64 index = (v.s.pc - code_address) / 4;
        if (v.s.pc < code_address || index >= c.insn_count || v.s.pc % 4 != 0) {
            return 0;
        }
        const u32 insn = c.insns[index];
        const arch::DecodeRow* row = arch::decode(insn);
        switch (row == nullptr ? v.undefined() : row->handler(v, insn)) {
            case arch::Exec::next:
            case arch::Exec::end_block:
            case arch::Exec::wait:
            case arch::Exec::stop: v.s.pc += 4; break;
            case arch::Exec::branch: break;
            case arch::Exec::exception:
                v.s.pc = v.s.elr_el1;
                return signal_of(v.s.esr_el1);
        }
        if (v.s.x[arch::kZr] != 0) {
            return ~u32{0};  // XZR was written: matches no signal
        }
    }
}

u32 VcpuBench::execute_engine(const OracleCase& c, u64 code_address) {
    arch::Vcpu& v = pe_.vcpu();
    // Every case ends in an exception, if only that of the BRK behind it; the vectors end the run. A WFI or WFE under test
    // returns earlier.
    for (int i = 0; i < 8 && v.s.el == 0; ++i) {
        v.run(1000);
    }
    if (v.s.el == 0 || v.s.x[arch::kZr] != 0) {
        return ~u32{0};  // matches no signal
    }
    v.s.pc = v.s.elr_el1;
    const bool left = v.s.pc < code_address || v.s.pc >= code_address + 4 * c.insn_count;
    return left ? 0 : signal_of(v.s.esr_el1);
}

void VcpuBench::collect(const OracleCase& c, OracleOutcome& outcome, u32 signal) {
    const arch::CpuState& s = pe_.vcpu().s;
    OracleState& out = outcome.state;
    std::memcpy(out.x, s.x.data(), sizeof out.x);
    out.sp = s.el == 0 ? s.x[arch::kSp] : s.sp_el0;
    std::memcpy(out.v, s.v.data(), sizeof out.v);
    out.nzcv = s.el == 0 ? s.nzcv.pack() : static_cast<u32>(s.spsr_el1 & 0xF0000000);
    out.fpcr = s.fpcr;
    out.fpsr = s.fpsr;
    out.reserved = c.input.reserved;
    u8* window = pe_.ram().host_base();
    std::memcpy(out.image, window + ORACLE_IMAGE_OFFSET, ORACLE_IMAGE_SIZE);
    std::memcpy(window + ORACLE_IMAGE_OFFSET, clean_window_.data() + ORACLE_IMAGE_OFFSET, ORACLE_IMAGE_SIZE);
    outcome.outside_hash = 0;
    if (std::memcmp(window, clean_window_.data(), ORACLE_WINDOW_SIZE) != 0) {
        outcome.outside_hash = window_hash(window);
        std::memcpy(window, clean_window_.data(), ORACLE_WINDOW_SIZE);
    }
    outcome.pc = s.pc;
    outcome.signal = signal;
}

void VcpuBench::run(const OracleCase& c, u64 code_address, OracleOutcome& outcome) {
    enter(c.input, code_address);
    const u32 signal =
        execution_ == Execution::handlers ? execute(c, code_address) : execute_engine(c, code_address);
    collect(c, outcome, signal);
}

}  // namespace vmm::oracle
