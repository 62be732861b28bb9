#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>

#include "devices/disk/image.h"

namespace vmm::devices::disk {

namespace {

constexpr u64 kBlock = 4096;
constexpr u64 kBlocksPerChunk = 4096;

int write_file(int fd, u64 offset, std::span<const u8> from) {
    while (!from.empty()) {
        const ssize_t n = ::pwrite(fd, from.data(), from.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? EIO : errno;
        }
        offset += static_cast<u64>(n);
        from = from.subspan(static_cast<std::size_t>(n));
    }
    return 0;
}

/// Blocks that have changed: a bit each, with memory only for where there are some.
class BlockSet {
  public:
    bool has(u64 block) const {
        const auto chunk = chunks_.find(block / kBlocksPerChunk);
        return chunk != chunks_.end() &&
               (chunk->second[block % kBlocksPerChunk / 64] >> (block % 64) & 1) != 0;
    }
    void add(u64 block) {
        chunks_[block / kBlocksPerChunk][block % kBlocksPerChunk / 64] |= u64{1} << (block % 64);
    }

  private:
    std::unordered_map<u64, std::array<u64, kBlocksPerChunk / 64>> chunks_;
};

class RawImage final : public Image {
  public:
    RawImage(UniqueFd fd, u64 size) : fd_(std::move(fd)), size_(size) {}
    u64 size() const override { return size_; }
    int read(u64 offset, std::span<u8> to) override { return read_file(fd_.get(), offset, to); }
    int write(u64, std::span<const u8>) override { return EROFS; }
    int zero(u64, u64) override { return EROFS; }
    int flush() override { return 0; }

  private:
    const UniqueFd fd_;
    const u64 size_;
};

class Overlay final : public Image {
  public:
    Overlay(std::unique_ptr<Image> base, UniqueFd fd) : base_(std::move(base)), fd_(std::move(fd)) {}

    u64 size() const override { return base_->size(); }

    int read(u64 offset, std::span<u8> to) override {
        while (!to.empty()) {
            // As far as blocks are all here, or all there.
            const bool changed = changed_.has(offset / kBlock);
            u64 end = (offset / kBlock + 1) * kBlock;
            while (end < offset + to.size() && changed_.has(end / kBlock) == changed) {
                end += kBlock;
            }
            const std::span<u8> piece = to.first(std::min<u64>(to.size(), end - offset));
            const int error = changed ? read_file(fd_.get(), offset, piece) : base_->read(offset, piece);
            if (error != 0) {
                return error;
            }
            offset += piece.size();
            to = to.subspan(piece.size());
        }
        return 0;
    }

    int write(u64 offset, std::span<const u8> from) override {
        while (!from.empty()) {
            const u64 within = offset % kBlock;
            // A block of which only a part is written is completed first; whole ones go in one piece.
            const bool part = within != 0 || from.size() < kBlock;
            const u64 size =
                part ? std::min<u64>(from.size(), kBlock - within) : from.size() / kBlock * kBlock;
            int error = part ? take_over(offset / kBlock) : 0;
            if (error == 0) {
                error = write_file(fd_.get(), offset, from.first(size));
            }
            if (error != 0) {
                return error;
            }
            for (u64 block = offset / kBlock; block * kBlock < offset + size; ++block) {
                changed_.add(block);
            }
            offset += size;
            from = from.subspan(size);
        }
        return 0;
    }

    int zero(u64 offset, u64 size) override {
        static constexpr std::array<u8, kBlock> kZeroes{};
        while (size != 0) {
            const u64 within = offset % kBlock;
            u64 piece = std::min<u64>(size, kBlock - within);
            if (within == 0 && size >= kBlock) {
                piece = size / kBlock * kBlock;
                if (const int error = punch(offset, piece); error != 0) {
                    return error;
                }
            } else if (const int error = write(offset, std::span(kZeroes).first(piece)); error != 0) {
                return error;
            }
            offset += piece;
            size -= piece;
        }
        return 0;
    }

    int flush() override { return 0; }  // nothing outlives this process

  private:
    int take_over(u64 block) {
        if (changed_.has(block)) {
            return 0;
        }
        std::array<u8, kBlock> content;
        const std::span<u8> piece = std::span(content).first(std::min(kBlock, size() - block * kBlock));
        const int error = base_->read(block * kBlock, piece);
        return error != 0 ? error : write_file(fd_.get(), block * kBlock, piece);
    }

    /// Whole blocks.
    int punch(u64 offset, u64 size) {
        const bool done = ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                      static_cast<off_t>(offset), static_cast<off_t>(size)) == 0;
        if (!done && errno != EOPNOTSUPP) {
            return errno;
        }
        static constexpr std::array<u8, kBlock> kZeroes{};
        for (u64 at = offset; at < offset + size; at += kBlock) {
            // What was never written is a hole already.
            if (!done && changed_.has(at / kBlock)) {
                if (const int error = write_file(fd_.get(), at, kZeroes); error != 0) {
                    return error;
                }
            }
            changed_.add(at / kBlock);
        }
        return 0;
    }

    const std::unique_ptr<Image> base_;
    const UniqueFd fd_;
    BlockSet changed_;
};

}  // namespace

int read_file(int fd, u64 offset, std::span<u8> to) {
    while (!to.empty()) {
        const ssize_t n = ::pread(fd, to.data(), to.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno;
        }
        if (n == 0) {
            std::memset(to.data(), 0, to.size());
            return 0;
        }
        offset += static_cast<u64>(n);
        to = to.subspan(static_cast<std::size_t>(n));
    }
    return 0;
}

std::unique_ptr<Image> make_raw_image(UniqueFd fd, u64 size) {
    return std::make_unique<RawImage>(std::move(fd), size);
}

Result<std::unique_ptr<Image>> make_overlay(std::unique_ptr<Image> base) {
    const char* given = std::getenv("TMPDIR");
    const std::string folder = given != nullptr && *given != '\0' ? given : "/var/tmp";
    UniqueFd fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!fd) {
        // Not every file system has files without names.
        std::string path = folder + "/vmm-overlay-XXXXXX";
        fd.reset(::mkostemp(path.data(), O_CLOEXEC));
        if (!fd) {
            return fail_errno(errno, "cannot make a file for changes in {} (set TMPDIR to another folder)",
                              folder);
        }
        ::unlink(path.c_str());
    }
    return std::unique_ptr<Image>(new Overlay(std::move(base), std::move(fd)));
}

}  // namespace vmm::devices::disk
