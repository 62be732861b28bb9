// A PE executes code of the fuzzer's, by the interpreter and, side by side, as host code: both must live and agree.
//
// An input is a header, which is the state the PE begins with, and instruction words.
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <memory>
#include <random>
#include <vector>

#include "arch/cpu_model.h"
#include "arch/debug_hook.h"
#include "arch/decode.h"
#include "arch/engine.h"
#include "arch/pmu.h"
#include "mm/table_watch.h"
#include "spe/profiling_unit.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/pe_world.h"
#include "tests/fuzz/target.h"

namespace vmm::fuzz {
namespace {

constexpr std::size_t kHeaderSize = 176;
constexpr std::size_t kMostWords = 256;
constexpr unsigned kSystemWrites = 6;
constexpr unsigned kTableWrites = 6;

enum Flag : u16 { kEl0 = 1, kMmu = 2, kPmu = 4, kSpe = 8, kDebug = 16, kStep = 32, kIrq = 64, kPan = 128, kWatch = 256,
                kGuestDebug = 512 };

struct TableWrite {
    u16 at = 0;  // descriptors from kTables
    u64 value = 0;
};
struct SystemWrite {
    u8 key = 0;
    u64 value = 0;
};

struct Start {
    explicit Start(FuzzInput& in) {
        flags = in.get<u16>();
        for (u8& each : budgets) {
            each = in.get<u8>();
        }
        for (u64& each : x) {
            each = interesting(in.get<u8>());
        }
        for (u64& each : v) {
            each = vector_half(in.get<u8>());
        }
        fpcr = in.get<u32>();
        for (SystemWrite& each : system) {
            each = {in.get<u8>(), in.get<u64>()};
        }
        for (TableWrite& each : tables) {
            each = {in.get<u16>(), in.get<u64>()};
        }
    }
    bool has(Flag flag) const { return (flags & flag) != 0; }

    /// Numbers that floating point finds special, of each size.
    static u64 vector_half(u8 selector) {
        constexpr std::array<u64, 16> kHalves{0, 0x7FF0'0000'0000'0000, 0x7FF8'0000'0000'0001, 0x7FF0'0000'0000'0001,
                                              0x0000'0000'0000'0001, 0x8000'0000'0000'0000, 0x3FF0'0000'0000'0000,
                                              0x7FEF'FFFF'FFFF'FFFF, 0x7F80'0000'FF80'0001, 0x0080'0000'807F'FFFF,
                                              0x7C00'FC01'0001'8000, 0x7BFF'0400'3C00'BC00, ~u64{0}, 0x8080'8080'8080'8080,
                                              0x7F7F'7F7F'7F7F'7F7F, 0x0001'0203'0405'0607};
        return selector < 224 ? kHalves[selector % kHalves.size()] : scramble(selector);
    }

