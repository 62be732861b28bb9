#include "vmm/machine.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "arch/cpu_model.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/block.h"
#include "devices/virtio/console_ports.h"
#include "devices/virtio/entropy.h"
#include "devices/virtio/file_share.h"
#include "devices/virtio/net.h"
#include "vmm/base/check.h"
#include "vmm/base/rng.h"
#include "vmm/dump.h"
#include "vmm/fdt_tree.h"
#include "vmm/gdb/stub.h"
#include "vmm/guest_init/protocol.h"
#include "vmm/memory_map.h"
#include "vmm/output_file.h"

namespace vmm {

namespace {

using namespace std::chrono_literals;

constexpr u64 kMpidrRes1 = u64{1} << 31;
constexpr u64 kMpidrAffinity = 0xFF'00FF'FFFF;
constexpr auto kPauseTimeout = 10s;
constexpr std::chrono::milliseconds kNoHurry = 24h * 365;
constexpr unsigned kChannelUart = 1;  // ttyS1: where the init of a scripted run talks to us
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

// ── Assembly ───────────────────────────────────────────────────────────────────────────────────────────────

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

// ── Running ────────────────────────────────────────────────────────────────────────────────────────────────

void Machine::boot() {
    place_boot_files(files_, plan_, dtb_, memory_->ram());
    files_.kernel.bytes = std::vector<u8>();  // they are as large as all the rest of us; reset() reads them again
    files_.initrd = std::vector<u8>();
    VMM_CHECK(cpus_.front()->power.switch_on({plan_.entry, plan_.dtb}) == devices::PsciStatus::success);
}

Result<> Machine::reset() {
    VMM_TRY(files_, load_boot_files(config_.kernel, config_.initrd, config_.memory));
    BootPlan plan;
    VMM_TRY(plan, plan_boot(files_, {kRamBase, config_.memory}));
    if (plan != plan_) {
        return fail("the guest cannot restart: its kernel or initial RAM disk has changed since it was started");
    }
    bus_.reset();
    gic_->reset();
    for (const auto& cpu : cpus_) {
        cpu->power.switch_off();
        cpu->begin({});
    }
    // Memory starts empty again; where parts cannot be given back the boot files simply overwrite what they
    // need.
    if (auto discarded = memory_->discard({kRamBase, config_.memory}); !discarded) {
        log("vmm").info("reset: memory keeps its content: {}", discarded.error().text);
    }
    boot();
    return {};
}

void Machine::kick_cpus() {
    executor_->kick();
}

void Machine::pause(StopReason reason) {
    control_.stop(reason);
    executor_->kick();
    // A vCPU may be waiting for standard output to take what the guest prints.
    set_output_limited(false);
    const bool joined = executor_->join(kPauseTimeout);
    set_output_limited(true);
    if (!joined) {
        restore_terminal();
        remove_control_socket();
        std::fprintf(stderr, "vmm: internal error: a vCPU does not stop\n%s", dump_unsafely().c_str());
        ::_exit(exit_status(ExitStatus::internal_error, script_ != nullptr));
    }
}

void Machine::set_output_limited(bool limited) {
    output_.set_limited(limited);
    if (script_ != nullptr) {
        script_->set_limited(limited);
    }
}

bool Machine::update_state() {
    if (gdb_ != nullptr) {
        gdb_->collect();
    }
    const bool paused = pause_requested_ || (gdb_ != nullptr && gdb_->halted());
    const Cpu* blocked = cpu_in_spe_exit();
    if (blocked != nullptr && !spe_exit_reported_) {
        log("spe").warn("paused: vCPU {} would profile, which is stopped ('vmm spe resume {}')", blocked->index(),
                        config_.name);
    }
    spe_exit_reported_ = blocked != nullptr;
    state_ = blocked != nullptr ? GuestState::spe_exit
             : !pins_found()    ? GuestState::pin_shortage
             : paused           ? GuestState::paused
                                : GuestState::running;
    return state_ == GuestState::running;
}

void Machine::resume() {
    if (update_state()) {
        executor_->start();
    }
}

bool Machine::pins_found() {
    if (!short_of_pins_) {
        return true;
    }
    const std::optional<mm::PinShortage> shortage = memory_->pin_service().retry();
    if (shortage && !std::exchange(shortage_reported_, true)) {
        std::fprintf(stderr,
                     "vmm: paused: a profiling buffer cannot be pinned, %llu bytes are missing (%s); the guest goes on "
                     "as soon as there is room, say after 'prlimit --pid %d --memlock=...'\n",
                     static_cast<unsigned long long>(shortage->missing_bytes), shortage->text.c_str(), ::getpid());
    } else if (!shortage) {
        short_of_pins_ = false;
        if (std::exchange(shortage_reported_, false)) {
            std::fputs("vmm: resumed: the profiling buffer is pinned\n", stderr);
        }
    }
    return !shortage;
}

void Machine::drain_output(std::chrono::milliseconds patience) {
    const auto start = std::chrono::steady_clock::now();
    while (!output_.flush_for(100ms)) {
        if (events_->wait(-1, 0ms) || serve_control_at_end() || std::chrono::steady_clock::now() - start >= patience) {
            output_.abandon();
        }
    }
}

int Machine::end(const char* why, int status, std::chrono::milliseconds patience) {
    state_ = GuestState::ending;
    input_.reset();
    drain_output(patience);
    restore_terminal();
    if (why != nullptr) {
        std::fprintf(stderr, "vmm: %s\n", why);
    }
    log_statistics();
    if (host_trace_ != nullptr) {
        if (const auto written = host_trace_->finish(); !written) {
            std::fprintf(stderr, "vmm: %s\n", written.error().text.c_str());
            status = status != static_cast<int>(ExitStatus::ok) ? status : static_cast<int>(written.error().status);
        }
    }
    return report_end({plain_end(status), why == nullptr ? "" : why, 0}, status);
}

std::optional<int> Machine::handle_stop() {
    // A guest that is done waits for its reader; a run that was ended from outside does not.
    const StopReason reason = control_.take();
    if (script_ != nullptr) {
        if (auto run_end = script_->end_of_guest(reason)) {
            return end_script(*std::move(run_end));
        }
    }
    switch (reason) {
        case StopReason::none:
        case StopReason::host:
        case StopReason::pin_shortage:
        case StopReason::spe_exit: break;
        case StopReason::system_off:
        case StopReason::console_quit: return end(nullptr, static_cast<int>(ExitStatus::ok), kNoHurry);
        case StopReason::all_cpus_off:
            return end("the guest cannot go on: it has switched off all its CPUs",
                       static_cast<int>(ExitStatus::guest_error), kPrintPatience);
        case StopReason::system_reset:
            if (const auto restarted = reset(); !restarted) {
                return end(restarted.error().text.c_str(), static_cast<int>(restarted.error().status), kPrintPatience);
            }
            break;
    }
    resume();
    return std::nullopt;
}

int Machine::run(HostEvents& events) {
    using std::chrono::steady_clock;
    events_ = &events;
    const auto deadline = steady_clock::now() + std::chrono::seconds(config_.timeout_seconds);
    if (script_ == nullptr) {
        start_console_input();
    } else {
        if (config_.exec.standard_input) {
            script_->start_input([this](std::span<const u8> bytes) { return uarts_[kChannelUart]->push_input(bytes); });
        }
        script_->begin();
    }
    boot();
    resume();
    start_control();
    for (;;) {
        if (const auto status = serve_control()) {
            return *status;
        }
        if (const auto status = serve_gdb()) {
            return *status;
        }
        auto wait = std::chrono::milliseconds(1000);
        if (script_ != nullptr) {
            if (auto run_end = script_->check()) {
                pause(StopReason::host);
                return end_script(*std::move(run_end));
            }
            wait = std::min(wait, script_->patience());
        } else if (config_.timeout_seconds != 0) {
            const auto left =
                std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
            wait = std::clamp(left + 1ms, 0ms, wait);
        }
        const std::optional<int> signal = events.wait(control_.event_fd(), wait);
        control_.acknowledge();
        if (control_.stopping()) {
            pause(StopReason::host);
            if (const auto status = handle_stop()) {
                return *status;
            }
        } else if (!signal && state_ == GuestState::pin_shortage) {
            resume();
        } else if (signal && *signal == SIGCONT) {
            shortage_reported_ = false;  // whoever sends it wants to know
        } else if (signal && *signal == SIGQUIT) {
            pause(StopReason::host);
            std::fputs(dump().c_str(), stderr);
            if (const auto status = handle_stop()) {
                return *status;
            }
        } else if (signal) {
            pause(StopReason::host);
            const std::string why = fmt::format("ended by signal {}", *signal);
            if (script_ != nullptr) {
                return end_script({EndKind::stopped, why, 0});
            }
            return end(why.c_str(), static_cast<int>(ExitStatus::signal_base) + *signal, kPrintPatience);
        } else if (script_ == nullptr && config_.timeout_seconds != 0 && steady_clock::now() >= deadline) {
            pause(StopReason::host);
            const int status =
                end(fmt::format("--timeout: the guest still ran after {} s", config_.timeout_seconds).c_str(),
                    static_cast<int>(ExitStatus::timeout), kPrintPatience);
            std::fputs(dump().c_str(), stderr);
            return status;
        }
        if (insn_clock_ == nullptr) {
            rtc_->poll();
        }
    }
}

void Machine::start_console_input() {
    make_terminal_raw(STDIN_FILENO);
    input_ = std::make_unique<ConsoleInput>(
        STDIN_FILENO, [this](std::span<const u8> bytes) { return console_input(bytes); },
        [this] {
            control_.stop(StopReason::console_quit);
            kick_cpus();
        });
}

std::size_t Machine::console_input(std::span<const u8> bytes) {
    return virtio_console_ != nullptr ? virtio_console_->push_input(bytes)
                                      : uarts_.front()->push_input(bytes);
}

std::string Machine::dump() {
    std::string out;
    for (const auto& cpu : cpus_) {
        out += dump_registers(*cpu) + dump_backtrace(*cpu);
    }
    return out;
}

std::string Machine::dump_unsafely() const {
    std::string out;
    for (const auto& cpu : cpus_) {
        out += dump_registers(*cpu);
    }
    return out;
}

// ── devices::PowerControl ──────────────────────────────────────────────────────────────────────────────────

Cpu* Machine::cpu_by_affinity(u64 mpidr) {
    for (const auto& cpu : cpus_) {
        if (cpu_affinity(cpu->index()) == (mpidr & kMpidrAffinity)) {
            return cpu.get();
        }
    }
    return nullptr;
}

devices::PsciStatus Machine::cpu_on(u64 mpidr, u64 entry, u64 context) {
    Cpu* cpu = cpu_by_affinity(mpidr);
    if (cpu == nullptr) {
        return devices::PsciStatus::invalid_parameters;
    }
    if (!memory_->ram().contains(entry, 4) || (entry & 3) != 0) {
        return devices::PsciStatus::invalid_address;
    }
    return cpu->power.switch_on({entry, context});
}

devices::PsciStatus Machine::cpu_off(unsigned index) {
    cpus_[index]->power.switch_off();
    for (const auto& cpu : cpus_) {
        if (cpu->power.state() != PowerState::State::off) {
            return devices::PsciStatus::success;
        }
    }
    control_.stop(StopReason::all_cpus_off);
    return devices::PsciStatus::success;
}

s32 Machine::affinity_info(u64 mpidr, unsigned level) {
    if (level > 3) {
        return static_cast<s32>(devices::PsciStatus::invalid_parameters);
    }
    static constexpr u64 kIgnoredBelow[] = {0, 0xFF, 0xFFFF, 0xFF'FFFF};
    const u64 compared = kMpidrAffinity & ~kIgnoredBelow[level];
    bool found = false;
    bool pending = false;
    for (const auto& cpu : cpus_) {
        if (((cpu_affinity(cpu->index()) ^ mpidr) & compared) != 0) {
            continue;
        }
        found = true;
        const PowerState::State state = cpu->power.state();
        if (state == PowerState::State::on) {
            return kOn;
        }
        pending |= state == PowerState::State::on_pending;
    }
    if (!found) {
        return static_cast<s32>(devices::PsciStatus::invalid_parameters);
    }
    return pending ? kOnPending : kOff;
}

void Machine::system_off() {
    control_.stop(StopReason::system_off);
    kick_cpus();
}

void Machine::system_reset() {
    control_.stop(StopReason::system_reset);
    kick_cpus();
}

}  // namespace vmm
