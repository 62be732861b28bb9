// The GIC as its registers show it: random operations, and after each a line with what can be seen. peer.py runs this on vmm
// and on QEMU and compares. Kernel parameters: gic.seed=N, gic.count=N.
//
// SGIs, and SPIs that no device has, made pending by software. Nothing is taken as an exception: ISR_EL1 says what would be.
// What is UNPREDICTABLE is left out: an EOI that is not of the interrupt acknowledged last, DIR of what is not active.
#include "guest_c.h"

// Words, by their offset.
#define GICD_CTLR 0x000
#define IGROUPR 0x080
#define ISENABLER 0x100
#define ICENABLER 0x180
#define ISPENDR 0x200
#define ICPENDR 0x280
#define ISACTIVER 0x300
#define ICACTIVER 0x380
#define IPRIORITYR 0x400
#define IROUTER 0x6000
#define GICR_WAKER 0x014
#define SPI_WORD 4     // the second word of each array: INTIDs 32 to 63
#define FIRST_SPI 40u  // eight of them
#define SPI_MASK 0x0000FF00u
#define SPURIOUS 1023u

#define ICC_DIR "s3_0_c12_c11_1"
#define ICC_RPR "s3_0_c12_c11_3"
#define ICC_HPPIR1 "s3_0_c12_c12_2"
#define ICC_BPR1 "s3_0_c12_c12_3"
#define ICC_CTLR "s3_0_c12_c12_4"
#define ICC_SRE "s3_0_c12_c12_5"
#define ICC_IGRPEN1 "s3_0_c12_c12_7"
#define ICC_AP1R0 "s3_0_c12_c9_0"
#define EOI_MODE 2u
#define RANGES (1u << 18)

static volatile u32* word(u64 base, u32 offset) {
    return (volatile u32*)(base + offset);
}

// ── Lines ──

// What can be seen without changing it, and ends the line.
static void put_state(void) {
    put(" | isr");
    put_hex(READ_SYSTEM("isr_el1"));
    put(" hppir");
    put_hex(READ_SYSTEM(ICC_HPPIR1));
    put(" rpr");
    put_hex(READ_SYSTEM(ICC_RPR));
    put(" ap");
    put_hex(READ_SYSTEM(ICC_AP1R0));
    put(" pmr");
    put_hex(READ_SYSTEM(ICC_PMR));
    put(" bpr");
    put_hex(READ_SYSTEM(ICC_BPR1));
    put(" pending");
    for (u32 cpu = 0; cpu < MAX_CPUS; ++cpu) {
        put_hex(*word(GICR(cpu) + SGI_FRAME, ISPENDR) & 0xFFFF);
    }
    put_hex(*word(GICD, ISPENDR + SPI_WORD) & SPI_MASK);
    put(" active");
    put_hex(*word(GICR(0) + SGI_FRAME, ISACTIVER) & 0xFFFF);
    put_hex(*word(GICD, ISACTIVER + SPI_WORD) & SPI_MASK);
    end_line();
}

// ── Operations ──

static u64 random_state;

static u32 below(u32 limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (u32)((random_state * 0x9E3779B97F4A7C15ull >> 32) % limit);
}

static void put_operation(const char* name, u64 value) {
    put(name);
    put_hex(value);
}

// An SGI or an SPI: the base of its registers and their word.
struct place {
    u64 base;
    u32 word, mask;
};

static struct place place_of(u32 intid) {
    return (struct place){intid < 32 ? GICR(0) + SGI_FRAME : GICD, intid < 32 ? 0 : SPI_WORD,
                          1u << (intid & 31)};
}

static u32 random_intid(void) {
    return below(3) != 0 ? below(16) : FIRST_SPI + below(8);
}

static u32 acknowledged[32], acknowledged_count;  // not ended yet, in order
static u32 dropped[32], dropped_count;            // ended under EOImode 1, not deactivated yet
static u32 eoi_mode;

static void set_bit(const char* name, u32 offset) {
    const u32 intid = random_intid();
    const struct place at = place_of(intid);
    put_operation(name, intid);
    *word(at.base, offset + at.word) = at.mask;
}

static u8 level_of[FIRST_SPI + 8];  // the five bits of the priority that count

static void write_priority(u32 intid, u32 priority) {
    level_of[intid] = (u8)(priority >> 3);
    *(volatile u8*)(place_of(intid).base + IPRIORITYR + intid) = (u8)priority;
}

// No two have the same: which of them comes first is the implementation's.
static void set_priority(void) {
    const u32 intid = random_intid(), priority = below(32) * 8;  // five bits, as the CPU interface has
    for (u32 other = 0; other < FIRST_SPI + 8; ++other) {
        if (level_of[other] == priority >> 3) {
            put("nothing");
            return;
        }
    }
    put_operation("priority", intid);
    put_hex(priority);
    write_priority(intid, priority);
}

// The active state by software, of what has not been acknowledged.
static void set_active(void) {
    const u32 intid = random_intid(), on = below(3) != 0;
    u32 busy = 0;
    for (u32 i = 0; i < acknowledged_count; ++i) {
        busy |= acknowledged[i] == intid;
    }
    for (u32 i = 0; i < dropped_count; ++i) {
        busy |= dropped[i] == intid;
    }
    if (busy) {
        put("nothing");
        return;
    }
    const struct place at = place_of(intid);
    put_operation(on ? "isactiver" : "icactiver", intid);
    *word(at.base, (on ? ISACTIVER : ICACTIVER) + at.word) = at.mask;
}

