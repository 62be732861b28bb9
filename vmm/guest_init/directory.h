// The names in a folder, one after the other.
#ifndef VMM_GUEST_INIT_DIRECTORY_H
#define VMM_GUEST_INIT_DIRECTORY_H

struct directory {
    int fd;
    long size, at;  // of what is in `entries`
    char entries[2048] __attribute__((aligned(8)));
};

/// 0 or a negative errno; directory_close() may follow either.
long directory_open(struct directory* directory, const char* path);
/// Without "." and ".."; valid until the next call. 0 at the end.
const char* directory_next(struct directory* directory);
void directory_close(struct directory* directory);

#endif
