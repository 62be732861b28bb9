// Backing files: a qcow2 image may have the parts that it does not hold itself in another image, its parent.
//
// Parents are raw or qcow2 images in files or block devices, and are only read. A relative path counts from the folder of the
// image that names it. What makes up one disk is a chain without loops of at most kMaxLayers images.
#pragma once

#include <sys/types.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "devices/disk/image.h"

namespace vmm::devices::disk {

inline constexpr std::size_t kMaxLayers = 64;

/// What an image says about its parent.
struct BackingReference {
    std::string file;    // as written; empty: there is no parent
    std::string format;  // empty: not said
};

/// The images from the user's one to the one that is being opened.
struct Lineage {
    struct Layer {
        dev_t device;
        ino_t inode;
    };
    std::string name;  // begins all errors
    std::string path;  // of the image that is being opened
    bool declared = false;  // its format, by the user or by its child
    std::vector<Layer> layers;

    /// Adds an open file; an error where it is there already, or the chain too long.
    Result<> add(int fd);
};

/// Opens the parent of `lineage.path`, and so on.
Result<std::unique_ptr<Image>> open_backing(const BackingReference& reference, Lineage lineage);

}  // namespace vmm::devices::disk
