// A PE with a profiling unit, its memory, and nothing else: what the tests of this folder run their
// instructions on.
#pragma once

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "arch/engine.h"
#include "arch/mmu.h"
#include "arch/pmu.h"
#include "arch/vcpu.h"
#include "mm/host_memory.h"
#include "spe/feature_options.h"
#include "spe/max_buffer_size.h"

namespace vmm::spe::test {

inline constexpr u64 kBase = 0x80000000;
inline constexpr u64 kVectors = kBase + 0x8000;
inline constexpr u64 kCode = kBase + 0x10000;
inline constexpr u64 kCodeBytes = 0x20000;
inline constexpr u64 kData = kBase + 0x201000;
inline constexpr u64 kTables = kBase + 0x80000;
inline constexpr u64 kBuffer = kBase + 0x400000;
inline constexpr u64 kBufferBytes = 0x1000000;
inline constexpr u64 kRamBytes = 0x1800000;

/// Encoding of a register as in S<op0>_<op1>_C<n>_C<m>_<op2>.
struct RegisterName {
    unsigned op0, op1, crn, crm, op2;

    u32 fields() const { return (op0 & 1) << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5; }
    u32 mrs(unsigned rt) const { return 0xD5300000 | fields() | rt; }
    u32 msr(unsigned rt) const { return 0xD5100000 | fields() | rt; }
};

inline constexpr RegisterName kPmscr{3, 0, 9, 9, 0};
inline constexpr RegisterName kPmsicr{3, 0, 9, 9, 2};
inline constexpr RegisterName kPmsirr{3, 0, 9, 9, 3};
inline constexpr RegisterName kPmsfcr{3, 0, 9, 9, 4};
inline constexpr RegisterName kPmblimitr{3, 0, 9, 10, 0};
inline constexpr RegisterName kPmbptr{3, 0, 9, 10, 1};
inline constexpr RegisterName kPmbsr{3, 0, 9, 10, 3};

/// The system counter counts operations: a record's timestamp says which operation it is of, the first
/// being 1.
class OperationCounter final : public arch::CounterPort {
  public:
    u64 count() const override { return vcpu != nullptr ? vcpu->ops_executed() : 0; }
    u64 frequency() const override { return 1'000'000'000; }
    const arch::Vcpu* vcpu = nullptr;
};

class IrqLevel final : public arch::IrqLine {
  public:
    void set(bool value) override { level = value; }
    bool level = false;
};

class BareGuest {
  public:
    /// `pmsver` 0: without the extension. `features` as apply_features() reads them.
    explicit BareGuest(u8 pmsver = kSpeV1p2, const std::string& features = "", u64 max_buffer_size = 0,
                       u64 seed = 3)
        : memory(make_memory()), v(vcpu_config(pmsver)) {
        counter.vcpu = &v;
        if (pmsver != 0) {
            ProfilingConfig config{.pmsver = pmsver, .max_buffer_size = max_buffer_size, .seed = seed};
            const auto result = apply_features(config, features);
            if (!result) {
                FAIL(result.error().text);
            }
            unit = std::make_unique<ProfilingUnit>(v, config, memory.get());
            unit->set_irq(&irq);
            unit->attach();
        }
        v.reset(kCode, 0);
        if (unit != nullptr) {
            unit->reset();
        }
        v.s.vbar_el1 = kVectors;
        v.s.cpacr_el1 = u64{3} << 20;
        v.context_changed();
    }

