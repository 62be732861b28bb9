#include "vmm/machine.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "vmm/base/check.h"
#include "vmm/dump.h"
#include "vmm/gdb/stub.h"
#include "vmm/memory_map.h"

namespace vmm {

namespace {

using namespace std::chrono_literals;

constexpr auto kPauseTimeout = 10s;
constexpr std::chrono::milliseconds kNoHurry = 24h * 365;

}  // namespace

void Machine::boot() {
    place_boot_files(files_, plan_, dtb_, memory_->ram());
    files_.kernel.bytes = std::vector<u8>();  // they are as large as all the rest of us; reset() reads them again
    files_.initrd = std::vector<u8>();
    VMM_CHECK(cpus_.front()->power.switch_on({plan_.entry, plan_.dtb}) == devices::PsciStatus::success);
}

Result<> Machine::reset() {
    VMM_TRY(files_, load_boot_files(config_.kernel, config_.initrd, config_.memory));
    BootPlan plan;
    VMM_TRY(plan, plan_boot(files_, {kRamBase, config_.memory}));
    if (plan != plan_) {
        return fail("the guest cannot restart: its kernel or initial RAM disk has changed since it was started");
    }
    bus_.reset();
    gic_->reset();
    for (const auto& cpu : cpus_) {
        cpu->power.switch_off();
        cpu->begin({});
    }
    // Memory starts empty again; where parts cannot be given back the boot files simply overwrite what they
    // need.
    if (auto discarded = memory_->discard({kRamBase, config_.memory}); !discarded) {
        log("vmm").info("reset: memory keeps its content: {}", discarded.error().text);
    }
    boot();
    return {};
}

void Machine::kick_cpus() {
    executor_->kick();
}

void Machine::pause(StopReason reason) {
    control_.stop(reason);
    executor_->kick();
    // A vCPU may be waiting for standard output to take what the guest prints.
    set_output_limited(false);
    const bool joined = executor_->join(kPauseTimeout);
    set_output_limited(true);
    if (!joined) {
        restore_terminal();
        remove_control_socket();
        std::fprintf(stderr, "vmm: internal error: a vCPU does not stop\n%s", dump_unsafely().c_str());
        ::_exit(exit_status(ExitStatus::internal_error, script_ != nullptr));
    }
}

void Machine::set_output_limited(bool limited) {
    output_.set_limited(limited);
    if (script_ != nullptr) {
        script_->set_limited(limited);
    }
}

bool Machine::update_state() {
    if (gdb_ != nullptr) {
        gdb_->collect();
    }
    const bool paused = pause_requested_ || (gdb_ != nullptr && gdb_->halted());
    const Cpu* blocked = cpu_in_spe_exit();
    if (blocked != nullptr && !spe_exit_reported_) {
        log("spe").warn("paused: vCPU {} would profile, which is stopped ('vmm spe resume {}')", blocked->index(),
                        config_.name);
    }
    spe_exit_reported_ = blocked != nullptr;
    state_ = blocked != nullptr ? GuestState::spe_exit
             : !pins_found()    ? GuestState::pin_shortage
             : paused           ? GuestState::paused
                                : GuestState::running;
    return state_ == GuestState::running;
}

void Machine::resume() {
    if (update_state()) {
        executor_->start();
    }
}

bool Machine::pins_found() {
    if (!short_of_pins_) {
        return true;
    }
    const std::optional<mm::PinShortage> shortage = memory_->pin_service().retry();
    if (shortage && !std::exchange(shortage_reported_, true)) {
        std::fprintf(stderr,
                     "vmm: paused: a profiling buffer cannot be pinned, %llu bytes are missing (%s); the guest goes on "
                     "as soon as there is room, say after 'prlimit --pid %d --memlock=...'\n",
                     static_cast<unsigned long long>(shortage->missing_bytes), shortage->text.c_str(), ::getpid());
    } else if (!shortage) {
        short_of_pins_ = false;
        if (std::exchange(shortage_reported_, false)) {
            std::fputs("vmm: resumed: the profiling buffer is pinned\n", stderr);
        }
    }
    return !shortage;
}

void Machine::drain_output(std::chrono::milliseconds patience) {
    const auto start = std::chrono::steady_clock::now();
    while (!output_.flush_for(100ms)) {
        if (events_->wait(-1, 0ms) || serve_control_at_end() || std::chrono::steady_clock::now() - start >= patience) {
            output_.abandon();
        }
    }
}

int Machine::end(const char* why, int status, std::chrono::milliseconds patience) {
    state_ = GuestState::ending;
    input_.reset();
    drain_output(patience);
    restore_terminal();
    if (why != nullptr) {
        std::fprintf(stderr, "vmm: %s\n", why);
    }
    log_statistics();
    if (host_trace_ != nullptr) {
        if (const auto written = host_trace_->finish(); !written) {
            std::fprintf(stderr, "vmm: %s\n", written.error().text.c_str());
            status = status != static_cast<int>(ExitStatus::ok) ? status : static_cast<int>(written.error().status);
        }
    }
    return report_end({plain_end(status), why == nullptr ? "" : why, 0}, status);
}

std::optional<int> Machine::handle_stop() {
    // A guest that is done waits for its reader; a run that was ended from outside does not.
    const StopReason reason = control_.take();
    if (script_ != nullptr) {
        if (auto run_end = script_->end_of_guest(reason)) {
            return end_script(*std::move(run_end));
        }
    }
    switch (reason) {
        case StopReason::none:
        case StopReason::host:
        case StopReason::pin_shortage:
        case StopReason::spe_exit: break;
        case StopReason::system_off:
        case StopReason::console_quit: return end(nullptr, static_cast<int>(ExitStatus::ok), kNoHurry);
        case StopReason::all_cpus_off:
            return end("the guest cannot go on: it has switched off all its CPUs",
                       static_cast<int>(ExitStatus::guest_error), kPrintPatience);
        case StopReason::system_reset:
            if (const auto restarted = reset(); !restarted) {
                return end(restarted.error().text.c_str(), static_cast<int>(restarted.error().status), kPrintPatience);
            }
            break;
    }
    resume();
    return std::nullopt;
}

int Machine::run(HostEvents& events) {
    using std::chrono::steady_clock;
    events_ = &events;
    const auto deadline = steady_clock::now() + std::chrono::seconds(config_.timeout_seconds);
    if (script_ == nullptr) {
        start_console_input();
    } else {
        if (config_.exec.standard_input) {
            script_->start_input([this](std::span<const u8> bytes) { return uarts_[kChannelUart]->push_input(bytes); });
        }
        script_->begin();
    }
    boot();
    resume();
    start_control();
    for (;;) {
        if (const auto status = serve_control()) {
            return *status;
        }
        if (const auto status = serve_gdb()) {
            return *status;
        }
        auto wait = std::chrono::milliseconds(1000);
        if (script_ != nullptr) {
            if (auto run_end = script_->check()) {
                pause(StopReason::host);
                return end_script(*std::move(run_end));
            }
            wait = std::min(wait, script_->patience());
        } else if (config_.timeout_seconds != 0) {
            const auto left =
                std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
            wait = std::clamp(left + 1ms, 0ms, wait);
        }
        const std::optional<int> signal = events.wait(control_.event_fd(), wait);
        control_.acknowledge();
        if (control_.stopping()) {
            pause(StopReason::host);
            if (const auto status = handle_stop()) {
                return *status;
            }
        } else if (!signal && state_ == GuestState::pin_shortage) {
            resume();
        } else if (signal && *signal == SIGCONT) {
            shortage_reported_ = false;  // whoever sends it wants to know
        } else if (signal && *signal == SIGQUIT) {
            pause(StopReason::host);
            std::fputs(dump().c_str(), stderr);
            if (const auto status = handle_stop()) {
                return *status;
            }
        } else if (signal) {
            pause(StopReason::host);
            const std::string why = fmt::format("ended by signal {}", *signal);
            if (script_ != nullptr) {
                return end_script({EndKind::stopped, why, 0});
            }
            return end(why.c_str(), static_cast<int>(ExitStatus::signal_base) + *signal, kPrintPatience);
        } else if (script_ == nullptr && config_.timeout_seconds != 0 && steady_clock::now() >= deadline) {
            pause(StopReason::host);
            const int status =
                end(fmt::format("--timeout: the guest still ran after {} s", config_.timeout_seconds).c_str(),
                    static_cast<int>(ExitStatus::timeout), kPrintPatience);
            std::fputs(dump().c_str(), stderr);
            return status;
        }
        if (insn_clock_ == nullptr) {
            rtc_->poll();
        }
    }
}

void Machine::start_console_input() {
    make_terminal_raw(STDIN_FILENO);
    input_ = std::make_unique<ConsoleInput>(
        STDIN_FILENO, [this](std::span<const u8> bytes) { return console_input(bytes); },
        [this] {
            control_.stop(StopReason::console_quit);
            kick_cpus();
        });
}

std::size_t Machine::console_input(std::span<const u8> bytes) {
    return virtio_console_ != nullptr ? virtio_console_->push_input(bytes)
                                      : uarts_.front()->push_input(bytes);
}

std::string Machine::dump() {
    std::string out;
    for (const auto& cpu : cpus_) {
        out += dump_registers(*cpu) + dump_backtrace(*cpu);
    }
    return out;
}

std::string Machine::dump_unsafely() const {
    std::string out;
    for (const auto& cpu : cpus_) {
        out += dump_registers(*cpu);
    }
    return out;
}

}  // namespace vmm
