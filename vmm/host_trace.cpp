#include "vmm/host_trace.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "vmm/base/log.h"

namespace vmm {

namespace {

constexpr std::size_t kBufferBytes = std::size_t{4} << 20;  // per vCPU
constexpr unsigned kDrainMs = 200;                          // at least that often
// A guest may write any number to CONTEXTIDR_EL1. Later contexts keep their number, but get no name and no
// mappings.
constexpr std::size_t kMaxContexts = 32768;

std::string absolute(const std::string& path) {
    char resolved[PATH_MAX];
    return ::realpath(path.c_str(), resolved) != nullptr ? std::string(resolved) : path;
}

std::string base_name(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

/// Adds what one or several segments show of the file at a distance of `shift` from its offsets.
void add_stretch(std::vector<PerfMapping>& mappings, u64 shift, const KernelSegment& segment,
                 const std::string& file) {
    const u64 va = shift + segment.offset;
    for (PerfMapping& known : mappings) {
        if (known.va - known.file_offset == shift) {
            const u64 begin = std::min(known.file_offset, segment.offset);
            known.size =
                std::max(known.file_offset + known.size, segment.offset + segment.memory_bytes) - begin;
            known.va = shift + begin;
            known.file_offset = begin;
            known.executable |= segment.executable;
            return;
        }
    }
    mappings.push_back({va, segment.memory_bytes, segment.offset, segment.executable, file});
}

}  // namespace

std::vector<u8> find_build_id(std::span<const u8> image) {
    // Sizes of name and content, type NT_GNU_BUILD_ID, name.
    static constexpr u8 kNote[] = {4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0};
    constexpr std::size_t kBuildIdBytes = 20;
    const auto at = std::find_end(image.begin(), image.end(), std::begin(kNote), std::end(kNote));
    const auto offset = static_cast<std::size_t>(at - image.begin()) + sizeof(kNote);
    if (at == image.end() || image.size() - offset < kBuildIdBytes) {
        return {};
    }
    const std::span<const u8> id = image.subspan(offset, kBuildIdBytes);
    return {id.begin(), id.end()};
}

GuestCode guest_code(const MachineConfig& config, const BootFiles& files, const BootPlan& plan) {
    GuestCode code;
    if (files.kernel.kind == KernelImage::Kind::image) {
        code.name = config.name;
        code.kernel = plan.kernel;
        code.build_id = find_build_id(files.kernel.bytes);
        return code;
    }
    code.name = base_name(config.kernel);
    const std::string file = absolute(config.kernel);
    for (const KernelSegment& segment : files.kernel.segments) {
        if (segment.memory_bytes != 0) {
            // A program runs at its link addresses or, with the MMU off, where it was loaded.
            add_stretch(code.mappings, segment.va - segment.offset, segment, file);
            add_stretch(code.mappings, segment.pa - segment.offset, segment, file);
        }
    }
    return code;
}

Result<std::unique_ptr<HostTrace>> HostTrace::create(const std::string& path, const PerfDataFacts& facts,
                                                     GuestCode code) {
    ::signal(SIGXFSZ, SIG_IGN);  // a file size limit is an error like a full disk
    const auto named = [&path](Error error) {
        error.text = fmt::format("--spe-host-trace \"{}\": {}", path, error.text);
        return error;
    };
    VMM_TRY(PerfDataWriter writer, PerfDataWriter::create(path, facts).map_error(named));
    std::unique_ptr<HostTrace> trace(new HostTrace(path, std::move(writer), facts.cpus, std::move(code)));
    trace->introduce(0);
    trace->introduce_privileged();
    VMM_TRY_VOID(trace->writer_.commit().map_error(named));
    trace->thread_ = std::thread([trace = trace.get()] { trace->thread_main(); });
    pthread_setname_np(trace->thread_.native_handle(), "host-trace");
    return trace;
}

HostTrace::HostTrace(std::string path, PerfDataWriter writer, unsigned cpus, GuestCode code)
    : path_(std::move(path)), code_(std::move(code)), writer_(std::move(writer)) {
    for (unsigned i = 0; i < cpus; ++i) {
        buffers_.push_back(std::make_unique<spe::TraceBuffer>(kBufferBytes, signal_));
    }
}

HostTrace::~HostTrace() {
    [[maybe_unused]] const Result<> result = finish();
}

void HostTrace::thread_main() {
    while (!stopping_.load(std::memory_order_relaxed)) {
        signal_.wait(kDrainMs);
        drain();
    }
}

void HostTrace::stop() {
    stopping_.store(true, std::memory_order_relaxed);
    signal_.raise();
    if (thread_.joinable()) {
        thread_.join();
    }
}

Result<> HostTrace::finish() {
    if (!finished_) {
        finished_ = true;
        stop();
        drain();
        note(writer_.finish());
        if (lost_ != 0 && result_) {
            log("spe").warn("--spe-host-trace \"{}\": {} samples were lost: the file could not keep up",
                            path_, lost_);
        }
    }
    return result_;
}

void HostTrace::drain() {
    for (unsigned cpu = 0; cpu < buffers_.size(); ++cpu) {
        buffers_[cpu]->take(batch_);
        if (!batch_.records.empty() && result_) {
            store(cpu, batch_);
        }
    }
    if (result_) {
        note(writer_.commit());
    }
}

void HostTrace::store(unsigned cpu, const spe::TraceBatch& batch) {
    for (const u32 context : batch.contexts) {
        introduce(context);
    }
    locate_kernel(batch);
    writer_.add_records(cpu, batch.records, batch.last_timestamp, batch.lost);
    lost_ += batch.lost;
}

/// perf takes the context for a thread: it needs a name and a map of memory.
void HostTrace::introduce(u32 context) {
    if (contexts_.size() >= kMaxContexts || !contexts_.insert(context).second) {
        return;
    }
    writer_.add_command(context, context == 0 ? code_.name : fmt::format("pid {}", context));
    for (const PerfMapping& mapping : code_.mappings) {
        writer_.add_mapping(context, mapping);
    }
}

/// perf gives instruction addresses at EL1 the top byte 0xFF, and leaves data addresses alone.
void HostTrace::introduce_privileged() {
    constexpr u64 kTopByte = u64{0xFF} << 56;
    for (PerfMapping mapping : code_.mappings) {
        if (mapping.va >= mapping.file_offset && mapping.va < kTopByte) {
            writer_.add_privileged_mapping(mapping);
        }
        mapping.va |= kTopByte;
        writer_.add_privileged_mapping(mapping);
    }
}

void HostTrace::locate_kernel(const spe::TraceBatch& batch) {
    for (const spe::CodePlace& place : batch.code) {
        if (!kernel_located_ && code_.kernel.size != 0 && place.pa >= code_.kernel.pa &&
            place.pa < code_.kernel.end()) {
            writer_.add_kernel(place.va - (place.pa - code_.kernel.pa), code_.kernel.size, code_.build_id);
            kernel_located_ = true;
        }
    }
}

void HostTrace::note(Result<> result) {
    if (!result && result_) {
        result_ = fail("--spe-host-trace \"{}\": {}", path_, result.error().text);
    }
}

}  // namespace vmm
