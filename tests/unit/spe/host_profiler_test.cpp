// The host's profiler on a vCPU that executes code: what it records, and that the guest's own unit is none
// the wiser.
#include "spe/host_profiler.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include <catch2/catch.hpp>

#include "arch/engine.h"
#include "arch/observer_pair.h"
#include "arch/vcpu.h"
#include "mm/host_memory.h"
#include "spe/profiling_unit.h"
#include "vmm/base/sanitizers.h"

namespace vmm::spe::test {

namespace {

constexpr u64 kMiB = 1024 * 1024;
constexpr u64 kBase = 0x80000000;
constexpr u64 kEl1 = kBase + 0x10000;
constexpr u64 kVectors = kBase + 0x20000;
constexpr u64 kEl0 = kBase + 0x30000;
constexpr u64 kData = kBase + 0x40000;
constexpr u64 kGuestBuffer = kBase + 4 * kMiB;
constexpr std::size_t kRecordSize = 64;

struct Setup {
    u64 guest_pmscr = 0;  // 0: the vCPU has no unit of its own
    u64 guest_interval = 0x1301;
    FeatureOptions guest_features{};
    ModelKind guest_model = ModelKind::basic;
    std::optional<HostProfilerConfig> host;
    std::size_t room = kMiB;
};

/// A guest that goes to EL0 and there loops over a load, a store and a system call.
class World {
  public:
    explicit World(const Setup& setup)
        : memory_(make_memory()), v(config(setup)), buffer(setup.room, signal) {
        counter_.vcpu = &v;
        v.reset(kEl1, 0);
        code(kEl1, {0xD5184025, 0xD518401F, 0xD69F03E0});  // msr elr_el1, x5; msr spsr_el1, xzr; eret
        code(kEl0,
             {0xF9400041, 0x91000421, 0xF9000041, 0xD4000001, 0x17FFFFFC});  // ldr, add, str, svc, b .-16
        code(kVectors + 0x400,
             {0x910004E7, 0x924000E8, 0xB4000048, 0x910004E7, 0xD69F03E0});  // add, and, cbz, add, eret
        v.s.x[2] = kData;
        v.s.x[5] = kEl0;
        v.s.vbar_el1 = kVectors;
        v.s.contextidr_el1 = 77;
        if (setup.guest_pmscr != 0) {
            start_guest_unit(setup);
        }
        if (setup.host) {
            host = std::make_unique<HostProfiler>(v, *setup.host, buffer);
            if (guest != nullptr) {
                pair_ = std::make_unique<arch::ObserverPair>(*host, *guest);
                v.set_observer(pair_.get());
            } else {
                v.set_observer(host.get());
            }
        }
    }

    void run(u64 ops) {
        const u64 end = v.ops_executed() + ops;
        while (v.ops_executed() < end) {
            v.run(end - v.ops_executed());
        }
    }

    std::vector<u8> guest_bytes() const {
        const u8* bytes = memory_->ram().host(kGuestBuffer, kMiB);
        return {bytes, bytes + kMiB};
    }

  private:
    /// Time is the number of operations: so equal timestamps mean equal operations.
    class OpsCounter final : public arch::CounterPort {
      public:
        u64 count() const override { return vcpu->ops_executed(); }
        u64 frequency() const override { return 1'000'000'000; }
        const arch::Vcpu* vcpu = nullptr;
    };

    static std::unique_ptr<mm::HostMemory> make_memory() {
        auto result = mm::HostMemory::create(
            {.size = 64 * kMiB, .guest_base = kBase, .pin_backend = mm::PinChoice::off});
        REQUIRE(result);
        return std::move(*result);
    }

    arch::VcpuConfig config(const Setup& setup) {
        arch::VcpuConfig config;
        config.ram = memory_->ram();
        config.counter = &counter_;
        config.interconnect = &interconnect_;
        config.pmsver = setup.guest_pmscr != 0 ? u8{kSpeV1p2} : u8{0};
        return config;
    }

    void code(u64 pa, std::initializer_list<u32> words) {
        for (const u32 word : words) {
            mm::store_relaxed<u32>(memory_->ram().host(pa), word);
            pa += 4;
        }
    }

    void write(unsigned crm, unsigned op2, u64 value) {
        arch::SysregBank::Entry* entry = v.sysregs.find(arch::sysreg_key(3, 0, 9, crm, op2));
        REQUIRE(entry != nullptr);
        if (entry->write != nullptr) {
            entry->write(entry->self, v, value);
        } else {
            *entry->storage = value & entry->writable;
        }
    }

    void start_guest_unit(const Setup& setup) {
        ProfilingConfig config;
        config.features = setup.guest_features;
        config.model = setup.guest_model;
        guest = std::make_unique<ProfilingUnit>(v, config, nullptr);
        guest->attach();
        guest->reset();
        write(10, 1, kGuestBuffer);               // PMBPTR_EL1
        write(10, 0, (kGuestBuffer + kMiB) | 1);  // PMBLIMITR_EL1
        write(9, 3, setup.guest_interval);        // PMSIRR_EL1
        write(9, 0, setup.guest_pmscr);           // PMSCR_EL1
    }

    OpsCounter counter_;
    arch::Interconnect interconnect_;
    std::unique_ptr<mm::HostMemory> memory_;

  public:
    arch::Vcpu v;
    TraceSignal signal;
    TraceBuffer buffer;
    std::unique_ptr<ProfilingUnit> guest;
    std::unique_ptr<HostProfiler> host;

