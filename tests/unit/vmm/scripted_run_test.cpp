// What a guest says on its console and through its init, and where its files may go.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include <catch2/catch.hpp>

#include "tests/support/temporary_folder.h"
#include "vmm/base/rng.h"
#include "vmm/console_watch.h"
#include "vmm/guest_channel.h"
#include "vmm/guest_init/protocol.h"

using namespace vmm;
using test::read_text;
using test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

struct TextSink final : devices::ByteSink {
    void put(std::span<const u8> bytes) override { text.append(bytes.begin(), bytes.end()); }
    std::string text;
};

std::span<const u8> bytes_of(std::string_view text) {
    return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

template <class T>
std::string number(T value) {
    std::string bytes(sizeof(T), 0);
    std::memcpy(bytes.data(), &value, sizeof(T));
    return bytes;
}

std::string record(int type, const std::string& payload = {}) {
    return std::string("\xC5\x5C") + static_cast<char>(type) + '\0' + number(static_cast<u32>(payload.size())) + payload;
}

const std::string kHello = record(VMM_SAID_HELLO, number(u32{1}) + number(u32{0}) + number(u64{1234}));

std::string entry(u32 copy, u32 mode, const std::string& below) {
    return record(VMM_SAID_ENTRY, number(copy) + number(mode) + below);
}
std::string file(u32 copy, const std::string& below, const std::string& content, u32 mode = S_IFREG | 0644) {
    return entry(copy, mode, below) + record(VMM_SAID_DATA, content) + record(VMM_SAID_ENTRY_END, number(u32{0}));
}

/// A channel that heard `bytes`, all at once or one by one.
struct Heard {
    explicit Heard(const std::string& bytes, std::vector<CopyPaths> copies = {}, bool one_by_one = false)
        : channel(out, err, copies, [this] { ++events; }) {
        for (std::size_t at = 0; one_by_one && at < bytes.size(); ++at) {
            channel.put(bytes_of(bytes).subspan(at, 1));
        }
        if (!one_by_one) {
            channel.put(bytes_of(bytes));
        }
    }
    TextSink out, err;
    unsigned events = 0;
    GuestChannel channel;
};

std::set<std::string> all_below(const std::string& folder) {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        names.insert(entry.path().lexically_relative(folder));
    }
    return names;
}

}  // namespace

TEST_CASE("what Linux prints when it fails is told apart") {
    using Kind = std::optional<EndKind>;
    const std::pair<const char*, Kind> lines[] = {
        {"[    3.276] Kernel panic - not syncing: sysrq triggered crash", EndKind::panic},
        {"Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", EndKind::panic},
        {"[   12.5][    T1] Unable to handle kernel NULL pointer dereference at virtual address 0000000000000010",
         EndKind::oops},
        {"[   12.5] Internal error: Oops: 0000000096000004 [#1] SMP", EndKind::oops},
        {"[   12.5] kernel BUG at mm/slub.c:4000!", EndKind::oops},
        {"[   12.5] BUG: KASAN: slab-out-of-bounds in foo+0x10/0x20", EndKind::oops},
        {"[   12.5] BUG: scheduling while atomic: sh/1/0x00000002", EndKind::oops},
        {"[   28.1] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:100]", EndKind::stall},
        {"[   28.1] watchdog: Watchdog detected hard LOCKUP on cpu 1", EndKind::stall},
        {"[   21.1] rcu: INFO: rcu_sched self-detected stall on CPU", EndKind::stall},
        {"[   21.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", EndKind::stall},
        {"[  242.1] INFO: task init:1 blocked for more than 120 seconds.", EndKind::stall},
        {"[    1.0] INFO: task was not blocked", Kind()},
        {"[    0.0] rcu: Hierarchical RCU implementation.", Kind()},
        {"[    0.0] WARNING: CPU: 0 PID: 1 at kernel/foo.c:1 foo+0x0/0x10", Kind()},
        {"a program prints Kernel panic - not syncing", Kind()},
        {"[    0.0] debug: BUG: mentioned", Kind()},
        {"", Kind()},
        {"[", Kind()},
    };
    for (const auto& [line, kind] : lines) {
        INFO(line);
        CHECK(trouble_in(line) == kind);
    }
}

