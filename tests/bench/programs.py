"""The bare-metal programs of scripts/bench: their table, how they are built and how each machine runs them."""
import dataclasses
import pathlib
import subprocess

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
COMPILER = "aarch64-linux-gnu-gcc"
COMMON = ["start.S", "support.c"]
FLAGS = ["-O2", "-g", "-ffreestanding", "-nostdlib", "-static", "-mcpu=neoverse-n1+profile", "-Wall", "-Wextra", "-Werror",
         "-fno-tree-loop-distribute-patterns", "-fno-math-errno", f"-I{FOLDER}", f"-I{FOLDER.parent / 'guest'}"]

# Where the machines with one CPU have their devices. The first register of both UARTs sends a byte.
MACHINES = {"vmm": {"bench_ram": 0x80000000, "bench_uart": 0x01000000, "bench_rtc": 0x01010000, "bench_gicd": 0x3FFF0000,
                    "bench_gicr": 0x3FFD0000},
            "qemu": {"bench_ram": 0x40000000, "bench_uart": 0x09000000, "bench_rtc": 0x09010000, "bench_gicd": 0x08000000,
                     "bench_gicr": 0x080A0000}}


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    group: str
    source: str     # or several, with commas
    function: str
    count: int


def cases() -> list[Case]:
    rows = []
    for line in (FOLDER / "cases.txt").read_text(encoding="utf-8").splitlines():
        words = line.partition("#")[0].split()
        if words:
            name, group, source, function, count = words
            rows.append(Case(name, group, source, function, int(count)))
    return rows


class Programs:
    """Builds programs into a folder, each source compiled once and linked for each machine."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._objects: dict[str, pathlib.Path] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def _object(self, source: str) -> pathlib.Path:
        if source not in self._objects:
            target = self._folder / (source + ".o")
            subprocess.run([COMPILER, *FLAGS, "-c", "-o", target, FOLDER / source], check=True)
            self._objects[source] = target
        return self._objects[source]

    def elf(self, case: Case, machine: str, count: int | None = None, **settings: int) -> pathlib.Path:
        """The ELF file of `case` for `machine`; settings: more symbols, such as bench_spe_period."""
        symbols = {"bench_spe_period": 0, "bench_count": case.count if count is None else count, **settings,
                   **MACHINES[machine]}
        suffix = "".join(f".{key.removeprefix('bench_')}-{value}" for key, value in settings.items())
        target = self._folder / f"{case.name}.{machine}{suffix}.elf"
        definitions = [f"-Wl,--defsym={key}={value:#x}" for key, value in symbols.items()]
        objects = [self._object(source) for source in (*COMMON, *case.source.split(","))]
        subprocess.run([COMPILER, "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments", *definitions,
                        f"-Wl,--defsym=bench_main={case.function}", f"-Wl,-T,{FOLDER / 'bench.ld'}", "-o", target, *objects],
                       check=True)
        return target


def vmm_command(vmm: str, elf: pathlib.Path, cpus: int = 1, options: tuple[str, ...] = ()) -> list[str]:
    return [vmm, "run", "-k", str(elf), "-c", str(cpus), "-m", "128", "--nodefaults", *options]


def qemu_command(elf: pathlib.Path, cpus: int = 1) -> list[str]:
    return ["qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "neoverse-n1", "-smp", str(cpus), "-m", "128",
            "-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none", "-kernel", str(elf)]
