#include "tests/oracle/report.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "vmm/base/bits.h"

namespace vmm::oracle {

namespace {

std::string vector_text(const uint64_t (&v)[2]) {
    return fmt::format("{:016x}_{:016x}", v[1], v[0]);
}

std::string signal_text(u32 signal) {
    switch (signal) {
        case 0: return "none";
        case 4: return "SIGILL";
        case 5: return "SIGTRAP";
        case 7: return "SIGBUS";
        case 11: return "SIGSEGV";
        default: return fmt::format("{:#x}", signal);
    }
}

}  // namespace

std::vector<std::string> differences(const OracleCase& c, const OracleOutcome& ours, const Model& model) {
    std::vector<std::string> lines;
    const OracleState& e = c.outcome.state;
    const OracleState& g = ours.state;
    const auto compare = [&lines](const std::string& name, u64 expected, u64 got) {
        if (expected != got) {
            lines.push_back(fmt::format("{:<8} expected {:016x}  got {:016x}", name, expected, got));
        }
    };
    if (c.outcome.signal != ours.signal) {
        lines.push_back(
            fmt::format("signal   expected {}  got {}", signal_text(c.outcome.signal), signal_text(ours.signal)));
    }
    compare("pc", c.outcome.pc, ours.pc);
    if (c.outcome.signal != 0 && !model.knows_faults) {
        return lines;
    }
    for (unsigned n = 0; n < 31; ++n) {
        compare(fmt::format("x{}", n), e.x[n], g.x[n]);
    }
    compare("sp", e.sp, g.sp);
    for (unsigned n = 0; n < 32; ++n) {
        if (std::memcmp(e.v[n], g.v[n], 16) != 0) {
            lines.push_back(
                fmt::format("v{:<7} expected {}  got {}", n, vector_text(e.v[n]), vector_text(g.v[n])));
        }
    }
    compare("nzcv", e.nzcv, g.nzcv);
    compare("fpcr", e.fpcr, g.fpcr);
    if (model.knows_fpsr) {
        compare("fpsr", e.fpsr, g.fpsr);
    }
    if (c.outcome.signal != 0) {
        return lines;  // a faulting store may have written part of its bytes
    }
    for (unsigned i = 0; i < ORACLE_IMAGE_SIZE; i += 8) {
        u64 expected = 0;
        u64 got = 0;
        std::memcpy(&expected, e.image + i, 8);
        std::memcpy(&got, g.image + i, 8);
        compare(fmt::format("[{:#x}]", ORACLE_WINDOW_BASE + ORACLE_IMAGE_OFFSET + i), expected, got);
    }
    compare("outside", c.outcome.outside_hash, ours.outside_hash);
    return lines;
}

std::string disassemble(const OracleCase& c, u64 address) {
    char path[] = "/tmp/oracle-dis-XXXXXX";
    const int fd = ::mkstemp(path);
    std::string text;
    if (fd >= 0 && ::write(fd, c.insns, 4 * c.insn_count) == static_cast<ssize_t>(4 * c.insn_count)) {
        const std::string command = fmt::format(
            "aarch64-linux-gnu-objdump -D -b binary -m aarch64 --adjust-vma={:#x} {} 2>/dev/null | tail -n {}", address,
            path, c.insn_count);
        if (FILE* pipe = ::popen(command.c_str(), "r"); pipe != nullptr) {
            char buffer[256];
            while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) {
                text += buffer;
            }
            ::pclose(pipe);
        }
    }
    if (fd >= 0) {
        ::close(fd);
        ::unlink(path);
    }
    return text;
}

std::string describe_inputs(const OracleCase& c) {
    std::set<unsigned> registers;
    for (unsigned i = 0; i < c.insn_count; ++i) {
        for (const unsigned lsb : {0u, 5u, 10u, 16u}) {
            registers.insert(static_cast<unsigned>(bits(c.insns[i], lsb + 4, lsb)));
        }
    }
    std::string text;
    for (const unsigned n : registers) {
        const u64 x = n == 31 ? c.input.sp : c.input.x[n];
        text += fmt::format("    {}{:<2} = {:016x}   v{:<2} = {}\n", n == 31 ? "sp" : "x", n == 31 ? "" : std::to_string(n),
                            x, n, vector_text(c.input.v[n]));
    }
    text += fmt::format("    nzcv = {:x}   fpcr = {:08x}   fpsr = {:08x}\n", c.input.nzcv >> 28, c.input.fpcr,
                        c.input.fpsr);
    return text;
}

}  // namespace vmm::oracle
