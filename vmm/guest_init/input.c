#include "vmm/guest_init/input.h"

#include "vmm/guest_init/channel.h"

static int reader = -1;
static int writer = -1;  // -1: the end of the input was reached
static int asked;        // and not answered in full

// The host's record that is under way: it has arrived up to `filled`, and its payload was given to the pipe up to `given`.
static struct {
    struct vmm_record header;
    char payload[VMM_MAX_INPUT];
} input;
static size_t filled, given;

int input_open(void) {
    int ends[2];
    long error = SYS(pipe2, ends, O_CLOEXEC, 0, 0, 0);
    if (error >= 0) {
        reader = ends[0];
        writer = ends[1];
        SYS(fcntl, writer, F_SETFL, O_NONBLOCK, 0, 0);
    }
    return (int)error;
}

int input_reader(void) { return reader; }

static int complete(void) { return filled >= sizeof(input.header) && filled == sizeof(input.header) + input.header.length; }

static void end(void) {
    sys_close(writer);
    writer = -1;
}

void input_prepare(struct pollfd events[kInputEvents]) {
    const struct pollfd none = {-1, 0, 0};
    events[0] = none;
    events[1] = none;
    if (writer < 0) {
        return;
    }
    if (complete()) {
        events[1].fd = writer;
        events[1].events = POLLOUT;
        return;
    }
    if (!asked) {
        const uint32_t room = VMM_MAX_INPUT;
        say(VMM_SAID_WANT, &room, sizeof(room));
        asked = 1;
    }
    events[0].fd = channel_fd();
    events[0].events = POLLIN;
}

static void take(void) {
    const size_t wanted =
        filled < sizeof(input.header) ? sizeof(input.header) : sizeof(input.header) + input.header.length;
    const long size = sys_read(channel_fd(), (char*)&input + filled, wanted - filled);
    if (size <= 0) {
        if (size != -EINTR && size != -EAGAIN) {
            end();
        }
        return;
    }
    filled += (size_t)size;
    if (filled == sizeof(input.header)) {
        const struct vmm_record* header = &input.header;
        const int valid = header->magic[0] == VMM_MAGIC_0 && header->magic[1] == VMM_MAGIC_1 &&
                          header->type == VMM_INPUT && header->length <= VMM_MAX_INPUT;
        if (!valid || header->length == 0) {
            end();
        }
    }
}

static void give(void) {
    const long size = sys_write(writer, input.payload + given, input.header.length - given);
    if (size > 0) {
        given += (size_t)size;
    }
    if (given == input.header.length) {
        filled = 0;
        given = 0;
        asked = 0;
    }
}

void input_serve(const struct pollfd events[kInputEvents]) {
    if (events[0].fd >= 0 && events[0].revents != 0) {
        take();
    }
    if (events[1].fd >= 0 && events[1].revents != 0) {
        give();
    }
}
