// GICv3 of the machine with one or more PEs, and its set-up for the PE that calls it.
#ifdef REFERENCE_QEMU
#define GICD 0x08000000
#define GICR(cpus) 0x080A0000
#else
#define GICD 0x3FFF0000
#define GICR(cpus) (GICD - (cpus) * 0x20000)    // of CPU 0; the others follow
#endif
#define GICD_CTLR 0x0
#define GICD_ISENABLER 0x100
#define GICD_ISPENDR 0x200
#define GICD_IGROUPR 0x80
#define GICD_IROUTER 0x6000
#define GICR_WAKER 0x14
#define GICR_SGI_BASE 0x10000
#define GICR_IGROUPR0 0x80
#define GICR_ISENABLER0 0x100

// \redistributor: register with this PE's redistributor frame. Enables group 1, all PPIs and SGIs. Clobbers X0, X1.
.macro gic_setup redistributor
    mov64 x0, GICD
    mov w1, #0x12               // ARE, EnableGrp1
    str w1, [x0, #GICD_CTLR]
    ldr w1, [\redistributor, #GICR_WAKER]
    and w1, w1, #~2             // wake up
    str w1, [\redistributor, #GICR_WAKER]
1:  ldr w1, [\redistributor, #GICR_WAKER]
    tbnz w1, #2, 1b
    add x0, \redistributor, #GICR_SGI_BASE
    mov w1, #-1
    str w1, [x0, #GICR_IGROUPR0]
    str w1, [x0, #GICR_ISENABLER0]
    mov x1, #7
    msr s3_0_c12_c12_5, x1      // ICC_SRE_EL1
    isb
    mov x1, #0xF0
    msr s3_0_c4_c6_0, x1        // ICC_PMR_EL1
    mov x1, #1
    msr s3_0_c12_c12_7, x1      // ICC_IGRPEN1_EL1
    isb
.endm

#define ICC_IAR1_EL1 s3_0_c12_c12_0
#define ICC_EOIR1_EL1 s3_0_c12_c12_1
#define ICC_SGI1R_EL1 s3_0_c12_c11_5