    u16 flags = 0;
    std::array<u8, 4> budgets{};  // operations of each run, one after the other and again
    std::array<u64, 31> x{};
    std::array<u64, 16> v{};      // halves of the vector registers
    u32 fpcr = 0;
    std::array<SystemWrite, kSystemWrites> system;
    std::array<TableWrite, kTableWrites> tables;
};

/// Registers that change how others work. 0: none.
constexpr std::array<arch::SysregKey, 40> kSystemRegisters{
    0,
    0,
    arch::sysreg_key(3, 0, 1, 0, 0),   // SCTLR_EL1
    arch::sysreg_key(3, 0, 1, 0, 2),   // CPACR_EL1
    arch::sysreg_key(3, 0, 2, 0, 0),   // TTBR0_EL1
    arch::sysreg_key(3, 0, 2, 0, 1),   // TTBR1_EL1
    arch::sysreg_key(3, 0, 2, 0, 2),   // TCR_EL1
    arch::sysreg_key(3, 0, 10, 2, 0),  // MAIR_EL1
    arch::sysreg_key(3, 0, 12, 0, 0),  // VBAR_EL1
    arch::sysreg_key(3, 0, 4, 0, 0),   // SPSR_EL1
    arch::sysreg_key(3, 0, 4, 0, 1),   // ELR_EL1
    arch::sysreg_key(2, 0, 0, 2, 2),   // MDSCR_EL1
    arch::sysreg_key(2, 0, 1, 0, 4),   // OSLAR_EL1
    arch::sysreg_key(3, 0, 13, 0, 1),  // CONTEXTIDR_EL1
    arch::sysreg_key(3, 0, 14, 1, 0),  // CNTKCTL_EL1
    arch::sysreg_key(3, 0, 0, 0, 0),   // (read-only)
    arch::sysreg_key(3, 3, 9, 12, 0),  // PMCR_EL0
    arch::sysreg_key(3, 3, 9, 12, 1),  // PMCNTENSET_EL0
    arch::sysreg_key(3, 3, 9, 12, 5),  // PMSELR_EL0
    arch::sysreg_key(3, 3, 9, 13, 0),  // PMCCNTR_EL0
    arch::sysreg_key(3, 3, 9, 13, 1),  // PMXEVTYPER_EL0
    arch::sysreg_key(3, 3, 9, 14, 0),  // PMUSERENR_EL0
    arch::sysreg_key(3, 0, 9, 14, 1),  // PMINTENSET_EL1
    arch::sysreg_key(3, 3, 14, 8, 0),  // PMEVCNTR0_EL0
    arch::sysreg_key(3, 3, 14, 12, 0),  // PMEVTYPER0_EL0
    arch::sysreg_key(3, 3, 14, 12, 1),  // PMEVTYPER1_EL0
    arch::sysreg_key(3, 3, 14, 15, 7),  // PMCCFILTR_EL0
    arch::sysreg_key(3, 0, 9, 9, 0),   // PMSCR_EL1
    arch::sysreg_key(3, 0, 9, 9, 2),   // PMSICR_EL1
    arch::sysreg_key(3, 0, 9, 9, 3),   // PMSIRR_EL1
    arch::sysreg_key(3, 0, 9, 9, 4),   // PMSFCR_EL1
    arch::sysreg_key(3, 0, 9, 9, 5),   // PMSEVFR_EL1
    arch::sysreg_key(3, 0, 9, 9, 6),   // PMSLATFR_EL1
    arch::sysreg_key(3, 0, 9, 10, 0),  // PMBLIMITR_EL1
    arch::sysreg_key(3, 0, 9, 10, 1),  // PMBPTR_EL1
    arch::sysreg_key(3, 0, 9, 10, 3),  // PMBSR_EL1
    arch::sysreg_key(3, 3, 4, 4, 0),   // FPCR
    arch::sysreg_key(3, 3, 4, 4, 1),   // FPSR
    arch::sysreg_key(3, 0, 13, 0, 4),  // TPIDR_EL1
    arch::sysreg_key(2, 0, 1, 3, 4),   // OSDLR_EL1
};

/// One PE with all around it. Making one takes far longer than running it: it is used again and again.
class Machine {
  public:
    Machine(bool pmu, bool spe, u32 translate_after)
        : ram_(kRam, kRamSize), watch_(ram_.view()), v_(config(pmu, spe, translate_after)) {
        if (spe) {
            unit_ = std::make_unique<spe::ProfilingUnit>(v_, spe::ProfilingConfig{}, nullptr);
            unit_->attach();
        }
        ports_.cpu = &v_;
        registers_ = v_.sysregs.entries();
        std::erase_if(registers_, [](const auto* entry) { return entry->key >> 14 == 1; });  // instructions
    }

    void begin(const Start& start, std::span<const u8> code) {
        start_ = &start;
        ports_.restart();
        v_.set_debug_hook(nullptr);
        v_.pins.set_irq(false);
        v_.exceptions_taken = 0;
        v_.reset(kCode, 0);
        if (unit_ != nullptr) {
            unit_->reset();
            samples_before_ = unit_->stats().samples;
        }
        fill_memory(code);
        set_registers();
        v_.engine().invalidate_all_code();
        hook_ = arch::DebugHook();
        stepping_ = false;
        if (start.has(kDebug)) {
            set_debugger(code.size());
        }
    }

