#include "vmm/gdb/session.h"

#include <algorithm>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "vmm/base/rng.h"
#include "vmm/gdb/packets.h"

using namespace vmm;
using namespace vmm::gdb;

namespace {

/// Three threads, two registers of which 'g' sends one, and 256 bytes of memory at 0x1000.
class FakeTarget final : public Target {
  public:
    unsigned threads() const override { return 3; }
    std::string thread_text(unsigned thread) const override { return "t" + std::to_string(thread); }
    std::string description() const override { return std::string(20'000, 'd'); }
    unsigned registers() const override { return 2; }
    unsigned general_registers() const override { return 1; }
    std::vector<u8> read_register(unsigned thread, unsigned number) override {
        return number == 0 ? std::vector<u8>{static_cast<u8>(thread), value} : std::vector<u8>{};
    }
    unsigned register_size(unsigned) const override { return 2; }
    bool write_register(unsigned, unsigned number, std::span<const u8> bytes) override {
        REQUIRE(bytes.size() == 2);
        value = bytes[1];
        return number == 0;
    }
    std::size_t read_memory(unsigned, u64 address, std::span<u8> bytes) override {
        if (address < 0x1000 || address >= 0x1100) {
            return 0;
        }
        const std::size_t size = std::min<u64>(bytes.size(), 0x1100 - address);
        std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(address - 0x1000), size, bytes.begin());
        return size;
    }
    bool write_memory(unsigned, u64 address, std::span<const u8> bytes) override {
        if (address < 0x1000 || address >= 0x1100 || bytes.size() > 0x1100 - address) {
            return false;
        }
        std::ranges::copy(bytes, memory.begin() + static_cast<std::ptrdiff_t>(address - 0x1000));
        return true;
    }
    bool insert(const Point& point) override {
        points.push_back(point);
        return true;
    }
    void remove(const Point& point) override { std::erase(points, point); }
    void resume(std::span<const Go> how) override { resumed.assign(how.begin(), how.end()); }
    void detach() override { detached = true; }
    void kill() override { killed = true; }
    std::string monitor(std::string_view command) override { return std::string(command) + "!"; }

    u8 value = 0x5A;
    std::vector<u8> memory = std::vector<u8>(256);
    std::vector<Point> points;
    std::vector<Go> resumed;
    bool detached = false;
    bool killed = false;
};

struct World {
    FakeTarget target;
    Session session{target, {Stop::Kind::halted, 1, 0}};

