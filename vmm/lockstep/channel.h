// What a guest that runs for comparison tells the process that compares: shared memory made before the fork.
#pragma once

#include <semaphore.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "arch/cpu_state.h"
#include "arch/vcpu.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm::lockstep {

/// A vCPU at the end of one of its slices.
struct Snapshot {
    u64 slice = 0;       // of all vCPUs, from 1
    u64 operations = 0;  // that this vCPU has executed
    u32 cpu = 0;
    arch::RunResult result = arch::RunResult::budget;
    arch::CpuState state;  // without what nobody reads

    friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

/// One writer, the guest's process; one reader.
class Channel {
  public:
    /// In memory that processes forked later share.
    static Result<std::unique_ptr<Channel, void (*)(Channel*)>> create();

    /// False where there is no room within `patience`.
    bool push(const Snapshot& snapshot, std::chrono::milliseconds patience);
    /// False where there is none within `patience`.
    bool pop(Snapshot& snapshot, std::chrono::milliseconds patience);

    /// All registers of a vCPU in words; what is too long is cut. The reader looks when the writer has ended.
    void set_registers(std::string_view text);
    std::string_view registers() const { return {text_.data(), text_size_}; }

  private:
    static constexpr std::size_t kDepth = 16;
    static constexpr std::size_t kTextBytes = std::size_t{64} << 10;

    Channel();

    sem_t filled_;
    sem_t empty_;
    std::size_t next_in_ = 0;
    std::size_t next_out_ = 0;
    std::array<Snapshot, kDepth> ring_;
    std::atomic<std::size_t> text_size_{0};
    std::array<char, kTextBytes> text_;
};

using ChannelPtr = std::unique_ptr<Channel, void (*)(Channel*)>;

}  // namespace vmm::lockstep