    arch::Vcpu& cpu() { return v_; }
    const mm::GuestRam& ram() const { return ram_.view(); }
    u64 accesses() const { return ports_.seen; }
    const std::vector<const arch::SysregBank::Entry*>& registers() const { return registers_; }
    u64 samples() const { return unit_ == nullptr ? 0 : unit_->stats().samples - samples_before_; }

    arch::RunResult run(unsigned n) {
        const arch::RunResult result = v_.run(1 + start_->budgets[n % start_->budgets.size()]);
        if (result == arch::RunResult::debug) {
            VMM_CHECK(hook_.stop().has_value());
            hook_.begin(true);  // past where it has stopped
            stepping_ = true;
        } else if (stepping_) {
            stepping_ = false;
            hook_.begin(start_->has(kStep));
        }
        if (start_->has(kIrq)) {
            v_.pins.set_irq(n % 3 == 1);
        }
        return result;
    }

  private:
    arch::VcpuConfig config(bool pmu, bool spe, u32 translate_after) {
        arch::VcpuConfig config;
        config.model = arch::find_cpu_model("neoverse-n1");
        config.ram = ram_.view();
        config.mmio = &ports_;
        config.firmware = &ports_;
        config.counter = &ports_;
        config.interconnect = &interconnect_;
        config.table_watch = &watch_;
        config.translate_after = translate_after;
        config.pmu = pmu;
        config.pmsver = spe ? 3 : 0;
        return config;
    }

    void fill_memory(std::span<const u8> code) {
        const auto put = [this](u64 pa, auto value) { ram_.put(pa, value); };
        static const std::vector<u8> empty = empty_memory();
        std::memcpy(ram_.view().host_base(), empty.data(), empty.size());
        std::memcpy(ram_.view().host(kCode, code.size()), code.data(), code.size());
        const u64 back = kCode + code.size();  // and again
        put(back, static_cast<u32>(0x1400'0000 | ((-(code.size() / 4)) & 0x3FF'FFFF)));
        for (const TableWrite& each : start_->tables) {
            if (each.value != 0) {
                put(kTables + each.at % 0x800 * 8, each.value);
            }
        }
    }

    /// RAM without code: vectors, tables, and noise as data.
    static std::vector<u8> empty_memory() {
        std::vector<u8> bytes(kRamSize);
        const auto put = [&](u64 pa, auto value) { std::memcpy(&bytes[pa - kRam], &value, sizeof value); };
        for (u64 at = kData; at < kRam + kRamSize; at += 8) {
            put(at, scramble(at));
        }
        make_vectors(put);
        make_tables(put);
        return bytes;
    }

    void set_registers() {
        arch::CpuState& s = v_.s;
        std::copy(start_->x.begin(), start_->x.end(), s.x.begin());
        s.x[arch::kSp] = kData + 0x800;
        for (unsigned i = 0; i < 32; ++i) {
            s.v[i].lo = start_->v[i % 16];
            s.v[i].hi = start_->v[(i * 5 + 3) % 16];
        }
        s.vbar_el1 = kVectors;
        s.cpacr_el1 = u64{3} << 20;
        s.sp_el0 = kData + 0x1000;
        s.daif = 0;
        if (start_->has(kMmu)) {
            use_tables(s);
        }
        write(arch::sysreg_key(3, 3, 4, 4, 0), start_->fpcr);
        if (start_->has(kGuestDebug)) {
            set_guest_debug();
        }
        for (const SystemWrite& each : start_->system) {
            write(kSystemRegisters[each.key % kSystemRegisters.size()], each.value);
        }
        if (start_->has(kEl0)) {
            v_.switch_el(0, 0);
        }
        s.pan = start_->has(kPan);
        v_.context_changed();
    }

