// What a machine does when it is asked through its control socket.
#include <nlohmann/json.hpp>

#include "vmm/base/log.h"
#include "vmm/machine.h"

namespace vmm {

Result<> Machine::open_control() {
    const ControlConfig& wanted = config_.control;
    if (!wanted.enabled) {
        return {};
    }
    bool in_use = false;
    auto listener = wanted.path.empty() ? ControlListener::for_name(config_.name, &in_use)
                                        : ControlListener::at_path(wanted.path);
    if (listener) {
        control_listener_ = *std::move(listener);
        return {};
    }
    if (!wanted.path.empty()) {
        return fail("--control \"{}\": {}", wanted.path, listener.error().text);
    }
    if (in_use && wanted.name_given) {
        return fail("--name \"{}\": a guest of that name is running", config_.name);
    }
    log("vmm").warn("no control socket: {}", listener.error().text);
    return {};
}

void Machine::start_control() {
    if (!control_listener_) {
        return;
    }
    control_server_ = std::make_unique<ControlServer>(
        *std::move(control_listener_),
        ControlServer::Hooks{[this](const ControlRequest& request) { return answer_now(request); },
                             [this] { control_.notify(); }});
    control_listener_.reset();
}

std::optional<Json> Machine::answer_now(const ControlRequest& request) const {
    switch (request.command) {
        case ControlCommand::info: return info();
        case ControlCommand::stat: return stat();
        default: return std::nullopt;
    }
}

std::optional<int> Machine::serve_control() {
    if (control_server_ == nullptr) {
        return std::nullopt;
    }
    bool paused = false;
    control_server_->serve([&](const ControlRequest& request) {
        if (!paused) {
            pause(StopReason::host);
            paused = true;
        }
        Json reply = execute(request);
        update_state();  // before the client knows
        return reply;
    });
    if (stop_requested_ && script_ != nullptr) {
        return end_script({EndKind::stopped, "stopped by vmm stop", 0});
    }
    if (stop_requested_) {
        return end(nullptr, static_cast<int>(ExitStatus::ok), kPrintPatience);
    }
    return paused ? handle_stop() : std::nullopt;
}

bool Machine::serve_control_at_end() {
    if (control_server_ == nullptr) {
        return false;
    }
    bool hurry = false;
    control_server_->serve([&](const ControlRequest& request) {
        if (request.command != ControlCommand::stop) {
            return error_reply("the guest has ended; its output is still to be read");
        }
        hurry = true;
        return ok_reply();
    });
    return hurry;
}

const Cpu* Machine::cpu_in_spe_exit() const {
    for (const auto& cpu : cpus_) {
        if (cpu->spe != nullptr && cpu->power.state() == PowerState::State::on && cpu->spe->wants_exit()) {
            return cpu.get();
        }
    }
    return nullptr;
}

/// While no vCPU executes.
Json Machine::execute(const ControlRequest& request) {
    const auto changed = [](bool now) {
        Json reply = ok_reply();
        reply["changed"] = now;
        return reply;
    };
    switch (request.command) {
        case ControlCommand::stop: stop_requested_ = true; return ok_reply();
        case ControlCommand::pause: return changed(!std::exchange(pause_requested_, true));
        case ControlCommand::resume: {
            const bool was_paused = std::exchange(pause_requested_, false);
            if (const Cpu* cpu = cpu_in_spe_exit()) {
                return error_reply(fmt::format(
                    "vCPU {} would profile, which is stopped: 'vmm spe resume' comes first", cpu->index()));
            }
            return changed(was_paused);
        }
        case ControlCommand::debug: {
            Json reply = ok_reply();
            reply["text"] = dump();
            return reply;
        }
        case ControlCommand::balloon: return balloon(request.bytes);
        case ControlCommand::spe_stop: return set_spe_stop(request.mode);
        case ControlCommand::spe_resume: return set_spe_stop(spe::StopMode::none);
        case ControlCommand::info: return info();
        case ControlCommand::stat: return stat();
    }
    return error_reply("unknown command");
}

Json Machine::balloon(std::optional<u64> bytes) {
    if (balloon_ == nullptr) {
        return error_reply("this guest has no balloon ('vmm run --balloon' gives it one)");
    }
    if (bytes && *bytes > config_.memory) {
        return error_reply(fmt::format("the guest has {} bytes of memory only", config_.memory));
    }
    if (bytes) {
        balloon_->set_target(*bytes);
    }
    Json reply = ok_reply();
    reply["target_bytes"] = balloon_->target();
    reply["given_bytes"] = balloon_->given();
    reply["reported_bytes"] = balloon_->reported();
    return reply;
}

Json Machine::set_spe_stop(spe::StopMode mode) {
    if (!config_.spe.enabled) {
        return error_reply("this guest has no SPE ('vmm run --spe' gives it one)");
    }
    for (const auto& cpu : cpus_) {
        if (cpu->spe != nullptr) {
            cpu->spe->set_stop(mode);
        }
    }
    return ok_reply();
}

}  // namespace vmm
