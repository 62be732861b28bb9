// From a configuration to a machine that can run: files, device tree, memory, CPUs, devices.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "arch/cpu_model.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/block.h"
#include "devices/virtio/console_ports.h"
#include "devices/virtio/entropy.h"
#include "devices/virtio/file_share.h"
#include "devices/virtio/net.h"
#include "vmm/base/check.h"
#include "vmm/base/rng.h"
#include "vmm/fdt_tree.h"
#include "vmm/gdb/stub.h"
#include "vmm/guest_init/protocol.h"
#include "vmm/machine.h"
#include "vmm/memory_map.h"
#include "vmm/output_file.h"

namespace vmm {

namespace {

constexpr u64 kMpidrRes1 = u64{1} << 31;

/// Takes what the guest prints to a UART that is not connected.
class NullSink final : public devices::ByteSink {
  public:
    void put(std::span<const u8>) override {}
};

/// What the profiling buffers of all CPUs and the tables that map them may take together; 0 = any amount.
u64 most_pinned_bytes(const MachineConfig& config) {
    constexpr u64 kPage = 4096;
    constexpr u64 kPagesPerTable = 512;
    const u64 buffer = config.spe.max_buffer_size;
    const u64 tables = (buffer / kPage / kPagesPerTable + 4) * kPage;
    return config.spe.enabled && buffer != 0 ? config.spe.count(config.cpus) * (buffer + tables) : 0;
}

/// Where the guest's random numbers come from; with --clock=insn they are the same in every run.
devices::virtio::Entropy::Source entropy_source(ClockKind clock) {
    if (clock != ClockKind::insn) {
        return devices::virtio::Entropy::host_source();
    }
    return [rng = std::make_shared<Rng>(1)](std::span<u8> bytes) {
        for (u8& byte : bytes) {
            byte = static_cast<u8>(rng->next() >> 32);
        }
    };
}

}  // namespace

Machine::Machine(const MachineConfig& config, SliceObserver* slices) : config_(config), slices_(slices) {}

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config, SliceObserver* slices) {
    std::unique_ptr<Machine> machine(new Machine(config, slices));
    VMM_TRY_VOID(machine->load_files());
    VMM_TRY_VOID(machine->open_virtio_devices());
    VMM_TRY_VOID(machine->build_tree());
    VMM_TRY_VOID(machine->map_memory());
    machine->build_cpus();
    VMM_TRY_VOID(machine->build_devices());
    VMM_TRY_VOID(machine->open_control());
    VMM_TRY_VOID(machine->open_gdb());
    VMM_TRY_VOID(machine->write_dtb());
    VMM_TRY_VOID(machine->start_host_trace());
    if (machine->script_ != nullptr) {
        VMM_TRY_VOID(machine->script_->open_log());
    }
    log("vmm").info("# vmm run -k {} -m {} -c {} --name {} ({}, {})", config.kernel, config.memory >> 20,
                    config.cpus, config.name, machine->files_.kernel.description, config.cpu_model);
    return machine;
}

Machine::~Machine() {
    control_server_.reset();
    input_.reset();
    if (memory_ != nullptr) {
        memory_->pin_service().set_stop_handler({});
    }
    if (executor_ != nullptr) {
        pause(StopReason::host);
    }
    if (script_ != nullptr) {
        script_->stop_input();
    }
    gdb_.reset();  // vCPUs no longer look at its hooks
    for (const auto& transport : transports_) {
        transport->reset();
    }
}

Result<> Machine::load_files() {
    VMM_TRY(files_, load_boot_files(config_.kernel, config_.initrd, config_.memory));
    VMM_TRY_VOID(prepare_script());
    VMM_TRY(plan_, plan_boot(files_, {kRamBase, config_.memory}));
    return {};
}

