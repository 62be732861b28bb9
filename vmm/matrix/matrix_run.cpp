#include "vmm/matrix/matrix_run.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <map>
#include <optional>

namespace vmm {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kGrace = std::chrono::seconds(20);  // for a stopped run to write its result
constexpr int kExecFailed = 127;

/// SIGCHLD and the signals that end a matrix wait for take().
class BlockedSignals {
  public:
    BlockedSignals() {
        ::sigemptyset(&set_);
        for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) {
            ::sigaddset(&set_, signal);
        }
        ::signal(SIGCHLD, SIG_DFL);  // where it is ignored, children end unseen
        ::sigprocmask(SIG_BLOCK, &set_, &before_);
    }
    BlockedSignals(const BlockedSignals&) = delete;
    BlockedSignals& operator=(const BlockedSignals&) = delete;
    ~BlockedSignals() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

    const sigset_t& before() const { return before_; }

    /// The next signal, or 0 after a second without any.
    int take() const {
        const timespec second{1, 0};
        const int signal = ::sigtimedwait(&set_, nullptr, &second);
        return signal < 0 ? 0 : signal;
    }

  private:
    sigset_t set_{}, before_{};
};

/// The line at the bottom of a terminal that says what is going on; nothing elsewhere.
class StatusLine {
  public:
    StatusLine() : on_(::isatty(STDERR_FILENO) == 1) {}

    void show(const std::string& text) const {
        if (on_) {
            std::fprintf(stderr, "\r\033[K%.78s", text.c_str());
            std::fflush(stderr);
        }
    }

    void print(const std::string& line) const {
        std::fprintf(stderr, "%s%s\n", on_ ? "\r\033[K" : "", line.c_str());
        std::fflush(stderr);
    }

  private:
    bool on_;
};

class Runner {
  public:
    Runner(const MatrixPlan& plan, unsigned jobs) : plan_(plan), jobs_(jobs), results_(plan.cells.size()) {}

    Result<MatrixOutcome> run();

  private:
    struct Child {
        std::size_t cell;
        Clock::time_point started;
    };
    Result<> start(std::size_t cell);
    void start_more();
    void reap();
    void stop(int signal);
    void kill_late();
    void show() const;
    void send(int signal) const;

    const MatrixPlan& plan_;
    unsigned jobs_;
    BlockedSignals signals_;
    StatusLine status_;
    std::map<pid_t, Child> children_;
    std::vector<std::optional<CellResult>> results_;
    std::size_t next_ = 0, done_ = 0, failed_ = 0;
    std::optional<Error> error_;
    int signal_ = 0;
    std::optional<Clock::time_point> stopped_at_;
};

/// In the child: standard input, output and error, signals, folder, and the program. Does not come back.
[[noreturn]] void become(const std::string& folder, const char* directory, char* const* arguments,
                         const sigset_t& signals, pid_t parent) {
    ::setpgid(0, 0);  // Ctrl-C is for the matrix, which then stops its runs
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::sigprocmask(SIG_SETMASK, &signals, nullptr);
    const int in = ::open("/dev/null", O_RDONLY);
    const int out = ::open((folder + "/stdout").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    const int err = ::open((folder + "/stderr").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (::getppid() == parent && in >= 0 && out >= 0 && err >= 0 && ::dup2(in, 0) >= 0 &&
        ::dup2(out, 1) >= 0 && ::dup2(err, 2) >= 0 && ::chdir(directory) == 0) {
        ::execv("/proc/self/exe", arguments);
        ::perror("vmm: cannot start");
    }
    ::_exit(kExecFailed);
}

Result<> Runner::start(std::size_t cell) {
    std::vector<std::string> words = cell_arguments(plan_, plan_.cells[cell]);
    words.insert(words.begin(), "vmm");
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    const std::string folder = plan_.output + "/" + plan_.cells[cell].name;
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) {
        return fail_errno(errno, "cannot start a process for {}", plan_.cells[cell].name);
    }
    if (child == 0) {
        become(folder, plan_.directory.c_str(), arguments.data(), signals_.before(), parent);
    }
    ::setpgid(child, child);
    children_.emplace(child, Child{cell, Clock::now()});
    return {};
}

void Runner::start_more() {
    while (!stopped_at_ && next_ < plan_.cells.size() && children_.size() < jobs_) {
        if (auto started = start(next_); !started) {
            error_ = std::move(started).error();
            stop(SIGTERM);
            return;
        }
        ++next_;
    }
}

void Runner::reap() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
        const auto child = children_.find(pid);
        if (child == children_.end()) {
            continue;
        }
        const std::size_t cell = child->second.cell;
        CellResult result = read_cell(plan_.output, plan_.cells[cell].name);
        if (result.kind == "no-result") {
            result.seconds = std::chrono::duration<f64>(Clock::now() - child->second.started).count();
            result.text += WIFSIGNALED(status) ? fmt::format(" (killed by signal {})", WTERMSIG(status))
                                               : fmt::format(" (status {})", WEXITSTATUS(status));
        } else if (!WIFEXITED(status) || WEXITSTATUS(status) != result.status) {
            result.kind = "internal-error";
            result.text = "the run did not end as its result says";
        }
        children_.erase(child);
        ++done_;
        failed_ += result.passed() ? 0 : 1;
        status_.print(fmt::format("[{}/{}] {}", done_, plan_.cells.size(), cell_line(result)));
        results_[cell] = std::move(result);
    }
}

void Runner::send(int signal) const {
    for (const auto& [pid, child] : children_) {
        ::kill(pid, signal);
    }
}

void Runner::stop(int signal) {
    if (stopped_at_) {
        send(SIGKILL);
        return;
    }
    signal_ = signal;
    stopped_at_ = Clock::now();
    status_.print(fmt::format("stopping {} runs", children_.size()));
    send(SIGTERM);
}

void Runner::kill_late() {
    if (stopped_at_ && Clock::now() - *stopped_at_ > kGrace) {
        send(SIGKILL);
    }
}

void Runner::show() const {
    std::string running;
    for (const auto& [pid, child] : children_) {
        const auto seconds =
            std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - child.started).count();
        running += fmt::format(" {} ({} s)", plan_.cells[child.cell].name, seconds);
    }
    status_.show(children_.empty()
                     ? ""
                     : fmt::format("[{}/{}, {} failed]{}", done_, plan_.cells.size(), failed_, running));
}

Result<MatrixOutcome> Runner::run() {
    for (start_more(); !children_.empty(); start_more()) {
        show();
        const int signal = signals_.take();
        if (signal != 0 && signal != SIGCHLD) {
            stop(signal);
        }
        reap();
        kill_late();
    }
    show();
    if (error_) {
        return tl::make_unexpected(*error_);
    }
    MatrixOutcome outcome;
    outcome.signal = signal_;
    for (std::size_t n = 0; n < results_.size(); ++n) {
        outcome.results.push_back(
            results_[n].value_or(CellResult{plan_.cells[n].name, "not-run", 0, "", 0, "", ""}));
    }
    return outcome;
}

}  // namespace

Result<MatrixOutcome> run_cells(const MatrixPlan& plan, unsigned jobs) {
    return Runner(plan, jobs).run();
}

}  // namespace vmm