  private:
    std::unique_ptr<arch::ObserverPair> pair_;
};

TraceBatch take(World& world) {
    TraceBatch batch;
    world.buffer.take(batch);
    return batch;
}

u64 word_at(const std::vector<u8>& bytes, std::size_t at) {
    u64 value = 0;
    std::memcpy(&value, &bytes[at], sizeof(value));
    return value;
}

}  // namespace

TEST_CASE("the guest's records are the same with and without the host's profiler") {
    constexpr u64 kOps = kSanitized ? 600'000 : 3'000'000;
    Setup setup;
    setup.guest_pmscr = GENERATE(0x21, 0x22, 0x3B);  // EL0, EL1, both with all controls
    setup.guest_interval = GENERATE(0x1300, 0x1301);
    setup.guest_features.pbt = GENERATE(false, true);
    setup.guest_model = GENERATE(ModelKind::basic, ModelKind::detailed);
    World alone(setup);
    setup.host = HostProfilerConfig{.period = 256};
    World watched(setup);
    alone.run(kOps);
    watched.run(kOps);
    const ProfilingStats stats = alone.guest->stats();
    REQUIRE(stats.records > kOps / 30'000);
    REQUIRE(watched.guest->stats().records == stats.records);
    REQUIRE(watched.guest->stats().population == stats.population);
    REQUIRE(watched.guest_bytes() == alone.guest_bytes());
    REQUIRE(watched.host->samples() > kOps / 300);
}

TEST_CASE("the host's records are the same with and without the guest's unit") {
    Setup setup;
    setup.host = HostProfilerConfig{.period = 512, .seed = 5};
    World alone(setup);
    setup.guest_pmscr = 0x21;
    World beside(setup);
    alone.run(1'000'000);
    beside.run(1'000'000);
    const TraceBatch first = take(alone);
    REQUIRE(first.records.size() > 1000 * kRecordSize);
    REQUIRE(take(beside).records == first.records);
}

TEST_CASE("the host samples every Exception level, on average one operation in PERIOD + 1") {
    const ModelKind model = GENERATE(ModelKind::basic, ModelKind::detailed);
    HostProfilerConfig config{.period = 256, .model = model};
    config.memory_system = std::make_shared<MemorySystem>(MemoryGeometry{}, 1);
    World world({.host = config});
    constexpr u64 kOps = 257 * 4000;
    world.run(kOps);
    const TraceBatch batch = take(world);
    const std::size_t records = batch.records.size() / kRecordSize;
    REQUIRE(records == world.host->samples());
    REQUIRE(records >= 3998);
    REQUIRE(records <= 4001);
    REQUIRE(batch.contexts == std::vector<u32>{77});
    REQUIRE(batch.lost == 0);
    REQUIRE(batch.code.empty());  // nothing ran in the upper half
    std::array<std::size_t, 2> at_level{};
    u64 last = 0;
    for (std::size_t at = 0; at < batch.records.size(); at += kRecordSize) {
        // A context packet comes first, then two latencies or three, then the PC.
        REQUIRE(batch.records[at] == 0x65 - 1);
        std::size_t pc = at + 5;
        while (batch.records[pc] != 0xB0) {
            pc += 3;
            REQUIRE(pc < at + 32);
        }
        const u64 address = word_at(batch.records, pc + 1);
        const unsigned level = address >> 61 & 3;
        REQUIRE((address & 0xFFFF'FFFF) >> 16 == (level == 0                 ? kEl0
                                                  : (address & 0x20000) != 0 ? kVectors
                                                                             : kEl1) >>
                                                     16);
        ++at_level.at(level);
        last = address;
    }
    REQUIRE(last != 0);
    // Five operations a round at EL0, four or five at EL1.
    REQUIRE(at_level[0] > records / 3);
    REQUIRE(at_level[1] > records / 3);
    REQUIRE(batch.last_timestamp <= kOps);
    REQUIRE(batch.last_timestamp > kOps - 1024);
}

TEST_CASE("a buffer without room counts what is lost and goes on when it was emptied") {
    World world({.host = HostProfilerConfig{.period = 256}, .room = 10 * kRecordSize});
    world.run(257 * 30);
    TraceBatch batch = take(world);
    REQUIRE(batch.records.size() == 10 * kRecordSize);
    REQUIRE(batch.lost == world.host->samples() - 10);
    const u64 before = world.host->samples();
    world.run(257 * 4);
    batch = take(world);
    REQUIRE(batch.lost == 0);
    REQUIRE(batch.records.size() == (world.host->samples() - before) * kRecordSize);
}

TEST_CASE("without a unit of its own the guest has no profiling registers") {
    World world({.host = HostProfilerConfig{}});
    world.run(100'000);
    for (unsigned op2 = 0; op2 < 8; ++op2) {
        REQUIRE(world.v.sysregs.find(arch::sysreg_key(3, 0, 9, 9, op2)) == nullptr);
    }
    REQUIRE(world.v.sysregs.find(arch::sysreg_key(3, 0, 9, 10, 0)) == nullptr);
    REQUIRE((world.v.sysregs.peek(world.v, arch::sysreg_key(3, 0, 0, 5, 0)) >> 32 & 15) == 0);
    REQUIRE(world.host->samples() > 0);
}

}  // namespace vmm::spe::test
