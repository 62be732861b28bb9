#include "vmm/gdb/session.h"

#include <algorithm>

#include <fmt/format.h>

#include "vmm/gdb/packets.h"

namespace vmm::gdb {

namespace {

constexpr const char* kOk = "OK";
constexpr const char* kBadArguments = "E16";  // EINVAL
constexpr const char* kNoAccess = "E0e";      // EFAULT
constexpr const char* kNoRoom = "E1c";        // ENOSPC
constexpr const char* kNoThread = "E03";      // ESRCH
constexpr unsigned kSigtrap = 5;
constexpr unsigned kSigint = 2;
constexpr std::size_t kMaxRead = kMaxPacket / 2 - 16;  // bytes of memory in one answer

std::vector<u8> bytes_of(std::string_view text) {
    return {text.begin(), text.end()};
}

std::optional<PointKind> point_kind(u64 type) {
    switch (type) {
        case 0:
        case 1: return PointKind::breakpoint;
        case 2: return PointKind::write_watch;
        case 3: return PointKind::read_watch;
        case 4: return PointKind::access_watch;
        default: return std::nullopt;
    }
}

}  // namespace

std::optional<std::string> Session::handle(std::string_view packet) {
    if (packet.empty() || running_ || over_) {
        return running_ || over_ ? Answer() : Answer("");
    }
    const char command = packet.front();
    const std::string_view arguments = packet.substr(1);
    switch (command) {
        case '?': return stop_text();
        case 'q': return query(arguments);
        case 'Q': return set(arguments);
        case 'v': return verbose(arguments);
        case 'H': return select_thread(arguments);
        case 'T': {
            std::string_view rest = arguments;
            return take_thread(rest) && rest.empty() ? kOk : kNoThread;
        }
        case 'g': return read_registers();
        case 'G': return write_registers(arguments);
        case 'p': return read_register(arguments);
        case 'P': return write_register(arguments);
        case 'm': return read_memory(arguments);
        case 'M': return write_memory(arguments, false);
        case 'X': return write_memory(arguments, true);
        case 'z': return change_point(arguments, false);
        case 'Z': return change_point(arguments, true);
        case 'c': return resume_one(arguments, Go::run);
        case 's': return resume_one(arguments, Go::step);
        case 'D': return end(false);
        case 'k': return end(true);
        default: return "";
    }
}

std::string Session::stopped(const Stop& stop) {
    stop_ = stop;
    current_ = stop.thread;
    running_ = false;
    return stop_text();
}

std::string Session::exited(int status) {
    return fmt::format("W{:02x}", status & 0xFF);
}

std::string Session::stop_text() const {
    const unsigned signal = stop_.kind == Stop::Kind::interrupted ? kSigint : kSigtrap;
    std::string reason;
    switch (stop_.kind) {
        case Stop::Kind::halted:
        case Stop::Kind::interrupted:
        case Stop::Kind::step: break;
        case Stop::Kind::breakpoint: reason = "swbreak:;"; break;
        case Stop::Kind::write_watch: reason = fmt::format("watch:{:x};", stop_.address); break;
        case Stop::Kind::read_watch: reason = fmt::format("rwatch:{:x};", stop_.address); break;
        case Stop::Kind::access_watch: reason = fmt::format("awatch:{:x};", stop_.address); break;
    }
    return fmt::format("T{:02x}{}thread:{:x};", signal, reason, stop_.thread + 1);
}

std::optional<unsigned> Session::take_thread(std::string_view& text) const {
    const std::optional<u64> id = take_hex(text);
    if (!id || *id == 0 || *id > target_.threads()) {
        return std::nullopt;
    }
    return static_cast<unsigned>(*id - 1);
}

// ── Queries ────────────────────────────────────────────────────────────────────────────────────────────────

Session::Answer Session::query(std::string_view packet) {
    if (take(packet, "Supported")) {
        return fmt::format("PacketSize={:x};qXfer:features:read+;qXfer:threads:read+;QStartNoAckMode+;swbreak+;hwbreak+;"
                           "vContSupported+",
                           kMaxPacket);
    }
    if (take(packet, "Xfer:")) {
        return transfer(packet);
    }
    if (take(packet, "Rcmd,")) {
        return monitor(packet);
    }
    if (take(packet, "ThreadExtraInfo,")) {
        const std::optional<unsigned> thread = take_thread(packet);
        return thread ? to_hex(target_.thread_text(*thread)) : kNoThread;
    }
    if (packet == "fThreadInfo") {
        std::string list = "m";
        for (unsigned i = 0; i < target_.threads(); ++i) {
            list += fmt::format("{}{:x}", i == 0 ? "" : ",", i + 1);
        }
        return list;
    }
    if (packet == "sThreadInfo") {
        return "l";
    }
    if (packet == "C") {
        return fmt::format("QC{:x}", current_ + 1);
    }
    if (packet == "Attached" || packet.starts_with("Attached:")) {
        return "1";
    }
    return packet.starts_with("Symbol:") ? kOk : "";
}

Session::Answer Session::set(std::string_view packet) {
    if (packet == "StartNoAckMode") {
        no_ack_ = true;
        return kOk;
    }
    return "";
}

Session::Answer Session::verbose(std::string_view packet) {
    if (packet == "Cont?") {
        return "vCont;c;C;s;S";
    }
    if (take(packet, "Cont;")) {
        return resume_by(packet);
    }
    if (packet == "Kill" || packet.starts_with("Kill;")) {
        target_.kill();
        over_ = true;
        return kOk;
    }
    return "";
}

std::string Session::threads_document() const {
    std::string text = "<?xml version=\"1.0\"?>\n<threads>\n";
    for (unsigned i = 0; i < target_.threads(); ++i) {
        text += fmt::format("<thread id=\"{:x}\" core=\"{}\" name=\"vcpu{}\">{}</thread>\n", i + 1, i, i,
                            target_.thread_text(i));
    }
    return text + "</threads>\n";
}

Session::Answer Session::transfer(std::string_view arguments) const {
    std::string document;
    if (take(arguments, "features:read:")) {
        if (!take(arguments, "target.xml:")) {
            return "E00";  // no such annex
        }
        document = target_.description();
    } else if (take(arguments, "threads:read::")) {
        document = threads_document();
    } else {
        return "";
    }
    const std::optional<u64> offset = take_hex(arguments);
    const bool comma = take(arguments, ",");
    const std::optional<u64> length = take_hex(arguments);
    if (!offset || !comma || !length || !arguments.empty() || *offset > document.size()) {
        return kBadArguments;
    }
    const std::string part = document.substr(*offset, std::min<u64>(*length, kMaxRead));
    return (*offset + part.size() < document.size() ? "m" : "l") + part;
}

Session::Answer Session::monitor(std::string_view hex) {
    const auto command = from_hex(hex);
    if (!command) {
        return kBadArguments;
    }
    const std::string text =
        target_.monitor({reinterpret_cast<const char*>(command->data()), command->size()});
    return text.empty() ? kOk : to_hex(std::string_view(text).substr(0, kMaxRead));
}

Session::Answer Session::select_thread(std::string_view arguments) {
    const bool general = take(arguments, "g");
    if (!general && !take(arguments, "c")) {
        return "";
    }
    const bool all = arguments == "-1";
    if (all || arguments == "0") {  // 0: any
        if (!general) {
            resumed_.reset();
        }
        return kOk;
    }
    const std::optional<unsigned> thread = take_thread(arguments);
    if (!thread || !arguments.empty()) {
        return kNoThread;
    }
    if (general) {
        current_ = *thread;
    } else {
        resumed_ = thread;
    }
    return kOk;
}

// ── Registers and memory ───────────────────────────────────────────────────────────────────────────────────

Session::Answer Session::read_registers() {
    std::string text;
    for (unsigned n = 0; n < target_.general_registers(); ++n) {
        text += to_hex(target_.read_register(current_, n));
    }
    return text;
}

Session::Answer Session::write_registers(std::string_view hex) {
    const auto bytes = from_hex(hex);
    if (!bytes) {
        return kBadArguments;
    }
    std::span<const u8> rest(*bytes);
    for (unsigned n = 0; n < target_.general_registers() && !rest.empty(); ++n) {
        const unsigned size = target_.register_size(n);
        if (rest.size() < size || !target_.write_register(current_, n, rest.first(size))) {
            return kBadArguments;
        }
        rest = rest.subspan(size);
    }
    return rest.empty() ? kOk : kBadArguments;
}

Session::Answer Session::read_register(std::string_view arguments) {
    const std::optional<u64> number = take_hex(arguments);
    if (!number || !arguments.empty() || *number >= target_.registers()) {
        return kBadArguments;
    }
    const auto n = static_cast<unsigned>(*number);
    const std::vector<u8> bytes = target_.read_register(current_, n);
    return bytes.empty() ? std::string(std::size_t{2} * target_.register_size(n), 'x') : to_hex(bytes);
}

Session::Answer Session::write_register(std::string_view arguments) {
    const std::optional<u64> number = take_hex(arguments);
    if (!number || !take(arguments, "=") || *number >= target_.registers()) {
        return kBadArguments;
    }
    const auto n = static_cast<unsigned>(*number);
    const auto bytes = from_hex(arguments);
    if (!bytes || bytes->size() != target_.register_size(n)) {
        return kBadArguments;
    }
    return target_.write_register(current_, n, *bytes) ? kOk : kNoAccess;
}

Session::Answer Session::read_memory(std::string_view arguments) {
    const std::optional<u64> address = take_hex(arguments);
    const bool comma = take(arguments, ",");
    const std::optional<u64> length = take_hex(arguments);
    if (!address || !comma || !length || !arguments.empty()) {
        return kBadArguments;
    }
    std::vector<u8> bytes(std::min<u64>(*length, kMaxRead));
    bytes.resize(target_.read_memory(current_, *address, bytes));
    return bytes.empty() && *length != 0 ? kNoAccess : to_hex(bytes);
}

Session::Answer Session::write_memory(std::string_view arguments, bool binary) {
    const std::optional<u64> address = take_hex(arguments);
    const bool comma = take(arguments, ",");
    const std::optional<u64> length = take_hex(arguments);
    if (!address || !comma || !length || !take(arguments, ":")) {
        return kBadArguments;
    }
    const auto bytes = binary ? bytes_of(arguments) : from_hex(arguments);
    if (!bytes || bytes->size() != *length) {
        return kBadArguments;
    }
    return target_.write_memory(current_, *address, *bytes) ? kOk : kNoAccess;
}

// ── Break- and watchpoints, execution ──────────────────────────────────────────────────────────────────────

Session::Answer Session::change_point(std::string_view arguments, bool insert) {
    const std::optional<u64> type = take_hex(arguments);
    bool good = take(arguments, ",");
    const std::optional<u64> address = take_hex(arguments);
    good &= take(arguments, ",");
    const std::optional<u64> size = take_hex(arguments);
    if (!type || !address || !size || !good || (!arguments.empty() && arguments.front() != ';')) {
        return kBadArguments;
    }
    const std::optional<PointKind> kind = point_kind(*type);
    if (!kind) {
        return "";
    }
    if (*kind != PointKind::breakpoint && *size == 0) {
        return kBadArguments;
    }
    const Point point{*kind, *address, *size};
    if (!insert) {
        target_.remove(point);
        return kOk;
    }
    return target_.insert(point) ? kOk : kNoRoom;
}

Session::Answer Session::resume_one(std::string_view arguments, Go how) {
    if (!arguments.empty()) {
        return kBadArguments;  // "from ADDRESS": gdb writes PC instead
    }
    std::vector<Go> all(target_.threads(), resumed_ ? Go::stay : Go::run);
    if (resumed_) {
        all[*resumed_] = how;
    } else if (how == Go::step) {
        all.assign(all.size(), Go::stay);
        all[current_] = Go::step;
    }
    return go(std::move(all));
}

Session::Answer Session::resume_by(std::string_view actions) {
    // For each thread the first action that names it counts.
    std::vector<std::optional<Go>> wanted(target_.threads());
    for (;;) {
        const bool step = actions.starts_with('s') || actions.starts_with('S');
        const bool with_signal = actions.starts_with('C') || actions.starts_with('S');
        if (!step && !actions.starts_with('c') && !with_signal) {
            return kBadArguments;
        }
        actions.remove_prefix(1);
        if (with_signal && !take_hex(actions)) {  // signals mean nothing to a machine
            return kBadArguments;
        }
        std::optional<unsigned> only;
        if (take(actions, ":") && !take(actions, "-1")) {
            only = take_thread(actions);
            if (!only) {
                return kNoThread;
            }
        }
        for (unsigned i = 0; i < wanted.size(); ++i) {
            if (!wanted[i] && (!only || *only == i)) {
                wanted[i] = step ? Go::step : Go::run;
            }
        }
        if (actions.empty()) {
            break;
        }
        if (!take(actions, ";")) {
            return kBadArguments;
        }
    }
    std::vector<Go> how;
    for (const std::optional<Go>& one : wanted) {
        how.push_back(one.value_or(Go::stay));
    }
    return go(std::move(how));
}

Session::Answer Session::go(std::vector<Go> how) {
    if (std::ranges::all_of(how, [](Go one) { return one == Go::stay; })) {
        return kBadArguments;
    }
    running_ = true;
    target_.resume(how);
    return std::nullopt;
}

Session::Answer Session::end(bool kill) {
    over_ = true;
    if (kill) {
        target_.kill();
        return std::nullopt;
    }
    target_.detach();
    return kOk;
}

}  // namespace vmm::gdb
