#include "vmm/guest_init/root.h"

#include <linux/mount.h>

#include "vmm/guest_init/channel.h"
#include "vmm/guest_init/directory.h"

#define DISKS "/sys/block"
#define NEW_ROOT VMM_FOLDER "/disk"

enum { kTries = 200, kTryNanoseconds = 10000000 };

static int is_ours(const char* disk) {
    char path[128] = DISKS "/";
    char serial[32];
    text_append(path, sizeof(path), disk);
    text_append(path, sizeof(path), "/serial");
    const int fd = sys_open(path, O_RDONLY);
    if (fd < 0) {
        return 0;
    }
    const long size = sys_read(fd, serial, sizeof(serial) - 1);
    sys_close(fd);
    serial[size > 0 ? size : 0] = 0;
    return text_begins(serial, VMM_ROOT_SERIAL);
}

/// Appends the name of our disk to `device`. False where it does not appear in time.
static int find_disk(char* device, size_t size) {
    static struct directory disks;
    for (int left = kTries; left > 0; --left) {
        const char* disk = 0;
        if (directory_open(&disks, DISKS) >= 0) {
            while ((disk = directory_next(&disks)) != 0 && !is_ours(disk)) {
            }
        }
        if (disk != 0) {
            text_append(device, size, disk);
        }
        directory_close(&disks);
        if (disk != 0) {
            return 1;
        }
        const int64_t pause[2] = {0, kTryNanoseconds};
        SYS(nanosleep, pause, 0, 0, 0, 0);
    }
    return 0;
}

static long switch_to_new_root(void) {
    sys_mkdir(NEW_ROOT VMM_FOLDER, 0755);
    long error = sys_mount(VMM_FOLDER, NEW_ROOT VMM_FOLDER, 0, MS_BIND);
    if (error >= 0) {
        error = SYS(chdir, NEW_ROOT, 0, 0, 0, 0);
    }
    if (error >= 0) {
        error = sys_mount(".", "/", 0, MS_MOVE);
    }
    if (error >= 0) {
        error = SYS(chroot, ".", 0, 0, 0, 0);
    }
    return error >= 0 ? SYS(chdir, "/", 0, 0, 0, 0) : error;
}

int root_enter(const char* type) {
    char device[64] = "/dev/";
    if (!find_disk(device, sizeof(device))) {
        say_note(0, "--root: the kernel shows no virtio disk; it needs the modules virtio_mmio and virtio_blk (see --modules)", "");
        return 0;
    }
    sys_mkdir(NEW_ROOT, 0755);
    long error = sys_mount(device, NEW_ROOT, type, 0);
    if (error == -ENODEV) {
        say_note(0, "--root: the kernel does not know this file system, or lacks its module (see --modules): ", type);
    } else if (error < 0) {
        say_note(error, "--root: cannot mount the image as ", type);
    } else if ((error = switch_to_new_root()) < 0) {
        say_note(error, "--root: cannot enter the image", "");
    }
    return error >= 0;
}
