#include "vmm/perf_data_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <concepts>

#include "vmm/base/bits.h"
#include "vmm/base/check.h"

#ifndef VMM_VERSION
#define VMM_VERSION "unknown"
#endif

namespace vmm {

namespace {

// ── The numbers of the format: perf's record types, flags and features ─────────────────────────────────────

enum RecordType : u32 {
    kComm = 3,
    kMmap2 = 10,
    kAux = 11,
    kItraceStart = 12,
    kLostSamples = 13,
    kAuxtraceInfo = 70,
    kAuxtrace = 71,
    kTimeConv = 79,
};

constexpr u16 kMiscKernel = 1;
constexpr u16 kMiscUser = 2;
constexpr u16 kMiscMmapData = 1 << 13;
constexpr u16 kMiscMmapBuildId = 1 << 14;

constexpr u64 kAuxTruncated = 1;
constexpr u32 kAuxtraceArmSpe = 4;

enum SampleType : u64 { kIp = 1, kTid = 2, kTime = 4, kCpu = 128, kIdentifier = 1 << 16 };
constexpr u64 kSampleType = kIp | kTid | kTime | kCpu | kIdentifier;

enum AttributeFlag : u64 {
    kMmapFlag = u64{1} << 8,
    kCommFlag = u64{1} << 9,
    kTask = u64{1} << 13,
    kMmapDataFlag = u64{1} << 17,
    kSampleIdAll = u64{1} << 18,
    kMmap2Flag = u64{1} << 23,
};

enum Feature : unsigned {
    kHostName = 3,
    kOsRelease = 4,
    kVersion = 5,
    kArch = 6,
    kCpuCount = 7,
    kCpuId = 9,
    kTotalMemory = 10,
    kEventDescription = 12,
    kPmuMappings = 16,
};

constexpr u64 kHeaderSize = 104;
constexpr u32 kAttributesSize = 128;
constexpr u64 kEventId = 1;
constexpr u64 kIdsOffset = kHeaderSize;
constexpr u64 kAttributesOffset = kIdsOffset + sizeof(u64);
constexpr u64 kDataOffset = kAttributesOffset + kAttributesSize + 16;
constexpr u64 kDataSizeOffset = 48;  // in the header

// The PMU is one of those that have no fixed type number: any above the fixed ones will do, as the file says
// which.
constexpr u32 kSpePmuType = 8;
constexpr const char* kEventName = "arm_spe_0/ts_enable=1,pa_enable=1,jitter=1/";
constexpr u64 kEventConfig = 1 | 1 << 1 | 1 << 16;

constexpr u32 kKernelPid = ~u32{0};
constexpr u32 kMaxFileName = 4096;
constexpr u64 kNsPerSecond = 1'000'000'000;

/// As the kernel shows a counter's frequency: ns = (count * multiplier) >> shift.
struct TimeScale {
    u64 shift = 0;
    u64 multiplier = 0;
};

TimeScale time_scale(u64 hz) {
    u64 shift = 32;
    const auto multiplier = [&] {
        return static_cast<u64>((static_cast<unsigned __int128>(kNsPerSecond) << shift) / hz);
    };
    while (shift > 0 && multiplier() > 0xFFFF'FFFF) {
        --shift;
    }
    return {shift, multiplier()};
}

}  // namespace

// ── Bytes ──────────────────────────────────────────────────────────────────────────────────────────────────

template <class T>
void PerfDataWriter::Bytes::put(T value) {
    static_assert(std::unsigned_integral<T>);
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        bytes_.push_back(static_cast<u8>(u64{value} >> (8 * i)));
    }
}

void PerfDataWriter::Bytes::put_text(std::string_view text, std::size_t alignment) {
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    bytes_.resize(bytes_.size() + align_up(text.size() + 1, alignment) - text.size());
}

// ── Records ────────────────────────────────────────────────────────────────────────────────────────────────

