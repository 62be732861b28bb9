/* Runs test cases on a real (or qemu-user) AArch64 CPU. Usage: state_runner CASE_FILE (see case_format.h).
 *
 * Everything happens in one signal handler on its own stack. Returning from it enters the next case with the complete
 * register state of the signal frame; the BRK after the case's instructions, or a fault in them, comes back with the
 * complete state the case ended in. No assembly, and no register is lost to a trampoline. */
#define _GNU_SOURCE
#include "case_format.h"

#include <asm/sigcontext.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#define SIGNAL_STACK 0x5EED5EED0000u

static struct OracleFile* file;
static uint8_t* window;
static uint8_t clean_window[ORACLE_WINDOW_SIZE];
static int64_t current = -1; /* case that is running; -1: none yet */

static struct fpsimd_context* fpsimd_of(ucontext_t* uc) {
    struct _aarch64_ctx* head = (struct _aarch64_ctx*)uc->uc_mcontext.__reserved;
    while (head->magic != FPSIMD_MAGIC) {
        if (head->magic == 0) {
            fprintf(stderr, "state_runner: no FPSIMD context in the signal frame\n");
            _exit(3);
        }
        head = (struct _aarch64_ctx*)((char*)head + head->size);
    }
    return (struct fpsimd_context*)head;
}

static uint64_t slot_address(int64_t index) { return ORACLE_CODE_BASE + (uint64_t)index * ORACLE_SLOT_SIZE; }

static void collect(struct OracleCase* c, int number, ucontext_t* uc) {
    struct OracleState* s = &c->outcome.state;
    const struct fpsimd_context* fp = fpsimd_of(uc);
    memcpy(s->x, uc->uc_mcontext.regs, sizeof s->x);
    s->sp = uc->uc_mcontext.sp;
    memcpy(s->v, fp->vregs, sizeof s->v);
    s->nzcv = (uint32_t)uc->uc_mcontext.pstate & 0xF0000000u;
    s->fpcr = fp->fpcr;
    s->fpsr = fp->fpsr;
    memcpy(s->image, window + ORACLE_IMAGE_OFFSET, ORACLE_IMAGE_SIZE);
    memcpy(window + ORACLE_IMAGE_OFFSET, clean_window + ORACLE_IMAGE_OFFSET, ORACLE_IMAGE_SIZE);
    c->outcome.outside_hash = 0;
    if (memcmp(window, clean_window, ORACLE_WINDOW_SIZE) != 0) {
        c->outcome.outside_hash = window_hash(window);
        memcpy(window, clean_window, ORACLE_WINDOW_SIZE);
    }
    c->outcome.pc = uc->uc_mcontext.pc;
    const uint64_t start = slot_address(current);
    const uint64_t end = start + 4 * c->insn_count;
    const int left = uc->uc_mcontext.pc < start || uc->uc_mcontext.pc >= end;
    c->outcome.signal = left ? 0 : (uint32_t)number;
}

static void enter(const struct OracleCase* c, ucontext_t* uc) {
    struct fpsimd_context* fp = fpsimd_of(uc);
    memcpy(uc->uc_mcontext.regs, c->input.x, sizeof c->input.x);
    uc->uc_mcontext.sp = c->input.sp;
    uc->uc_mcontext.pc = slot_address(current);
    uc->uc_mcontext.pstate = c->input.nzcv;
    memcpy(fp->vregs, c->input.v, sizeof c->input.v);
    fp->fpcr = c->input.fpcr;
    fp->fpsr = c->input.fpsr;
    memcpy(window + ORACLE_IMAGE_OFFSET, c->input.image, ORACLE_IMAGE_SIZE);
}

static void on_signal(int number, siginfo_t* info, void* context) {
    ucontext_t* uc = context;
    (void)info;
    if (current >= 0) {
        collect(&file->cases[current], number, uc);
        file->done = (uint32_t)current + 1;
    }
    if (++current >= (int64_t)file->count) {
        _exit(0);
    }
    enter(&file->cases[current], uc);
}

static void* map_fixed(uint64_t address, size_t size, int protection) {
    void* p = mmap((void*)address, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void*)address) {
        perror("state_runner: mmap");
        _exit(3);
    }
    return p;
}

int main(int argc, char** argv) {
    struct stat info;
    const int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
    if (fd < 0 || fstat(fd, &info) != 0) {
        fprintf(stderr, "usage: state_runner CASE_FILE\n");
        return 2;
    }
    file = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED) {
        perror("state_runner: mmap");
        return 3;
    }
    window = map_fixed(ORACLE_WINDOW_BASE, ORACLE_WINDOW_SIZE, PROT_READ | PROT_WRITE);
    for (uint32_t i = 0; i < ORACLE_WINDOW_SIZE; ++i) {
        window[i] = clean_window[i] = window_fill(i);
    }
    uint32_t* code = map_fixed(ORACLE_CODE_BASE, ORACLE_CODE_SIZE, PROT_READ | PROT_WRITE);
    for (uint32_t i = 0; i < ORACLE_CODE_SIZE / 4; ++i) {
        code[i] = ORACLE_BRK;
    }
    for (uint32_t i = 0; i < file->count; ++i) {
        memcpy((char*)code + (size_t)i * ORACLE_SLOT_SIZE, file->cases[i].insns, 4 * file->cases[i].insn_count);
    }
    __builtin___clear_cache((char*)code, (char*)code + ORACLE_CODE_SIZE);
    mprotect(code, ORACLE_CODE_SIZE, PROT_READ | PROT_EXEC);

    /* Far from any address that cases compute: with SP inside it, a signal would be taken on the case's own SP. */
    const size_t stack_size = 65536;
    const stack_t stack = {.ss_sp = map_fixed(SIGNAL_STACK, stack_size, PROT_READ | PROT_WRITE), .ss_size = stack_size};
    sigaltstack(&stack, NULL);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    const int numbers[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE};
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; ++i) {
        sigaction(numbers[i], &action, NULL);
    }
    alarm(300); /* a case that never ends kills the process; `done` tells which it was */
    __asm__ volatile("brk #0");
    return 4;
}
