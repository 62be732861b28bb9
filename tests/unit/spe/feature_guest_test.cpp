// Optional features on a vCPU that executes code, its buffer read by scripts/spe_decode.py.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <unistd.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "arch/engine.h"
#include "arch/pmu.h"
#include "arch/vcpu.h"
#include "mm/host_memory.h"
#include "spe/feature_options.h"

namespace vmm::spe::test {

namespace {

constexpr u64 kBase = 0x80000000;
constexpr u64 kCode = kBase + 0x10000;
constexpr u64 kData = kBase + 0x30000;
constexpr u64 kBuffer = kBase + 0x400000;
constexpr u64 kBufferBytes = 0x400000;

// From the GNU assembler.
constexpr u32 kProgram[] = {
    0xf9400041,  // 00 loop: ldr x1, [x2]
    0x91000421,  // 04 add x1, x1, #1
    0xf9000041,  // 08 str x1, [x2]
    0x94000014,  // 0c bl f
    0xfd400040,  // 10 ldr d0, [x2]
    0x1e602801,  // 14 fadd d1, d0, d0
    0x1e600c22,  // 18 fcsel d2, d1, d0, eq
    0x4ea38463,  // 1c add v3.4s, v3.4s, v3.4s
    0x4e24d484,  // 20 fadd v4.4s, v4.4s, v4.4s
    0x3dc00045,  // 24 ldr q5, [x2]
    0x3d800045,  // 28 str q5, [x2]
    0xc85ffc46,  // 2c ldaxr x6, [x2]
    0xc807fc46,  // 30 stlxr w7, x6, [x2]
    0x9a82102a,  // 34 csel x10, x1, x2, ne
    0xf100003f,  // 38 cmp x1, #0
    0x54000041,  // 3c b.ne 44
    0xd503201f,  // 40 nop
    0x1000006b,  // 44 adr x11, g
    0xd61f0160,  // 48 br x11
    0xd503201f,  // 4c nop
    0x1000006c,  // 50 g: adr x12, f
    0xd63f0180,  // 54 blr x12
    0x17ffffea,  // 58 b loop
    0xd65f03c0,  // 5c f: ret
};

class FixedCounter final : public arch::CounterPort {
  public:
    u64 count() const override { return 0x1122334455; }
    u64 frequency() const override { return 1'000'000'000; }
};

ProfilingConfig config_of(u8 pmsver, const std::string& features) {
    ProfilingConfig config;
    config.pmsver = pmsver;
    config.seed = 3;
    const auto result = apply_features(config, features);
    if (!result) {
        FAIL(result.error().text);
    }
    return config;
}

struct Guest {
    Guest(u8 pmsver, const std::string& features)
        : memory(make_memory()), v(vcpu_config(pmsver)), unit(v, config_of(pmsver, features), memory.get()) {
        unit.attach();
        v.reset(kCode, 0);
        unit.reset();
        for (std::size_t i = 0; i < std::size(kProgram); ++i) {
            mm::store_relaxed<u32>(memory->ram().host(kCode + 4 * i), kProgram[i]);
        }
        v.engine().invalidate_all_code();
        v.s.x[2] = kData;
        v.s.contextidr_el1 = 0x4D2;
        v.s.cpacr_el1 = u64{3} << 20;
        v.context_changed();
    }

