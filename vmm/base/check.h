// Checks of our own invariants. A failing one is a bug of ours: it prints, runs the crash hook (state dump) and aborts.
#pragma once

namespace vmm {

/// Called once before a failed check aborts; prints what helps debugging. Set by the machine.
using CrashHook = void (*)();
void set_crash_hook(CrashHook hook);

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace vmm

#define VMM_CHECK(expression)                                                   \
    do {                                                                        \
        if (!(expression)) [[unlikely]]                                         \
            ::vmm::check_failed(#expression, __FILE__, __LINE__);               \
    } while (false)

#ifdef NDEBUG
#define VMM_DCHECK(expression) \
    do {                       \
    } while (false && (expression))
#else
#define VMM_DCHECK(expression) VMM_CHECK(expression)
#endif
