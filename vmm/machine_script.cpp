// How a machine that runs commands for its user begins and ends.
#include <cstdio>

#include <nlohmann/json.hpp>

#include "vmm/gdb/stub.h"
#include "vmm/guest_files.h"
#include "vmm/machine.h"
#include "vmm/run_report.h"

namespace vmm {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kShownLines = 40;
constexpr std::chrono::milliseconds kNoHurry = 24h * 365;

/// Ends after which the user wants to see what the machine was doing.
bool is_mishap(EndKind kind) {
    switch (kind) {
        case EndKind::ok:
        case EndKind::command_failed:
        case EndKind::usage:
        case EndKind::host_error:
        case EndKind::internal_error:
        case EndKind::stopped: return false;
        case EndKind::guest_ended:
        case EndKind::panic:
        case EndKind::oops:
        case EndKind::stall:
        case EndKind::reset:
        case EndKind::boot_timeout:
        case EndKind::timeout:
        case EndKind::idle_timeout: return true;
    }
    return true;
}

}  // namespace

Result<> Machine::prepare_script() {
    if (!config_.exec.enabled()) {
        return {};
    }
    if (files_.kernel.kind == KernelImage::Kind::elf) {
        return fail_usage("--exec: needs a Linux kernel; \"{}\" is a bare-metal program", config_.kernel);
    }
    script_ = std::make_unique<ScriptedRun>(config_, output_, [this] {
        // Where all is said the guest stops at once: with --clock=insn, after the same operation in every run.
        if (script_->over()) {
            control_.stop(StopReason::host);
            kick_cpus();
        }
        control_.notify();
    });
    VMM_TRY(files_.initrd, make_scripted_initrd(config_, std::move(files_.initrd), config_.memory));
    return {};
}

/// After pause().
int Machine::end_script(RunEnd run_end) {
    const bool complete = run_end.kind == EndKind::ok || run_end.kind == EndKind::command_failed ||
                          run_end.kind == EndKind::host_error;
    state_ = GuestState::ending;
    drain_output(complete ? kNoHurry : kPrintPatience);
    script_->drain(kPrintPatience);
    if (host_trace_ != nullptr) {
        if (const auto written = host_trace_->finish(); !written && run_end.kind == EndKind::ok) {
            run_end = {EndKind::host_error, written.error().text, 0};
        }
    }
    std::string text = run_end.text.empty() ? "" : fmt::format("vmm: {}\n", run_end.text);
    if (is_mishap(run_end.kind)) {
        text += "vmm: the last lines of the guest's console:\n";
        for (const std::string& line : script_->watch().last_lines(kShownLines)) {
            text += "| " + line + "\n";
        }
        text += dump();
    }
    std::fputs(text.c_str(), stderr);
    log_statistics();
    return report_end(run_end, exit_status(run_end));
}

int Machine::report_end(const RunEnd& run_end, int status) {
    if (gdb_ != nullptr) {
        gdb_->exited(status);
    }
    if (config_.result.empty() && config_.junit.empty()) {
        return status;
    }
    using Seconds = std::chrono::duration<f64>;
    RunReport report;
    report.end = run_end;
    report.status = status;
    report.started = started_at_;
    report.seconds = Seconds(std::chrono::steady_clock::now() - started_).count();
    report.kernel_format = files_.kernel.description;
    if (script_ != nullptr) {
        report.progress = script_->progress();
        report.console = &script_->watch();
        if (report.progress.hello) {
            report.boot_seconds = Seconds(report.progress.hello_at - script_->begun()).count();
        }
    }
    const Json counters = stat();
    for (const char* part : {"cpus", "totals", "memory", "process"}) {
        report.statistics[part] = counters[part];
    }
    if (const auto written = write_reports(config_, report); !written) {
        std::fprintf(stderr, "vmm: %s\n", written.error().text.c_str());
        return status != 0 ? status : exit_status(written.error().status, script_ != nullptr);
    }
    return status;
}

}  // namespace vmm
