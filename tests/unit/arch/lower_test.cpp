// The loop's inline operations against the decode table's reference handlers: two PEs run the same random programs, one
// through the loop, the other one instruction at a time through the handlers. They must agree after every stretch.
#include <memory>
#include <vector>

#include <catch2/catch.hpp>

#include "arch/code_cache.h"
#include "arch/decode.h"
#include "arch/engine.h"
#include "arch/hot_ops.h"
#include "arch/interconnect.h"
#include "arch/vcpu.h"
#include "vmm/base/rng.h"

namespace vmm::arch::test {

namespace {

constexpr u64 kRamBase = 0x8000'0000;
constexpr u64 kRamSize = 32 << 20;
constexpr u64 kTable = kRamBase;               // level 1, 4 KiB granule, 39-bit addresses
constexpr u64 kVectors = kRamBase + 0x1000;
constexpr u64 kCode = kRamBase + 0x4000;
constexpr u64 kData = kRamBase + (16 << 20);
constexpr unsigned kCodeWords = 1024 + 512;    // more than a page

/// Asks for every operation to be stepped through its handler.
class EveryOperation final : public OpObserver {
  public:
    u64 ops_until_sample() override { return 1; }
    void on_ops_executed(u64) override {}
    void on_sample(const OpTrace&) override {}
};

/// A PE with the MMU on, all RAM mapped one to one by a block, and its own RAM.
struct Pe {
    std::vector<u8> memory = std::vector<u8>(kRamSize + 4096);
    Interconnect interconnect;
    std::unique_ptr<Vcpu> v;