void PerfDataWriter::add_event(u32 type, u16 misc, const Bytes& body, const Origin& origin) {
    constexpr std::size_t kOriginSize = 32;
    pending_.put<u32>(type);
    pending_.put<u16>(misc);
    pending_.put<u16>(static_cast<u16>(8 + body.size() + kOriginSize));
    pending_.append(body);
    pending_.put<u32>(origin.pid);
    pending_.put<u32>(origin.tid);
    pending_.put<u64>(origin.ns);
    pending_.put<u32>(origin.cpu);
    pending_.put<u32>(0);
    pending_.put<u64>(kEventId);
}

void PerfDataWriter::add_user_event(u32 type, const Bytes& body) {
    pending_.put<u32>(type);
    pending_.put<u16>(0);
    pending_.put<u16>(static_cast<u16>(8 + body.size()));
    pending_.append(body);
}

/// What every trace begins with. perf wants the time conversion before the trace's description.
void PerfDataWriter::add_start() {
    const TimeScale scale = time_scale(facts_.counter_hz);
    Bytes time;
    time.put<u64>(scale.shift);
    time.put<u64>(scale.multiplier);
    time.put<u64>(0);  // ns when the counter was zero
    time.put<u64>(0);  // no short counter: cycles and mask are unused
    time.put<u64>(~u64{0});
    time.put<u64>(1);  // ... and the conversion above is valid
    add_user_event(kTimeConv, time);

    Bytes info;
    info.put<u32>(kAuxtraceArmSpe);
    info.put<u32>(0);
    info.put<u64>(kSpePmuType);
    info.put<u64>(1);  // a buffer per CPU
    add_user_event(kAuxtraceInfo, info);

    for (u32 cpu = 0; cpu < facts_.cpus; ++cpu) {
        Bytes start;
        start.put<u32>(0);
        start.put<u32>(0);
        add_event(kItraceStart, 0, start, {.cpu = cpu});
    }
}

void PerfDataWriter::add_command(u32 pid, std::string_view name) {
    constexpr std::size_t kMaxCommand = 15;  // what the kernel keeps of a name
    Bytes body;
    body.put<u32>(pid);
    body.put<u32>(pid);
    body.put_text(name.substr(0, kMaxCommand), 8);
    add_event(kComm, kMiscUser, body, {pid, pid});
}

void PerfDataWriter::add_file(u32 pid, u16 misc, const PerfMapping& mapping) {
    constexpr u32 kRead = 1;
    constexpr u32 kExecute = 4;
    constexpr u32 kPrivate = 2;
    Bytes body;
    body.put<u32>(pid);
    body.put<u32>(pid);
    body.put<u64>(mapping.va);
    body.put<u64>(mapping.size);
    body.put<u64>(mapping.file_offset);
    body.put<u64>(0);  // device, inode and its generation: not told
    body.put<u64>(0);
    body.put<u64>(0);
    body.put<u32>(mapping.executable ? kRead | kExecute : kRead);
    body.put<u32>(kPrivate);
    body.put_text(std::string_view(mapping.file).substr(0, kMaxFileName - 1), 8);
    add_event(kMmap2, misc, body, {pid, pid});
}

void PerfDataWriter::add_mapping(u32 pid, const PerfMapping& mapping) {
    add_file(pid, mapping.executable ? kMiscUser : kMiscUser | kMiscMmapData, mapping);
}

/// The file is shown as a module. perf takes a module's first byte for the file's: so the mapping is made to
/// begin there.
void PerfDataWriter::add_privileged_mapping(const PerfMapping& mapping) {
    PerfMapping whole = mapping;
    whole.va -= mapping.file_offset;
    whole.size += mapping.file_offset;
    whole.file_offset = 0;
    add_file(kKernelPid, kMiscKernel, whole);
}

