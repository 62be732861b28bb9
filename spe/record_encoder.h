// From a sample to the bytes of its record. Pure. Arm ARM, "Statistical Profiling Extension Sample Record Specification".
//
// Packets appear in a fixed order: context, latencies, PC, target, previous target, VA, PA, data source, operation type,
// events, timestamp or end; what a sample does not have takes no room. The rest of the record is padding.
#pragma once

#include <array>

#include "spe/sample.h"
#include "spe/spe_words.h"

namespace vmm::spe {

using Record = std::array<u8, kRecordBytes>;

/// Widths, which are fixed for a unit.
struct RecordFormat {
    unsigned counter_bits = 12;     // 12 or 16: latencies saturate there (PMSIDR_EL1.CountSize)
    unsigned event_bytes = 2;       // 2 or 4
    unsigned data_source_bytes = 1; // 1 or 2
};

/// The packets of a record, from Timestamp or End on followed by padding.
struct EncodedRecord {
    Record bytes{};
    unsigned size = 0;  // of the packets
};

/// Any sample fits: at most 60 bytes with the widest packets, as a sample has branch targets or data addresses, never both.
EncodedRecord encode_record(const Sample& sample, const RecordFormat& format);

/// The bytes alone.
inline Record encode(const Sample& sample, const RecordFormat& format) {
    return encode_record(sample, format).bytes;
}

/// Address packet payload of an instruction address: NS and EL in the top byte. The machine is Non-secure.
u64 code_address_payload(CodeAddress code);

/// Address packet payload of a data physical address: NS in the top byte; no tag checks.
u64 physical_address_payload(u64 pa);

}  // namespace vmm::spe
