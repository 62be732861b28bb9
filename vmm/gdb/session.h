// One debugger's conversation: the commands of GDB's remote serial protocol.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/gdb/target.h"

namespace vmm::gdb {

/// Not thread-safe. Between a command that resumes the target and stopped() no command is answered.
class Session {
  public:
    /// The target is stopped for `stop`.
    Session(Target& target, const Stop& stop) : target_(target), stop_(stop), current_(stop.thread) {}

    /// The answer to a packet; nullopt: none, or later, by stopped(). An empty answer means "not known here".
    std::optional<std::string> handle(std::string_view packet);

    /// The target has stopped: what to tell the debugger.
    std::string stopped(const Stop& stop);
    /// The guest has ended.
    static std::string exited(int status);

    bool running() const { return running_; }
    /// The client wants no more acknowledgements, from after this answer on.
    bool no_ack() const { return no_ack_; }
    /// Detached or killed: the connection is to be closed.
    bool over() const { return over_; }

  private:
    using Answer = std::optional<std::string>;

    Answer query(std::string_view packet);
    Answer set(std::string_view packet);
    Answer verbose(std::string_view packet);
    Answer transfer(std::string_view arguments) const;
    Answer monitor(std::string_view hex);
    Answer select_thread(std::string_view arguments);
    Answer read_registers();
    Answer write_registers(std::string_view hex);
    Answer read_register(std::string_view arguments);
    Answer write_register(std::string_view arguments);
    Answer read_memory(std::string_view arguments);
    Answer write_memory(std::string_view arguments, bool binary);
    Answer change_point(std::string_view arguments, bool insert);
    Answer resume_one(std::string_view arguments, Go how);
    Answer resume_by(std::string_view actions);
    Answer go(std::vector<Go> how);
    Answer end(bool kill);
    std::string stop_text() const;
    std::string threads_document() const;
    /// The index of a thread given as the protocol gives it (1 is the first); nullopt: no such thread.
    std::optional<unsigned> take_thread(std::string_view& text) const;

    Target& target_;
    Stop stop_;
    unsigned current_ = 0;                  // Hg: whose registers and memory
    std::optional<unsigned> resumed_;       // Hc; nullopt: all
    bool running_ = false;
    bool no_ack_ = false;
    bool over_ = false;
};

}  // namespace vmm::gdb
