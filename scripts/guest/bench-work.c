// Work for scripts/bench: system calls in loops, processes, and files to work on.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char* what) {
    perror(what);
    exit(1);
}

static void do_getppid(long count) {
    for (long i = 0; i < count; ++i) {
        syscall(SYS_getppid);
    }
}

static void do_read(long count) {
    static char buffer[4096];
    const int zero = open("/dev/zero", O_RDONLY);
    for (long i = 0; i < count; ++i) {
        if (read(zero, buffer, sizeof(buffer)) != sizeof(buffer)) {
            fail("read");
        }
    }
    close(zero);
}

static void do_pipe(long count) {
    int there[2], back[2];
    if (pipe(there) != 0 || pipe(back) != 0) {
        fail("pipe");
    }
    const pid_t child = fork();
    const int in = child == 0 ? there[0] : back[0];
    const int out = child == 0 ? back[1] : there[1];
    char byte = 0;
    for (long i = 0; i < count; ++i) {
        if (child == 0) {
            if (read(in, &byte, 1) != 1 || write(out, &byte, 1) != 1) {
                fail("child");
            }
        } else if (write(out, &byte, 1) != 1 || read(in, &byte, 1) != 1) {
            fail("parent");
        }
    }
    if (child == 0) {
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void do_fork(long count) {
    for (long i = 0; i < count; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            _exit(0);
        }
        if (child < 0 || waitpid(child, NULL, 0) != child) {
            fail("fork");
        }
    }
}

static void do_exec(long count) {
    for (long i = 0; i < count; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            execl("/bin/busybox", "true", (char*)NULL);
            _exit(1);
        }
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            fail("exec");
        }
    }
}

// Anonymous pages, 1 MiB at a time.
static void do_fault(long count) {
    const size_t bytes = 1 << 20;
    for (long i = 0; i < count; i += 256) {
        volatile char* const area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED) {
            fail("mmap");
        }
        for (size_t offset = 0; offset < bytes; offset += 4096) {
            area[offset] = 1;
        }
        munmap((void*)area, bytes);
    }
}

static uint64_t next_random(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

// A word of one to three syllables; some are frequent.
static int put_word(char* to) {
    static const char* const kSyllables[] = {"ka", "lo", "mi", "ter", "en", "su", "ra", "ven",
                                             "o",  "dal", "pi", "ne", "gor", "a", "shi", "un"};
    uint64_t r = next_random();
    if ((r & 3) == 0) {
        r &= 0xFFF;
    }
    int length = 0;
    for (uint64_t n = 0; n <= r % 3; ++n) {
        r >>= 4;
        const char* const syllable = kSyllables[r & 15];
        memcpy(to + length, syllable, strlen(syllable));
        length += (int)strlen(syllable);
    }
    return length;
}

// Text of `mib` MiB, on standard output.
static void do_text(long mib) {
    static char block[65536 + 64];
    for (long i = 0; i < mib * 16; ++i) {
        int used = 0;
        while (used < 65536) {
            used += put_word(block + used);
            block[used++] = (next_random() & 15) == 0 ? '\n' : ' ';
        }
        if (fwrite(block, 1, 65536, stdout) != 65536) {
            fail("write");
        }
    }
}

// Lines of a number and two words, on standard output.
static void do_lines(long count) {
    for (long i = 0; i < count; ++i) {
        char line[96];
        int used = sprintf(line, "%llu ", (unsigned long long)(next_random() % 1000003));
        used += put_word(line + used);
        line[used++] = ' ';
        used += put_word(line + used);
        line[used++] = '\n';
        if (fwrite(line, 1, (size_t)used, stdout) != (size_t)used) {
            fail("write");
        }
    }
}

static const struct {
    const char* name;
    void (*run)(long count);
} kWorks[] = {
    {"getppid", do_getppid}, {"read", do_read},   {"pipe", do_pipe}, {"fork", do_fork},
    {"exec", do_exec},       {"fault", do_fault}, {"text", do_text}, {"lines", do_lines},
};

int main(int argc, char** argv) {
    for (size_t i = 0; argc == 3 && i < sizeof(kWorks) / sizeof(kWorks[0]); ++i) {
        if (strcmp(argv[1], kWorks[i].name) == 0) {
            kWorks[i].run(atol(argv[2]));
            return fflush(stdout) != 0;
        }
    }
    fprintf(stderr, "usage: bench-work getppid|read|pipe|fork|exec|fault|text|lines COUNT\n");
    return 2;
}
