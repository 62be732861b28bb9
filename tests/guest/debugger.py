#!/usr/bin/env python3
"""Debian's gdb against the stub of `vmm run --gdb`, with a bare-metal guest of two PEs; then clients that misbehave.

usage: debugger.py VMM ELF GDB
"""
import contextlib
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

FAILURES: list[str] = []

SCRIPT = r"""
set pagination off
set confirm off
set style enabled off
target remote SOCKET
printf "start %d\n", $pc == (long)&_start

break *(long)&work
continue
printf "work %d %d\n", $pc == (long)&work, $x0
backtrace
info threads

# A register of each kind, read and written.
set $x5 = 0x123456789abcdef
printf "x5 %lx\n", $x5
printf "v3 %d %d\n", (int)$v3.d[0], (int)$v3.d[1]
set $v4.u64[1] = 0xfeed
printf "v4 %lx\n", $v4.u64[1]
set $fpsr = 0x10
printf "fpsr %x\n", $fpsr
printf "el %d vbar %d\n", ($cpsr >> 2) & 3, $VBAR_EL1 == (long)&vectors
set $TPIDR_EL0 = 0x77
printf "tpidr %lx mpidr %lx\n", $TPIDR_EL0, $MPIDR_EL1 & 0xff
thread 2
printf "second mpidr %lx\n", $MPIDR_EL1 & 0xff
printf "second spins %d\n", $pc >= (long)&secondary && $pc <= (long)&secondary + 32
thread 1

# Steps: one instruction each, of this thread alone.
stepi
printf "step %ld\n", $pc - (long)&work
stepi 2
printf "step %ld\n", $pc - (long)&work

# The other thread alone.
set scheduler-locking on
thread 2
set $before = $x21
stepi 6
printf "second counted %d\n", $x21 - $before
thread 1
printf "first stayed %ld\n", $pc - (long)&work
set scheduler-locking off

# Watchpoints: PC is that of the instruction behind the access.
delete
watch *(long*)&written
continue
printf "watch %ld %ld\n", $pc - (long)&work_store, *(long*)&written
continue
printf "watch %ld %ld\n", $pc - (long)&work_store, *(long*)&written
delete
rwatch *(long*)&read
continue
printf "rwatch %ld\n", $pc - (long)&work_load
delete
awatch *(long*)&both
continue
printf "awatch %ld\n", $pc - (long)&work_swap
delete
watch *((long*)&pair + 1)
set *(long*)&read = 0x99
continue
printf "pair %ld %lx\n", $pc - (long)&work_pair, *((long*)&pair + 1)
delete

# Code and data are changed.
break *(long)&changed
continue
printf "changed %d\n", $pc == (long)&changed
set *(int*)&changed = 0xd2800540
set *(long*)&expected = 42
x/i (long)&changed
monitor help
monitor nonsense
delete
detach
"""


def expect(condition: bool, text: str) -> None:
    print(("ok   " if condition else "FAIL ") + text, flush=True)
    if not condition:
        FAILURES.append(text)


def start(vmm: str, elf: str, address: str, *options: str) -> subprocess.Popen:
    command = [vmm, "run", "-k", elf, "-m", "64", "-c", "2", "--nodefaults", "--timeout", "60", "--gdb", address, *options]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen, why: str, status: int = 0, output: str = "PASS") -> str:
    stdout, stderr = process.communicate(timeout=80)
    expect(process.returncode == status and stdout.strip() == output,
           f"{why}: the guest ends with status {process.returncode} and says {stdout.strip()!r}")
    return stderr


def debug(vmm: str, elf: str, gdb: str, path: str, *options: str) -> None:
    process = start(vmm, elf, f"unix:{path}", "--gdb-wait", *options)
    wait_for(path)
    script = pathlib.Path(path + ".gdb")
    script.write_text(SCRIPT.replace("SOCKET", path), encoding="utf-8")
    run = subprocess.run([gdb, "-nx", "-q", "-batch", "-x", script, elf], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=60, check=False)
    said = run.stdout
    print(said, run.stderr)
    name = " ".join(options) or "host's clock"
    for line in ("start 1", "work 1 0", "x5 123456789abcdef", "v3 1 1", "v4 feed", "fpsr 10", "el 1 vbar 1", "tpidr 77 mpidr 0",
                 "second mpidr 1", "second spins 1", "step 4", "step 12", "second counted 2", "first stayed 12", "rwatch 4", "awatch 4",
                 "pair 4 99", "changed 1"):
        expect(f"\n{line}\n" in said, f"{name}: {line}")
    watched = re.findall(r"^watch (\d+) (\d+)$", said, re.MULTILINE)
    expect(watched == [("4", "1"), ("4", "2")], f"{name}: the variable is followed: {watched}")
    frames = re.findall(r"^#\d+ .* in (\w+) \(\)$", said, re.MULTILINE)
    expect("guest_main" in frames, f"{name}: backtrace: {frames}")
    expect(len(re.findall(r"^[* ] \d\s+Thread \d", said, re.MULTILINE)) == 2, f"{name}: two threads")
    expect(re.search(r"<changed>:\s+mov\s+x0, #0x2a", said) is not None, f"{name}: the instruction is changed")
    expect("translate ADDRESS" in run.stderr and 'unknown command "nonsense"' in run.stderr, f"{name}: monitor help")
    expect(run.returncode == 0, f"{name}: gdb is content: {run.returncode}")
    finish(process, name)
    expect(not pathlib.Path(path).exists(), f"{name}: the socket is gone")


