#!/usr/bin/env python3
"""Runs random guests under vmm: whatever a guest does, the host process must end in a documented way.

usage: fuzz.py [options] VMM ELF [ELF...]

ELF is tests/guest/fuzz.S built for some translation granule. Each seed makes one guest out of it, by filling its body with
random instructions, system register writes and wild accesses, and one set of options of vmm. A guest may end as it likes
(power off: 0, all CPUs off: 4, --timeout: 124); a signal, any other status, or a process that does not end is a failure
of vmm. Every failure names its seed, which repeats it: fuzz.py --first SEED --count 1 --keep DIR VMM ELF...
"""
import argparse
import concurrent.futures
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

CONFIG_MARK = b"vmm fuzz config."
BODY_MARK = b"vmm fuzz body..."
CHUNKS, CHUNK_WORDS = 64, 64
ALLOWED = {0, 4, 124}
HANG_SECONDS = 60

RAM = 0x80000000
TEST_VA = 0x100000000
GRANULES = (12, 14, 16)

# Where devices are, and how much of them is worth poking at.
DEVICES = [(0x01000000, 0x20), (0x01001000, 0x20), (0x02000000, 0x1000), (0x03000000, 0x200), (0x03000200, 0x200),
           (0x03000400, 0x200), (0x03000000, 0x4000), (0x3FFF0000, 0x10000), (0x3FFD0000, 0x20000),
           (0x3FFB0000, 0x20000), (0x3FF00000, 0x100000), (0x0F000000, 0x1000)]

# op1, CRn, CRm, op2 of op0 = 3. Writing the first list leaves the guest alive; the second often kills it quickly.
TAME = [(0, 4, 0, 1), (0, 4, 1, 0), (0, 4, 2, 0), (0, 4, 2, 3), (0, 4, 2, 4), (3, 4, 2, 0), (3, 4, 2, 6), (3, 4, 4, 0),
        (3, 4, 4, 1), (0, 5, 2, 0), (0, 6, 0, 0), (0, 7, 4, 0), (0, 1, 0, 2), (0, 10, 3, 0), (0, 13, 0, 1),
        (0, 13, 0, 4), (3, 13, 0, 2), (3, 13, 0, 3), (0, 14, 1, 0), (2, 0, 0, 0), (0, 10, 4, 0), (0, 10, 4, 3),
        (0, 5, 3, 1), (0, 12, 1, 1), (3, 14, 0, 0)]
PROFILING = [(0, 9, 9, n) for n in range(8)] + [(0, 9, 10, n) for n in range(8)]
MONITORS = ([(3, 9, 12, n) for n in range(8)] + [(3, 9, 13, n) for n in range(3)] + [(3, 9, 14, 0), (3, 9, 14, 3)] +
            [(0, 9, 14, 1), (0, 9, 14, 2)] + [(3, 14, 8, n) for n in range(8)] + [(3, 14, 12, n) for n in range(8)] +
            [(3, 14, 15, 7)])
TIMERS = [(3, 14, 2, n) for n in range(3)] + [(3, 14, 3, n) for n in range(3)] + [(0, 14, 1, 0)]
GIC = ([(0, 12, 8, n) for n in range(8)] + [(0, 12, 9, n) for n in range(8)] + [(0, 12, 11, n) for n in range(8)] +
       [(0, 12, 12, n) for n in range(8)] + [(0, 4, 6, 0)])
DEBUG = [(0, 0, n, op2) for n in range(16) for op2 in range(4, 8)]  # of op0 = 2
DEADLY = [(0, 1, 0, 0), (0, 2, 0, 0), (0, 2, 0, 1), (0, 2, 0, 2), (0, 10, 2, 0), (0, 4, 0, 0), (3, 4, 2, 1),
          (0, 12, 0, 0)]

# Operations on caches, translations and the TLB: op1, CRm, op2 of CRn 7 and 8.
CACHE = [(0, 1, 0), (0, 5, 0), (3, 5, 1), (0, 6, 1), (0, 6, 2), (0, 10, 2), (0, 14, 2), (3, 4, 1), (3, 10, 1),
         (3, 11, 1), (3, 12, 1), (3, 14, 1), (0, 8, 0), (0, 8, 1), (0, 8, 2), (0, 8, 3), (0, 9, 0), (0, 9, 1)]
TLB = [(0, m, n) for m in (3, 7) for n in range(8)]

