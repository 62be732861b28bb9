#include "spe/profiling_buffer.h"

namespace vmm::spe {

void ProfilingBuffer::reset() {
    limitr_ = 0;
    pointer_ = 0;
    set_status(0);
}

void ProfilingBuffer::set_status(u64 value) {
    status_ = value & masks_.pmbsr;
    if (irq_ != nullptr) {
        irq_->set(stopped());
    }
}

/// Records a management event: MSS and MSS2 are replaced as a whole, DL, EA and COLL stay.
void ProfilingBuffer::raise(u64 ec, u64 mss) {
    u64 status = status_;
    status = pmbsr::S::set(status, 1);
    status = pmbsr::Ec::set(status, ec);
    status = pmbsr::Mss::set(status, mss);
    status = pmbsr::Mss2::set(status, 0);
    set_status(status);
}

// UNPREDICTABLE: programming a pointer that is misaligned, or beyond the last place for a record, may do almost anything.
// We raise the event that names the mistake and write nothing.
BufferEvent ProfilingBuffer::check() {
    if (!enabled() || discards()) {
        return BufferEvent::ready;
    }
    if (!is_aligned(pointer_, kRecordBytes)) {
        raise(pmbsr::kEcStage1Abort, pmbsr::kFscAlignment);
        return BufferEvent::misaligned;
    }
    if (!has_room()) {
        raise(pmbsr::kEcOther, pmbsr::kBscFull);
        return BufferEvent::filled;
    }
    if (exceeds_limit()) {
        raise(pmbsr::kEcOther, pmbsr::kBscTooLarge);
        return BufferEvent::too_large;
    }
    return BufferEvent::ready;
}

BufferEvent ProfilingBuffer::append(const Record& record, RecordSink& sink) {
    // check() ran when the registers were written; this costs nothing and keeps every store inside the buffer.
    if (const BufferEvent event = check(); event != BufferEvent::ready) {
        return event;
    }
    const StoreResult result = sink.store(pointer_, record);
    if (result.kind == StoreResult::Kind::fault) {
        raise(pmbsr::kEcStage1Abort, result.fsc);
        return BufferEvent::fault;
    }
    pointer_ += kRecordBytes;
    if (!has_room()) {
        raise(pmbsr::kEcOther, pmbsr::kBscFull);
        return BufferEvent::filled;
    }
    return result.kind == StoreResult::Kind::done ? BufferEvent::written : BufferEvent::ignored;
}

}  // namespace vmm::spe
