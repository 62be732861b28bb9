// Interrupts of one PE: a software-generated one, both timers waking WFI, and a shared one set pending by software.
// vmm:
// vmm: --clock insn
// qemu:
// expect: PASS
#include "guest.h"
#include "gic.h"

.text
// Leaves the acknowledged INTID in X19 and silences its source.
.global irq_handler
irq_handler:
    mrs x19, ICC_IAR1_EL1
    cmp x19, #27
    b.ne 1f
    msr cntv_ctl_el0, xzr
1:  cmp x19, #30
    b.ne 2f
    msr cntp_ctl_el0, xzr
2:  isb
    msr ICC_EOIR1_EL1, x19
    isb
    ret

.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    mov64 x25, GICR(1)          // redistributor of the only PE
    gic_setup x25
    mov x19, #-1

    // An SGI to itself arrives as soon as interrupts are unmasked, not before.
    mov64 x9, 0x03000001        // INTID 3, Aff0 list = PE 0
    msr ICC_SGI1R_EL1, x9
    isb
    check x19, -1
    mrs x9, isr_el1
    check x9, 0x80
    msr daifclr, #2
    nop
    msr daifset, #2
    check x19, 3
    mrs x9, isr_el1
    check x9, 0

    // The virtual timer ends WFI even while masked, and is taken when unmasked.
    mov x19, #-1
    mov x9, #2000
    msr cntv_tval_el0, x9
    mov x9, #1
    msr cntv_ctl_el0, x9
    isb
    wfi
    check x19, -1
    mrs x9, cntv_ctl_el0
    check x9, 5                 // ENABLE, ISTATUS
    msr daifclr, #2
    nop
    msr daifset, #2
    check x19, 27
    check_sysreg cntv_ctl_el0, 0

    // The physical timer, 100 times. Were interrupts on, one that is taken just before WFI would not end it.
    mov x26, #100
timer_loop:
    mov x19, #-1
    mrs x9, cntpct_el0
    add x9, x9, #3000
    msr cntp_cval_el0, x9
    mov x9, #1
    msr cntp_ctl_el0, x9
    isb
1:  wfi
    msr daifclr, #2
    nop
    msr daifset, #2
    cmp x19, #30
    b.ne 1b
    subs x26, x26, #1
    b.ne timer_loop

    // A shared interrupt (INTID 40) made pending by software.
    mov64 x9, GICD
    mov w10, #(1 << 8)
    str w10, [x9, #(GICD_IGROUPR + 4)]
    str w10, [x9, #(GICD_ISENABLER + 4)]
    mov x11, #(GICD_IROUTER + 40 * 8)
    str xzr, [x9, x11]
    mov x19, #-1
    str w10, [x9, #(GICD_ISPENDR + 4)]
    msr daifclr, #2
    nop
    nop
    msr daifset, #2
    check x19, 40

    // Nothing is pending any more: IAR reads the special INTID.
    mrs x9, ICC_IAR1_EL1
    check x9, 1023
    ldp x29, x30, [sp], #16
    ret
