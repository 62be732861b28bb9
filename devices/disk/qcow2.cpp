#include "devices/disk/qcow2.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "vmm/base/bits.h"

namespace vmm::devices::disk {

namespace {

constexpr u32 kMagic = 0x5146'49FB;  // "QFI\xFB"

// Offsets in the header; all numbers are big-endian.
enum HeaderAt : std::size_t {
    kVersionAt = 4,
    kBackingAt = 8,
    kBackingSizeAt = 16,
    kClusterBitsAt = 20,
    kSizeAt = 24,
    kEncryptionAt = 32,
    kL1SizeAt = 36,
    kL1TableAt = 40,
    kIncompatibleAt = 72,
    kHeaderLengthAt = 100,
    kCompressionAt = 104,
};
constexpr std::size_t kHeaderBytes = 112;
constexpr u32 kVersion2Header = 72;

// Features without which the image must not be used.
constexpr u64 kDirty = 1;  // reference counts are stale, which a reader does not mind
constexpr u64 kCorrupt = 2;
constexpr u64 kExternalData = 4;
constexpr u64 kOtherCompression = 8;
constexpr u64 kExtendedL2 = 16;

constexpr unsigned kMinClusterBits = 9;
constexpr unsigned kMaxClusterBits = 21;
constexpr u64 kMaxL1Entries = (u64{32} << 20) / 8;

// Table entries.
constexpr u64 kOffsetMask = 0x00FF'FFFF'FFFF'FE00;
constexpr u64 kCompressed = u64{1} << 62;
constexpr u64 kReadsAsZero = 1;

// What may follow the header: extensions of a type, a size and so many bytes, each from a multiple of 8 on.
constexpr u32 kBackingFormat = 0xE279'2ACA;
constexpr std::size_t kMaxBackingName = 1023;

constexpr u64 kCacheBytes = u64{8} << 20;  // for L2 tables
constexpr u64 kSector = 512;

enum class Compression : u8 { deflate = 0, zstd = 1 };

template <class T>
T big_endian(const u8* from) {
    T value = 0;
    for (std::size_t n = 0; n < sizeof(T); ++n) {
        value = static_cast<T>(value << 8 | from[n]);
    }
    return value;
}

struct Geometry {
    u64 size = 0;
    unsigned version = 0;
    unsigned cluster_bits = 0;
    u64 l1_entries = 0;
    u64 l1_offset = 0;
    Compression compression = Compression::deflate;

    u64 cluster_size() const { return u64{1} << cluster_bits; }
    u64 entries_per_table() const { return cluster_size() / 8; }
};

/// Fills all of `to` from compressed bytes, which may be followed by others.
bool inflate_all(std::span<const u8> from, std::span<u8> to) {
    constexpr int kRawWindow = -12;
    z_stream stream{};
    if (::inflateInit2(&stream, kRawWindow) != Z_OK) {
        return false;
    }
    stream.next_in = const_cast<u8*>(from.data());
    stream.avail_in = static_cast<uInt>(from.size());
    stream.next_out = to.data();
    stream.avail_out = static_cast<uInt>(to.size());
    const int status = ::inflate(&stream, Z_FINISH);
    ::inflateEnd(&stream);
    // The end of the stream may not have been reached when there is no more room.
    return (status == Z_STREAM_END || status == Z_BUF_ERROR) && stream.avail_out == 0;
}

bool unzstd_all(std::span<const u8> from, std::span<u8> to) {
    const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(::ZSTD_createDCtx(), ::ZSTD_freeDCtx);
    if (context == nullptr) {
        return false;
    }
    ZSTD_inBuffer in{from.data(), from.size(), 0};
    ZSTD_outBuffer out{to.data(), to.size(), 0};
    while (out.pos < out.size) {
        const std::size_t in_before = in.pos;
        const std::size_t out_before = out.pos;
        const std::size_t status = ::ZSTD_decompressStream(context.get(), &out, &in);
        if (::ZSTD_isError(status) != 0 || (in.pos == in_before && out.pos == out_before)) {
            return false;
        }
    }
    return true;
}

class Qcow2 final : public Image {
  public:
    /// `parent` has what is not here; nullptr: that is zeros.
    Qcow2(UniqueFd fd, u64 file_size, const Geometry& geometry, std::vector<u64> l1, std::unique_ptr<Image> parent)
        : fd_(std::move(fd)),
          file_size_(file_size),
          geometry_(geometry),
          l1_(std::move(l1)),
          parent_(std::move(parent)) {}

