// Text for XML documents.
#pragma once

#include <string>

namespace vmm {

/// What XML can hold of any bytes, escaped for element content and attributes: what is not UTF-8 is replaced, what XML
/// cannot name becomes '?'.
std::string xml(const std::string& bytes);

}  // namespace vmm
