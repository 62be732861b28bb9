#include "vmm/cli_network.h"

#include <array>
#include <optional>
#include <vector>

#include "vmm/cli_values.h"

namespace vmm {

namespace {

using devices::net::Forward;
using devices::net::Ipv4;
using devices::net::UserNetwork;

/// kvmtool's; the last byte counts the networks up.
constexpr std::array<u8, 6> kDefaultMac{0x02, 0x15, 0x15, 0x15, 0x15, 0x15};

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t at = text.find(separator);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) {
            return parts;
        }
        text = text.substr(at + 1);
    }
}

std::optional<Ipv4> parse_ipv4(std::string_view text) {
    const auto parts = split(text, '.');
    Ipv4 address = 0;
    for (const std::string_view part : parts) {
        const std::optional<u64> byte = parse_u64(part);
        if (!byte || *byte > 255 || part.size() > 3) {
            return std::nullopt;
        }
        address = address << 8 | static_cast<Ipv4>(*byte);
    }
    return parts.size() == 4 ? std::optional(address) : std::nullopt;
}

std::optional<std::array<u8, 6>> parse_mac(std::string_view text) {
    std::array<u8, 6> mac{};
    const auto parts = split(text, ':');
    if (parts.size() != mac.size()) {
        return std::nullopt;
    }
    for (std::size_t n = 0; n < mac.size(); ++n) {
        const std::optional<u64> byte = parse_u64("0x" + std::string(parts[n]), true);
        if (!byte || *byte > 255 || parts[n].size() > 2) {
            return std::nullopt;
        }
        mac[n] = static_cast<u8>(*byte);
    }
    const bool group = (mac[0] & 1) != 0;
    return group ? std::nullopt : std::optional(mac);
}

std::optional<u16> parse_port(std::string_view text) {
    const std::optional<u64> port = parse_u64(text);
    return port && *port >= 1 && *port <= 65535 ? std::optional(static_cast<u16>(*port)) : std::nullopt;
}

/// [tcp:|udp:][IP:]PORT:GUESTPORT
std::optional<Forward> parse_forward(std::string_view text) {
    Forward forward;
    if (text.starts_with("tcp:") || text.starts_with("udp:")) {
        forward.udp = text.starts_with("udp:");
        text = text.substr(4);
    }
    auto parts = split(text, ':');
    if (parts.size() == 3) {
        const std::optional<Ipv4> address = parse_ipv4(parts[0]);
        if (!address) {
            return std::nullopt;
        }
        forward.host_address = *address;
        parts.erase(parts.begin());
    }
    if (parts.size() != 2) {
        return std::nullopt;
    }
    const std::optional<u16> host_port = parse_port(parts[0]);
    const std::optional<u16> guest_port = parse_port(parts[1]);
    if (!host_port || !guest_port) {
        return std::nullopt;
    }
    forward.host_port = *host_port;
    forward.guest_port = *guest_port;
    return forward;
}

/// One KEY=VALUE. The error is what VALUE must be.
std::optional<std::string> apply(std::string_view key, std::string_view value, NetworkConfig& network) {
    const auto set = [](auto& target, const auto& parsed, std::string wanted) -> std::optional<std::string> {
        if (!parsed) {
            return wanted;
        }
        target = *parsed;
        return std::nullopt;
    };
    const auto on_off = [&](bool& target) -> std::optional<std::string> {
        target = value == "on";
        return value == "on" || value == "off" ? std::nullopt
                                               : std::optional<std::string>("must be on or off");
    };
    if (key == "guest_mac") {
        return set(network.mac, parse_mac(value),
                   "must be the MAC address of one station, such as 02:15:15:15:15:15");
    }
    if (key == "host_ip") {
        return set(network.user.host, parse_ipv4(value), "must be an IPv4 address");
    }
    if (key == "guest_ip") {
        return set(network.user.guest, parse_ipv4(value), "must be an IPv4 address");
    }
    if (key == "loopback") {
        return on_off(network.user.host_loopback);
    }
    if (key == "restrict") {
        return on_off(network.user.restricted);
    }
    if (key == "mtu") {
        const std::optional<u64> mtu = parse_u64(value);
        if (!mtu || *mtu < UserNetwork::kMinMtu || *mtu > UserNetwork::kMaxMtu) {
            return fmt::format("must be a number from {} to {}", UserNetwork::kMinMtu, UserNetwork::kMaxMtu);
        }
        network.user.mtu = static_cast<unsigned>(*mtu);
        return std::nullopt;
    }
    if (key == "forward") {
        const std::optional<Forward> forward = parse_forward(value);
        if (!forward) {
            return "must be [tcp:|udp:][IP:]PORT:GUESTPORT";
        }
        network.user.forwards.push_back(*forward);
        return std::nullopt;
    }
    return "is not known; must be mode, guest_mac, host_ip, guest_ip, mtu, loopback, restrict or forward";
}

Result<> check_addresses(std::string_view text, const NetworkConfig& network) {
    const Ipv4 host = network.user.host;
    const Ipv4 guest = network.user.guest;
    const auto usable = [](Ipv4 address) { return (address & 0xFF) != 0 && (address & 0xFF) != 0xFF; };
    if (host >> 8 != guest >> 8 || host == guest || !usable(host) || !usable(guest)) {
        return fail_usage("--network \"{}\": host_ip and guest_ip must be different stations of the same /24",
                          text);
    }
    return {};
}

}  // namespace

Result<> parse_network(std::string_view text, MachineConfig& config) {
    NetworkConfig network;
    network.mac = kDefaultMac;
    network.mac.back() = static_cast<u8>(network.mac.back() + config.networks.size());
    std::string_view mode;
    for (const std::string_view part : split(text, ',')) {
        const std::size_t equals = part.find('=');
        const std::string_view key = part.substr(0, equals);
        const std::string_view value = equals == std::string_view::npos ? "" : part.substr(equals + 1);
        if (key == "mode") {
            mode = value;
        } else if (const auto wrong = apply(key, value, network)) {
            return fail_usage("--network \"{}\": {} {}", text, key, *wrong);
        }
    }
    if (mode != "user" && mode != "none") {
        return fail_usage("--network \"{}\": mode must be user or none", text);
    }
    VMM_TRY_VOID(check_addresses(text, network));
    if (mode == "user") {
        config.networks.push_back(std::move(network));
    }
    return {};
}

}  // namespace vmm
