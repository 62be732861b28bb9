#!/usr/bin/env python3
"""A C compiler in the guest makes what it makes under qemu-user, to the byte, and what it has linked works as well.

usage: compile_test.py VMM SOURCE_DIR

Debian's tcc for arm64 compiles the kernel's unifdef, which then processes its own source; judged by the cross compiler's.
"""
import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile

from guest import Verdict, cache_dir

PACKAGES = "busybox-static tcc libc6 libc6-dev linux-libc-dev libcrypt1 libgcc-s1".split()
ARGUMENTS = ("-DCONFIG_X=1", "-UFF", "unifdef.c")


def main() -> int:
    vmm, source = sys.argv[1], pathlib.Path(sys.argv[2])
    verdict = Verdict()
    cache = cache_dir(source)
    fetched = subprocess.run([source / "scripts/fetch_selftests.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        root, image = folder / "root", folder / "root.img"
        subprocess.run([source / "scripts/fetch_guest.sh", "--unpack", root, *PACKAGES], check=True)
        (root / "tmp").mkdir(exist_ok=True)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, image, "200M"], check=True)
        # This tcc cannot pass a va_list on; only messages for debugging need it.
        text = re.sub(r"^(\s*)vwarnx\(.*$", r"\1(void)msg;", (pathlib.Path(fetched) / "unifdef.c").read_text(), flags=re.MULTILINE)
        (folder / "unifdef.c").write_text(text)

        subprocess.run(["aarch64-linux-gnu-gcc", "-w", "-static", "-O2", "-o", "reference", "unifdef.c"], cwd=folder, check=True)
        output = subprocess.run(["qemu-aarch64", "./reference", *ARGUMENTS], cwd=folder, check=False, capture_output=True).stdout
        usr = root / "usr"
        subprocess.run(["qemu-aarch64", "-L", root, "-E", "LD_LIBRARY_PATH=/lib/aarch64-linux-gnu", usr / "bin/tcc", "-c", "-w", "-nostdinc",
                        "-I", usr / "lib/aarch64-linux-gnu/tcc/include", "-I", usr / "include", "-I", usr / "include/aarch64-linux-gnu",
                        "-o", "reference.o", "unifdef.c"], cwd=folder, check=True)
        run = subprocess.run([vmm, "run", "-k", cache / "vmlinuz", "--root", image, "--modules", cache / "root", "-c", "2", "-m", "512",
                              "--cwd", "/work", "--copy-in", f"{folder}/unifdef.c:/work/unifdef.c",
                              "--exec", "tcc -c -w -o unifdef.o unifdef.c && sha256sum <unifdef.o",
                              "--exec", "tcc -w -o unifdef unifdef.c", "--exec", f"./unifdef {' '.join(ARGUMENTS)} | sha256sum"],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        verdict.expect(run.returncode == 0 and run.stderr == "", f"it compiles and runs: status {run.returncode} {run.stderr[-2000:]}")
        found = [line.split()[0] for line in run.stdout.splitlines()]
        compiled = hashlib.sha256((folder / "reference.o").read_bytes()).hexdigest()
        verdict.expect(len(output) > 20000 and len(found) == 2, f"there is output: {len(output)} bytes")
        verdict.expect(found[:1] == [compiled], "the object file is the one that tcc makes under qemu-user")
        verdict.expect(found[1:] == [hashlib.sha256(output).hexdigest()], "the program writes what the cross-compiled one does")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
