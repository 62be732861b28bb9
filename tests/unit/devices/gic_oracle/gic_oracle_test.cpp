// Random operations on our GIC and on the one of qemu-system-aarch64 must give the same results.
//
// Usage: gic_oracle_test GUEST_ELF [SEED [STEPS]]; exit status 77 where QEMU is not installed. With GIC_ORACLE_HISTORY in
// the environment, all steps up to the first difference are shown.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "devices/gicv3/gicv3.h"
#include "tests/unit/devices/gic_oracle/operations.h"
#include "vmm/base/rng.h"

namespace {

using namespace vmm;
using devices::GicV3;

constexpr unsigned kSpis = 64;
constexpr u32 kSgiFrame = 0x10000;
constexpr u32 kSecondPe = 0x20000;

constexpr u32 kAlwaysGroup1 = 0xFF;  // SGIs 0..7

constexpr const char* kNames[] = {
#define GIC_NAME(name, encoding, readable, writable) #name,
    GIC_REGISTERS(GIC_NAME)
#undef GIC_NAME
};
constexpr bool kReadable[] = {
#define GIC_READABLE(name, encoding, readable, writable) readable,
    GIC_REGISTERS(GIC_READABLE)
#undef GIC_READABLE
};

// ── The operations ─────────────────────────────────────────────────────────────────────────────────────────

class Generator {
  public:
    explicit Generator(u64 seed) : rng_(seed) {}

    std::vector<GicStep> make(unsigned count) {
        set_up();
        while (steps_.size() < count) {
            const u64 kind = rng_.below(100);
            if (kind < 30) {
                distributor();
            } else if (kind < 50) {
                redistributor();
            } else if (kind < 55) {
                add(GIC_TIMER_WIRE, 0, rng_.below(2));
            } else {
                cpu_interface();
            }
            add(GIC_READ_IRQ, 0, 0);
        }
        add(GIC_END, 0, 0);
        return steps_;
    }

  private:
    void add(GicOperation operation, u32 where, u64 value) { steps_.push_back({operation, where, value}); }

    void set_up() {
        add(GIC_WRITE_GICD, 0, 2);
        for (const u32 pe : {0u, kSecondPe}) {
            add(GIC_WRITE_GICR, pe + 0x14, 0);
            add(GIC_WRITE_GICR, pe + kSgiFrame + 0x80, ~0u);
            add(GIC_WRITE_GICR, pe + kSgiFrame + 0x100, ~0u);
        }
        for (u32 word = 1; word <= kSpis / 32; ++word) {
            add(GIC_WRITE_GICD, 0x80 + 4 * word, ~0u);
            add(GIC_WRITE_GICD, 0x100 + 4 * word, ~0u);
        }
        // Values at reset that the architecture leaves open.
        add(GIC_WRITE_ICC, GIC_PMR, 0xF8);
        add(GIC_WRITE_ICC, GIC_IGRPEN1, 1);
        add(GIC_WRITE_ICC, GIC_BPR0, 0);
        add(GIC_WRITE_ICC, GIC_BPR1, 0);
    }

    /// Few bits set, so that not everything is pending at once.
    u32 sparse() { return static_cast<u32>(rng_.next() & rng_.next() & rng_.next()); }

    /// QEMU keeps 8 bits of each, which the architecture allows, where we have 5.
    u32 priorities() { return static_cast<u32>(rng_.next() & (rng_.below(2) != 0 ? 0xF8F8F8F8 : 0x78787878)); }