    static std::unique_ptr<mm::HostMemory> make_memory() {
        auto result =
            mm::HostMemory::create({.size = 0x1000000, .guest_base = kBase, .pin_backend = mm::PinChoice::off});
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

    arch::SysregBank::Entry* find(unsigned crm, unsigned op2) {
        return v.sysregs.find(arch::sysreg_key(3, 0, 9, crm, op2));
    }
    u64 read(unsigned crm, unsigned op2) { return v.sysregs.peek(v, arch::sysreg_key(3, 0, 9, crm, op2)); }
    void write(unsigned crm, unsigned op2, u64 value) {
        arch::SysregBank::Entry* entry = find(crm, op2);
        REQUIRE(entry != nullptr);
        if (entry->write != nullptr) {
            entry->write(entry->self, v, value);
        } else {
            *entry->storage = (value & entry->writable) | entry->fixed;
        }
    }
    void start(u64 pmsirr, u64 pmscr, u64 pmsfcr = 0) {
        write(9, 4, pmsfcr);
        write(10, 1, kBuffer);
        write(10, 0, (kBuffer + kBufferBytes) | 1);
        write(9, 3, pmsirr);
        write(9, 0, pmscr);
    }
    void run(u64 ops) {
        const u64 end = v.ops_executed() + ops;
        while (v.ops_executed() < end) {
            v.run(end - v.ops_executed());
        }
    }
    u64 written() { return read(10, 1) - kBuffer; }

    /// The buffer as the decoder sees it; everything must be decodable.
    nlohmann::json decoded() {
        char path[] = "/tmp/spe_featuresXXXXXX";
        const int fd = ::mkstemp(path);
        REQUIRE(fd >= 0);
        const u64 size = written();
        REQUIRE(::write(fd, memory->ram().host(kBuffer, size), size) == static_cast<ssize_t>(size));
        ::close(fd);
        const std::string command = std::string("python3 " VMM_SOURCE_DIR "/scripts/spe_decode.py --json ") + path;
        FILE* pipe = ::popen(command.c_str(), "r");
        REQUIRE(pipe != nullptr);
        std::string text;
        char chunk[65536];
        for (std::size_t n = 0; (n = std::fread(chunk, 1, sizeof chunk, pipe)) != 0;) {
            text.append(chunk, n);
        }
        CHECK(::pclose(pipe) == 0);
        ::unlink(path);
        nlohmann::json json = nlohmann::json::parse(text);
        CHECK(json.at("summary").at("undecodable_bytes") == 0);
        CHECK(json.at("summary").at("records") == unit.stats().records);
        return json;
    }

    FixedCounter counter;
    arch::Interconnect interconnect;
    std::unique_ptr<mm::HostMemory> memory;
    arch::Vcpu v;
    ProfilingUnit unit;
};

u64 offset_of(const nlohmann::json& record, const char* packet) {
    return record.at(packet).at("address").get<u64>() - (kCode & ones(56));
}

}  // namespace

TEST_CASE("feature guest: every packet type is produced and decoded, in every geometry", "[spe][feature_guest]") {
    struct Row {
        u8 pmsver;
        const char* features;
        u64 pmscr;
        bool fpf, crr, pbt, lds;
    };
    const Row rows[] = {
        {3, "", 0x3B, false, false, false, true},
        {3, "", 0x03, false, false, false, true},
        {1, "lds=0,count=16", 0x3B, false, false, false, false},
        {3, "pbt=1,ernd=1", 0x3B, false, false, true, true},
        {5, "", 0x3B, false, true, false, true},
        {5, "crr=0,fds=0", 0x23, false, false, false, true},
        {5, "pbt=1,ernd=1,eft=1,count=16", 0x3B, true, true, true, true},
        {5, "pbt=1,eft=1,align=1", 0x3B, true, true, true, true},
        {5, "pbt=1,eft=1,size=128,align=16", 0x33, true, true, true, true},
        {5, "pbt=1,eft=1,size=256,align=256", 0x3B, true, true, true, true},
        {5, "pbt=1,eft=1,size=2048,align=2048", 0x1B, true, true, true, true},
    };
    std::size_t records = 0;
    for (const Row& row : rows) {
        CAPTURE(row.pmsver, row.features, row.pmscr);
        Guest guest(row.pmsver, row.features);
        guest.start(256, row.pmscr);
        guest.run(257 * 600);
        std::set<std::string> packets;
        std::set<std::string> operations;
        const nlohmann::json decoded = guest.decoded();
        for (const auto& record : decoded.at("records")) {
            ++records;
            for (const auto& [name, value] : record.items()) {
                packets.insert(name);
            }
            for (const auto& [name, value] : record.at("latency").items()) {
                packets.insert(name);
            }
            const auto& operation = record.at("operation");
            operations.insert(operation.at("class").get<std::string>() + " " +
                              std::to_string(operation.at("payload").get<unsigned>()));
        }
        std::set<std::string> expected{"offset", "latency", "total", "issue", "translation", "pc", "target", "va",
                                       "operation", "events", "event_names"};
        expected.insert((row.pmscr & 0x20) != 0 ? "timestamp" : "end");
        const auto insert_if = [&](bool condition, const char* name) {
            if (condition) {
                expected.insert(name);
            }
        };
        insert_if((row.pmscr & 0x08) != 0, "context_el1");
        insert_if((row.pmscr & 0x10) != 0, "pa");
        insert_if(row.lds, "data_source");
        insert_if(row.pbt, "previous_target");
        CHECK(packets == expected);
        // B and BL, B.cond, BR, BLR, RET; LDR, STR, SIMD&FP, LDAXR, STLXR; integer, CSEL, FP, FCSEL, SIMD.
        std::set<std::string> kinds{"load_store 0", "load_store 1", "load_store 4", "load_store 5", "load_store 26",
                                    "load_store 27", "other 0", "other 1"};
        if (row.crr) {
            kinds.insert({"branch 8", "branch 24", "branch 25", "branch 26", "branch 10", "branch 18"});
        } else {
            kinds.insert({"branch 0", "branch 1", "branch 2"});
        }
        if (row.fpf) {
            kinds.insert({"other 2", "other 3", "other 4", "other 6"});
        }
        CHECK(operations == kinds);
    }
    std::cout << "rows: " << std::size(rows) << " of guests with features, " << records << " records decoded\n";
}

TEST_CASE("feature guest: the previous branch target is that of the branch taken before", "[spe][feature_guest]") {
    // Offsets of the program: branch -> where the branch before it went.
    const std::map<u64, std::set<u64>> expected{
        {0x0c, {0x00}},        // bl, after b loop
        {0x5c, {0x5c}},        // ret, after bl or blr
        {0x3c, {0x10}},        // b.ne, after the return from bl
        {0x48, {0x44}},        // br, after b.ne
        {0x54, {0x50}},        // blr, after br
        {0x58, {0x58}},        // b loop, after the return from blr
    };
    Guest guest(5, "pbt=1");
    guest.start(256, 3);
    guest.run(257 * 1000);
    const nlohmann::json decoded = guest.decoded();
    std::set<u64> seen;
    for (const auto& record : decoded.at("records")) {
        REQUIRE(record.contains("previous_target") == record.contains("target"));
        if (record.contains("previous_target")) {
            const u64 pc = offset_of(record, "pc");
            CAPTURE(pc);
            REQUIRE(expected.at(pc).count(offset_of(record, "previous_target")) == 1);
            REQUIRE(record.at("previous_target").at("el") == 1);
            seen.insert(pc);
        }
    }
    CHECK(seen.size() == expected.size());
    std::cout << "rows: " << expected.size() << " of previous branch targets\n";
}

TEST_CASE("feature guest: a previous branch before profiling was enabled is not told", "[spe][feature_guest]") {
    Guest guest(5, "pbt=1");
    guest.run(3);                 // up to bl; b loop was never executed
    guest.start(256, 3);
    guest.write(9, 2, 1);         // the very next operation
    guest.run(1);
    guest.write(9, 2, 1);
    guest.run(1);                 // ret
    guest.write(9, 0, 0);
    guest.run(1);
    guest.write(9, 0, 3);
    guest.write(9, 2, 11);        // b.ne
    guest.run(11);
    const nlohmann::json decoded = guest.decoded();
    REQUIRE(decoded.at("records").size() == 3);
    CHECK(offset_of(decoded.at("records")[0], "pc") == 0x0c);
    CHECK_FALSE(decoded.at("records")[0].contains("previous_target"));
    CHECK(offset_of(decoded.at("records")[1], "pc") == 0x5c);
    CHECK(offset_of(decoded.at("records")[1], "previous_target") == 0x5c);
    CHECK(offset_of(decoded.at("records")[2], "pc") == 0x3c);
    CHECK_FALSE(decoded.at("records")[2].contains("previous_target"));
}

TEST_CASE("feature guest: following branches does not move samples", "[spe][feature_guest]") {
    Guest plain(5, "");
    Guest followed(5, "pbt=1");
    for (Guest* guest : {&plain, &followed}) {
        guest->start(512 | 1, 3);
        guest->run(200'000);
    }
    const nlohmann::json a = plain.decoded();
    nlohmann::json b = followed.decoded();
    REQUIRE(a.at("records").size() > 300);
    REQUIRE(a.at("records").size() == b.at("records").size());
    for (std::size_t i = 0; i < a.at("records").size(); ++i) {
        b.at("records")[i].erase("previous_target");
        REQUIRE(a.at("records")[i] == b.at("records")[i]);
    }
}

TEST_CASE("feature guest: filters by FP, SIMD and data source act on what is executed", "[spe][feature_guest]") {
    struct Row {
        u64 pmsfcr, pmsdsfr;
        std::set<u64> pcs;  // offsets that may be recorded, all of which are
    };
    const std::set<u64> loads{0x00, 0x10, 0x24, 0x2c};
    const Row rows[] = {
        {0x00080002, 0, {0x10, 0x14, 0x18, 0x20}},                           // FP
        {0x00100002, 0, {0x1c, 0x20, 0x24, 0x28}},                           // SIMD
        {0x0018000000080002 | u64{1} << 51, 0, {0x10, 0x14, 0x18}},          // FP and not SIMD, exactly
        {0x00120002 | u64{1} << 49 | u64{1} << 52, 0, {0x24}},               // loads of SIMD registers
        {0x00020002 | u64{1} << 51 | u64{1} << 52, 0, {0x00, 0x2c}},         // loads of neither
        {0x00020012, 0x5F01, loads},                                         // loads from anywhere
        {0x00020012, 0, {}},                                                 // loads from nowhere
        {0x00060012, 0, {0x08, 0x28, 0x30}},                                 // ... which stores do not mind
    };
    for (const Row& row : rows) {
        CAPTURE(row.pmsfcr, row.pmsdsfr);
        Guest guest(5, "eft=1");
        guest.write(10, 4, row.pmsdsfr);
        guest.start(256, 3, row.pmsfcr);
        guest.run(257 * 300);
        std::set<u64> seen;
        const nlohmann::json decoded = guest.decoded();
        for (const auto& record : decoded.at("records")) {
            seen.insert(offset_of(record, "pc"));
        }
        CHECK(seen == row.pcs);
    }
    std::cout << "rows: " << std::size(rows) << " of filters on a guest\n";
}

TEST_CASE("feature guest: registers come and go with their feature", "[spe][feature_guest]") {
    CHECK(Guest(5, "").find(10, 4) != nullptr);
    CHECK(Guest(5, "fds=0").find(10, 4) == nullptr);
    CHECK(Guest(4, "").find(10, 4) == nullptr);
    Guest guest(5, "ernd=1");
    guest.write(10, 4, ~u64{0});
    CHECK(guest.read(10, 4) == 0x5F01);
    guest.write(9, 2, ~u64{0});
    CHECK(guest.read(9, 2) == 0xFF000000FFFFFFFF);
    Guest without(5, "");
    without.write(9, 2, ~u64{0});
    CHECK(without.read(9, 2) == 0xFFFFFFFF);
}

TEST_CASE("feature guest: samples nearer than their latency collide, if that is modelled", "[spe][feature_guest]") {
    struct Row {
        const char* features;
        u64 gap;           // operations between the two samples
        bool discard, collides;
    };
    const Row rows[] = {
        {"", 1, false, false},
        {"collisions=1", 1, false, true},
        {"collisions=1", 1, true, true},
        {"collisions=1", 600, false, false},  // longer than any latency
    };
    for (const Row& row : rows) {
        CAPTURE(row.features, row.gap, row.discard);
        Guest guest(3, row.features);
        guest.v.pmu().set_event_type(0, arch::pmu_event::kSampleCollision);
        guest.v.pmu().set_enabled(1);
        guest.v.pmu().set_pmcr(1);
        guest.start(4096, 3);
        if (row.discard) {
            guest.write(10, 0, (kBuffer + kBufferBytes) | 5);
        }
        guest.write(9, 2, 1);
        guest.run(1);
        guest.write(9, 2, row.gap);
        guest.run(row.gap);
        const ProfilingStats stats = guest.unit.stats();
        CHECK(stats.collisions == (row.collides ? 1 : 0));
        CHECK(guest.v.pmu().counter(0) == (row.collides ? 1 : 0));
        CHECK(stats.samples == (row.collides ? 1 : 2));
        CHECK(stats.records == (row.discard ? 0 : row.collides ? 1 : 2));
        CHECK(guest.read(10, 3) == (row.collides ? 0x10000 : 0));
        // COLL stays until software clears it, and stops nothing.
        guest.write(9, 2, 600);
        guest.run(600);
        CHECK(guest.unit.stats().samples == stats.samples + 1);
        CHECK(guest.read(10, 3) == (row.collides ? 0x10000 : 0));
        guest.write(10, 3, 0);
        CHECK(guest.read(10, 3) == 0);
    }
    std::cout << "rows: " << std::size(rows) << " of collisions\n";
}

TEST_CASE("feature guest: strict writes keep a running buffer", "[spe][feature_guest]") {
    Guest guest(3, "strict=1");
    guest.start(256, 3);
    guest.run(257 * 2);
    guest.write(10, 1, kBuffer);
    guest.write(10, 0, (kBuffer + 4096) | 1);
    guest.write(10, 3, 0x20000);
    CHECK(guest.written() == 128);
    CHECK(guest.read(10, 0) == ((kBuffer + kBufferBytes) | 1));
    CHECK(guest.read(10, 3) == 0);
    guest.run(257);
    CHECK(guest.unit.stats().records == 3);
    guest.write(10, 0, 0);
    guest.write(10, 1, kBuffer);
    CHECK(guest.written() == 0);
    guest.run(257);
    CHECK(guest.unit.stats().records == 3);
}

}  // namespace vmm::spe::test
