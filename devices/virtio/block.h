// virtio block device on a raw image or a host block device (virtio 1.2, 5.2).
#pragma once

#include <array>
#include <memory>
#include <string>

#include "devices/virtio/device.h"
#include "vmm/base/result.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices::virtio {

struct BlockOptions {
    std::string path;
    bool read_only = false;
    std::string id;  // answered to GET_ID, at most 20 bytes; empty: the file's name
    Threading threading = Threading::own_thread;
    bool io_uring = true;  // false, or not available on this host: pread/pwrite
};

class Block final : public VirtioDevice {
  public:
    static constexpr u32 kType = 2;
    static constexpr u64 kSectorSize = 512;

    /// Opens the image. An image whose size is not a multiple of 512 loses its tail.
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

    Block(UniqueFd fd, u64 capacity, const BlockOptions& options);
    void fill_config();

    UniqueFd fd_;
    const u64 capacity_;
    const bool read_only_;
    std::array<u8, 64> config_{};
    std::unique_ptr<Engine> engine_;
};

}  // namespace vmm::devices::virtio
