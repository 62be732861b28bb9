#!/usr/bin/env python3
"""vmm matrix without Linux: the cells of a file, what is said about wrong files, results, Ctrl-C.

usage: matrix.py VMM
"""
import fcntl
import json
import os
import pathlib
import pty
import signal
import subprocess
import sys
import tempfile
import termios
import time
import xml.etree.ElementTree

import tiny_elf

KERNEL = '[[kernels]]\nname = "k"\nkernel = "forever.image"\n'
COMMAND = '[[commands]]\nname = "c"\nexec = "true"\n'
GOOD = KERNEL + COMMAND

CELLS = """name = "cells"
[run]
cpus = 1
mem = "64M"
boot-timeout = 1
env = ["A=1", "B=2"]
[[kernels]]
name = "k1"
kernel = "forever.image"
[[kernels]]
name = "k2"
kernel = "missing.elf"
[[cpu-models]]
name = "n1"
cpu = "neoverse-n1"
[[cpu-models]]
name = "max"
cpu = "max"
pmu = true
[[spe]]
name = "off"
[[spe]]
name = "on"
spe = true
[[commands]]
name = "c"
exec = ["[ -e /x ]", "it's = here", "-n"]
copy-out = ["/a:b", "/c:/tmp/d"]
[[exclude]]
kernels = "k1"
spe = ["on"]
[[exclude]]
kernels = "k2"
cpu-models = ["n1"]
"""

# What is wrong with a file, and what the one line must have.
WRONG = [
    ("not TOML", 'x = = 3\n', ":1:5: "),
    ("a line's end", "x = t\n", ":1:6: Error while parsing boolean: expected 'true', saw 't?'"),
    ("control characters", '"\\u001b[2Jx" = 1\n' + GOOD, ':1:16: "?[2Jx": must be one of'),
    ("unknown key", GOOD + '[kernel]\n', ':7:1: "kernel": must be one of name, run, kernels'),
    ("no commands", KERNEL, "needs at least one [[commands]]"),
    ("unknown option", "[run]\ncpu-count = 3\n" + GOOD, ':2:13: "cpu-count": is not an option'),
    ("own option", "[run]\nresult = 'x'\n" + GOOD, ":2:10: \"result\": vmm matrix gives"),
    ("bad value", "[run]\ncpus = 65\n" + GOOD, ':2:8: --cpus "65": must be a number from 1 to 64 (cell k/c)'),
    ("value of a type", "[run]\nspe = 1\n" + GOOD, ':2:7: "spe": must be true or false'),
    ("a float", "[run]\ncpus = 1.5\n" + GOOD, ':2:8: "cpus": must be a string or an integer'),
    ("array", "[run]\ncpus = [1, 2]\n" + GOOD, ':2:8: "cpus": takes one value'),
    ("no name", COMMAND + "[[kernels]]\nkernel = 'x'\n", ":4:1: [[kernels]]: needs a name"),
    ("bad name", COMMAND + "[[kernels]]\nname = '../x'\n", ':5:8: name "../x": must be 1 to 64'),
    ("same name", GOOD + COMMAND, ':7:1: [[commands]]: there is another "c" in line 4'),
    ("no tables", KERNEL + COMMAND.replace("[[", "[").replace("]]", "]"), "must be tables that begin with [[commands]]"),
    ("no command", KERNEL + "[[commands]]\nname = 'c'\n", ':4:1: [[commands]] "c": needs exec or script'),
    ("exclude axis", GOOD + "[[exclude]]\nkernel = 'k'\n", ':8:10: [[exclude]]: "kernel" is none of'),
    ("exclude name", GOOD + "[[exclude]]\nkernels = ['j']\n", ':8:12: [[exclude]]: there is no [[kernels]] with the name "j"'),
    ("exclude all", GOOD + "[[exclude]]\nkernels = 'k'\n", "leaves no cell"),
    ("empty exclude", GOOD + "[[exclude]]\n", ":7:1: [[exclude]]: would exclude every cell"),
    ("help", "[run]\nspe-features = 'help'\n" + GOOD, "asks for help"),
    ("too many", "".join(f'[[kernels]]\nname = "k{n}"\n[[spe]]\nname = "s{n}"\n' for n in range(101)) + COMMAND, "more than 10000 cells"),
]

failures = 0


def expect(condition: bool, text: str) -> bool:
    global failures
    print(("ok   " if condition else "FAIL ") + text, flush=True)
    failures += not condition
    return condition


