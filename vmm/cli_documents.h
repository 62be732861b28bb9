// The man page and the shell completion, made from the options themselves: `vmm help --man`, `vmm help --completion`.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace vmm {

/// Holds what CLI11 parses into; outlives the parsing.
class DocumentCommandLine {
  public:
    explicit DocumentCommandLine(CLI::App& help);

    /// What `vmm help` prints: the man page, the completion, or else the help of `app`.
    std::string text(const CLI::App& app) const;

  private:
    bool man_ = false, completion_ = false;
};

/// vmm.1, in the man macros.
std::string man_page(const CLI::App& app);

/// A completion for bash.
std::string bash_completion(const CLI::App& app);

}  // namespace vmm
