#include "vmm/guest_channel.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "vmm/guest_init/protocol.h"

namespace vmm {

namespace {

constexpr std::size_t kMaxNotes = 100;
constexpr std::size_t kMaxCommands = 100'000;

/// Reads numbers from the front of a payload.
class Reader {
  public:
    explicit Reader(std::span<const u8> bytes) : bytes_(bytes) {}

    template <class T>
    std::optional<T> take() {
        if (bytes_.size() < sizeof(T)) {
            return std::nullopt;
        }
        T value;
        std::memcpy(&value, bytes_.data(), sizeof(T));
        bytes_ = bytes_.subspan(sizeof(T));
        return value;
    }
    std::string text() const { return {bytes_.begin(), bytes_.end()}; }

  private:
    std::span<const u8> bytes_;
};

void keep_tail(std::string& tail, std::span<const u8> bytes) {
    tail.append(bytes.begin(), bytes.end());
    if (tail.size() > GuestChannel::kKeptOutput) {
        tail.erase(0, tail.size() - GuestChannel::kKeptOutput);
    }
}

/// What a terminal can show of a text that a guest chose.
std::string printable(std::string text) {
    std::replace_if(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; }, '?');
    return text;
}

}  // namespace

GuestChannel::GuestChannel(devices::ByteSink& out, devices::ByteSink& err, const std::vector<CopyPaths>& copies,
                           std::function<void()> event)
    : out_(out), err_(err), event_(std::move(event)), sink_(copies) {}

void GuestChannel::put(std::span<const u8> bytes) {
    last_output_.store(Clock::now(), std::memory_order_relaxed);
    while (!bytes.empty() && !over_) {
        // A UART delivers byte by byte: collect until the record is complete.
        std::size_t wanted = sizeof(vmm_record);
        vmm_record record{};
        if (waiting_.size() >= sizeof(record)) {
            std::memcpy(&record, waiting_.data(), sizeof(record));
            wanted += record.length;
        }
        const std::size_t taken = std::min(wanted - waiting_.size(), bytes.size());
        waiting_.insert(waiting_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
        bytes = bytes.subspan(taken);
        if (waiting_.size() < wanted) {
            return;
        }
        if (wanted == sizeof(record)) {
            std::memcpy(&record, waiting_.data(), sizeof(record));
            if (record.magic[0] != VMM_MAGIC_0 || record.magic[1] != VMM_MAGIC_1 || record.length > VMM_MAX_PAYLOAD) {
                take_record(0, {});
                return;
            }
            if (record.length != 0) {
                continue;
            }
        }
        take_record(record.type, std::span(waiting_).subspan(sizeof(record)));
        waiting_.clear();
    }
}

void GuestChannel::take_record(u8 type, std::span<const u8> payload) {
    // Those who read the output may be slow: without the lock.
    if (type == VMM_SAID_OUT || type == VMM_SAID_ERR) {
        (type == VMM_SAID_OUT ? out_ : err_).put(payload);
    }
    bool event = false;
    {
        const std::lock_guard lock(mutex_);
        const std::size_t notes = progress_.notes.size();
        progress_.broken = !understand(type, payload);
        event = progress_.broken || progress_.done || progress_.notes.size() != notes;
        over_.store(progress_.broken || progress_.done, std::memory_order_release);
    }
    if (event) {
        event_();
    }
}

bool GuestChannel::output(u8 type, std::span<const u8> payload) {
    if (progress_.commands.empty() || progress_.commands.back().ended) {
        return false;
    }
    CommandResult& command = progress_.commands.back();
    const bool out = type == VMM_SAID_OUT;
    (out ? command.out_bytes : command.err_bytes) += payload.size();
    keep_tail(out ? command.out_tail : command.err_tail, payload);
    return true;
}

void GuestChannel::note(std::span<const u8> payload) {
    Reader reader(payload);
    const u32 error = reader.take<u32>().value_or(0);
    std::string text = printable(reader.text());
    if (error != 0) {
        text += fmt::format(": {}", std::strerror(static_cast<int>(error)));
    }
    if (progress_.notes.size() < kMaxNotes) {
        progress_.notes.push_back(std::move(text));
    }
}

/// False where the record is none that may come now.
bool GuestChannel::understand(u8 type, std::span<const u8> payload) {
    Reader reader(payload);
    const auto number = [&reader] { return reader.take<u32>(); };
    if (!progress_.hello && type != VMM_SAID_HELLO) {
        return false;
    }
    switch (type) {
        case VMM_SAID_HELLO: {
            const auto version = number();
            const auto zero = number();
            const auto time = reader.take<u64>();
            if (progress_.hello || version != u32{VMM_PROTOCOL_VERSION} || !zero || !time) {
                return false;
            }
            progress_.hello = true;
            progress_.hello_at = Clock::now();
            progress_.boot_nanoseconds = *time;
            hello_ = true;
            return true;
        }
        case VMM_SAID_NOTE: note(payload); return true;
        case VMM_SAID_BEGIN:
            if (number() != progress_.commands.size() || progress_.commands.size() == kMaxCommands) {
                return false;
            }
            progress_.commands.emplace_back();
            return true;
        case VMM_SAID_OUT:
        case VMM_SAID_ERR: return output(type, payload);
        case VMM_SAID_WANT: {
            const auto size = number();
            if (!want_ || progress_.commands.empty() || !size || *size == 0 || *size > VMM_MAX_INPUT) {
                return false;
            }
            want_(*size);
            return true;
        }
        case VMM_SAID_EXIT: {
            const auto index = number();
            const auto status = number();
            const auto time = reader.take<u64>();
            if (!index || *index + u64{1} != progress_.commands.size() || progress_.commands.back().ended || !time ||
                *status > 255) {
                return false;
            }
            CommandResult& command = progress_.commands.back();
            command.ended = true;
            command.status = *status;
            command.nanoseconds = *time;
            return true;
        }
        case VMM_SAID_ENTRY: {
            const auto index = number();
            const auto mode = number();
            return mode && sink_.begin(*index, *mode, reader.text());
        }
        case VMM_SAID_DATA: return sink_.data(payload);
        case VMM_SAID_ENTRY_END: {
            const auto error = number();
            return error && sink_.end(*error);
        }
        case VMM_SAID_COPY_END: {
            const auto index = number();
            const auto error = number();
            return error && sink_.end_copy(*index, *error);
        }
        case VMM_SAID_DONE: {
            const auto status = number();
            if (!status || *status > VMM_STATUS_NOT_RUN) {
                return false;
            }
            sink_.finish();
            progress_.status = *status;
            progress_.done = true;
            return true;
        }
        default: return false;
    }
}

GuestChannel::Progress GuestChannel::progress() const {
    const std::lock_guard lock(mutex_);
    Progress progress = progress_;
    progress.copies = sink_.copies();
    return progress;
}

std::vector<std::string> GuestChannel::take_notes() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> notes(progress_.notes.begin() + static_cast<std::ptrdiff_t>(notes_taken_),
                                   progress_.notes.end());
    notes_taken_ = progress_.notes.size();
    return notes;
}

}  // namespace vmm
