// A 16550A UART with 64-byte FIFOs, one byte per register, as "ns16550a" drivers expect it.
#pragma once

#include <deque>
#include <mutex>

#include "arch/pins.h"
#include "devices/byte_sink.h"
#include "devices/device.h"

namespace vmm::devices {

/// Transmission is instantaneous. Host input waits without limit of time until the driver listens (see push_input).
class Uart16550 final : public Device {
  public:
    static constexpr u64 kWindowSize = 8;
    static constexpr const char* kCompatible = "ns16550a";
    static constexpr u32 kClockHz = 1'843'200;
    static constexpr unsigned kFifoSize = 64;  // the receiver's
    /// What a driver may write at once: transmission takes no time, so any number will do.
    static constexpr unsigned kTransmitFifoSize = 4096;

    /// `irq` is level-high; both outlive the UART.
    Uart16550(arch::IrqLine& irq, ByteSink& sink);

    /// Input from the host; any thread. Returns how many bytes were taken: at most kInputLimit may wait.
    ///
    /// Bytes enter the receiver FIFO once the driver has enabled the receive interrupt or polls LSR, so that input which
    /// arrives during boot is not lost to a driver's probing. Clearing the FIFO holds them back likewise.
    std::size_t push_input(std::span<const u8> bytes);
    static constexpr std::size_t kInputLimit = 1 << 20;

    std::string_view name() const override { return "uart16550"; }
    u64 read(const Access& access) override;
    void write(const Access& access, u64 value) override;
    void reset() override;
    bool locks_itself() const override { return true; }

  private:
    u8 read_register(u64 offset);
    void write_register(u64 offset, u8 value);
    void write_fcr(u8 value);
    void write_mcr(u8 value);
    u8 read_lsr();
    u8 read_msr();
    u8 read_rbr();
    void transmit(u8 byte);
    u8 interrupt_id() const;
    u8 modem_lines() const;
    void refill();
    void unfill();
    void update_irq();

    arch::IrqLine& irq_;
    ByteSink& sink_;
    std::mutex mutex_;

    std::deque<u8> waiting_;  // host input not yet in the FIFO
    std::deque<u8> fifo_;     // the receiver FIFO
    u8 ier_ = 0;
    u8 fcr_ = 0;
    u8 lcr_ = 0;
    u8 mcr_ = 0;
    u8 scr_ = 0;
    u8 msr_delta_ = 0;        // MSR bits 3:0
    u8 dll_ = 0;
    u8 dlm_ = 0;
    bool overrun_ = false;
    bool thre_pending_ = false;  // transmitter-empty interrupt not yet acknowledged
    unsigned lsr_polls_ = 0;     // LSR reads in a row
};

}  // namespace vmm::devices