Result<> Machine::open_virtio_devices() {
    using namespace devices::virtio;
    const Threading threading =
        config_.clock == ClockKind::insn ? Threading::inline_call : Threading::own_thread;
    for (const DiskConfig& disk : config_.disks) {
        BlockOptions options;
        options.path = disk.path;
        options.read_only = disk.read_only;
        options.copy_on_write = disk.copy_on_write;
        options.raw = disk.raw;
        options.qcow2 = disk.qcow2;
        options.threading = threading;
        auto opened = Block::open(options);
        if (!opened) {
            return fail("--disk: {}", opened.error().text);
        }
        virtio_devices_.push_back(*std::move(opened));
    }
    if (config_.exec.root_image) {
        BlockOptions options{.path = config_.exec.root, .copy_on_write = true, .id = VMM_ROOT_SERIAL, .threading = threading};
        auto opened = Block::open(options);
        if (!opened) {
            return fail("--root: {}", opened.error().text);
        }
        virtio_devices_.push_back(*std::move(opened));
    }
    for (const ShareConfig& share : config_.shares) {
        auto opened = FileShare::open({share.path, share.tag, share.read_only, threading});
        if (!opened) {
            return fail("--9p: {}", opened.error().text);
        }
        virtio_devices_.push_back(*std::move(opened));
    }
    for (const NetworkConfig& network : config_.networks) {
        auto opened = devices::net::UserNetwork::open(network.user);
        if (!opened) {
            return fail("--network: {}", opened.error().text);
        }
        virtio_devices_.push_back(std::make_unique<Net>(*std::move(opened), network.mac, network.user.mtu));
    }
    if (config_.balloon) {
        // A profiling buffer that is enabled keeps its pages.
        Balloon::Giver giver{[this](mm::GuestRange range) { return memory_->discard(range).has_value(); },
                             [this] { return memory_->ram(); }};
        auto balloon = std::make_unique<Balloon>(std::move(giver), threading);
        balloon_ = balloon.get();
        virtio_devices_.push_back(std::move(balloon));
    }
    if (config_.rng) {
        virtio_devices_.push_back(std::make_unique<Entropy>(entropy_source(config_.clock), threading));
    }
    if (config_.console == ConsoleKind::virtio) {
        auto console =
            std::make_unique<Console>(script_ != nullptr ? script_->console() : output_, threading);
        winsize size{};
        if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0) {
            console->set_size(size.ws_col, size.ws_row);
        }
        virtio_console_ = console.get();
        virtio_devices_.push_back(std::move(console));
    }
    VMM_TRY_VOID(open_console_ports());
    VMM_CHECK(virtio_devices_.size() <= kVirtioSlots);
    return {};
}

Result<> Machine::open_console_ports() {
    std::vector<devices::virtio::ConsolePorts::Port> ports;
    for (const ConsolePortConfig& port : config_.console_ports) {
        auto host = port.socket ? devices::HostPort::open_socket(port.path) : devices::HostPort::open_file(port.path);
        if (!host) {
            return fail("--console-port \"{},{}{}\": {}", port.name, port.socket ? "unix:" : "", port.path, host.error().text);
        }
        ports.push_back({port.name, *std::move(host)});
    }
    if (!ports.empty()) {
        virtio_devices_.push_back(std::make_unique<devices::virtio::ConsolePorts>(std::move(ports)));
    }
    return {};
}

Result<> Machine::build_tree() {
    FdtInput input;
    input.cpus = config_.cpus;
    input.ram = {kRamBase, config_.memory};
    input.initrd = plan_.initrd;
    input.command_line = kernel_command_line(config_);
    input.kaslr_seed = config_.kaslr_seed;
    const std::span<u32> seed(input.rng_seed);
    entropy_source(config_.clock)({reinterpret_cast<u8*>(seed.data()), seed.size_bytes()});
    input.pmu = config_.pmu;
    for (unsigned i = 0; i < config_.cpus; ++i) {
        input.spe_cpus.push_back(config_.spe.on_cpu(i));
    }
    input.spe_intid = config_.spe.intid;
    input.virtio_devices = static_cast<unsigned>(virtio_devices_.size());
    VMM_TRY(dtb_, build_device_tree(input));
    return {};
}