# Templates: bits that are fixed, and their value; the others are random.
TEMPLATES = [
    (0x3B000000, 0x39000000),  # load/store, unsigned offset, with and without SIMD&FP
    (0x3B200C00, 0x38000000),  # unscaled
    (0x3B200C00, 0x38000400),  # post-index
    (0x3B200C00, 0x38000C00),  # pre-index
    (0x3B200C00, 0x38200800),  # register offset
    (0x3B200C00, 0x38000800),  # unprivileged
    (0x3B200C00, 0x38200000),  # atomics
    (0x3A000000, 0x28000000),  # pairs
    (0x3F000000, 0x08000000),  # exclusive, ordered, compare and swap
    (0x3B000000, 0x18000000),  # literal
    (0xBFBF0000, 0x0C000000),  # SIMD structures
    (0xBFA00000, 0x0C800000),
    (0xBF9F0000, 0x0D000000),
    (0xBF800000, 0x0D800000),
    (0x1F000000, 0x1E000000),  # scalar floating point
    (0x1F000000, 0x1F000000),
    (0x9F000000, 0x0E000000),  # SIMD
    (0x9F000000, 0x0F000000),
    (0xDF000000, 0x5E000000),
    (0xDF000000, 0x5F000000),
    (0x1F000000, 0x0A000000),  # data processing
    (0x1F000000, 0x0B000000),
    (0x1F000000, 0x1A000000),
    (0x1F000000, 0x1B000000),
    (0x1C000000, 0x10000000),
]


def movz_sequence(register, value):
    words = [0xD2800000 | (value & 0xFFFF) << 5 | register]
    for shift in (1, 2, 3):
        part = value >> (16 * shift) & 0xFFFF
        if part:
            words.append(0xF2800000 | shift << 21 | part << 5 | register)
    return words


