#!/usr/bin/env python3
"""The Debian package: what is in it, what it depends on, and that the program in it runs.

usage: package_test.py CPACK BUILD_DIR
"""
import pathlib
import subprocess
import sys
import tempfile

from guest import Verdict

WANTED = ["./usr/bin/vmm", "./usr/share/man/man1/vmm.1", "./usr/share/bash-completion/completions/vmm",
          "./usr/share/doc/vmm/result.schema.json"]


def output(*command: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=200).stdout


def main() -> int:
    cpack, build = sys.argv[1], pathlib.Path(sys.argv[2])
    verdict = Verdict()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        output(cpack, "--config", build / "CPackConfig.cmake", "-B", folder)
        packages = list(folder.glob("*.deb"))
        verdict.expect(len(packages) == 1, f"cpack makes a package: {[package.name for package in packages]}")
        files = {line.split()[5]: line.split() for line in output("dpkg-deb", "-c", packages[0]).splitlines()}
        for file in WANTED:
            verdict.expect(file in files and int(files[file][2]) > 0, f"it has {file}")
        files_there = [file for file in files if not file.endswith("/")]
        verdict.expect(len(files_there) == len(WANTED) + 1, f"and little else: {files_there}")
        depends = output("dpkg-deb", "-f", packages[0], "Depends")
        verdict.expect("libc6" in depends and "libtomlplusplus" in depends, f"it depends on {depends.strip()}")
        output("dpkg-deb", "-x", packages[0], folder / "root")
        verdict.expect(output(folder / "root/usr/bin/vmm", "version") == output(build / "vmm", "version"), "its program runs")
        page = (folder / "root/usr/share/man/man1/vmm.1").read_text()
        verdict.expect(page == output(build / "vmm", "help", "--man"), "its man page is that of this program")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
