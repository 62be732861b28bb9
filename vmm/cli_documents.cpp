#include "vmm/cli_documents.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "arch/cpu_model.h"

namespace vmm {

namespace {

constexpr const char* kMatrixText =
    R"(.SH MATRIX FILES
.B vmm matrix
reads TOML. Options of
.B vmm run
go by their long names without dashes; flags are true or false, repeatable options may be arrays.
.PP
.nf
[run]                  # options of all cells
initrd = "initramfs.cpio"
cpus = 1
timeout = 300

[[kernels]]            # each axis: a name, and options
name = "6.1"
kernel = "vmlinuz"

[[cpu\-models]]
name = "n1"
cpu = "neoverse\-n1"

[[spe]]
name = "spe1.2"
spe = true

[[commands]]
name = "uname"
exec = ["uname \-a", "true"]

[[exclude]]            # cells left out: all that match every line
kernels = "6.1"
commands = ["uname"]
.fi
.PP
cpu\-models and spe may be missing. An option of a later axis replaces the same one before it, in the order run, kernels,
cpu\-models, spe, commands. Relative paths start at the folder of the file, but those to be written (copy\-out, dump\-dtb,
spe\-host\-trace) at the cell's folder, which has result.json, console.log, stdout and stderr.
)";

constexpr const char* kFilesText =
    R"(.SH FILES
.TP
.I $XDG_RUNTIME_DIR/vmm/NAME.sock
control socket of a running guest; /tmp/vmm\-UID/NAME.sock where the variable is not set
.SH ENVIRONMENT
.TP
.B XDG_RUNTIME_DIR, TMPDIR
where control sockets are, and the changes of disks with
.B cow
)";

std::vector<const CLI::Option*> options_of(const CLI::App& app) {
    return app.get_options([](const CLI::Option* option) { return option->nonpositional(); });
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
    return app.get_subcommands([](const CLI::App*) { return true; });
}

/// Text that roff prints as it is; long words may break at brackets.
std::string roff(std::string_view text) {
    std::string out;
    bool line_start = true;
    for (const char c : text) {
        if (line_start && (c == '.' || c == '\'')) {
            out += "\\&";
        }
        out += c == '\\'              ? "\\e"
               : c == '-'             ? "\\-"
               : c == '[' || c == '|' ? std::string("\\:") + c
                                      : std::string(1, c);
        line_start = c == '\n';
    }
    return out;
}

std::vector<std::string> spellings(const CLI::Option& option) {
    std::vector<std::string> names;
    for (const std::string& name : option.get_snames()) {
        names.push_back("-" + name);
    }
    for (const std::string& name : option.get_lnames()) {
        names.push_back("--" + name);
    }
    return names;
}

bool takes_value(const CLI::Option& option) {
    return option.get_expected_max() > 0 && option.get_items_expected_max() > 0;
}

std::string man_option(const CLI::Option& option) {
    std::string text = ".TP\n.B " + roff(fmt::format("{}", fmt::join(spellings(option), ", ")));
    if (takes_value(option)) {
        text += " " + roff(option.get_type_name());
    }
    return text + "\n" + roff(option.get_description()) + "\n";
}

std::string positionals(const CLI::App& app) {
    std::string text;
    for (const CLI::Option* option :
         app.get_options([](const CLI::Option* each) { return each->get_positional(); })) {
        text += " [" + option->get_name(true, false) + "]";
    }
    return text;
}

void man_commands(const CLI::App& app, const std::string& path, std::string& text) {
    for (const CLI::App* command : commands_of(app)) {
        const std::string name = path + " " + command->get_name();
        const bool final = commands_of(*command).empty();
        if (final) {
            text += fmt::format(".SS \"{} [options]{}\"\n{}.\n", roff(name), roff(positionals(*command)),
                                roff(command->get_description()));
            for (const CLI::Option* option : options_of(*command)) {
                text += man_option(*option);
            }
        }
        man_commands(*command, name, text);
    }
}

/// The words that a value may be, where the option tells: "a|b" as its type, or a CPU model.
std::vector<std::string> choices(const CLI::Option& option) {
    const std::string type = option.get_type_name();
    std::vector<std::string> words;
    if (type == "MODEL") {
        for (const arch::CpuModel& model : arch::cpu_models()) {
            words.emplace_back(model.name);
        }
    } else if (type.find('|') != std::string::npos && type.find_first_of("[,") == std::string::npos) {
        words = CLI::detail::split(type, '|');
    }
    return words;
}

