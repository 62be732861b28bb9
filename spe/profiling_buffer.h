// The profiling buffer: PMBPTR_EL1, PMBLIMITR_EL1, PMBSR_EL1, the management events and their interrupt.
// Arm ARM, "The Profiling Buffer".
//
// Records of the default size are 64 bytes and 64-byte aligned, so one translation serves a whole record and a fault always
// strikes before its first byte: PMBSR_EL1.DL stays 0. Records that are aligned to less may cross a page and be cut off
// there by a fault: then DL is 1. A record's bytes are in memory before PMBPTR_EL1 moves past it.
#pragma once

#include <span>

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

    /// Stores `bytes` at `va`: part of one record, and of one 4 KiB page.
    virtual StoreResult store(u64 va, std::span<const u8> bytes) = 0;
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
    shortage,        // the host has no room for the buffer
};

class ProfilingBuffer {
  public:
    /// `max_bytes`: the advertised limit, 0 = none.
    ProfilingBuffer(const Features& features, u64 max_bytes)
        : has_discard_(has_discard_mode(features.pmsver)),
          strict_(features.strict_writes),
          record_bytes_(features.record_bytes),
          align_bytes_(features.align_bytes),
          masks_(register_masks(features)),
          max_bytes_(max_bytes) {}

    void set_irq(arch::IrqLine* line) { irq_ = line; }
    void reset();

    // The registers. Values are masked here. With strict writes, while the buffer is enabled (and so not stopped) only a
    // write that clears PMBLIMITR_EL1.E has an effect.
    u64 limitr() const { return limitr_; }
    u64 pointer() const { return pointer_; }
    u64 status() const { return status_; }
    void set_limitr(u64 value);
    void set_pointer(u64 value);
    /// Drives the interrupt: its level is PMBSR_EL1.S.
    void set_status(u64 value);
    /// A sample was lost to the one before it: PMBSR_EL1.COLL.
    void set_collision() { status_ = pmbsr::Coll::set(status_, 1); }

    /// Address of the first byte after the buffer.
    u64 limit() const { return limitr_ & pmblimitr::kLimitMask; }
    bool stopped() const { return pmbsr::S::get(status_) != 0; }
    /// PMBLIMITR_EL1.E is set and no management event is pending.
    bool enabled() const { return pmblimitr::E::get(limitr_) != 0 && !stopped(); }
    bool discards() const { return has_discard_ && pmblimitr::Fm::get(limitr_) == pmblimitr::kFmDiscard; }
    /// True when the programmed buffer exceeds the advertised limit.
    bool exceeds_limit() const { return max_bytes_ != 0 && limit() > pointer_ && limit() - pointer_ > max_bytes_; }

    /// A condition under which PMCR_EL0.FZS freezes the event counters: PMBLIMITR_EL1.{E, PMFZ} and PMBSR_EL1.S.
    bool freezes_counters() const {
        return stopped() && pmblimitr::E::get(limitr_) != 0 && pmblimitr::Pmfz::get(limitr_) != 0;
    }

    /// A page of the buffer cannot be written: stops with PMBPTR_EL1 at `va`, and DL if that skips memory without records.
    void fault_at(u64 va, u8 fsc);

    /// check() has not yet looked at the buffer as it is.
    bool wants_check() const { return !checked_ && enabled() && !discards(); }

    /// To be called when profiling becomes enabled or a register of the buffer is written while it is: raises the event
    /// for a buffer that cannot be used. Does nothing in discard mode.
    BufferEvent check();

    /// The host cannot hold the buffer: the event for IMPLEMENTATION DEFINED reasons. Nothing that was written is lost.
    BufferEvent refuse();

    /// Bytes that a record of `size` bytes of packets takes.
    u64 padded(unsigned size) const { return align_up(size, align_bytes_); }

    /// Writes one record, padded. The buffer is enabled and does not discard.
    BufferEvent append(const EncodedRecord& record, RecordSink& sink);

  private:
    BufferEvent append_in_pieces(std::span<const u8> record, u64 size, RecordSink& sink);
    BufferEvent after_store(bool ignored);
    bool has_room() const { return limit() >= record_bytes_ && pointer_ <= limit() - record_bytes_; }
    bool ignores_writes() const { return strict_ && enabled(); }
    void raise(u64 ec, u64 mss);
    void drive(u64 status);

    const bool has_discard_;
    const bool strict_;
    const u64 record_bytes_;  // PMSIDR_EL1.MaxSize
    const u64 align_bytes_;   // PMBIDR_EL1.Align
    const RegisterMasks masks_;
    const u64 max_bytes_;
    arch::IrqLine* irq_ = nullptr;

    u64 limitr_ = 0;
    u64 pointer_ = 0;
    u64 status_ = 0;
    bool checked_ = false;  // check() has found nothing in the way of records since a register was written
};

}  // namespace vmm::spe