    u64 size() const override { return geometry_.size; }

    int read(u64 offset, std::span<u8> to) override {
        while (!to.empty()) {
            const u64 within = offset & (geometry_.cluster_size() - 1);
            const std::span<u8> piece = to.first(std::min<u64>(to.size(), geometry_.cluster_size() - within));
            if (const int error = read_cluster(offset >> geometry_.cluster_bits, within, piece); error != 0) {
                return error;
            }
            offset += piece.size();
            to = to.subspan(piece.size());
        }
        return 0;
    }

    int write(u64, std::span<const u8>) override { return EROFS; }
    int zero(u64, u64) override { return EROFS; }
    int flush() override { return 0; }

  private:
    /// The entry for a cluster of the disk; 0: nothing there.
    int find_entry(u64 cluster, u64& entry) {
        entry = 0;
        const u64 table_index = cluster / geometry_.entries_per_table();
        if (table_index >= l1_.size()) {
            return 0;
        }
        const u64 table = l1_[table_index] & kOffsetMask;
        if (table == 0) {
            return 0;
        }
        auto cached = tables_.find(table);
        if (cached == tables_.end()) {
            if (!is_aligned(table, geometry_.cluster_size()) ||
                !within_file(table, geometry_.cluster_size())) {
                return EIO;
            }
            std::vector<u8> content(geometry_.cluster_size());
            if (const int error = read_file(fd_.get(), table, content); error != 0) {
                return error;
            }
            if (tables_.size() >= std::max<u64>(4, kCacheBytes >> geometry_.cluster_bits)) {
                tables_.erase(tables_.begin());
            }
            cached = tables_.emplace(table, std::move(content)).first;
        }
        entry = big_endian<u64>(cached->second.data() + cluster % geometry_.entries_per_table() * 8);
        return 0;
    }

    int read_cluster(u64 cluster, u64 within, std::span<u8> to) {
        u64 entry = 0;
        if (const int error = find_entry(cluster, entry); error != 0) {
            return error;
        }
        if ((entry & kCompressed) != 0) {
            return read_compressed(entry, within, to);
        }
        const u64 offset = entry & kOffsetMask;
        if (geometry_.version >= 3 && (entry & kReadsAsZero) != 0) {
            std::memset(to.data(), 0, to.size());
            return 0;
        }
        if (offset == 0) {
            return read_parent((cluster << geometry_.cluster_bits) + within, to);
        }
        // The file may end within its last cluster, but a cluster does not begin behind it.
        if (!is_aligned(offset, geometry_.cluster_size()) || offset >= file_size_) {
            return EIO;
        }
        return read_file(fd_.get(), offset + within, to);
    }

    int read_parent(u64 offset, std::span<u8> to) {
        const u64 end = parent_ != nullptr ? parent_->size() : 0;  // it may well be smaller
        const std::size_t there = std::min<u64>(to.size(), end - std::min(end, offset));
        std::memset(to.data() + there, 0, to.size() - there);
        return there != 0 ? parent_->read(offset, to.first(there)) : 0;
    }

    int read_compressed(u64 entry, u64 within, std::span<u8> to) {
        if (entry != unpacked_entry_) {
            const unsigned offset_bits = 62 - (geometry_.cluster_bits - 8);
            const u64 offset = bits(entry, offset_bits - 1, 0);
            const u64 sectors = bits(entry, 61, offset_bits) + 1;
            if (offset >= file_size_) {
                return EIO;
            }
            const u64 size = std::min(sectors * kSector - offset % kSector, file_size_ - offset);
            packed_.resize(size);
            unpacked_.resize(geometry_.cluster_size());
            unpacked_entry_ = 0;
            if (const int error = read_file(fd_.get(), offset, packed_); error != 0) {
                return error;
            }
            const bool good = geometry_.compression == Compression::zstd ? unzstd_all(packed_, unpacked_)
                                                                         : inflate_all(packed_, unpacked_);
            if (!good) {
                return EIO;
            }
            unpacked_entry_ = entry;
        }
        std::memcpy(to.data(), unpacked_.data() + within, to.size());
        return 0;
    }

