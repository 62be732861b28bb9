// The debugger's end of a machine: the server, the session, and what a session can do with the vCPUs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "arch/debug_hook.h"
#include "vmm/gdb/registers.h"
#include "vmm/gdb/server.h"
#include "vmm/gdb/session.h"
#include "vmm/gdb/target.h"

namespace vmm::gdb {

/// Used by the main thread while no vCPU executes, except where it says otherwise.
class Stub final : public Target {
  public:
    struct Hooks {
        std::function<void()> wake;         // on the server's thread: call serve()
        std::function<std::string()> dump;  // registers and backtraces of all vCPUs
    };

    /// `cpus` outlive the stub. `wait`: the guest does not start before a debugger lets it.
    Stub(Listener listener, std::span<const std::unique_ptr<Cpu>> cpus, bool wait, Hooks hooks);
    ~Stub() override = default;

    const std::string& address() const { return server_.address(); }

    /// There is something for serve(). Any time.
    bool pending() const { return server_.pending(); }
    /// Answers what the debugger has asked.
    void serve();
    /// Looks whether a vCPU has stopped for the debugger, and tells it.
    void collect();
    /// The guest is not to execute.
    bool halted() const { return halted_; }
    /// The debugger wants the machine to end.
    bool killed() const { return killed_; }
    /// The guest has ended, with the status of vmm; the debugger is told.
    void exited(int status);

  private:
    void handle(const Server::Event& event);
    void reply(const std::optional<std::string>& text);
    void halt(Stop::Kind kind);
    /// Hands the break- and watchpoints to the vCPUs.
    void apply_points();
    /// Guest-physical address of `va`; nullopt: not mapped. Changes nothing, neither TLBs nor tables.
    static std::optional<u64> translate(const Cpu& cpu, u64 va);
    std::string translation_text(std::string_view address) const;

    // Target
    unsigned threads() const override { return static_cast<unsigned>(cpus_.size()); }
    std::string thread_text(unsigned thread) const override;
    std::string description() const override { return registers_.description(); }
    unsigned registers() const override { return registers_.count(); }
    unsigned general_registers() const override { return registers_.general_count(); }
    std::vector<u8> read_register(unsigned thread, unsigned number) override;
    unsigned register_size(unsigned number) const override { return registers_.size(number); }
    bool write_register(unsigned thread, unsigned number, std::span<const u8> bytes) override;
    std::size_t read_memory(unsigned thread, u64 address, std::span<u8> bytes) override;
    bool write_memory(unsigned thread, u64 address, std::span<const u8> bytes) override;
    bool insert(const Point& point) override;
    void remove(const Point& point) override;
    void resume(std::span<const Go> how) override;
    void detach() override;
    void kill() override { killed_ = true; }
    std::string monitor(std::string_view command) override;

    const std::span<const std::unique_ptr<Cpu>> cpus_;
    const Hooks hooks_;
    const RegisterFile registers_;
    std::vector<arch::DebugHook> debug_hooks_;  // one for each vCPU
    std::vector<Point> points_;
    std::optional<Session> session_;
    unsigned last_thread_ = 0;  // whom an interrupt is reported for
    bool halted_ = false;
    bool killed_ = false;
    Server server_;  // last: its thread calls hooks_.wake
};

}  // namespace vmm::gdb
