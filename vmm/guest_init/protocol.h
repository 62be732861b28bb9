// What a scripted run (vmm run --exec) and the init that it puts into the guest say to each other. For C and C++.
//
// Both directions are records: a header, then `length` bytes. Numbers are little-endian, as both sides are. The host's
// records are the file VMM_RUN_PATH of the initramfs; the guest's come over the channel, the second UART, in this order:
//
//   hello  note*  ( begin  (out | err | want)*  exit )*  ( (entry data* entry_end)* copy_end )*  done
//
// Notes may come anywhere but between entry and entry_end. The host answers each want over the channel with one record
// VMM_INPUT, as soon as there is something to send. The next want comes after that.
#ifndef VMM_GUEST_INIT_PROTOCOL_H
#define VMM_GUEST_INIT_PROTOCOL_H

#include <stdint.h>

#define VMM_FOLDER "/.vmm"
#define VMM_INIT_PATH "/.vmm/init"
#define VMM_RUN_PATH "/.vmm/run"
#define VMM_SCRIPT_PATH "/.vmm/script"
#define VMM_COPY_IN_FOLDER "/.vmm/in"
#define VMM_MODULE_FOLDER "/.vmm/modules"

#define VMM_ROOT_SERIAL "vmm-root"  // of the disk that becomes the root

enum {
    VMM_PROTOCOL_VERSION = 1,
    VMM_STATUS_NOT_RUN = 256,   // what had to be done before failed; a note says how
    VMM_MAX_PAYLOAD = 32768,  // bytes
    VMM_MAX_INPUT = 8192,     // ... of a record to the guest: less than its terminal layer holds
    VMM_MAGIC_0 = 0xC5,
    VMM_MAGIC_1 = 0x5C,
};

struct vmm_record {
    uint8_t magic[2];
    uint8_t type;
    uint8_t zero;
    uint32_t length;
};

// To the guest. All are texts, with a final zero that counts.
enum vmm_run_type {
    VMM_RUN_MODULE = 'm',    // file of a kernel module to load
    VMM_RUN_ROOT = 'r',      // type of the file system on the disk VMM_ROOT_SERIAL, which becomes the root
    VMM_RUN_HOST_NAME = 'n',
    VMM_RUN_COPY_IN = 'i',   // what to move, which is below VMM_COPY_IN_FOLDER; the next one is where to
    VMM_RUN_CWD = 'd',
    VMM_RUN_ENV = 'e',       // NAME=VALUE
    VMM_RUN_COMMAND = 'c',   // for /bin/sh -c
    VMM_RUN_SCRIPT = 's',    // a file to execute
    VMM_RUN_COPY_OUT = 'o',  // a path to send when all is done
    VMM_RUN_PORT = 'v',      // name of a virtio console port that will appear
    VMM_RUN_INPUT = 'p',     // commands get what the host's standard input has
};

// To the guest, over the channel.
enum vmm_input_type {
    VMM_INPUT = 'I',  // bytes for the commands; none: there are no more, ever
};

// To the host. Statuses are a shell's: 0 to 255, 128 + N after signal N. Errors are Linux's errno, 0 = none.
enum vmm_said_type {
    VMM_SAID_HELLO = 'H',      // u32 version, u32 0, u64 nanoseconds since boot
    VMM_SAID_NOTE = 'N',       // u32 error, text
    VMM_SAID_BEGIN = 'B',      // u32 index of the command
    VMM_SAID_OUT = 'O',        // bytes of its standard output
    VMM_SAID_ERR = 'E',        // ... and error
    VMM_SAID_WANT = 'W',       // u32 bytes of standard input for which there is room
    VMM_SAID_EXIT = 'X',       // u32 index, u32 status, u64 nanoseconds
    VMM_SAID_ENTRY = 'F',      // u32 index of the copy, u32 st_mode, path below the copied one; empty: itself
    VMM_SAID_DATA = 'D',       // bytes of a file, or where a symbolic link points to
    VMM_SAID_ENTRY_END = 'f',  // u32 error
    VMM_SAID_COPY_END = 'C',   // u32 index, u32 error
    VMM_SAID_DONE = 'Z',       // u32 status of the last command, or VMM_STATUS_NOT_RUN
};

#endif
