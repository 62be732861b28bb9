#include "vmm/guest_init/copy_in.h"

#include <linux/stat.h>

#include "vmm/guest_init/directory.h"
#include "vmm/guest_init/sys.h"

enum { kMaxPath = 4096 };

static char from_path[kMaxPath];
static char to_path[kMaxPath];

static int is_folder(const char* path, int flags) {
    struct stat status;
    return sys_stat(path, &status, flags) >= 0 && S_ISDIR(status.st_mode);
}

static const char* base_name(const char* path) {
    const char* base = path;
    for (; *path != 0; ++path) {
        if (*path == '/') {
            base = path + 1;
        }
    }
    return base;
}

static void make_folders_above(char* path) {
    for (char* at = path + 1; *at != 0; ++at) {
        if (*at == '/') {
            *at = 0;
            sys_mkdir(path, 0755);
            *at = '/';
        }
    }
}

static long move(void);
static long merge(void);

static long copy_content(int from, int to) {
    static char bytes[65536];
    long size;
    while ((size = sys_read(from, bytes, sizeof(bytes))) > 0) {
        for (long at = 0; at < size;) {
            const long written = sys_write(to, bytes + at, (size_t)(size - at));
            if (written <= 0) {
                return written < 0 ? written : -EIO;
            }
            at += written;
        }
    }
    return size;
}

static long copy_file(unsigned mode) {
    const int from = sys_open(from_path, O_RDONLY);
    const int to = (int)SYS(openat, AT_FDCWD, to_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 07777, 0);
    long error = from < 0 ? from : to < 0 ? to : copy_content(from, to);
    if (error >= 0) {
        error = SYS(fchmod, to, mode & 07777, 0, 0, 0);
    }
    if (from >= 0) {
        sys_close(from);
    }
    if (to >= 0) {
        sys_close(to);
    }
    return error;
}

/// As rename() does within a file system: `to_path` is on another one.
static long carry_over(void) {
    static char target[kMaxPath];
    struct stat status;
    long error = sys_stat(from_path, &status, AT_SYMLINK_NOFOLLOW);
    if (error < 0) {
        return error;
    }
    if (S_ISDIR(status.st_mode)) {
        error = sys_mkdir(to_path, status.st_mode & 07777);
        return error < 0 ? error : merge();
    }
    SYS(unlinkat, AT_FDCWD, to_path, 0, 0, 0);
    if (S_ISLNK(status.st_mode)) {
        const long size = SYS(readlinkat, AT_FDCWD, from_path, target, sizeof(target) - 1, 0);
        target[size > 0 ? size : 0] = 0;
        error = size < 0 ? size : sys_symlink(target, to_path);
    } else if (S_ISREG(status.st_mode)) {
        error = copy_file(status.st_mode);
    } else {
        error = SYS(mknodat, AT_FDCWD, to_path, status.st_mode, status.st_rdev, 0);
    }
    if (error >= 0) {
        const struct {
            int64_t seconds, nanoseconds;
        } times[2] = {{(int64_t)status.st_mtime, 0}, {(int64_t)status.st_mtime, 0}};
        SYS(utimensat, AT_FDCWD, to_path, times, AT_SYMLINK_NOFOLLOW, 0);
        SYS(unlinkat, AT_FDCWD, from_path, 0, 0, 0);  // which gives memory back
    }
    return error;
}

/// Moves what is in folder `from_path` into folder `to_path`.
static long merge(void) {
    const size_t from_length = text_length(from_path);
    const size_t to_length = text_length(to_path);
    struct directory folder;
    long error = directory_open(&folder, from_path);
    const char* name;
    while (error >= 0 && (name = directory_next(&folder)) != 0) {
        const size_t longer = (from_length > to_length ? from_length : to_length) + text_length(name) + 2;
        if (longer > kMaxPath) {
            error = -ENAMETOOLONG;
            break;
        }
        text_append(from_path, kMaxPath, "/");
        text_append(from_path, kMaxPath, name);
        text_append(to_path, kMaxPath, to_path[to_length - 1] == '/' ? "" : "/");
        text_append(to_path, kMaxPath, name);
        error = move();
        from_path[from_length] = 0;
        to_path[to_length] = 0;
    }
    directory_close(&folder);
    return error;
}

/// Moves `from_path` to `to_path`.
static long move(void) {
    if (is_folder(from_path, AT_SYMLINK_NOFOLLOW) && is_folder(to_path, 0)) {
        return merge();
    }
    const long error = SYS(renameat, AT_FDCWD, from_path, AT_FDCWD, to_path, 0);
    return error == -EXDEV ? carry_over() : error;
}

long copy_in(const char* from, const char* to) {
    from_path[0] = 0;
    to_path[0] = 0;
    text_append(from_path, kMaxPath, from);
    text_append(to_path, kMaxPath, to);
    const size_t length = text_length(to_path);
    if (length == 0 || length + text_length(base_name(from)) + 2 > kMaxPath) {
        return -ENAMETOOLONG;
    }
    if (text_equal(base_name(from), ".")) {
        // The content of a folder, which stands where its name would.
        from_path[text_length(from_path) - 2] = 0;
    } else if (to_path[length - 1] == '/' || is_folder(to_path, 0)) {
        text_append(to_path, kMaxPath, to_path[length - 1] == '/' ? "" : "/");
        text_append(to_path, kMaxPath, base_name(from));
    }
    make_folders_above(to_path);
    return move();
}