class Guest:
    """One random guest."""

    def __init__(self, seed):
        self.random = r = random.Random(seed)
        self.granule = r.choice(GRANULES)
        self.cpus = r.choice((1, 1, 1, 2, 3))
        self.insn_clock = r.random() < 0.6
        self.spe = r.random() < 0.5
        self.pmu = r.random() < 0.4
        self.devices = r.random() < 0.4
        self.mmu = r.random() < 0.7
        self.deadly = r.random() < 0.12    # writes that tend to end in an endless loop of aborts
        self.calls = r.random() < 0.15     # PSCI
        self.wild_tables = r.random() < 0.1
        # What this guest likes to do.
        self.weights = [r.random() ** 2 for _ in range(9)] + [0.3 * r.random() * self.devices]
        self.tables = 0                    # where the translation tables are

    def options(self, disk):
        options = ["-m", "64", "-c", str(self.cpus), "--timeout", "1", "--nodefaults"]
        if self.insn_clock:
            options += ["--clock", "insn"]
        if self.spe:
            options += ["--spe"]
            options += self.random.choice(([], ["--spe-pin", "off"], ["--spe-max-buffer-size", "0"],
                                           ["--spe-version", self.random.choice(("1.0", "1.1", "1.3", "1.4"))]))
        if self.pmu:
            options += ["--pmu"]
        if self.devices:
            options += ["--rng", "-d", disk, "--console", self.random.choice(("serial", "virtio"))]
        return options

    def config(self):
        r = self.random
        flags = self.mmu | (r.random() < 0.5) << 1 | self.spe << 2 | self.pmu << 3
        usual = RAM + 0x2000000 + r.randrange(0x100000)
        start = r.choice((usual, usual, self.address(), self.value(),
                          TEST_VA + r.randrange(12) * (1 << self.granule) if self.mmu else usual))
        if r.random() < 0.9:
            start &= ~0x3F
        size = r.choice((0x1000, 0x2000, 0x10000, 0x400000, 0x401000, r.getrandbits(r.randrange(13, 64))))
        discard = r.choice((0, 0, 0, 0, 0, 0, 2, 4, 6))
        limit = ((start + size) & ~0xFFF | 1 | discard) & (1 << 64) - 1
        tcr = r.choice((0, 1 << 39, 3 << 39, 3 << 37, 1 << 36, 1 << 41))
        sctlr = r.choice((0, 0, 0, 2, 0x18, 1 << 19 if self.deadly else 0, 1 << 26 | 1 << 14 | 1 << 15))
        interval = r.choice((256, 256, 256 | 1, 1024, 0, r.getrandbits(32)))
        pmscr = r.choice((3, 0x3B, 2, 1, 0x3A, r.getrandbits(64)))
        return struct.pack("<10Q", r.choice((50, 200, 1000, 3000)), flags, r.choice((200, 2000, 20000)), self.cpus,
                           pmscr, start, limit, interval, tcr, sctlr)

    def value(self):
        r = self.random
        kind = r.randrange(6)
        if kind == 0:
            return r.getrandbits(64)
        if kind == 1:
            return 1 << r.randrange(64)
        if kind == 2:
            return (1 << r.randrange(1, 65)) - 1
        if kind == 3:
            return r.getrandbits(r.randrange(1, 65))
        if kind == 4:
            return -r.getrandbits(r.randrange(1, 64)) & (1 << 64) - 1
        return self.address()

    def address(self):
        """Somewhere worth accessing."""
        r = self.random
        granule = 1 << self.granule
        kind = r.randrange(12)
        page_offset = r.choice((0, r.randrange(granule), granule - r.randrange(1, 33), granule - 8))
        if kind < 5:
            return TEST_VA + r.randrange(14) * granule + page_offset
        if kind < 7:
            return RAM + 0x1000000 + r.randrange(0x3000000)
        if kind == 7:
            base, size = r.choice(DEVICES)
            return base + (r.randrange(size) & ~r.choice((0, 3, 3, 7)))
        if kind == 8:
            return RAM + 0x4000000 - r.randrange(64)       # the end of RAM
        if kind == 9:
            return (TEST_VA + r.randrange(14) * granule + page_offset) | r.getrandbits(16) << 48
        if kind == 10:
            if not self.wild_tables:
                return TEST_VA + 32 * granule + r.randrange(0x4000)   # the body
            return self.tables + r.randrange(9) * granule + r.randrange(64) * 8
        return r.choice((0, 1, -1, 1 << 47, (1 << 48) - 4, -1 << 48, -1 << 39, -4, RAM - 4)) & (1 << 64) - 1

    def load_value(self, register, value):
        return movz_sequence(register, value)

    # ── What chunks are made of ──────────────────────────────────────────────────────────────────────────────────────

    def anything(self):
        return [self.random.getrandbits(32)]

    def templated(self):
        mask, value = self.random.choice(TEMPLATES)
        return [self.random.getrandbits(32) & ~mask & 0xFFFFFFFF | value]

    def access(self):
        """A pointer, and a load or store through it."""
        r = self.random
        base = r.randrange(28)
        mask, value = r.choice(TEMPLATES[:14])
        word = r.getrandbits(32) & ~mask & 0xFFFFFFFF | value
        return self.load_value(base, self.address()) + [word & ~(31 << 5) | base << 5]

    def device(self):
        r = self.random
        base, size = r.choice(DEVICES)
        words = self.load_value(1, base + (r.randrange(size) & ~3)) + self.load_value(0, self.value())
        return words + [r.choice((0xB9000020, 0xB9400020, 0xF9000020, 0x39000020, 0x79400020, 0xA9000020, 0xF8200020))]

    def system_register(self):
        r = self.random
        lists = [TAME, TAME, TIMERS, GIC]
        if self.spe:
            lists += [PROFILING, PROFILING, PROFILING]
        if self.pmu:
            lists += [MONITORS, MONITORS]
        if self.deadly:
            lists.append(DEADLY)
        op0 = 3
        op1, crn, crm, op2 = r.choice(r.choice(lists))
        kind = r.random()
        if kind < 0.05:
            op0, (op1, crn, crm, op2) = 2, r.choice(DEBUG)
        elif kind < 0.15:
            op1, crn, crm, op2 = r.randrange(8), r.choice((0, 2, 5, 6, 9, 10, 11, 13, 15)), r.randrange(16), r.randrange(8)
            if (op1, crn, crm, op2) in DEADLY and not self.deadly:
                crm = 15
        read = r.random() < 0.3
        word = 0xD5000000 | read << 21 | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
        return ([] if read else self.load_value(2, self.value())) + [word | 2]

    def system_operation(self):
        r = self.random
        if r.random() < 0.5:
            op1, crm, op2 = r.choice(CACHE)
            crn, operand = 7, self.address()
        else:
            op1, crm, op2 = r.choice(TLB)
            crn = 8
            operand = self.address() >> 12 & (1 << 44) - 1 | r.choice((0, 1, r.getrandbits(16))) << 48
        return self.load_value(3, operand) + [0xD5080000 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | 3]

    def branch(self):
        """Mostly short, within the body."""
        r = self.random
        offset = r.randrange(-40, 60)
        kind = r.randrange(6)
        if kind == 0:
            return [0x14000000 | offset & 0x3FFFFFF]
        if kind == 1:
            return [0x54000000 | (offset & 0x7FFFF) << 5 | r.randrange(16)]
        if kind == 2:
            return [0x34000000 | r.getrandbits(1) << 31 | r.getrandbits(1) << 24 | (offset & 0x7FFFF) << 5 | r.randrange(31)]
        if kind == 3:
            return [0x36000000 | r.getrandbits(1) << 31 | r.getrandbits(1) << 24 | (offset & 0x3FFF) << 5 | r.randrange(31)]
        if kind == 4:
            return [0x94000000 | offset & 0x3FFFFFF]
        return [0x10000000 | (offset & 0x7FFFF) << 5 | 4, 0xD61F0080 | r.randrange(2) << 21]

    def special(self):
        r = self.random
        words = [0xD503201F | r.randrange(32) << 5, 0xD503207F, 0xD503205F, 0xD5033FDF, 0xD5033F9F, 0xD503305F,
                 0xD69F03E0, 0xD4200000, 0xD4000001, 0xD4000003, 0xD4400000, 0xD4A00001, 0xD50040BF | r.randrange(16) << 8,
                 0xD500409F | r.randrange(16) << 8, 0xD50342DF, 0xD50342FF, 0xD503223F, 0xD503203F | r.randrange(8) << 8]
        if self.calls and r.random() < 0.3:
            function = r.choice((0x84000000, 0x84000001, 0xC4000001, 0x84000002, 0x84000003, 0xC4000003, 0x84000004,
                                 0xC4000004, 0x84000005, 0x84000006, 0x8400000A, 0xC400000E, 0x80000000, 0x84000050,
                                 0x84000009 if r.random() < 0.1 else 0, r.getrandbits(32)))
            return (self.load_value(0, function) + self.load_value(1, r.choice((0, 1, 2, 3, self.value()))) +
                    self.load_value(2, self.address()) + [0xD4000002])
        return [r.choice(words)]

    def table(self):
        """A random descriptor for one of the test's pages."""
        r = self.random
        if not self.wild_tables:
            return self.access()
        level = r.choice((0, 1, 2, 3, 4, 4, 4, 4))
        descriptor = r.choice((self.value(), self.tables + r.randrange(9) * (1 << self.granule) | 3,
                               self.address() & ~0xFFF | r.getrandbits(12) | 3, r.getrandbits(16) << 48 | 0x82000403))
        return (self.load_value(5, self.tables + (level << self.granule) + r.randrange(48) * 8) +
                self.load_value(6, descriptor) + [0xF90000A6])

    def virtio(self):
        """A driver that sets a device up, more or less, gives it buffers, more or less, and rings."""
        r = self.random
        memory = RAM + 0x2800000 + r.randrange(0x100) * 0x1000
        far = RAM + 0x4000000 - r.randrange(0x2000)

        def mostly(usual, *others):
            return usual if r.random() < 0.96 else r.choice((*others, self.value()))

        ring = mostly(memory, far)
        queue, size = r.choice((0, 0, 1)), mostly(8, 4, 256, 1024, 0, 3, 0x8001)
        words = self.load_value(1, 0x03000000 + 0x200 * r.randrange(3)) + self.load_value(2, memory)

        def write32(offset, value):
            if r.random() < 0.99:
                words.extend(self.load_value(0, value & 0xFFFFFFFF) + [0xB9000020 | offset // 4 << 10])

        def write64(offset, value):
            write32(offset, value)
            write32(offset + 4, value >> 32)

        def memory64(offset, value):
            words.extend(self.load_value(0, value & (1 << 64) - 1) + [0xF9000040 | offset // 8 << 10])

        # A request of the block device: header, data, status; for the others just three buffers.
        memory64(0x3000, mostly(r.choice((0, 1, 4, 8, 11, 13))))
        memory64(0x3008, mostly(r.randrange(2048), 2047, 2048))
        chain = [(memory + 0x3000, 16, 1), (memory + 0x3100, r.choice((512, 1024, 0x10000, 20)), r.choice((1, 3))),
                 (memory + 0x3010, 1, 2)]
        if r.random() < 0.2:
            chain[0] = (memory + 0x10, r.choice((16, 32, 48, 0, 17)), 4)    # indirect, into the same table
        for n, (address, length, flags) in enumerate(chain):
            memory64(16 * n, mostly(address, far, self.address()))
            memory64(16 * n + 8, mostly(length, 0xFFFFFFFF, 0) & 0xFFFFFFFF |
                     mostly(flags, 0, 1, 2, 3, 4) << 32 & 0xFFFF << 32 | mostly(n + 1, 0, n) << 48)
        memory64(0x1000, mostly(1, 2, 8) << 16 & 0xFFFF0000 | mostly(0, 1, 7) << 32 | r.choice((0, 0, 1)))

        for status in (0, 1, 3):
            write32(0x70, status)
        for half in (0, 1):
            write32(0x24, half)
            write32(0x20, mostly(1) if half else mostly(0, 1 << 28, 1 << 29, 3 << 28))
        write32(0x70, 0xB)
        write32(0x30, queue)
        write32(0x38, size)
        write64(0x80, ring)
        write64(0x90, mostly(ring + 0x1000))
        write64(0xA0, mostly(ring + 0x2000))
        write32(0x44, 1)
        write32(0x70, 0xF)
        write32(0x50, mostly(queue))
        return words

    def body(self):
        makers = [self.anything, self.templated, self.access, self.device, self.system_register, self.system_operation,
                  self.branch, self.special, self.table, self.virtio]
        words = []
        while len(words) < CHUNKS * CHUNK_WORDS:
            words += self.random.choices(makers, self.weights)[0]()
        chunks = (words[n:n + CHUNK_WORDS - 1] for n in range(0, CHUNKS * (CHUNK_WORDS - 1), CHUNK_WORDS - 1))
        words = [word for chunk in chunks for word in [*chunk, 0xD4000001]]     # SVC: into the frame now and then
        return struct.pack(f"<{len(words)}I", *words)

    def image(self, template):
        image = bytearray(template)
        at = image.index(CONFIG_MARK) + len(CONFIG_MARK)
        self.tables, = struct.unpack_from("<Q", image, at + 80)
        config = self.config()
        image[at:at + len(config)] = config
        at = image.index(BODY_MARK)
        body = self.body()
        image[at:at + len(body)] = body
        return bytes(image)


def run(seed, vmm, templates, directory):
    """None, or what went wrong; and how the guest ended."""
    guest = Guest(seed)
    image = os.path.join(directory, f"{seed}.elf")
    disk = os.path.join(directory, f"{seed}.disk")
    with open(image, "wb") as file:
        file.write(guest.image(templates[guest.granule]))
    if guest.devices:
        with open(disk, "wb") as file:
            file.truncate(1 << 20)
    command = [vmm, "run", "-k", image, *guest.options(disk)]
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=HANG_SECONDS, check=False)
        status = result.returncode
        problem = None if status in ALLOWED else f"status {status}: {result.stderr[-2000:].decode(errors='replace')}"
    except subprocess.TimeoutExpired:
        status, problem = None, f"still running after {HANG_SECONDS} s"
    for path in (image, disk):
        if problem is None and os.path.exists(path):
            os.unlink(path)
    return (problem and f"seed {seed}: {' '.join(command)}\n{problem}"), status


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vmm")
    parser.add_argument("elf", nargs="+", help="fuzz.S for granules of 4, 16 and 64 KiB, in this order")
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--count", type=int, default=0, help="number of seeds (default: until --seconds)")
    parser.add_argument("--seconds", type=float, default=0, help="begin no seed after this time")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", help="directory for guests (those that failed stay)")
    options = parser.parse_args()
    if not options.count and not options.seconds:
        parser.error("--count or --seconds")
    templates = {}
    for granule, path in zip(GRANULES, options.elf, strict=True):
        with open(path, "rb") as file:
            templates[granule] = file.read()
    directory = options.keep or tempfile.mkdtemp(prefix="vmm-fuzz-")
    os.makedirs(directory, exist_ok=True)
    end = time.monotonic() + options.seconds if options.seconds else float("inf")
    last = options.first + options.count if options.count else sys.maxsize
    statuses, failures, seed = {}, [], options.first
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        pending = set()
        while True:
            while seed < last and time.monotonic() < end and len(pending) < options.jobs:
                pending.add(pool.submit(run, seed, options.vmm, templates, directory))
                seed += 1
            if not pending:
                break
            done, pending = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                problem, status = future.result()
                statuses[status] = statuses.get(status, 0) + 1
                if problem:
                    failures.append(problem)
                    print(problem, flush=True)
    ends = ", ".join(f"{count} with status {status}" for status, count in sorted(statuses.items(), key=str))
    print(f"seeds {options.first} to {seed - 1}: {ends}")
    if failures:
        print(f"{len(failures)} failed; guests kept in {directory}")
    elif not options.keep:
        os.rmdir(directory)
    return 1 if failures or seed == options.first else 0


if __name__ == "__main__":
    sys.exit(main())
