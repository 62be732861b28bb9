#include "tests/oracle/reference_runner.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cstring>

#include "vmm/base/check.h"
#include "vmm/base/unique_fd.h"

extern char** environ;

namespace vmm::oracle {

namespace {

Result<int> run_process(const ReferenceCommand& command, const std::string& path) {
    std::vector<std::string> arguments;
    if (!command.qemu.empty()) {
        arguments = {command.qemu, "-cpu", command.cpu};
    }
    arguments.push_back(command.runner);
    arguments.push_back(path);
    std::vector<char*> argv;
    for (std::string& argument : arguments) {
        argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    pid_t pid = 0;
    const int error = ::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ);
    if (error != 0) {
        return fail_errno(error, "cannot run {}", arguments[0]);
    }
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid) {
        return fail_errno(errno, "waitpid");
    }
    return status;
}

}  // namespace

Result<> run_on_file(const ReferenceCommand& command, std::vector<u8>& file) {
    char path[] = "/tmp/oracle-XXXXXX";
    const UniqueFd fd(::mkstemp(path));
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(file.size())) != 0) {
        return fail_errno(errno, "cannot make the case file {}", path);
    }
    void* map = ::mmap(nullptr, file.size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (map == MAP_FAILED) {
        ::unlink(path);
        return fail_errno(errno, "cannot map the case file {}", path);
    }
    std::memcpy(map, file.data(), file.size());
    const auto status = run_process(command, path);
    std::memcpy(file.data(), map, file.size());
    ::munmap(map, file.size());
    ::unlink(path);
    if (!status) {
        return tl::make_unexpected(status.error());
    }
    return {};
}

Result<> run_reference(const ReferenceCommand& command, std::vector<OracleCase>& cases) {
    VMM_CHECK(cases.size() <= ORACLE_MAX_CASES);
    std::vector<u8> buffer(sizeof(OracleFile) + cases.size() * sizeof(OracleCase));
    auto* file = reinterpret_cast<OracleFile*>(buffer.data());
    file->count = static_cast<uint32_t>(cases.size());
    std::memcpy(file->cases, cases.data(), cases.size() * sizeof(OracleCase));
    VMM_TRY_VOID(run_on_file(command, buffer));
    std::memcpy(cases.data(), file->cases, cases.size() * sizeof(OracleCase));
    if (file->done != cases.size()) {
        return fail("the reference stopped in case {} of {}: instruction {:08x}", file->done, cases.size(),
                    cases[file->done].insns[0]);
    }
    return {};
}

}  // namespace vmm::oracle