Result<> Machine::map_memory() {
    mm::HostMemory::Options options;
    options.size = config_.memory;
    options.guest_base = kRamBase;
    options.pin_backend = config_.spe.enabled ? config_.spe.pin : mm::PinChoice::off;
    options.pin_policy = config_.spe.pin_policy;
    options.pin_budget = config_.spe.pin_budget;
    options.pin_expected = most_pinned_bytes(config_);
    options.pins.age = std::chrono::seconds(config_.spe.pin_age_seconds);
    options.pins.shortage = config_.spe.pin_shortage;
    options.pins.synchronous = config_.clock == ClockKind::insn;
    auto memory = mm::HostMemory::create(options);
    if (!memory) {
        return fail("--mem \"{}M\": {}", config_.memory >> 20, memory.error().text);
    }
    memory_ = *std::move(memory);
    memory_->pin_service().set_stop_handler([this](const mm::PinShortage&) {
        short_of_pins_ = true;
        control_.stop(StopReason::pin_shortage);
        kick_cpus();
    });
    return {};
}

void Machine::build_cpus() {
    if (config_.clock == ClockKind::insn) {
        auto clock = std::make_unique<InsnClock>();
        insn_clock_ = clock.get();
        clock_ = std::move(clock);
    } else {
        clock_ = std::make_unique<HostClock>();
    }
    counter_ = std::make_unique<devices::SystemCounter>(*clock_);

    arch::VcpuConfig pe;
    pe.model = arch::find_cpu_model(config_.cpu_model);
    VMM_CHECK(pe.model != nullptr);
    pe.ram = memory_->ram();
    pe.mmio = &bus_;
    pe.firmware = &psci_;
    pe.counter = counter_.get();
    pe.interconnect = &interconnect_;
    pe.pmu = config_.pmu;
    if (config_.engine != EngineKind::translator) {
        pe.translate_after = 0;
    }
    pe.reference_only = config_.engine == EngineKind::reference;
    pe.table_watch = config_.spe.enabled ? &memory_->table_watch() : nullptr;
    pe.uniform_spe = !config_.spe.enabled || config_.spe.count(config_.cpus) == config_.cpus;
    std::vector<devices::GicPe> gic_pes;
    for (unsigned i = 0; i < config_.cpus; ++i) {
        pe.index = i;
        pe.mpidr = kMpidrRes1 | cpu_affinity(i);
        pe.pmsver = config_.spe.on_cpu(i) ? config_.spe.pmsver : u8{0};
        vcpus_.push_back(std::make_unique<arch::Vcpu>(pe));
        gic_pes.push_back({&vcpus_.back()->pins, pe.mpidr});
    }
    if (config_.engine == EngineKind::translator && !vcpus_.front()->translates()) {
        spdlog::info("everything is interpreted: this host has no translator, or gives no executable memory");
    }
    gic_ = std::make_unique<devices::GicV3>(gic_pes);
    std::shared_ptr<spe::MemorySystem> caches;  // one for all CPUs
    if (config_.spe.enabled && config_.spe.model == spe::ModelKind::detailed) {
        caches = std::make_shared<spe::MemorySystem>(spe::MemoryGeometry{}, config_.cpus);
    }
    for (const auto& vcpu : vcpus_) {
        cpus_.push_back(std::make_unique<Cpu>(*vcpu, *counter_, *gic_));
        if (config_.spe.on_cpu(vcpu->index())) {
            spe::ProfilingConfig spe;
            spe.pmsver = config_.spe.pmsver;
            spe.features = config_.spe.features;
            spe.max_buffer_size = config_.spe.max_buffer_size;
            spe.seed = vcpu->index();
            spe.model = config_.spe.model;
            spe.memory_system = caches;
            cpus_.back()->add_spe(spe, config_.spe.intid, memory_.get());
            cpus_.back()->spe->set_exit_hook([this] {
                control_.stop(StopReason::spe_exit);
                kick_cpus();
            });
        }
    }
    // Files are opened by vCPU threads where devices work on them, and for what --copy-out receives.
    const bool opens_files = (insn_clock_ != nullptr && !virtio_devices_.empty()) || !config_.exec.copy_out.empty();
    const ExecutorContext context{cpus_, &control_, counter_.get(), opens_files ? ThreadRole::service : ThreadRole::vcpu,
                                  slices_};
    executor_ =
        insn_clock_ != nullptr ? make_insn_executor(context, *insn_clock_) : make_threaded_executor(context);
}

