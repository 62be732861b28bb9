#include "vmm/guest_files.h"

#include <algorithm>
#include <filesystem>

#include "vmm/cpio.h"
#include "vmm/guest_init/protocol.h"
#include "vmm/guest_init_image.h"
#include "vmm/kernel_image.h"
#include "vmm/module_tree.h"

namespace vmm {

namespace {

constexpr std::size_t kMaxRunFile = std::size_t{1} << 20;  // what the init has room for
constexpr std::size_t kArchiveAlignment = 512;
constexpr u64 kMaxScript = u64{64} << 20;

auto named(std::string option) {
    return [option = std::move(option)](Error error) {
        error.text = option + " " + error.text;
        return error;
    };
}

void add_record(std::vector<u8>& out, vmm_run_type type, std::string_view text) {
    const vmm_record record{{VMM_MAGIC_0, VMM_MAGIC_1}, static_cast<u8>(type), 0, static_cast<u32>(text.size() + 1)};
    const auto* bytes = reinterpret_cast<const u8*>(&record);
    out.insert(out.end(), bytes, bytes + sizeof(record));
    out.insert(out.end(), text.begin(), text.end());
    out.push_back(0);
}

/// Modules the guest shall load, in order.
Result<std::vector<KernelModule>> modules_for(const MachineConfig& config) {
    std::vector<KernelModule> modules;
    if (config.exec.modules.empty()) {
        return modules;
    }
    struct Wish {
        const char* name;
        bool wanted;
    };
    const bool console = config.console == ConsoleKind::virtio || !config.console_ports.empty();
    const bool shares = !config.shares.empty();
    const bool networks = !config.networks.empty();
    const bool root = config.exec.root_image;
    const bool disks = !config.disks.empty() || root;
    const Wish wishes[] = {{"virtio_mmio", disks || shares || networks || config.rng || console},
                           {"virtio_blk", disks},
                           {"crc32c_generic", root},  // asked for by its algorithm's name, not by dependency
                           {config.exec.root_type.c_str(), root},
                           {"9pnet_virtio", shares},
                           {"9p", shares},
                           {"virtio_net", networks},
                           {"virtio_rng", config.rng},
                           {"virtio_console", console},
                           {"arm_spe_pmu", config.spe.enabled}};
    VMM_TRY(const ModuleTree tree, ModuleTree::open(config.exec.modules));
    for (const Wish& wish : wishes) {
        if (wish.wanted) {
            VMM_TRY_VOID(tree.add(wish.name, ModuleTree::Absent::skip, modules));
        }
    }
    for (const std::string& name : config.exec.module_names) {
        VMM_TRY_VOID(tree.add(name, ModuleTree::Absent::error, modules));
    }
    return modules;
}

Result<> add_modules(const MachineConfig& config, CpioWriter& archive, std::vector<u8>& run) {
    VMM_TRY(const std::vector<KernelModule> modules, modules_for(config));
    VMM_TRY_VOID(archive.add_folder(VMM_MODULE_FOLDER));
    for (const KernelModule& module : modules) {
        const std::string path = fmt::format("{}/{}", VMM_MODULE_FOLDER, module.file_name);
        VMM_TRY_VOID(archive.add_file(path, 0644, module.content));
        add_record(run, VMM_RUN_MODULE, path);
    }
    return {};
}

/// Each in a folder of its own; the guest's init moves them.
Result<> add_copies(const ExecConfig& exec, CpioWriter& archive, std::vector<u8>& run) {
    unsigned number = 0;
    for (const CopyPaths& copy : exec.copy_in) {
        std::string name = std::filesystem::path(copy.from).filename().string();
        if (name.empty()) {  // "folder/"
            name = std::filesystem::path(copy.from).parent_path().filename().string();
        }
        if (name.empty() || name == "..") {
            return fail_usage("--copy-in \"{}:{}\": the file or folder needs a name", copy.from, copy.to);
        }
        const std::string folder = fmt::format("{}/{}", VMM_COPY_IN_FOLDER, number++);
        VMM_TRY_VOID(archive.add_folder(folder));
        // "folder/." is what is in the folder.
        const std::string path = name == "." ? folder + "/content" : folder + "/" + name;
        VMM_TRY_VOID(archive.add_tree(copy.from, path).map_error(named("--copy-in")));
        add_record(run, VMM_RUN_COPY_IN, name == "." ? path + "/." : path);
        add_record(run, VMM_RUN_COPY_IN, copy.to);
    }
    return {};
}

Result<> add_script(const ExecConfig& exec, CpioWriter& archive, std::vector<u8>& run) {
    if (exec.script.empty()) {
        return {};
    }
    VMM_TRY(const std::vector<u8> content,
            read_file(exec.script, kMaxScript).map_error(named(fmt::format("--script \"{}\":", exec.script))));
    VMM_TRY_VOID(archive.add_file(VMM_SCRIPT_PATH, 0755, content));
    add_record(run, VMM_RUN_SCRIPT, VMM_SCRIPT_PATH);
    return {};
}

Result<std::vector<u8>> make_addition(const MachineConfig& config, u64 limit) {
    CpioWriter archive(limit);
    std::vector<u8> run;
    VMM_TRY_VOID(archive.add_folder("/dev"));
    VMM_TRY_VOID(archive.add_device("/dev/console", S_IFCHR | 0600, 5, 1));
    VMM_TRY_VOID(archive.add_folder("/.vmm"));
    VMM_TRY_VOID(archive.add_file(VMM_INIT_PATH, 0755, guest_init_image()));
    if (config.exec.root_image) {
        add_record(run, VMM_RUN_ROOT, config.exec.root_type);
    }
    add_record(run, VMM_RUN_HOST_NAME, config.name);
    VMM_TRY_VOID(add_modules(config, archive, run));
    VMM_TRY_VOID(add_copies(config.exec, archive, run));
    VMM_TRY_VOID(add_script(config.exec, archive, run));
    add_record(run, VMM_RUN_CWD, config.exec.cwd);
    for (const std::string& setting : config.exec.environment) {
        add_record(run, VMM_RUN_ENV, setting);
    }
    for (const ConsolePortConfig& port : config.console_ports) {
        add_record(run, VMM_RUN_PORT, port.name);
    }
    if (config.exec.standard_input) {
        add_record(run, VMM_RUN_INPUT, "");
    }
    for (const std::string& command : config.exec.commands) {
        add_record(run, VMM_RUN_COMMAND, command);
    }
    for (const CopyPaths& copy : config.exec.copy_out) {
        add_record(run, VMM_RUN_COPY_OUT, copy.from);
    }
    if (run.size() > kMaxRunFile) {
        return fail_usage("--exec: commands and settings have {} bytes together; at most {} are accepted (see --script)",
                          run.size(), kMaxRunFile);
    }
    VMM_TRY_VOID(archive.add_file(VMM_RUN_PATH, 0600, run));
    return std::move(archive).finish();
}

}  // namespace

Result<std::vector<u8>> make_scripted_initrd(const MachineConfig& config, std::vector<u8> initrd, u64 limit) {
    if (!config.exec.root.empty() && !config.exec.root_image) {
        CpioWriter root(limit);
        VMM_TRY_VOID(root.add_tree(config.exec.root, "").map_error(named("--root")));
        VMM_TRY(initrd, std::move(root).finish());
    }
    initrd.resize((initrd.size() + kArchiveAlignment - 1) / kArchiveAlignment * kArchiveAlignment);
    VMM_TRY(const std::vector<u8> addition, make_addition(config, limit - std::min<u64>(limit, initrd.size())));
    initrd.insert(initrd.end(), addition.begin(), addition.end());
    return initrd;
}

}  // namespace vmm
