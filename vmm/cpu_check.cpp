// Says in one line that this processor is too old for this build, before any instruction of the newer kind is
// executed. Compiled for the x86-64 baseline; runs before all static constructors of our own.
#include <unistd.h>

#include <cstring>

#if defined(__x86_64__) && defined(VMM_NEEDS_X86_64_V3)

namespace {

__attribute__((constructor(101))) void check_host_cpu() {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
        __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt") &&
        __builtin_cpu_supports("sse4.2")) {
        return;
    }
    static const char message[] =
        "vmm: this build needs an x86-64-v3 processor (AVX2, BMI2, FMA); build with -DVMM_X86_LEVEL=x86-64 "
        "for this "
        "one\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, message, std::strlen(message));
    _exit(3);
}

}  // namespace

#endif
