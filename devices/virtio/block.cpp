#include "devices/virtio/block.h"

#include <cstring>
#include <filesystem>

#include "devices/disk/disk_file.h"
#include "devices/disk/qcow2.h"
#include "devices/virtio/block_engine.h"
#include "vmm/base/bits.h"
#include "vmm/base/log.h"

namespace vmm::devices::virtio {

namespace {

// Feature bits (virtio 1.2, 5.2.3).
constexpr u64 kSegMax = u64{1} << 2;
constexpr u64 kReadOnly = u64{1} << 5;
constexpr u64 kBlkSize = u64{1} << 6;
constexpr u64 kFlushFeature = u64{1} << 9;
constexpr u64 kTopology = u64{1} << 10;
constexpr u64 kDiscardFeature = u64{1} << 13;
constexpr u64 kWriteZeroesFeature = u64{1} << 14;

// Offsets in the configuration space (virtio 1.2, 5.2.4).
constexpr std::size_t kCapacityAt = 0;
constexpr std::size_t kSegMaxAt = 12;
constexpr std::size_t kBlkSizeAt = 20;
constexpr std::size_t kPhysicalExponentAt = 24;
constexpr std::size_t kMaxDiscardSectorsAt = 36;
constexpr std::size_t kMaxDiscardSegAt = 40;
constexpr std::size_t kDiscardAlignmentAt = 44;
constexpr std::size_t kMaxWriteZeroesSectorsAt = 48;
constexpr std::size_t kMaxWriteZeroesSegAt = 52;
constexpr std::size_t kWriteZeroesMayUnmapAt = 56;

constexpr u32 kMaxRangeSectors = 0x20'0000;  // 1 GiB for each range

/// What stands between the guest and the file; nullptr where it is the file itself. Takes the file where it needs it.
Result<std::unique_ptr<disk::Image>> open_image(disk::DiskFile& file, const BlockOptions& options) {
    std::unique_ptr<disk::Image> image;
    if (options.qcow2 || (!options.raw && disk::looks_like_qcow2(file.fd.get()))) {
        if (!options.read_only && !options.copy_on_write) {
            return fail("disk {}: qcow2 images can be read only: add ',ro', or ',cow' to drop what the guest writes in the "
                        "end, or ',raw' if it is none",
                        options.path);
        }
        VMM_TRY(image, disk::open_qcow2(std::move(file.fd), options.path, options.qcow2));
    }
    if (options.copy_on_write) {
        if (image == nullptr) {
            image = disk::make_raw_image(std::move(file.fd), file.size);
        }
        VMM_TRY(image, disk::make_overlay(std::move(image)));
    }
    return image;
}

}  // namespace

Result<std::unique_ptr<Block>> Block::open(const BlockOptions& options) {
    const bool writes = !options.read_only && !options.copy_on_write;
    VMM_TRY(disk::DiskFile file, disk::open_disk_file(options.path, writes, fmt::format("disk {}", options.path)));
    VMM_TRY(auto image, open_image(file, options));
    u64 size = file.size;
    if (image != nullptr) {
        size = image->size();
    }
    if (size < kSectorSize) {
        return fail("disk {}: {} bytes are less than one sector", options.path, size);
    }
    if (size % kSectorSize != 0) {
        log("virtio").warn("disk {}: the last {} bytes do not fill a sector and stay out of reach", options.path,
                           size % kSectorSize);
    }
    BlockOptions complete = options;
    if (complete.id.empty()) {
        complete.id = std::filesystem::path(options.path).filename().string();
    }
    return std::unique_ptr<Block>(new Block(std::move(file.fd), std::move(image), size / kSectorSize, complete));
}

Block::Block(UniqueFd fd, std::unique_ptr<disk::Image> image, u64 capacity, const BlockOptions& options)
    : fd_(std::move(fd)),
      image_(std::move(image)),
      capacity_(capacity),
      read_only_(options.read_only),
      engine_(std::make_unique<Engine>(fd_.get(), image_.get(), capacity, options)) {
    fill_config();
}

Block::~Block() = default;

bool Block::uses_io_uring() const { return engine_->uses_io_uring(); }

u64 Block::features() const {
    constexpr u64 kAlways = kSegMax | kBlkSize | kFlushFeature | kTopology;
    return kAlways | (read_only_ ? kReadOnly : kDiscardFeature | kWriteZeroesFeature);
}

void Block::fill_config() {
    const auto put = [this](std::size_t at, auto value) { std::memcpy(&config_[at], &value, sizeof(value)); };
    put(kCapacityAt, capacity_);
    put(kSegMaxAt, u32{254});  // a ring of 256 less header and status
    put(kBlkSizeAt, static_cast<u32>(kSectorSize));
    put(kPhysicalExponentAt, u8{3});  // 4 KiB
    put(kMaxDiscardSectorsAt, kMaxRangeSectors);
    put(kMaxDiscardSegAt, Engine::kMaxRanges);
    put(kDiscardAlignmentAt, u32{8});
    put(kMaxWriteZeroesSectorsAt, kMaxRangeSectors);
    put(kMaxWriteZeroesSegAt, Engine::kMaxRanges);
    put(kWriteZeroesMayUnmapAt, u8{1});
}

void Block::start(std::span<Virtqueue> queues, u64, Notifier& notifier) { engine_->start(queues[0], notifier); }

void Block::notify(unsigned) { engine_->notify(); }

void Block::stop() { engine_->stop(); }

}  // namespace vmm::devices::virtio
