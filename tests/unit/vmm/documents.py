#!/usr/bin/env python3
"""The man page has every option and command that the helps have, and man renders it; bash completes.

usage: documents.py VMM
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

COMMANDS = ["run", "list", "stat", "stop", "pause", "resume", "debug", "balloon", "spe stop", "spe resume", "matrix",
            "version", "help"]

# What is typed, and what some of the answers are; with "only", all of them.
COMPLETIONS = [
    ("vmm ma", ["matrix"], "only"),
    ("vmm ", ["run", "matrix", "spe", "--version"], ""),
    ("vmm run --spe-pin-s", ["--spe-pin-shortage"], "only"),
    ("vmm run --spe-pin ", ["auto", "uring", "mlock", "populate", "off"], "only"),
    ("vmm run --cpu=n", ["neoverse-n1"], "only"),
    ("vmm run --cpu = ", ["neoverse-n1", "max"], "only"),
    ("vmm run --on-oops f", ["finish"], "only"),
    ("vmm run -k ", ["a kernel", "folder", "m.toml"], "only"),
    ("vmm run --root ", ["a kernel", "folder", "m.toml"], "only"),
    ("vmm run --modules ", ["folder"], "only"),
    ("vmm run --timeout ", [], "only"),
    ("vmm spe ", ["stop", "resume"], ""),
    ("vmm spe stop --mode ", ["trap", "exit"], "only"),
    ("vmm matrix ", ["a kernel", "folder", "m.toml"], "only"),
    ("vmm matrix m.toml --sl", ["--slurm"], "only"),
    ("vmm stop ", ["guest-1", "other"], "only"),
]

failures = 0


def expect(condition: bool, text: str) -> None:
    global failures
    print(("ok   " if condition else "FAIL ") + text, flush=True)
    failures += not condition


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def man_page(vmm: str) -> None:
    page = output(vmm, "help", "--man")
    pathlib.Path("vmm.1").write_text(page)
    for width in ("80", "200"):
        environment = {**os.environ, "MANWIDTH": width, "MANPAGER": "cat", "LC_ALL": "C.UTF-8"}
        rendered = subprocess.run(["man", "-l", "--warnings=all", "vmm.1"], env=environment, check=False, capture_output=True,
                                  text=True, timeout=60)
        expect(rendered.returncode == 0 and rendered.stderr == "", f"man warns of nothing in {width} columns {rendered.stderr[:200]}")
    text = re.sub(r".\x08", "", rendered.stdout)
    found = 0
    for command in ["", *COMMANDS]:
        shown = output(vmm, *command.split()[:1], "--help") if command.count(" ") == 0 else output(vmm, *command.split(), "--help")
        options = set(re.findall(r"^ +(?:-\w,)?(--[a-z0-9-]+)", shown, re.MULTILINE))
        start = text.find(f"vmm {command} [options]", text.find("COMMANDS")) if command else 0
        part = text[start:text.find("[options]", start + 20 + len(command))] if command else text
        missing = [option for option in options if not re.search(rf"^ +(-\w, )?{option}( |$)", part, re.MULTILINE)]
        expect(start >= 0 and not missing, f"'vmm {command}': {len(options)} options; missing: {missing}")
        found += len(options)
    expect(found > 90, f"{found} options in all")


def complete(script: str, line: str) -> list[str]:
    """What bash's own machinery would offer; words are split as it does, at = too."""
    words = [word for word in re.split(r"(=)| ", line) if word is not None]
    words = [word for n, word in enumerate(words) if word or n == len(words) - 1]
    quoted = " ".join(f"'{word}'" for word in words)
    program = f'. {script}; vmm() {{ printf "PID NAME STATE\\n1 guest-1 running\\n2 other paused\\n"; }}; COMP_WORDS=({quoted}); ' \
              f'COMP_CWORD={len(words) - 1}; $(complete -p vmm | sed "s/.*-F \\([^ ]*\\).*/\\1/"); printf "%s\\n" "${{COMPREPLY[@]}}"'
    return [word for word in output("bash", "--norc", "-c", program).splitlines() if word]


def completion(vmm: str) -> None:
    pathlib.Path("completion").write_text(output(vmm, "help", "--completion"))
    os.mkdir("files")
    os.chdir("files")
    os.mkdir("folder")
    pathlib.Path("a kernel").touch()
    pathlib.Path("m.toml").touch()
    for line, wanted, kind in COMPLETIONS:
        got = complete("../completion", line)
        fits = sorted(got) == sorted(wanted) if kind == "only" else set(wanted) <= set(got)
        expect(fits, f"'{line}': {got if len(got) < 8 else len(got)}")


def main() -> int:
    vmm = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        man_page(vmm)
        completion(vmm)
        os.chdir("/")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
