// `vmm matrix`: its command line, and what it does.
#pragma once

#include <optional>
#include <string>

#include "vmm/base/result.h"
#include "vmm/matrix/matrix_command.h"

namespace CLI {
class App;
}

namespace vmm {

struct HostFacts;

/// Holds what CLI11 parses into; outlives the parsing.
class MatrixCommandLine {
  public:
    explicit MatrixCommandLine(CLI::App& app);

    /// After parsing: nullopt where the command line was none of these.
    std::optional<Result<MatrixCommand>> command() const;

  private:
    CLI::App* app_ = nullptr;
    MatrixCommand raw_;
    std::optional<std::string> jobs_;
};

/// The exit status: 0 if all cells passed, 1 if not, 128 + N after signal N.
Result<int> run_matrix(const MatrixCommand& command, const HostFacts& host);

}  // namespace vmm
