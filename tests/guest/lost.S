// A guest without a way out: its vectors cannot be fetched, so that every exception is followed by the next for ever. The
// machine must still obey its user.
// vmm: --timeout 1
// vmm: --timeout 1 --clock insn
// vmm: --timeout 1 -c 2
// vmm: --timeout 1 --spe --pmu
// expect: LOST
// status: 124
#include "guest.h"

.text
.global guest_main
guest_main:
    adr x0, text
    bl print
    mov64 x0, 0x0F000000        // nothing is there
    msr vbar_el1, x0
    isb
    svc #0
    unreachable
text: .asciz "LOST\n"
