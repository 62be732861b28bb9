// Runs test cases on VIXL's simulator. Usage: vixl_runner CASE_FILE (see case_format.h).
//
// The simulator executes on this process's own memory, so window and code stand where state_runner has them. What it
// refuses ends in a signal (abort) or in the visitor of unallocated words; both come back here by siglongjmp.
#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "tests/oracle/case_format.h"

#include "aarch64/simulator-aarch64.h"

namespace {

using vixl::aarch64::Instruction;

constexpr uint32_t kStepLimit = 64;

sigjmp_buf g_refused;

OracleFile* g_file;

void on_signal(int number) {
    siglongjmp(g_refused, number);
}

/// Some unallocated words make the simulator loop for ever: gives a case up that spans two ticks.
void on_tick(int) {
    static uint32_t seen = ~0u;
    static unsigned ticks = 0;
    if (++ticks > 1000) {
        _exit(4);
    }
    if (g_file->done == seen) {
        siglongjmp(g_refused, SIGABRT);
    }
    seen = g_file->done;
}

/// The outcome's signal for the one that ended a case here.
uint32_t outcome_signal(int number) {
    switch (number) {
        case SIGABRT: return ORACLE_REFUSED;
        case SIGINT: return SIGTRAP;  // how the simulator breaks into a debugger
        default: return static_cast<uint32_t>(number);
    }
}

class Simulator final : public vixl::aarch64::Simulator {
  public:
    using vixl::aarch64::Simulator::Simulator;

    void VisitUnallocated(const Instruction*) override { siglongjmp(g_refused, SIGILL); }
    void VisitUnimplemented(const Instruction*) override { siglongjmp(g_refused, SIGABRT); }
};

uint64_t slot_address(uint32_t index) {
    return ORACLE_CODE_BASE + uint64_t{index} * ORACLE_SLOT_SIZE;
}

void* map_fixed(uint64_t address, size_t size) {
    void* p = mmap(reinterpret_cast<void*>(address), size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != reinterpret_cast<void*>(address)) {
        perror("vixl_runner: mmap");
        _exit(3);
    }
    return p;
}

class Runner {
  public:
    explicit Runner(OracleFile* file) : file_(file), simulator_(&decoder_, fopen("/dev/null", "w")) {
        simulator_.SetColouredTrace(false);
        simulator_.SilenceExclusiveAccessWarning();
        window_ = static_cast<uint8_t*>(map_fixed(ORACLE_WINDOW_BASE, ORACLE_WINDOW_SIZE));
        for (uint32_t i = 0; i < ORACLE_WINDOW_SIZE; ++i) {
            window_[i] = clean_window_[i] = window_fill(i);
        }
        auto* code = static_cast<uint32_t*>(map_fixed(ORACLE_CODE_BASE, ORACLE_CODE_SIZE));
        for (uint32_t i = 0; i < ORACLE_CODE_SIZE / 4; ++i) {
            code[i] = ORACLE_BRK;
        }
        for (uint32_t i = 0; i < file_->count; ++i) {
            memcpy(reinterpret_cast<void*>(slot_address(i)), file_->cases[i].insns,
                   4 * file_->cases[i].insn_count);
        }
    }

    void run() {
        for (; file_->done < file_->count; ++file_->done) {
            OracleCase& c = file_->cases[file_->done];
            uint32_t failed_store = 32;
            for (uint32_t i = 0; i < c.insn_count; ++i) {
                const bool store_exclusive =
                    (c.insns[i] & 0x3FC00000) == 0x08000000 && (c.insns[i] & 0xA00000) != 0xA00000;
                failed_store = store_exclusive ? (c.insns[i] >> 16) & 31 : failed_store;
            }
            // The simulator lets one store-exclusive in a hundred fail for no reason, as it may. (What is chosen here is
            // not what the test expects: a store that must fail does so each time.)
            int tries = failed_store < 31 ? 64 : 1;
            do {
                run_case(c, slot_address(file_->done));
            } while (--tries > 0 && c.outcome.state.x[failed_store] != 0);
        }
    }

