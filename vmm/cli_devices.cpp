#include "vmm/cli_devices.h"

#include <algorithm>
#include <cctype>

#include <CLI/CLI.hpp>

#include "devices/virtio/console_ports.h"
#include "devices/virtio/file_share.h"
#include "vmm/cli_network.h"
#include "vmm/memory_map.h"

namespace vmm {

namespace {

Result<DiskConfig> parse_disk(std::string_view text) {
    static constexpr std::string_view kForm = "must be FILE with any of ,ro ,cow and one of ,raw ,qcow2";
    DiskConfig disk;
    std::string_view rest = text;
    for (std::size_t comma = rest.rfind(','); comma != std::string_view::npos; comma = rest.rfind(',')) {
        const std::string_view suffix = rest.substr(comma + 1);
        if (suffix == "ro") {
            disk.read_only = true;
        } else if (suffix == "cow") {
            disk.copy_on_write = true;
        } else if (suffix == "raw") {
            disk.raw = true;
        } else if (suffix == "qcow2") {
            disk.qcow2 = true;
        } else {
            return fail_usage("--disk \"{}\": unknown suffix \"{}\"; {}", text, suffix, kForm);
        }
        rest = rest.substr(0, comma);
    }
    if (rest.empty()) {
        return fail_usage("--disk \"{}\": {}", text, kForm);
    }
    if (disk.read_only && disk.copy_on_write) {
        return fail_usage("--disk \"{}\": ro and cow exclude each other", text);
    }
    if (disk.raw && disk.qcow2) {
        return fail_usage("--disk \"{}\": raw and qcow2 exclude each other", text);
    }
    disk.path = rest;
    return disk;
}

/// From the right, since a folder's name may have commas.
Result<ShareConfig> parse_share(std::string_view text) {
    ShareConfig share;
    std::string_view rest = text;
    std::size_t comma = rest.rfind(',');
    if (comma != std::string_view::npos && rest.substr(comma + 1) == "ro" && rest.find(',') != comma) {
        share.read_only = true;
        rest = rest.substr(0, comma);
        comma = rest.rfind(',');
    }
    if (comma != std::string_view::npos) {
        share.path = rest.substr(0, comma);
        share.tag = rest.substr(comma + 1);
    }
    constexpr std::size_t kMaxTag = devices::virtio::FileShare::kMaxTag;
    if (share.path.empty() || share.tag.empty() || share.tag.size() > kMaxTag) {
        return fail_usage("--9p \"{}\": must be DIR,TAG or DIR,TAG,ro with a tag of 1 to {} bytes", text,
                          kMaxTag);
    }
    return share;
}

/// From the left: a port's name has no commas.
Result<ConsolePortConfig> parse_console_port(std::string_view text) {
    constexpr std::string_view kUnix = "unix:";
    constexpr std::size_t kMaxName = 64;
    const auto fits = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
    };
    const std::size_t comma = text.find(',');
    ConsolePortConfig port;
    port.name = text.substr(0, comma);
    port.path = comma == std::string_view::npos ? "" : text.substr(comma + 1);
    port.socket = port.path.starts_with(kUnix);
    port.path.erase(0, port.socket ? kUnix.size() : 0);
    if (port.path.empty() || port.name.empty() || port.name.size() > kMaxName || port.name.starts_with('.') ||
        !std::all_of(port.name.begin(), port.name.end(), fits)) {
        return fail_usage(
            "--console-port \"{}\": must be NAME,FILE or NAME,unix:PATH with a name of 1 to {} letters, digits, '.', '_' and '-'",
            text, kMaxName);
    }
    return port;
}

Result<> parse_console_ports(const std::vector<std::string>& texts, std::vector<ConsolePortConfig>& ports) {
    constexpr std::size_t kMaxPorts = devices::virtio::ConsolePorts::kMaxPorts;
    for (const std::string& text : texts) {
        VMM_TRY(ConsolePortConfig port, parse_console_port(text));
        const auto same = [&port](const ConsolePortConfig& other) { return other.name == port.name; };
        if (std::any_of(ports.begin(), ports.end(), same)) {
            return fail_usage("--console-port \"{}\": another port has this name", text);
        }
        if (ports.size() == kMaxPorts) {
            return fail_usage("--console-port \"{}\": at most {} ports are possible", text, kMaxPorts);
        }
        ports.push_back(std::move(port));
    }
    return {};
}

Result<> check_tags(const std::vector<ShareConfig>& shares) {
    for (std::size_t n = 0; n < shares.size(); ++n) {
        for (std::size_t m = 0; m < n; ++m) {
            if (shares[m].tag == shares[n].tag) {
                return fail_usage("--9p \"{},{}\": another folder has this tag", shares[n].path,
                                  shares[n].tag);
            }
        }
    }
    return {};
}

}  // namespace

