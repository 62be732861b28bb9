// What a guest says on its console and through its init, and where its files may go.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include <catch2/catch.hpp>

#include "tests/support/temporary_folder.h"
#include "vmm/base/rng.h"
#include "vmm/console_watch.h"
#include "vmm/guest_channel.h"
#include "vmm/guest_input.h"
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
        kHello + begin + record(VMM_SAID_WANT, number(u32{1})),  // there is no input
    };
    for (const std::string& said : bad) {
        Heard heard(said);
        CHECK(heard.channel.progress().broken);
        CHECK(heard.events == 1);
        heard.channel.put(bytes_of(record(VMM_SAID_DONE, number(u32{0}))));
        CHECK_FALSE(heard.channel.progress().done);
    }
}

namespace {

/// Standard input of a guest: what is written to `in` arrives in `out`, of which at most `room` bytes are taken.
struct Input {
    explicit Input(std::size_t room = 1 << 20) {
        REQUIRE(::pipe(ends) == 0);
        input = std::make_unique<GuestInput>(ends[0], [this, room](std::span<const u8> bytes) {
            const std::lock_guard lock(mutex);
            const std::size_t taken = std::min(bytes.size(), room - out.size());
            out.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
            return taken;
        });
    }
    ~Input() {
        input.reset();
        ::close(ends[0]);
        close_writer();
    }
    void close_writer() {
        if (ends[1] >= 0) {
            ::close(std::exchange(ends[1], -1));
        }
    }
    void in(std::string_view text) { REQUIRE(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size())); }
    /// What has arrived once it is `size` bytes, or some time has passed.
    std::string arrived(std::size_t size, std::chrono::milliseconds patience = std::chrono::seconds(10)) {
        const auto end = std::chrono::steady_clock::now() + patience;
        for (;;) {
            {
                const std::lock_guard lock(mutex);
                if (out.size() >= size || std::chrono::steady_clock::now() >= end) {
                    return out;
                }
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
    int ends[2] = {-1, -1};
    std::mutex mutex;
    std::string out;
    std::unique_ptr<GuestInput> input;
};

}  // namespace

TEST_CASE("standard input goes to the guest as the guest asks for it") {
    Input s;
    s.in(std::string("a\0b\xC5\x5C", 5));
    CHECK(s.arrived(1, std::chrono::milliseconds(50)).empty());
    s.input->want(3);
    const std::string first = record(VMM_INPUT, std::string("a\0b", 3));
    CHECK(s.arrived(first.size()) == first);
    CHECK(s.arrived(first.size() + 1, std::chrono::milliseconds(50)) == first);
    s.input->want(VMM_MAX_INPUT);
    const std::string second = first + record(VMM_INPUT, "\xC5\x5C");
    CHECK(s.arrived(second.size()) == second);
    s.input->want(VMM_MAX_INPUT);
    s.close_writer();
    const std::string all = second + record(VMM_INPUT);
    CHECK(s.arrived(all.size()) == all);
    s.input->want(VMM_MAX_INPUT);  // there is nothing any more
    CHECK(s.arrived(all.size() + 1, std::chrono::milliseconds(50)) == all);
}

TEST_CASE("standard input keeps no run from ending") {
    SECTION("nobody writes") {
        Input s;
        s.input->want(100);
    }
    SECTION("the guest asks and does not take") {
        Input s(100);
        s.in(std::string(5000, 'x'));
        s.input->want(~u32{0});
        CHECK(s.arrived(100).size() == 100);
    }
}

TEST_CASE("a terminal, nothing, and a closed descriptor are no input for commands") {
    const UniqueFd null(::open("/dev/null", O_RDONLY));
    const UniqueFd zero(::open("/dev/zero", O_RDONLY));
    const UniqueFd terminal(::posix_openpt(O_RDWR | O_NOCTTY));
    REQUIRE(terminal);
    CHECK_FALSE(offers_input(null.get()));
    CHECK_FALSE(offers_input(terminal.get()));
    CHECK_FALSE(offers_input(1'000'000));
    CHECK(offers_input(zero.get()));
}

TEST_CASE("the guest may ask for input while commands run, within bounds") {
    const auto asked = [](const std::string& said) {
        TextSink out;
        TextSink err;
        std::vector<u32> wants;
        GuestChannel channel(out, err, {}, [] {});
        channel.offer_input([&wants](u32 size) { wants.push_back(size); });
        channel.put(bytes_of(said));
        return std::pair(wants, channel.progress().broken);
    };
    const std::string begin = kHello + record(VMM_SAID_BEGIN, number(u32{0}));
    using Asked = std::pair<std::vector<u32>, bool>;
    CHECK(asked(begin + record(VMM_SAID_WANT, number(u32{VMM_MAX_INPUT}))) == Asked{{VMM_MAX_INPUT}, false});
    CHECK(asked(begin + record(VMM_SAID_WANT, number(u32{VMM_MAX_INPUT + 1}))) == Asked{{}, true});
    CHECK(asked(begin + record(VMM_SAID_WANT, number(u32{0}))) == Asked{{}, true});
    CHECK(asked(begin + record(VMM_SAID_WANT)) == Asked{{}, true});
    CHECK(asked(kHello + record(VMM_SAID_WANT, number(u32{1}))) == Asked{{}, true});
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
