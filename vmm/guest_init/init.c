// The first process of a guest that runs commands for `vmm run --exec`. It mounts what programs expect, loads modules,
// runs the commands one after the other until one fails, sends files, and powers the machine off. What it shall do
// stands in the file VMM_RUN_PATH; everything it has to tell goes through the channel.
#include <linux/if.h>
#include <linux/mount.h>
#include <linux/reboot.h>
#include <linux/sockios.h>
#include <linux/stat.h>

#include "vmm/guest_init/channel.h"
#include "vmm/guest_init/command.h"
#include "vmm/guest_init/copy_in.h"
#include "vmm/guest_init/copy_out.h"
#include "vmm/guest_init/input.h"
#include "vmm/guest_init/ports.h"
#include "vmm/guest_init/root.h"

enum { kMaxRunFile = 1 << 20, kMaxEnvironment = 1024 };

static struct {
    char bytes[kMaxRunFile];
    size_t size;
} run_file;

static char* environment[kMaxEnvironment + 1];
static unsigned environment_size;

struct mount_row {
    const char* type;
    const char* path;
    unsigned long flags;
};

// In this order. The first three are needed, the rest depends on the kernel.
static const struct mount_row kMounts[] = {
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"devtmpfs", "/dev", MS_NOSUID},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC},
    {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV},
    {"tracefs", "/sys/kernel/tracing", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"debugfs", "/sys/kernel/debug", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC},
};

static void prepare_file_systems(void) {
    SYS(umask, 0, 0, 0, 0, 0);
    for (size_t n = 0; n < sizeof(kMounts) / sizeof(kMounts[0]); ++n) {
        sys_mkdir(kMounts[n].path, 0755);
        sys_mount(kMounts[n].type, kMounts[n].path, kMounts[n].type, kMounts[n].flags);
    }
    if (sys_mkdir("/tmp", 01777) == -EROFS) {
        sys_mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV);
    }
    SYS(fchmodat, AT_FDCWD, "/tmp", 01777, 0, 0);
    sys_mkdir("/root", 0700);
    sys_symlink("/proc/self/fd", "/dev/fd");
    sys_symlink("/proc/self/fd/0", "/dev/stdin");
    sys_symlink("/proc/self/fd/1", "/dev/stdout");
    sys_symlink("/proc/self/fd/2", "/dev/stderr");
    SYS(umask, 022, 0, 0, 0, 0);
}

static void bring_up_loopback(void) {
    struct ifreq request;
    memset(&request, 0, sizeof(request));
    text_append(request.ifr_name, sizeof(request.ifr_name), "lo");
    const int fd = (int)SYS(socket, 2 /* AF_INET */, 2 /* SOCK_DGRAM */, 0, 0, 0);
    if (fd >= 0) {
        request.ifr_flags = IFF_UP | IFF_RUNNING;
        SYS(ioctl, fd, SIOCSIFFLAGS, &request, 0, 0);
        sys_close(fd);
    }
}

/// For the console, where the channel cannot be opened.
static void print(const char* text) {
    int console = sys_open("/dev/console", O_WRONLY | O_NOCTTY);
    if (console >= 0) {
        sys_write(console, text, text_length(text));
        sys_close(console);
    }
}

static void power_off(void) {
    SYS(sync, 0, 0, 0, 0, 0);
    SYS(reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0, 0);
    for (;;) {
        SYS(ppoll, 0, 0, 0, 0, 0);
    }
}

static long read_run_file(void) {
    const int fd = sys_open(VMM_RUN_PATH, O_RDONLY);
    if (fd < 0) {
        return fd;
    }
    long size = 0;
    while (run_file.size < kMaxRunFile &&
           (size = sys_read(fd, run_file.bytes + run_file.size, kMaxRunFile - run_file.size)) > 0) {
        run_file.size += (size_t)size;
    }
    sys_close(fd);
    return size;
}

/// The text of the next record of a type, or 0. `at` is where to look, 0 at first. The host ends each text with a zero.
static char* next_record(enum vmm_run_type type, size_t* at) {
    while (run_file.size - *at >= sizeof(struct vmm_record)) {
        struct vmm_record record;
        memcpy(&record, run_file.bytes + *at, sizeof(record));
        char* text = run_file.bytes + *at + sizeof(record);
        if (record.length == 0 || record.length > run_file.size - *at - sizeof(record)) {
            return 0;
        }
        *at += sizeof(record) + record.length;
        if (record.type == type) {
            return text;
        }
    }
    return 0;
}

static void load_modules(void) {
    char* path;
    for (size_t at = 0; (path = next_record(VMM_RUN_MODULE, &at)) != 0;) {
        int fd = sys_open(path, O_RDONLY);
        long error = fd < 0 ? fd : SYS(finit_module, fd, "", 0, 0, 0);
        if (error < 0 && error != -EEXIST) {
            say_note(error, "cannot load kernel module ", path + text_length(VMM_MODULE_FOLDER "/"));
        }
        if (fd >= 0) {
            sys_close(fd);
        }
    }
}

