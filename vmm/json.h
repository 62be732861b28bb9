// The JSON documents of the program. What only passes them on needs no more than this; what looks into one includes
// <nlohmann/json.hpp> as well.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace vmm {

/// Members in the order they were added.
using Json = nlohmann::ordered_json;

}  // namespace vmm
