// The way to the host: records over the second UART.
#ifndef VMM_GUEST_INIT_CHANNEL_H
#define VMM_GUEST_INIT_CHANNEL_H

#include "vmm/guest_init/protocol.h"
#include "vmm/guest_init/sys.h"

/// 0 or a negative errno.
int channel_open(void);
/// Waits until the host has everything.
void channel_drain(void);
int channel_fd(void);

void say(int type, const void* payload, size_t size);
/// Any number of bytes, in several records where one does not hold them.
void say_bytes(int type, const char* bytes, size_t size);
/// A line for the user: what was tried, with which error (a negative errno, or 0).
void say_note(long error, const char* what, const char* name);

#endif