    /// As MSR does.
    void write(arch::SysregKey key, u64 value) {
        arch::SysregBank::Entry* entry = v_.sysregs.find(key);
        if (entry == nullptr || entry->access == arch::SysregAccess::ro_el1 || entry->access == arch::SysregAccess::ro_el0) {
            return;
        }
        if (entry->write != nullptr) {
            entry->write(entry->self, v_, value);
        } else {
            *entry->storage = (value & entry->writable) | entry->fixed;
        }
    }

    /// The guest's own breakpoints on its code and watchpoints on its data, as the values meant for other registers say.
    void set_guest_debug() {
        constexpr u64 kEverywhere = 0x1FE7;  // EL1 and EL0, all bytes, loads and stores, enabled
        constexpr u64 kMdeAndKde = 1 << 15 | 1 << 13;
        for (unsigned n = 0; n < arch::SelfHostedDebug::kWatchpoints; ++n) {
            const u64 value = start_->system[n].value;
            write(arch::sysreg_key(2, 0, 0, n + 2, 4), kCode + bits(value, 9, 0));
            write(arch::sysreg_key(2, 0, 0, n + 2, 5), kEverywhere | bits(value, 13, 10) << 20 | u64{5} << 16);
            write(arch::sysreg_key(2, 0, 0, n, 6), kData + bits(value, 29, 16));
            write(arch::sysreg_key(2, 0, 0, n, 7), kEverywhere | u64{3} << 3 | bits(value, 34, 30) << 24);
        }
        write(arch::sysreg_key(2, 0, 0, 2, 2), kMdeAndKde);
    }

    void set_debugger(u64 code_bytes) {
        hook_.set_breakpoints({kCode + 8, kCode + (code_bytes / 2 & ~u64{3}), kVectors + 0x200});
        if (start_->has(kWatch)) {
            hook_.set_watchpoints({{kData + 8, 8, true, true}, {kData + 0x2FF0, 0x20, false, true}});
        }
        hook_.begin(start_->has(kStep));
        v_.set_debug_hook(&hook_);
    }

