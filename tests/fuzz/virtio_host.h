// The machine's virtio devices on files, a folder and a network that lead nowhere, without threads where they can do without.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "devices/virtio/balloon.h"
#include "devices/virtio/block.h"
#include "devices/virtio/console.h"
#include "devices/virtio/entropy.h"
#include "devices/virtio/file_share.h"
#include "devices/virtio/net.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/host_files.h"

namespace vmm::fuzz {

struct NullSink final : devices::ByteSink {
    void put(std::span<const u8> bytes) override { taken += bytes.size(); }
    u64 taken = 0;
};

class VirtioHost {
  public:
    static constexpr unsigned kKinds = 7;

    explicit VirtioHost(const mm::GuestRam& ram) : ram_(ram) {
        for (UniqueFd& disk : disks_) {
            disk = memory_file(std::vector<u8>(128 * 512 + 100, 0xD1));
        }
    }

    /// To be called when the devices are gone.
    void check() {
        if (std::exchange(shared_, false)) {
            folders_.check();
        }
    }

    std::unique_ptr<devices::virtio::VirtioDevice> make(unsigned kind) {
        using namespace devices::virtio;
        constexpr Threading kInline = Threading::inline_call;
        switch (kind % kKinds) {
            case 0:
            case 1: {
                BlockOptions options;
                options.path = path_of(disks_[kind % kKinds]);
                options.raw = true;
                options.read_only = false;
                options.copy_on_write = kind % kKinds == 1;
                options.threading = kInline;
                auto block = Block::open(options);
                VMM_CHECK(block.has_value());
                return *std::move(block);
            }
            case 2: {
                folders_.begin();
                shared_ = true;
                auto share = FileShare::open({folders_.inside().string(), "tag", false, kInline});
                VMM_CHECK(share.has_value());
                return *std::move(share);
            }
            case 3: {
                auto console = std::make_unique<Console>(sink_, kInline);
                const std::vector<u8> input(300, 'i');
                console->push_input(input);
                return console;
            }
            case 4:
                return std::make_unique<Entropy>([](std::span<u8> bytes) { std::fill(bytes.begin(), bytes.end(), u8{0xE7}); },
                                                 kInline);
            case 5: {
                Balloon::Giver giver{[this](mm::GuestRange range) {
                                         VMM_CHECK(range.size != 0 && range.size % 4096 == 0 && range.pa % 4096 == 0);
                                         VMM_CHECK(ram_.contains(range.pa, range.size));
                                         return range.pa % 8192 == 0;
                                     },
                                     [this] { return ram_; }};
                auto balloon = std::make_unique<Balloon>(std::move(giver), kInline);
                balloon->set_target(64 << 10);
                return balloon;
            }
            default: {
                devices::net::UserNetworkOptions options;
                options.host_loopback = false;
                options.restricted = true;
                auto network = devices::net::UserNetwork::open(options);
                VMM_CHECK(network.has_value());
                return std::make_unique<Net>(*std::move(network), MacAddress{2, 21, 21, 21, 21, 21}, 1500);
            }
        }
    }

  private:
    const mm::GuestRam ram_;
    std::array<UniqueFd, 2> disks_;
    Confined folders_;
    bool shared_ = false;
    NullSink sink_;
};

}  // namespace vmm::fuzz
