// Files and folders for fuzzers, and the check that a guest has not left its folder.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <string>

#include "vmm/base/check.h"
#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"

namespace vmm::fuzz {

/// A temporary folder of this process; gone at its end.
class Folder {
  public:
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "vmm-fuzz-XXXXXX").string();
        VMM_CHECK(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    ~Folder() {
        std::error_code error;
        std::filesystem::remove_all(path_, error);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

/// A file in memory with these bytes.
inline UniqueFd memory_file(std::span<const u8> bytes) {
    UniqueFd fd(::memfd_create("vmm-fuzz", MFD_CLOEXEC));
    VMM_CHECK(fd && ::ftruncate(fd.get(), static_cast<off_t>(bytes.size())) == 0);
    VMM_CHECK(bytes.empty() || ::pwrite(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    return fd;
}

/// By which others open a descriptor's file.
inline std::string path_of(const UniqueFd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

/// inside/, where a guest may do what it likes, beside outside/, which it must neither read nor change.
class Confined {
  public:
    /// What no answer may contain.
    static constexpr std::string_view kSecret = "outside-sSecret-7f3a";

    Confined() {
        std::filesystem::create_directories(outside() / "folder");
        std::ofstream(outside() / "secret") << kSecret;
        std::ofstream(outside() / "folder" / "deep") << kSecret;
        before_ = picture();
    }

    std::filesystem::path inside() const { return folder_.path() / "inside"; }
    std::filesystem::path outside() const { return folder_.path() / "outside"; }

    /// Makes inside/ anew, with a little in it and links that lead out.
    void begin() const {
        namespace fs = std::filesystem;
        fs::remove_all(inside());
        fs::create_directories(inside() / "d" / "e");
        std::ofstream(inside() / "f") << "0123456789";
        std::ofstream(inside() / "d" / "g") << "g";
        fs::create_symlink("../outside", inside() / "l");
        fs::create_symlink(outside() / "secret", inside() / "s");
        fs::create_symlink("../../outside/folder", inside() / "d" / "l");
    }
    /// Nothing has changed out there, nor beside the two.
    void check() const { VMM_CHECK(picture() == before_); }

  private:
    using Picture = std::map<std::string, std::string>;

    Picture picture() const {
        namespace fs = std::filesystem;
        Picture found;
        for (const auto& entry : fs::directory_iterator(folder_.path())) {
            if (entry.path() != inside()) {
                found[entry.path().string()] = "";
            }
        }
        for (const auto& entry : fs::recursive_directory_iterator(outside())) {
            const fs::file_status status = entry.symlink_status();
            std::string what = std::to_string(static_cast<int>(status.type())) + " " +
                               std::to_string(static_cast<unsigned>(status.permissions()));
            if (fs::is_regular_file(status)) {
                std::ifstream in(entry.path(), std::ios::binary);
                what.append(std::istreambuf_iterator<char>(in), {});
            }
            found[entry.path().string()] = what;
        }
        return found;
    }

    Folder folder_;
    Picture before_;
};

}  // namespace vmm::fuzz
