// Runs one command and sends what it prints to the host.
#ifndef VMM_GUEST_INIT_COMMAND_H
#define VMM_GUEST_INIT_COMMAND_H

#include <stdint.h>

/// Before the first command: children tell of their end in a way that can be waited for. 0 or a negative errno.
int command_setup(void);

/// Runs `arguments` with `environment`, both ended by a null pointer, in folder `cwd`, with the standard input of input.h.
/// Returns its status as a shell tells it: 126 and 127 where it cannot be run, 128 + N where signal N ended it.
uint32_t command_run(uint32_t index, char* const* arguments, char* const* environment, const char* cwd);

/// The same without input, and without a word to the host.
uint32_t command_run_quietly(char* const* arguments, char* const* environment);

#endif
