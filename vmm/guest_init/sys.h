// Linux system calls and the few string functions that the guest's init needs: it is linked with nothing.
#ifndef VMM_GUEST_INIT_SYS_H
#define VMM_GUEST_INIT_SYS_H

#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <stddef.h>
#include <stdint.h>

/// Returns what the kernel does: a negative errno is an error.
static inline long sys(long number, long a, long b, long c, long d, long e) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory", "cc");
    return x0;
}

#define SYS(name, a, b, c, d, e) \
    sys(__NR_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

static inline int sys_open(const char* path, int flags) {
    return (int)SYS(openat, AT_FDCWD, path, flags | O_CLOEXEC, 0, 0);
}
static inline void sys_close(int fd) { SYS(close, fd, 0, 0, 0, 0); }
static inline long sys_read(int fd, void* to, size_t size) { return SYS(read, fd, to, size, 0, 0); }
static inline long sys_write(int fd, const void* from, size_t size) { return SYS(write, fd, from, size, 0, 0); }
static inline long sys_mkdir(const char* path, int mode) { return SYS(mkdirat, AT_FDCWD, path, mode, 0, 0); }
static inline long sys_symlink(const char* target, const char* path) {
    return SYS(symlinkat, target, AT_FDCWD, path, 0, 0);
}
static inline long sys_mount(const char* what, const char* where, const char* type, unsigned long flags) {
    return SYS(mount, what, where, type, flags, 0);
}
/// `flags`: AT_SYMLINK_NOFOLLOW, or 0.
static inline long sys_stat(const char* path, struct stat* status, int flags) {
    return SYS(newfstatat, AT_FDCWD, path, status, flags, 0);
}

uint64_t boot_nanoseconds(void);

size_t text_length(const char* text);
int text_equal(const char* a, const char* b);
int text_begins(const char* text, const char* prefix);
/// Appends as much of `text` as fits; `to` holds a text and has room for `size` bytes with its final zero.
void text_append(char* to, size_t size, const char* text);

void* memcpy(void* to, const void* from, size_t size);
void* memset(void* to, int value, size_t size);

#endif