    const Start* start_ = nullptr;
    GuardedRam ram_;
    Ports ports_;
    mm::TableWatch watch_;
    arch::Interconnect interconnect_;
    arch::DebugHook hook_;
    bool stepping_ = false;
    arch::Vcpu v_;
    std::unique_ptr<spe::ProfilingUnit> unit_;
    u64 samples_before_ = 0;
    std::vector<const arch::SysregBank::Entry*> registers_;
};

struct Pair {
    Machine interpreted, translated;
};

Pair& pair_for(const Start& start) {
    static std::array<std::unique_ptr<Pair>, 4> pairs;
    const bool pmu = start.has(kPmu), spe = start.has(kSpe);
    std::unique_ptr<Pair>& found = pairs[(pmu ? 1 : 0) + (spe ? 2 : 0)];
    if (found == nullptr) {
        found.reset(new Pair{{pmu, spe, 0}, {pmu, spe, 1}});
    }
    return *found;
}

[[noreturn]] void differ(const char* what, u64 interpreter, u64 translator) {
    std::fprintf(stderr, "interpreter and translator differ: %s: %#llx, %#llx\n", what,
                 static_cast<unsigned long long>(interpreter), static_cast<unsigned long long>(translator));
    std::abort();
}

void check_same(const char* what, u64 a, u64 b) {
    if (a != b) {
        differ(what, a, b);
    }
}

void compare_registers(Machine& a, Machine& b) {
    const arch::CpuState& s = a.cpu().s;
    const arch::CpuState& t = b.cpu().s;
    check_same("PC", s.pc, t.pc);
    check_same("PSTATE", a.cpu().pack_pstate(), b.cpu().pack_pstate());
    for (unsigned i = 0; i < 31; ++i) {
        check_same(("X" + std::to_string(i)).c_str(), s.x[i], t.x[i]);
    }
    check_same("XZR", s.x[arch::kZr], 0);
    check_same("XZR", t.x[arch::kZr], 0);
    check_same("SP", s.x[arch::kSp], t.x[arch::kSp]);
    for (unsigned i = 0; i < 32; ++i) {
        check_same(("V" + std::to_string(i) + " low").c_str(), s.v[i].lo, t.v[i].lo);
        check_same(("V" + std::to_string(i) + " high").c_str(), s.v[i].hi, t.v[i].hi);
    }
    check_same("operations", a.cpu().ops_executed(), b.cpu().ops_executed());
}

/// The first bytes that differ; kRam + kRamSize: none. What it compares tells a fuzzer nothing.
#ifdef __clang__
__attribute__((no_sanitize("coverage")))
#endif
u64 first_difference(const u8* a, const u8* b) {
    for (u64 at = 0; at < kRamSize; at += 8) {
        u64 x = 0, y = 0;
        std::memcpy(&x, a + at, 8);
        std::memcpy(&y, b + at, 8);
        if (x != y) {
            return kRam + at;
        }
    }
    return kRam + kRamSize;
}

void compare_rest(Machine& a, Machine& b) {
    for (const arch::SysregBank::Entry* entry : a.registers()) {
        check_same(entry->name, a.cpu().sysregs.peek(a.cpu(), entry->key), b.cpu().sysregs.peek(b.cpu(), entry->key));
    }
    check_same("device accesses", a.accesses(), b.accesses());
    check_same("samples", a.samples(), b.samples());
    if (const u64 pa = first_difference(a.ram().host_base(), b.ram().host_base()); pa != kRam + kRamSize) {
        u64 x = 0, y = 0;
        std::memcpy(&x, a.ram().host(pa, 8), 8);
        std::memcpy(&y, b.ram().host(pa, 8), 8);
        std::fprintf(stderr, "at %#llx: ", static_cast<unsigned long long>(pa));
        differ("memory", x, y);
    }
}

#ifdef VMM_FUZZ
/// A word that decodes, with fields at random.
u32 some_instruction(std::minstd_rand& random) {
    const auto rows = arch::decode_rows();
    const arch::DecodeRow& row = *rows[random() % rows.size()];
    const u32 noise = static_cast<u32>(random()) << 16 ^ static_cast<u32>(random());
    return row.pattern.value | (noise & ~row.pattern.mask);
}
#endif

}  // namespace
}  // namespace vmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm::fuzz;
    using vmm::u8;
    if (size < kHeaderSize + 4) {
        return 0;
    }
    FuzzInput in({data, size});
    FuzzInput header(in.take(kHeaderSize));
    const Start start(header);
    const std::span<const u8> code = in.take(std::min(size - kHeaderSize, kMostWords * 4) & ~std::size_t{3});

    auto& [interpreted, translated] = pair_for(start);
    interpreted.begin(start, code);
    translated.begin(start, code);
    for (unsigned n = 0; n < 16; ++n) {
        const auto a = interpreted.run(n);
        const auto b = translated.run(n);
        check_same("end of the run", static_cast<unsigned>(a), static_cast<unsigned>(b));
        compare_registers(interpreted, translated);
    }
    compare_rest(interpreted, translated);
    return 0;
}

#ifdef VMM_FUZZ
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
    using namespace vmm::fuzz;
    std::minstd_rand random(seed + 1);
    if (size < kHeaderSize + 4 || random() % 2 == 0) {
        size = LLVMFuzzerMutate(data, size, max_size);
        if (size < kHeaderSize + 4 && max_size >= kHeaderSize + 4) {
            std::memset(data + size, 0, kHeaderSize + 4 - size);
            size = kHeaderSize + 4;
        }
        return size;
    }
    for (unsigned n = 1 + random() % 4; n > 0; --n) {
        const std::size_t words = (size - kHeaderSize) / 4;
        const std::size_t at = random() % (words + 1);  // the last: one more
        if (at == words && kHeaderSize + 4 * (words + 1) > max_size) {
            continue;
        }
        const vmm::u32 word = some_instruction(random);
        std::memcpy(data + kHeaderSize + 4 * at, &word, 4);
        size = std::max(size, kHeaderSize + 4 * (at + 1));
    }
    return size;
}
#endif
