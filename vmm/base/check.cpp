#include "vmm/base/check.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace vmm {

namespace {
std::atomic<CrashHook> crash_hook{nullptr};
}  // namespace

void set_crash_hook(CrashHook hook) {
    crash_hook.store(hook);
}

void check_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "vmm: internal error: check '%s' failed at %s:%d\n", expression, file, line);
    if (CrashHook hook = crash_hook.exchange(nullptr)) {
        hook();
    }
    std::abort();
}

}  // namespace vmm
