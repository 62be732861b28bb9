#include "vmm/fdt_tree.h"

#include <algorithm>

#include "devices/psci.h"
#include "vmm/fdt_writer.h"
#include "vmm/memory_map.h"

namespace vmm {

namespace {

enum Phandle : u32 { kGicPhandle = 1, kClockPhandle = 2, kSpePartitionPhandle = 3, kFirstCpuPhandle = 0x100 };

// Interrupt specifiers of the GIC binding.
enum IrqType : u32 { kSpi = 0, kPpi = 1 };
enum IrqTrigger : u32 { kEdgeRising = 1, kLevelHigh = 4, kLevelLow = 8 };

constexpr u32 spi(unsigned intid) {
    return intid - devices::GicV3::kFirstSpi;
}
constexpr u32 ppi(unsigned intid) {
    return intid - devices::GicV3::kFirstPpi;
}

bool has_spe(const FdtInput& input) {
    return std::find(input.spe_cpus.begin(), input.spe_cpus.end(), true) != input.spe_cpus.end();
}

/// Not all CPUs have SPE: its interrupt must say whose it is.
bool is_partitioned(const FdtInput& input) {
    return has_spe(input) &&
           std::find(input.spe_cpus.begin(), input.spe_cpus.end(), false) != input.spe_cpus.end();
}

/// One interrupt of a device.
struct Irq {
    u32 type;
    u32 number;
    u32 trigger;
    u32 partition = 0;  // phandle; 0: of all CPUs
};

/// "interrupts": three cells each, or four where the GIC has partitions.
void write_interrupts(FdtWriter& fdt, const FdtInput& input, std::initializer_list<Irq> irqs) {
    std::vector<u32> cells;
    for (const Irq& irq : irqs) {
        cells.insert(cells.end(), {irq.type, irq.number, irq.trigger});
        if (is_partitioned(input)) {
            cells.push_back(irq.partition);
        }
    }
    fdt.cells("interrupts", cells);
}

std::string at(const char* name, u64 address) {
    return fmt::format("{}@{:x}", name, address);
}

void write_chosen(FdtWriter& fdt, const FdtInput& input) {
    const auto node = fdt.node("chosen");
    fdt.text("bootargs", input.command_line);
    fdt.cells64("kaslr-seed", {input.kaslr_seed});
    // Without it Linux draws random numbers the slow way, for every system call, until interrupts have given it enough.
    fdt.cells("rng-seed", input.rng_seed);
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
        if (is_partitioned(input)) {
            fdt.cells("phandle", {kFirstCpuPhandle + i});
        }
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

/// Which CPUs the profiling interrupt belongs to. Binding "arm,gic-v3".
void write_partitions(FdtWriter& fdt, const FdtInput& input) {
    std::vector<u32> cpus;
    for (u32 i = 0; i < input.spe_cpus.size(); ++i) {
        if (input.spe_cpus[i]) {
            cpus.push_back(kFirstCpuPhandle + i);
        }
    }
    const auto partitions = fdt.node("ppi-partitions");
    const auto partition = fdt.node("interrupt-partition-0");
    fdt.cells("affinity", cpus);
    fdt.cells("phandle", {kSpePartitionPhandle});
}

void write_gic(FdtWriter& fdt, const FdtInput& input) {
    const devices::Window redistributors = gic_redistributor_window(input.cpus);
    const auto node = fdt.node("intc");
    fdt.text("compatible", devices::GicV3::kCompatible);
    fdt.cells("#interrupt-cells", {is_partitioned(input) ? 4u : 3u});
    fdt.flag("interrupt-controller");
    fdt.cells64("reg", {kGicDistributorWindow.base, kGicDistributorWindow.size, redistributors.base,
                        redistributors.size});
    fdt.cells("phandle", {kGicPhandle});
    fdt.cells("#address-cells", {2});
    fdt.cells("#size-cells", {2});
    if (is_partitioned(input)) {
        write_partitions(fdt, input);
    }
}

void write_timer(FdtWriter& fdt, const FdtInput& input) {
    const auto node = fdt.node("timer");
    fdt.texts("compatible", {devices::GenericTimer::kCompatible, "arm,armv7-timer"});
    const auto& ppis = devices::GenericTimer::kFdtPpis;
    write_interrupts(fdt, input,
                     {{kPpi, ppis[0], kLevelLow},
                      {kPpi, ppis[1], kLevelLow},
                      {kPpi, ppis[2], kLevelLow},
                      {kPpi, ppis[3], kLevelLow}});
    fdt.flag("always-on");
}

void write_pmu(FdtWriter& fdt, const FdtInput& input) {
    const auto node = fdt.node("pmu");
    fdt.text("compatible", "arm,armv8-pmuv3");
    write_interrupts(fdt, input, {{kPpi, ppi(kPmuIntid), kLevelHigh}});
}

void write_spe(FdtWriter& fdt, const FdtInput& input) {
    const auto node = fdt.node("spe");
    fdt.text("compatible", "arm,statistical-profiling-extension-v1");
    write_interrupts(fdt, input, {{kPpi, ppi(input.spe_intid), kLevelHigh, kSpePartitionPhandle}});
}

void write_uart(FdtWriter& fdt, const FdtInput& input, unsigned n) {
    const devices::Window window = uart_window(n);
    const auto node = fdt.node(at("serial", window.base));
    fdt.text("compatible", devices::Uart16550::kCompatible);
    fdt.cells64("reg", {window.base, window.size});
    write_interrupts(fdt, input, {{kSpi, spi(kUartIntid + n), kLevelHigh}});
    fdt.cells("clock-frequency", {devices::Uart16550::kClockHz});
    fdt.cells("fifo-size", {devices::Uart16550::kTransmitFifoSize});
    fdt.cells("tx-threshold", {0});
}

void write_rtc(FdtWriter& fdt, const FdtInput& input) {
    const auto node = fdt.node(at("rtc", kRtcWindow.base));
    fdt.texts("compatible", {devices::Pl031::kCompatible, "arm,primecell"});
    fdt.cells64("reg", {kRtcWindow.base, kRtcWindow.size});
    write_interrupts(fdt, input, {{kSpi, spi(kRtcIntid), kLevelHigh}});
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

void write_virtio(FdtWriter& fdt, const FdtInput& input, unsigned slot) {
    const devices::Window window = virtio_window(slot);
    const auto node = fdt.node(at("virtio", window.base));
    fdt.text("compatible", devices::virtio::MmioTransport::kCompatible);
    fdt.cells64("reg", {window.base, window.size});
    fdt.flag("dma-coherent");
    write_interrupts(fdt, input, {{kSpi, spi(kVirtioIntid + slot), kLevelHigh}});
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
        write_timer(fdt, input);
        if (input.pmu) {
            write_pmu(fdt, input);
        }
        if (has_spe(input)) {
            write_spe(fdt, input);
        }
        for (unsigned n = 0; n < kUarts; ++n) {
            write_uart(fdt, input, n);
        }
        write_apb_clock(fdt);
        write_rtc(fdt, input);
        for (unsigned slot = 0; slot < input.virtio_devices; ++slot) {
            write_virtio(fdt, input, slot);
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