void PerfDataWriter::add_kernel(u64 start, u64 size, std::span<const u8> build_id) {
    constexpr std::size_t kBuildIdBytes = 20;
    constexpr u32 kReadExecute = 5;
    build_id = build_id.first(std::min(build_id.size(), kBuildIdBytes));
    Bytes body;
    body.put<u32>(kKernelPid);
    body.put<u32>(0);
    body.put<u64>(start);
    body.put<u64>(size);
    // The address of the symbol in the name below would go here, and perf then insist on finding it in
    // --kallsyms, where arm64 has none. So symbols are taken where the guest has them.
    body.put<u64>(0);
    body.put<u32>(static_cast<u32>(build_id.size()));
    body.put_bytes(build_id);
    for (std::size_t i = build_id.size(); i < kBuildIdBytes; ++i) {
        body.put<u8>(0);
    }
    body.put<u32>(kReadExecute);
    body.put<u32>(0);
    body.put_text("[kernel.kallsyms]_text", 8);
    add_event(kMmap2, build_id.empty() ? kMiscKernel : kMiscKernel | kMiscMmapBuildId, body, {kKernelPid, 0});
}

void PerfDataWriter::add_records(unsigned cpu, std::span<const u8> records, u64 last_count, u64 lost) {
    VMM_CHECK(cpu < facts_.cpus);
    const Origin origin{.ns = to_ns(last_count), .cpu = cpu};
    if (!records.empty()) {
        Bytes trace;
        trace.put<u64>(records.size());
        trace.put<u64>(aux_offsets_[cpu]);
        trace.put<u64>(0);        // reference
        trace.put<u32>(cpu);      // number of the buffer
        trace.put<u32>(~u32{0});  // of no single thread
        trace.put<u32>(cpu);
        trace.put<u32>(0);
        add_user_event(kAuxtrace, trace);
        pending_.put_bytes(records);
    }
    Bytes aux;
    aux.put<u64>(aux_offsets_[cpu]);
    aux.put<u64>(records.size());
    aux.put<u64>(lost != 0 ? kAuxTruncated : 0);
    add_event(kAux, 0, aux, origin);
    aux_offsets_[cpu] += records.size();
    if (lost != 0) {
        Bytes body;
        body.put<u64>(lost);
        add_event(kLostSamples, 0, body, origin);
    }
}

u64 PerfDataWriter::to_ns(u64 count) const {
    return static_cast<u64>(static_cast<unsigned __int128>(count) * kNsPerSecond / facts_.counter_hz);
}

// ── The file around the records ────────────────────────────────────────────────────────────────────────────

PerfDataWriter::Bytes PerfDataWriter::attributes(const PerfDataFacts& facts) {
    Bytes attr;
    attr.put<u32>(kSpePmuType);
    attr.put<u32>(kAttributesSize);
    attr.put<u64>(kEventConfig);
    attr.put<u64>(facts.period);
    attr.put<u64>(kSampleType);
    attr.put<u64>(0);  // read_format
    attr.put<u64>(kMmapFlag | kCommFlag | kTask | kMmapDataFlag | kSampleIdAll | kMmap2Flag);
    while (attr.size() < kAttributesSize) {
        attr.put<u64>(0);
    }
    return attr;
}

PerfDataWriter::Bytes PerfDataWriter::header(u64 features) const {
    Bytes out;
    constexpr std::string_view kMagic = "PERFILE2";
    out.put_bytes({reinterpret_cast<const u8*>(kMagic.data()), kMagic.size()});
    out.put<u64>(kHeaderSize);
    out.put<u64>(kAttributesSize + 16);
    out.put<u64>(kAttributesOffset);
    out.put<u64>(kAttributesSize + 16);
    out.put<u64>(kDataOffset);
    out.put<u64>(data_size_);
    out.put<u64>(0);  // event types: of old
    out.put<u64>(0);
    out.put<u64>(features);
    while (out.size() < kHeaderSize) {
        out.put<u64>(0);
    }
    return out;
}

