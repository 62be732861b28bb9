#include "spe/profiling_buffer.h"

#include <algorithm>
#include <array>

namespace vmm::spe {

namespace {

constexpr u64 kPageBytes = 4096;  // the smallest unit of translation

}  // namespace

void ProfilingBuffer::reset() {
    limitr_ = 0;
    pointer_ = 0;
    checked_ = false;
    drive(0);
}

void ProfilingBuffer::set_limitr(u64 value) {
    if (!ignores_writes() || pmblimitr::E::get(value) == 0) {
        limitr_ = value & masks_.pmblimitr;
        checked_ = false;
    }
}

void ProfilingBuffer::set_pointer(u64 value) {
    if (!ignores_writes()) {
        pointer_ = value & masks_.pmbptr;
        checked_ = false;
    }
}

void ProfilingBuffer::set_status(u64 value) {
    if (!ignores_writes()) {
        drive(value);
    }
}

void ProfilingBuffer::drive(u64 value) {
    status_ = value & masks_.pmbsr;
    checked_ = false;
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
    drive(status);
}

void ProfilingBuffer::fault_at(u64 va, u8 fsc) {
    if (va != pointer_) {  // below it there are not only records
        status_ = pmbsr::Dl::set(status_, 1);
    }
    pointer_ = va;
    raise(pmbsr::kEcStage1Abort, fsc);
}

// UNPREDICTABLE: programming a pointer that is misaligned, or beyond the last place for a record, may do almost anything.
// We raise the event that names the mistake and write nothing.
BufferEvent ProfilingBuffer::check() {
    if (!enabled() || discards()) {
        return BufferEvent::ready;
    }
    if (!is_aligned(pointer_, align_bytes_)) {
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
    checked_ = true;
    return BufferEvent::ready;
}

BufferEvent ProfilingBuffer::refuse() {
    if (!enabled()) {
        return BufferEvent::ready;
    }
    raise(pmbsr::kEcImplementationDefined, 0);
    return BufferEvent::shortage;
}

BufferEvent ProfilingBuffer::append(const EncodedRecord& record, RecordSink& sink) {
    // Of what check() looks at, a record changes nothing but the room, and that is looked at behind it.
    if (!checked_) [[unlikely]] {
        if (const BufferEvent event = check(); event != BufferEvent::ready) {
            return event;
        }
    }
    const u64 size = padded(record.size);
    if (size > record.bytes.size() || size > kPageBytes - pointer_ % kPageBytes) [[unlikely]] {
        return append_in_pieces(record.bytes, size, sink);
    }
    const StoreResult result = sink.store(pointer_, {record.bytes.data(), size});
    if (result.kind == StoreResult::Kind::fault) [[unlikely]] {
        raise(pmbsr::kEcStage1Abort, result.fsc);
        return BufferEvent::fault;
    }
    pointer_ += size;
    return after_store(result.kind == StoreResult::Kind::external_abort);
}

/// A record that is padded beyond its packets or crosses a page.
BufferEvent ProfilingBuffer::append_in_pieces(std::span<const u8> record, u64 size, RecordSink& sink) {
    static constexpr std::array<u8, kPageBytes> kPadding{};
    bool ignored = false;
    for (u64 at = 0; at < size;) {
        const std::span<const u8> rest = at < record.size() ? record.subspan(at) : std::span<const u8>(kPadding);
        const u64 in_page = kPageBytes - pointer_ % kPageBytes;
        const u64 n = std::min({size - at, in_page, u64{rest.size()}});
        const StoreResult result = sink.store(pointer_, rest.first(n));
        if (result.kind == StoreResult::Kind::fault) {
            status_ = at != 0 ? pmbsr::Dl::set(status_, 1) : status_;
            raise(pmbsr::kEcStage1Abort, result.fsc);
            return BufferEvent::fault;
        }
        ignored |= result.kind == StoreResult::Kind::external_abort;
        pointer_ += n;
        at += n;
    }
    return after_store(ignored);
}

BufferEvent ProfilingBuffer::after_store(bool ignored) {
    if (!has_room()) [[unlikely]] {
        raise(pmbsr::kEcOther, pmbsr::kBscFull);
        return BufferEvent::filled;
    }
    return ignored ? BufferEvent::ignored : BufferEvent::written;
}

}  // namespace vmm::spe
