#include "vmm/kernel_image.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "vmm/base/bits.h"
#include "vmm/base/unique_fd.h"
#include "vmm/decompress.h"

namespace vmm {

namespace {

constexpr const char* kAccepted = "accepted: arm64 Image, Image.gz, EFI zboot (gzip, zstd), AArch64 ELF";

using Bytes = std::span<const u8>;

/// A little-endian T at `offset`; nullopt beyond the end.
template <class T>
std::optional<T> load(Bytes bytes, u64 offset) {
    if (offset > bytes.size() || sizeof(T) > bytes.size() - offset) {
        return std::nullopt;
    }
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
}

bool has_at(Bytes bytes, u64 offset, std::string_view magic) {
    return offset <= bytes.size() && magic.size() <= bytes.size() - offset &&
           std::memcmp(bytes.data() + offset, magic.data(), magic.size()) == 0;
}

// ── PE ─────────────────────────────────────────────────────────────────────────────────────────────────────

constexpr u16 kPeMachineArm64 = 0xAA64;

/// Offset of the PE signature, where `bytes` is a PE file.
std::optional<u32> pe_offset(Bytes bytes) {
    const std::optional<u32> offset = load<u32>(bytes, 0x3C);
    if (!has_at(bytes, 0, "MZ") || !offset || !has_at(bytes, *offset, std::string_view("PE\0\0", 4))) {
        return std::nullopt;
    }
    return offset;
}

/// The file size that the PE section table of an EFI-capable kernel asks for; 0 where there is none.
u64 pe_file_size(Bytes bytes) {
    const std::optional<u32> pe = pe_offset(bytes);
    if (!pe) {
        return 0;
    }
    const u16 sections = load<u16>(bytes, u64{*pe} + 6).value_or(0);
    const u16 optional_size = load<u16>(bytes, u64{*pe} + 20).value_or(0);
    u64 end = 0;
    for (unsigned i = 0; i < sections; ++i) {
        const u64 header = u64{*pe} + 24 + optional_size + u64{i} * 40;
        const u64 size = load<u32>(bytes, header + 16).value_or(0);
        const u64 offset = load<u32>(bytes, header + 20).value_or(0);
        end = std::max(end, offset + size);
    }
    return end;
}

// ── Image ──────────────────────────────────────────────────────────────────────────────────────────────────

constexpr u64 kImageMagicOffset = 56;
constexpr u64 kImageHeaderBytes = 64;

bool is_image(Bytes bytes) {
    return has_at(bytes, kImageMagicOffset, "ARM\x64");
}

Result<KernelImage> parse_image(std::vector<u8> file) {
    constexpr u64 kLegacyTextOffset = 0x80000;
    const Bytes bytes(file);
    if (bytes.size() < kImageHeaderBytes) {
        return fail("the Image is truncated: {} bytes, its header alone has {}", bytes.size(),
                    kImageHeaderBytes);
    }
    const u64 flags = *load<u64>(bytes, 24);
    if (bit(flags, 0)) {
        return fail("is a big-endian arm64 Image; {}", kAccepted);
    }
    const u64 wanted = pe_file_size(bytes);
    if (wanted > bytes.size()) {
        return fail("the Image is truncated: {} bytes of {}", bytes.size(), wanted);
    }
    KernelImage image;
    image.kind = KernelImage::Kind::image;
    image.description = "Image";
    const u64 image_size = *load<u64>(bytes, 16);
    image.text_offset = image_size == 0 ? kLegacyTextOffset : *load<u64>(bytes, 8);
    image.memory_bytes = std::max<u64>(image_size, bytes.size());
    if (image.text_offset >= kMaxKernelBytes || image.memory_bytes > kMaxKernelBytes) {
        return fail("the Image header is damaged: text offset {:#x}, size {:#x}", image.text_offset,
                    image.memory_bytes);
    }
    image.bytes = std::move(file);
    return image;
}

// ── ELF ────────────────────────────────────────────────────────────────────────────────────────────────────

Result<Elf64_Ehdr> elf_header(Bytes bytes) {
    const std::optional<Elf64_Ehdr> header = load<Elf64_Ehdr>(bytes, 0);
    if (!header) {
        return fail("the ELF file is truncated");
    }
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_machine != EM_AARCH64) {
        return fail("is an ELF file for another machine (e_machine {}, class {}); {}", header->e_machine,
                    header->e_ident[EI_CLASS], kAccepted);
    }
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN) {
        return fail("is an ELF file of type {}, not an executable; {}", header->e_type, kAccepted);
    }
    return *header;
}