    /// One access to a register array; `first`, `words`: which 32-interrupt words it may touch.
    void irq_array(GicOperation write, GicOperation read, u32 frame, u32 first, u32 words) {
        const u32 word = first + static_cast<u32>(rng_.below(words));
        struct Row {
            u32 offset;
            unsigned weight;
        };
        static constexpr Row kRows[] = {{0x80, 1}, {0x100, 4}, {0x180, 2}, {0x200, 10}, {0x280, 3}, {0x300, 2}, {0x380, 3}};
        u64 pick = rng_.below(35);
        if (pick >= 25) {
            const u32 offset = frame + (pick < 32 ? 0x400 + word * 32 + static_cast<u32>(rng_.below(8)) * 4
                                                  : 0xC00 + word * 8 + static_cast<u32>(rng_.below(2)) * 4);
            const bool config = pick >= 32;
            add(write, offset, config ? rng_.next() & 0xAAAAAAAA : priorities());
            add(read, offset, 0);
            return;
        }
        for (const Row& row : kRows) {
            if (pick < row.weight) {
                const bool group = row.offset == 0x80;
                const u32 value = group || row.offset == 0x100 ? ~sparse() : sparse();
                add(write, frame + row.offset + 4 * word, group && word == 0 ? value | kAlwaysGroup1 : value);
                break;
            }
            pick -= row.weight;
        }
        add(read, frame + 0x80 + static_cast<u32>(rng_.below(7)) * 0x80 + 4 * word, 0);
    }

    void distributor() {
        if (rng_.below(20) == 0) {
            // Enables go together: in QEMU a pending interrupt of a group that only the CPU interface disables stands in
            // the way of the other group; here the CPU interface's enables reach the redistributor (IHI 0069, 4.7).
            const u64 groups = rng_.below(8) == 0 ? rng_.below(4) : 2 + rng_.below(2);
            add(GIC_WRITE_GICD, 0, groups);
            add(GIC_WRITE_ICC, GIC_IGRPEN0, groups & 1);
            add(GIC_WRITE_ICC, GIC_IGRPEN1, groups >> 1);
            add(GIC_READ_GICD, 0, 0);
        } else if (rng_.below(10) == 0) {
            const u32 offset = 0x6000 + 8 * (32 + static_cast<u32>(rng_.below(kSpis)));
            add(GIC_WRITE_GICD, offset, rng_.below(4) == 0 ? rng_.below(3) : 0);
            add(GIC_READ_GICD, offset, 0);
        } else {
            irq_array(GIC_WRITE_GICD, GIC_READ_GICD, 0, 1, kSpis / 32);
        }
    }

    void redistributor() {
        const u32 pe = rng_.below(4) == 0 ? kSecondPe : 0;
        irq_array(GIC_WRITE_GICR, GIC_READ_GICR, pe + kSgiFrame, 0, 1);
    }

    u64 value_for(u32 which) {
        switch (which) {
            case GIC_PMR: return rng_.below(2) != 0 ? 0xFF : rng_.below(256);
            case GIC_BPR0:
            case GIC_BPR1: return rng_.below(8);
            case GIC_CTLR: return rng_.below(4);
            case GIC_SGI1R:  // QEMU lets it generate group 1 only, where KVM and we allow either
            case GIC_SGI0R:
            case GIC_ASGI1R:
                return rng_.below(which == GIC_SGI1R ? 8 : 16) << 24 | rng_.below(8) | (rng_.below(8) == 0 ? u64{1} << 40 : 0) |
                       (rng_.below(8) == 0 ? u64{1} << 16 : 0);
            default: return rng_.below(32 + kSpis);
        }
    }

    void cpu_interface() {
        // Mostly acknowledge and end, as handlers do: the INTID to end is not known here, so EOIR and DIR try several.
        const u64 kind = rng_.below(10);
        if (kind < 3) {
            add(GIC_READ_ICC, GIC_HPPIR1, 0);
            add(GIC_READ_ICC, GIC_IAR1, 0);
            add(GIC_READ_ICC, GIC_RPR, 0);
        } else if (kind < 5) {
            const bool group0 = rng_.below(8) == 0;
            add(GIC_WRITE_ICC, group0 ? GIC_EOIR0 : GIC_EOIR1, rng_.below(32 + kSpis));
            add(GIC_READ_ICC, GIC_RPR, 0);
        } else if (kind < 6) {
            add(GIC_READ_ICC, GIC_IAR0, 0);
        } else {
            const u32 which = static_cast<u32>(rng_.below(std::size(kNames)));
            const bool enable = which == GIC_IGRPEN0 || which == GIC_IGRPEN1;
            if (!enable && rng_.below(2) != 0) {
                add(GIC_WRITE_ICC, which, value_for(which));
            }
            add(GIC_READ_ICC, kReadable[which] ? which : u32{GIC_AP1R0}, 0);
        }
    }

