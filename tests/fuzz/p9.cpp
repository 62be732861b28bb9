// 9P requests, whole or raw, on a folder: no answer may have anything from outside it, and nothing there may change.
#include "devices/p9/server.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/host_files.h"
#include "tests/fuzz/target.h"

namespace vmm::fuzz {
namespace {

using devices::p9::Request;

constexpr unsigned kMostRequests = 100;

constexpr std::array<Request, 28> kTypes{
    Request::statfs, Request::lopen, Request::lcreate, Request::symlink, Request::mknod, Request::rename, Request::readlink,
    Request::getattr, Request::setattr, Request::xattrwalk, Request::xattrcreate, Request::readdir, Request::fsync,
    Request::lock, Request::getlock, Request::link, Request::mkdir, Request::renameat, Request::unlinkat, Request::version,
    Request::auth, Request::attach, Request::flush, Request::walk, Request::read, Request::write, Request::clunk,
    Request::remove};

constexpr std::array<std::string_view, 20> kNames{
    "f", "d", "g", "e", "l", "s", "n", "m", "..", ".", "", "/", "/etc/passwd", "../outside", "d/g", "secret", "folder",
    "9P2000.L", std::string_view("a\0b", 3), "../outside/secret"};

class Message {
  public:
    template <class T>
    Message& put(T value) {
        const auto* from = reinterpret_cast<const u8*>(&value);
        bytes_.insert(bytes_.end(), from, from + sizeof value);
        return *this;
    }
    Message& text(std::string_view value) {
        put(static_cast<u16>(value.size()));
        bytes_.insert(bytes_.end(), value.begin(), value.end());
        return *this;
    }
    std::vector<u8> finished() {
        const auto size = static_cast<u32>(bytes_.size());
        std::memcpy(bytes_.data(), &size, sizeof size);
        return bytes_;
    }

  private:
    std::vector<u8> bytes_;
};

std::string some_name(FuzzInput& in) {
    const u8 which = in.get<u8>();
    return which < 250 ? std::string(kNames[which % kNames.size()]) : which < 254 ? in.text(64) : std::string(1000, 'x');
}

/// A request whose fields are about right.
std::vector<u8> some_request(FuzzInput& in) {
    const Request type = in.pick(kTypes);
    Message m;
    m.put(u32{0}).put(static_cast<u8>(type)).put(u16{1});
    const auto fid = [&] { m.put(u32{in.get<u8>()} % 8); };
    const auto name = [&] { m.text(some_name(in)); };
    const auto number = [&] { m.put(u32{in.get<u16>()}); };
    const auto wide = [&] { m.put(u64{in.get<u8>()} << in.below(64)); };
    switch (type) {
        case Request::version: m.put(u32{in.get<u16>()} + 4096); m.text(in.flag() ? "9P2000.L" : some_name(in)); break;
        case Request::attach: fid(); m.put(~u32{0}); name(); name(); number(); break;
        case Request::walk: {
            fid();
            fid();
            const unsigned names = in.below(18);
            m.put(static_cast<u16>(names));
            for (unsigned n = 0; n < names; ++n) {
                name();
            }
            break;
        }
        case Request::lopen: fid(); m.put(in.get<u32>() & 0x1FFFFF); break;
        case Request::lcreate: fid(); name(); m.put(in.get<u32>() & 0x1FFFFF); number(); number(); break;
        case Request::symlink: fid(); name(); name(); number(); break;
        case Request::mknod: fid(); name(); m.put(in.get<u32>()); number(); number(); number(); break;
        case Request::rename: fid(); fid(); name(); break;
        case Request::getattr: fid(); m.put(in.get<u64>()); break;
        case Request::setattr: fid(); number(); number(); number(); number(); wide(); wide(); wide(); wide(); wide(); break;
        case Request::xattrwalk: fid(); fid(); name(); break;
        case Request::xattrcreate: fid(); name(); wide(); number(); break;
        case Request::readdir:
        case Request::read: fid(); wide(); m.put(in.get<u32>() >> in.below(32)); break;
        case Request::write: {
            fid();
            m.put(in.flag() ? u64{in.get<u16>()} : ~u64{0} - in.get<u8>());
            const auto bytes = in.chunk(100);
            m.put(static_cast<u32>(bytes.size()));
            for (const u8 byte : bytes) {
                m.put(byte);
            }
            break;
        }
        case Request::lock: fid(); m.put(in.get<u8>()); number(); wide(); wide(); number(); name(); break;
        case Request::getlock: fid(); m.put(in.get<u8>()); wide(); wide(); number(); name(); break;
        case Request::link: fid(); fid(); name(); break;
        case Request::mkdir: fid(); name(); number(); number(); break;
        case Request::renameat: fid(); name(); fid(); name(); break;
        case Request::unlinkat: fid(); name(); number(); break;
        default: fid(); break;
    }
    return m.finished();
}

void ask(devices::p9::Server& server, std::span<const u8> request, std::size_t room) {
    // Of its own, so that reading behind it is seen.
    const std::vector<u8> own(request.begin(), request.end());
    const auto answer = server.answer(own, room);
    VMM_CHECK(answer.size() <= room);
    if (!answer.empty()) {
        u32 size = 0;
        VMM_CHECK(answer.size() >= devices::p9::kHeaderSize);
        std::memcpy(&size, answer.data(), 4);
        VMM_CHECK(size == answer.size());
    }
    VMM_CHECK(text_of(answer).find(Confined::kSecret) == std::string_view::npos);
}

}  // namespace
}  // namespace vmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm::fuzz;
    using namespace vmm::devices::p9;
    static const Confined folders;
    const std::span<const vmm::u8> input(data, size);
    if (text_of(input).find(Confined::kSecret) != std::string_view::npos) {
        return 0;  // libFuzzer learns what is compared: this input has the secret from the check in ask(), not from the server
    }
    FuzzInput in(input);
    folders.begin();
    auto folder = HostFolder::open(folders.inside().string(), in.below(4) == 3);
    VMM_CHECK(folder.has_value());
    Server server(*std::move(folder));
    if (in.below(8) != 7) {
        Message version, attach;
        version.put(vmm::u32{0}).put(vmm::u8{100}).put(vmm::u16{1}).put(vmm::u32{65536}).text("9P2000.L");
        ask(server, version.finished(), 65536);
        attach.put(vmm::u32{0}).put(vmm::u8{104}).put(vmm::u16{1}).put(vmm::u32{0}).put(~vmm::u32{0}).text("").text("").put(vmm::u32{0});
        ask(server, attach.finished(), 65536);
    }
    for (unsigned n = 0; n < kMostRequests && !in.empty(); ++n) {
        const vmm::u8 how = in.get<vmm::u8>();
        const std::size_t room = how % 16 == 15 ? in.below(64) : 8192;
        if (how < 224) {
            ask(server, some_request(in), room);
        } else {
            ask(server, in.chunk(255), room);
        }
    }
    server.reset();
    folders.check();
    return 0;
}
