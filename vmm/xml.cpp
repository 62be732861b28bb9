#include "vmm/xml.h"

#include <nlohmann/json.hpp>

#include "vmm/base/types.h"

namespace vmm {

using Json = nlohmann::json;

std::string xml(const std::string& bytes) {
    const std::string text =
        Json::parse(Json(bytes).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const char c = text[at];
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            case '\n': out += "&#10;"; break;
            case '\t': out += "&#9;"; break;
            default:
                if (text.compare(at, 2, "\xEF\xBF") == 0 && static_cast<u8>(text[at + 2]) >= 0xBE) {
                    out += '?';  // U+FFFE and U+FFFF
                    at += 2;
                } else {
                    out += static_cast<unsigned char>(c) < ' ' || c == 127 ? '?' : c;
                }
        }
    }
    return out;
}

}  // namespace vmm
