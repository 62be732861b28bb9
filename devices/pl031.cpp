#include "devices/pl031.h"

namespace vmm::devices {

namespace {

enum Register : u64 {
    kDr = 0x00,    // RTCDR: time
    kMr = 0x04,    // RTCMR: alarm
    kLr = 0x08,    // RTCLR: sets the time
    kCr = 0x0C,    // RTCCR: always enabled
    kImsc = 0x10,  // RTCIMSC
    kRis = 0x14,   // RTCRIS
    kMis = 0x18,   // RTCMIS
    kIcr = 0x1C,   // RTCICR
    kIds = 0xFE0,  // PeriphID0-3, PCellID0-3
};
constexpr u8 kIdBytes[8] = {0x31, 0x10, 0x04, 0x00, 0x0D, 0xF0, 0x05, 0xB1};

}  // namespace

Pl031::Pl031(arch::IrqLine& irq, const Clock& clock) : irq_(irq), clock_(clock) { last_ = now(); }

u32 Pl031::now() const { return static_cast<u32>(clock_.wall_seconds()) + offset_; }

void Pl031::poll() {
    if (armed_.load(std::memory_order_relaxed)) {
        const std::lock_guard lock(mutex_);
        check_alarm();
    }
}

void Pl031::check_alarm() {
    // The comparator matches on equality; (last, now] is what the clock went through since the previous look.
    const u32 time = now();
    const u32 elapsed = time - last_;
    if (armed_.load(std::memory_order_relaxed) && elapsed < 0x8000'0000) {
        const u32 ago = time - match_;
        if (ago < elapsed) {
            raw_ = true;
            armed_.store(false, std::memory_order_relaxed);
        }
    }
    last_ = time;
    update_irq();
}

void Pl031::update_irq() { irq_.set(raw_ && mask_); }

u64 Pl031::read(const Access& access) {
    const std::lock_guard lock(mutex_);
    check_alarm();
    if (access.offset >= kIds && access.offset < kIds + 0x20) {
        return access.offset % 4 == 0 ? kIdBytes[(access.offset - kIds) / 4] : 0;
    }
    switch (access.offset) {
        case kDr: return now();
        case kMr: return match_;
        case kLr: return load_;
        case kCr: return 1;
        case kImsc: return mask_;
        case kRis: return raw_;
        case kMis: return raw_ && mask_;
        default: return 0;
    }
}

void Pl031::write(const Access& access, u64 value) {
    const std::lock_guard lock(mutex_);
    const u32 word = static_cast<u32>(value);
    check_alarm();
    switch (access.offset) {
        case kMr:
            match_ = word;
            last_ = now();
            if (match_ == last_) {
                raw_ = true;
            }
            armed_.store(match_ != last_, std::memory_order_relaxed);
            break;
        case kLr:
            load_ = word;
            offset_ = word - static_cast<u32>(clock_.wall_seconds());
            last_ = word;
            break;
        case kImsc: mask_ = (word & 1) != 0; break;
        case kIcr: raw_ = raw_ && (word & 1) == 0; break;
        default: break;
    }
    update_irq();
}

void Pl031::reset() {
    const std::lock_guard lock(mutex_);
    offset_ = 0;
    match_ = 0;
    load_ = 0;
    mask_ = false;
    raw_ = false;
    armed_.store(false, std::memory_order_relaxed);
    last_ = now();
    update_irq();
}

}  // namespace vmm::devices