    Rng rng_;
    std::vector<GicStep> steps_;
};

std::string describe(const GicStep& step) {
    static constexpr const char* kVerbs[] = {"end",        "write GICD", "read GICD", "write GICR", "read GICR",
                                             "write ICC_", "read ICC_",  "read IRQ",  "timer wire"};
    char text[96];
    const bool icc = step.operation == GIC_WRITE_ICC || step.operation == GIC_READ_ICC;
    if (icc) {
        std::snprintf(text, sizeof(text), "%s%s %llx", kVerbs[step.operation], kNames[step.where],
                      static_cast<unsigned long long>(step.value));
    } else {
        std::snprintf(text, sizeof(text), "%s+%x %llx", kVerbs[step.operation], step.where,
                      static_cast<unsigned long long>(step.value));
    }
    return text;
}

// ── The two sides ──────────────────────────────────────────────────────────────────────────────────────────

class Ours {
  public:
    Ours() {
        const devices::GicPe pes[] = {{&pins_[0], 0}, {&pins_[1], 1}};
        gic_ = std::make_unique<GicV3>(pes, kSpis);
    }

    /// The result of a step that has one.
    u64 run(const GicStep& step) {
        switch (step.operation) {
            case GIC_WRITE_GICD: gic_->distributor().write({step.where, 4, 0}, step.value); return 0;
            case GIC_READ_GICD: return gic_->distributor().read({step.where, 4, 0});
            case GIC_WRITE_GICR: gic_->redistributors().write({step.where, 4, 0}, step.value); return 0;
            case GIC_READ_GICR: return gic_->redistributors().read({step.where, 4, 0});
            case GIC_WRITE_ICC: write(step.where, step.value); return 0;
            case GIC_READ_ICC: return read(step.where);
            case GIC_READ_IRQ: return pins_[0].irq();
            default: gic_->ppi(0, 27).set((step.value & 1) != 0); return 0;
        }
    }

  private:
    u64 read(u32 which) {
        auto& icc = gic_->cpu_interface(0);
        switch (which) {
            case GIC_PMR: return icc.priority_mask();
            case GIC_IAR0: return icc.acknowledge(0);
            case GIC_IAR1: return icc.acknowledge(1);
            case GIC_HPPIR0: return icc.highest_pending(0);
            case GIC_HPPIR1: return icc.highest_pending(1);
            case GIC_BPR0: return icc.binary_point(0);
            case GIC_BPR1: return icc.binary_point(1);
            case GIC_AP0R0: return icc.active_priorities(0);
            case GIC_AP1R0: return icc.active_priorities(1);
            case GIC_RPR: return icc.running_priority();
            case GIC_CTLR: return icc.control();
            case GIC_SRE: return 7;
            case GIC_IGRPEN0: return icc.group_enable(0);
            case GIC_IGRPEN1: return icc.group_enable(1);
            default: return 0;
        }
    }

    void write(u32 which, u64 value) {
        auto& icc = gic_->cpu_interface(0);
        switch (which) {
            case GIC_PMR: icc.set_priority_mask(value); break;
            case GIC_EOIR0: icc.end_of_interrupt(0, value); break;
            case GIC_EOIR1: icc.end_of_interrupt(1, value); break;
            case GIC_BPR0: icc.set_binary_point(0, value); break;
            case GIC_BPR1: icc.set_binary_point(1, value); break;
            case GIC_DIR: icc.deactivate(value); break;
            case GIC_SGI1R: icc.send_sgi(value, true); break;
            case GIC_ASGI1R:
            case GIC_SGI0R: icc.send_sgi(value, false); break;
            case GIC_CTLR: icc.set_control(value); break;
            case GIC_IGRPEN0: icc.set_group_enable(0, value); break;
            case GIC_IGRPEN1: icc.set_group_enable(1, value); break;
            default: break;
        }
    }

