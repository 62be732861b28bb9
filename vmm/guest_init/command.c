#include "vmm/guest_init/command.h"

#include <linux/poll.h>
#include <linux/signal.h>

#include "vmm/guest_init/channel.h"
#include "vmm/guest_init/input.h"

enum { kCannotRun = 126, kNotFound = 127, kSignalled = 128, kPipePieces = (1 << 20) / VMM_MAX_PAYLOAD };

static const uint64_t kChildSignal = 1ull << (SIGCHLD - 1);
static int child_events = -1;  // a signalfd

int command_setup(void) {
    SYS(rt_sigprocmask, SIG_BLOCK, &kChildSignal, 0, sizeof(kChildSignal), 0);
    child_events = (int)SYS(signalfd4, -1, &kChildSignal, sizeof(kChildSignal), O_CLOEXEC | O_NONBLOCK, 0);
    return child_events < 0 ? child_events : 0;
}

static void exec_child(char* const* arguments, char* const* environment, const char* cwd) {
    static const uint64_t kNone = 0;
    SYS(rt_sigprocmask, SIG_SETMASK, &kNone, 0, sizeof(kNone), 0);
    SYS(setsid, 0, 0, 0, 0, 0);
    const char* what = "vmm: cannot enter folder ";
    const char* name = cwd;
    long error = SYS(chdir, cwd, 0, 0, 0, 0);
    if (error >= 0) {
        what = "vmm: cannot run ";
        name = arguments[0];
        error = SYS(execve, arguments[0], arguments, environment, 0, 0);
        if (error == -ENOEXEC) {  // a script that names no interpreter
            char* const shell[] = {"/bin/sh", arguments[0], 0};
            error = SYS(execve, shell[0], shell, environment, 0, 0);
        }
    }
    sys_write(2, what, text_length(what));
    sys_write(2, name, text_length(name));
    what = error == -ENOENT ? ": no such file or folder in the guest\n" : ": it is not allowed or not possible\n";
    sys_write(2, what, text_length(what));
    SYS(exit_group, error == -ENOENT ? kNotFound : kCannotRun, 0, 0, 0, 0);
}

/// Starts a process whose descriptors 0 to 2 are as given; -1: nothing. Its number, or a negative errno.
static long start(char* const* arguments, char* const* environment, const char* cwd, int in, int out, int err) {
    long child = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        int null = sys_open("/dev/null", O_RDWR);
        SYS(dup3, in < 0 ? null : in, 0, 0, 0, 0);
        SYS(dup3, out < 0 ? null : out, 1, 0, 0, 0);
        SYS(dup3, err < 0 ? null : err, 2, 0, 0, 0);
        exec_child(arguments, environment, cwd);
    }
    return child;
}

/// Collects all children that have ended. True when `child` is one of them; then `status` has its wait status.
static int reap(long child, int* status) {
    int found = 0;
    for (;;) {
        int ended_with = 0;
        long ended = SYS(wait4, -1, &ended_with, 1 /* WNOHANG */, 0, 0);
        if (ended <= 0) {
            return found;
        }
        if (ended == child) {
            *status = ended_with;
            found = 1;
        }
    }
}

static uint32_t shell_status(int wait_status) {
    const uint32_t signal = (uint32_t)wait_status & 0x7F;
    return signal != 0 ? kSignalled + signal : ((uint32_t)wait_status >> 8 & 0xFF);
}

/// Sends what can be read from `fd` at once, at most one record. False at its end, or when nothing is there.
static int forward(int fd, int type) {
    static char bytes[VMM_MAX_PAYLOAD];
    long size = sys_read(fd, bytes, sizeof(bytes));
    if (size > 0) {
        say(type, bytes, (size_t)size);
    }
    return size > 0;
}

static void close_pipe(struct pollfd* fd) {
    sys_close(fd->fd);
    fd->fd = -1;  // poll ignores it
}

/// Until `child` has ended and its pipes are empty. What it leaves running in the background may keep them open.
static int serve(long child, int out, int err) {
    int status = 0;
    struct pollfd fds[3 + kInputEvents] = {{out, POLLIN, 0}, {err, POLLIN, 0}, {child_events, POLLIN, 0}};
    int ended = 0;
    while (!ended) {
        input_prepare(fds + 3);
        SYS(ppoll, fds, 3 + kInputEvents, 0, 0, 0);
        input_serve(fds + 3);
        for (int n = 0; n < 2; ++n) {
            const int type = n == 0 ? VMM_SAID_OUT : VMM_SAID_ERR;
            if (fds[n].revents != 0 && !forward(fds[n].fd, type) && (fds[n].revents & POLLHUP) != 0) {
                close_pipe(&fds[n]);
            }
        }
        if (fds[2].revents != 0) {
            char info[128];
            sys_read(child_events, info, sizeof(info));
            ended = reap(child, &status);
        }
    }
    for (int n = 0; n < 2; ++n) {
        if (fds[n].fd >= 0) {
            // No more than a pipe holds: something in the background may print without end.
            for (int left = kPipePieces; left > 0 && forward(fds[n].fd, n == 0 ? VMM_SAID_OUT : VMM_SAID_ERR); --left) {
            }
            close_pipe(&fds[n]);
        }
    }
    return status;
}

static int make_pipe(int ends[2]) {
    long error = SYS(pipe2, ends, O_CLOEXEC, 0, 0, 0);
    if (error >= 0) {
        SYS(fcntl, ends[0], F_SETFL, O_NONBLOCK, 0, 0);  // our end only
    }
    return (int)error;
}

uint32_t command_run(uint32_t index, char* const* arguments, char* const* environment, const char* cwd) {
    int out[2];
    int err[2];
    long error = make_pipe(out);
    if (error >= 0) {
        error = make_pipe(err);
    }
    if (error < 0) {
        say_note(error, "cannot make a pipe", "");
        return kCannotRun;
    }
    const uint64_t begin = boot_nanoseconds();
    say(VMM_SAID_BEGIN, &index, sizeof(index));
    const long child = start(arguments, environment, cwd, input_reader(), out[1], err[1]);
    sys_close(out[1]);
    sys_close(err[1]);
    uint32_t status = kCannotRun;
    if (child < 0) {
        say_note(child, "cannot make a process", "");
    } else {
        status = shell_status(serve(child, out[0], err[0]));
    }
    struct {
        uint32_t index, status;
        uint64_t nanoseconds;
    } end = {index, status, boot_nanoseconds() - begin};
    say(VMM_SAID_EXIT, &end, sizeof(end));
    return status;
}

uint32_t command_run_quietly(char* const* arguments, char* const* environment) {
    const long child = start(arguments, environment, "/", -1, -1, -1);
    int status = 0;
    if (child < 0) {
        return kCannotRun;
    }
    while (SYS(wait4, child, &status, 0, 0, 0) == -EINTR) {
    }
    return shell_status(status);
}
