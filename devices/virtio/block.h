// virtio block device on a raw image, a host block device or a qcow2 image (virtio 1.2, 5.2).
#pragma once

#include <array>
#include <memory>
#include <string>

#include "devices/disk/image.h"
#include "devices/virtio/device.h"
#include "vmm/base/result.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices::virtio {

struct BlockOptions {
    std::string path;
    bool read_only = false;
    bool copy_on_write = false;  // changes are kept elsewhere and are gone in the end
    bool raw = false;            // the bytes of the file, whatever they look like
    bool qcow2 = false;          // said to be one: then it may name backing files
    std::string id;  // answered to GET_ID, at most 20 bytes; empty: the file's name
    Threading threading = Threading::own_thread;
    bool io_uring = true;  // false, or not available on this host: pread/pwrite
};

class Block final : public VirtioDevice {
  public:
    static constexpr u32 kType = 2;
    static constexpr u64 kSectorSize = 512;

    /// Opens the image. An image whose size is not a multiple of 512 loses its tail. A qcow2 image is not written to: it must
    /// be read_only or copy_on_write. The file is locked as disk/disk_file.h says.
    static Result<std::unique_ptr<Block>> open(const BlockOptions& options);
    ~Block() override;

    /// Sectors of 512 bytes.
    u64 capacity() const { return capacity_; }
    bool read_only() const { return read_only_; }
    bool uses_io_uring() const;

    std::string_view name() const override { return "virtio-blk"; }
    u32 type() const override { return kType; }
    u64 features() const override;
    unsigned queue_count() const override { return 1; }
    std::span<const u8> config() const override { return config_; }
    void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) override;
    void notify(unsigned queue) override;
    void stop() override;

  private:
    class Engine;

    Block(UniqueFd fd, std::unique_ptr<disk::Image> image, u64 capacity, const BlockOptions& options);
    void fill_config();

    UniqueFd fd_;                         // what is read and written,
    std::unique_ptr<disk::Image> image_;  // ... unless there is an image
    const u64 capacity_;
    const bool read_only_;
    std::array<u8, 64> config_{};
    std::unique_ptr<Engine> engine_;
};

}  // namespace vmm::devices::virtio