/// The entry point is a virtual address; the segment that holds it says where that is in memory.
u64 physical_entry(u64 entry, const Elf64_Phdr& header) {
    return entry >= header.p_vaddr && entry - header.p_vaddr < header.p_memsz
               ? entry - header.p_vaddr + header.p_paddr
               : entry;
}

Result<KernelImage> parse_elf(std::vector<u8> file) {
    const Bytes bytes(file);
    VMM_TRY(const Elf64_Ehdr header, elf_header(bytes));
    KernelImage image;
    image.kind = KernelImage::Kind::elf;
    image.description = "ELF";
    image.entry = header.e_entry;
    for (unsigned i = 0; i < header.e_phnum; ++i) {
        const std::optional<Elf64_Phdr> segment =
            header.e_phoff > bytes.size()
                ? std::nullopt
                : load<Elf64_Phdr>(bytes, header.e_phoff + u64{i} * header.e_phentsize);
        if (!segment || header.e_phentsize < sizeof(Elf64_Phdr)) {
            return fail("the ELF file is truncated or damaged: no program header {}", i);
        }
        if (segment->p_type != PT_LOAD || segment->p_memsz == 0) {
            continue;
        }
        if (segment->p_offset > bytes.size() || segment->p_filesz > bytes.size() - segment->p_offset ||
            segment->p_filesz > segment->p_memsz) {
            return fail("the ELF file is truncated or damaged: segment {} wants {} bytes at {:#x} of {}", i,
                        segment->p_filesz, segment->p_offset, bytes.size());
        }
        if (header.e_entry >= segment->p_vaddr && header.e_entry - segment->p_vaddr < segment->p_memsz) {
            image.entry = physical_entry(header.e_entry, *segment);
        }
        image.segments.push_back({segment->p_paddr, segment->p_offset, segment->p_filesz, segment->p_memsz,
                                  segment->p_vaddr, (segment->p_flags & PF_X) != 0});
    }
    if (image.segments.empty()) {
        return fail("the ELF file has nothing to load; {}", kAccepted);
    }
    image.bytes = std::move(file);
    return image;
}

// ── EFI zboot ──────────────────────────────────────────────────────────────────────────────────────────────

bool is_zboot(Bytes bytes) {
    return has_at(bytes, 0, "MZ") && has_at(bytes, 4, "zimg");
}

struct Unpacked {
    std::vector<u8> bytes;
    std::string description;
};

Result<Unpacked> unpack_zboot(Bytes bytes) {
    const std::optional<u32> offset = load<u32>(bytes, 8);
    const std::optional<u32> size = load<u32>(bytes, 12);
    std::array<char, 33> type{};  // zero-terminated
    if (!offset || !size || bytes.size() < 24 + 32) {
        return fail("the EFI zboot image is truncated");
    }
    std::memcpy(type.data(), bytes.data() + 24, 32);
    if (*offset > bytes.size() || *size > bytes.size() - *offset) {
        return fail("the EFI zboot image is truncated: {} bytes of {}", bytes.size(), u64{*offset} + *size);
    }
    const Bytes payload = bytes.subspan(*offset, *size);
    const std::string_view name(type.data());
    if (name == "gzip") {
        VMM_TRY(std::vector<u8> image, decompress_gzip(payload, kMaxKernelBytes));
        return Unpacked{std::move(image), "EFI zboot (gzip)"};
    }
    if (name.starts_with("zstd")) {
        VMM_TRY(std::vector<u8> image, decompress_zstd(payload, kMaxKernelBytes));
        return Unpacked{std::move(image), "EFI zboot (zstd)"};
    }
    std::string printable;
    std::copy_if(name.begin(), name.end(), std::back_inserter(printable),
                 [](char c) { return c > ' ' && c < 0x7F; });
    return fail("is an EFI zboot image compressed with '{}'; accepted: gzip, zstd", printable);
}

// ── What else a file may be ────────────────────────────────────────────────────────────────────────────────

