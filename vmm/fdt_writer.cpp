#include "vmm/fdt_writer.h"

#include <libfdt.h>

namespace vmm {

namespace {
constexpr std::size_t kFirstSize = 16 * 1024;
constexpr std::size_t kMaxSize = std::size_t{2} << 20;
}  // namespace

template <class Call>
void FdtWriter::run(Call&& call) {
    while (error_ == 0) {
        const int status = call(static_cast<void*>(buffer_.data()));
        if (status != -FDT_ERR_NOSPACE || buffer_.size() >= kMaxSize) {
            error_ = status;
            return;
        }
        std::vector<u8> larger(buffer_.size() * 2);
        error_ = fdt_resize(buffer_.data(), larger.data(), static_cast<int>(larger.size()));
        buffer_ = std::move(larger);
    }
}

FdtWriter::FdtWriter() : buffer_(kFirstSize) {
    run([this](void* fdt) { return fdt_create(fdt, static_cast<int>(buffer_.size())); });
    run([](void* fdt) { return fdt_finish_reservemap(fdt); });
}

FdtWriter::Node::Node(FdtWriter& writer, const std::string& name) : writer_(writer) {
    ++writer_.depth_;
    writer_.run([&name](void* fdt) { return fdt_begin_node(fdt, name.c_str()); });
}

FdtWriter::Node::~Node() {
    --writer_.depth_;
    writer_.run([](void* fdt) { return fdt_end_node(fdt); });
}

void FdtWriter::bytes(const char* name, const void* data, std::size_t size) {
    run([=](void* fdt) { return fdt_property(fdt, name, data, static_cast<int>(size)); });
}

void FdtWriter::flag(const char* name) {
    bytes(name, nullptr, 0);
}

void FdtWriter::cells(const char* name, std::span<const u32> values) {
    std::vector<fdt32_t> big_endian;
    for (const u32 value : values) {
        big_endian.push_back(cpu_to_fdt32(value));
    }
    bytes(name, big_endian.data(), big_endian.size() * sizeof(fdt32_t));
}

void FdtWriter::cells64(const char* name, std::initializer_list<u64> values) {
    std::vector<fdt64_t> big_endian;
    for (const u64 value : values) {
        big_endian.push_back(cpu_to_fdt64(value));
    }
    bytes(name, big_endian.data(), big_endian.size() * sizeof(fdt64_t));
}

void FdtWriter::text(const char* name, std::string_view value) {
    texts(name, {value});
}

void FdtWriter::texts(const char* name, std::initializer_list<std::string_view> values) {
    std::string joined;
    for (const std::string_view value : values) {
        joined.append(value);
        joined.push_back('\0');
    }
    bytes(name, joined.data(), joined.size());
}

Result<std::vector<u8>> FdtWriter::finish() {
    run([this](void* fdt) { return depth_ == 0 ? fdt_finish(fdt) : -FDT_ERR_BADSTATE; });
    if (error_ != 0) {
        return fail("cannot build the device tree: {}", fdt_strerror(error_));
    }
    error_ = -FDT_ERR_BADSTATE;
    buffer_.resize(fdt_totalsize(buffer_.data()));
    return std::move(buffer_);
}

}  // namespace vmm
