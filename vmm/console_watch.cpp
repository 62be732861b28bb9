#include "vmm/console_watch.h"

#include <algorithm>
#include <cctype>

namespace vmm {

namespace {

constexpr std::size_t kMaxWarnings = 100;

enum class At : u8 { begin, anywhere };

struct Pattern {
    std::string_view text;
    At at;
    EndKind kind;
};

// The first that fits counts. Texts are those of Linux's panic(), die(), bug handlers, watchdogs and RCU.
constexpr Pattern kPatterns[] = {
    {"Kernel panic - not syncing", At::begin, EndKind::panic},
    {"watchdog: BUG: soft lockup", At::begin, EndKind::stall},
    {"BUG: soft lockup", At::begin, EndKind::stall},
    {"BUG: workqueue lockup", At::begin, EndKind::stall},
    {"Watchdog detected hard LOCKUP", At::anywhere, EndKind::stall},
    {"rcu: INFO: rcu_", At::begin, EndKind::stall},
    {"INFO: rcu_", At::begin, EndKind::stall},
    {"Internal error: ", At::begin, EndKind::oops},
    {"Unable to handle kernel ", At::begin, EndKind::oops},
    {"kernel BUG at ", At::begin, EndKind::oops},
    {"BUG: ", At::begin, EndKind::oops},
    {"Bad mode in ", At::begin, EndKind::oops},
};

/// Without the prefixes of printk: "[   12.345678]", "[    T1]", "[C0]".
std::string_view without_prefix(std::string_view line) {
    while (line.starts_with('[')) {
        const std::size_t end = line.find(']');
        const auto belongs = [](char c) {
            return std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '.' || c == ' ' || c == 'T' || c == 'C';
        };
        if (end == std::string_view::npos || !std::all_of(line.begin() + 1, line.begin() + static_cast<std::ptrdiff_t>(end), belongs)) {
            break;
        }
        line.remove_prefix(end + 1);
        line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    }
    return line;
}

bool is_hung_task(std::string_view text) {
    return text.starts_with("INFO: task ") && text.find(" blocked for more than ") != std::string_view::npos;
}

bool is_end_mark(std::string_view text, EndKind kind) {
    return kind == EndKind::panic ? text.starts_with("---[ end Kernel panic") : text.starts_with("---[ end trace");
}

}  // namespace

std::optional<EndKind> trouble_in(std::string_view line) {
    const std::string_view text = without_prefix(line);
    for (const Pattern& pattern : kPatterns) {
        if (pattern.at == At::begin ? text.starts_with(pattern.text) : text.find(pattern.text) != std::string_view::npos) {
            // RCU also informs about less: only stalls count.
            const bool of_rcu = pattern.text.ends_with("rcu_");
            if (!of_rcu || text.find("stall") != std::string_view::npos) {
                return pattern.kind;
            }
        }
    }
    return is_hung_task(text) ? std::optional(EndKind::stall) : std::nullopt;
}

ConsoleWatch::ConsoleWatch(bool panics_only, std::function<void()> alarm)
    : panics_only_(panics_only), alarm_(std::move(alarm)) {}

void ConsoleWatch::put(std::span<const u8> bytes) {
    if (next_ != nullptr) {
        next_->put(bytes);
    }
    last_output_.store(Clock::now(), std::memory_order_relaxed);
    bool alarm = false;
    {
        const std::lock_guard lock(mutex_);
        for (const u8 byte : bytes) {
            if (byte == '\n') {
                alarm |= end_line();
            } else if (byte != '\r' && byte != 0 && line_.size() < kMaxLine) {
                line_.push_back(static_cast<char>(byte));
            }
        }
    }
    if (alarm) {
        alarm_();
    }
}

bool ConsoleWatch::end_line() {
    ++lines_;
    bool alarm = false;
    const std::string_view text = without_prefix(line_);
    if (const auto kind = trouble_in(line_); kind && (*kind == EndKind::panic || !panics_only_)) {
        if (!trouble_ || (*kind == EndKind::panic && trouble_->kind != EndKind::panic)) {
            trouble_ = Trouble{*kind, std::string(text), false};
            alarm = true;
        }
    } else if (trouble_ && !trouble_->complete && is_end_mark(text, trouble_->kind)) {
        trouble_->complete = true;
        alarm = true;
    } else if (text.starts_with("WARNING: ") && warnings_.size() < kMaxWarnings) {
        warnings_.emplace_back(text);
    }
    kept_.push_back(std::move(line_));
    line_.clear();
    if (kept_.size() > kKeptLines) {
        kept_.pop_front();
    }
    return alarm;
}

std::optional<ConsoleWatch::Trouble> ConsoleWatch::trouble() const {
    const std::lock_guard lock(mutex_);
    return trouble_;
}

std::vector<std::string> ConsoleWatch::last_lines(std::size_t count) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> lines(kept_.begin(), kept_.end());
    if (!line_.empty()) {
        lines.push_back(line_);
    }
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(std::min(count, lines.size())));
    return lines;
}

std::vector<std::string> ConsoleWatch::warnings() const {
    const std::lock_guard lock(mutex_);
    return warnings_;
}

u64 ConsoleWatch::lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
}

}  // namespace vmm
