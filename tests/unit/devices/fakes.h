// Stand-ins for what devices are connected to.
#pragma once

#include <mutex>
#include <string>

#include "arch/pins.h"
#include "devices/byte_sink.h"

namespace vmm::test {

/// A wire that remembers its level and how often it rose.
struct RecordingIrq final : arch::IrqLine {
    void set(bool new_level) override {
        if (new_level && !level.exchange(true)) {
            ++rises;
        } else if (!new_level) {
            level = false;
        }
    }
    std::atomic<bool> level{false};
    std::atomic<unsigned> rises{0};
};

struct RecordingSink final : devices::ByteSink {
    void put(std::span<const u8> bytes) override {
        const std::lock_guard lock(mutex);
        text.append(bytes.begin(), bytes.end());
    }
    std::string take() {
        const std::lock_guard lock(mutex);
        return std::exchange(text, {});
    }
    std::mutex mutex;
    std::string text;
};

inline std::span<const u8> bytes_of(const std::string& text) {
    return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

}  // namespace vmm::test
