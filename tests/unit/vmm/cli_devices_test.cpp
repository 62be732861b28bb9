#include <catch2/catch.hpp>

#include "vmm/cli_devices.h"

namespace vmm {
namespace {

TEST_CASE("cli: shared folders have a path, a tag and perhaps a suffix") {
    MachineConfig config;
    REQUIRE(parse_device_options({.disks = {}, .shares = {"/a,b,tag", "/c,ro", "d,x,ro"}}, config));
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
    for (const std::string& text : {std::string("/a"), std::string(",tag"), std::string("/a,"), std::string(""),
                                    "/a," + std::string(129, 't')}) {
        MachineConfig config;
        const auto parsed = parse_device_options({.disks = {}, .shares = {text}}, config);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().status == ExitStatus::usage);
        CHECK(parsed.error().text.find("must be DIR,TAG") != std::string::npos);
    }
    MachineConfig config;
    const auto twice = parse_device_options({.disks = {}, .shares = {"/a,t", "/b,t"}}, config);
    REQUIRE_FALSE(twice);
    CHECK(twice.error().text == "--9p \"/b,t\": another folder has this tag");
}

}  // namespace
}  // namespace vmm
