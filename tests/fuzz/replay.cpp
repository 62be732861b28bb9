// Runs a fuzz target on kept inputs, in builds with sanitizers: what was found once is tested for ever.
//
// usage: fuzz_TARGET FILE-OR-FOLDER...
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <vector>

#include "tests/fuzz/target.h"

namespace fs = std::filesystem;

int main(int argc, char** argv) {
    std::set<fs::path> files;
    for (int i = 1; i < argc; ++i) {
        if (!fs::is_directory(argv[i])) {
            files.insert(argv[i]);
            continue;
        }
        for (const auto& entry : fs::directory_iterator(argv[i])) {
            files.insert(entry.path());
        }
    }
    if (files.empty()) {
        std::fprintf(stderr, "%s: nothing to replay\n", argv[0]);
        return 1;
    }
    for (const fs::path& file : files) {
        std::ifstream in(file, std::ios::binary);
        if (!in) {
            std::fprintf(stderr, "%s: %s cannot be read\n", argv[0], file.c_str());
            return 1;
        }
        // Exactly as large as the input: sanitizers see what reads behind it.
        const std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(in), {}};
        std::fprintf(stderr, "%s\n", file.c_str());
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    std::printf("%zu inputs\n", files.size());
}