def wait_for(path: str) -> None:
    deadline = time.monotonic() + 20
    while not pathlib.Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def connect(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(path)
    return client


def packet(content: str) -> bytes:
    return f"${content}#{sum(content.encode()) & 0xff:02x}".encode()


def ask(client: socket.socket, content: str) -> str:
    """The answer to one packet; acknowledges it."""
    client.sendall(packet(content))
    return answer(client)


def answer(client: socket.socket) -> str:
    got = b""
    while not re.search(rb"\$[^#]*#..", got):
        more = client.recv(4096)
        if not more:
            return "(closed)"
        got += more
    with contextlib.suppress(BrokenPipeError):  # after its last packet the stub is gone
        client.sendall(b"+")
    return re.search(rb"\$([^#]*)#", got)[1].decode()


def garbage(vmm: str, elf: str, path: str) -> None:
    process = start(vmm, elf, f"unix:{path}", "--gdb-wait")
    wait_for(path)
    with connect(path) as client:
        client.sendall(bytes(range(256)) * 50 + b"$" + b"x" * 40000 + b"#00" + b"-" * 100 + b"\x03" * 100)
        for content in ("m0,ffffffffffffffff", "p9999", "Z0,,", "vCont;z", "qXfer:features:read:target.xml:zz", "G00", "Hgzz"):
            client.sendall(packet(content))
        deadline = time.monotonic() + 20
        seen = b""
        while b"T05" not in seen and time.monotonic() < deadline:
            client.sendall(packet("?"))
            seen += client.recv(65536)
        expect(b"T05" in seen, "after garbage the stub still answers")
        second = connect(path)
        expect(second.recv(1) == b"", "a second client is turned away")
        second.close()
    # The connection is lost: the guest goes on by itself.
    finish(process, "a client that vanishes")


def interrupt_and_kill(vmm: str, elf: str, path: str) -> None:
    process = start(vmm, elf, f"unix:{path}", "--gdb-wait")
    wait_for(path)
    with connect(path) as client:
        # The guest cannot end: PE 0 stays where it is.
        expect(ask(client, "?").startswith("T05"), "the guest waits")
        client.sendall(packet("vCont;c:2"))
        time.sleep(0.2)
        client.sendall(b"\x03")
        expect(answer(client).startswith("T02"), "Ctrl-C stops it")
        client.sendall(packet("k"))
    finish(process, "kill", 0, "")
    process = start(vmm, elf, f"unix:{path}", "--gdb-wait")
    wait_for(path)
    with connect(path) as client:
        client.sendall(packet("c"))
        expect(answer(client) == "W00", "the debugger hears of the end")
    finish(process, "continue to the end")


def main() -> int:
    vmm, elf, gdb = sys.argv[1:4]
    with tempfile.TemporaryDirectory() as folder:
        debug(vmm, elf, gdb, folder + "/gdb")
        debug(vmm, elf, gdb, folder + "/gdb", "--clock", "insn")
        garbage(vmm, elf, folder + "/gdb")
        interrupt_and_kill(vmm, elf, folder + "/gdb")
    for options, complaint in ((["--gdb", "99999"], "TCP port"), (["--gdb", "unix:"], "unix:PATH"), (["--gdb-wait"], "needs --gdb"),
                               (["--gdb", "unix:/nonexistent/x"], "No such file")):
        run = subprocess.run([vmm, "run", "-k", elf, "-m", "64", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             timeout=20, check=False)
        expect(run.returncode in (2, 3) and complaint in run.stderr, f"{options}: {run.stderr.strip()}")
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())
