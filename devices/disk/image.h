// What a virtual disk reads from and writes to where that is not simply a file of the same bytes.
#pragma once

#include <memory>
#include <span>

#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices::disk {

/// Used by one thread at a time. Ranges lie within size(); operations return 0 or a positive errno.
class Image {
  public:
    Image() = default;
    Image(const Image&) = delete;
    Image& operator=(const Image&) = delete;
    virtual ~Image() = default;

    virtual u64 size() const = 0;  // bytes
    virtual int read(u64 offset, std::span<u8> to) = 0;
    virtual int write(u64 offset, std::span<const u8> from) = 0;
    /// The range reads as zeros afterwards.
    virtual int zero(u64 offset, u64 size) = 0;
    virtual int flush() = 0;
};

/// Reads all of `to`, with zeros for what lies behind the file's end; 0 or an errno.
int read_file(int fd, u64 offset, std::span<u8> to);

/// The bytes of a file as they are, to be read only.
std::unique_ptr<Image> make_raw_image(UniqueFd fd, u64 size);

/// `base` with changes kept in a file without a name, in $TMPDIR or /var/tmp; they are gone when the image is.
Result<std::unique_ptr<Image>> make_overlay(std::unique_ptr<Image> base);

}  // namespace vmm::devices::disk