    void load(u64 pa, std::span<const u32> words) {
        for (const u32 word : words) {
            mm::store_relaxed<u32>(memory->ram().host(pa), word);
            pa += 4;
        }
        v.engine().invalidate_all_code();
    }
    /// Translation one to one: 2 MiB of code that EL0 may read and execute, 2 MiB of data that it may write,
    /// and the rest of RAM for EL1 alone. Nothing else is mapped.
    void map_memory() {
        constexpr u64 kLevel1 = kTables;
        constexpr u64 kLevel2 = kTables + 0x1000;
        constexpr u64 kBlock = 0x701;  // valid block, AF, inner shareable
        constexpr u64 kUser = 1 << 6;
        constexpr u64 kReadOnly = 1 << 7;
        put(kLevel1 + 8 * (kBase >> 30), kLevel2 | 3);
        for (u64 block = 0; block < kRamBytes >> 21; ++block) {
            const u64 access = block == 0 ? kUser | kReadOnly : block == 1 ? kUser : 0;
            put(kLevel2 + 8 * block, (kBase + (block << 21)) | kBlock | access);
        }
        v.s.mair_el1 = 0xFF;
        v.s.tcr_el1 = 25 | u64{25} << 16 | u64{0x35} << 8 | u64{0x35} << 24 | u64{2} << 30 | u64{2} << 32;
        v.s.ttbr0_el1 = kLevel1;
        v.s.ttbr1_el1 = kTables + 0x2000;
        v.s.sctlr_el1 |= 1 | u64{1} << 23 | u64{1} << 14;  // M, SPAN, DZE
        v.context_changed();
    }
    void put(u64 pa, u64 value) { mm::store_relaxed<u64>(memory->ram().host(pa), value); }
    u64 get(u64 pa) { return mm::load_relaxed<u64>(memory->ram().host(pa)); }

    void run(u64 ops) {
        const u64 end = v.ops_executed() + ops;
        while (v.ops_executed() < end) {
            v.run(end - v.ops_executed());
        }
    }

    /// Executes one instruction at the current Exception level, from a place of its own; true unless it took
    /// an exception.
    bool execute(u32 insn) {
        const u64 back = v.s.pc;
        const u8 el = v.s.el;
        load(kScratch, {{insn}});
        v.s.pc = kScratch;
        run(1);
        const bool done = v.s.pc == kScratch + 4;
        if (!done) {
            v.switch_el(el, el);
            v.context_changed();
        }
        v.s.pc = back;
        return done;
    }
    bool write(const RegisterName& name, u64 value) {
        v.s.x[17] = value;
        return execute(name.msr(17));
    }
    bool read(const RegisterName& name, u64& value) {
        const bool done = execute(name.mrs(17));
        value = v.s.x[17];
        return done;
    }
    /// The value of a register that exists.
    u64 read(const RegisterName& name) {
        u64 value = 0;
        REQUIRE(read(name, value));
        return value;
    }

    /// The value of a register, without an operation that the unit would count.
    u64 peek(const RegisterName& name) {
        return v.sysregs.peek(v, arch::sysreg_key(name.op0, name.op1, name.crn, name.crm, name.op2));
    }

    /// Empties the buffer and profiles from the next operation on, the first sample being `first` operations
    /// away.
    void start(u64 pmsirr, u64 pmscr, u64 first = 0, u64 pmsfcr = 0) {
        REQUIRE(write(kPmscr, 0));
        REQUIRE(write(kPmsfcr, pmsfcr));
        REQUIRE(write(kPmbptr, kBuffer));
        REQUIRE(write(kPmbsr, 0));
        REQUIRE(write(kPmblimitr, (kBuffer + kBufferBytes) | 1));
        REQUIRE(write(kPmsirr, pmsirr));
        REQUIRE(write(kPmsicr, first));
        REQUIRE(write(kPmscr, pmscr));
    }

    /// What has been written since start().
    std::vector<u8> written() {
        const u64 size = peek(kPmbptr) - kBuffer;
        REQUIRE(size <= kBufferBytes);
        std::vector<u8> bytes(size);
        if (size != 0) {
            std::memcpy(bytes.data(), memory->ram().host(kBuffer, size), size);
        }
        return bytes;
    }

    OperationCounter counter;
    IrqLevel irq;
    arch::Interconnect interconnect;
    std::unique_ptr<mm::HostMemory> memory;
    arch::Vcpu v;
    std::unique_ptr<ProfilingUnit> unit;

  private:
    static constexpr u64 kScratch = kBase + 0x1000;

    static std::unique_ptr<mm::HostMemory> make_memory() {
        auto result = mm::HostMemory::create(
            {.size = kRamBytes, .guest_base = kBase, .pin_backend = mm::PinChoice::off});
        if (!result) {
            FAIL(result.error().text);
        }
        return std::move(*result);
    }
    arch::VcpuConfig vcpu_config(u8 pmsver) {
        arch::VcpuConfig config;
        config.ram = memory->ram();
        config.counter = &counter;
        config.interconnect = &interconnect;
        config.pmu = true;
        config.pmsver = pmsver;
        return config;
    }
};

}  // namespace vmm::spe::test
