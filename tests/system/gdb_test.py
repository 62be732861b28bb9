#!/usr/bin/env python3
"""Debian's gdb against Debian's kernel: break at start_kernel, step, backtrace, watch a variable, detach; the guest goes on.

usage: gdb_test.py VMM SOURCE_DIR GDB
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from guest import Verdict, cache_dir

NAMES = ("start_kernel", "kernel_init", "set_cpu_online", "vectors")

SCRIPT = r"""
set pagination off
set confirm off
set style enabled off
set architecture aarch64
target remote SOCKET
printf "mmu %d\n", $SCTLR_EL1 & 1
break *0xSTART_KERNEL
continue
printf "broke %d mmu %d el %d\n", $pc == 0xSTART_KERNEL, $SCTLR_EL1 & 1, ($cpsr >> 2) & 3
printf "vbar %d\n", $VBAR_EL1 == 0xVECTORS
backtrace
stepi
stepi
stepi
printf "stepped %ld\n", $pc - 0xSTART_KERNEL
x/2i $pc
# The kernel tells no addresses of variables: the function that sets __cpu_online_mask has it.
python
import re
code = gdb.execute("x/12i 0xSET_ONLINE", to_string=True)
page, offset = re.search(r"adrp\s+(x\d+), 0x([0-9a-f]+).*?add\s+\1, \1, #0x([0-9a-f]+)", code, re.DOTALL).groups()[1:]
gdb.execute(f"set $online = {int(page, 16) + int(offset, 16)}ul")
end
printf "online %ld\n", *(long*)$online
watch -l *(long*)$online
continue
printf "watched %ld\n", *(long*)$online
backtrace
delete
break *0xKERNEL_INIT
continue
backtrace
printf "init %d el %d\n", $pc == 0xKERNEL_INIT, ($cpsr >> 2) & 3
info threads
delete
detach
"""


def boot(vmm: str, cache: pathlib.Path, *options: str) -> list[str]:
    return [vmm, "run", "-k", str(cache / "vmlinuz"), "-i", str(cache / "initramfs.cpio"), "-m", "512", "-c", "2", "--timeout", "150",
            *options]


def addresses(vmm: str, cache: pathlib.Path, verdict: Verdict) -> dict[str, str]:
    """Where the kernel says that its functions are; without KASLR they are there in every run."""
    run = subprocess.run(boot(vmm, cache, "--exec", "grep -i ' t ' /proc/kallsyms | grep -v '\\['"), stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=200, check=False)
    found = {name: address for address, name in re.findall(r"^([0-9a-f]{16}) \w (\w+)\r?$", run.stdout, re.MULTILINE)}
    verdict.expect(all(name in found for name in NAMES), f"the kernel has told {len(found)} addresses {run.stderr[-300:]}")
    return found


def symbol_file(symbols: dict[str, str], folder: pathlib.Path) -> pathlib.Path:
    """An ELF file with the functions of a kernel that is stripped: gdb's backtrace wants to know where functions begin."""
    base = min(int(address, 16) for address in symbols.values()) & ~0xFFFF
    places = sorted((int(address, 16) - base, name) for name, address in symbols.items())
    lines = [".text"] + [f".globl {name}\n.type {name}, %function\n.set {name}, .text + {offset}" for offset, name in places]
    lines += [f".space {places[-1][0] + 4096}"]
    (folder / "symbols.S").write_text("\n".join(lines) + "\n", encoding="utf-8")
    elf = folder / "symbols.elf"
    subprocess.run(["aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-Wl,--build-id=none", f"-Wl,-Ttext={base:#x}", "-Wl,-e,0",
                    "-o", elf, folder / "symbols.S"], check=True)
    subprocess.run(["aarch64-linux-gnu-objcopy", "--only-keep-debug", elf, elf], check=True)  # code is read from the guest
    return elf


def main() -> int:
    vmm, source, gdb = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    verdict = Verdict()
    cache = cache_dir(source)
    symbols = addresses(vmm, cache, verdict)
    if verdict.failures:
        return 1
    script = SCRIPT
    for name, symbol in (("START_KERNEL", "start_kernel"), ("KERNEL_INIT", "kernel_init"), ("SET_ONLINE", "set_cpu_online"),
                         ("VECTORS", "vectors")):
        script = script.replace("0x" + name, "0x" + symbols[symbol])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        elf = symbol_file(symbols, folder)
        path = folder / "gdb"
        (folder / "script").write_text(script.replace("SOCKET", str(path)), encoding="utf-8")
        guest = subprocess.Popen(boot(vmm, cache, "--gdb", f"unix:{path}", "--gdb-wait", "--exec", "echo alive on $(nproc)"),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not path.exists() and guest.poll() is None:
            time.sleep(0.05)
        start = time.monotonic()
        run = subprocess.run([gdb, "-nx", "-q", "-batch", "-x", str(folder / "script"), str(elf)], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=140, check=False)
        said = run.stdout
        print(said, run.stderr, f"gdb: {time.monotonic() - start:.1f} s", sep="\n")
        stdout, stderr = guest.communicate(timeout=160)
    for line in ("mmu 0", "broke 1 mmu 1 el 1", "vbar 1", "stepped 12", "online 0", "watched 1", "init 1 el 1"):
        verdict.expect(f"\n{line}\n" in said, line)
    verdict.expect("Old value = 0\nNew value = 1" in said, "gdb tells of the variable's change")
    backtraces = [re.findall(r"^#\d+ .* in (\w+) \(\)$", text, re.MULTILINE) for text in said.split("#0 ")[1:]]
    callers = [frames[0] for frames in backtraces if frames]
    verdict.expect(callers == ["__primary_switched", "boot_cpu_init", "ret_from_fork"], f"who has called: {callers}")
    verdict.expect(run.returncode == 0, f"gdb is content: {run.returncode} {run.stderr.strip()[-300:]}")
    verdict.expect(guest.returncode == 0 and "alive on 2" in stdout, f"the guest goes on to its end: {guest.returncode} {stdout!r} {stderr[-500:]}")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
