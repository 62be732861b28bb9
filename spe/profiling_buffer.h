// The profiling buffer: PMBPTR_EL1, PMBLIMITR_EL1, PMBSR_EL1, the management events and their interrupt.
// Arm ARM, "The Profiling Buffer".
//
// Records are 64 bytes and 64-byte aligned, so one translation serves a whole record and a fault always strikes before its
// first byte: PMBSR_EL1.DL stays 0. A record's bytes are in memory before PMBPTR_EL1 moves past it.
#pragma once

#include "arch/pins.h"
#include "spe/record_encoder.h"
#include "spe/spe_words.h"
#include "vmm/base/types.h"

namespace vmm::spe {

/// What became of a record's bytes.
struct StoreResult {
    enum class Kind : u8 {
        done,
        fault,           // translation or permission: `fsc`
        external_abort,  // nothing that can hold memory at that address
    };
    Kind kind = Kind::done;
    u8 fsc = 0;
};

/// Memory as the buffer's owner addresses it.
class RecordSink {
  public:
    RecordSink() = default;
    RecordSink(const RecordSink&) = delete;
    RecordSink& operator=(const RecordSink&) = delete;
    virtual ~RecordSink() = default;

    /// Stores `record` at `va`, which is 64-byte aligned.
    virtual StoreResult store(u64 va, const Record& record) = 0;
};

/// What append() or check() found. Everything but written, ignored and ready set PMBSR_EL1.S.
enum class BufferEvent : u8 {
    ready,           // check(): nothing in the way
    written,
    ignored,         // the record's bytes went nowhere (PMBIDR_EL1.EA: external aborts are ignored)
    filled,          // written, and there is no room for another; or check(): there was none to begin with
    fault,
    misaligned,
    too_large,
};

class ProfilingBuffer {
  public:
    /// `max_bytes`: the advertised limit, 0 = none.
    ProfilingBuffer(u8 pmsver, const RegisterMasks& masks, u64 max_bytes)
        : has_discard_(has_discard_mode(pmsver)), masks_(masks), max_bytes_(max_bytes) {}

    void set_irq(arch::IrqLine* line) { irq_ = line; }
    void reset();

    // The registers. Values are masked here.
    u64 limitr() const { return limitr_; }
    u64 pointer() const { return pointer_; }
    u64 status() const { return status_; }
    void set_limitr(u64 value) { limitr_ = value & masks_.pmblimitr; }
    void set_pointer(u64 value) { pointer_ = value & masks_.pmbptr; }
    /// Drives the interrupt: its level is PMBSR_EL1.S.
    void set_status(u64 value);

    /// Address of the first byte after the buffer.
    u64 limit() const { return limitr_ & pmblimitr::kLimitMask; }
    bool stopped() const { return pmbsr::S::get(status_) != 0; }
    /// PMBLIMITR_EL1.E is set and no management event is pending.
    bool enabled() const { return pmblimitr::E::get(limitr_) != 0 && !stopped(); }
    bool discards() const { return has_discard_ && pmblimitr::Fm::get(limitr_) == pmblimitr::kFmDiscard; }
    /// True when the programmed buffer exceeds the advertised limit.
    bool exceeds_limit() const { return max_bytes_ != 0 && limit() > pointer_ && limit() - pointer_ > max_bytes_; }

    /// To be called when profiling becomes enabled or a register of the buffer is written while it is: raises the event
    /// for a buffer that cannot be used. Does nothing in discard mode.
    BufferEvent check();

    /// Writes one record. The buffer is enabled and does not discard.
    BufferEvent append(const Record& record, RecordSink& sink);

  private:
    bool has_room() const { return limit() >= kRecordBytes && pointer_ <= limit() - kRecordBytes; }
    void raise(u64 ec, u64 mss);

    const bool has_discard_;
    const RegisterMasks masks_;
    const u64 max_bytes_;
    arch::IrqLine* irq_ = nullptr;

    u64 limitr_ = 0;
    u64 pointer_ = 0;
    u64 status_ = 0;
};

}  // namespace vmm::spe