Result<> Machine::build_devices() {
    VMM_TRY_VOID(bus_.attach(gic_->distributor(), kGicDistributorWindow));
    VMM_TRY_VOID(bus_.attach(gic_->redistributors(), gic_redistributor_window(config_.cpus)));
    for (unsigned n = 0; n < kUarts; ++n) {
        devices::ByteSink* sink = &output_;
        if (script_ != nullptr && n <= kChannelUart) {
            sink = n == kChannelUart ? &script_->channel() : &script_->console();
        } else if (n != 0) {
            unconnected_.push_back(std::make_unique<NullSink>());
            sink = unconnected_.back().get();
        }
        uarts_.push_back(std::make_unique<devices::Uart16550>(gic_->spi(kUartIntid + n), *sink));
        VMM_TRY_VOID(bus_.attach(*uarts_.back(), uart_window(n)));
    }
    rtc_ = std::make_unique<devices::Pl031>(gic_->spi(kRtcIntid), *clock_);
    VMM_TRY_VOID(bus_.attach(*rtc_, kRtcWindow));
    for (unsigned slot = 0; slot < virtio_devices_.size(); ++slot) {
        transports_.push_back(std::make_unique<devices::virtio::MmioTransport>(
            std::move(virtio_devices_[slot]), memory_->ram(), gic_->spi(kVirtioIntid + slot)));
        VMM_TRY_VOID(bus_.attach(*transports_.back(), virtio_window(slot)));
    }
    virtio_devices_.clear();
    return {};
}

Result<> Machine::write_dtb() const {
    if (config_.dump_dtb.empty()) {
        return {};
    }
    if (auto written = write_file(config_.dump_dtb, dtb_); !written) {
        return fail("--dump-dtb \"{}\": {}", config_.dump_dtb, written.error().text);
    }
    return {};
}

Result<> Machine::start_host_trace() {
    const HostTraceConfig& wanted = config_.host_trace;
    if (wanted.path.empty()) {
        return {};
    }
    PerfDataFacts facts;
    facts.host_name = config_.name;
    facts.os_release = files_.kernel.kind == KernelImage::Kind::elf ? "bare-metal" : "unknown";
    facts.cpus = config_.cpus;
    facts.midr = arch::find_cpu_model(config_.cpu_model)->midr;
    facts.memory = config_.memory;
    facts.counter_hz = counter_->frequency();
    facts.period = wanted.period;
    VMM_TRY(host_trace_, HostTrace::create(wanted.path, facts, guest_code(config_, files_, plan_)));
    spe::HostProfilerConfig profiler{.period = wanted.period, .model = wanted.model};
    if (wanted.model == spe::ModelKind::detailed) {
        profiler.memory_system = std::make_shared<spe::MemorySystem>(spe::MemoryGeometry{}, config_.cpus);
    }
    for (const auto& cpu : cpus_) {
        constexpr u64 kFirstSeed = 1000;  // not one of a guest's unit
        profiler.seed = kFirstSeed + cpu->index();
        cpu->add_host_profiler(profiler, host_trace_->buffer(cpu->index()));
    }
    return {};
}

}  // namespace vmm