void add_device_options(CLI::App& run, RawDeviceOptions& raw) {
    run.add_option("-d,--disk", raw.disks, "Disk image (raw, or qcow2 with ro or cow) or block device as virtio disk; ro: not written to; "
                   "cow: changes are gone in the end; may be repeated")
        ->type_name("FILE[,ro|,cow][,raw|,qcow2]")
        ->take_all()
        ->allow_extra_args(false);
    run.add_option(
           "--9p", raw.shares,
           "Folder of the host that the guest can mount: 'mount -t 9p -o trans=virtio TAG /mnt'; may be "
           "repeated")
        ->type_name("DIR,TAG[,ro]")
        ->take_all()
        ->allow_extra_args(false);
    run.add_option("--console-port", raw.console_ports,
                   "Port /dev/virtio-ports/NAME of the guest: a file of the host that takes what the guest writes, or a Unix "
                   "socket to which one client at a time can connect; may be repeated")
        ->type_name("NAME,FILE|unix:PATH")
        ->take_all()
        ->allow_extra_args(false);
    run.add_flag("--balloon", raw.balloon,
                 "Memory that the guest does not use goes back to the host; 'vmm balloon' asks it for more");
    run.add_option("-n,--network", raw.networks,
                   "Network: mode=user[,guest_mac=MAC][,host_ip=IP][,guest_ip=IP][,mtu=N][,loopback=off][,restrict=on]"
                   "[,forward=[tcp:|udp:][IP:]PORT:GUESTPORT]...; may be repeated")
        ->type_name("mode=user[,...]")
        ->take_all()
        ->allow_extra_args(false);
}

Result<> parse_device_options(const RawDeviceOptions& raw, MachineConfig& config) {
    config.balloon = raw.balloon;
    for (const std::string& text : raw.disks) {
        VMM_TRY(DiskConfig disk, parse_disk(text));
        config.disks.push_back(std::move(disk));
    }
    for (const std::string& text : raw.shares) {
        VMM_TRY(ShareConfig share, parse_share(text));
        config.shares.push_back(std::move(share));
    }
    for (const std::string& text : raw.networks) {
        VMM_TRY_VOID(parse_network(text, config));
    }
    VMM_TRY_VOID(parse_console_ports(raw.console_ports, config.console_ports));
    return check_tags(config.shares);
}

Result<> check_devices(const MachineConfig& config) {
    const std::size_t wanted = config.disks.size() + config.shares.size() + config.networks.size() + (config.rng ? 1 : 0) + (config.balloon ? 1 : 0) +
                               (config.console_ports.empty() ? 0 : 1) + (config.exec.root_image ? 1 : 0) +
                               (config.console == ConsoleKind::virtio ? 1 : 0);
    if (wanted > kVirtioSlots) {
        return fail_usage("{}: {} virtio devices asked for; at most {} fit, console and rng included",
                          config.shares.empty() && config.networks.empty() ? "--disk" : "--disk, --9p, --network",
                          wanted, kVirtioSlots);
    }
    if (!config.networks.empty() && config.clock == ClockKind::insn) {
        return fail_usage("--network: a network follows the host's time, which --clock insn excludes");
    }
    if (!config.console_ports.empty() && config.clock == ClockKind::insn) {
        return fail_usage("--console-port: a port follows the host's time, which --clock insn excludes");
    }
    return {};
}

}  // namespace vmm
