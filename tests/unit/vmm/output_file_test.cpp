#include "vmm/output_file.h"

#include <filesystem>

#include <catch2/catch.hpp>

#include "tests/support/temporary_folder.h"
#include "vmm/kernel_image.h"

using namespace vmm;
using test::TemporaryFolder;

namespace {

std::size_t files_in(const TemporaryFolder& folder) {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder.path), std::filesystem::directory_iterator()));
}

const std::vector<u8> kContent{1, 2, 3};

}  // namespace

TEST_CASE("a file is written or replaced whole") {
    const TemporaryFolder folder;
    const std::string path = folder / "out";
    REQUIRE(write_file(path, std::vector<u8>(100, 9)));
    REQUIRE(write_file(path, kContent));
    REQUIRE(*read_file(path, 1000) == kContent);
    REQUIRE(files_in(folder) == 1);
}

TEST_CASE("a file that cannot be written leaves nothing behind") {
    const TemporaryFolder folder;
    REQUIRE_FALSE(write_file(folder / "missing/out", kContent));
    REQUIRE_FALSE(write_file(folder.path, kContent));  // a directory
    REQUIRE(files_in(folder) == 0);
}

TEST_CASE("a device is written to and stays a device") {
    REQUIRE(write_file("/dev/null", kContent));
    REQUIRE(std::filesystem::is_character_file("/dev/null"));
}
