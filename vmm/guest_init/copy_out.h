// Sends files to the host (vmm run --copy-out).
#ifndef VMM_GUEST_INIT_COPY_OUT_H
#define VMM_GUEST_INIT_COPY_OUT_H

#include <stdint.h>

/// Sends the file or folder `path`, with all below it, as copy number `index`.
void copy_out(uint32_t index, const char* path);

#endif
