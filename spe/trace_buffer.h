// Records on their way from a vCPU's thread to whoever stores them: bounded, and never waiting for the
// reader.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "vmm/base/types.h"

namespace vmm::spe {

/// An instruction's virtual address, and where it is in guest-physical memory.
struct CodePlace {
    u64 va = 0;
    u64 pa = 0;
};

/// What is kept about a record besides its bytes.
struct RecordFacts {
    u64 timestamp = 0;              // ticks of the system counter
    u32 context = 0;                // CONTEXTIDR_EL1
    std::optional<CodePlace> code;  // where the operation was known to be
};

/// What one vCPU has recorded since the buffer was emptied the last time.
struct TraceBatch {
    std::vector<u8> records;
    u64 last_timestamp = 0;       // of the last record
    u64 lost = 0;                 // samples without room, all of them after the last record
    std::vector<u32> contexts;    // of the records, without repetitions in a row
    std::vector<CodePlace> code;  // the first few that were known
};

/// Wakes the one reader of several buffers.
class TraceSignal {
  public:
    void raise();
    /// Returns once raised, or after `milliseconds`.
    void wait(unsigned milliseconds);

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool raised_ = false;
};

/// One writer and one reader, each on a thread of its own.
class TraceBuffer {
  public:
    /// Holds up to `limit` bytes of records; raises `half_full`, which outlives the buffer, while there is
    /// still room.
    TraceBuffer(std::size_t limit, TraceSignal& half_full) : limit_(limit), half_full_(half_full) {}

    /// The writer: stores a record or counts it as lost. After a loss all are lost until the reader comes, so
    /// that no batch has a gap inside.
    void append(std::span<const u8> record, const RecordFacts& facts);

    /// The reader: exchanges everything for the emptied `batch`, whose memory is used again.
    void take(TraceBatch& batch);

  private:
    static constexpr std::size_t kMaxCode = 16;

    const std::size_t limit_;
    TraceSignal& half_full_;
    std::mutex mutex_;
    TraceBatch filling_;
};

}  // namespace vmm::spe
