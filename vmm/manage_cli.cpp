#include "vmm/manage_cli.h"

#include <CLI/CLI.hpp>

#include "vmm/cli_values.h"

namespace vmm {

ManageCommandLine::ManageCommandLine(CLI::App& app) {
    using Action = ManageCommand::Action;
    const auto add = [&](CLI::App& parent, const char* name, const char* text, Action action) -> CLI::App& {
        CLI::App* added = parent.add_subcommand(name, text);
        rows_.push_back({added, action});
        return *added;
    };
    constexpr const char* kJsonText = "Print JSON";
    add(app, "list", "List the running guests", Action::list).add_flag("--json", json_, kJsonText);
    CLI::App& stat = add(app, "stat", "Print the counters of a running guest", Action::stat);
    stat.add_flag("--json", json_, kJsonText);
    add_targets(stat, false);
    add_targets(add(app, "stop", "End running guests", Action::stop), true);
    add_targets(add(app, "pause", "Stop the CPUs of running guests until they are resumed", Action::pause),
                true);
    add_targets(add(app, "resume", "Let paused guests go on", Action::resume), true);
    add_targets(
        add(app, "debug", "Print registers and backtraces of all CPUs of a running guest", Action::debug),
        false);
    CLI::App& balloon =
        add(app, "balloon", "Ask a running guest for memory, and print what it has given", Action::balloon);
    balloon.add_option("--size", size_, "What it is to give in total; a bare number is MiB; suffixes K M G T")
        ->type_name("SIZE");
    balloon.add_flag("--json", json_, kJsonText);
    add_targets(balloon, false);
    spe_ = app.add_subcommand("spe", "Stop and resume the profiling units of a running guest");
    spe_->require_subcommand(1);
    CLI::App& stop =
        add(*spe_, "stop", "The guest's profiling goes without effect from now on", Action::spe_stop);
    stop.add_option("--mode", mode_,
                    "trap: that is all (default); exit: and pause the guest when it profiles")
        ->type_name("trap|exit");
    add_targets(stop, false);
    add_targets(add(*spe_, "resume", "Profiling takes effect again", Action::spe_resume), false);
}

void ManageCommandLine::add_targets(CLI::App& app, bool several) {
    app.add_option("NAME", positional_name_, "Name of the guest, as 'vmm list' shows it");
    app.add_option("-n,--name", name_, "The same as NAME")->type_name("NAME");
    app.add_option("--control", control_, "The control socket of a guest, instead of its name")
        ->type_name("PATH");
    if (several) {
        app.add_flag("-a,--all", all_, "All guests of this user");
    }
}

std::optional<Result<ManageCommand>> ManageCommandLine::command() const {
    for (const Row& row : rows_) {
        if (!row.app->parsed()) {
            continue;
        }
        ManageCommand command;
        command.action = row.action;
        command.name = positional_name_.empty() ? name_ : positional_name_;
        command.all = all_;
        command.control = control_;
        command.json = json_;
        const int given = (positional_name_.empty() ? 0 : 1) + (name_.empty() ? 0 : 1) + (all_ ? 1 : 0) +
                          (control_.empty() ? 0 : 1);
        if (row.action != ManageCommand::Action::list && given != 1) {
            return fail_usage("{}: needs one guest: NAME{} or --control PATH (see 'vmm list')",
                              row.app->get_name(), row.app->get_option_no_throw("--all") ? ", --all" : "");
        }
        const auto mode = parse_stop_mode(mode_);
        if (!mode) {
            return fail_usage("--mode \"{}\": must be one of trap, exit", mode_);
        }
        command.mode = *mode;
        if (!size_.empty()) {
            VMM_TRY(command.bytes, parse_size("--size", size_, u64{1} << 20));
        }
        return command;
    }
    return std::nullopt;
}

}  // namespace vmm
