// virtio 9P transport: a folder of the host, shared with the guest (virtio 1.2, 5.13: device ID 9).
#pragma once

#include <string>
#include <vector>

#include "devices/p9/server.h"
#include "devices/virtio/device.h"
#include "devices/virtio/worker.h"

namespace vmm::devices::virtio {

struct FileShareOptions {
    std::string path;
    std::string tag;  // by which the guest mounts it: 1 to kMaxTag bytes
    bool read_only = false;
    Threading threading = Threading::own_thread;
};

class FileShare final : public VirtioDevice {
  public:
    static constexpr u32 kType = 9;
    static constexpr std::size_t kMaxTag = 128;

    /// Opens the folder.
    static Result<std::unique_ptr<FileShare>> open(const FileShareOptions& options);
    ~FileShare() override;

    std::string_view name() const override { return "virtio-9p"; }
    u32 type() const override { return kType; }
    u64 features() const override { return kFeatureMountTag; }
    unsigned queue_count() const override { return 1; }
    std::span<const u8> config() const override { return config_; }
    void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) override;
    void notify(unsigned queue) override;
    void stop() override;

  private:
    static constexpr u64 kFeatureMountTag = 1;

    FileShare(std::unique_ptr<p9::HostFolder> folder, const FileShareOptions& options);

    void work();
    void serve();

    p9::Server server_;
    std::vector<u8> config_;
    std::vector<u8> request_;
    Virtqueue* queue_ = nullptr;
    Notifier* notifier_ = nullptr;
    Chain chain_;
    Worker worker_;
};

}  // namespace vmm::devices::virtio
