#include "vmm/cpio.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/support/temporary_folder.h"
#include "vmm/module_tree.h"

using namespace vmm;
using test::read_text;
using test::TemporaryFolder;
using test::write_text;
namespace fs = std::filesystem;

namespace {

/// Has GNU cpio unpack `archive` into `folder`.
void unpack(const std::vector<u8>& archive, const std::string& folder) {
    fs::create_directories(folder);
    std::ofstream(folder + ".cpio", std::ios::binary)
        .write(reinterpret_cast<const char*>(archive.data()), static_cast<std::streamsize>(archive.size()));
    const std::string command = "cd " + folder + " && cpio --quiet --no-preserve-owner -idm <../" +
                                fs::path(folder).filename().string() + ".cpio";
    REQUIRE(WEXITSTATUS(std::system(command.c_str())) == 0);
}

}  // namespace

TEST_CASE("cpio unpacks a folder of every type of file as it was") {
    const TemporaryFolder place;
    const std::string from = place / "from";
    fs::create_directories(from + "/a/b");
    write_text(from + "/a/text", "hello");
    write_text(from + "/a/empty", "");
    write_text(from + "/odd length", "123");
    fs::create_symlink("a/text", from + "/link");
    fs::create_hard_link(from + "/a/text", from + "/z");
    REQUIRE(::mkfifo((from + "/pipe").c_str(), 0600) == 0);
    REQUIRE(::chmod((from + "/a/text").c_str(), 0750) == 0);
    REQUIRE(::chmod((from + "/a/b").c_str(), 01777) == 0);

    CpioWriter archive(1 << 20);
    REQUIRE(archive.add_tree(from, "/top/"));
    const auto bytes = std::move(archive).finish();
    REQUIRE(bytes);
    const std::string to = place / "to";
    fs::create_directories(to + "/top");
    unpack(*bytes, to);

    CHECK(read_text(to + "/top/a/text") == "hello");
    CHECK(read_text(to + "/top/odd length") == "123");
    CHECK(fs::file_size(to + "/top/a/empty") == 0);
    CHECK(fs::read_symlink(to + "/top/link") == "a/text");
    CHECK(fs::hard_link_count(to + "/top/z") == 2);
    CHECK(read_text(to + "/top/z") == "hello");
    CHECK(fs::is_fifo(to + "/top/pipe"));
    CHECK(fs::status(to + "/top/a/text").permissions() == fs::perms{0750});
    CHECK(fs::status(to + "/top/a/b").permissions() == fs::perms{01777});
}

TEST_CASE("folders above a file come once, and the temporary one is everybody's") {
    CpioWriter archive(1 << 20);
    REQUIRE(archive.add_folder("//x/./y/"));
    REQUIRE(archive.add_folder("x/y"));
    REQUIRE(archive.add_folder("/tmp"));
    REQUIRE(archive.add_file("/x/y/f", 0640, std::vector<u8>{'1'}));
    const auto bytes = std::move(archive).finish();
    REQUIRE(bytes);
    const std::string text(bytes->begin(), bytes->end());
    CHECK(text.find("x/y", text.find("x/y") + 1) == text.find("x/y/f"));
    const TemporaryFolder place;
    unpack(*bytes, place / "to");
    CHECK(read_text(place / "to/x/y/f") == "1");
    CHECK(fs::status(place / "to/tmp").permissions() == fs::perms{01777});
}

TEST_CASE("an archive keeps to its limit") {
    CpioWriter archive(4096);
    const auto added = archive.add_file("big", 0644, std::vector<u8>(8192));
    REQUIRE_FALSE(added);
    CHECK(added.error().text.find("\"big\"") != std::string::npos);
}

TEST_CASE("a path in the guest never leads out of its root") {
    CHECK(clean_path("/a//b/./c/") == "a/b/c");
    CHECK(clean_path("../../etc") == "etc");
    CHECK(clean_path("/a/../..").empty());
}

TEST_CASE("a module comes after those it needs, packed as it may be, and once") {
    const TemporaryFolder place;
    const std::string tree = place / "lib/modules/6.1.0";
    fs::create_directories(tree + "/kernel");
    write_text(tree + "/kernel/base.ko", "B");
    write_text(tree + "/kernel/mid-dle.ko", "M");
    write_text(tree + "/kernel/top.ko", "T");
    for (const char* packer : {"xz -q", "gzip -q"}) {
        const bool xz = packer[0] == 'x';
        write_text(tree + (xz ? "/kernel/by_xz.ko" : "/kernel/by_gz.ko"), "packed");
        const std::string command = std::string(packer) + " " + tree + (xz ? "/kernel/by_xz.ko" : "/kernel/by_gz.ko");
        REQUIRE(WEXITSTATUS(std::system(command.c_str())) == 0);
    }
    write_text(tree + "/modules.dep",
          "kernel/base.ko:\nkernel/mid-dle.ko: kernel/base.ko\nkernel/top.ko: kernel/mid-dle.ko kernel/base.ko\n"
          "kernel/by_xz.ko.xz:\nkernel/by_gz.ko.gz:\n");
    write_text(tree + "/modules.builtin", "kernel/inside.ko\n");

    for (const std::string& folder : {place.path.string(), tree}) {
        const auto opened = ModuleTree::open(folder);
        REQUIRE(opened);
        std::vector<KernelModule> modules;
        REQUIRE(opened->add("mid_dle", ModuleTree::Absent::error, modules));
        REQUIRE(opened->add("top", ModuleTree::Absent::error, modules));
        REQUIRE(opened->add("inside", ModuleTree::Absent::error, modules));
        REQUIRE(opened->add("nowhere", ModuleTree::Absent::skip, modules));
        REQUIRE(opened->add("by-xz", ModuleTree::Absent::error, modules));
        REQUIRE(opened->add("by-gz", ModuleTree::Absent::error, modules));
        std::string order;
        for (const KernelModule& module : modules) {
            order += module.file_name + "=" + std::string(module.content.begin(), module.content.end()) + " ";
        }
        CHECK(order == "base.ko=B mid-dle.ko=M top.ko=T by_xz.ko=packed by_gz.ko=packed ");
        CHECK_FALSE(opened->add("nowhere", ModuleTree::Absent::error, modules));
    }
    CHECK_FALSE(ModuleTree::open(place / "lib"));
}
