#include "vmm/output_file.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include <catch2/catch.hpp>

#include "vmm/kernel_image.h"

using namespace vmm;

namespace {

struct TemporaryFolder {
    TemporaryFolder() {
        char pattern[] = "/tmp/vmm-test-XXXXXX";
        REQUIRE(::mkdtemp(pattern) != nullptr);
        path = pattern;
    }
    ~TemporaryFolder() { std::filesystem::remove_all(path); }

    std::size_t files() const {
        return static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator()));
    }
    std::string path;
};

const std::vector<u8> kContent{1, 2, 3};

}  // namespace

TEST_CASE("a file is written or replaced whole") {
    const TemporaryFolder folder;
    const std::string path = folder.path + "/out";
    REQUIRE(write_file(path, std::vector<u8>(100, 9)));
    REQUIRE(write_file(path, kContent));
    REQUIRE(*read_file(path, 1000) == kContent);
    REQUIRE(folder.files() == 1);
}

TEST_CASE("a file that cannot be written leaves nothing behind") {
    const TemporaryFolder folder;
    REQUIRE_FALSE(write_file(folder.path + "/missing/out", kContent));
    REQUIRE_FALSE(write_file(folder.path, kContent));  // a directory
    REQUIRE(folder.files() == 0);
}

TEST_CASE("a device is written to and stays a device") {
    REQUIRE(write_file("/dev/null", kContent));
    REQUIRE(std::filesystem::is_character_file("/dev/null"));
}
