// The commands' standard input: what the host sends goes into one pipe that they share, as the commands of a shell's script
// do. The host sends only what was asked for, and that fits into our buffer; who does not read keeps nobody waiting.
#ifndef VMM_GUEST_INIT_INPUT_H
#define VMM_GUEST_INIT_INPUT_H

#include <linux/poll.h>

/// Makes the pipe. 0 or a negative errno.
int input_open(void);
/// Where commands read; -1: they have no input.
int input_reader(void);

enum { kInputEvents = 2 };
/// What to wait for while a command runs; asks the host for more where there is room.
void input_prepare(struct pollfd events[kInputEvents]);
/// Takes from the host and gives to the pipe what `events` says is possible.
void input_serve(const struct pollfd events[kInputEvents]);

#endif
