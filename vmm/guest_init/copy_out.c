#include "vmm/guest_init/copy_out.h"

#include <linux/stat.h>

#include "vmm/guest_init/channel.h"
#include "vmm/guest_init/directory.h"

enum { kMaxPath = 4096, kMaxDepth = 64, kMaxName = 3000 };

static char path[kMaxPath];  // what is being sent
static size_t top_length;    // of what the user asked for
static char data[VMM_MAX_PAYLOAD];

static void say_entry(uint32_t index, uint32_t mode) {
    struct {
        uint32_t index, mode;
        char below[kMaxName];
    } entry = {index, mode, {0}};
    const char* below = path + top_length;
    text_append(entry.below, sizeof(entry.below), *below == '/' ? below + 1 : below);
    say(VMM_SAID_ENTRY, &entry, 8 + text_length(entry.below));
}

static void say_entry_end(long error) {
    uint32_t number = error < 0 ? (uint32_t)-error : 0;
    say(VMM_SAID_ENTRY_END, &number, sizeof(number));
}

static void send_file(uint32_t index, uint32_t mode) {
    int fd = sys_open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) {
        say_note(fd, "cannot read ", path);
        return;
    }
    say_entry(index, mode);
    long size;
    while ((size = sys_read(fd, data, sizeof(data))) > 0 || size == -EINTR) {
        if (size > 0) {
            say(VMM_SAID_DATA, data, (size_t)size);
        }
    }
    say_entry_end(size);
    sys_close(fd);
}

static void send_link(uint32_t index, uint32_t mode) {
    long size = SYS(readlinkat, AT_FDCWD, path, data, sizeof(data), 0);
    say_entry(index, mode);
    if (size > 0) {
        say(VMM_SAID_DATA, data, (size_t)size);
    }
    say_entry_end(size);
}

static void send(uint32_t index, unsigned depth);

static void send_folder(uint32_t index, uint32_t mode, unsigned depth) {
    say_entry(index, mode);
    say_entry_end(0);
    struct directory folder;
    long error = depth == kMaxDepth ? -ELOOP : directory_open(&folder, path);
    if (error < 0) {
        say_note(error, "cannot read ", path);
        return;
    }
    const size_t length = text_length(path);
    const char* name;
    while ((name = directory_next(&folder)) != 0) {
        if (length + text_length(name) + 2 > kMaxName) {
            say_note(-ENAMETOOLONG, "cannot copy what is below ", path);
            continue;
        }
        text_append(path, sizeof(path), path[length - 1] == '/' ? "" : "/");
        text_append(path, sizeof(path), name);
        send(index, depth + 1);
        path[length] = 0;
    }
    directory_close(&folder);
}

/// What `path` names. Only the topmost symbolic link is followed.
static void send(uint32_t index, unsigned depth) {
    struct stat status;
    long error = sys_stat(path, &status, depth == 0 ? 0 : AT_SYMLINK_NOFOLLOW);
    if (error < 0) {
        say_note(error, "cannot read ", path);
    } else if (S_ISDIR(status.st_mode)) {
        send_folder(index, status.st_mode, depth);
    } else if (S_ISLNK(status.st_mode)) {
        send_link(index, status.st_mode);
    } else if (S_ISREG(status.st_mode)) {
        send_file(index, status.st_mode);
    } else {
        say_note(0, "neither file, folder nor link, not copied: ", path);
    }
}

void copy_out(uint32_t index, const char* wanted) {
    struct stat status;
    uint32_t end[2] = {index, 0};
    long error = sys_stat(wanted, &status, 0);
    if (error >= 0 && text_length(wanted) >= kMaxName) {
        error = -ENAMETOOLONG;
    }
    if (error < 0) {
        end[1] = (uint32_t)-error;
    } else {
        path[0] = 0;
        text_append(path, sizeof(path), wanted);
        top_length = text_length(path);
        send(index, 0);
    }
    say(VMM_SAID_COPY_END, end, sizeof(end));
}
