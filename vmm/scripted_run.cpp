#include "vmm/scripted_run.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "vmm/guest_init/protocol.h"

namespace vmm {

namespace {

using namespace std::chrono_literals;

// A kernel in trouble prints a trace, and an oops may become a panic: it has said everything when it is quiet for a while, or
// has had long enough.
constexpr auto kTroubleQuiet = 500ms;
constexpr auto kTroubleTime = 5s;
constexpr auto kTroublePoll = 50ms;
constexpr std::chrono::milliseconds kNoHurry = 1h;
constexpr std::size_t kShownCommand = 60;

std::string shortened(const std::string& text) {
    const std::string line = text.substr(0, text.find('\n'));
    return line.size() < text.size() || line.size() > kShownCommand ? line.substr(0, kShownCommand) + "..." : line;
}

RunEnd end_with(EndKind kind, std::string text) {
    return {kind, std::move(text), 0};
}

}  // namespace

std::string command_name(const ExecConfig& exec, std::size_t index) {
    if (index >= exec.commands.size()) {
        return fmt::format("script \"{}\"", exec.script);
    }
    const std::string number =
        exec.commands.size() > 1 ? fmt::format(" {} of {}", index + 1, exec.commands.size()) : "";
    return fmt::format("command{} \"{}\"", number, shortened(exec.commands[index]));
}

ScriptedRun::ScriptedRun(const MachineConfig& config, devices::ByteSink& out, std::function<void()> wake)
    : exec_(config.exec),
      timeout_seconds_(config.timeout_seconds),
      console_(exec_.on_oops == OnOops::ignore, wake),
      channel_(out, err_, exec_.copy_out, wake) {}

Result<> ScriptedRun::open_log() {
    if (exec_.console_log.empty()) {
        return {};
    }
    log_file_.reset(::open(exec_.console_log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!log_file_) {
        return fail_errno(errno, "--console-log \"{}\": cannot create", exec_.console_log);
    }
    log_ = std::make_unique<devices::FdSink>(log_file_.get());
    console_.copy_to(log_.get());
    return {};
}

void ScriptedRun::start_input(std::function<std::size_t(std::span<const u8>)> deliver) {
    input_ = std::make_unique<GuestInput>(STDIN_FILENO, std::move(deliver));
    channel_.offer_input([this](u32 size) { input_->want(size); });
}

void ScriptedRun::stop_input() {
    channel_.offer_input({});
    input_.reset();
}

void ScriptedRun::begin() { begun_ = Clock::now(); }

void ScriptedRun::print_notes() {
    for (const std::string& note : channel_.take_notes()) {
        err_.flush_for(1000ms);
        std::fprintf(stderr, "vmm: in the guest: %s\n", note.c_str());
    }
}

std::optional<RunEnd> ScriptedRun::check() {
    print_notes();
    if (channel_.over()) {
        return end_of_commands(channel_.progress());
    }
    if (!trouble_at_ && console_.trouble()) {
        trouble_at_ = Clock::now();
    }
    if (auto end = end_by_trouble()) {
        return end;
    }
    return end_by_time();
}

RunEnd ScriptedRun::end_of_commands(const GuestChannel::Progress& progress) const {
    if (progress.broken) {
        return end_with(EndKind::guest_ended, "what the guest sends is not what its init would send");
    }
    const auto trouble = console_.trouble();
    if (trouble && exec_.on_oops != OnOops::ignore) {
        return end_with(trouble->kind, fmt::format("the guest's kernel said: {}", trouble->line));
    }
    if (progress.status == VMM_STATUS_NOT_RUN) {
        return end_with(EndKind::guest_ended, "the guest could not be prepared for the commands");
    }
    if (progress.status != 0 && !progress.commands.empty()) {
        return {EndKind::command_failed,
                fmt::format("{} ended with status {}", command_name(exec_, progress.commands.size() - 1),
                            progress.status),
                static_cast<int>(progress.status)};
    }
    for (const CopySink::Copy& copy : progress.copies) {
        if (!copy.error.empty()) {
            return end_with(EndKind::host_error,
                            fmt::format("--copy-out \"{}:{}\": {}", copy.paths.from, copy.paths.to, copy.error));
        }
    }
    return {};
}

std::optional<RunEnd> ScriptedRun::end_by_trouble() const {
    const auto trouble = console_.trouble();
    if (!trouble || (trouble->kind != EndKind::panic && exec_.on_oops != OnOops::stop)) {
        return std::nullopt;
    }
    const auto now = Clock::now();
    const bool over = trouble->kind == EndKind::panic && trouble->complete;
    if (!over && now - console_.last_output() < kTroubleQuiet && now - *trouble_at_ < kTroubleTime) {
        return std::nullopt;
    }
    return end_with(trouble->kind, fmt::format("the guest's kernel said: {}", trouble->line));
}

std::optional<RunEnd> ScriptedRun::end_by_time() const {
    const auto now = Clock::now();
    const auto expired = [now](u64 seconds, Clock::time_point since) {
        return seconds != 0 && now - since >= std::chrono::seconds(seconds);
    };
    if (expired(timeout_seconds_, begun_)) {
        return end_with(EndKind::timeout, fmt::format("--timeout: the guest still ran after {} s", timeout_seconds_));
    }
    if (!channel_.said_hello() && expired(exec_.boot_timeout_seconds, begun_)) {
        return end_with(EndKind::boot_timeout,
                        fmt::format("--boot-timeout: the guest had not started its init after {} s", exec_.boot_timeout_seconds));
    }
    const auto last = std::max({begun_, console_.last_output(), channel_.last_output()});
    if (expired(exec_.idle_timeout_seconds, last)) {
        return end_with(EndKind::idle_timeout,
                        fmt::format("--idle-timeout: nothing was printed for {} s", exec_.idle_timeout_seconds));
    }
    return std::nullopt;
}

std::chrono::milliseconds ScriptedRun::patience() const {
    if (trouble_at_ && !channel_.over()) {
        return kTroublePoll;
    }
    const auto now = Clock::now();
    std::chrono::milliseconds left = kNoHurry;
    const auto consider = [&](u64 seconds, Clock::time_point since) {
        if (seconds != 0) {
            const auto at = since + std::chrono::seconds(seconds);
            left = std::min(left, std::chrono::ceil<std::chrono::milliseconds>(std::max(at - now, Clock::duration{0})));
        }
    };
    consider(timeout_seconds_, begun_);
    if (!channel_.said_hello()) {
        consider(exec_.boot_timeout_seconds, begun_);
    }
    consider(exec_.idle_timeout_seconds, std::max({begun_, console_.last_output(), channel_.last_output()}));
    return left;
}

std::optional<RunEnd> ScriptedRun::end_of_guest(StopReason reason) {
    if (channel_.over()) {
        return check();
    }
    print_notes();
    const auto trouble = console_.trouble();
    switch (reason) {
        case StopReason::system_off:
        case StopReason::all_cpus_off:
        case StopReason::system_reset:
            if (trouble) {
                return end_with(trouble->kind, fmt::format("the guest's kernel said: {}", trouble->line));
            }
            break;
        case StopReason::console_quit: return end_with(EndKind::stopped, "stopped at its console");
        case StopReason::none:
        case StopReason::host:
        case StopReason::pin_shortage:
        case StopReason::spe_exit: return std::nullopt;
    }
    const char* when = channel_.said_hello() ? "before all commands had ended" : "before its init had started";
    if (reason == StopReason::system_reset) {
        return end_with(EndKind::reset, fmt::format("the guest reset itself {}", when));
    }
    return end_with(EndKind::guest_ended, fmt::format("the guest {} {}",
                                                      reason == StopReason::system_off ? "powered itself off"
                                                                                       : "switched off all its CPUs",
                                                      when));
}

void ScriptedRun::set_limited(bool limited) {
    err_.set_limited(limited);
    if (log_ != nullptr) {
        log_->set_limited(limited);
    }
}

void ScriptedRun::drain(std::chrono::milliseconds patience) {
    if (!err_.flush_for(patience)) {
        err_.abandon();
    }
    if (log_ != nullptr && !log_->flush_for(patience)) {
        log_->abandon();
    }
}

}  // namespace vmm
