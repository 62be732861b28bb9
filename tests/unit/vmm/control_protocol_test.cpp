#include "vmm/control_protocol.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "vmm/control_socket.h"
#include "vmm/run_control.h"

using namespace vmm;

TEST_CASE("every request survives the way over the wire", "[control]") {
    for (const auto command : {ControlCommand::info, ControlCommand::stat, ControlCommand::stop, ControlCommand::pause,
                               ControlCommand::resume, ControlCommand::debug, ControlCommand::spe_stop,
                               ControlCommand::spe_resume}) {
        for (const auto mode : {spe::StopMode::trap, spe::StopMode::exit}) {
            std::string line = format_request({command, mode});
            REQUIRE(line.back() == '\n');
            line.pop_back();
            REQUIRE(line.find('\n') == std::string::npos);
            const auto parsed = parse_request(line);
            REQUIRE(parsed);
            CHECK(parsed->command == command);
            if (command == ControlCommand::spe_stop) {
                CHECK(parsed->mode == mode);
            }
        }
    }
}

TEST_CASE("requests as the README writes them", "[control]") {
    const auto plain = parse_request(R"({"command": "spe-stop"})");
    REQUIRE(plain);
    CHECK(plain->command == ControlCommand::spe_stop);
    CHECK(plain->mode == spe::StopMode::trap);
    const auto exits = parse_request(R"( {"mode":"exit","command":"spe-stop"} )");
    REQUIRE(exits);
    CHECK(exits->mode == spe::StopMode::exit);
}

TEST_CASE("a request that is not one says why", "[control]") {
    const std::vector<std::string> bad{
        "",
        "\xFF\xFE",
        "null",
        "[]",
        "\"stop\"",
        "{",
        "{}",
        R"({"command":"halt"})",
        R"({"command":["stop"]})",
        R"({"command":null})",
        R"({"command":"stop"}{"command":"stop"})",
        R"({"command":"stop","force":true})",
        R"({"command":"pause","mode":"trap"})",
        R"({"command":"spe-stop","mode":"none"})",
        R"({"command":"spe-stop","mode":1})",
        R"({"command":"balloon","bytes":-1})",
        R"({"command":"balloon","bytes":"1"})",
        R"({"command":"balloon","size":1})",
        R"({"command":"spe-stop","mod":"exit"})",
        "{\"command\":\"\xC3\x28\"}",
        std::string(kMaxRequestBytes, '['),
        std::string(kMaxRequestBytes, '\0'),
    };
    for (const std::string& line : bad) {
        CAPTURE(line);
        const auto parsed = parse_request(line);
        REQUIRE_FALSE(parsed);
        CHECK_FALSE(parsed.error().text.empty());
    }
}

TEST_CASE("a reply is one line of UTF-8, whatever it holds", "[control]") {
    Json reply = ok_reply();
    reply["text"] = "a\nb\xFF";
    std::string line = format_reply(reply);
    REQUIRE(line.find('\n') == line.size() - 1);
    line.pop_back();
    const auto parsed = parse_reply(line);
    REQUIRE(parsed);
    CHECK((*parsed)["text"] == "a\nb\xEF\xBF\xBD");

    std::string refused = format_reply(error_reply("no"));
    refused.pop_back();
    REQUIRE_FALSE(parse_reply(refused));
    CHECK(parse_reply(refused).error().text == "no");
    CHECK_FALSE(parse_reply(R"({"ok":1})"));
    CHECK_FALSE(parse_reply("hello"));
}

TEST_CASE("names of guests are names of files", "[control]") {
    for (const char* good : {"a", "guest-1234", "web.1", "_x", "+", "A_b-c.d+e"}) {
        CHECK(valid_guest_name(good));
    }
    CHECK(valid_guest_name(std::string(64, 'n')));
    for (const char* bad : {"", ".", "..", ".hidden", "-n", "a/b", "../x", "a b", "a\n", "\xC3\xA4"}) {
        CHECK_FALSE(valid_guest_name(bad));
    }
    CHECK_FALSE(valid_guest_name(std::string(65, 'n')));
}

TEST_CASE("what the guest wants goes before a pause, and is not lost", "[control]") {
    RunControl control;
    control.stop(StopReason::host);
    control.stop(StopReason::system_off);
    control.stop(StopReason::host);
    control.stop(StopReason::system_reset);
    REQUIRE(control.stopping());
    CHECK(control.take() == StopReason::system_off);
    CHECK_FALSE(control.stopping());
    control.notify();
    CHECK_FALSE(control.stopping());
}
