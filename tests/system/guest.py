"""Runs a script of scripts/guest in a Linux guest and collects what it prints; for the tests of this folder."""
import pathlib
import re
import subprocess
import tempfile


class Verdict:
    """Prints each expectation and remembers those that failed."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def expect(self, condition: bool, text: str) -> bool:
        print(("ok   " if condition else "FAIL ") + text, flush=True)
        if not condition:
            self.failures.append(text)
        return condition

    def status(self) -> int:
        return 1 if self.failures else 0


def cache_dir(source: pathlib.Path) -> pathlib.Path:
    """Where scripts/fetch_guest.sh keeps kernel and initramfs."""
    shown = subprocess.run([source / "scripts/fetch_guest.sh", "--print-dir"], check=True, capture_output=True, text=True)
    return pathlib.Path(shown.stdout.strip())


class Guest:
    """One run of one script, to its end. `facts` are the texts after "SCRIPT: ", in order."""

    def __init__(self, vmm: str, source: pathlib.Path, script: str, options: list[str], *, verdict: Verdict,
                 initrd: pathlib.Path | None = None, timeout: int = 280) -> None:
        cache = cache_dir(source)
        name = script.split()[0]
        arguments = ",".join(script.split()[1:])
        command = [vmm, "run", "-k", str(cache / "vmlinuz"), "-i", str(initrd or cache / "initramfs.cpio"), "--pmu", "--spe",
                   "-p", f"vmm.script={name} vmm.args={arguments}", "--timeout", str(timeout), *options]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout + 20, check=False)
        self.console = run.stdout.decode(errors="replace").replace("\r", "")
        self.facts = re.findall(rf"^{re.escape(name)}: (.*)$", self.console, re.MULTILINE)
        if not verdict.expect(run.returncode == 0 and "done" in self.facts, f"{script}: runs to its end, status {run.returncode}"):
            print(self.console[-4000:], run.stderr.decode(errors="replace")[-2000:])
        for text in ("Oops", "BUG:", "WARNING:", "unexpected", "Unexpected", " stall", "lockup", "Call trace"):
            if text in self.console:
                verdict.expect(False, f"{script}: no '{text}' on the console")

    def all(self, kind: str) -> list[str]:
        """The facts that begin with the word `kind`, without it."""
        return [fact[len(kind) + 1:] for fact in self.facts if fact.startswith(kind + " ")]


class Disk:
    """A raw disk that a guest script copies files to, each from a 16 MiB boundary (scripts/guest/profile-check)."""

    SLOT = 16 << 20

    def __init__(self, slots: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._folder.name)
        self.path = self.folder / "disk.img"
        with self.path.open("wb") as file:
            file.truncate(slots * self.SLOT)

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def take(self, slot: int, size: int, name: str) -> pathlib.Path:
        """The first `size` bytes of a slot, as a file beside the disk."""
        target = self.folder / name
        with self.path.open("rb") as file:
            file.seek(slot * self.SLOT)
            target.write_bytes(file.read(size))
        return target