    std::string ask(std::string_view packet) { return session.handle(packet).value_or("(none)"); }
};

}  // namespace

TEST_CASE("what GDB asks first") {
    World w;
    CHECK(w.ask("?") == "T05thread:2;");
    CHECK(w.ask("qfThreadInfo") == "m1,2,3");
    CHECK(w.ask("qsThreadInfo") == "l");
    CHECK(w.ask("qC") == "QC2");
    CHECK(w.ask("qAttached") == "1");
    CHECK(w.ask("vMustReplyEmpty").empty());
    CHECK(w.ask("vCont?") == "vCont;c;C;s;S");
    CHECK(w.ask("T3") == "OK");
    CHECK(w.ask("T4") == "E03");
    CHECK(w.ask("qThreadExtraInfo,1") == to_hex(std::string_view("t0")));
    CHECK(w.ask("qRcmd," + to_hex(std::string_view("hi"))) == to_hex(std::string_view("hi!")));
    CHECK_FALSE(w.session.no_ack());
    CHECK(w.ask("QStartNoAckMode") == "OK");
    CHECK(w.session.no_ack());
}

TEST_CASE("documents are sent in parts that fit into packets") {
    World w;
    std::string document;
    for (;;) {
        const std::string part = w.ask("qXfer:features:read:target.xml:" + fmt::format("{:x}", document.size()) + ",fffff");
        REQUIRE_FALSE(part.empty());
        REQUIRE(part.size() <= kMaxPacket);
        document += part.substr(1);
        if (part.front() == 'l') {
            break;
        }
        REQUIRE(part.front() == 'm');
    }
    CHECK(document == w.target.description());
    CHECK(w.ask("qXfer:features:read:other.xml:0,10") == "E00");
    CHECK(w.ask("qXfer:features:read:target.xml:ffffff,10") == "E16");
    CHECK(w.ask("qXfer:threads:read::0,1000").find("core=\"2\"") != std::string::npos);
}

TEST_CASE("registers are those of the thread that was chosen") {
    World w;
    CHECK(w.ask("g") == "015a");
    CHECK(w.ask("Hg3") == "OK");
    CHECK(w.ask("g") == "025a");
    CHECK(w.ask("Hg9") == "E03");
    CHECK(w.ask("p0") == "025a");
    CHECK(w.ask("p1") == "xxxx");
    CHECK(w.ask("p2") == "E16");
    CHECK(w.ask("P0=0077") == "OK");
    CHECK(w.ask("p0") == "0277");
    CHECK(w.ask("P0=00") == "E16");
    CHECK(w.ask("P1=0000") == "E0e");
    CHECK(w.ask("G0078") == "OK");
    CHECK(w.ask("G00") == "E16");
    CHECK(w.ask("p0") == "0278");
}

TEST_CASE("memory") {
    World w;
    CHECK(w.ask("M1000,3:010203") == "OK");
    CHECK(w.ask("m1000,4") == "01020300");
    CHECK(w.ask(std::string("X10fe,2:\x7f\x80", 10)) == "OK");
    CHECK(w.ask("m10fe,4") == "7f80");  // as far as it goes
    CHECK(w.ask("m1100,1") == "E0e");
    CHECK(w.ask("M10ff,2:0102") == "E0e");
    CHECK(w.ask("M1000,3:0102") == "E16");
    CHECK(w.ask("m1000,0").empty());
    CHECK(w.ask("m1000,ffffffffffffffff").size() == 512);
}

TEST_CASE("break- and watchpoints") {
    World w;
    CHECK(w.ask("Z0,1000,4") == "OK");
    CHECK(w.ask("Z2,1010,8") == "OK");
    CHECK(w.target.points == std::vector<Point>{{PointKind::breakpoint, 0x1000, 4}, {PointKind::write_watch, 0x1010, 8}});
    CHECK(w.ask("z0,1000,4") == "OK");
    CHECK(w.target.points.size() == 1);
    CHECK(w.ask("Z4,1010,0") == "E16");
    CHECK(w.ask("Z5,1010,4").empty());
    CHECK(w.ask("Z0,1010") == "E16");
    CHECK(w.session.stopped({Stop::Kind::write_watch, 2, 0x1010}) == "T05watch:1010;thread:3;");
    CHECK(w.session.stopped({Stop::Kind::breakpoint, 0, 0}) == "T05swbreak:;thread:1;");
}

TEST_CASE("threads go on as they are told") {
    using enum Go;
    World w;
    const auto resumed = [&](std::string_view packet) {
        CHECK(w.ask(packet) == "(none)");
        CHECK(w.session.running());
        CHECK(w.ask("g") == "(none)");  // not while it runs
        w.session.stopped({Stop::Kind::interrupted, 0, 0});
        return w.target.resumed;
    };
    CHECK(resumed("vCont;c") == std::vector{run, run, run});
    CHECK(resumed("vCont;s:2;c") == std::vector{run, step, run});
    CHECK(resumed("vCont;S05:3") == std::vector{stay, stay, step});
    CHECK(resumed("vCont;C05:1;s:-1") == std::vector{run, step, step});
    CHECK(resumed("c") == std::vector{run, run, run});
    CHECK(resumed("s") == std::vector{step, stay, stay});
    CHECK(w.ask("vCont;x") == "E16");
    CHECK(w.ask("vCont;c:9") == "E03");
    CHECK(w.ask("vCont;") == "E16");
    CHECK(w.ask("?") == "T02thread:1;");
}

TEST_CASE("ends") {
    World detach;
    CHECK(detach.ask("D") == "OK");
    CHECK((detach.target.detached && detach.session.over()));
    World kill;
    CHECK(kill.ask("k") == "(none)");
    CHECK((kill.target.killed && kill.session.over()));
    World polite;
    CHECK(polite.ask("vKill;1") == "OK");
    CHECK((polite.target.killed && polite.session.over()));
    CHECK(Session::exited(3) == "W03");
}

TEST_CASE("random commands are answered without harm") {
    Rng rng(11);
    static constexpr std::string_view kStarts[] = {"g", "G", "p", "P", "m", "M", "X", "Z", "z", "H", "T", "q", "Q", "v", "D",
                                                   "qXfer:features:read:", "qXfer:threads:read::", "vCont;", "qRcmd,",
                                                   "qThreadExtraInfo,", "vCont;s:", "?", "c", "s"};
    static constexpr std::string_view kPieces[] = {"0", "1", "f", "ffffffffffffffff", ",", ":", ";", "=", "-1", "1000", "\xff",
                                                   "target.xml", "c", "s", "x", "00112233"};
    for (int round = 0; round < 20'000; ++round) {
        World w;
        std::string packet(kStarts[rng.below(std::size(kStarts))]);
        for (u64 i = rng.below(8); i > 0; --i) {
            packet += kPieces[rng.below(std::size(kPieces))];
        }
        const std::optional<std::string> answer = w.session.handle(packet);
        CHECK((answer ? answer->size() <= kMaxPacket : (w.session.running() || w.session.over())));
    }
}