/// Feature sections in the order of their numbers: first the table of all, then their content.
PerfDataWriter::Bytes PerfDataWriter::feature_sections(u64& features) const {
    const auto text = [](Bytes& to, std::string_view value) {
        constexpr std::size_t kAlignment = 64;
        to.put<u32>(static_cast<u32>(align_up(value.size() + 1, kAlignment)));
        to.put_text(value, kAlignment);
    };
    struct Section {
        Feature feature;
        Bytes content;
    };
    std::vector<Section> sections;
    const auto add = [&sections](Feature feature) -> Bytes& {
        return sections.emplace_back(Section{feature, {}}).content;
    };
    text(add(kHostName), facts_.host_name);
    text(add(kOsRelease), facts_.os_release);
    text(add(kVersion), "vmm " VMM_VERSION);
    text(add(kArch), "aarch64");
    Bytes& count = add(kCpuCount);
    count.put<u32>(facts_.cpus);
    count.put<u32>(facts_.cpus);
    text(add(kCpuId), fmt::format("0x{:016x}", facts_.midr));
    add(kTotalMemory).put<u64>(facts_.memory >> 10);
    Bytes& event = add(kEventDescription);
    event.put<u32>(1);
    event.put<u32>(kAttributesSize);
    event.append(attributes(facts_));
    event.put<u32>(1);
    text(event, kEventName);
    event.put<u64>(kEventId);
    Bytes& pmus = add(kPmuMappings);
    pmus.put<u32>(1);
    pmus.put<u32>(kSpePmuType);
    text(pmus, "arm_spe_0");

    Bytes out;
    u64 offset = kDataOffset + data_size_ + sections.size() * 16;
    features = 0;
    for (const Section& section : sections) {
        features |= u64{1} << section.feature;
        out.put<u64>(offset);
        out.put<u64>(section.content.size());
        offset += section.content.size();
    }
    for (const Section& section : sections) {
        out.append(section.content);
    }
    return out;
}

Result<> PerfDataWriter::write_at(u64 offset, std::span<const u8> bytes) const {
    while (!bytes.empty()) {
        const ssize_t written = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return fail_errno(written < 0 ? errno : EIO, "cannot write");
        }
        offset += static_cast<u64>(written);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
}

Result<PerfDataWriter> PerfDataWriter::create(const std::string& path, const PerfDataFacts& facts) {
    VMM_CHECK(facts.cpus > 0 && facts.counter_hz > 0);
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
        return fail("is no regular file");
    }
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!fd) {
        return fail_errno(errno, "cannot create");
    }
    PerfDataWriter writer(std::move(fd), facts);
    writer.aux_offsets_.resize(facts.cpus);
    Bytes start = writer.header(0);
    start.put<u64>(kEventId);
    start.append(attributes(facts));
    start.put<u64>(kIdsOffset);
    start.put<u64>(sizeof(u64));
    VMM_CHECK(start.size() == kDataOffset);
    VMM_TRY_VOID(writer.write_at(0, start.bytes()));
    writer.add_start();
    VMM_TRY_VOID(writer.commit());
    return writer;
}

Result<> PerfDataWriter::commit() {
    if (pending_.size() == 0) {
        return {};
    }
    if (auto written = write_at(kDataOffset + data_size_, pending_.bytes()); !written) {
        // What did not fit entirely goes again, which also makes room for the feature sections.
        [[maybe_unused]] const int cut = ::ftruncate(fd_.get(), static_cast<off_t>(kDataOffset + data_size_));
        pending_.clear();
        return written;
    }
    Bytes size;
    size.put<u64>(data_size_ + pending_.size());
    VMM_TRY_VOID(write_at(kDataSizeOffset, size.bytes()));
    data_size_ += pending_.size();
    pending_.clear();
    return {};
}

Result<> PerfDataWriter::finish() {
    VMM_TRY_VOID(commit());
    u64 features = 0;
    const Bytes sections = feature_sections(features);
    VMM_TRY_VOID(write_at(kDataOffset + data_size_, sections.bytes()));
    return write_at(0, header(features).bytes());
}

}  // namespace vmm
