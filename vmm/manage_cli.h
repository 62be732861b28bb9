// The command lines of manage.h, as subcommands of the program.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vmm/manage.h"

namespace CLI {
class App;
}

namespace vmm {

/// Holds what CLI11 parses into; outlives the parsing.
class ManageCommandLine {
  public:
    explicit ManageCommandLine(CLI::App& app);

    /// After parsing: nullopt where the command line was none of these commands.
    std::optional<Result<ManageCommand>> command() const;

  private:
    void add_targets(CLI::App& app, bool several);

    struct Row {
        CLI::App* app = nullptr;
        ManageCommand::Action action{};
    };
    CLI::App* spe_ = nullptr;
    std::vector<Row> rows_;
    std::string name_, positional_name_, control_, size_, mode_ = "trap";
    bool all_ = false;
    bool json_ = false;
};

}  // namespace vmm
