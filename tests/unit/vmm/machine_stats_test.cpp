#include "vmm/machine_stats.h"

#include <array>
#include <bit>
#include <set>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "vmm/manage.h"

using namespace vmm;

namespace {

/// A structure of counters with 1, 2, 3 ... in it.
template <class Stats>
Stats numbered() {
    std::array<u64, sizeof(Stats) / sizeof(u64)> values;
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = i + 1;
    }
    return std::bit_cast<Stats>(values);
}

void collect(const Json& object, std::set<u64>& values) {
    for (const auto& item : object.items()) {
        if (item.value().is_object()) {
            collect(item.value(), values);
        } else {
            CHECK(values.insert(item.value().get<u64>()).second);
        }
    }
}

template <class Stats>
void check_complete() {
    std::set<u64> values;
    collect(to_json(numbered<Stats>()), values);
    CHECK(values.size() == sizeof(Stats) / sizeof(u64));
    CHECK(*values.begin() == 1);
    CHECK(*values.rbegin() == values.size());
}

}  // namespace

TEST_CASE("every counter of a structure is in its JSON, once", "[control]") {
    check_complete<spe::ProfilingStats>();
    check_complete<mm::PinStats>();
    const Json json = to_json(spe::ProfilingStats{.samples = 7, .pins = {.hits = 9}});
    CHECK(json["samples"] == 7);
    CHECK(json["pins"]["hits"] == 9);
}

TEST_CASE("totals add what has the same name", "[control]") {
    Json sum;
    add_counters(sum, Json{{"a", 1u}, {"pins", {{"b", 2u}}}, {"text", "x"}, {"empty", Json::object()}});
    add_counters(sum, Json{{"a", 10u}, {"pins", {{"b", 20u}, {"c", 5u}}}});
    CHECK(sum == Json{{"a", 11u}, {"pins", {{"b", 22u}, {"c", 5u}}}, {"empty", Json::object()}});
}

TEST_CASE("the total of a maximum is the largest", "[control]") {
    Json sum;
    for (const u64 value : {3u, 9u, 4u}) {
        add_counters(sum, to_json(spe::ProfilingStats{.pins = {.hits = value, .slowest_ns = value, .slowest_cpu_ns = value}}));
    }
    CHECK(sum["pins"]["hits"] == 16);
    CHECK(sum["pins"]["slowest_ns"] == 9);
    CHECK(sum["pins"]["slowest_cpu_ns"] == 9);
}

TEST_CASE("the text form of counters has one line each", "[control]") {
    const Json json{{"name", "x"}, {"cpus", Json::array({{{"n", 1}}, {{"n", 2}}})}, {"limit", nullptr}};
    CHECK(flatten(json) == "name x\ncpus.0.n 1\ncpus.1.n 2\nlimit null\n");
}

TEST_CASE("the process has a size and a history", "[control]") {
    const Json process = process_stats();
    CHECK(process["resident_bytes"].get<u64>() > 0);
    CHECK(process["peak_resident_bytes"].get<u64>() > 0);
    CHECK(process["page_faults"].get<u64>() > 0);
}
