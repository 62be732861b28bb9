// Files of a test.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include <catch2/catch.hpp>

namespace vmm::test {

/// A temporary folder, removed with all that is in it.
struct TemporaryFolder {
    TemporaryFolder() {
        char name[] = "/tmp/vmm-test-XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        path = name;
    }
    ~TemporaryFolder() { std::filesystem::remove_all(path); }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    /// The path of something in it.
    std::string operator/(std::string_view name) const { return (path / name).string(); }

    std::filesystem::path path;
};

inline void write_text(const std::filesystem::path& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_text(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;  // its loop is the library's, which no sanitizer slows down
    text << in.rdbuf();
    return std::move(text).str();
}

}  // namespace vmm::test
