#include "devices/uart16550.h"

#include <algorithm>

#include "vmm/base/bits.h"

namespace vmm::devices {

namespace {

// Register offsets; DLL and DLM replace 0 and 1 while LCR.DLAB is set.
enum Register : u64 { kRbrThr = 0, kIer = 1, kIirFcr = 2, kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6, kScr = 7 };

// IER
constexpr u8 kReceiveEnable = 0x01;
constexpr u8 kTransmitEnable = 0x02;
constexpr u8 kLineStatusEnable = 0x04;
constexpr u8 kModemStatusEnable = 0x08;
// IIR
constexpr u8 kIdModemStatus = 0x00;
constexpr u8 kIdNone = 0x01;
constexpr u8 kIdTransmit = 0x02;
constexpr u8 kIdReceive = 0x04;
constexpr u8 kIdLineStatus = 0x06;
constexpr u8 kIdTimeout = 0x0C;
constexpr u8 kIdFifoEnabled = 0xC0;
// FCR
constexpr u8 kFifoEnable = 0x01;
constexpr u8 kClearReceive = 0x02;
// LCR
constexpr u8 kDlab = 0x80;
// MCR
constexpr u8 kDtr = 0x01, kRts = 0x02, kOut1 = 0x04, kOut2 = 0x08, kLoop = 0x10;
// LSR
constexpr u8 kDataReady = 0x01;
constexpr u8 kOverrun = 0x02;
constexpr u8 kTransmitterEmpty = 0x60;  // THRE and TEMT
// MSR: lines in bits 7:4, what changed in bits 3:0
constexpr u8 kCts = 0x10, kDsr = 0x20, kRi = 0x40, kDcd = 0x80;
constexpr u8 kTrailingRing = 0x04;

/// LSR reads in a row that mean a polling driver.
constexpr unsigned kPolling = 8;

constexpr std::size_t kTriggers[4] = {1, 16, 32, 56};  // FCR bits 7:6, 64-byte FIFO

}  // namespace

Uart16550::Uart16550(arch::IrqLine& irq, ByteSink& sink) : irq_(irq), sink_(sink) {}

std::size_t Uart16550::push_input(std::span<const u8> bytes) {
    const std::lock_guard lock(mutex_);
    const std::size_t taken = std::min(bytes.size(), kInputLimit - std::min(kInputLimit, waiting_.size()));
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    if ((ier_ & kReceiveEnable) != 0) {
        refill();
    }
    update_irq();
    return taken;
}

u64 Uart16550::read(const Access& access) {
    const std::lock_guard lock(mutex_);
    return read_register(access.offset);
}

void Uart16550::write(const Access& access, u64 value) {
    const std::lock_guard lock(mutex_);
    write_register(access.offset, static_cast<u8>(value));
}

void Uart16550::reset() {
    const std::lock_guard lock(mutex_);
    unfill();
    ier_ = fcr_ = lcr_ = mcr_ = scr_ = msr_delta_ = dll_ = dlm_ = 0;
    overrun_ = false;
    thre_pending_ = false;
    lsr_polls_ = 0;
    update_irq();
}

u8 Uart16550::read_register(u64 offset) {
    const bool dlab = (lcr_ & kDlab) != 0;
    if (offset != kLsr) {
        lsr_polls_ = 0;
    }
    switch (offset) {
        case kRbrThr: return dlab ? dll_ : read_rbr();
        case kIer: return dlab ? dlm_ : ier_;
        case kIirFcr: {
            const u8 id = interrupt_id();
            if (id == kIdTransmit) {
                thre_pending_ = false;
                update_irq();
            }
            return id | ((fcr_ & kFifoEnable) != 0 ? kIdFifoEnabled : 0);
        }
        case kLcr: return lcr_;
        case kMcr: return mcr_;
        case kLsr: return read_lsr();
        case kMsr: return read_msr();
        case kScr: return scr_;
        default: return 0;
    }
}

void Uart16550::write_register(u64 offset, u8 value) {
    const bool dlab = (lcr_ & kDlab) != 0;
    lsr_polls_ = 0;
    switch (offset) {
        case kRbrThr:
            if (dlab) {
                dll_ = value;
            } else {
                transmit(value);
            }
            break;
        case kIer:
            if (dlab) {
                dlm_ = value;
                break;
            }
            value &= 0x0F;
            if ((value & ~ier_ & kTransmitEnable) != 0) {
                thre_pending_ = true;
            }
            ier_ = value;
            if ((ier_ & kReceiveEnable) != 0) {
                refill();
            }
            break;
        case kIirFcr: write_fcr(value); break;
        case kLcr: lcr_ = value; break;
        case kMcr: write_mcr(value); break;
        case kScr: scr_ = value; break;
        default: break;
    }
    update_irq();
}

void Uart16550::write_fcr(u8 value) {
    const bool switched = ((value ^ fcr_) & kFifoEnable) != 0;
    if (switched || (value & kClearReceive) != 0) {
        unfill();
    }
    fcr_ = value & (kFifoEnable | 0xC0);
    if ((ier_ & kReceiveEnable) != 0 && (mcr_ & kLoop) == 0) {
        refill();
    }
}

void Uart16550::write_mcr(u8 value) {
    const u8 before = modem_lines();
    if (((mcr_ ^ value) & kLoop) != 0) {
        unfill();  // bytes looped back and bytes from the host never mix
    }
    mcr_ = value & 0x1F;
    const u8 after = modem_lines();
    const u8 changed = static_cast<u8>(before ^ after);
    msr_delta_ |= (changed & (kCts | kDsr | kDcd)) >> 4;
    if ((before & ~after & kRi) != 0) {
        msr_delta_ |= kTrailingRing;
    }
    if ((ier_ & kReceiveEnable) != 0) {
        refill();
    }
}

u8 Uart16550::modem_lines() const {
    if ((mcr_ & kLoop) == 0) {
        return kCts | kDsr | kDcd;
    }
    return ((mcr_ & kRts) != 0 ? kCts : 0) | ((mcr_ & kDtr) != 0 ? kDsr : 0) | ((mcr_ & kOut1) != 0 ? kRi : 0) |
           ((mcr_ & kOut2) != 0 ? kDcd : 0);
}

u8 Uart16550::read_msr() {
    const u8 value = modem_lines() | msr_delta_;
    msr_delta_ = 0;
    update_irq();
    return value;
}

u8 Uart16550::read_lsr() {
    // A driver that reads nothing but LSR polls for input. (One that starts up reads it a few times in a row.)
    if (++lsr_polls_ >= kPolling) {
        refill();
    }
    const u8 value = kTransmitterEmpty | (fifo_.empty() ? 0 : kDataReady) | (overrun_ ? kOverrun : 0);
    overrun_ = false;
    update_irq();
    return value;
}

u8 Uart16550::read_rbr() {
    if (fifo_.empty()) {
        return 0;
    }
    const u8 value = fifo_.front();
    fifo_.pop_front();
    if (fifo_.empty()) {
        refill();
    }
    update_irq();
    return value;
}

void Uart16550::transmit(u8 byte) {
    if ((mcr_ & kLoop) != 0) {
        const std::size_t room = (fcr_ & kFifoEnable) != 0 ? kFifoSize : 1;
        if (fifo_.size() < room) {
            fifo_.push_back(byte);
        } else {
            overrun_ = true;
        }
    } else {
        sink_.put({&byte, 1});
    }
    thre_pending_ = true;  // sent at once
}

u8 Uart16550::interrupt_id() const {
    if ((ier_ & kLineStatusEnable) != 0 && overrun_) {
        return kIdLineStatus;
    }
    if ((ier_ & kReceiveEnable) != 0 && !fifo_.empty()) {
        const bool fifo = (fcr_ & kFifoEnable) != 0;
        return !fifo || fifo_.size() >= kTriggers[fcr_ >> 6] ? kIdReceive : kIdTimeout;
    }
    if ((ier_ & kTransmitEnable) != 0 && thre_pending_) {
        return kIdTransmit;
    }
    if ((ier_ & kModemStatusEnable) != 0 && msr_delta_ != 0) {
        return kIdModemStatus;
    }
    return kIdNone;
}

void Uart16550::refill() {
    if ((mcr_ & kLoop) != 0) {
        return;
    }
    const std::size_t room = (fcr_ & kFifoEnable) != 0 ? kFifoSize : 1;
    while (fifo_.size() < room && !waiting_.empty()) {
        fifo_.push_back(waiting_.front());
        waiting_.pop_front();
    }
}

void Uart16550::unfill() {
    if ((mcr_ & kLoop) == 0) {
        waiting_.insert(waiting_.begin(), fifo_.begin(), fifo_.end());
    }
    fifo_.clear();
}

void Uart16550::update_irq() { irq_.set(interrupt_id() != kIdNone); }

}  // namespace vmm::devices
