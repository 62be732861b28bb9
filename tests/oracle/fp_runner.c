/* Runs the loops of fp_format.h on a real (or qemu-user) AArch64 CPU. Usage: fp_runner FILE. */
#define _GNU_SOURCE
#include "fp_format.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void run_loop(const void* code, const struct FpOperands* operands, struct FpResult* results, uint64_t count,
                     uint64_t fpcr) {
    register const struct FpOperands* x20 __asm__("x20") = operands;
    register struct FpResult* x21 __asm__("x21") = results;
    register uint64_t x22 __asm__("x22") = count;
    register uint64_t x23 __asm__("x23") = fpcr;
    __asm__ volatile("blr %[code]"
                     : "+r"(x20), "+r"(x21), "+r"(x22)
                     : [code] "r"(code), "r"(x23)
                     : "x0", "x1", "x5", "x6", "x30", "v0", "v1", "v2", "v3", "cc", "memory");
}

int main(int argc, char** argv) {
    struct stat info;
    const int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
    if (fd < 0 || fstat(fd, &info) != 0) {
        fprintf(stderr, "usage: fp_runner FILE\n");
        return 2;
    }
    char* base = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct FpFile* file = (struct FpFile*)base;
    uint32_t* code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || code == MAP_FAILED) {
        perror("fp_runner: mmap");
        return 3;
    }
    for (; file->done < file->count; ++file->done) {
        const struct FpJob* job = &file->jobs[file->done];
        memcpy(code, kFpLoop, sizeof kFpLoop);
        code[FP_LOOP_INSN] = job->insn;
        __builtin___clear_cache((char*)code, (char*)code + sizeof kFpLoop);
        run_loop(code, (const struct FpOperands*)(base + job->operands), (struct FpResult*)(base + job->results),
                 job->count, job->fpcr);
    }
    return 0;
}
