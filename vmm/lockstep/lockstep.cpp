#include "vmm/lockstep/lockstep.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <map>
#include <sstream>

#include "vmm/base/unique_fd.h"
#include "vmm/run_end.h"

namespace vmm::lockstep {

namespace {

constexpr auto kPatience =
    std::chrono::milliseconds(100);  // between looks at whether the other process is still there

/// What one of the two does, in a process that ends with this object.
class Worker {
  public:
    Worker(MachineConfig config, ChannelPtr channel)
        : config_(std::move(config)), channel_(std::move(channel)) {}
    ~Worker() { end(SIGKILL); }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    /// `silent`: what the guest prints is for nobody.
    Result<> start(const RunGuest& run_guest, bool silent, const std::optional<StopAt>& stop);
    /// The next slice; nullopt once the process has ended and everything was read.
    std::optional<Snapshot> next();
    /// Waits for the end; the exit status, or that of an internal error after a signal.
    int wait();
    void end(int signal) {
        if (pid_ > 0) {
            ::kill(pid_, signal);
            wait();
        }
    }
    std::string_view registers() const { return channel_->registers(); }

  private:
    bool running();
    void reaped(int status) {
        status_ = WIFEXITED(status) ? WEXITSTATUS(status) : static_cast<int>(ExitStatus::internal_error);
        pid_ = 0;
    }

    MachineConfig config_;
    ChannelPtr channel_;
    pid_t pid_ = 0;
    int status_ = 0;
};

Result<> Worker::start(const RunGuest& run_guest, bool silent, const std::optional<StopAt>& stop) {
    std::fflush(nullptr);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) {
        return fail_errno(errno, "--check: cannot start a process");
    }
    if (pid_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, silent ? SIGKILL : SIGTERM);
        const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
        bool ready = ::getppid() == parent && null.get() >= 0 && ::dup2(null.get(), STDIN_FILENO) >= 0;
        if (silent) {
            ready = ready && ::dup2(null.get(), STDOUT_FILENO) >= 0 && ::dup2(null.get(), STDERR_FILENO) >= 0;
        }
        Reporter reporter(*channel_, stop);
        const int status = ready ? run_guest(config_, reporter) : static_cast<int>(ExitStatus::host_error);
        std::fflush(nullptr);
        ::_exit(status);
    }
    return {};
}

bool Worker::running() {
    int status = 0;
    if (pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) {
        reaped(status);
    }
    return pid_ > 0;
}

std::optional<Snapshot> Worker::next() {
    Snapshot snapshot;
    for (;;) {
        const bool more = running();  // before the look, so that nothing is missed
        if (channel_->pop(snapshot, more ? kPatience : std::chrono::milliseconds(0))) {
            return snapshot;
        }
        if (!more) {
            return std::nullopt;
        }
    }
}

int Worker::wait() {
    int status = 0;
    while (pid_ > 0) {
        if (::waitpid(pid_, &status, 0) == pid_) {
            reaped(status);
        } else if (errno != EINTR) {
            pid_ = 0;
        }
    }
    return status_;
}

/// A guest for comparison alone: it leaves no trace, and only its counterpart or the one who compares ends it.
MachineConfig without_traces(MachineConfig config, EngineKind engine) {
    config.engine = engine;
    config.control.enabled = false;
    config.dump_dtb.clear();
    config.result.clear();
    config.junit.clear();
    config.exec.console_log.clear();
    config.timeout_seconds = 0;
    config.exec.boot_timeout_seconds = 0;
    config.exec.idle_timeout_seconds = 0;
    return config;
}

/// Where the two went apart: within `longest` operations after the last slice in which they agreed.
struct Difference {
    u64 slice = 0;
    u32 cpu = 0;
    u64 operations_before = 0;  // of that vCPU
    u64 longest = 0;
};

class Comparison {
  public:
    Comparison(const MachineConfig& config, const RunGuest& run_guest)
        : config_(config), run_guest_(run_guest) {}

    Result<int> run();

  private:
    Result<std::unique_ptr<Worker>> worker(const MachineConfig& config, bool silent,
                                           const std::optional<StopAt>& stop = {}) const;
    std::optional<Difference> compare(Worker& first, Worker& second);
    /// The registers of both engines' guests at a place that both run to; empty where one does not get there.
    struct Registers {
        std::string first, second;
    };
    Result<Registers> registers_at(const StopAt& place) const;
    Result<> narrow(const Difference& difference) const;
    void describe(const Difference& difference, u64 operation, const Registers& before,
                  const Registers& after) const;

    const MachineConfig& config_;
    const RunGuest& run_guest_;
    u64 slices_ = 0;
    std::map<u32, u64> operations_;  // of each vCPU, as far as compared
};

Result<std::unique_ptr<Worker>> Comparison::worker(const MachineConfig& config, bool silent,
                                                   const std::optional<StopAt>& stop) const {
    VMM_TRY(ChannelPtr channel, Channel::create());
    auto made = std::make_unique<Worker>(config, std::move(channel));
    VMM_TRY_VOID(made->start(run_guest_, silent, stop));
    return made;
}

