// Writes a flattened device tree through libfdt's sequential interface. The only user of libfdt.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm {

/// Nodes are opened and closed by Node objects, so they nest as C++ scopes do. Errors are remembered:
/// finish() reports the first one.
class FdtWriter {
  public:
    FdtWriter();

    /// Closes its node when destroyed.
    class [[nodiscard]] Node {
      public:
        Node(FdtWriter& writer, const std::string& name);
        ~Node();
        Node(const Node&) = delete;
        Node& operator=(const Node&) = delete;

      private:
        FdtWriter& writer_;
    };

    /// The root is node("").
    Node node(const std::string& name) { return Node(*this, name); }

    void flag(const char* name);
    void cells(const char* name, std::span<const u32> values);
    void cells(const char* name, std::initializer_list<u32> values) {
        cells(name, std::span(values.begin(), values.size()));
    }
    /// 64-bit values, two cells each.
    void cells64(const char* name, std::initializer_list<u64> values);
    void text(const char* name, std::string_view value);
    void texts(const char* name, std::initializer_list<std::string_view> values);

    /// The finished tree, exactly as large as it is. All nodes must have been closed; nothing may follow.
    Result<std::vector<u8>> finish();

  private:
    /// Runs `call` and repeats it with more room while it asks for that.
    template <class Call>
    void run(Call&& call);
    void bytes(const char* name, const void* data, std::size_t size);

    std::vector<u8> buffer_;
    int error_ = 0;  // libfdt's; once set, nothing more is written
    int depth_ = 0;  // open nodes
};

}  // namespace vmm
