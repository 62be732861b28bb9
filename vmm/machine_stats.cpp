#include "vmm/machine_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "vmm/base/log.h"
#include "vmm/machine.h"

#ifndef VMM_VERSION
#define VMM_VERSION "unknown"
#endif

namespace vmm {

namespace {

template <class Stats>
struct CounterRow {
    const char* name;
    u64 Stats::*value;
};

using Spe = spe::ProfilingStats;
constexpr CounterRow<Spe> kSpeCounters[] = {
    {"population", &Spe::population},   {"samples", &Spe::samples},
    {"filtered", &Spe::filtered},       {"discarded", &Spe::discarded},
    {"collisions", &Spe::collisions},   {"dropped", &Spe::dropped},
    {"records", &Spe::records},         {"bytes", &Spe::bytes},
    {"buffer_full", &Spe::buffer_full}, {"faults", &Spe::faults},
    {"too_large", &Spe::too_large},     {"ignored_aborts", &Spe::ignored_aborts},
    {"shortages", &Spe::shortages},     {"blackout", &Spe::blackout},
};

using Cache = spe::PinCacheStats;
constexpr CounterRow<Cache> kPinCacheCounters[] = {
    {"enables", &Cache::enables},
    {"hits", &Cache::hits},
    {"pending_hits", &Cache::pending_hits},
    {"table_hits", &Cache::table_hits},
    {"walks", &Cache::walks},
    {"advances", &Cache::advances},
    {"pages_walked", &Cache::pages_walked},
    {"failures", &Cache::failures},
    {"bytes", &Cache::bytes},
    {"slowest_ns", &Cache::slowest_ns},
    {"slowest_cpu_ns", &Cache::slowest_cpu_ns},
};

using Pins = mm::PinStats;
constexpr CounterRow<Pins> kPinCounters[] = {
    {"pinned_bytes", &Pins::pinned_bytes}, {"long_term_bytes", &Pins::long_term_bytes},
    {"peak_bytes", &Pins::peak_bytes},     {"extents", &Pins::extents},
    {"pin_ops", &Pins::pin_ops},           {"shared_ops", &Pins::shared_ops},
    {"unpin_ops", &Pins::unpin_ops},       {"failures", &Pins::failures},
    {"degraded", &Pins::degraded},         {"widened", &Pins::widened},
    {"charged_bytes", &Pins::charged_bytes},
    {"peak_charged_bytes", &Pins::peak_charged_bytes},
    {"lost_bytes", &Pins::lost_bytes},
    {"slices", &Pins::slices},
    {"delta_pinned_pages", &Pins::delta_pinned_pages},
    {"delta_unpinned_pages", &Pins::delta_unpinned_pages},
};

using Service = mm::PinServiceStats;
constexpr CounterRow<Service> kPinServiceCounters[] = {
    {"requests", &Service::requests},
    {"shortages", &Service::shortages},
    {"lost", &Service::lost},
    {"pressure_events", &Service::pressure_events},
    {"live", &Service::live},
    {"longest_request_us", &Service::longest_request_us},
    {"longest_request_cpu_us", &Service::longest_request_cpu_us},
};

// A counter without a row does not compile.
static_assert(std::size(kSpeCounters) * sizeof(u64) == sizeof(Spe) - sizeof(Cache) - sizeof(spe::StoreTimeHistogram));
static_assert(std::size(kPinCacheCounters) * sizeof(u64) == sizeof(Cache));
static_assert(std::size(kPinCounters) * sizeof(u64) == sizeof(Pins));
static_assert(std::size(kPinServiceCounters) * sizeof(u64) == sizeof(Service) - sizeof(Service::unpins));

template <class Stats, std::size_t N>
Json counters(const Stats& stats, const CounterRow<Stats> (&rows)[N]) {
    Json object = Json::object();
    for (const CounterRow<Stats>& row : rows) {
        object[row.name] = stats.*row.value;
    }
    return object;
}

const char* power_name(PowerState::State state) {
    switch (state) {
        case PowerState::State::off: return "off";
        case PowerState::State::on_pending: return "starting";
        case PowerState::State::on: return "on";
    }
    return "?";
}

const char* stop_name(spe::StopMode mode) {
    switch (mode) {
        case spe::StopMode::none: return "running";
        case spe::StopMode::trap: return "stopped-trap";
        case spe::StopMode::exit: return "stopped-exit";
    }
    return "?";
}

f64 seconds(const timeval& time) {
    return static_cast<f64>(time.tv_sec) + static_cast<f64>(time.tv_usec) / 1e6;
}

/// The limit in bytes; null where there is none.
Json limit_of(int resource) {
    rlimit limit{};
    if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return nullptr;
    }
    return limit.rlim_cur;
}

}  // namespace

Json to_json(const spe::ProfilingStats& stats) {
    Json object = counters(stats, kSpeCounters);
    object["pins"] = counters(stats.pins, kPinCacheCounters);
    // Nanoseconds from which on a bucket counts; each reaches up to the double.
    Json& times = object["store_times"] = Json::object();
    for (std::size_t i = 0; i < stats.store_times.size(); ++i) {
        if (stats.store_times[i] != 0) {
            times[std::to_string(u64{1} << i)] = stats.store_times[i];
        }
    }
    return object;
}

