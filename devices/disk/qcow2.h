// Reads qcow2 images, versions 2 and 3: what qemu-img makes by default, with or without compressed clusters.
//
// Refused: external data files, extended L2 entries, encryption, images marked as corrupt. Snapshots inside an image are not
// looked at. Every offset and size in the file is checked before it is used. backing.h says what parents an image may have.
#pragma once

#include <memory>
#include <string>

#include "devices/disk/backing.h"
#include "devices/disk/image.h"

namespace vmm::devices::disk {

/// True where the file begins as a qcow2 image does.
bool looks_like_qcow2(int fd);

/// An image to be read only. Only one that is `declared` to be qcow2 may have parents: a guest that was given a raw disk can
/// make it look like an image with any file of the host as its parent.
Result<std::unique_ptr<Image>> open_qcow2(UniqueFd fd, const std::string& path, bool declared);

/// The image `lineage.path`, to which the chain has led so far.
Result<std::unique_ptr<Image>> open_qcow2(UniqueFd fd, Lineage lineage);

}  // namespace vmm::devices::disk
