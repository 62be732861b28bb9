#include "vmm/base/log.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <spdlog/sinks/stdout_color_sinks.h>

namespace vmm {

namespace {

std::mutex mutex;
std::map<std::string, std::shared_ptr<spdlog::logger>, std::less<>> loggers;
spdlog::level::level_enum current_level = spdlog::level::warn;

spdlog::level::level_enum to_spdlog(LogLevel level) {
    switch (level) {
        case LogLevel::error: return spdlog::level::err;
        case LogLevel::warning: return spdlog::level::warn;
        case LogLevel::info: return spdlog::level::info;
        case LogLevel::debug: return spdlog::level::debug;
        case LogLevel::trace: return spdlog::level::trace;
    }
    return spdlog::level::warn;
}

}  // namespace

void set_log_level(LogLevel level) {
    const std::lock_guard lock(mutex);
    current_level = to_spdlog(level);
    for (auto& [name, logger] : loggers) {
        logger->set_level(current_level);
    }
}

spdlog::logger& log(std::string_view layer) {
    const std::lock_guard lock(mutex);
    auto found = loggers.find(layer);
    if (found == loggers.end()) {
        static auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
        auto logger = std::make_shared<spdlog::logger>(std::string(layer), sink);
        logger->set_level(current_level);
        logger->set_pattern("vmm: %^%l%$: %n: %v");
        found = loggers.emplace(std::string(layer), std::move(logger)).first;
    }
    return *found->second;
}

bool GuestLog::allow(u64& suppressed) {
    const s64 now = std::chrono::steady_clock::now().time_since_epoch().count();
    s64 next = next_ns_.load(std::memory_order_relaxed);
    if (now < next || !next_ns_.compare_exchange_strong(next, now + 1'000'000'000)) {
        suppressed_.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    suppressed = suppressed_.exchange(0, std::memory_order_relaxed);
    return true;
}

}  // namespace vmm
