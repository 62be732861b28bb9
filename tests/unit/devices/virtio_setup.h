// A virtio-mmio device brought up as a driver does it, for tests.
#pragma once

#include <chrono>
#include <thread>

#include <catch2/catch.hpp>

#include "devices/virtio/mmio_transport.h"
#include "tests/unit/devices/fakes.h"
#include "tests/unit/devices/virtio_ring.h"

namespace vmm::test {

struct VirtioSetup {
    VirtioSetup(std::unique_ptr<devices::virtio::VirtioDevice> device, TestRam& guest_ram)
        : ram(guest_ram), transport(std::move(device), guest_ram.view, irq) {}

    u32 read(u64 offset) { return static_cast<u32>(transport.read({offset, 4, 0})); }
    void write(u64 offset, u32 value) { transport.write({offset, 4, 0}, value); }

    u64 offered() {
        write(0x14, 0);
        const u64 low = read(0x10);
        write(0x14, 1);
        return low | u64{read(0x10)} << 32;
    }

    void negotiate(u64 features) {
        write(0x70, 0);
        write(0x70, 1);
        write(0x70, 3);
        write(0x24, 0);
        write(0x20, static_cast<u32>(features));
        write(0x24, 1);
        write(0x20, static_cast<u32>(features >> 32));
        write(0x70, 0xB);
    }

    void set_up_queue(u32 index, const devices::virtio::QueueLayout& layout) {
        write(0x30, index);
        write(0x38, layout.size);
        write(0x80, static_cast<u32>(layout.descriptors));
        write(0x84, static_cast<u32>(layout.descriptors >> 32));
        write(0x90, static_cast<u32>(layout.available));
        write(0x94, static_cast<u32>(layout.available >> 32));
        write(0xA0, static_cast<u32>(layout.used));
        write(0xA4, static_cast<u32>(layout.used >> 32));
        write(0x44, 1);
    }

    void driver_ok() { write(0x70, 0xF); }
    void notify(u32 queue) { write(0x50, queue); }

    /// Waits until `condition` holds; a device has ten seconds for anything.
    template <class Condition>
    static bool eventually(Condition condition) {
        for (unsigned n = 0; n < 10'000; ++n) {
            if (condition()) {
                return true;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return false;
    }

    TestRam& ram;
    RecordingIrq irq;
    devices::virtio::MmioTransport transport;
};

}  // namespace vmm::test