std::optional<Difference> Comparison::compare(Worker& first, Worker& second) {
    for (;;) {
        const std::optional<Snapshot> a = first.next();
        if (!a) {
            return std::nullopt;  // whatever ended it: the other one would go the same way
        }
        const std::optional<Snapshot> b = second.next();
        const u64 before = operations_[a->cpu];
        if (!b || *a != *b) {
            const u64 longest = std::max(a->operations, b ? b->operations : before) - before;
            return Difference{a->slice, a->cpu, before, longest};
        }
        ++slices_;
        operations_[a->cpu] = a->operations;
    }
}

Result<Comparison::Registers> Comparison::registers_at(const StopAt& place) const {
    VMM_TRY(const auto first, worker(without_traces(config_, config_.engine), true, place));
    VMM_TRY(const auto second, worker(without_traces(config_, *config_.check), true, place));
    first->wait();
    second->wait();
    return Registers{std::string(first->registers()), std::string(second->registers())};
}

void Comparison::describe(const Difference& difference, u64 operation, const Registers& before,
                          const Registers& after) const {
    const char* const first_name = name_of(config_.engine);
    const char* const second_name = name_of(*config_.check);
    std::fprintf(stderr, "vmm: --check: %s and %s differ after operation %llu of vCPU %u\n", first_name,
                 second_name, static_cast<unsigned long long>(difference.operations_before + operation),
                 difference.cpu);
    std::istringstream lines_before(before.first);
    for (std::string line; std::getline(lines_before, line) && line.find("X0 ") != 0;) {
        std::fprintf(stderr, "vmm:   before it: %s\n", line.c_str());
    }
    std::istringstream first(after.first), second(after.second);
    std::string a, b;
    while (std::getline(first, a) && std::getline(second, b)) {
        if (a != b) {
            std::fprintf(stderr, "vmm:   after it: %s: %s; %s: %s\n", first_name, a.c_str(), second_name,
                         b.c_str());
        }
    }
}

/// Bisects: each probe runs both guests again, up to one operation of the slice in which they went apart.
Result<> Comparison::narrow(const Difference& difference) const {
    std::fprintf(
        stderr,
        "vmm: --check: %s and %s differ within %llu operations of vCPU %u; looking for the first one\n",
        name_of(config_.engine), name_of(*config_.check), static_cast<unsigned long long>(difference.longest),
        difference.cpu);
    VMM_TRY(Registers after, registers_at({difference.slice, difference.longest}));
    if (after.first.empty() || after.second.empty() || after.first == after.second) {
        std::fprintf(
            stderr,
            "vmm: --check: when both stop there they do not differ: it depends on where they are interrupted "
            "(slice %llu, operations %llu to %llu)\n",
            static_cast<unsigned long long>(difference.slice),
            static_cast<unsigned long long>(difference.operations_before),
            static_cast<unsigned long long>(difference.operations_before + difference.longest));
        return {};
    }
    u64 agree = 0;
    u64 differ = difference.longest;
    VMM_TRY(Registers before, registers_at({difference.slice, 0}));
    while (differ - agree > 1) {
        const u64 middle = agree + (differ - agree) / 2;
        VMM_TRY(Registers there, registers_at({difference.slice, middle}));
        if (there.first == there.second) {
            agree = middle;
            before = std::move(there);
        } else {
            differ = middle;
            after = std::move(there);
        }
    }
    describe(difference, differ, before, after);
    return {};
}

Result<int> Comparison::run() {
    VMM_TRY(const auto first, worker(config_, false));
    VMM_TRY(const auto second, worker(without_traces(config_, *config_.check), true));
    const std::optional<Difference> difference = compare(*first, *second);
    if (difference) {
        first->end(SIGTERM);
        second->end(SIGKILL);
        VMM_TRY_VOID(narrow(*difference));
        return exit_status(ExitStatus::internal_error, config_.exec.enabled());
    }
    if (slices_ == 0) {
        return first->wait();  // it could not start, and said why
    }
    u64 operations = 0;
    for (const auto& [cpu, count] : operations_) {
        operations += count;
    }
    std::fprintf(stderr, "vmm: --check: %llu operations in %llu slices: %s and %s agree\n",
                 static_cast<unsigned long long>(operations), static_cast<unsigned long long>(slices_),
                 name_of(config_.engine), name_of(*config_.check));
    return first->wait();
}

}  // namespace

int run_checked(const MachineConfig& config, const RunGuest& run_guest) {
    // They are for the guest, which is in the same process group; this process ends when the guest has.
    std::signal(SIGINT, SIG_IGN);
    std::signal(SIGHUP, SIG_IGN);
    const Result<int> status = Comparison(config, run_guest).run();
    if (!status) {
        std::fprintf(stderr, "vmm: %s\n", status.error().text.c_str());
        return exit_status(status.error().status, config.exec.enabled());
    }
    return *status;
}

}  // namespace vmm::lockstep
