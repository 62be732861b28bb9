#include "vmm/guest_init/ports.h"

#include <linux/time.h>

#include "vmm/guest_init/directory.h"
#include "vmm/guest_init/sys.h"

#define CLASS "/sys/class/virtio-ports"
#define LINKS "/dev/virtio-ports"

enum { kTries = 500, kTryNanoseconds = 10000000, kMaxName = 80 };

/// Whether the port `device` has the name `wanted`.
static int has_name(const char* device, const char* wanted) {
    char path[128] = CLASS "/";
    char name[kMaxName + 1];
    text_append(path, sizeof(path), device);
    text_append(path, sizeof(path), "/name");
    const int fd = sys_open(path, O_RDONLY);
    if (fd < 0) {
        return 0;
    }
    long size = sys_read(fd, name, kMaxName);
    sys_close(fd);
    while (size > 0 && name[size - 1] == '\n') {
        --size;
    }
    name[size > 0 ? size : 0] = 0;
    return text_equal(name, wanted);
}

static long link_port(const char* name) {
    static struct directory devices;
    char target[64] = "../";
    char link[128] = LINKS "/";
    long error = directory_open(&devices, CLASS);
    const char* device = 0;
    while (error >= 0 && (device = directory_next(&devices)) != 0 && !has_name(device, name)) {
    }
    if (device != 0) {
        text_append(target, sizeof(target), device);
        text_append(link, sizeof(link), name);
        error = sys_symlink(target, link);
    }
    directory_close(&devices);
    return device != 0 ? error : -ENODEV;
}

long port_provide(const char* name) {
    long error = -ENODEV;
    sys_mkdir(LINKS, 0755);
    for (int left = kTries; left > 0 && (error = link_port(name)) == -ENODEV; --left) {
        const int64_t pause[2] = {0, kTryNanoseconds};
        SYS(nanosleep, pause, 0, 0, 0, 0);
    }
    return error == -EEXIST ? 0 : error;
}
