// Where files go that a guest sends to the host (vmm run --copy-out). The guest chooses names, types and sizes, so nothing it
// sends may leave the place that the user gave it: names are single path components, and no link is followed.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"
#include "vmm/exec_config.h"

namespace vmm {

/// Used by one thread at a time.
class CopySink {
  public:
    struct Copy {
        CopyPaths paths;        // as the user gave them
        std::string host_path;  // what was made; empty: nothing yet
        u64 files = 0;
        u64 bytes = 0;
        bool ended = false;
        std::string error;  // the first; empty: none
    };

    explicit CopySink(const std::vector<CopyPaths>& wanted);
    /// What is not complete is removed.
    ~CopySink();
    CopySink(const CopySink&) = delete;
    CopySink& operator=(const CopySink&) = delete;

    /// A file, folder or symbolic link begins: `mode` as in struct stat, `below` its path below the copied one, empty for
    /// itself. False where there is no such copy, or something else has not ended.
    bool begin(u32 index, u32 mode, std::string_view below);
    bool data(std::span<const u8> bytes);
    /// `error`: why the guest could not read all of it (errno), 0: it could.
    bool end(u32 error);
    bool end_copy(u32 index, u32 error);
    /// Nothing more comes. Symbolic links are made only now, so that none can lead a later copy astray.
    void finish();

    const std::vector<Copy>& copies() const { return copies_; }

  private:
    struct Open {
        u32 index = 0;
        u32 mode = 0;
        UniqueFd folder;     // where it goes
        std::string name;    // in there
        std::string hidden;  // its name until it is complete; empty: it is written in place, or not a file
        UniqueFd file;
        std::string link_target;
        u64 bytes = 0;
    };

    struct Link {
        u32 index = 0;
        std::string below;
        std::string target;
    };

    Result<> choose_place(Copy& copy, u32 mode);
    Result<> open_place(const Copy& copy, std::string_view below, Open& open) const;
    Result<> create(Open& open) const;
    Result<> complete(Open& open) const;
    Result<> make_link(const Link& link) const;
    void discard(Open& open) const;
    void note_error(Copy& copy, const std::string& below, const std::string& text) const;

    std::vector<Copy> copies_;
    bool busy_ = false;    // between begin() and end()
    bool failed_ = false;  // ... and it has failed: the rest is ignored
    std::string below_;
    Open open_;
    std::vector<Link> links_;
};

}  // namespace vmm
