// qcow2 images of any content, read through and written over. An input is operations, then the image.
#include <utility>
#include <vector>

#include "devices/disk/qcow2.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/host_files.h"
#include "tests/fuzz/target.h"

namespace vmm::fuzz {
namespace {

constexpr std::size_t kOperations = 8;
constexpr std::size_t kOperationSize = 8;

/// A folder with images that an image may name as its parent: "p", raw, and "q", qcow2, whose parent is "p".
class Parents {
  public:
    Parents() {
        std::ofstream(folder_.path() / "p", std::ios::binary) << std::string(5000, 'p');
        // Version 3, clusters of 512 bytes, 8 KiB; the backing file's name at 104; an empty L1 table.
        std::vector<u8> q(1024);
        constexpr std::array<std::pair<unsigned, u8>, 17> kSet{{{0, 'Q'}, {1, 'F'}, {2, 'I'}, {3, 0xFB}, {7, 3}, {15, 112},
                                                                {19, 1}, {23, 9}, {30, 0x20}, {39, 1}, {46, 2}, {54, 2},
                                                                {59, 1}, {99, 4}, {103, 104}, {112, 'p'}, {16, 0}}};
        for (const auto& [at, value] : kSet) {
            q[at] = value;
        }
        std::ofstream(folder_.path() / "q", std::ios::binary).write(reinterpret_cast<const char*>(q.data()), 1024);
    }
    std::string child() const { return (folder_.path() / "image").string(); }

  private:
    Folder folder_;
};

void operate(devices::disk::Image& image, FuzzInput& in) {
    const u8 kind = in.get<u8>();
    const u64 place = u64{in.get<u32>()} << (in.get<u8>() % 32);
    const std::size_t wanted = std::size_t{in.get<u16>()} + 1;
    const u64 offset = place % image.size();
    const std::size_t size = static_cast<std::size_t>(std::min<u64>(wanted, image.size() - offset));
    std::vector<u8> bytes(size, 0x5A);
    switch (kind % 4) {
        case 0: (void)image.read(offset, bytes); break;
        case 1:
            if (image.write(offset, bytes) == 0) {
                std::vector<u8> back(size);
                VMM_CHECK(image.read(offset, back) == 0 && back == bytes);
            }
            break;
        case 2:
            if (image.zero(offset, size) == 0) {
                VMM_CHECK(image.read(offset, bytes) == 0 && bytes == std::vector<u8>(size));
            }
            break;
        default: (void)image.read(image.size() - size, bytes); break;
    }
}

}  // namespace
}  // namespace vmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm;
    fuzz::FuzzInput in({data, size});
    fuzz::FuzzInput operations(in.take(fuzz::kOperations * fuzz::kOperationSize));
    const auto file = in.rest();
    UniqueFd fd = fuzz::memory_file(file);
    (void)devices::disk::looks_like_qcow2(fd.get());
    static const fuzz::Parents parents;
    auto image = devices::disk::open_qcow2(std::move(fd), parents.child(), true);
    if (!image) {
        VMM_CHECK(!image.error().text.empty());
        return 0;
    }
    if ((*image)->size() == 0) {
        return 0;
    }
    for (unsigned n = 0; n < fuzz::kOperations / 2; ++n) {
        std::vector<u8> bytes(static_cast<std::size_t>(std::min<u64>((*image)->size(), 4096)));
        (void)(*image)->read((*image)->size() / 4 * n, std::span(bytes).first(static_cast<std::size_t>(std::min<u64>(bytes.size(), (*image)->size() - (*image)->size() / 4 * n))));
    }
    auto overlay = devices::disk::make_overlay(*std::move(image));
    VMM_CHECK(overlay.has_value());
    while (!operations.empty()) {
        fuzz::operate(**overlay, operations);
    }
    return 0;
}
