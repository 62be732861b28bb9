#include "vmm/decompress.h"

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <memory>

namespace vmm {

namespace {

constexpr std::size_t kFirstOutput = std::size_t{1} << 20;

/// Makes room for more output: doubles, up to one byte more than `limit` so that too much shows. False: limit
/// exceeded.
bool grow(std::vector<u8>& out, std::size_t used, u64 limit) {
    if (used > limit) {
        return false;
    }
    if (used == out.size()) {
        out.resize(
            static_cast<std::size_t>(std::min<u64>(std::max(out.size() * 2, kFirstOutput), limit + 1)));
    }
    return true;
}

tl::unexpected<Error> too_big(u64 limit) {
    return fail("unpacks to more than {} MiB", limit >> 20);
}

struct InflateEnd {
    void operator()(z_stream* stream) const { inflateEnd(stream); }
};

struct LzmaEnd {
    void operator()(lzma_stream* stream) const { lzma_end(stream); }
};

struct DStreamFree {
    void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};

}  // namespace

Result<std::vector<u8>> decompress_gzip(std::span<const u8> data, u64 limit) {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    z_stream stream{};
    if (inflateInit2(&stream, kGzipOnly) != Z_OK) {
        return fail("cannot set up gzip decompression");
    }
    const std::unique_ptr<z_stream, InflateEnd> cleanup(&stream);
    std::vector<u8> out;
    std::size_t consumed = 0;
    std::size_t used = 0;
    for (;;) {
        if (!grow(out, used, limit)) {
            return too_big(limit);
        }
        constexpr std::size_t kChunk = std::size_t{1} << 30;
        stream.next_in =
            const_cast<u8*>(data.data()) + consumed;  // zlib's interface; it does not write there
        stream.avail_in = static_cast<uInt>(std::min(data.size() - consumed, kChunk));
        stream.next_out = out.data() + used;
        stream.avail_out = static_cast<uInt>(std::min(out.size() - used, kChunk));
        const int status = inflate(&stream, Z_NO_FLUSH);
        consumed = static_cast<std::size_t>(stream.next_in - data.data());
        const std::size_t now_used = static_cast<std::size_t>(stream.next_out - out.data());
        const bool progress = now_used != used;
        used = now_used;
        if (status == Z_STREAM_END) {
            break;
        }
        if (status == Z_BUF_ERROR || (status == Z_OK && consumed == data.size() && !progress)) {
            return fail("the gzip data is truncated");
        }
        if (status != Z_OK) {
            return fail("the gzip data is damaged: {}", stream.msg == nullptr ? "bad stream" : stream.msg);
        }
    }
    if (used > limit) {
        return too_big(limit);
    }
    out.resize(used);
    return out;
}

Result<std::vector<u8>> decompress_zstd(std::span<const u8> data, u64 limit) {
    const std::unique_ptr<ZSTD_DStream, DStreamFree> stream(ZSTD_createDStream());
    if (stream == nullptr) {
        return fail("cannot set up zstd decompression");
    }
    ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax, 31);
    std::vector<u8> out;
    ZSTD_inBuffer in{data.data(), data.size(), 0};
    std::size_t used = 0;
    for (;;) {
        if (!grow(out, used, limit)) {
            return too_big(limit);
        }
        ZSTD_outBuffer window{out.data(), out.size(), used};
        const std::size_t before_in = in.pos;
        const std::size_t status = ZSTD_decompressStream(stream.get(), &window, &in);
        if (ZSTD_isError(status) != 0) {
            return fail("the zstd data is damaged: {}", ZSTD_getErrorName(status));
        }
        const bool progress = window.pos != used || in.pos != before_in;
        used = window.pos;
        if (status == 0) {
            break;
        }
        if (in.pos == in.size && used < out.size() && !progress) {
            return fail("the zstd data is truncated");
        }
    }
    if (used > limit) {
        return too_big(limit);
    }
    out.resize(used);
    return out;
}

Result<std::vector<u8>> decompress_xz(std::span<const u8> data, u64 limit) {
    constexpr u64 kMaxDictionary = u64{256} << 20;
    lzma_stream stream = LZMA_STREAM_INIT;
    if (lzma_stream_decoder(&stream, kMaxDictionary, 0) != LZMA_OK) {
        return fail("cannot set up xz decompression");
    }
    const std::unique_ptr<lzma_stream, LzmaEnd> cleanup(&stream);
    std::vector<u8> out;
    std::size_t used = 0;
    stream.next_in = data.data();
    stream.avail_in = data.size();
    for (;;) {
        if (!grow(out, used, limit)) {
            return too_big(limit);
        }
        stream.next_out = out.data() + used;
        stream.avail_out = out.size() - used;
        const lzma_ret status = lzma_code(&stream, LZMA_RUN);
        used = out.size() - stream.avail_out;
        if (status == LZMA_STREAM_END) {
            break;
        }
        if (status == LZMA_BUF_ERROR || (status == LZMA_OK && stream.avail_in == 0 && stream.avail_out != 0)) {
            return fail("the xz data is truncated");
        }
        if (status != LZMA_OK) {
            return fail("the xz data is damaged (error {})", static_cast<int>(status));
        }
    }
    if (used > limit) {
        return too_big(limit);
    }
    out.resize(used);
    return out;
}

}  // namespace vmm
