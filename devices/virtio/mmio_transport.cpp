#include "devices/virtio/mmio_transport.h"

#include <algorithm>
#include <cstring>

#include "vmm/base/bits.h"
#include "vmm/base/check.h"

namespace vmm::devices::virtio {

namespace {

// (virtio 1.2, 4.2.2)
enum Register : u64 {
    kMagicValue = 0x000,
    kVersion = 0x004,
    kDeviceId = 0x008,
    kVendorId = 0x00C,
    kDeviceFeatures = 0x010,
    kDeviceFeaturesSel = 0x014,
    kDriverFeatures = 0x020,
    kDriverFeaturesSel = 0x024,
    kQueueSel = 0x030,
    kQueueNumMax = 0x034,
    kQueueNum = 0x038,
    kQueueReady = 0x044,
    kQueueNotify = 0x050,
    kInterruptStatus = 0x060,
    kInterruptAck = 0x064,
    kStatus = 0x070,
    kQueueDescLow = 0x080,
    kQueueDescHigh = 0x084,
    kQueueDriverLow = 0x090,
    kQueueDriverHigh = 0x094,
    kQueueDeviceLow = 0x0A0,
    kQueueDeviceHigh = 0x0A4,
    kShmLenLow = 0x0B0,
    kShmBaseHigh = 0x0BC,
    kConfigGeneration = 0x0FC,
    kConfig = 0x100,
};

constexpr u32 kMagic = 0x7472'6976;  // "virt"

// Device status.
constexpr u32 kDriverOk = 4;
constexpr u32 kFeaturesOk = 8;
constexpr u32 kNeedsReset = 64;

// InterruptStatus.
constexpr u32 kUsedBuffer = 1;
constexpr u32 kConfigChange = 2;

constexpr u64 kTransportFeatures = kFeatureIndirect | kFeatureEventIdx | kFeatureVersion1;

}  // namespace

MmioTransport::MmioTransport(std::unique_ptr<VirtioDevice> device, const mm::GuestRam& ram, arch::IrqLine& irq)
    : device_(std::move(device)),
      ram_(ram),
      irq_(irq),
      queue_states_(device_->queue_count()),
      queues_(device_->queue_count()) {
    for (QueueState& queue : queue_states_) {
        queue.layout.size = kQueueMax;
    }
}

MmioTransport::~MmioTransport() { stop(); }

u64 MmioTransport::offered() const { return device_->features() | kTransportFeatures; }

u64 MmioTransport::read(const Access& access) {
    const std::lock_guard lock(mutex_);
    if (access.offset >= kConfig) {
        return read_config(access);
    }
    return access.size == 4 && is_aligned(access.offset, 4) ? read_register(access.offset) : 0;
}

void MmioTransport::write(const Access& access, u64 value) {
    const std::lock_guard lock(mutex_);
    if (access.offset >= kConfig) {
        u8 bytes[sizeof(value)];
        std::memcpy(bytes, &value, sizeof(value));
        device_->write_config(access.offset - kConfig, {bytes, std::min<std::size_t>(access.size, sizeof(bytes))});
    } else if ( access.size == 4 && is_aligned(access.offset, 4)) {
        write_register(access.offset, static_cast<u32>(value));
    }
}

void MmioTransport::reset() {
    const std::lock_guard lock(mutex_);
    write_status(0);
}

u64 MmioTransport::read_config(const Access& access) const {
    const std::span<const u8> config = device_->config();
    u64 value = 0;
    for (unsigned n = 0; n < access.size; ++n) {
        const u64 at = access.offset - kConfig + n;
        if (at < config.size()) {
            value |= u64{config[at]} << (8 * n);
        }
    }
    return value;
}

u32 MmioTransport::read_register(u64 offset) {
    switch (offset) {
        case kMagicValue: return kMagic;
        case kVersion: return 2;
        case kDeviceId: return device_->type();
        case kVendorId: return kVendor;
        case kDeviceFeatures:
            return device_features_sel_ < 2 ? static_cast<u32>(offered() >> (32 * device_features_sel_)) : 0;
        case kQueueNumMax: return queue_sel_ < queue_states_.size() ? kQueueMax : 0;
        case kQueueReady: return queue_sel_ < queue_states_.size() && queue_states_[queue_sel_].ready;
        case kInterruptStatus: {
            const std::lock_guard lock(irq_mutex_);
            return interrupt_status_;
        }
        case kStatus: return status_.load(std::memory_order_relaxed);
        case kConfigGeneration: return config_generation_.load(std::memory_order_relaxed);
        default:
            // There is no shared memory region: its length and base read as all ones.
            return offset >= kShmLenLow && offset <= kShmBaseHigh ? ~u32{0} : 0;
    }
}

void MmioTransport::write_register(u64 offset, u32 value) {
    switch (offset) {
        case kDeviceFeaturesSel: device_features_sel_ = value; break;
        case kDriverFeaturesSel: driver_features_sel_ = value; break;
        case kDriverFeatures:
            if (driver_features_sel_ < 2 && (status_.load(std::memory_order_relaxed) & kFeaturesOk) == 0) {
                const unsigned shift = 32 * driver_features_sel_;
                driver_features_ = deposit(driver_features_, shift + 31, shift, value);
            }
            break;
        case kQueueSel: queue_sel_ = value; break;
        case kQueueNotify:
            if (started_ && value < queues_.size() && queues_[value].ready()) {
                device_->notify(value);
            }
            break;
        case kInterruptAck: {
            const std::lock_guard lock(irq_mutex_);
            interrupt_status_ &= ~value;
            irq_.set(interrupt_status_ != 0);
            break;
        }
        case kStatus: write_status(value); break;
        default: write_queue_register(offset, value); break;
    }
}

void MmioTransport::write_queue_register(u64 offset, u32 value) {
    if (queue_sel_ >= queue_states_.size() || started_) {
        return;
    }
    QueueState& queue = queue_states_[queue_sel_];
    if (offset == kQueueReady) {
        queue.ready = (value & 1) != 0;
        return;
    }
    if (queue.ready) {
        return;
    }
    QueueLayout& layout = queue.layout;
    switch (offset) {
        case kQueueNum: layout.size = static_cast<u16>(value <= kQueueMax ? value : 0); break;
        case kQueueDescLow: layout.descriptors = deposit(layout.descriptors, 31, 0, value); break;
        case kQueueDescHigh: layout.descriptors = deposit(layout.descriptors, 63, 32, value); break;
        case kQueueDriverLow: layout.available = deposit(layout.available, 31, 0, value); break;
        case kQueueDriverHigh: layout.available = deposit(layout.available, 63, 32, value); break;
        case kQueueDeviceLow: layout.used = deposit(layout.used, 31, 0, value); break;
        case kQueueDeviceHigh: layout.used = deposit(layout.used, 63, 32, value); break;
        default: break;
    }
}

void MmioTransport::write_status(u32 value) {
    value &= 0xFF;
    if (value == 0) {
        stop();
        return;
    }
    u32 now = status_.load(std::memory_order_relaxed);
    // The driver may not turn bits off, and gets FEATURES_OK only for features that were offered.
    u32 added = value & ~now & ~kNeedsReset;
    const bool acceptable = (driver_features_ & ~offered()) == 0 && (driver_features_ & kFeatureVersion1) != 0;
    if ((added & kFeaturesOk) != 0 && !acceptable) {
        added &= ~kFeaturesOk;
    }
    if ((added & kDriverOk) != 0 && ((now | added) & kFeaturesOk) == 0) {
        added &= ~kDriverOk;
    }
    now = status_.fetch_or(added, std::memory_order_relaxed) | added;
    if ((added & kDriverOk) != 0 && (now & kNeedsReset) == 0) {
        start();
    }
}

void MmioTransport::start() {
    for (std::size_t n = 0; n < queues_.size(); ++n) {
        if (queue_states_[n].ready && !queues_[n].configure(ram_, queue_states_[n].layout, driver_features_)) {
            needs_reset();
            return;
        }
    }
    started_ = true;
    device_->start(queues_, driver_features_, *this);
}

void MmioTransport::stop() {
    if (started_) {
        device_->stop();
        started_ = false;
    }
    for (std::size_t n = 0; n < queues_.size(); ++n) {
        queues_[n].reset();
        queue_states_[n] = QueueState{};
        queue_states_[n].layout.size = kQueueMax;
    }
    driver_features_ = 0;
    device_features_sel_ = 0;
    driver_features_sel_ = 0;
    queue_sel_ = 0;
    status_.store(0, std::memory_order_relaxed);
    const std::lock_guard lock(irq_mutex_);
    interrupt_status_ = 0;
    irq_.set(false);
}

void MmioTransport::raise(u32 cause) {
    const std::lock_guard lock(irq_mutex_);
    interrupt_status_ |= cause;
    irq_.set(true);
}

void MmioTransport::buffers_used() { raise(kUsedBuffer); }

void MmioTransport::config_changed() {
    config_generation_.fetch_add(1, std::memory_order_relaxed);
    raise(kConfigChange);
}

void MmioTransport::needs_reset() {
    if ((status_.fetch_or(kNeedsReset, std::memory_order_relaxed) & kNeedsReset) == 0) {
        raise(kConfigChange);
    }
}

}  // namespace vmm::devices::virtio
