#include "vmm/guest_init/channel.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>

static int channel = -1;

int channel_open(void) {
    int fd = sys_open("/dev/ttyS1", O_RDWR | O_NOCTTY);
    if (fd < 0) {
        return fd;
    }
    struct termios raw;
    memset(&raw, 0, sizeof(raw));
    raw.c_cflag = B115200 | CS8 | CLOCAL | CREAD;
    raw.c_cc[VMIN] = 1;
    long error = SYS(ioctl, fd, TCSETS, &raw, 0, 0);
    if (error < 0) {
        sys_close(fd);
        return (int)error;
    }
    channel = fd;
    return 0;
}

int channel_fd(void) { return channel; }

void channel_drain(void) { SYS(ioctl, channel, TCSBRK, 1, 0, 0); }

static void write_all(const void* from, size_t size) {
    const char* bytes = from;
    while (size != 0) {
        long written = sys_write(channel, bytes, size);
        if (written == -EINTR || written == -EAGAIN) {
            continue;
        }
        if (written <= 0) {
            return;  // nobody is left to tell
        }
        bytes += written;
        size -= (size_t)written;
    }
}

void say(int type, const void* payload, size_t size) {
    struct vmm_record record = {{VMM_MAGIC_0, VMM_MAGIC_1}, (uint8_t)type, 0, (uint32_t)size};
    write_all(&record, sizeof(record));
    write_all(payload, size);
}

void say_bytes(int type, const char* bytes, size_t size) {
    while (size != 0) {
        size_t piece = size < VMM_MAX_PAYLOAD ? size : VMM_MAX_PAYLOAD;
        say(type, bytes, piece);
        bytes += piece;
        size -= piece;
    }
}

void say_note(long error, const char* what, const char* name) {
    struct {
        uint32_t error;
        char text[512];
    } note = {(uint32_t)-error, {0}};
    text_append(note.text, sizeof(note.text), what);
    text_append(note.text, sizeof(note.text), name);
    say(VMM_SAID_NOTE, &note, sizeof(note.error) + text_length(note.text));
}
