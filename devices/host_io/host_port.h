// The host's end of a character port of the guest: a file that takes what the guest writes, or a Unix socket for one client at
// a time and both directions.
#pragma once

#include <poll.h>

#include <memory>
#include <span>
#include <string>

#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices {

/// Nothing blocks. Used by one thread at a time.
class HostPort {
  public:
    /// Creates or empties the file; a pipe or terminal is written to as it is.
    static Result<std::unique_ptr<HostPort>> open_file(const std::string& path);
    /// Listens at `path`; the socket's file goes with the port.
    static Result<std::unique_ptr<HostPort>> open_socket(const std::string& path);
    ~HostPort();
    HostPort(const HostPort&) = delete;
    HostPort& operator=(const HostPort&) = delete;

    /// Whether there is somebody at the other end.
    bool connected() const { return file_ || client_; }

    /// What to poll, where input (`reads`) or room for output (`writes`) is of interest.
    pollfd interest(bool reads, bool writes) const;
    /// What poll said of that.
    void take_events(short events);

    /// Bytes taken; 0: not now. Without anybody connected, and when a file cannot be written to, all are dropped.
    std::size_t write(std::span<const u8> bytes);
    /// Bytes read; 0: none are there now.
    std::size_t read(std::span<u8> to);

  private:
    explicit HostPort(std::string path) : path_(std::move(path)) {}
    void disconnect();

    const std::string path_;
    UniqueFd file_;
    bool failed_ = false;  // the file
    UniqueFd listener_;
    UniqueFd client_;
    bool input_ended_ = false;  // the client sends nothing more, but may read
    bool hangup_ = false;       // the client has gone; what it sent may still be there
};

}  // namespace vmm::devices