/// False where something could not be put where the user wants it.
static int copy_files_in(void) {
    char* from;
    int done = 1;
    for (size_t at = 0; (from = next_record(VMM_RUN_COPY_IN, &at)) != 0;) {
        const char* to = next_record(VMM_RUN_COPY_IN, &at);
        const long error = to == 0 ? -EINVAL : copy_in(from, to);
        if (error < 0) {
            say_note(error, "--copy-in: cannot make ", to);
            done = 0;
        }
    }
    return done;
}

static void build_environment(void) {
    static const char* const kDefaults[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb"};
    for (size_t n = 0; n < sizeof(kDefaults) / sizeof(kDefaults[0]); ++n) {
        environment[environment_size++] = (char*)kDefaults[n];
    }
    char* setting;
    for (size_t at = 0; (setting = next_record(VMM_RUN_ENV, &at)) != 0;) {
        size_t name = 0;
        while (setting[name] != 0 && setting[name] != '=') {
            ++name;
        }
        unsigned n = 0;
        for (; n < environment_size; ++n) {
            size_t same = 0;
            while (same <= name && environment[n][same] == setting[same]) {
                ++same;
            }
            if (same > name) {
                break;
            }
        }
        if (n < kMaxEnvironment) {
            environment[n] = setting;
            environment_size += n == environment_size;
        }
    }
}

/// An initramfs with busybox often leaves it to /init to make the names of its programs.
static void provide_shell(void) {
    struct stat status;
    if (sys_stat("/bin/sh", &status, 0) >= 0) {
        return;
    }
    static const char* const kBusyboxes[] = {"/bin/busybox", "/sbin/busybox", "/usr/bin/busybox"};
    for (size_t n = 0; n < sizeof(kBusyboxes) / sizeof(kBusyboxes[0]); ++n) {
        if (sys_stat(kBusyboxes[n], &status, 0) >= 0) {
            char* const arguments[] = {(char*)kBusyboxes[n], "--install", "-s", "/bin", 0};
            command_run_quietly(arguments, environment);
            return;
        }
    }
}

static uint32_t run_commands(void) {
    size_t at = 0;
    const char* cwd = next_record(VMM_RUN_CWD, &at);
    uint32_t index = 0;
    uint32_t status = 0;
    char* text;
    for (at = 0; status == 0 && (text = next_record(VMM_RUN_COMMAND, &at)) != 0; ++index) {
        char* const arguments[] = {"/bin/sh", "-c", text, 0};
        status = command_run(index, arguments, environment, cwd != 0 ? cwd : "/");
    }
    at = 0;
    if (status == 0 && (text = next_record(VMM_RUN_SCRIPT, &at)) != 0) {
        char* const arguments[] = {text, 0};
        status = command_run(index, arguments, environment, cwd != 0 ? cwd : "/");
    }
    return status;
}

static void say_hello(void) {
    struct {
        uint32_t version, zero;
        uint64_t nanoseconds;
    } hello = {VMM_PROTOCOL_VERSION, 0, boot_nanoseconds()};
    say(VMM_SAID_HELLO, &hello, sizeof(hello));
}

void init_main(void) {
    prepare_file_systems();
    if (channel_open() < 0) {
        print("vmm-init: cannot open /dev/ttyS1: this kernel has no driver for a 16550 UART\n");
        power_off();
    }
    say_hello();
    long error = read_run_file();
    if (error < 0) {
        say_note(error, "cannot read " VMM_RUN_PATH, "");
    }
    load_modules();
    bring_up_loopback();
    size_t at = 0;
    int prepared = 1;
    const char* type = next_record(VMM_RUN_ROOT, &at);
    if (type != 0) {
        prepared = root_enter(type);
        prepare_file_systems();
    }
    at = 0;
    for (const char* port; (port = next_record(VMM_RUN_PORT, &at)) != 0;) {
        if ((error = port_provide(port)) < 0) {
            say_note(error, "--console-port: the kernel shows no port ", port);
        }
    }
    at = 0;
    const char* name = next_record(VMM_RUN_HOST_NAME, &at);
    if (name != 0) {
        SYS(sethostname, name, text_length(name), 0, 0, 0);
    }
    build_environment();
    provide_shell();
    uint32_t status = VMM_STATUS_NOT_RUN;
    if ((error = command_setup()) < 0) {
        say_note(error, "cannot wait for commands", "");
    } else if (prepared && copy_files_in()) {
        at = 0;
        if (next_record(VMM_RUN_INPUT, &at) != 0 && (error = input_open()) < 0) {
            say_note(error, "cannot pass standard input on", "");
        }
        status = run_commands();
    }
    const char* path;
    at = 0;
    for (uint32_t index = 0; (path = next_record(VMM_RUN_COPY_OUT, &at)) != 0; ++index) {
        copy_out(index, path);
    }
    SYS(sync, 0, 0, 0, 0, 0);
    say(VMM_SAID_DONE, &status, sizeof(status));
    channel_drain();
    power_off();
}

// The kernel enters with the arguments on the stack, which needs nothing but its alignment.
__asm__(".globl _start\n_start: mov x29, xzr\n mov x30, xzr\n bl init_main\n");
