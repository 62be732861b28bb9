#include "vmm/fdt_tree.h"

#include "devices/psci.h"
#include "vmm/fdt_writer.h"
#include "vmm/memory_map.h"

namespace vmm {

namespace {

enum Phandle : u32 { kGicPhandle = 1, kClockPhandle = 2 };

// Interrupt specifiers of the GIC binding.
enum IrqType : u32 { kSpi = 0, kPpi = 1 };
enum IrqTrigger : u32 { kEdgeRising = 1, kLevelHigh = 4, kLevelLow = 8 };

constexpr u32 spi(unsigned intid) {
    return intid - devices::GicV3::kFirstSpi;
}
constexpr u32 ppi(unsigned intid) {
    return intid - devices::GicV3::kFirstPpi;
}

std::string at(const char* name, u64 address) {
    return fmt::format("{}@{:x}", name, address);
}

void write_chosen(FdtWriter& fdt, const FdtInput& input) {
    const auto node = fdt.node("chosen");
    fdt.text("bootargs", input.command_line);
    fdt.cells64("kaslr-seed", {input.kaslr_seed});
    fdt.text("stdout-path", "serial0");
    if (input.initrd.size != 0) {
        fdt.cells64("linux,initrd-start", {input.initrd.pa});
        fdt.cells64("linux,initrd-end", {input.initrd.end()});
    }
}

void write_memory(FdtWriter& fdt, const FdtInput& input) {
    const auto node = fdt.node(at("memory", input.ram.pa));
    fdt.text("device_type", "memory");
    fdt.cells64("reg", {input.ram.pa, input.ram.size});
}

void write_cpus(FdtWriter& fdt, const FdtInput& input) {
    const auto node = fdt.node("cpus");
    fdt.cells("#address-cells", {1});
    fdt.cells("#size-cells", {0});
    for (unsigned i = 0; i < input.cpus; ++i) {
        const auto cpu = fdt.node(at("cpu", cpu_affinity(i)));
        fdt.text("device_type", "cpu");
        fdt.text("compatible", "arm,armv8");
        if (input.cpus > 1) {
            fdt.text("enable-method", "psci");
        }
        fdt.cells("reg", {static_cast<u32>(cpu_affinity(i))});
    }
}

void write_psci(FdtWriter& fdt) {
    using devices::Psci;
    const auto node = fdt.node("psci");
    fdt.texts("compatible", {Psci::kCompatible, "arm,psci-0.2", "arm,psci"});
    fdt.text("method", "hvc");
    fdt.cells("cpu_suspend", {Psci::kCpuSuspend64});
    fdt.cells("cpu_off", {Psci::kCpuOff});
    fdt.cells("cpu_on", {Psci::kCpuOn64});
}

void write_gic(FdtWriter& fdt, const FdtInput& input) {
    const devices::Window redistributors = gic_redistributor_window(input.cpus);
    const auto node = fdt.node("intc");
    fdt.text("compatible", devices::GicV3::kCompatible);
    fdt.cells("#interrupt-cells", {3});
    fdt.flag("interrupt-controller");
    fdt.cells64("reg", {kGicDistributorWindow.base, kGicDistributorWindow.size, redistributors.base,
                        redistributors.size});
    fdt.cells("phandle", {kGicPhandle});
    fdt.cells("#address-cells", {2});
    fdt.cells("#size-cells", {2});
}

void write_timer(FdtWriter& fdt) {
    const auto node = fdt.node("timer");
    fdt.texts("compatible", {devices::GenericTimer::kCompatible, "arm,armv7-timer"});
    std::vector<u32> interrupts;
    for (const unsigned n : devices::GenericTimer::kFdtPpis) {
        interrupts.insert(interrupts.end(), {kPpi, n, kLevelLow});
    }
    fdt.cells("interrupts", interrupts);
    fdt.flag("always-on");
}

void write_ppi_device(FdtWriter& fdt, const char* name, const char* compatible, unsigned intid) {
    const auto node = fdt.node(name);
    fdt.text("compatible", compatible);
    fdt.cells("interrupts", {kPpi, ppi(intid), kLevelHigh});
}

void write_uart(FdtWriter& fdt, unsigned n) {
    const devices::Window window = uart_window(n);
    const auto node = fdt.node(at("serial", window.base));
    fdt.text("compatible", devices::Uart16550::kCompatible);
    fdt.cells64("reg", {window.base, window.size});
    fdt.cells("interrupts", {kSpi, spi(kUartIntid + n), kLevelHigh});
    fdt.cells("clock-frequency", {devices::Uart16550::kClockHz});
}

void write_rtc(FdtWriter& fdt) {
    const auto node = fdt.node(at("rtc", kRtcWindow.base));
    fdt.texts("compatible", {devices::Pl031::kCompatible, "arm,primecell"});
    fdt.cells64("reg", {kRtcWindow.base, kRtcWindow.size});
    fdt.cells("interrupts", {kSpi, spi(kRtcIntid), kLevelHigh});
    fdt.cells("clocks", {kClockPhandle});
    fdt.text("clock-names", "apb_pclk");
}

void write_apb_clock(FdtWriter& fdt) {
    const auto node = fdt.node("apb-pclk");
    fdt.text("compatible", "fixed-clock");
    fdt.cells("#clock-cells", {0});
    fdt.cells("clock-frequency", {24'000'000});
    fdt.text("clock-output-names", "clk24mhz");
    fdt.cells("phandle", {kClockPhandle});
}

void write_virtio(FdtWriter& fdt, unsigned slot) {
    const devices::Window window = virtio_window(slot);
    const auto node = fdt.node(at("virtio", window.base));
    fdt.text("compatible", devices::virtio::MmioTransport::kCompatible);
    fdt.cells64("reg", {window.base, window.size});
    fdt.flag("dma-coherent");
    fdt.cells("interrupts", {kSpi, spi(kVirtioIntid + slot), kLevelHigh});
}

}  // namespace

Result<std::vector<u8>> build_device_tree(const FdtInput& input) {
    FdtWriter fdt;
    {
        const auto root = fdt.node("");
        fdt.cells("interrupt-parent", {kGicPhandle});
        fdt.text("compatible", "linux,dummy-virt");
        fdt.text("model", "linux,dummy-virt");
        fdt.cells("#address-cells", {2});
        fdt.cells("#size-cells", {2});
        write_chosen(fdt, input);
        write_memory(fdt, input);
        write_cpus(fdt, input);
        write_gic(fdt, input);
        write_timer(fdt);
        if (input.pmu) {
            write_ppi_device(fdt, "pmu", "arm,armv8-pmuv3", kPmuIntid);
        }
        if (input.spe) {
            write_ppi_device(fdt, "spe", "arm,statistical-profiling-extension-v1", kSpeIntid);
        }
        for (unsigned n = 0; n < kUarts; ++n) {
            write_uart(fdt, n);
        }
        write_apb_clock(fdt);
        write_rtc(fdt);
        for (unsigned slot = 0; slot < input.virtio_devices; ++slot) {
            write_virtio(fdt, slot);
        }
        write_psci(fdt);
        const auto aliases = fdt.node("aliases");
        for (unsigned n = 0; n < kUarts; ++n) {
            fdt.text(fmt::format("serial{}", n).c_str(),
                     fmt::format("/{}", at("serial", uart_window(n).base)));
        }
    }
    return fdt.finish();
}

}  // namespace vmm
