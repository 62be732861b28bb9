#include "spe/record_encoder.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "vmm/base/check.h"

namespace vmm::spe {

namespace {

// Header bytes.
constexpr u8 kEnd = 0x01;
constexpr u8 kEvents = 0x42;
constexpr u8 kDataSource = 0x43;
constexpr u8 kOperationType = 0x48;
constexpr u8 kContextEl1 = 0x64;
constexpr u8 kTimestamp = 0x71;
constexpr u8 kCounter = 0x98;
constexpr u8 kAddress = 0xB0;

enum AddressIndex : u8 { kPc = 0, kTarget = 1, kDataVa = 2, kDataPa = 3, kPreviousTarget = 4 };
enum CounterIndex : u8 { kTotal = 0, kIssue = 1, kTranslation = 2 };

constexpr u64 kNonSecure = u64{1} << 63;
constexpr unsigned kElShift = 61;

/// Bits [5:4] of most headers: log2 of the payload's bytes.
constexpr u8 size_code(unsigned bytes) {
    return static_cast<u8>((bytes == 8 ? 3 : bytes == 4 ? 2 : bytes == 2 ? 1 : 0) << 4);
}

/// Writes packets one behind the other, each with all 8 bytes of its payload: what does not count is overwritten by the
/// packet behind it. The last is End or Timestamp, which leave zeros behind them.
class PacketWriter {
  public:
    explicit PacketWriter(Record& bytes) : start_(bytes.data()), at_(start_) {}

    void packet(u8 header, u64 payload, unsigned bytes) {
        VMM_CHECK(at_ + 1 + sizeof(payload) <= start_ + kRecordBytes);
        *at_ = header;
        static_assert(std::endian::native == std::endian::little, "packets are little-endian");
        std::memcpy(at_ + 1, &payload, sizeof(payload));
        at_ += 1 + bytes;
    }
    void address(AddressIndex index, u64 payload) { packet(static_cast<u8>(kAddress + index), payload, 8); }
    void counter(CounterIndex index, u32 cycles, unsigned counter_bits) {
        packet(static_cast<u8>(kCounter + index), std::min<u64>(cycles, ones(counter_bits)), 2);
    }

    unsigned size() const { return static_cast<unsigned>(at_ - start_); }

  private:
    u8* const start_;
    u8* at_;
};

}  // namespace

u64 code_address_payload(CodeAddress code) {
    return bits(code.address, 55, 0) | u64{code.el} << kElShift | kNonSecure;
}

u64 physical_address_payload(u64 pa) {
    return bits(pa, 55, 0) | kNonSecure;
}

EncodedRecord encode_record(const Sample& sample, const RecordFormat& format) {
    EncodedRecord record;
    PacketWriter out(record.bytes);
    if (sample.context_el1) {
        out.packet(kContextEl1, *sample.context_el1, 4);
    }
    out.counter(kTotal, sample.total_latency, format.counter_bits);
    out.counter(kIssue, sample.issue_latency, format.counter_bits);
    if (sample.translation_latency) {
        out.counter(kTranslation, *sample.translation_latency, format.counter_bits);
    }
    out.address(kPc, code_address_payload(sample.pc));
    if (sample.target) {
        out.address(kTarget, code_address_payload(*sample.target));
    }
    if (sample.previous_target) {
        out.address(kPreviousTarget, code_address_payload(*sample.previous_target));
    }
    if (sample.va) {
        // IMPDEF: the top byte is that of the address, whether or not it is a tag.
        out.address(kDataVa, *sample.va);
    }
    if (sample.pa) {
        out.address(kDataPa, physical_address_payload(*sample.pa));
    }
    if (sample.data_source) {
        out.packet(kDataSource | size_code(format.data_source_bytes), *sample.data_source,
                   format.data_source_bytes);
    }
    out.packet(static_cast<u8>(kOperationType + static_cast<u8>(sample.type.packet)), sample.type.payload, 1);
    out.packet(kEvents | size_code(format.event_bytes), sample.events, format.event_bytes);
    if (sample.timestamp) {
        out.packet(kTimestamp, *sample.timestamp, 8);
    } else {
        out.packet(kEnd, 0, 0);
    }
    record.size = out.size();
    return record;
}

}  // namespace vmm::spe
