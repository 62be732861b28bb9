// Writes a perf.data file with an Arm SPE trace, as perf on any host reads it: the file format of perf, file
// mode.
//
// The file is valid after every commit(), however the process ends: data first, then its size in the header.
// finish() adds the feature sections, of which the CPU's identity matters most: without it perf cannot tell
// data sources.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

/// What perf is told about the machine that was recorded.
struct PerfDataFacts {
    std::string host_name;
    std::string os_release;
    unsigned cpus = 1;
    u64 midr = 0;        // MIDR_EL1
    u64 memory = 0;      // bytes
    u64 counter_hz = 0;  // of the timestamps, at least 1
    u64 period = 0;      // of the samples, operations
};

/// A stretch of an address space that shows a file.
struct PerfMapping {
    u64 va = 0;
    u64 size = 0;
    u64 file_offset = 0;
    bool executable = true;
    std::string file;  // as perf shall open it; shortened to what a record can hold
};

class PerfDataWriter {
  public:
    /// Creates or replaces the regular file at `path`.
    static Result<PerfDataWriter> create(const std::string& path, const PerfDataFacts& facts);

    // What follows is kept until commit().
    void add_command(u32 pid, std::string_view name);
    void add_mapping(u32 pid, const PerfMapping& mapping);
    /// The same for EL1, whatever the context: perf looks for what it executes in the kernel's address space,
    /// where it knows Linux and modules only. After add_mapping() for the same file. `mapping.va` is what
    /// perf makes of the address.
    void add_privileged_mapping(const PerfMapping& mapping);
    /// Linux, with `_text` at `start`. `build_id` may be empty; at most 20 bytes of it count.
    void add_kernel(u64 start, u64 size, std::span<const u8> build_id);
    /// Whole records of one CPU, in the order they were made, up to the time `last_count` of the counter;
    /// `lost` samples are missing after them.
    void add_records(unsigned cpu, std::span<const u8> records, u64 last_count, u64 lost);

    /// Writes all that was added. After a failure the file stays as the last commit left it.
    Result<> commit();
    /// Commits and completes the file. Once.
    Result<> finish();

  private:
    PerfDataWriter(UniqueFd fd, const PerfDataFacts& facts) : fd_(std::move(fd)), facts_(facts) {}

    /// Bytes of one record, then of the whole: little-endian fields, one after the other.
    class Bytes {
      public:
        template <class T>
        void put(T value);
        void put_bytes(std::span<const u8> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
        /// Zero-terminated and padded to `alignment`.
        void put_text(std::string_view text, std::size_t alignment);
        void append(const Bytes& other) { put_bytes(other.bytes_); }
        std::size_t size() const { return bytes_.size(); }
        std::span<const u8> bytes() const { return bytes_; }
        void clear() { bytes_.clear(); }

      private:
        std::vector<u8> bytes_;
    };

    /// Where a record belongs; what perf calls sample_id.
    struct Origin {
        u32 pid = 0;
        u32 tid = 0;
        u64 ns = 0;  // 0: before everything
        u32 cpu = ~u32{0};
    };

    void add_event(u32 type, u16 misc, const Bytes& body, const Origin& origin);
    void add_file(u32 pid, u16 misc, const PerfMapping& mapping);
    void add_user_event(u32 type, const Bytes& body);
    void add_start();
    static Bytes attributes(const PerfDataFacts& facts);
    Bytes header(u64 features) const;
    /// Also says which ones, as bits.
    Bytes feature_sections(u64& features) const;
    u64 to_ns(u64 count) const;
    Result<> write_at(u64 offset, std::span<const u8> bytes) const;

    UniqueFd fd_;
    PerfDataFacts facts_;
    Bytes pending_;
    u64 data_size_ = 0;             // committed
    std::vector<u64> aux_offsets_;  // per CPU, bytes of records so far
};

}  // namespace vmm
