// A PE with RAM and nothing else around it.
#pragma once

#include <cstdint>
#include <vector>

#include "arch/cpu_model.h"
#include "arch/engine.h"
#include "arch/vcpu.h"

namespace vmm::oracle {

class LonePe : arch::MmioPort, arch::FirmwarePort, arch::CounterPort {
  public:
    /// RAM of `size` bytes, a multiple of 4 KiB, at guest-physical `base`. `translate_after`: see VcpuConfig.
    LonePe(u64 base, u64 size, u32 translate_after)
        : memory_(size + 4096), ram_(aligned(memory_.data()), base, size), vcpu_(config(translate_after)) {
        interconnect_.attach(&vcpu_);
    }

    arch::Vcpu& vcpu() { return vcpu_; }
    const mm::GuestRam& ram() const { return ram_; }

  private:
    bool read(u64, unsigned, u64&, unsigned) override { return false; }
    bool write(u64, unsigned, u64, unsigned) override { return false; }
    arch::Exec call(arch::Vcpu&) override { return arch::Exec::next; }
    u64 count() const override { return 0; }
    u64 frequency() const override { return 1'000'000; }

    static u8* aligned(u8* bytes) { return bytes + (-reinterpret_cast<std::uintptr_t>(bytes) & 4095); }

    arch::VcpuConfig config(u32 translate_after) {
        arch::VcpuConfig config;
        config.ram = ram_;
        config.model = arch::find_cpu_model("neoverse-n1");
        config.mmio = this;
        config.firmware = this;
        config.counter = this;
        config.interconnect = &interconnect_;
        config.translate_after = translate_after;
        return config;
    }

    std::vector<u8> memory_;
    mm::GuestRam ram_;
    arch::Interconnect interconnect_;
    arch::Vcpu vcpu_;
};

}  // namespace vmm::oracle
