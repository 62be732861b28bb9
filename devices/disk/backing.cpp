#include "devices/disk/backing.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "devices/disk/disk_file.h"
#include "devices/disk/qcow2.h"

namespace vmm::devices::disk {

namespace {

/// The path of a parent as the host knows it. Names with a colon before any slash are not paths: "nbd:...", "json:...".
Result<std::string> path_of(const BackingReference& reference, const Lineage& child) {
    static constexpr std::string_view kFileProtocol = "file:";
    std::string file = reference.file;
    if (file.starts_with(kFileProtocol)) {
        file.erase(0, kFileProtocol.size());
    } else if (const std::size_t colon = file.find(':'); colon < file.find('/')) {
        return fail("{}: its backing file \"{}\" is no path; must be a file or block device", child.name, file);
    }
    return (std::filesystem::path(child.path).parent_path() / file).string();
}

}  // namespace

Result<> Lineage::add(int fd) {
    struct stat info {};
    if (::fstat(fd, &info) != 0) {
        return fail_errno(errno, "{}: cannot examine it", name);
    }
    const auto same = [&info](const Layer& layer) {
        return layer.device == info.st_dev && layer.inode == info.st_ino;
    };
    if (std::any_of(layers.begin(), layers.end(), same)) {
        return fail("{}: is its own backing file, directly or through others", name);
    }
    if (layers.size() == kMaxLayers) {
        return fail("{}: the chain of backing files has more than {} images ('qemu-img rebase' makes it shorter)", name,
                    kMaxLayers);
    }
    layers.push_back({info.st_dev, info.st_ino});
    return {};
}

Result<std::unique_ptr<Image>> open_backing(const BackingReference& reference, Lineage lineage) {
    VMM_TRY(lineage.path, path_of(reference, lineage));
    const std::string disk = lineage.name.substr(0, lineage.name.find(": backing file "));
    lineage.name = fmt::format("{}: backing file {}", disk, lineage.path);
    const bool any = reference.format.empty();
    const bool raw = reference.format == "raw" || reference.format == "file" || reference.format == "host_device";
    if (!any && !raw && reference.format != "qcow2") {
        return fail("{}: has the format \"{}\"; must be raw or qcow2", lineage.name, reference.format);
    }
    lineage.declared = !any;
    VMM_TRY(DiskFile file, open_disk_file(lineage.path, false, lineage.name));
    if (!raw && (!any || looks_like_qcow2(file.fd.get()))) {
        return open_qcow2(std::move(file.fd), std::move(lineage));
    }
    VMM_TRY_VOID(lineage.add(file.fd.get()));
    return make_raw_image(std::move(file.fd), file.size);
}

}  // namespace vmm::devices::disk
