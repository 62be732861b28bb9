"""Makes bare-metal AArch64 ELF files from instruction words, so that tests need no cross compiler."""
import struct

RAM = 0x80000000

# Words used by several programs; the names say what they do.
X1_IS_UART = 0xD2A02001         # movz x1, #0x100, lsl #16
PUT_W2 = 0x39000022             # strb w2, [x1]
HVC = 0xD4000002                # hvc #0
FOREVER = 0x14000000            # b .
WFI = 0xD503207F
PSCI_CPU_OFF = [0xD2B08000, 0xF2800040]       # mov x0, #0x84000002
PSCI_SYSTEM_OFF = [0xD2B08000, 0xF2800100]    # mov x0, #0x84000008
PSCI_SYSTEM_RESET = [0xD2B08000, 0xF2800120]  # mov x0, #0x84000009
READ_COUNTER_X3 = 0xD53BE043    # mrs x3, cntvct_el0
W2_IS_X3_PRINTABLE = [0x12001462, 0x11008042]  # and w2, w3, #0x3f; add w2, w2, #0x20


def put_char(char: str) -> list[int]:
    return [0x52800002 | ord(char) << 5, PUT_W2]  # mov w2, #char; strb w2, [x1]


def elf(words: list[int], machine: int = 183) -> bytes:
    """An ET_EXEC file whose only segment holds `words` and 4 KiB of zeros, at the start of RAM."""
    code = b"".join(struct.pack("<I", word) for word in words)
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, RAM, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 120, RAM, RAM, len(code), len(code) + 4096, 4096)
    return header + segment + code


def image(words: list[int]) -> bytes:
    """The same as an Image: what tells Linux's format is the 64-byte header, whose first word jumps behind it."""
    code = b"".join(struct.pack("<I", word) for word in words)
    header = struct.pack("<IIQQQQQQ4sI", 0x14000010, 0, 0, 65536, 0xA, 0, 0, 0, b"ARM\x64", 0)
    return header + code