TEST_CASE("the console's watch keeps lines, and a panic goes before an oops") {
    unsigned alarms = 0;
    ConsoleWatch watch(false, [&] { ++alarms; });
    TextSink copy;
    watch.copy_to(&copy);
    const std::string text = "one\r\n[ 1.0] Internal error: Oops: 1 [#1] SMP\n[ 1.0] ---[ end trace 0 ]---\n";
    for (const char c : text) {
        watch.put(bytes_of(std::string(1, c)));
    }
    REQUIRE(watch.trouble());
    CHECK(watch.trouble()->kind == EndKind::oops);
    CHECK(watch.trouble()->complete);
    CHECK(alarms == 2);
    watch.put(bytes_of("[ 1.0] Kernel panic - not syncing: Oops: Fatal exception\n[ 1.0] WARNING: CPU: 0\npart"));
    CHECK(watch.trouble()->kind == EndKind::panic);
    CHECK_FALSE(watch.trouble()->complete);
    CHECK(watch.trouble()->line == "Kernel panic - not syncing: Oops: Fatal exception");
    CHECK(watch.last_lines(2) == std::vector<std::string>{"[ 1.0] WARNING: CPU: 0", "part"});
    CHECK(watch.warnings().size() == 1);
    CHECK(copy.text.substr(0, text.size()) == text);

    ConsoleWatch lenient(true, [] {});
    lenient.put(bytes_of("BUG: scheduling while atomic\n" + std::string(100'000, 'x') + "\n"));
    CHECK_FALSE(lenient.trouble());
    CHECK(lenient.last_lines(1).front().size() == ConsoleWatch::kMaxLine);
    lenient.put(bytes_of("Kernel panic - not syncing: x\n"));
    CHECK(lenient.trouble());
}

TEST_CASE("the guest's init is understood, in any pieces") {
    const std::string said = kHello + record(VMM_SAID_NOTE, number(u32{2}) + "cannot load \x1b[1m") +
                             record(VMM_SAID_BEGIN, number(u32{0})) + record(VMM_SAID_OUT, "out") +
                             record(VMM_SAID_ERR, "err") +
                             record(VMM_SAID_EXIT, number(u32{0}) + number(u32{7}) + number(u64{99})) +
                             record(VMM_SAID_DONE, number(u32{7}));
    for (const bool one_by_one : {false, true}) {
        Heard heard(said, {}, one_by_one);
        const auto progress = heard.channel.progress();
        CHECK(heard.out.text == "out");
        CHECK(heard.err.text == "err");
        CHECK(progress.hello);
        CHECK(progress.boot_nanoseconds == 1234);
        CHECK(progress.notes == std::vector<std::string>{"cannot load ?[1m: No such file or directory"});
        REQUIRE(progress.commands.size() == 1);
        CHECK(progress.commands[0].ended);
        CHECK(progress.commands[0].status == 7);
        CHECK(progress.commands[0].nanoseconds == 99);
        CHECK(progress.commands[0].out_tail == "out");
        CHECK((progress.done && !progress.broken && progress.status == 7));
        CHECK(heard.channel.over());
        CHECK(heard.events == 2);
    }
}

TEST_CASE("a guest that does not keep to the protocol is not listened to") {
    const std::string begin = record(VMM_SAID_BEGIN, number(u32{0}));
    const std::string bad[] = {
        "noise that is no record",
        record(VMM_SAID_BEGIN, number(u32{0})),                                            // before hello
        record(VMM_SAID_HELLO, number(u32{2}) + number(u32{0}) + number(u64{0})),          // another version
        kHello + kHello,
        kHello + record(VMM_SAID_OUT, "no command"),
        kHello + record(VMM_SAID_BEGIN, number(u32{1})),
        kHello + begin + record(VMM_SAID_EXIT, number(u32{0}) + number(u32{256}) + number(u64{0})),
        kHello + begin + record(VMM_SAID_EXIT, number(u32{0})),
        kHello + record(VMM_SAID_DONE),
        kHello + record(VMM_SAID_DONE, number(u32{257})),
        kHello + record('?'),
        kHello + std::string("\xC5\x5CN\0\xFF\xFF\xFF\xFF", 8),
        kHello + entry(0, S_IFREG, ""),  // nobody asked for a copy
        kHello + record(VMM_SAID_DATA, "x"),
    };
    for (const std::string& said : bad) {
        Heard heard(said);
        CHECK(heard.channel.progress().broken);
        CHECK(heard.events == 1);
        heard.channel.put(bytes_of(record(VMM_SAID_DONE, number(u32{0}))));
        CHECK_FALSE(heard.channel.progress().done);
    }
}

TEST_CASE("random records of a guest harm nothing outside of the place for its copies") {
    const TemporaryFolder place;
    fs::create_directories(place / "to");
    std::ofstream(place / "outside") << "safe";
    Rng rng(7);
    const auto pick = [&rng](std::initializer_list<std::string> from) {
        return *(from.begin() + static_cast<std::ptrdiff_t>(rng.next() % from.size()));
    };
    for (unsigned round = 0; round < 300; ++round) {
        std::string said = kHello;
        for (unsigned n = 0; n < 30; ++n) {
            const std::string name =
                pick({"", "a", "b", "a/b", "a/b/c", "..", "../outside", "a/../../outside", "/outside", "a//b", ".",
                      std::string("a\0b", 3), "link", "link/outside"});
            const u32 mode = static_cast<u32>(std::stoul(pick({"33188", "16877", "41471", "33188"})));
            said += file(static_cast<u32>(rng.next() % 2), name, pick({"x", "..", place.path, "../.."}), mode);
        }
        said += record(VMM_SAID_DONE, number(u32{0}));
        Heard heard(said, {{"/x/top", place / "to/"}, {"/y", place / "to/y"}});
    }
    CHECK(read_text(place / "outside") == "safe");
    for (const auto& entry : fs::directory_iterator(place.path)) {
        const std::string name = entry.path().filename();
        CHECK((name == "to" || name == "outside"));
    }
    for (const std::string& name : all_below(place / "to")) {
        CHECK((name.starts_with("top") || name.starts_with("y")));
    }
}

TEST_CASE("copies from the guest arrive as cp would make them") {
    const TemporaryFolder place;
    const std::string tree = entry(0, S_IFDIR | 0755, "") + record(VMM_SAID_ENTRY_END, number(u32{0})) +
                             file(0, "a", "AAA", S_IFREG | 0755) + entry(0, S_IFDIR | 0555, "d") +
                             record(VMM_SAID_ENTRY_END, number(u32{0})) + file(0, "d/b", "B") +
                             file(0, "l", "d/b", S_IFLNK | 0777) + record(VMM_SAID_COPY_END, number(u32{0}) + number(u32{0}));
    const std::string single = file(1, "", "one", S_IFREG | 04755) + record(VMM_SAID_COPY_END, number(u32{1}) + number(u32{0}));
    const std::string missing = record(VMM_SAID_COPY_END, number(u32{2}) + number(u32{2}));
    const std::string broken = entry(3, S_IFREG | 0644, "") + record(VMM_SAID_DATA, "half") +
                               record(VMM_SAID_ENTRY_END, number(u32{5})) +
                               record(VMM_SAID_COPY_END, number(u32{3}) + number(u32{0}));
    std::ofstream(place / "single") << "older and longer";
    Heard heard(kHello + tree + single + missing + broken + record(VMM_SAID_DONE, number(u32{0})),
                {{"/out/tree/", place / "new/"}, {"/f", place / "single"}, {"/no", place / "no"},
                 {"/sick", place.path}});
    const auto copies = heard.channel.progress().copies;
    REQUIRE_FALSE(heard.channel.progress().broken);
    CHECK(all_below(place.path) == std::set<std::string>{"new", "new/tree", "new/tree/a", "new/tree/d", "new/tree/d/b",
                                                         "new/tree/l", "single", "sick"});
    CHECK(read_text(place / "new/tree/a") == "AAA");
    CHECK(fs::read_symlink(place / "new/tree/l") == "d/b");
    CHECK(read_text(place / "single") == "one");
    CHECK(fs::status(place / "single").permissions() == fs::perms{0755});
    CHECK((copies[0].error.empty() && copies[0].files == 2 && copies[0].bytes == 4));
    CHECK(copies[0].host_path == place / "new/tree");
    CHECK(copies[2].error.find("No such file") != std::string::npos);
    CHECK(copies[3].error.find("Input/output error") != std::string::npos);
}

TEST_CASE("a link that one copy brings does not lead the next one out") {
    const TemporaryFolder place;
    fs::create_directories(place / "out");
    const std::string folder = entry(0, S_IFDIR | 0755, "") + record(VMM_SAID_ENTRY_END, number(u32{0}));
    Heard heard(kHello + folder + file(0, "d", place.path, S_IFLNK | 0777) +
                    record(VMM_SAID_COPY_END, number(u32{0}) + number(u32{0})) + file(1, "", "x") +
                    record(VMM_SAID_COPY_END, number(u32{1}) + number(u32{0})) + record(VMM_SAID_DONE, number(u32{0})),
                {{"/a", place / "out/a"}, {"/f", place / "out/a/d/"}});
    CHECK_FALSE(fs::exists(place / "f"));
    CHECK(read_text(place / "out/a/d/f") == "x");
    CHECK_FALSE(heard.channel.progress().copies[0].error.empty());
}

TEST_CASE("a copy that the guest does not finish leaves nothing") {
    const TemporaryFolder place;
    {
        Heard heard(kHello + entry(0, S_IFREG | 0644, "") + record(VMM_SAID_DATA, "half"), {{"/f", place / "f"}});
        CHECK_FALSE(heard.channel.progress().copies[0].ended);
    }
    CHECK(all_below(place.path).empty());
}
