#include "vmm/module_tree.h"

#include <algorithm>
#include <filesystem>

#include "vmm/decompress.h"
#include "vmm/kernel_image.h"

namespace vmm {

namespace {

constexpr u64 kMaxIndex = u64{64} << 20;
constexpr u64 kMaxModule = u64{256} << 20;

std::string_view base_name(std::string_view path) {
    return path.substr(path.rfind('/') + 1);
}

/// "kernel/drivers/perf/arm-spe.ko.xz" → "arm_spe", as lsmod says it.
std::string module_name(std::string_view path) {
    const std::string_view base = base_name(path);
    std::string name(base.substr(0, base.find(".ko")));
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

std::string_view take_line(std::string_view& text) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    return line;
}

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    while (!line.empty()) {
        const std::string_view word = line.substr(0, line.find(' '));
        line.remove_prefix(std::min(word.size() + 1, line.size()));
        if (!word.empty()) {
            words.push_back(word);
        }
    }
    return words;
}

std::string to_text(const std::vector<u8>& bytes) {
    return {bytes.begin(), bytes.end()};
}

}  // namespace

Result<ModuleTree> ModuleTree::open(const std::string& folder) {
    namespace fs = std::filesystem;
    ModuleTree tree;
    tree.folder_ = folder;
    std::error_code error;
    if (!fs::exists(folder + "/modules.dep", error)) {
        std::vector<std::string> versions;
        for (fs::directory_iterator at(folder + "/lib/modules", error), end; !error && at != end; at.increment(error)) {
            if (fs::exists(at->path() / "modules.dep", error)) {
                versions.push_back(at->path().string());
            }
        }
        if (versions.size() != 1) {
            return fail("--modules \"{}\": must be a folder with modules.dep (depmod makes it), or with one "
                        "lib/modules/VERSION that has it; found {}",
                        folder, versions.size());
        }
        tree.folder_ = versions.front();
    }
    const auto named = [&](Error cause) {
        cause.text = fmt::format("--modules \"{}/modules.dep\": {}", tree.folder_, cause.text);
        return cause;
    };
    VMM_TRY(const std::vector<u8> dependencies, read_file(tree.folder_ + "/modules.dep", kMaxIndex).map_error(named));
    tree.dependencies_ = to_text(dependencies);
    if (const auto built_in = read_file(tree.folder_ + "/modules.builtin", kMaxIndex)) {
        tree.built_in_ = to_text(*built_in);
    }
    return tree;
}

bool ModuleTree::is_built_in(std::string_view name) const {
    std::string_view rest = built_in_;
    while (!rest.empty()) {
        if (module_name(take_line(rest)) == name) {
            return true;
        }
    }
    return false;
}

Result<KernelModule> ModuleTree::load(const std::string& path) const {
    const std::string file = path.front() == '/' ? path : folder_ + "/" + path;
    const auto named = [&file](Error error) {
        error.text = fmt::format("--modules \"{}\": {}", file, error.text);
        return error;
    };
    KernelModule module;
    const std::string_view base = base_name(path);
    module.file_name = base.substr(0, base.find(".ko") + 3);
    VMM_TRY(module.content, read_file(file, kMaxModule).map_error(named));
    if (base.ends_with(".xz")) {
        VMM_TRY(module.content, decompress_xz(module.content, kMaxModule).map_error(named));
    } else if (base.ends_with(".zst")) {
        VMM_TRY(module.content, decompress_zstd(module.content, kMaxModule).map_error(named));
    } else if (base.ends_with(".gz")) {
        VMM_TRY(module.content, decompress_gzip(module.content, kMaxModule).map_error(named));
    }
    return module;
}

Result<> ModuleTree::add(std::string_view wanted, Absent absent, std::vector<KernelModule>& modules) const {
    std::string name(wanted);
    std::replace(name.begin(), name.end(), '-', '_');
    // A line is "FILE: FILE...": what the first one needs, with what must be loaded first at the end.
    std::string_view rest = dependencies_;
    while (!rest.empty()) {
        const std::string_view line = take_line(rest);
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || module_name(line.substr(0, colon)) != name) {
            continue;
        }
        std::vector<std::string_view> paths = words_of(line.substr(colon + 1));
        std::reverse(paths.begin(), paths.end());
        paths.push_back(line.substr(0, colon));
        for (const std::string_view path : paths) {
            VMM_TRY(KernelModule module, load(std::string(path)));
            const auto same = [&](const KernelModule& other) { return other.file_name == module.file_name; };
            if (std::none_of(modules.begin(), modules.end(), same)) {
                modules.push_back(std::move(module));
            }
        }
        return {};
    }
    if (absent == Absent::skip || is_built_in(name)) {
        return {};
    }
    return fail("--modules \"{}\": has no module \"{}\"", folder_, wanted);
}

}  // namespace vmm
