// What a guest says over the second UART and prints to its console: records in any order, files for the host, texts.
#include <fcntl.h>

#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/host_files.h"
#include "tests/fuzz/target.h"
#include "vmm/guest_channel.h"
#include "vmm/guest_init/protocol.h"
#include "vmm/run_report.h"

namespace vmm::fuzz {
namespace {

constexpr unsigned kMostActions = 200;

struct NullSink final : devices::ByteSink {
    void put(std::span<const u8>) override {}
};

constexpr std::array<u8, 13> kTypes{VMM_SAID_HELLO, VMM_SAID_NOTE, VMM_SAID_BEGIN, VMM_SAID_OUT,
                                    VMM_SAID_ERR, VMM_SAID_EXIT, VMM_SAID_ENTRY, VMM_SAID_DATA,
                                    VMM_SAID_ENTRY_END, VMM_SAID_COPY_END, VMM_SAID_DONE, 'q',
                                    VMM_SAID_WANT};
constexpr std::array<std::string_view, 24> kPaths{
    "", "a", "b", "a/b", "a/b/c", "..", ".", "/", "../outside/secret", "/etc/passwd", "a/../../outside/new", "d", "d/g",
    "f", "l", "s", "l/new", "s/x", "d/l/new", "a//b", "a/", std::string_view("a\0b", 3), "../outside", "/tmp"};

class Conversation {
  public:
    Conversation(const Confined& folders, FuzzInput& in)
        : console_(in.flag(), [] {}),
          channel_(sink_, sink_,
                   {{"/g/new", (folders.inside() / "new").string()},
                    {"/g/folder", (folders.inside() / "d").string()},
                    {"/g/file", (folders.inside() / "f").string()}},
                   [] {}) {
        if (in.flag()) {
            channel_.offer_input([](u32 size) { VMM_CHECK(size >= 1 && size <= VMM_MAX_INPUT); });
        }
    }

    void act(FuzzInput& in) {
        const u8 how = in.get<u8>();
        if (how >= 240) {
            put(in.chunk(255));
        } else if (how >= 224) {
            console_.put(in.chunk(255));
        } else {
            record(in, kTypes[how % kTypes.size()], how / 12 % 4 == 3);
        }
    }

    /// All that is told of it afterwards.
    void report(FuzzInput& in) {
        MachineConfig config;
        config.exec.commands = {"true", "false"};
        RunReport report;
        report.end = {EndKind::command_failed, in.text(100), 1};
        report.console = &console_;
        report.progress = channel_.progress();
        (void)channel_.take_notes();
        const std::string json = to_json(config, report).dump(1, ' ', false, Json::error_handler_t::replace);
        VMM_CHECK(Json::accept(json));
        (void)to_junit(config, report);
        (void)console_.trouble();
    }

  private:
    void put(std::span<const u8> bytes) {
        const std::vector<u8> own(bytes.begin(), bytes.end());
        channel_.put(own);
    }
    void record(FuzzInput& in, u8 type, bool split) {
        std::vector<u8> payload;
        const auto add = [&](auto value) {
            const auto* from = reinterpret_cast<const u8*>(&value);
            payload.insert(payload.end(), from, from + sizeof value);
        };
        switch (type) {
            case VMM_SAID_HELLO: add(u32{in.get<u8>() < 250 ? 1u : 2u}); add(u32{0}); add(u64{in.get<u32>()}); break;
            case VMM_SAID_EXIT: add(u32{in.get<u8>()} % 3); add(u32{in.get<u16>()}); add(in.get<u64>()); break;
            case VMM_SAID_COPY_END: add(u32{in.get<u8>()} % 4); add(u32{in.get<u8>()}); break;
            case VMM_SAID_ENTRY: {
                add(u32{in.get<u8>()} % 4);
                constexpr std::array<u32, 6> kModes{S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, 0, ~u32{0}};
                add(in.pick(kModes) | (in.get<u16>() & 07777u));
                const std::string_view path = in.pick(kPaths);
                payload.insert(payload.end(), path.begin(), path.end());
                break;
            }
            case VMM_SAID_DATA: {
                const std::string_view path = in.pick(kPaths);
                payload.insert(payload.end(), path.begin(), path.end());
                break;
            }
            case VMM_SAID_WANT: add(in.flag() ? in.get<u32>() : u32{in.get<u16>()}); break;
            case VMM_SAID_BEGIN:
            case VMM_SAID_ENTRY_END:
            case VMM_SAID_NOTE:
            case VMM_SAID_DONE: add(u32{in.get<u8>()} % 4); break;
            default: break;
        }
        const auto more = in.chunk(40);
        if (type != VMM_SAID_HELLO && (type == VMM_SAID_OUT || type == VMM_SAID_ERR || type == VMM_SAID_NOTE || more.size() > 30)) {
            payload.insert(payload.end(), more.begin(), more.end());
        }
        vmm_record header{{VMM_MAGIC_0, VMM_MAGIC_1}, type, 0, static_cast<u32>(payload.size())};
        std::vector<u8> bytes(sizeof header);
        std::memcpy(bytes.data(), &header, sizeof header);
        bytes.insert(bytes.end(), payload.begin(), payload.end());
        const std::size_t first = split ? in.below(static_cast<unsigned>(bytes.size())) : bytes.size();
        put(std::span(bytes).first(first));
        put(std::span(bytes).subspan(first));
    }

    NullSink sink_;
    ConsoleWatch console_;
    GuestChannel channel_;
};

}  // namespace
}  // namespace vmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm::fuzz;
    static const Confined folders;
    folders.begin();
    FuzzInput in({data, size});
    {
        Conversation conversation(folders, in);
        for (unsigned n = 0; n < kMostActions && !in.empty(); ++n) {
            conversation.act(in);
        }
        conversation.report(in);
    }
    folders.check();
    return 0;
}
