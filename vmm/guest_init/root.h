// A disk image as the root of everything that the init does from then on.
#ifndef VMM_GUEST_INIT_ROOT_H
#define VMM_GUEST_INIT_ROOT_H

/// Mounts the disk whose serial is VMM_ROOT_SERIAL as a file system of `type` and makes it the root; VMM_FOLDER stays where it
/// is. False, after a note, where that cannot be done. What was mounted below the old root is out of reach.
int root_enter(const char* type);

#endif
