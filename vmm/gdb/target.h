// What a debugger can do with a machine, and the protocol's commands in terms of that.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/types.h"

namespace vmm::gdb {

/// How one thread (vCPU) goes on.
enum class Go : u8 { stay, run, step };

/// Why and where the machine has stopped.
struct Stop {
    enum class Kind : u8 { halted, interrupted, step, breakpoint, write_watch, read_watch, access_watch };
    Kind kind = Kind::halted;
    unsigned thread = 0;  // index of the vCPU
    u64 address = 0;      // of the watched range
};

enum class PointKind : u8 { breakpoint, write_watch, read_watch, access_watch };

struct Point {
    PointKind kind = PointKind::breakpoint;
    u64 address = 0;
    u64 size = 0;  // bytes; breakpoints: of the instruction

    friend bool operator==(const Point&, const Point&) = default;
};

/// Threads are vCPUs, by index. Called only while none of them executes.
class Target {
  public:
    Target() = default;
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;
    virtual ~Target() = default;

    virtual unsigned threads() const = 0;
    virtual std::string thread_text(unsigned thread) const = 0;

    virtual std::string description() const = 0;  // target.xml
    virtual unsigned registers() const = 0;
    /// How many of them 'g' sends: the first ones.
    virtual unsigned general_registers() const = 0;
    /// The bytes of register `number` (below registers()), least significant first. Empty: this thread has none.
    virtual std::vector<u8> read_register(unsigned thread, unsigned number) = 0;
    virtual unsigned register_size(unsigned number) const = 0;
    /// `bytes` has the register's size. False where it cannot be written, or not this value.
    virtual bool write_register(unsigned thread, unsigned number, std::span<const u8> bytes) = 0;

    /// Virtual memory as the thread sees it. Returns how many bytes could be read from the start.
    virtual std::size_t read_memory(unsigned thread, u64 address, std::span<u8> bytes) = 0;
    /// All or nothing.
    virtual bool write_memory(unsigned thread, u64 address, std::span<const u8> bytes) = 0;

    /// False where there is no room for another one.
    virtual bool insert(const Point& point) = 0;
    virtual void remove(const Point& point) = 0;

    /// One entry for each thread.
    virtual void resume(std::span<const Go> how) = 0;
    /// Undoes all that the debugger has set and lets the guest go on.
    virtual void detach() = 0;
    /// Ends the machine.
    virtual void kill() = 0;
    /// "monitor COMMAND": text for the user.
    virtual std::string monitor(std::string_view command) = 0;
};

}  // namespace vmm::gdb