std::string name_of_stranger(Bytes bytes) {
    struct Magic {
        u64 offset;
        std::string_view bytes;
        const char* name;
    };
    static constexpr Magic kMagics[] = {
        {0x202, "HdrS", "an x86 Linux kernel"},
        {0x38, "RISCV\0\0\0", "a RISC-V Linux kernel"},
        {0x38, "RSC\x05", "a RISC-V Linux kernel"},
        {0x24, "\x18\x28\x6f\x01", "a 32-bit Arm Linux kernel"},
        {0, "\x27\x05\x19\x56", "a U-Boot image"},
        {0, "\xd0\x0d\xfe\xed", "a flattened device tree (or a FIT image)"},
        {0,
         "\xfd"
         "7zXZ",
         "xz-compressed"},
        {0, "\x28\xb5\x2f\xfd", "zstd-compressed"},
        {0, "BZh", "bzip2-compressed"},
        {0, "\x04\x22\x4d\x18", "lz4-compressed"},
        {0, "\x02\x21\x4c\x18", "lz4-compressed"},
        {0, "070701", "a cpio archive (an initrd?)"},
    };
    for (const Magic& magic : kMagics) {
        if (has_at(bytes, magic.offset, magic.bytes)) {
            return magic.name;
        }
    }
    if (const std::optional<u32> pe = pe_offset(bytes)) {
        const u16 machine = load<u16>(bytes, u64{*pe} + 4).value_or(0);
        if (machine != kPeMachineArm64) {
            return fmt::format("a PE file for machine {:#06x}", machine);
        }
        return "an EFI program without the arm64 Image magic";
    }
    return "no kernel that is known here";
}

Result<KernelImage> parse_plain(std::vector<u8> file) {
    if (is_image(file)) {
        return parse_image(std::move(file));
    }
    if (has_at(file, 0, ELFMAG)) {
        return parse_elf(std::move(file));
    }
    if (file.empty()) {
        return fail("is empty; {}", kAccepted);
    }
    if (file.size() < kImageHeaderBytes) {
        return fail("is truncated: only {} bytes; {}", file.size(), kAccepted);
    }
    return fail("is {}; {}", name_of_stranger(file), kAccepted);
}

}  // namespace

Result<KernelImage> parse_kernel(std::vector<u8> file) {
    std::string wrapping;
    // A gzip'd zboot image is the deepest nesting anyone makes.
    for (int depth = 0; depth < 2; ++depth) {
        if (has_at(file, 0, "\x1f\x8b")) {
            VMM_TRY(file, decompress_gzip(file, kMaxKernelBytes));
            wrapping += "gzip, ";
        } else if (is_zboot(file)) {
            VMM_TRY(Unpacked unpacked, unpack_zboot(file));
            file = std::move(unpacked.bytes);
            wrapping += unpacked.description + ", ";
        }
    }
    VMM_TRY(KernelImage image, parse_plain(std::move(file)));
    image.description = wrapping + image.description;
    return image;
}

Result<std::vector<u8>> read_file(const std::string& path, u64 limit) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) {
        return fail_errno(errno, "cannot open");
    }
    if (S_ISDIR(status.st_mode)) {
        return fail("is a directory");
    }
    const bool regular = S_ISREG(status.st_mode);
    if (regular && static_cast<u64>(status.st_size) > limit) {
        return fail("has {} bytes; at most {} MiB are accepted", status.st_size, limit >> 20);
    }
    // One byte more than the size shows whether the file has grown; other kinds of files are read in steps.
    constexpr std::size_t kStep = std::size_t{1} << 20;
    std::vector<u8> bytes(regular ? static_cast<std::size_t>(status.st_size) + 1 : kStep);
    std::size_t used = 0;
    for (;;) {
        const ssize_t got = ::read(fd.get(), bytes.data() + used, bytes.size() - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_errno(errno, "cannot read");
        }
        used += static_cast<std::size_t>(got);
        if (used > limit) {
            return fail("has more than {} MiB, which is the most accepted", limit >> 20);
        }
        if (got == 0) {
            break;
        }
        if (used == bytes.size()) {
            bytes.resize(bytes.size() * 2);
        }
    }
    bytes.resize(used);
    return bytes;
}

}  // namespace vmm
