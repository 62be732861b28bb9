#!/usr/bin/env python3
"""Bad input gets one line on standard error, the documented status, and leaves nothing behind.

usage: bad_input.py VMM
"""
import gzip
import os
import subprocess
import sys
import tempfile

import tiny_elf

USAGE, HOST = 2, 3
SCRIPTED_USAGE, SCRIPTED_HOST = 222, 223  # with --exec, where 0 to 255 belong to the command


def main() -> int:
    vmm = os.path.abspath(sys.argv[1])
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        kernel = tiny_elf.elf([tiny_elf.FOREVER])
        files = {
            "good.elf": kernel,
            "empty": b"",
            "cut.elf": kernel[:100],
            "cut.gz": gzip.compress(os.urandom(10000))[:5000],
            "text": b"This is not a kernel. " * 100,
            "tiny.image": tiny_elf.image([tiny_elf.FOREVER]),
            "x86.elf": tiny_elf.elf([0], machine=62),
            "big.initrd": bytes(70 << 20),
            "empty.img": b"",
            "ro.img": bytes(4096),
        }
        for name, content in files.items():
            with open(name, "wb") as file:
                file.write(content)
        os.chmod("ro.img", 0o444)
        good = ["run", "-k", "good.elf"]
        # arguments, status, what the line must name: the option or file, and the value or what is accepted
        cases = [
            (["run"], USAGE, ["--kernel"]),
            (["nonsense"], USAGE, ["nonsense"]),
            (["run", "--nonsense"], USAGE, ["--nonsense"]),
            ([*good, "-c", "0"], USAGE, ['--cpus "0"', "1 to 64"]),
            ([*good, "-c", "513"], USAGE, ['--cpus "513"', "1 to 64"]),
            ([*good, "-m", "256Q"], USAGE, ['--mem "256Q"', "K, M, G or T"]),
            ([*good, "--spe", "--spe-max-buffer-size=4097"], USAGE, ['--spe-max-buffer-size "4097"', "4096"]),
            ([*good, "--spe", "--spe-max-buffer-size=8388607T"], USAGE, ["--spe-max-buffer-size"]),
            ([*good, "--cpu", "cortex-a15"], USAGE, ['--cpu "cortex-a15"', "neoverse-n1"]),
            (["run", "-k", "missing"], HOST, ["--kernel", "missing", "No such file"]),
            (["run", "-k", folder], HOST, ["--kernel", "is a directory"]),
            (["run", "-k", "empty"], HOST, ["--kernel", "empty"]),
            (["run", "-k", "cut.elf"], HOST, ["cut.elf", "truncated"]),
            (["run", "-k", "cut.gz"], HOST, ["cut.gz", "truncated"]),
            (["run", "-k", "text"], HOST, ["text", "accepted: arm64 Image"]),
            (["run", "-k", "x86.elf"], HOST, ["x86.elf", "another machine"]),
            ([*good, "-i", "missing"], HOST, ["--initrd", "missing"]),
            ([*good, "-i", "empty"], HOST, ["--initrd", "is empty"]),
            ([*good, "-m", "64", "-i", "big.initrd"], HOST, ["--initrd", "MiB"]),
            ([*good, "-m", "72", "-i", "big.initrd"], HOST, ["--initrd", "room", "--mem"]),
            ([*good, "-d", "missing.img"], HOST, ["--disk", "missing.img"]),
            ([*good, "-d", "empty.img"], HOST, ["--disk", "empty.img"]),
            ([*good, "-d", "ro.img,rw"], USAGE, ['--disk "ro.img,rw"', ",ro"]),
            ([*good, "--dump-dtb", "no/such/folder/x.dtb"], HOST, ["--dump-dtb", "no/such/folder/x.dtb"]),
            ([*good, "--spe-host-trace", ""], USAGE, ["--spe-host-trace", "FILE"]),
            ([*good, "--spe-host-trace", "x.data,period=1000"], USAGE, ["x.data,period=1000", "multiple of 256"]),
            ([*good, "--spe-host-trace", "x.data,period=0"], USAGE, ["--spe-host-trace", "multiple of 256"]),
            ([*good, "--spe-host-trace", "x.data,period="], USAGE, ["--spe-host-trace", "multiple of 256"]),
            ([*good, "--spe-host-trace", "x.data,model=best"], USAGE, ['--spe-host-trace model "best"', "basic, detailed"]),
            ([*good, "--spe-host-trace", "x.data,every=256"], USAGE, ['"every=256"', "period=N"]),
            ([*good, "--spe-host-trace", "x.data,"], USAGE, ["--spe-host-trace", "period=N"]),
            ([*good, "--spe-host-trace", "no/such/folder/x.data"], HOST, ["no/such/folder/x.data", "No such file"]),
            ([*good, "--spe-host-trace", folder], HOST, [folder, "no regular file"]),
            ([*good, "--spe-host-trace", "/dev/null"], HOST, ["/dev/null", "no regular file"]),
            ([*good, "--env", "A=1"], USAGE, ["--env", "needs --exec"]),
            ([*good, "--copy-out", "/a:b"], USAGE, ["--copy-out", "needs --exec"]),
            ([*good, "--exec", ""], SCRIPTED_USAGE, ['--exec ""']),
            ([*good, "--exec", "true", "-c", "0"], SCRIPTED_USAGE, ['--cpus "0"']),
            ([*good, "--exec", "true"], SCRIPTED_USAGE, ["--exec", "good.elf", "bare-metal"]),
            ([*good, "--exec=true", "--copy-in", "x"], SCRIPTED_USAGE, ['--copy-in "x"', "FROM:TO"]),
            ([*good, "--exec=true", "--copy-out", "x:y"], SCRIPTED_USAGE, ['--copy-out "x:y"', '"x" must begin with /']),
            ([*good, "--exec=true", "--env", "1=2"], SCRIPTED_USAGE, ['--env "1=2"', "NAME=VALUE"]),
            ([*good, "--exec=true", "--env", "NOT_SET_HERE"], SCRIPTED_USAGE, ['--env "NOT_SET_HERE"', "not set here"]),
            ([*good, "--exec=true", "--cwd", "tmp"], SCRIPTED_USAGE, ['--cwd "tmp"', "begin with /"]),
            ([*good, "--exec=true", "--on-oops", "cry"], SCRIPTED_USAGE, ['--on-oops "cry"', "stop, finish, ignore"]),
            ([*good, "--exec=true", "--idle-timeout", "0"], SCRIPTED_USAGE, ['--idle-timeout "0"', "from 1 to"]),
            ([*good, "--exec=true", "--boot-timeout", "x"], SCRIPTED_USAGE, ['--boot-timeout "x"', "from 1 to"]),
            ([*good, "--exec=true", "--modules", "x,,y"], SCRIPTED_USAGE, ['--modules "x,,y"', "DIR[,NAME...]"]),
            ([*good, "--exec=true", "--root", ".", "-i", "text"], SCRIPTED_USAGE, ['--root "."', "--initrd"]),
            (["run", "-k", "tiny.image", "--exec", "true", "--modules", folder], SCRIPTED_HOST, ["--modules", "modules.dep"]),
            (["run", "-k", "tiny.image", "--exec", "true", "--root", "missing"], SCRIPTED_HOST, ["--root", "missing", "No such file"]),
            (["run", "-k", "tiny.image", "--exec", "true", "--root", "empty.img"], SCRIPTED_HOST, ["--root", "empty.img", "0 bytes"]),
            ([*good, "--exec", "true", "--root", ".,fstype=ext4"], SCRIPTED_USAGE, ['--root ".,fstype=ext4"', "IMAGE[,fstype=TYPE]"]),
            ([*good, "--exec", "true", "--root", "ro.img,fstype="], SCRIPTED_USAGE, ['--root "ro.img,fstype="', "IMAGE[,fstype=TYPE]"]),
            ([*good, "--console-port", "a"], USAGE, ['--console-port "a"', "NAME,FILE"]),
            ([*good, "--console-port", "a,x", "--clock", "insn"], USAGE, ["--console-port", "--clock insn"]),
            ([*good, "--console-port", "a,/no/such/folder/x"], HOST, ['--console-port "a,/no/such/folder/x"', "No such file"]),
            ([*good, "--console-port", "a,unix:/no/such/folder/x"], HOST, ["a,unix:/no/such/folder/x", "No such file"]),
            (["run", "-k", "tiny.image", "--script", "missing"], SCRIPTED_HOST, ["--script", "missing"]),
            (["run", "-k", "tiny.image", "--exec", "true", "--copy-in", "missing:/"], SCRIPTED_HOST, ["--copy-in", "missing"]),
            (["run", "-k", "tiny.image", "--exec", "true", "-d", "missing.img", "--console-log", "log"], SCRIPTED_HOST,
             ["--disk"]),
            (["run", "-k", "tiny.image", "--exec", "true", "-m", "64", "--root", "."], SCRIPTED_HOST,
             ["--root", "big.initrd", "64 MiB"]),
            ([*good, "--result", "no/such/folder/r.json"], HOST, ["--result", "no/such/folder/r.json", "No such file"]),
            ([*good, "--junit", folder], HOST, ["--junit", folder, "is a folder"]),
            # Nothing is written when something else is wrong.
            ([*good, "--spe-host-trace", "x.data", "-d", "missing.img"], HOST, ["missing.img"]),
            ([*good, "--dump-dtb", "x.dtb", "-d", "missing.img"], HOST, ["missing.img"]),
        ]
        if os.geteuid() != 0:  # root may write to read-only files
            cases.append(([*good, "-d", "ro.img"], HOST, ["--disk", "ro.img", ",ro"]))
        for arguments, status, wanted in cases:
            result = subprocess.run([vmm, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                    timeout=60, check=False)
            lines = result.stderr.splitlines()
            good_answer = (result.returncode == status and len(lines) == 1 and lines[0].startswith("vmm: ")
                           and all(text in lines[0] for text in wanted) and result.stdout == "")
            if not good_answer:
                failures += 1
                print("arguments:", arguments, "wanted:", status, wanted)
                print("found:", result.returncode, result.stdout, result.stderr)
        left = sorted(set(os.listdir(".")) - set(files))
        if left:
            failures += 1
            print("left behind:", left)
        print(f"{len(cases)} cases, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
