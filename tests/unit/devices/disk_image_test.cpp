#include <fcntl.h>
#include <sys/stat.h>

#include <cstdlib>

#include "devices/disk/qcow2.h"
#include "tests/support/temporary_folder.h"
#include "vmm/base/rng.h"

namespace vmm::devices::disk {
namespace {

using test::read_text;
using test::TemporaryFolder;
using test::write_text;

void shell(const std::string& command) {
    INFO(command);
    REQUIRE(std::system(command.c_str()) == 0);
}

Result<std::unique_ptr<Image>> open(const std::filesystem::path& path) {
    return open_qcow2(UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), path, true);
}

std::unique_ptr<Image> must_open(const std::filesystem::path& path) {
    auto image = open(path);
    if (!image) {
        FAIL(image.error().text);
    }
    return *std::move(image);
}

/// A disk with all that matters to clusters: noise, text that packs well, zeros, and a ragged end.
std::string disk_content(std::size_t size) {
    Rng rng(1);
    std::string content(size, '\0');
    for (std::size_t at = 0; at < size; at += 10'000) {
        const u64 kind = rng.next() % 3;
        for (std::size_t n = at; n < std::min(size, at + 10'000); ++n) {
            content[n] = kind == 0 ? static_cast<char>(rng.next()) : kind == 1 ? "some text "[n % 10] : '\0';
        }
    }
    return content;
}

TEST_CASE("qcow2: what qemu-img makes reads as what went in") {
    const char* options = GENERATE("", "-o compat=0.10", "-o cluster_size=512", "-o cluster_size=2M", "-c",
                                   "-c -o compression_type=zstd", "-c -o cluster_size=4096",
                                   "-c -o compression_type=zstd,cluster_size=2M", "-o preallocation=metadata",
                                   "-o lazy_refcounts=on");
    const TemporaryFolder folder;
    const std::string content = disk_content(3'000'000 / 512 * 512);
    write_text(folder.path / "raw", content);
    shell("qemu-img convert -f raw -O qcow2 " + std::string(options) + " " + (folder.path / "raw").string() +
          " " + (folder.path / "image").string());
    CHECK(looks_like_qcow2(UniqueFd(::open((folder.path / "image").c_str(), O_RDONLY)).get()));
    const auto image = must_open(folder.path / "image");
    REQUIRE(image->size() == content.size());
    std::string read(content.size(), 'x');
    REQUIRE(image->read(0, {reinterpret_cast<u8*>(read.data()), read.size()}) == 0);
    CHECK((read == content));
    Rng rng(2);
    for (unsigned n = 0; n < 300; ++n) {
        const std::size_t at = rng.next() % content.size();
        const std::size_t size = std::min<std::size_t>(rng.next() % 9000, content.size() - at);
        REQUIRE(image->read(at, {reinterpret_cast<u8*>(read.data()), size}) == 0);
        REQUIRE((std::string_view(read).substr(0, size) == std::string_view(content).substr(at, size)));
    }
    CHECK(image->write(0, {}) == EROFS);
}

TEST_CASE("qcow2: an image that was never written to is all zeros") {
    const TemporaryFolder folder;
    shell("qemu-img create -q -f qcow2 " + (folder.path / "image").string() + " 8T");
    const auto image = must_open(folder.path / "image");
    CHECK(image->size() == u64{8} << 40);
    std::vector<u8> read(100'000, 1);
    REQUIRE(image->read((u64{8} << 40) - read.size(), read) == 0);
    CHECK((read == std::vector<u8>(read.size(), 0)));
}

TEST_CASE("qcow2: images that would need more than reading clusters are refused by name") {
    const TemporaryFolder folder;
    const auto path = folder.path / "image";
    struct Refused {
        std::string options;
        const char* told;
    };
    const Refused refused[] = {{"-o data_file=" + (folder.path / "data").string(), "data in another file"},
                               {"-o extended_l2=on", "extended L2"}};
    for (const Refused& each : refused) {
        shell("qemu-img create -q -f qcow2 " + each.options + " " + path.string() + " 1M");
        const auto image = open(path);
        REQUIRE_FALSE(image);
        CHECK(image.error().text.find(each.told) != std::string::npos);
    }
    write_text(path, "QFI\xFB");
    CHECK_FALSE(open(path));
}

/// What open() says about an image in `folder` that qemu-img makes there with `options`.
std::string refusal(const TemporaryFolder& folder, const std::string& options) {
    shell("cd " + folder.path.string() + " && qemu-img create -q -u -f qcow2 " + options);
    const auto image = open(folder.path / "image");
    return image ? "" : image.error().text;
}

TEST_CASE("qcow2: a chain of backing files that leads nowhere is told in one line") {
    const TemporaryFolder folder;
    const std::string disk = "disk " + folder / "image" + ": ";
    CHECK(refusal(folder, "-b missing -F raw image 1M") ==
          disk + "backing file " + folder / "missing" + ": cannot open it: No such file or directory");
    CHECK(refusal(folder, "-b nbd://localhost/x -F raw image 1M") ==
          disk + "its backing file \"nbd://localhost/x\" is no path; must be a file or block device");
    CHECK(refusal(folder, "-b other -F vmdk image 1M") ==
          disk + "backing file " + folder / "other" + ": has the format \"vmdk\"; must be raw or qcow2");
    CHECK(refusal(folder, "-b ./image -F qcow2 image 1M") ==
          disk + "backing file " + folder / "./image" + ": is its own backing file, directly or through others");
    shell("cd " + folder.path.string() + " && ln -s image alias && qemu-img create -q -u -f qcow2 -b alias -F qcow2 other 1M");
    CHECK(refusal(folder, "-b other -F qcow2 image 1M") ==
          disk + "backing file " + folder / "alias" + ": is its own backing file, directly or through others");
    write_text(folder.path / "raw", std::string(4096, 'r'));
    CHECK(refusal(folder, "-b raw -F qcow2 image 1M") == disk + "backing file " + folder / "raw" + ": is no qcow2 image");
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    CHECK(refusal(folder, "-b pipe -F raw image 1M") ==
          disk + "backing file " + folder / "pipe" + ": neither a regular file nor a block device");
}

TEST_CASE("qcow2: what only looks like an image gets no backing file") {
    const TemporaryFolder folder;
    write_text(folder.path / "secret", std::string(4096, 's'));
    const auto told = [&](const std::string& options) {
        shell("cd " + folder.path.string() + " && qemu-img create -q -u -f qcow2 " + options);
        const auto image = open_qcow2(UniqueFd(::open((folder / "image").c_str(), O_RDONLY | O_CLOEXEC)), folder / "image", false);
        return image ? "" : image.error().text;
    };
    CHECK(told("image 1M").empty());
    CHECK(told("-b secret -F raw image 1M").find("only its content says that it is qcow2") != std::string::npos);
}

TEST_CASE("qcow2: chains have a limit") {
    const TemporaryFolder folder;
    std::string commands = "cd " + folder.path.string() + " && truncate -s 1M 0";
    for (std::size_t n = 1; n <= kMaxLayers; ++n) {
        commands += fmt::format(" && qemu-img create -q -u -f qcow2 -b {} -F {} {} 1M", n - 1, n == 1 ? "raw" : "qcow2", n);
    }
    shell(commands);
    CHECK(open(folder.path / std::to_string(kMaxLayers - 1)));
    const auto image = open(folder.path / std::to_string(kMaxLayers));
    REQUIRE_FALSE(image);
    CHECK(image.error().text.find("more than 64 images") != std::string::npos);
}

TEST_CASE("qcow2: damaged images give errors, never more") {
    const TemporaryFolder folder;
    const bool packed = GENERATE(false, true);
    write_text(folder.path / "raw", disk_content(400'000 / 512 * 512));
    write_text(folder.path / "parent", disk_content(200'000));
    shell("qemu-img convert -O qcow2 -o cluster_size=4096 " + std::string(packed ? "-c " : "") +
          (folder.path / "raw").string() + " " + (folder.path / "image").string());
    if (const bool backed = GENERATE(false, true); backed) {
        shell("qemu-img rebase -u -b parent -F raw " + (folder.path / "image").string());
    }
    const std::string good = read_text(folder.path / "image");
    Rng rng(3);
    unsigned opened = 0;
    unsigned failed = 0;
    for (unsigned n = 0; n < 400; ++n) {
        std::string bad = good;
        for (u64 flips = 1 + rng.next() % 4; flips != 0; --flips) {
            // The header, or what may be a table.
            const std::size_t at = rng.next() % 3 == 0 ? rng.next() % 112 : rng.next() % bad.size();
            bad[at] = static_cast<char>(rng.next());
            if (at >= 4096) {
                std::fill_n(bad.begin() + static_cast<std::ptrdiff_t>(at & ~std::size_t{7}), 8,
                            static_cast<char>(rng.next()));
            }
        }
        if (rng.next() % 4 == 0) {
            bad.resize(rng.next() % bad.size());
        }
        write_text(folder.path / "bad", bad);
        const auto image = open(folder.path / "bad");
        if (!image) {
            continue;
        }
        ++opened;
        std::vector<u8> read(64 * 1024);
        for (u64 at = 0; at < std::min<u64>((*image)->size(), 1 << 20); at += read.size()) {
            const std::size_t size = std::min<u64>(read.size(), (*image)->size() - at);
            failed += (*image)->read(at, std::span(read).first(size)) != 0;
        }
        if ((*image)->size() > 4096) {
            (*image)->read((*image)->size() - 4096, std::span(read).first(4096));
        }
    }
    CHECK(opened > 50);
    CHECK(failed > 5);
}

TEST_CASE("overlay: reads what was written last, and leaves its base alone") {
    const TemporaryFolder folder;
    const std::string content = disk_content(1'000'000 / 512 * 512);
    write_text(folder.path / "base", content);
    auto made = make_overlay(make_raw_image(
        UniqueFd(::open((folder.path / "base").c_str(), O_RDONLY | O_CLOEXEC)), content.size()));
    REQUIRE(made);
    Image& image = **made;
    std::vector<u8> model(content.begin(), content.end());
    std::vector<u8> buffer;
    Rng rng(4);
    for (unsigned n = 0; n < 3000; ++n) {
        const std::size_t at = rng.next() % (model.size() / 512) * 512;
        const std::size_t size = std::min<std::size_t>((1 + rng.next() % 40) * 512, model.size() - at);
        const auto start = model.begin() + static_cast<std::ptrdiff_t>(at);
        const auto end = start + static_cast<std::ptrdiff_t>(size);
        switch (rng.next() % 4) {
            case 0:
                buffer.assign(size, static_cast<u8>(rng.next()));
                REQUIRE(image.write(at, buffer) == 0);
                std::copy(buffer.begin(), buffer.end(), start);
                break;
            case 1:
                REQUIRE(image.zero(at, size) == 0);
                std::fill(start, end, u8{0});
                break;
            default:
                buffer.assign(size, 1);
                REQUIRE(image.read(at, buffer) == 0);
                REQUIRE(std::equal(start, end, buffer.begin()));
                break;
        }
    }
    buffer.assign(model.size(), 1);
    REQUIRE(image.read(0, buffer) == 0);
    CHECK((buffer == model));
    CHECK((read_text(folder.path / "base") == content));
    // The file has no name.
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}

}  // namespace
}  // namespace vmm::devices::disk