def run(vmm: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([vmm, "matrix", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def wrong_files(vmm: str) -> None:
    for what, text, reason in WRONG:
        pathlib.Path("wrong.toml").write_text(text)
        result = run(vmm, "wrong.toml")
        expect(result.returncode == 2 and result.stderr.startswith("vmm: wrong.toml:") and reason in result.stderr
               and result.stderr.count("\n") == 1, f"{what}: {result.returncode} {result.stderr.strip()}")
    expect(not pathlib.Path("wrong-results").exists(), "nothing is made for a wrong file")
    for what, status, *arguments in (("no file", 2, "none.toml"), ("nothing", 2), ("jobs", 2, "cells.toml", "--jobs", "0"),
                                     ("collect", 3, "--collect", "."), ("both", 2, "cells.toml", "--collect", "x"), ("a folder", 2, "."),
                                     ("no place for JUnit", 3, "cells.toml", "--junit", "no/where.xml")):
        result = run(vmm, *arguments)
        expect(result.returncode == status and result.stderr.count("\n") == 1, f"{what}: {result.returncode} {result.stderr.strip()}")


def cells(vmm: str) -> None:
    names = ["k1/n1/off/c", "k1/max/off/c", "k2/max/off/c", "k2/max/on/c"]
    expect(run(vmm, "cells.toml", "--list").stdout.split() == names, "--list has the cells, without those excluded")
    result = run(vmm, "cells.toml", "--jobs", "4", "--output", "out/deep")
    expect(result.returncode == 1, f"cells that fail: status {result.returncode}")
    expect("\033" not in result.stderr and sorted(line.split()[2] for line in result.stderr.splitlines()) == sorted(names),
           f"one plain line for each that has ended:\n{result.stderr}")
    table = [line.split()[:3] for line in result.stdout.splitlines()[1:5]]
    expect(table == [[name, *("boot-timeout 230" if "k1" in name else "host-error 223").split()] for name in names],
           f"the table:\n{result.stdout}")
    root = xml.etree.ElementTree.parse("out/deep/junit.xml").getroot().find("testsuite")
    expect((root.get("tests"), root.get("errors"), root.get("failures")) == ("4", "4", "0") and
           [case.get("name") for case in root.findall("testcase")] == names, "JUnit has a case for each")
    folder = pathlib.Path("out/deep/k1/max/off/c")
    told = json.loads((folder / "result.json").read_text())
    expect(told["guest"]["cpu_model"] == "max" and told["guest"]["pmu"] and not told["guest"]["spe"], "options reach the run")
    expect([each["command"] for each in told["commands"]] == ["[ -e /x ]", "it's = here", "-n"], "so do commands, as they are")
    expect(all((folder / name).is_file() for name in ("console.log", "stdout", "stderr")), "logs are kept")
    manifest = json.loads(pathlib.Path("out/deep/cells.json").read_text())
    expect(f"--copy-out=/a:{folder.absolute()}/b" in manifest["cells"][1]["arguments"], "relative copies go to the cell's folder")
    again = run(vmm, "--collect", "out/deep", "--junit", "again.xml")
    expect(again.returncode == 1 and again.stdout.splitlines()[:5] == result.stdout.splitlines()[:5] and os.path.exists("again.xml"),
           "--collect tells the same")
    (folder / "result.json").write_text("{")
    expect("no-result" in run(vmm, "--collect", "out/deep").stdout, "a damaged result is none")


def killed(vmm: str) -> None:
    """The runs do not outlive a matrix that is killed. SIGCHLD may be ignored, as some parents leave it."""
    with subprocess.Popen([vmm, "matrix", "long.toml", "--jobs", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True) as matrix:
        runs: list[str] = []
        deadline = time.monotonic() + 20
        while not runs and time.monotonic() < deadline:
            time.sleep(0.1)
            runs = children(matrix.pid)
        time.sleep(1)
        matrix.kill()
    while any(os.path.exists(f"/proc/{pid}") for pid in runs) and time.monotonic() < deadline + 20:
        time.sleep(0.1)
    expect(len(runs) == 1 and not any(os.path.exists(f"/proc/{pid}") for pid in runs), "SIGKILL takes the runs along")
    result = subprocess.run([vmm, "matrix", "cells.toml"], capture_output=True, text=True, timeout=60, check=False,
                            preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    expect(result.returncode == 1 and "4 failed" in result.stdout, "SIGCHLD may be ignored")


def own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(2, termios.TIOCSCTTY, 0)


def children(pid: int) -> list[str]:
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def interrupt(vmm: str) -> None:
    text = CELLS.replace("boot-timeout = 1\n", "boot-timeout = 100\n").replace("missing.elf", "forever.image")
    pathlib.Path("long.toml").write_text(text)
    terminal, end = pty.openpty()
    with subprocess.Popen([vmm, "matrix", "long.toml", "--jobs", "2"], stdin=end, stdout=subprocess.PIPE, stderr=end, text=True,
                          preexec_fn=own_terminal) as matrix:
        os.close(end)
        deadline = time.monotonic() + 20
        runs: list[str] = []
        while len(runs) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
            runs = children(matrix.pid)
        time.sleep(1)
        expect(len(runs) == 2 and children(matrix.pid) == runs, "two run at a time")
        os.write(terminal, b"\x03")
        out, _ = matrix.communicate(timeout=40)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    expect(matrix.returncode == 130, f"Ctrl-C: status {matrix.returncode}")
    expect(not any(os.path.exists(f"/proc/{pid}") for pid in runs), "the runs are gone")
    expect([line.split()[1] for line in out.splitlines()[1:5]] == ["stopped", "stopped", "not-run", "not-run"], f"the table:\n{out}")
    expect("\r\033[K[0/4, 0 failed] k1/n1/off/c" in shown, "a terminal shows what is running")
    suite = xml.etree.ElementTree.parse("long-results/junit.xml").getroot().find("testsuite")
    expect((suite.get("errors"), suite.get("skipped")) == ("2", "2"), "JUnit tells as well")


def main() -> int:
    vmm = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        pathlib.Path("forever.image").write_bytes(tiny_elf.image([tiny_elf.FOREVER]))
        pathlib.Path("cells.toml").write_text(CELLS)
        wrong_files(vmm)
        cells(vmm)
        interrupt(vmm)
        killed(vmm)
        os.chdir("/")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