    bool within_file(u64 offset, u64 size) const {
        return offset <= file_size_ && size <= file_size_ - offset;
    }

    const UniqueFd fd_;
    const u64 file_size_;
    const Geometry geometry_;
    const std::vector<u64> l1_;
    const std::unique_ptr<Image> parent_;
    std::unordered_map<u64, std::vector<u8>> tables_;  // by their offset in the file
    std::vector<u8> packed_;
    std::vector<u8> unpacked_;  // the cluster that was unpacked last
    u64 unpacked_entry_ = 0;
};

Result<> check_features(const std::string& name, u64 incompatible) {
    struct Refused {
        u64 feature;
        const char* text;
    };
    static constexpr Refused kRefused[] = {{kCorrupt, "is marked as corrupt (see 'qemu-img check')"},
                                           {kExternalData, "keeps its data in another file"},
                                           {kExtendedL2, "has extended L2 entries"}};
    for (const Refused& refused : kRefused) {
        if ((incompatible & refused.feature) != 0) {
            return fail("{}: this qcow2 image {}", name, refused.text);
        }
    }
    if ((incompatible & ~(kDirty | kOtherCompression)) != 0) {
        return fail("{}: this qcow2 image has unknown features ({:#x})", name, incompatible);
    }
    return {};
}

Result<Geometry> parse_header(const std::string& name, std::span<const u8, kHeaderBytes> header) {
    Geometry geometry;
    geometry.version = big_endian<u32>(&header[kVersionAt]);
    if (geometry.version != 2 && geometry.version != 3) {
        return fail("{}: qcow2 version {} is not known; must be 2 or 3", name, geometry.version);
    }
    if (big_endian<u32>(&header[kEncryptionAt]) != 0) {
        return fail("{}: this qcow2 image is encrypted", name);
    }
    if (geometry.version >= 3) {
        const u64 incompatible = big_endian<u64>(&header[kIncompatibleAt]);
        VMM_TRY_VOID(check_features(name, incompatible));
        if ((incompatible & kOtherCompression) != 0) {
            const bool has_type = big_endian<u32>(&header[kHeaderLengthAt]) > kCompressionAt;
            if (!has_type || header[kCompressionAt] != static_cast<u8>(Compression::zstd)) {
                return fail("{}: this qcow2 image is compressed in an unknown way", name);
            }
            geometry.compression = Compression::zstd;
        }
    }
    geometry.cluster_bits = big_endian<u32>(&header[kClusterBitsAt]);
    geometry.size = big_endian<u64>(&header[kSizeAt]);
    geometry.l1_entries = big_endian<u32>(&header[kL1SizeAt]);
    geometry.l1_offset = big_endian<u64>(&header[kL1TableAt]);
    if (geometry.cluster_bits < kMinClusterBits || geometry.cluster_bits > kMaxClusterBits) {
        return fail("{}: damaged qcow2 header: clusters of 2^{} bytes", name, geometry.cluster_bits);
    }
    const unsigned table_bits = 2 * geometry.cluster_bits - 3;  // what one L2 table maps
    const u64 needed = (geometry.size >> table_bits) + ((geometry.size & ones(table_bits)) != 0 ? 1 : 0);
    if (geometry.l1_entries < needed || geometry.l1_entries > kMaxL1Entries ||
        !is_aligned(geometry.l1_offset, geometry.cluster_size())) {
        return fail("{}: damaged qcow2 header: {} L1 entries at {:#x} for {} bytes", name,
                    geometry.l1_entries, geometry.l1_offset, geometry.size);
    }
    return geometry;
}

Result<std::vector<u64>> read_l1(int fd, u64 file_size, const Geometry& geometry, const std::string& name) {
    if (geometry.l1_offset > file_size || geometry.l1_entries * 8 > file_size - geometry.l1_offset) {
        return fail("{}: damaged qcow2 image: its L1 table lies behind its end", name);
    }
    std::vector<u8> raw(geometry.l1_entries * 8);
    if (const int error = read_file(fd, geometry.l1_offset, raw); error != 0) {
        return fail_errno(error, "{}: cannot read the L1 table", name);
    }
    std::vector<u64> l1(geometry.l1_entries);
    for (std::size_t n = 0; n < l1.size(); ++n) {
        l1[n] = big_endian<u64>(raw.data() + n * 8);
    }
    return l1;
}

/// What the header's extension of that type holds; empty where there is none. `cluster`: the first of the file.
std::string find_extension(std::span<const u8> cluster, std::size_t at, u32 type) {
    constexpr std::size_t kExtensionHeader = 8;
    while (at + kExtensionHeader <= cluster.size()) {
        const u32 found = big_endian<u32>(&cluster[at]);
        const std::size_t size = big_endian<u32>(&cluster[at + 4]);
        at += kExtensionHeader;
        if (found == 0 || size > cluster.size() - at) {
            break;
        }
        if (found == type) {
            return {cluster.begin() + static_cast<std::ptrdiff_t>(at),
                    cluster.begin() + static_cast<std::ptrdiff_t>(at + size)};
        }
        at += (size + 7) & ~std::size_t{7};
    }
    return {};
}

Result<BackingReference> read_reference(int fd, const Geometry& geometry, std::span<const u8, kHeaderBytes> header,
                                        const std::string& name) {
    const u64 offset = big_endian<u64>(&header[kBackingAt]);
    const std::size_t size = big_endian<u32>(&header[kBackingSizeAt]);
    if (offset == 0 || size == 0) {
        return {};
    }
    std::vector<u8> cluster(geometry.cluster_size());
    if (size > kMaxBackingName || offset > cluster.size() || size > cluster.size() - offset) {
        return fail("{}: damaged qcow2 header: a backing file's name of {} bytes at {:#x}", name, size, offset);
    }
    if (const int error = read_file(fd, 0, cluster); error != 0) {
        return fail_errno(error, "{}: cannot read the name of its backing file", name);
    }
    BackingReference reference;
    reference.file.assign(reinterpret_cast<const char*>(&cluster[offset]), size);
    if (reference.file.find('\0') != std::string::npos) {
        return fail("{}: damaged qcow2 header: the backing file's name has a zero in it", name);
    }
    const std::size_t extensions = geometry.version >= 3 ? big_endian<u32>(&header[kHeaderLengthAt]) : kVersion2Header;
    reference.format = find_extension(cluster, extensions, kBackingFormat);
    return reference;
}

}  // namespace

bool looks_like_qcow2(int fd) {
    std::array<u8, 4> magic{};
    return ::pread(fd, magic.data(), magic.size(), 0) == static_cast<ssize_t>(magic.size()) &&
           big_endian<u32>(magic.data()) == kMagic;
}

Result<std::unique_ptr<Image>> open_qcow2(UniqueFd fd, const std::string& path, bool declared) {
    return open_qcow2(std::move(fd), {.name = fmt::format("disk {}", path), .path = path, .declared = declared, .layers = {}});
}

Result<std::unique_ptr<Image>> open_qcow2(UniqueFd fd, Lineage lineage) {
    const std::string& name = lineage.name;
    VMM_TRY_VOID(lineage.add(fd.get()));
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) {
        return fail_errno(errno, "{}: cannot examine it", name);
    }
    const u64 file_size = S_ISREG(info.st_mode) ? static_cast<u64>(info.st_size) : ~u64{0} >> 1;
    std::array<u8, kHeaderBytes> header{};
    if (const int error = read_file(fd.get(), 0, header); error != 0) {
        return fail_errno(error, "{}: cannot read the qcow2 header", name);
    }
    if (file_size < kVersion2Header) {
        return fail("{}: damaged qcow2 image: {} bytes are less than a header", name, file_size);
    }
    if (!looks_like_qcow2(fd.get())) {
        return fail("{}: is no qcow2 image", name);
    }
    VMM_TRY(const Geometry geometry, parse_header(name, header));
    VMM_TRY(std::vector<u64> l1, read_l1(fd.get(), file_size, geometry, name));
    VMM_TRY(const BackingReference reference, read_reference(fd.get(), geometry, header, name));
    std::unique_ptr<Image> parent;
    if (!reference.file.empty() && !lineage.declared) {
        return fail("{}: names a backing file, and only its content says that it is qcow2: say so with ',qcow2', or ',raw' if "
                    "it is a disk that a guest has written",
                    name);
    }
    if (!reference.file.empty()) {
        VMM_TRY(parent, open_backing(reference, std::move(lineage)));
    }
    return std::unique_ptr<Image>(new Qcow2(std::move(fd), file_size, geometry, std::move(l1), std::move(parent)));
}

}  // namespace vmm::devices::disk