    /// `translate_after` as in VcpuConfig: 1 runs everything as host code.
    explicit Pe(u32 translate_after = 0) {
        u8* aligned = memory.data() + (4096 - reinterpret_cast<std::uintptr_t>(memory.data()) % 4096) % 4096;
        VcpuConfig config;
        config.ram = mm::GuestRam(aligned, kRamBase, kRamSize);
        config.interconnect = &interconnect;
        config.translate_after = translate_after;
        v = std::make_unique<Vcpu>(config);
        put<u64>(kTable + 2 * 8, 0x8000'0000 | 0x701);  // block, AF, inner shareable, attribute 0, EL1 read/write
        for (u64 offset = 0; offset < 0x800; offset += 4) {
            put<u32>(kVectors + offset, 0x1400'0000);   // b .
        }
        v->s.mair_el1 = 0xFF;
        v->s.tcr_el1 = 25 | u64{1} << 23 | u64{2} << 32;  // T0SZ = 25, EPD1, IPS = 40 bits
        v->s.ttbr0_el1 = kTable;
        v->s.sctlr_el1 = 0x30D0'0985 | 1;
        v->s.sctlr_el1 &= ~u64{2};  // no alignment checking
        v->s.cpacr_el1 = u64{3} << 20;
        v->s.vbar_el1 = kVectors;
        v->s.pc = kCode;
        v->context_changed();
    }

    template <class T>
    void put(u64 pa, T value) {
        mm::store_relaxed<T>(v->ram().host(pa, sizeof(T)), value);
    }
};

/// Rows that random programs are made of: everything the lowering knows, and what it must leave alone.
bool usable(const DecodeRow& row) {
    switch (row.op_class) {
        case OpClass::other:
        case OpClass::multiply:
        case OpClass::divide:
        case OpClass::cond_select:
        case OpClass::branch:
        case OpClass::branch_link:
        case OpClass::branch_cond:
        case OpClass::load:
        case OpClass::store:
        case OpClass::load_fp:
        case OpClass::store_fp:
        case OpClass::load_simd:
        case OpClass::store_simd:
        case OpClass::atomic:
        case OpClass::prefetch: break;
        default: return false;
    }
    // System instructions change the world the test stands on; they have tests of their own.
    return (row.pattern.value & 0xFF00'0000) != 0xD500'0000 && (row.pattern.value & 0xFF00'0000) != 0xD400'0000;
}

struct Generator {
    Rng rng;
    std::vector<const DecodeRow*> rows;

    explicit Generator(u64 seed) : rng(seed) {
        for (const DecodeRow* row : decode_rows()) {
            if (usable(*row)) {
                rows.push_back(row);
            }
        }
    }

    static bool is_memory(OpClass c) { return c >= OpClass::load && c <= OpClass::prefetch; }

    u32 set(u32 insn, const Pattern& pattern, std::string_view field, u32 value) const {
        const PatternField* f = pattern.find(field);
        return f == nullptr ? insn : static_cast<u32>(deposit(insn, f->lsb + f->width - 1, f->lsb, value));
    }

    u32 instruction(unsigned index) {
        const DecodeRow& row = *rows[rng.below(rows.size())];
        const Pattern& p = row.pattern;
        u32 insn = (static_cast<u32>(rng.next()) & ~p.mask) | p.value;
        if (is_memory(row.op_class)) {
            // Bases and indexes are X0..X7 (and sometimes SP), which nothing writes but write-back.
            insn = set(insn, p, "rn", rng.below(8) == 0 ? 31 : static_cast<u32>(rng.below(4)));
            insn = set(insn, p, "rm", 4 + static_cast<u32>(rng.below(4)));
            insn = set(insn, p, "rt", 8 + static_cast<u32>(rng.below(24)));
            insn = set(insn, p, "rt2", 8 + static_cast<u32>(rng.below(24)));
            insn = set(insn, p, "rs", 8 + static_cast<u32>(rng.below(24)));
        } else if (row.op_class == OpClass::branch || row.op_class == OpClass::branch_link ||
                   row.op_class == OpClass::branch_cond) {
            // Mostly short forward branches, so that programs go on; now and then back or far.
            const s32 distance = rng.below(16) == 0 ? -static_cast<s32>(rng.below(index + 1))
                                                    : 1 + static_cast<s32>(rng.below(rng.below(8) == 0 ? 400 : 12));
            for (const char* field : {"imm26", "imm19", "imm14"}) {
                if (const PatternField* f = p.find(field)) {
                    insn = set(insn, p, field, static_cast<u32>(distance) & static_cast<u32>(ones(f->width)));
                }
            }
        } else {
            insn = set(insn, p, "rd", 8 + static_cast<u32>(rng.below(24)));
            if ((insn & 31) == 31 && rng.below(2) == 0) {
                insn = set(insn, p, "rd", 8);
            }
        }
        return insn;
    }

    u64 value() {
        switch (rng.below(6)) {
            case 0: return 0;
            case 1: return ~u64{0};
            case 2: return u64{1} << rng.below(64);
            case 3: return rng.next() & 0xFFFF'FFFF;
            case 4: return static_cast<u64>(sign_extend(rng.next(), 32));
            default: return rng.next();
        }
    }
};

void start(Pe& pe, Generator g) {
    CpuState& s = pe.v->s;
    s.pc = kCode;
    s.el = 1;
    s.sp_sel = 1;
    for (unsigned n = 0; n < 31; ++n) {
        s.x[n] = g.value();
    }
    for (unsigned n = 0; n < 4; ++n) {
        s.x[n] = kData + (1 << 20) * n + g.rng.below(64) * (g.rng.below(3) == 0 ? 1 : 8);
        s.x[4 + n] = g.rng.below(512);
    }
    s.x[kZr] = 0;
    s.x[kSp] = kData + (8 << 20) + (g.rng.below(8) == 0 ? 8 : 0);
    for (Vreg& v : s.v) {
        v = {.lo = g.rng.next(), .hi = g.rng.next()};
    }
    s.nzcv.unpack(g.rng.next());
    s.fpcr = 0;
    s.fpsr = g.rng.below(2) == 0 ? 0x10 : 0;
}

bool same(const Pe& a, const Pe& b) {
    const CpuState& x = a.v->s;
    const CpuState& y = b.v->s;
    for (unsigned n = 0; n < 31; ++n) {
        if (x.x[n] != y.x[n]) {
            UNSCOPED_INFO("X" << n << ": loop " << std::hex << x.x[n] << ", handlers " << y.x[n]);
            return false;
        }
    }
    for (unsigned n = 0; n < 32; ++n) {
        if (x.v[n] != y.v[n]) {
            UNSCOPED_INFO("V" << n << ": loop " << std::hex << x.v[n].hi << "'" << x.v[n].lo << ", handlers " << y.v[n].hi
                              << "'" << y.v[n].lo);
            return false;
        }
    }
    if (x.fpcr != y.fpcr || x.fpsr != y.fpsr) {
        UNSCOPED_INFO("FPSR: loop " << std::hex << x.fpsr << ", handlers " << y.fpsr << "; FPCR " << x.fpcr);
        return false;
    }
    if (x.pc != y.pc || x.x[kSp] != y.x[kSp] || !(x.nzcv == y.nzcv) || x.el != y.el ||
        x.esr_el1 != y.esr_el1 || x.far_el1 != y.far_el1 || x.elr_el1 != y.elr_el1 || x.x[kZr] != 0) {
        UNSCOPED_INFO("PC: loop " << std::hex << x.pc << ", handlers " << y.pc << "; NZCV " << x.nzcv.pack() << ", "
                                  << y.nzcv.pack() << "; SP " << x.x[kSp] << ", " << y.x[kSp]);
        return false;
    }
    return std::memcmp(a.v->ram().host(kData, 16 << 20), b.v->ram().host(kData, 16 << 20), 16 << 20) == 0;
}

/// Operands that the fast paths of SIMD and floating point take, and every reason why they do not.
struct Operands {
    Rng& rng;
    unsigned mood;  // 0: ordinary numbers; 1: now and then something else; 2: products near the smallest normal; 3: anything

    template <class T>
    T number() {
        constexpr unsigned kFraction = sizeof(T) == 8 ? 52 : 23;
        constexpr unsigned kBias = sizeof(T) == 8 ? 1023 : 127;
        const T sign = static_cast<T>(T{rng.below(2) != 0} << (sizeof(T) * 8 - 1));
        T fraction = static_cast<T>(rng.next() & ones(kFraction));
        if (rng.below(2) == 0) {
            fraction = static_cast<T>(fraction & ~ones(kFraction - 3));  // few digits: exact results
        }
        u64 exponent = kBias - 6 + rng.below(14);
        if (mood == 2) {
            exponent = kBias / 2 - 1 + rng.below(3);
            // (1 + e) (1 - e) is below 1 by less than a denormal number can tell.
            constexpr unsigned kHalf = kFraction - kFraction / 2;
            static constexpr T kFractions[] = {0, T{1} << (kHalf - 1), (T{1} << kFraction) - (T{1} << kHalf)};
            fraction = rng.below(4) == 0 ? fraction : kFractions[rng.below(3)];
        } else if (mood == 3 || (mood == 1 && rng.below(8) == 0)) {
            switch (rng.below(8)) {
                case 0: return sign;
                case 1: exponent = 0; break;
                case 2: exponent = 2 * kBias + 1; fraction = rng.below(2) == 0 ? T{0} : fraction; break;
                case 3: exponent = rng.below(3); break;
                case 4: exponent = 2 * kBias - rng.below(3); break;
                case 5: exponent = kBias + 20 + rng.below(50); break;
                case 6: return static_cast<T>(rng.next());
                default: return static_cast<T>(rng.below(256));
            }
        }
        return static_cast<T>(sign | static_cast<T>(static_cast<T>(exponent) << kFraction) | fraction);
    }

    u64 half(bool wide) { return wide ? number<u64>() : number<u32>() | u64{number<u32>()} << 32; }
};

void set_simd_state(CpuState& s, Rng rng) {
    Operands operands{rng, static_cast<unsigned>(rng.below(4))};
    for (unsigned n = 0; n < 32; ++n) {
        const bool wide = rng.below(2) != 0;
        s.v[n] = {.lo = operands.half(wide), .hi = operands.half(wide)};
    }
    for (unsigned n = 0; n < 31; ++n) {
        s.x[n] = rng.below(4) == 0 ? operands.half(true) : rng.next() >> rng.below(64);
    }
    s.nzcv.unpack(rng.next());
    s.fpcr = rng.below(4) != 0 ? 0 : static_cast<u32>(rng.next()) & 0x07C8'0000;
    s.fpsr = rng.below(4) != 0 ? 0x10 : static_cast<u32>(rng.next()) & 0x0800'009F;
}

/// SIMD and floating-point data processing.
std::vector<const DecodeRow*> simd_data_rows() {
    std::vector<const DecodeRow*> rows;
    for (const DecodeRow* row : decode_rows()) {
        if (row->op_class >= OpClass::fp && row->op_class <= OpClass::simd_fp) {
            rows.push_back(row);
        }
    }
    return rows;
}

/// One of them. Most destinations are no sources, so that values stay as
/// they were set. `scratch` is a PE to find out about reserved encodings on.
u32 simd_instruction(Rng& rng, const std::vector<const DecodeRow*>& rows, Vcpu& scratch) {
    const DecodeRow& row = *rows[rng.below(rows.size())];
    u32 insn = (static_cast<u32>(rng.next()) & ~row.pattern.mask) | row.pattern.value;
    if (const PatternField* rd = row.pattern.find("rd"); rd != nullptr && rng.below(8) != 0) {
        insn |= 16;
    }
    for (const char* name : {"rn", "rm", "ra"}) {
        const PatternField* field = row.pattern.find(name);
        if (field != nullptr && field->width == 5 && rng.below(8) != 0) {
            insn &= ~(u32{16} << field->lsb);
        }
    }
    return row.handler(scratch, insn) == Exec::next ? insn : simd_instruction(rng, rows, scratch);
}

}  // namespace

TEST_CASE("lowering: every operation of the loop means what its decode-table row means", "[arch][lower]") {
    const u32 translate_after = GENERATE(0u, 1u, 3u);
    CAPTURE(translate_after);
    Pe loop(translate_after);
    Pe handlers;
    Pe scratch;
    EveryOperation every;
    handlers.v->set_observer(&every);
    const std::vector<const DecodeRow*> simd = simd_data_rows();
    u64 executed = 0;
    for (u64 seed = 1; seed <= 400; ++seed) {
        CAPTURE(seed);
        Generator g(seed);
        for (unsigned i = 0; i < kCodeWords; ++i) {
            // A compare followed by a conditional branch now and then, for the fused operations.
            u32 insn = g.instruction(i);
            if (g.rng.below(12) == 0 && i + 1 < kCodeWords) {
                static constexpr u32 kCompares[] = {0x6B00001F, 0xEB00001F, 0x7100001F, 0xF100001F, 0x6A00001F, 0xEA00001F};
                const u32 compare = kCompares[g.rng.below(6)] | static_cast<u32>(g.rng.below(31)) << 5 |
                                    static_cast<u32>(g.rng.below(31)) << 16;
                loop.put<u32>(kCode + i * 4, compare);
                handlers.put<u32>(kCode + i * 4, compare);
                ++i;
                insn = 0x5400'0000 | static_cast<u32>(1 + g.rng.below(9)) << 5 | static_cast<u32>(g.rng.below(16));
            } else if (g.rng.below(20) == 0) {
                insn = 0xD503'201F;  // NOP
            } else if (g.rng.below(10) == 0) {
                insn = simd_instruction(g.rng, simd, *scratch.v) | 16;  // not to a register that addresses memory
            }
            loop.put<u32>(kCode + i * 4, insn);
            handlers.put<u32>(kCode + i * 4, insn);
        }
        loop.v->engine().invalidate_all_code();
        start(loop, Generator(seed * 7919));
        start(handlers, Generator(seed * 7919));
        for (unsigned stretch = 0; stretch < 24; ++stretch) {
            const u64 budget = 1 + g.rng.below(stretch % 3 == 0 ? 4 : 90);
            const u64 before = loop.v->ops_executed();
            (void)loop.v->run(budget);
            const u64 done = loop.v->ops_executed() - before;
            const u64 handlers_before = handlers.v->ops_executed();
            while (handlers.v->ops_executed() - handlers_before < done) {
                (void)handlers.v->run(1);
            }
            REQUIRE(same(loop, handlers));
            executed += done;
        }
    }
    REQUIRE(executed > 50'000);
    // The inline paths of loads and stores were reached: the first-level TLB holds the data pages, writable ones.
    REQUIRE(loop.v->tlb_.entry(kData).read_tag != kNoTag);
    REQUIRE(loop.v->tlb_.entry(kData).write_tag != kNoTag);
}

TEST_CASE("host code: SIMD and floating point mean what their decode-table rows mean", "[arch][lower]") {
    const std::vector<const DecodeRow*> rows = simd_data_rows();
    constexpr unsigned kWords = 256;
    Pe loop(1);
    Pe handlers;
    Pe scratch;
    EveryOperation every;
    handlers.v->set_observer(&every);
    u64 executed = 0;
    for (u64 seed = 1; seed <= 120; ++seed) {
        CAPTURE(seed);
        Rng rng(seed);
        const bool is_short = seed % 2 != 0;
        for (unsigned i = 0; i < kWords; ++i) {
            // Short blocks and stretches show what FPSR is after an instruction, before the next one sets it all.
            const bool branch = is_short && i % 3 == 2;
            const u32 insn = branch ? 0x1400'0001 : simd_instruction(rng, rows, *scratch.v);
            loop.put<u32>(kCode + i * 4, insn);
            handlers.put<u32>(kCode + i * 4, insn);
        }
        for (Pe* pe : {&loop, &handlers}) {
            pe->put<u32>(kCode + kWords * 4, 0x1400'0000 | (static_cast<u32>(-static_cast<s32>(kWords)) & 0x03FF'FFFF));
            pe->v->s.pc = kCode;
        }
        loop.v->engine().invalidate_all_code();
        for (unsigned stretch = 0; stretch < (is_short ? 64 : 8); ++stretch) {
            const u64 state = rng.next();
            set_simd_state(loop.v->s, Rng(state));
            set_simd_state(handlers.v->s, Rng(state));
            const u64 before = loop.v->ops_executed();
            (void)loop.v->run(is_short ? 3 + rng.below(4) : 64 + rng.below(100));
            const u64 done = loop.v->ops_executed() - before;
            const u64 handlers_before = handlers.v->ops_executed();
            while (handlers.v->ops_executed() - handlers_before < done) {
                (void)handlers.v->run(1);
            }
            REQUIRE(same(loop, handlers));
            executed += done;
        }
    }
    REQUIRE(executed > 40'000);
}

TEST_CASE("host code: what rounds up to the smallest normal number is an underflow", "[arch][lower]") {
    // V1 times V2 is (1 + e) (1 - e) times the smallest normal number: tiny before rounding, not after it.
    struct Row {
        u32 insn;
        bool wide;
    };
    static constexpr Row kRows[] = {
        {0x1E22'0820, false}, {0x1E62'0820, true},   // fmul s0, s1, s2; fmul d0, d1, d2
        {0x1E22'8820, false}, {0x1E62'8820, true},   // fnmul
        {0x1F02'0C20, false}, {0x1F42'0C20, true},   // fmadd s0, s1, s2, s3
        {0x2E22'DC20, false}, {0x6E22'DC20, false}, {0x6E62'DC20, true},  // fmul v0.2s, v0.4s, v0.2d
        {0x0E22'CC20, false}, {0x4E22'CC20, false}, {0x4E62'CC20, true},  // fmla
        {0x4F82'9020, false}, {0x4FC2'9020, true},   // fmul v0.4s, v1.4s, v2.s[0]; v0.2d, v1.2d, v2.d[0]
        {0x5F82'9020, false}, {0x5FC2'9020, true},   // fmul s0, s1, v2.s[0]; d0, d1, v2.d[0]
    };
    for (const Row& row : kRows) {
        CAPTURE(std::hex, row.insn);
        Pe loop(1);
        Pe handlers;
        EveryOperation every;
        handlers.v->set_observer(&every);
        for (Pe* pe : {&loop, &handlers}) {
            pe->put<u32>(kCode, row.insn);
            pe->put<u32>(kCode + 4, 0x1400'0000);  // b .
            const u64 a = row.wide ? u64{511} << 52 | u64{1} << 25 : replicate(63u << 23 | 1u << 11, 32);
            const u64 b = row.wide ? (u64{513} << 52) - (u64{1} << 26) : replicate((65u << 23) - (1u << 12), 32);
            pe->v->s.v[0] = pe->v->s.v[3] = {};
            pe->v->s.v[1] = {.lo = a, .hi = a};
            pe->v->s.v[2] = {.lo = b, .hi = b};
            pe->v->s.fpsr = 0x10;
            (void)pe->v->run(2);
        }
        REQUIRE(same(loop, handlers));
        REQUIRE(loop.v->s.fpsr == 0x18);
    }
}

TEST_CASE("engine: code that discards all code while it is being stopped inside a block goes on correctly", "[arch][engine]") {
    // The first block empties the code cache and leaves for the next page, before the operation it was to stop at. The
    // second one, a loop, is decoded into the first one's memory and entered again and again.
    std::vector<u32> first = {0xD508'751F, 0x5400'7FE0};             // ic iallu; b.eq next page
    first.insert(first.end(), 40, 0xD280'00E3);                      // mov x3, #7
    std::vector<u32> second(24, 0x9100'0421);                        // add x1, x1, #1
    second.insert(second.end(), {0xF100'0484, 0x54FF'FCE1,           // subs x4, x4, #1; b.ne to the first addition
                                 0xD280'0064, 0x17FF'FBE5});         // mov x4, #3; b to the first block
    Pe loop(GENERATE(0u, 1u));
    Pe handlers;
    EveryOperation every;
    handlers.v->set_observer(&every);
    for (Pe* pe : {&loop, &handlers}) {
        for (unsigned i = 0; i < first.size(); ++i) {
            pe->put<u32>(kCode + i * 4, first[i]);
        }
        for (unsigned i = 0; i < second.size(); ++i) {
            pe->put<u32>(kCode + 0x1000 + i * 4, second[i]);
        }
        pe->v->s.pc = kCode;
        pe->v->s.nzcv.z = 1;
        pe->v->s.x[1] = pe->v->s.x[3] = 0;
        pe->v->s.x[4] = 3;
    }
    for (unsigned i = 0; i < 2000; ++i) {
        CAPTURE(i);
        (void)loop.v->run(i % 2 == 0 ? 1 + i % 37 : 63);
        while (handlers.v->ops_executed() < loop.v->ops_executed()) {
            (void)handlers.v->run(1);
        }
        REQUIRE(same(loop, handlers));
    }
    REQUIRE(loop.v->s.x[1] > 10'000);
    REQUIRE(loop.v->s.x[3] == 0);
}

TEST_CASE("engine: a run may end between NOPs, also where only the next page follows", "[arch][engine]") {
    Pe pe(GENERATE(0u, 1u));
    for (unsigned i = 0; i < 1024; ++i) {
        pe.put<u32>(kCode + i * 4, 0xD503'201F);
    }
    pe.put<u32>(kCode + 0x1000, 0x17FF'FFC0);  // b to the last 64 NOPs
    pe.v->s.pc = kCode + 0xF00;
    u64 executed = 0;
    for (u64 budget = 1; budget <= 200; ++budget) {
        CAPTURE(budget);
        const u64 before = pe.v->ops_executed();
        (void)pe.v->run(budget);
        executed += pe.v->ops_executed() - before;
        REQUIRE(pe.v->ops_executed() - before <= budget);
        REQUIRE(pe.v->s.pc == kCode + 0xF00 + executed % 65 * 4);
    }
}

TEST_CASE("translator: host code of any instruction keeps to the room it is given", "[arch][engine]") {
    // A block of 64 equal instructions of every row: were they longer than assumed, translating it would be an internal
    // error.
    Pe pe(1);
    Rng rng(7);
    u64 blocks = 0;
    for (const DecodeRow* row : decode_rows()) {
        CAPTURE(row->id);
        for (unsigned variant = 0; variant < 6; ++variant) {
            const u32 word = (static_cast<u32>(rng.next()) & ~row->pattern.mask) | row->pattern.value;
            for (unsigned i = 0; i < 64; ++i) {
                pe.put<u32>(kCode + i * 4, word);
            }
            pe.v->reset(kCode, 0);
            pe.v->s.cpacr_el1 = u64{3} << 20;
            pe.v->context_changed();
            (void)pe.v->run(64);
            ++blocks;
        }
    }
    REQUIRE(blocks == 6 * decode_rows().size());
}

TEST_CASE("engine: a reset PE executes what memory holds then", "[arch][engine]") {
    Pe pe;
    const auto run_from_reset = [&pe](u32 first) {
        pe.put<u32>(kCode, first);
        pe.put<u32>(kCode + 4, 0x1400'0000);  // b .
        pe.v->reset(kCode, 0);
        pe.v->s.cpacr_el1 = u64{3} << 20;  // FP instructions that trap would keep the loop out
        (void)pe.v->run(100);
        return pe.v->s.x[3];
    };
    REQUIRE(run_from_reset(0xD280'00E3) == 7);  // mov x3, #7
    REQUIRE(run_from_reset(0xD280'0123) == 9);  // mov x3, #9
}

TEST_CASE("engine: unmasking debug exceptions starts a pending step at once", "[arch][engine]") {
    Pe pe;
    pe.put<u32>(kCode, 0xD503'48FF);      // msr daifclr, #8
    pe.put<u32>(kCode + 4, 0xD280'00E1);  // mov x1, #7
    pe.put<u32>(kCode + 8, 0x1400'0000);  // b .
    CpuState& s = pe.v->s;
    s.pc = kCode;
    s.x[1] = 0;
    s.elr_el1 = 0;
    s.oslar_oslk = 0;
    s.mdscr_el1 = 1 | 1 << 13;  // SS, KDE
    s.daif = 0xF;
    s.ss = 0;
    (void)pe.v->run(100);
    REQUIRE(s.elr_el1 == kCode + 4);
    REQUIRE(s.x[1] == 0);
}

TEST_CASE("engine: a step that ends software step is not that of a later one's syndrome", "[arch][engine]") {
    constexpr u64 kIsv = 1 << 24;
    Pe pe;
    CpuState& s = pe.v->s;
    const auto start = [&](u32 first) {
        pe.put<u32>(kCode, first);
        pe.put<u32>(kCode + 4, 0xD503'48FF);  // msr daifclr, #8
        pe.put<u32>(kCode + 8, 0x1400'0000);  // b .
        s.pc = kCode;
        s.oslar_oslk = 0;
        s.mdscr_el1 = 1 | 1 << 13;  // SS, KDE
        s.daif = 0x7;
        s.ss = 1;
        pe.v->engine().invalidate_all_code();
    };
    SECTION("one that goes on") {
        start(0xD503'201F);  // nop
        (void)pe.v->run(100);
        REQUIRE(s.elr_el1 == kCode + 4);
        REQUIRE((s.esr_el1 & kIsv) != 0);
    }
    SECTION("one that masks debug exceptions") {
        start(0xD503'48DF);  // msr daifset, #8
        (void)pe.v->run(100);
        REQUIRE(s.elr_el1 == kCode + 8);
        REQUIRE((s.esr_el1 & kIsv) == 0);
    }
    SECTION("one that a reset follows") {
        start(0xD503'201F);
        (void)pe.v->run(1);
        pe.v->reset(kCode, 0);
        (void)pe.v->software_step();
        REQUIRE((s.esr_el1 & kIsv) == 0);
    }
}

TEST_CASE("engine: an interrupt behind a branch to a tagged address returns to it without the tag", "[arch][engine]") {
    constexpr u64 kTag = u64{0x5A} << 56;
    constexpr u64 kTarget = kCode + 0x100;
    const u32 translate_after = GENERATE(0u, 1u);
    Pe pe(translate_after);
    CpuState& s = pe.v->s;
    s.tcr_el1 |= u64{1} << 37;  // TBI0
    s.daif = 0xF;
    pe.v->context_changed();
    pe.put<u32>(kCode, 0xD69F'03E0);      // eret
    pe.put<u32>(kTarget, 0x1400'0000);    // b .
    s.elr_el1 = kTag | kTarget;
    s.spsr_el1 = 0b0101 | 0x340;          // EL1h, D, A and F masked
    pe.v->pins.set_irq(true);
    (void)pe.v->run(10);  // returns for the change of the line
    (void)pe.v->run(10);
    CHECK(s.elr_el1 == kTarget);
    CHECK(s.pc == kVectors + 0x280);
}

TEST_CASE("code cache: the pages it keeps books of are limited", "[arch][engine]") {
    constexpr u64 kBase = 0x8000'0000;
    const auto page = [](u64 n) { return kBase + n * kPageSize; };
    CodeCache cache(mm::GuestRam(nullptr, kBase, (CodeCache::kMaxPages + 1) * kPageSize));
    for (u64 n = 0; n < CodeCache::kMaxPages; ++n) {
        REQUIRE(cache.add(page(n), 1) != nullptr);
    }
    REQUIRE(cache.add(page(CodeCache::kMaxPages), 1) == nullptr);
    REQUIRE(cache.add(page(0) + 4, 1) != nullptr);
    cache.clear();
    REQUIRE(cache.blocks() == 0);
    REQUIRE(cache.find(page(0)) == nullptr);
    REQUIRE(cache.add(page(CodeCache::kMaxPages), 1) != nullptr);
}

}  // namespace vmm::arch::test
