// What a machine does for a debugger.
#include <cstdio>

#include "vmm/gdb/stub.h"
#include "vmm/machine.h"

namespace vmm {

Result<> Machine::open_gdb() {
    if (!config_.gdb.enabled) {
        return {};
    }
    VMM_TRY(gdb::Listener listener, gdb::Listener::open({config_.gdb.path, config_.gdb.port}));
    std::fprintf(stderr, "vmm: gdb: target remote %s\n", listener.text().c_str());
    gdb_ = std::make_unique<gdb::Stub>(
        std::move(listener), cpus_, config_.gdb.wait,
        gdb::Stub::Hooks{[this] { control_.notify(); }, [this] { return dump(); }});
    return {};
}

std::optional<int> Machine::serve_gdb() {
    if (gdb_ == nullptr || !gdb_->pending()) {
        return std::nullopt;
    }
    pause(StopReason::host);
    gdb_->serve();
    if (gdb_->killed() && script_ != nullptr) {
        return end_script({EndKind::stopped, "killed by the debugger", 0});
    }
    if (gdb_->killed()) {
        return end(nullptr, static_cast<int>(ExitStatus::ok), kPrintPatience);
    }
    return handle_stop();
}

}  // namespace vmm