  private:
    void run_case(OracleCase& c, uint64_t start) {
        const uint64_t end = start + 4 * c.insn_count;
        enter(c, start);
        const int refused = sigsetjmp(g_refused, 1);
        if (refused == 0) {
            for (uint32_t step = 0; step < kStepLimit && pc() >= start && pc() < end; ++step) {
                simulator_.ExecuteInstruction();
            }
            collect(c);
            return;
        }
        const uint64_t at = pc();
        collect(c);
        simulator_.ResetState();
        c.outcome.pc = at;
        c.outcome.signal = outcome_signal(refused);
    }

    uint64_t pc() const { return reinterpret_cast<uint64_t>(simulator_.ReadPc()); }

    void enter(const OracleCase& c, uint64_t start) {
        using vixl::aarch64::Simulator;
        for (unsigned n = 0; n < 31; ++n) {
            simulator_.WriteXRegister(n, static_cast<int64_t>(c.input.x[n]), Simulator::NoRegLog);
        }
        simulator_.WriteRegister(31, c.input.sp, Simulator::NoRegLog, vixl::aarch64::Reg31IsStackPointer);
        for (unsigned n = 0; n < 32; ++n) {
            vixl::aarch64::Simulator::qreg_t value;
            memcpy(&value, c.input.v[n], 16);
            simulator_.WriteVRegister(n, value, Simulator::NoRegLog);
        }
        simulator_.ReadNzcv().SetRawValue(c.input.nzcv);
        simulator_.ReadFpcr().SetRawValue(c.input.fpcr);
        simulator_.ClearLocalMonitor();
        simulator_.WritePc(reinterpret_cast<const Instruction*>(start), Simulator::NoBranchLog);
        memcpy(window_ + ORACLE_IMAGE_OFFSET, c.input.image, ORACLE_IMAGE_SIZE);
    }

    void collect(OracleCase& c) {
        OracleState& s = c.outcome.state;
        for (unsigned n = 0; n < 31; ++n) {
            s.x[n] = static_cast<uint64_t>(simulator_.ReadXRegister(n));
        }
        s.sp = simulator_.ReadRegister<uint64_t>(31, vixl::aarch64::Reg31IsStackPointer);
        for (unsigned n = 0; n < 32; ++n) {
            const auto value = simulator_.ReadQRegister(n);
            memcpy(s.v[n], &value, 16);
        }
        s.nzcv = simulator_.ReadNzcv().GetRawValue();
        s.fpcr = simulator_.ReadFpcr().GetRawValue();
        s.fpsr = 0;
        memcpy(s.image, window_ + ORACLE_IMAGE_OFFSET, ORACLE_IMAGE_SIZE);
        memcpy(window_ + ORACLE_IMAGE_OFFSET, clean_window_ + ORACLE_IMAGE_OFFSET, ORACLE_IMAGE_SIZE);
        c.outcome.outside_hash = 0;
        if (memcmp(window_, clean_window_, ORACLE_WINDOW_SIZE) != 0) {
            c.outcome.outside_hash = window_hash(window_);
            memcpy(window_, clean_window_, ORACLE_WINDOW_SIZE);
        }
        c.outcome.pc = pc();
        c.outcome.signal = 0;
    }

    OracleFile* file_;
    vixl::aarch64::Decoder decoder_;
    Simulator simulator_;
    uint8_t* window_ = nullptr;
    uint8_t clean_window_[ORACLE_WINDOW_SIZE];
};

}  // namespace

int main(int argc, char** argv) {
    struct stat info;
    const int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
    if (fd < 0 || fstat(fd, &info) != 0) {
        fprintf(stderr, "usage: vixl_runner CASE_FILE\n");
        return 2;
    }
    void* file = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED) {
        perror("vixl_runner: mmap");
        return 3;
    }
    for (const int number : {SIGABRT, SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP, SIGINT}) {
        signal(number, &on_signal);
    }
    // What the simulator says before it aborts.
    if (freopen("/dev/null", "w", stdout) == nullptr) {
        return 3;
    }
    g_file = static_cast<OracleFile*>(file);
    signal(SIGALRM, &on_tick);
    const itimerval period = {{0, 100000}, {0, 100000}};
    setitimer(ITIMER_REAL, &period, nullptr);
    static Runner runner(g_file);
    runner.run();
    _exit(0);
}
