// Puts files from the host (vmm run --copy-in) where they belong.
#ifndef VMM_GUEST_INIT_COPY_IN_H
#define VMM_GUEST_INIT_COPY_IN_H

/// Moves `from` to `to`, or below it where `to` ends in '/' or is a folder. Folders that are missing are made; a folder and
/// one that is there already become one. 0 or a negative errno.
long copy_in(const char* from, const char* to);

#endif