Json to_json(const mm::PinServiceStats& stats) {
    Json object = counters(stats, kPinServiceCounters);
    for (std::size_t i = 0; i < stats.unpins.size(); ++i) {
        object["unpins"][std::string(mm::to_string(static_cast<mm::UnpinCause>(i)))] = stats.unpins[i];
    }
    return object;
}

Json to_json(const mm::PinStats& stats) {
    return counters(stats, kPinCounters);
}

bool is_maximum(std::string_view name) {
    return name.starts_with("slowest_");
}

void add_counters(Json& sum, const Json& other) {
    for (const auto& item : other.items()) {
        if (item.value().is_object()) {
            Json& member = sum[item.key()];
            if (member.is_null()) {
                member = Json::object();
            }
            add_counters(member, item.value());
        } else if (item.value().is_number_unsigned()) {
            Json& total = sum[item.key()];
            const u64 before = total.is_null() ? u64{0} : total.get<u64>();
            const u64 value = item.value().get<u64>();
            total = is_maximum(item.key()) ? std::max(before, value) : before + value;
        }
    }
}

Json process_stats() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    u64 size = 0;
    u64 resident = 0;  // pages
    std::ifstream("/proc/self/statm") >> size >> resident;
    return Json{{"user_seconds", seconds(usage.ru_utime)},
                {"system_seconds", seconds(usage.ru_stime)},
                {"resident_bytes", resident * static_cast<u64>(::sysconf(_SC_PAGESIZE))},
                {"peak_resident_bytes", static_cast<u64>(usage.ru_maxrss) * 1024},
                {"page_faults", usage.ru_minflt + usage.ru_majflt},
                {"locked_memory_limit_bytes", limit_of(RLIMIT_MEMLOCK)}};
}

Json Machine::info() const {
    const f64 uptime = std::chrono::duration<f64>(std::chrono::steady_clock::now() - started_).count();
    Json out = ok_reply();
    out["protocol"] = kControlProtocolVersion;
    out["version"] = VMM_VERSION;
    out["name"] = config_.name;
    out["pid"] = ::getpid();
    switch (state_.load()) {
        case GuestState::running: out["state"] = "running"; break;
        case GuestState::paused: out.update({{"state", "paused"}, {"reason", "requested"}}); break;
        case GuestState::spe_exit: out.update({{"state", "paused"}, {"reason", "spe-exit"}}); break;
        case GuestState::pin_shortage: out.update({{"state", "paused"}, {"reason", "pin-shortage"}}); break;
        case GuestState::ending: out["state"] = "ending"; break;
    }
    out["uptime_seconds"] = uptime;
    return out;
}

Json Machine::stat() const {
    Json out = info();
    u64 operations = 0;
    Json spe_totals;
    Json cpus = Json::array();
    for (const auto& cpu : cpus_) {
        Json row{{"index", cpu->index()},
                 {"power", power_name(cpu->power.state())},
                 {"operations", cpu->operations()}};
        operations += cpu->operations();
        if (cpu->spe != nullptr) {
            Json unit = to_json(cpu->spe->stats());
            add_counters(spe_totals, unit);
            row["spe"] = Json{{"state", stop_name(cpu->spe->stop_mode())}};
            row["spe"].update(unit);
        }
        cpus.push_back(std::move(row));
    }
    out["cpus"] = std::move(cpus);
    out["totals"] = Json{{"operations", operations}};
    if (!spe_totals.is_null()) {
        out["totals"]["spe"] = std::move(spe_totals);
    }
    out["memory"] = Json{{"bytes", config_.memory}};
    out["memory"]["pins"] = Json{{"backend", mm::to_string(memory_->pin_kind())}};
    out["memory"]["pins"].update(to_json(memory_->pin_stats()));
    out["memory"]["pins"]["buffers"] = to_json(memory_->pin_service_stats());
    out["memory"]["pins"]["limit_bytes"] = memory_->pin_budget() != 0 ? Json(memory_->pin_budget()) : Json();
    out["process"] = process_stats();
    return out;
}

void Machine::log_statistics() const {
    u64 operations = 0;
    for (const auto& cpu : cpus_) {
        operations += cpu->operations();
        if (cpu->spe != nullptr) {
            const spe::ProfilingStats stats = cpu->spe->stats();
            log("spe").info("vCPU {}: {} samples of {} operations, {} filtered, {} records, {} bytes",
                            cpu->index(), stats.samples, stats.population, stats.filtered, stats.records,
                            stats.bytes);
        }
        if (cpu->host_profiler != nullptr) {
            log("spe").info("vCPU {}: {} samples for the host", cpu->index(), cpu->host_profiler->samples());
        }
    }
    const f64 seconds = std::chrono::duration<f64>(std::chrono::steady_clock::now() - started_).count();
    log("vmm").info("{} operations in {:.3f} s ({:.1f} million/s)", operations, seconds,
                    seconds > 0 ? static_cast<f64>(operations) / seconds / 1e6 : 0.0);
}

}  // namespace vmm
