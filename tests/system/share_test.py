#!/usr/bin/env python3
"""A folder of the host as Linux sees it through --9p: names and attributes, no way out of the folder, and a large file
that goes through it and through a disk; and other disks: a qcow2 image, and one that is discarded.

usage: share_test.py VMM SOURCE_DIR
"""
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile

from guest import Guest, Verdict

BIG = 256 << 20
SMALL = 4 << 20


def make_big(path: pathlib.Path) -> str:
    """Random bytes, with their digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(BIG >> 20):
            piece = os.urandom(1 << 20)
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def digest_of(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def judge_files(verdict: Verdict, guest: Guest, share: pathlib.Path, disk: pathlib.Path, digest: str) -> None:
    verdict.expect(guest.all("failed:") == [], f"everything a file system must do works: {guest.all('failed:')}")
    verdict.expect(digest_of(disk) == digest, "256 MiB read from the folder and written to the disk are what they were")
    verdict.expect(digest_of(share / "copy") == digest, "256 MiB read from the disk and written to the folder are what they were")
    verdict.expect(guest.all("link") == ["text"] and os.readlink(share / "deep/er/link") == "still/file",
                   "symbolic links are followed by the guest")
    verdict.expect(guest.all("links") == ["2"], "links are counted")
    moved = (share / "deep/moved").stat()
    verdict.expect(moved.st_mode & 0o7777 == 0o640, "chmod")
    verdict.expect((share / "sized").stat().st_size == 12345, "truncate")
    verdict.expect(guest.all("appended") == ["abcdef"] and (share / "appended").read_text() == "abcdef", "append")
    verdict.expect((share / "deep/pipe").is_fifo(), "mkfifo")
    verdict.expect(not (share / "deep/er/still").exists() and not (share / "kept").exists(), "rm")
    names = os.listdir(share / "many")
    verdict.expect(len(names) == 1500 and guest.all("many") == ["1500 1500"], "1500 names in one folder are all listed, once")


def judge_confinement(verdict: Verdict, guest: Guest, share: pathlib.Path) -> None:
    for kind in ("outside", "absolute"):
        shown = guest.all(kind)
        verdict.expect(len(shown) == 1 and "No such file" in shown[0], f"a link that leads {kind} leads nowhere: {shown}")
    verdict.expect(guest.all("parent") == ["0"], "the parent of the folder is not to be seen")
    verdict.expect(not (share / "dev-null").exists(), "no device was made")
    refused = dict(fact.split(" ", 1) for fact in guest.all("refused"))
    verdict.expect(refused.get("device") == "Operation not permitted", "no devices are made")
    verdict.expect(refused.get("disk") == "Operation not permitted", f"a read-only disk is not written to: {refused.get('disk')}")
    for kind in ("write", "create", "remove", "mode"):
        verdict.expect(refused.get(kind) == "Read-only file system", f"a read-only folder: no {kind}: {refused.get(kind)}")
    verdict.expect(guest.all("guarded") == ["abcdef"], "a read-only folder is read")


def main() -> int:
    verdict = Verdict()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "vmm-secret").write_text("secret")
        share = folder / "share"
        share.mkdir()
        digest = make_big(share / "big")
        (share / "outside").symlink_to("../vmm-secret")
        (share / "absolute").symlink_to(folder / "vmm-secret")
        os.mkfifo(share / "host-pipe")
        disk = folder / "disk.img"
        with disk.open("wb") as file:
            file.truncate(BIG)
        packed, given_back = folder / "packed.qcow2", folder / "given-back.img"
        given_back.write_bytes(os.urandom(SMALL))
        small_digest = digest_of(given_back)
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", "-c", "-o", "compression_type=zstd", given_back, packed], check=True)
        guest = Guest(sys.argv[1], pathlib.Path(sys.argv[2]), "share-check",
                      ["-c", "2", "-m", "512", "--disk", str(disk), "--disk", f"{packed},ro", "--disk", str(given_back), "--9p", f"{share},share", "--9p", f"{share},guarded,ro"], verdict=verdict)
        verdict.expect(guest.all("packed") == [small_digest], "a compressed qcow2 image is read as what went in")
        verdict.expect(guest.all("discarded") == [hashlib.sha256(bytes(SMALL)).hexdigest()], "what was discarded reads as zeros")
        verdict.expect(given_back.stat().st_blocks == 0, "and takes no room on the host any more")
        judge_files(verdict, guest, share, disk, digest)
        judge_confinement(verdict, guest, share)
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