/// One arm of the completion's `case "$command $prev"`; empty where nothing is known about values.
std::string value_arm(const std::string& command, const CLI::Option& option) {
    std::string patterns;
    for (const std::string& name : spellings(option)) {
        patterns += (patterns.empty() ? "\"" : " | \"") + command + " " + name + "\"";
    }
    std::string kind;
    const std::string type = option.get_type_name();
    const auto begins = [&](std::string_view word) {
        return type == word || type.starts_with(std::string(word) + "[") ||
               type.starts_with(std::string(word) + ",");
    };
    if (const auto words = choices(option); !words.empty()) {
        kind = fmt::format("COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))", fmt::join(words, " "));
    } else if (begins("FILE") || begins("PATH") || begins("FROM:TO") || begins("DIR|IMAGE")) {
        kind = "_vmm_files -f";
    } else if (begins("DIR")) {
        kind = "_vmm_files -d";
    } else if (type == "NAME" && command != "run") {
        kind = "_vmm_guests";
    }
    return fmt::format("        {})\n            {}\n            return ;;\n", patterns,
                       kind.empty() ? ":" : kind);
}

struct Tables {
    std::string values;   // arms that complete the value of an option
    std::string options;  // arms that set the options and other words of a command
};

void complete_commands(const CLI::App& app, const std::string& path, Tables& tables) {
    std::string words;
    for (const CLI::App* command : commands_of(app)) {
        words += " " + command->get_name();
    }
    for (const CLI::Option* option : options_of(app)) {
        for (const std::string& name : spellings(*option)) {
            words += name.starts_with("--") ? " " + name : "";
        }
        if (takes_value(*option)) {
            tables.values += value_arm(path, *option);
        }
    }
    const auto positional = app.get_options([](const CLI::Option* each) { return each->get_positional(); });
    const char* others = positional.empty()                                    ? ":"
                         : positional.front()->get_name(true, false) == "NAME" ? "_vmm_guests"
                                                                               : "_vmm_files -f";
    tables.options += fmt::format("        \"{}\") words=\"{}\" others=\"{}\" ;;\n", path, words, others);
    for (const CLI::App* command : commands_of(app)) {
        complete_commands(*command, path.empty() ? command->get_name() : path + " " + command->get_name(),
                          tables);
    }
}

}  // namespace

DocumentCommandLine::DocumentCommandLine(CLI::App& help) {
    help.add_flag("--man", man_, "Print the man page");
    help.add_flag("--completion", completion_, "Print a completion for bash");
}

std::string DocumentCommandLine::text(const CLI::App& app) const {
    return man_ ? man_page(app) : completion_ ? bash_completion(app) : app.help();
}

std::string man_page(const CLI::App& app) {
    std::string text = fmt::format(
        ".TH VMM 1 \"\" \"{}\" \"User Commands\"\n.ad l\n.SH NAME\nvmm \\- runs arm64 guests\n.SH SYNOPSIS\n",
        roff(app.version()));
    for (const CLI::App* command : commands_of(app)) {
        text += fmt::format("{}.B vmm {}\n[options]{}\n", command == commands_of(app).front() ? "" : ".br\n",
                            roff(command->get_name()), roff(positionals(*command)));
    }
    text += ".SH DESCRIPTION\n" + roff(app.get_description()) + ".\n.SH OPTIONS\n";
    for (const CLI::Option* option : options_of(app)) {
        text += man_option(*option);
    }
    text += ".SH COMMANDS\n";
    man_commands(app, "vmm", text);
    text += kMatrixText;
    text += ".SH EXIT STATUS\n.nf\n" + roff(app.get_footer()) + "\n";
    for (const CLI::App* command : commands_of(app)) {
        if (!command->get_footer().empty() && command->get_footer() != app.get_footer()) {
            text += roff("vmm " + command->get_name() + ": " + command->get_footer()) + "\n";
        }
    }
    return text + ".fi\n" + kFilesText;
}

std::string bash_completion(const CLI::App& app) {
    Tables tables;
    complete_commands(app, "", tables);
    return "# bash completion of vmm, made by 'vmm help --completion'\n"
           "_vmm_files() {\n"
           "    compopt -o filenames 2>/dev/null\n"
           "    mapfile -t COMPREPLY < <(compgen \"$1\" -- \"$cur\")\n"
           "}\n"
           "_vmm_guests() {\n"
           "    COMPREPLY=($(compgen -W \"$(vmm list 2>/dev/null | while read -r _ name _; do echo "
           "\"$name\"; done | tail -n +2)\" "
           "-- \"$cur\"))\n"
           "}\n"
           "_vmm() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= words= "
           "others=: word\n"
           "    COMPREPLY=()\n"
           "    if [[ $cur == = ]]; then  # --option= is three words here\n"
           "        cur=\n"
           "    elif [[ $prev == = ]]; then\n"
           "        prev=${COMP_WORDS[COMP_CWORD-2]}\n"
           "    fi\n"
           "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
           "        case $command,$word in\n"
           "        *,-*) ;;\n"
           "        ,*) command=$word ;;\n"
           "        spe,*) command=\"spe $word\" ;;\n"
           "        esac\n"
           "    done\n"
           "    case \"$command $prev\" in\n" +
           tables.values +
           "    esac\n"
           "    case $command in\n" +
           tables.options +
           "    esac\n"
           "    if [[ $cur == -* || $others == : ]]; then\n"
           "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
           "    else\n"
           "        $others\n"
           "    fi\n"
           "}\n"
           "complete -F _vmm vmm\n";
}

}  // namespace vmm
