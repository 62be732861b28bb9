#include "vmm/guest_init/directory.h"

#include "vmm/guest_init/sys.h"

// An entry, which Linux's headers for programs do not have.
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

long directory_open(struct directory* directory, const char* path) {
    directory->size = 0;
    directory->at = 0;
    directory->fd = sys_open(path, O_RDONLY | O_DIRECTORY);
    return directory->fd < 0 ? directory->fd : 0;
}

const char* directory_next(struct directory* directory) {
    for (;;) {
        if (directory->at >= directory->size) {
            directory->at = 0;
            directory->size = SYS(getdents64, directory->fd, directory->entries, sizeof(directory->entries), 0, 0);
            if (directory->size <= 0) {
                return 0;
            }
        }
        const struct entry* entry = (const struct entry*)(directory->entries + directory->at);
        directory->at += entry->length;
        if (!text_equal(entry->name, ".") && !text_equal(entry->name, "..")) {
            return entry->name;
        }
    }
}

void directory_close(struct directory* directory) {
    if (directory->fd >= 0) {
        sys_close(directory->fd);
    }
}