    arch::Pins pins_[2];
    std::unique_ptr<GicV3> gic_;
};

std::vector<u64> run_in_qemu(const std::string& guest, const std::vector<GicStep>& steps) {
    char directory[] = "/tmp/gic-oracle-XXXXXX";
    if (::mkdtemp(directory) == nullptr) {
        return {};
    }
    const std::string base = directory;
    std::ofstream(base + "/steps", std::ios::binary)
        .write(reinterpret_cast<const char*>(steps.data()), static_cast<std::streamsize>(steps.size() * sizeof(GicStep)));
    const std::string command = "timeout 120 qemu-system-aarch64 -M virt,gic-version=3 -cpu cortex-a57 -smp 2 -m 256 "
                                "-nic none -display none -monitor none -serial file:" + base + "/out -kernel " + guest +
                                " -device loader,force-raw=on,addr=0x48000000,file=" + base + "/steps";
    std::vector<u64> results;
    if (std::system(command.c_str()) == 0) {
        std::ifstream out(base + "/out");
        for (std::string line; std::getline(out, line);) {
            results.push_back(std::stoull(line, nullptr, 16));
        }
    }
    std::system(("rm -r " + base).c_str());
    return results;
}

bool has_result(const GicStep& step) {
    return step.operation == GIC_READ_GICD || step.operation == GIC_READ_GICR || step.operation == GIC_READ_ICC ||
           step.operation == GIC_READ_IRQ;
}

/// Bits that may differ: the number of implemented features in ICC_CTLR_EL1.
u64 compared(const GicStep& step) {
    return step.operation == GIC_READ_ICC && step.where == GIC_CTLR ? 0x703 : ~u64{0};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::cerr << "usage: gic_oracle_test GUEST_ELF [SEED [STEPS]]\n";
        return 2;
    }
    if (std::system("qemu-system-aarch64 --version > /dev/null 2>&1") != 0) {
        std::cerr << "qemu-system-aarch64 is not installed\n";
        return 77;
    }
    const u64 seed = argc > 2 ? std::stoull(argv[2]) : 1;
    const unsigned count = argc > 3 ? static_cast<unsigned>(std::stoul(argv[3])) : 20'000;
    const std::vector<GicStep> steps = Generator(seed).make(count);
    const std::vector<u64> expected = run_in_qemu(argv[1], steps);

    Ours ours;
    std::size_t at = 0;
    std::size_t acknowledged = 0;
    for (std::size_t n = 0; n + 1 < steps.size(); ++n) {
        const GicStep& step = steps[n];
        const u64 result = ours.run(step);
        if (!has_result(step)) {
            continue;
        }
        if (at >= expected.size()) {
            std::cerr << "QEMU stopped after " << expected.size() << " results\n";
            return 1;
        }
        const u64 mask = compared(step);
        if ((result & mask) != (expected[at] & mask)) {
            const std::size_t history = std::getenv("GIC_ORACLE_HISTORY") != nullptr ? n : std::min<std::size_t>(n, 12);
            for (std::size_t before = n - history; before < n; ++before) {
                std::cerr << "    " << describe(steps[before]) << "\n";
            }
            std::cerr << "step " << n << ": " << describe(step) << ": ours " << std::hex << result << ", QEMU "
                      << expected[at] << "\n";
            return 1;
        }
        acknowledged += step.operation == GIC_READ_ICC && step.where == GIC_IAR1 && result < 1020;
        ++at;
    }
    std::cout << "seed " << seed << ": " << at << " results equal, " << acknowledged << " interrupts acknowledged\n";
    return acknowledged > 100 ? 0 : 1;
}