static void acknowledge(void) {
    put("iar");
    if (acknowledged_count + dropped_count >= 30) {
        return;
    }
    const u32 intid = (u32)READ_SYSTEM(ICC_IAR1);
    put_hex(intid);
    if (intid != SPURIOUS) {
        acknowledged[acknowledged_count++] = intid;
    }
}

static void end(void) {
    if (acknowledged_count == 0) {
        put("nothing");
        return;
    }
    const u32 intid = acknowledged[--acknowledged_count];
    put_operation("eoir", intid);
    WRITE_SYSTEM(ICC_EOIR1, intid);
    if (eoi_mode != 0) {
        dropped[dropped_count++] = intid;
    }
}

static void deactivate(void) {
    if (dropped_count == 0) {
        put("nothing");
        return;
    }
    const u32 which = below(dropped_count), intid = dropped[which];
    dropped[which] = dropped[--dropped_count];
    put_operation("dir", intid);
    WRITE_SYSTEM(ICC_DIR, intid);
}

static void change_mode(void) {
    if (acknowledged_count != 0 || dropped_count != 0) {
        put("nothing");
        return;
    }
    eoi_mode ^= EOI_MODE;
    put_operation("ctlr", eoi_mode);
    WRITE_SYSTEM(ICC_CTLR, eoi_mode);
}

// To a list of CPUs by affinity and range, or to all but this one.
static void send(void) {
    u64 value = (u64)below(16) << 24 | below(256);
    switch (below(8)) {
        case 0: value |= 1ull << 40; break;                    // IRM
        case 1: value |= (u64)below(16) << 44; break;          // RS
        case 2: value |= (u64)below(2) << 16; break;           // Aff1
        case 3: value |= (u64)below(2) << 32; break;           // Aff2
        case 4: value |= (u64)below(2) << 48; break;           // Aff3
        default: value = (value & ~0xFFull) | 1u << below(4);  // mostly one
    }
    put_operation("sgi", value);
    const u32 is_range =
        (value >> 44 & 15) != 0;  // of Aff0 values that no CPU here has; without RSS the field is ignored
    if (!is_range || (READ_SYSTEM(ICC_CTLR) & RANGES) != 0) {
        WRITE_SYSTEM(ICC_SGI1R, value);
    }
}

static void operate(void) {
    switch (below(26)) {
        case 0:
        case 1:
        case 2: set_bit("ispendr", ISPENDR); break;
        case 3: set_bit("icpendr", ICPENDR); break;
        case 4:
        case 5: set_bit("isenabler", ISENABLER); break;
        case 6: set_bit("icenabler", ICENABLER); break;
        case 7:
        case 8:
        case 9: set_priority(); break;
        case 10: {
            const u32 mask = below(3) != 0 ? 0xF0 : below(256);
            put_operation("pmr", mask);
            WRITE_SYSTEM(ICC_PMR, mask);
            break;
        }
        case 11: {
            const u32 point = below(8);
            put_operation("bpr", point);
            WRITE_SYSTEM(ICC_BPR1, point);
            break;
        }
        case 12: {
            const u32 enable = below(4) != 0;
            put_operation("igrpen", enable);
            WRITE_SYSTEM(ICC_IGRPEN1, enable);
            break;
        }
        case 13: change_mode(); break;
        case 14:
        case 15:
        case 16: acknowledge(); break;
        case 17:
        case 18:
        case 19: end(); break;
        case 20: deactivate(); break;
        case 21: set_active(); break;
        default: send(); break;
    }
}

static void gic_on(void) {
    *word(GICD, GICD_CTLR) = 0x12;  // affinity routing, group 1
    for (u32 cpu = 0; cpu < MAX_CPUS; ++cpu) {
        *word(GICR(cpu), GICR_WAKER) &= ~2u;
        *word(GICR(cpu) + SGI_FRAME, IGROUPR) = ~0u;
    }
    *word(GICD, IGROUPR + SPI_WORD) = SPI_MASK;
    *word(GICR(0) + SGI_FRAME, ISENABLER) = 0xFFFF;
    *word(GICD, ISENABLER + SPI_WORD) = SPI_MASK;
    for (u32 i = 0; i < FIRST_SPI + 8; ++i) {
        level_of[i] = 0xFF;
    }
    for (u32 i = 0; i < 24; ++i) {
        write_priority(i < 16 ? i : FIRST_SPI + i - 16, 0x20 + i * 8);
    }
    for (u32 intid = FIRST_SPI; intid < FIRST_SPI + 8; ++intid) {
        *(volatile u64*)(GICD + IROUTER + intid * 8ull) = 0;
    }
    WRITE_SYSTEM(ICC_SRE, 7);
    WRITE_SYSTEM(ICC_PMR, 0xF0);
    WRITE_SYSTEM(ICC_CTLR, 0);
    WRITE_SYSTEM(ICC_IGRPEN1, 1);
}

static u32 number_of(const char* name, u32 otherwise) {
    const char* const text = parameter(name);
    return text != 0 ? parse_number(text) : otherwise;
}

void guest_begin(void) {}

void guest_cpu(u32 self, u64 context) {
    (void)self;
    (void)context;
    const u32 count = number_of("gic.count=", 5000);
    random_state = number_of("gic.seed=", 1) * 0xD1342543DE82EF95ull + 1;
    gic_on();
    put_operation("start", READ_SYSTEM(ICC_CTLR) & 0x700);
    put_state();
    for (u32 i = 0; i < count; ++i) {
        operate();
        put_state();
    }
    print("END\n");
    power_off();
}
