#include "vmm/kernel_image.h"

#include <elf.h>
#include <zlib.h>
#include <zstd.h>

#include <cstring>

#include <algorithm>

#include <catch2/catch.hpp>

#include "vmm/base/rng.h"
#include "vmm/decompress.h"

using namespace vmm;

namespace {

using Bytes = std::vector<u8>;

template <class T>
void put(Bytes& bytes, std::size_t offset, T value) {
    std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

void put_text(Bytes& bytes, std::size_t offset, std::string_view text) {
    std::memcpy(bytes.data() + offset, text.data(), text.size());
}

/// An arm64 Image of `size` bytes with content that compresses, but not to nothing.
Bytes make_image(std::size_t size = 5000, u64 text_offset = 0, u64 image_size = 8192) {
    Bytes bytes(size);
    Rng rng(1);
    for (std::size_t i = 64; i < size; ++i) {
        bytes[i] = static_cast<u8>(rng.next() >> 60);
    }
    put<u64>(bytes, 8, text_offset);
    put<u64>(bytes, 16, image_size);
    put<u64>(bytes, 24, 0xA);
    put_text(bytes, 56, "ARM\x64");
    return bytes;
}

Bytes gzip(const Bytes& plain) {
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    Bytes out(deflateBound(&stream, plain.size()) + 64);
    stream.next_in = const_cast<u8*>(plain.data());
    stream.avail_in = static_cast<uInt>(plain.size());
    stream.next_out = out.data();
    stream.avail_out = static_cast<uInt>(out.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

Bytes zstd(const Bytes& plain) {
    Bytes out(ZSTD_compressBound(plain.size()));
    out.resize(ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), 3));
    return out;
}

Bytes zboot(const Bytes& payload, std::string_view type) {
    constexpr u32 kOffset = 0x1000;
    constexpr std::size_t kTail = 512;  // what the linker appends
    Bytes bytes(kOffset + payload.size() + kTail);
    put_text(bytes, 0, "MZ");
    put_text(bytes, 4, "zimg");
    put<u32>(bytes, 8, kOffset);
    put<u32>(bytes, 12, static_cast<u32>(payload.size()));
    put_text(bytes, 24, type);
    std::copy(payload.begin(), payload.end(), bytes.begin() + kOffset);
    return bytes;
}

/// An AArch64 ELF with one segment: 16 bytes at 0x80100000, linked at 0xffff000000000000.
Bytes make_elf() {
    Bytes bytes(sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + 16);
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = EM_AARCH64;
    header.e_entry = 0xFFFF'0000'0000'0008;
    header.e_phoff = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    Elf64_Phdr segment{};
    segment.p_type = PT_LOAD;
    segment.p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
    segment.p_vaddr = 0xFFFF'0000'0000'0000;
    segment.p_paddr = 0x8010'0000;
    segment.p_filesz = 16;
    segment.p_memsz = 0x1000;
    put(bytes, 0, header);
    put(bytes, sizeof(Elf64_Ehdr), segment);
    return bytes;
}

std::string refusal_of(Bytes file) {
    auto image = parse_kernel(std::move(file));
    REQUIRE_FALSE(image);
    REQUIRE(image.error().text.find('\n') == std::string::npos);
    return image.error().text;
}

}  // namespace

TEST_CASE("an Image is recognised by its magic and placed by its header") {
    const Bytes file = make_image(5000, 0x1000, 8192);
    const auto image = parse_kernel(file);
    REQUIRE(image);
    REQUIRE(image->kind == KernelImage::Kind::image);
    REQUIRE(image->text_offset == 0x1000);
    REQUIRE(image->memory_bytes == 8192);
    REQUIRE(image->bytes == file);
}

TEST_CASE("an Image that does not tell its size is from before the header did: text offset 0x80000") {
    const auto image = parse_kernel(make_image(5000, 0, 0));
    REQUIRE(image->text_offset == 0x80000);
    REQUIRE(image->memory_bytes == 5000);
}

TEST_CASE("compressed images come out as they went in") {
    const Bytes plain = make_image(300'000);
    REQUIRE(parse_kernel(gzip(plain))->bytes == plain);
    REQUIRE(parse_kernel(zboot(gzip(plain), "gzip"))->bytes == plain);
    REQUIRE(parse_kernel(zboot(zstd(plain), "zstd22"))->bytes == plain);
    REQUIRE(parse_kernel(gzip(zboot(zstd(plain), "zstd")))->bytes == plain);
    REQUIRE(parse_kernel(zboot(zstd(plain), "zstd"))->description == "EFI zboot (zstd), Image");
}

TEST_CASE("an ELF file loads by physical address and starts where its entry point lies in memory") {
    const auto image = parse_kernel(make_elf());
    REQUIRE(image);
    REQUIRE(image->kind == KernelImage::Kind::elf);
    REQUIRE(image->segments.size() == 1);
    REQUIRE(image->segments[0].pa == 0x8010'0000);
    REQUIRE(image->segments[0].file_bytes == 16);
    REQUIRE(image->segments[0].memory_bytes == 0x1000);
    REQUIRE(image->entry == 0x8010'0008);
}

TEST_CASE("what is not a kernel is called by its name") {
    const auto with = [](std::size_t offset, std::string_view magic) {
        Bytes bytes(4096);
        put_text(bytes, offset, magic);
        return bytes;
    };
    REQUIRE(refusal_of({}).starts_with("is empty"));
    REQUIRE(refusal_of(Bytes(10)).starts_with("is truncated"));
    REQUIRE(refusal_of(Bytes(4096)).find("accepted: arm64 Image") != std::string::npos);
    REQUIRE(refusal_of(with(0x202, "HdrS")).find("x86 Linux kernel") != std::string::npos);
    REQUIRE(refusal_of(with(0x38, "RSC\x05")).find("RISC-V") != std::string::npos);
    REQUIRE(refusal_of(with(0, "\x28\xb5\x2f\xfd")).find("zstd-compressed") != std::string::npos);
    REQUIRE(refusal_of(with(0, "070701")).find("cpio") != std::string::npos);
    REQUIRE(refusal_of(zboot(Bytes(100), "xzkern")).find("compressed with 'xzkern'; accepted: gzip, zstd") !=
            std::string::npos);
    Bytes x86 = make_elf();
    put<u16>(x86, offsetof(Elf64_Ehdr, e_machine), EM_X86_64);
    REQUIRE(refusal_of(x86).find("another machine (e_machine 62") != std::string::npos);
    Bytes object = make_elf();
    put<u16>(object, offsetof(Elf64_Ehdr, e_type), ET_REL);
    REQUIRE(refusal_of(object).find("not an executable") != std::string::npos);
    Bytes big_endian = make_image();
    put<u64>(big_endian, 24, 1);
    REQUIRE(refusal_of(big_endian).find("big-endian") != std::string::npos);
}

TEST_CASE("a file cut short is refused as truncated, wherever it is cut") {
    const Bytes plain = make_image(50'000);
    for (const Bytes& whole :
         {gzip(plain), zboot(gzip(plain), "gzip"), zboot(zstd(plain), "zstd"), make_elf()}) {
        const std::size_t tail = whole.size() > 10'000 && whole[0] == 'M' ? 600 : 1;
        for (std::size_t size = whole.size() - tail; size > 64; size = size * 7 / 8) {
            const std::string text =
                refusal_of(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)));
            INFO(size << " of " << whole.size() << ": " << text);
            const bool says_truncated = text.find("truncated") != std::string::npos;
            REQUIRE(says_truncated);
        }
    }
}

TEST_CASE("the PE sections of an Image tell when its end is missing") {
    Bytes file = make_image(8192);
    put_text(file, 0, "MZ");
    put<u32>(file, 0x3C, 0x40);
    put_text(file, 0x40, std::string_view("PE\0\0", 4));
    put<u16>(file, 0x44, 0xAA64);
    put<u16>(file, 0x46, 1);  // one section
    put<u16>(file, 0x54, 0);  // no optional header
    put<u32>(file, 0x58 + 16, 4096);
    put<u32>(file, 0x58 + 20, 4096);
    REQUIRE(parse_kernel(file));
    file.resize(8191);
    REQUIRE(refusal_of(file).find("truncated: 8191 bytes of 8192") != std::string::npos);
}

TEST_CASE("decompression stops at its limit") {
    const Bytes plain(1 << 20);
    REQUIRE(decompress_gzip(gzip(plain), 1 << 20));
    REQUIRE_FALSE(decompress_gzip(gzip(plain), (1 << 20) - 1));
    REQUIRE(decompress_zstd(zstd(plain), 1 << 20));
    REQUIRE_FALSE(decompress_zstd(zstd(plain), (1 << 20) - 1));
}

TEST_CASE("damaged files of every kind are refused or loaded, never more") {
    Rng rng(42);
    const Bytes plain = make_image(3000);
    const Bytes seeds[] = {plain, gzip(plain), zboot(gzip(plain), "gzip"), zboot(zstd(plain), "zstd"),
                           make_elf()};
    unsigned refused = 0;
    for (int round = 0; round < 4000; ++round) {
        Bytes file = seeds[rng.below(std::size(seeds))];
        for (u64 n = 1 + rng.below(8); n != 0; --n) {
            // Headers are where damage matters.
            file[rng.below(std::min<u64>(file.size(), 200))] = static_cast<u8>(rng.next());
        }
        if (rng.below(4) == 0) {
            file.resize(rng.below(file.size()));
        }
        const auto image = parse_kernel(file);
        if (!image) {
            ++refused;
            continue;
        }
        REQUIRE(image->memory_bytes <= kMaxKernelBytes);
        for (const KernelSegment& segment : image->segments) {
            REQUIRE(segment.offset + segment.file_bytes <= image->bytes.size());
            REQUIRE(segment.file_bytes <= segment.memory_bytes);
        }
    }
    REQUIRE(refused > 1000);
    REQUIRE(refused < 4000);
}

TEST_CASE("read_file reads what is there and says why it cannot") {
    REQUIRE(read_file("/nonexistent/file", 100).error().text.find("No such file") != std::string::npos);
    REQUIRE(read_file("/", 100).error().text == "is a directory");
    REQUIRE(read_file("/proc/self/cmdline", 1 << 20)->size() > 4);  // a size of 0, and yet content
    REQUIRE_FALSE(read_file("/proc/self/exe", 1000));
}
