#include "vmm/cli_devices.h"

#include <catch2/catch.hpp>

namespace vmm {
namespace {

TEST_CASE("cli: shared folders have a path, a tag and perhaps a suffix") {
    MachineConfig config;
    REQUIRE(parse_device_options({.disks = {}, .shares = {"/a,b,tag", "/c,ro", "d,x,ro"}, .networks = {}},
                                 config));
    REQUIRE(config.shares.size() == 3);
    CHECK(config.shares[0].path == "/a,b");
    CHECK(config.shares[0].tag == "tag");
    CHECK_FALSE(config.shares[0].read_only);
    CHECK(config.shares[1].path == "/c");
    CHECK(config.shares[1].tag == "ro");  // a tag like any other
    CHECK_FALSE(config.shares[1].read_only);
    CHECK(config.shares[2].path == "d");
    CHECK(config.shares[2].tag == "x");
    CHECK(config.shares[2].read_only);
}

TEST_CASE("cli: what is wrong with a shared folder is told") {
    for (const std::string& text : {std::string("/a"), std::string(",tag"), std::string("/a,"),
                                    std::string(""), "/a," + std::string(129, 't')}) {
        MachineConfig config;
        const auto parsed = parse_device_options({.disks = {}, .shares = {text}, .networks = {}}, config);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().status == ExitStatus::usage);
        CHECK(parsed.error().text.find("must be DIR,TAG") != std::string::npos);
    }
    MachineConfig config;
    const auto twice =
        parse_device_options({.disks = {}, .shares = {"/a,t", "/b,t"}, .networks = {}}, config);
    REQUIRE_FALSE(twice);
    CHECK(twice.error().text == "--9p \"/b,t\": another folder has this tag");
}

TEST_CASE("cli: disks take suffixes in any order") {
    MachineConfig config;
    REQUIRE(parse_device_options({.disks = {"a,ro,raw", "b,raw,cow", "c"}, .shares = {}, .networks = {}}, config));
    REQUIRE(config.disks.size() == 3);
    CHECK((config.disks[0].read_only && config.disks[0].raw && !config.disks[0].copy_on_write));
    CHECK((config.disks[1].copy_on_write && config.disks[1].raw && !config.disks[1].read_only));
    CHECK(config.disks[1].path == "b");
    CHECK_FALSE(config.disks[2].copy_on_write);
    CHECK_FALSE(parse_device_options({.disks = {"a,ro,cow"}, .shares = {}, .networks = {}}, config));
}

TEST_CASE("cli: console ports") {
    MachineConfig config;
    RawDeviceOptions raw;
    raw.console_ports = {"log,/tmp/a,b", "org.qemu.guest_agent.0,unix:/run/agent"};
    REQUIRE(parse_device_options(raw, config));
    REQUIRE(config.console_ports.size() == 2);
    CHECK((config.console_ports[0].name == "log" && config.console_ports[0].path == "/tmp/a,b" && !config.console_ports[0].socket));
    CHECK((config.console_ports[1].path == "/run/agent" && config.console_ports[1].socket));
    for (const std::string& text : {std::string("log"), std::string("log,"), std::string(",file"), std::string("a/b,file"),
                                    std::string("..,file"), std::string("a,unix:"), std::string(65, 'a').append(",file")}) {
        MachineConfig other;
        raw.console_ports = {text};
        const auto parsed = parse_device_options(raw, other);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().text.find("must be NAME,FILE or NAME,unix:PATH") != std::string::npos);
    }
    raw.console_ports = {"a,x", "a,y"};
    CHECK(parse_device_options(raw, config).error().text == "--console-port \"a,y\": another port has this name");
}

TEST_CASE("cli: networks") {
    MachineConfig config;
    REQUIRE(parse_device_options({.disks = {},
                                  .shares = {},
                                  .networks = {"mode=user", "mode=none",
                                               "mode=user,guest_mac=02:00:00:00:AB:01,host_ip=10.1.2.1,guest_"
                                               "ip=10.1.2.9,mtu=65520,loopback=off,"
                                               "restrict=on,forward=8080:80,forward=udp:0.0.0.0:53:5353"}},
                                 config));
    REQUIRE(config.networks.size() == 2);
    CHECK(config.networks[0].mac[5] == 0x15);
    CHECK(config.networks[0].user.host_loopback);
    const NetworkConfig& second = config.networks[1];
    CHECK(second.mac[4] == 0xAB);
    CHECK(second.user.host == devices::net::ipv4(10, 1, 2, 1));
    CHECK(second.user.guest == devices::net::ipv4(10, 1, 2, 9));
    CHECK(second.user.mtu == 65520);
    CHECK_FALSE(second.user.host_loopback);
    CHECK(second.user.restricted);
    REQUIRE(second.user.forwards.size() == 2);
    CHECK(second.user.forwards[0].host_address == devices::net::ipv4(127, 0, 0, 1));
    CHECK(second.user.forwards[0].host_port == 8080);
    CHECK(second.user.forwards[0].guest_port == 80);
    CHECK(second.user.forwards[1].udp);
    CHECK(second.user.forwards[1].host_address == 0);
}

TEST_CASE("cli: what is wrong with a network is told") {
    struct Wrong {
        const char* text;
        const char* told;
    };
    static constexpr Wrong kWrong[] = {{"", "is not known"},
                                       {"mode=tap", "mode must be user or none"},
                                       {"mtu=1500", "mode must be user or none"},
                                       {"mode=user,mtu=100", "mtu must be a number from 1280"},
                                       {"mode=user,guest_mac=1:2:3", "guest_mac must be"},
                                       {"mode=user,guest_mac=03:00:00:00:00:01", "guest_mac must be"},
                                       {"mode=user,host_ip=1.2.3", "host_ip must be"},
                                       {"mode=user,host_ip=1.2.3.256", "host_ip must be"},
                                       {"mode=user,host_ip=10.0.0.1", "same /24"},
                                       {"mode=user,guest_ip=192.168.33.255", "same /24"},
                                       {"mode=user,forward=80", "forward must be"},
                                       {"mode=user,forward=0:80", "forward must be"},
                                       {"mode=user,forward=tcp:x:1:2", "forward must be"},
                                       {"mode=user,restrict=yes", "restrict must be on or off"},
                                       {"mode=user,script=x", "script is not known"}};
    for (const Wrong& wrong : kWrong) {
        CAPTURE(wrong.text);
        MachineConfig config;
        const auto parsed =
            parse_device_options({.disks = {}, .shares = {}, .networks = {wrong.text}}, config);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().text.find(wrong.told) != std::string::npos);
    }
    MachineConfig config;
    config.clock = ClockKind::insn;
    config.networks.resize(1);
    CHECK_FALSE(check_devices(config));
}

}  // namespace
}  // namespace vmm
