#include "vmm/gdb/stub.h"

#include <algorithm>

#include <fmt/format.h>

#include "arch/engine.h"
#include "arch/mmu.h"
#include "mm/guest_access.h"
#include "mm/walker.h"

namespace vmm::gdb {

namespace {

constexpr std::size_t kMaxPoints = 4096;

/// Guest RAM for a walk that leaves no trace: pages are found whether or not their access flag is set.
class PeekPort final : public mm::DescriptorPort {
  public:
    explicit PeekPort(const mm::GuestRam& ram) : ram_(ram) {}

    bool read(u64 pa, u64& value) override {
        constexpr u64 kAccessFlag = u64{1} << 10;
        const u8* host = ram_.host(pa, sizeof value);
        if (host == nullptr) {
            return false;
        }
        value = mm::load_relaxed<u64>(host) | kAccessFlag;
        return true;
    }
    bool compare_exchange(u64, u64, u64) override { return false; }

  private:
    const mm::GuestRam& ram_;
};

/// Bytes from `address` to the end of its page, at most `most`.
std::size_t in_page(u64 address, std::size_t most) {
    return static_cast<std::size_t>(std::min<u64>(most, arch::kPageSize - (address & ~arch::kPageMask)));
}

Stop::Kind kind_of(const arch::DebugStop& stop) {
    switch (stop.kind) {
        case arch::DebugStop::Kind::breakpoint: return Stop::Kind::breakpoint;
        case arch::DebugStop::Kind::step: return Stop::Kind::step;
        case arch::DebugStop::Kind::watchpoint: break;
    }
    if (stop.watchpoint.on_read && stop.watchpoint.on_write) {
        return Stop::Kind::access_watch;
    }
    return stop.watchpoint.on_write ? Stop::Kind::write_watch : Stop::Kind::read_watch;
}

}  // namespace

Stub::Stub(Listener listener, std::span<const std::unique_ptr<Cpu>> cpus, bool wait, Hooks hooks)
    : cpus_(cpus),
      hooks_(std::move(hooks)),
      registers_(cpus),
      debug_hooks_(cpus.size()),
      halted_(wait),
      server_(std::move(listener), [this] { hooks_.wake(); }) {}

// ── Events ─────────────────────────────────────────────────────────────────────────────────────────────────

void Stub::serve() {
    for (const auto& cpu : cpus_) {
        if (const auto entry = cpu->power.take_entry()) {
            cpu->begin(*entry);  // so that the debugger sees where it will start
        }
    }
    collect();  // before an interrupt that comes at the same time
    for (const Server::Event& event : server_.take()) {
        handle(event);
    }
}

void Stub::handle(const Server::Event& event) {
    switch (event.kind) {
        case Server::Event::Kind::connected:
            halted_ = true;
            session_.emplace(*this, Stop{Stop::Kind::halted, last_thread_, 0});
            break;
        case Server::Event::Kind::packet:
            if (session_) {
                reply(session_->handle(event.content));
            }
            break;
        case Server::Event::Kind::interrupt:
            if (session_ && session_->running()) {
                halt(Stop::Kind::interrupted);
            }
            break;
        case Server::Event::Kind::disconnected:
            if (session_) {
                detach();
                session_.reset();
            }
            break;
    }
}

void Stub::reply(const std::optional<std::string>& text) {
    const bool over = session_->over();
    if (text) {
        server_.send(*text, session_->no_ack(), over);
    } else if (over) {
        server_.disconnect();
    }
    if (over) {
        session_.reset();
    }
}

void Stub::halt(Stop::Kind kind) {
    halted_ = true;
    reply(session_->stopped({kind, last_thread_, 0}));
}

void Stub::collect() {
    if (!session_ || !session_->running()) {
        return;
    }
    // Others that have stopped as well stop again when they go on, at the same place.
    const auto found = std::ranges::find_if(debug_hooks_, [](const auto& hook) { return hook.stop().has_value(); });
    if (found == debug_hooks_.end()) {
        return;
    }
    last_thread_ = static_cast<unsigned>(found - debug_hooks_.begin());
    halted_ = true;
    reply(session_->stopped({kind_of(*found->stop()), last_thread_, found->stop()->watchpoint.va}));
}

void Stub::exited(int status) {
    if (session_) {
        server_.send(Session::exited(status), session_->no_ack(), true);
        session_.reset();
    }
}

// ── Execution ──────────────────────────────────────────────────────────────────────────────────────────────

void Stub::apply_points() {
    std::vector<u64> breakpoints;
    std::vector<arch::Watchpoint> watchpoints;
    for (const Point& point : points_) {
        if (point.kind == PointKind::breakpoint) {
            breakpoints.push_back(point.address);
        } else {
            watchpoints.push_back({point.address, point.size, point.kind != PointKind::write_watch,
                                   point.kind != PointKind::read_watch});
        }
    }
    std::ranges::sort(breakpoints);
    for (unsigned i = 0; i < threads(); ++i) {
        arch::DebugHook& hook = debug_hooks_[i];
        arch::Vcpu& vcpu = cpus_[i]->vcpu;
        hook.set_watchpoints(watchpoints);
        const bool changed = hook.breakpoints() != breakpoints;
        if (changed) {
            hook.set_breakpoints(breakpoints);
        }
        // Once there was something to look for, the hook stays: code need not be decoded again for every step.
        if (changed || (vcpu.debug_hook() == nullptr && hook.wants_anything())) {
            vcpu.set_debug_hook(&hook);
        }
    }
}

void Stub::resume(std::span<const Go> how) {
    for (unsigned i = 0; i < threads(); ++i) {
        cpus_[i]->held = how[i] == Go::stay;
        debug_hooks_[i].begin(how[i] == Go::step);
        if (how[i] == Go::step) {
            cpus_[i]->vcpu.pins.kick();  // out of a WFI
            last_thread_ = i;
        }
    }
    apply_points();
    halted_ = false;
}

void Stub::detach() {
    points_.clear();
    for (unsigned i = 0; i < threads(); ++i) {
        cpus_[i]->held = false;
        debug_hooks_[i] = arch::DebugHook();
        if (cpus_[i]->vcpu.debug_hook() != nullptr) {
            cpus_[i]->vcpu.set_debug_hook(nullptr);
        }
    }
    halted_ = false;
}

bool Stub::insert(const Point& point) {
    if (std::ranges::find(points_, point) != points_.end()) {
        return true;
    }
    if (points_.size() >= kMaxPoints) {
        return false;
    }
    points_.push_back(point);
    return true;
}

void Stub::remove(const Point& point) {
    std::erase(points_, point);
}

// ── Registers and memory ───────────────────────────────────────────────────────────────────────────────────

std::string Stub::thread_text(unsigned thread) const {
    const Cpu& cpu = *cpus_[thread];
    if (cpu.power.state() != PowerState::State::on) {
        return "off";
    }
    return fmt::format("EL{}, pc {:#x}", cpu.vcpu.s.el, cpu.vcpu.s.pc);
}

std::vector<u8> Stub::read_register(unsigned thread, unsigned number) {
    return registers_.read(*cpus_[thread], number);
}

bool Stub::write_register(unsigned thread, unsigned number, std::span<const u8> bytes) {
    return registers_.write(*cpus_[thread], number, bytes);
}

std::optional<u64> Stub::translate(const Cpu& cpu, u64 va) {
    const mm::RangeRegime regime = cpu.vcpu.mmu().range_regime(va);
    if (!regime.enabled) {
        return mm::flat_address(regime.params, va);
    }
    mm::WalkParams params = regime.params;
    params.set_access_flag = false;
    PeekPort port(cpu.vcpu.ram());
    const mm::WalkResult found = mm::walk(params, va, port);
    return found.fault == mm::WalkFault::none ? std::optional(found.pa) : std::nullopt;
}

std::size_t Stub::read_memory(unsigned thread, u64 address, std::span<u8> bytes) {
    const Cpu& cpu = *cpus_[thread];
    std::size_t done = 0;
    while (done < bytes.size()) {
        const u64 va = address + done;
        const std::size_t size = in_page(va, bytes.size() - done);
        const std::optional<u64> pa = translate(cpu, va);
        const u8* host = pa ? cpu.vcpu.ram().host(*pa, size) : nullptr;
        if (host == nullptr) {
            break;
        }
        for (std::size_t i = 0; i < size; ++i) {
            bytes[done + i] = mm::load_relaxed<u8>(host + i);
        }
        done += size;
    }
    return done;
}

bool Stub::write_memory(unsigned thread, u64 address, std::span<const u8> bytes) {
    const Cpu& cpu = *cpus_[thread];
    const auto each_page = [&](auto&& visit) {
        for (std::size_t done = 0; done < bytes.size();) {
            const std::size_t size = in_page(address + done, bytes.size() - done);
            const std::optional<u64> pa = translate(cpu, address + done);
            u8* host = pa ? cpu.vcpu.ram().host(*pa, size) : nullptr;
            if (host == nullptr) {
                return false;
            }
            visit(*pa, host, bytes.subspan(done, size));
            done += size;
        }
        return true;
    };
    if (!each_page([](u64, u8*, std::span<const u8>) {})) {
        return false;
    }
    return each_page([&](u64 pa, u8* host, std::span<const u8> part) {
        if (mm::TableWatch* watch = cpu.vcpu.config.table_watch) {
            watch->note_store(pa);
        }
        for (std::size_t i = 0; i < part.size(); ++i) {
            mm::store_relaxed<u8>(host + i, part[i]);
        }
        for (const auto& any : cpus_) {
            any->vcpu.engine().invalidate_code_page(pa & arch::kPageMask);
        }
    });
}

// ── monitor ────────────────────────────────────────────────────────────────────────────────────────────────

std::string Stub::translation_text(std::string_view address) const {
    take(address, "0x");
    const std::optional<u64> va = take_hex(address);
    if (!va || !address.empty()) {
        return "translate: needs one address in hexadecimal\n";
    }
    const std::optional<u64> pa = translate(*cpus_[last_thread_], *va);
    return pa ? fmt::format("{:#x} -> {:#x}\n", *va, *pa) : fmt::format("{:#x}: not mapped\n", *va);
}

std::string Stub::monitor(std::string_view command) {
    if (command == "dump") {
        return hooks_.dump();
    }
    if (take(command, "translate ")) {
        return translation_text(command);
    }
    if (command == "points") {
        return fmt::format("{} break- and watchpoints are set\n", points_.size());
    }
    const std::string help =
        "dump               registers and backtraces of all vCPUs\n"
        "translate ADDRESS  the guest-physical address of a virtual one\n"
        "points             how many break- and watchpoints are set\n"
        "help               this text\n";
    return command == "help" ? help : fmt::format("unknown command \"{}\"\n{}", command, help);
}

}  // namespace vmm::gdb
