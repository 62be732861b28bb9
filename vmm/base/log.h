// Logging to stderr, one logger per layer. Never used on paths a guest can drive at will: see GuestLog.
#pragma once

#include <atomic>
#include <chrono>
#include <string_view>
#include <utility>

#include <spdlog/spdlog.h>

#include "vmm/base/types.h"

namespace vmm {

/// kvmtool's names, in order of verbosity.
enum class LogLevel : u8 { error, warning, info, debug, trace };

/// Sets the level of all loggers, present and future. Default: warning.
void set_log_level(LogLevel level);

/// The logger of a layer ("vmm", "mm", "arch", "gic", "virtio", "spe"); created on first use.
spdlog::logger& log(std::string_view layer);

/// A rate limiter for one place in the code that a guest can reach: at most one message a second; the rest are counted.
/// Thread-safe.
class GuestLog {
  public:
    /// True when a message may be printed now; `suppressed` receives how many were dropped since the last one.
    bool allow(u64& suppressed);

  private:
    std::atomic<s64> next_ns_{0};
    std::atomic<u64> suppressed_{0};
};

}  // namespace vmm

/// Logs at debug level something the guest caused, rate limited per call site.
#define VMM_GUEST_LOG(layer, ...)                                                                  \
    do {                                                                                           \
        static ::vmm::GuestLog guest_log_site;                                                     \
        ::vmm::u64 guest_log_suppressed = 0;                                                       \
        if (guest_log_site.allow(guest_log_suppressed)) {                                          \
            ::vmm::log(layer).debug(__VA_ARGS__);                                                  \
            if (guest_log_suppressed != 0)                                                         \
                ::vmm::log(layer).debug("  ({} similar messages suppressed)", guest_log_suppressed); \
        }                                                                                          \
    } while (false)
