// The litmus tests: what each CPU does with the variables x and y (0 at first) and registers a and b, and the outcome that
// a weak memory model may show. Whether the architecture forbids it follows from the Arm ARM, B2.3 "Definition of the
// Armv8 memory model"; names are those usual in the literature: shape, then what is between the accesses of each CPU.
//
// T2(id, name, verdict, outcome, CPU 0, CPU 1); T3 and T4 are for three and four CPUs.

#define R(reg, var) "ldr %w[" #reg "], [%[" #var "]]\n"
#define R_ACQUIRE(reg, var) "ldar %w[" #reg "], [%[" #var "]]\n"
#define R_ACQUIRE_PC(reg, var) "ldapr %w[" #reg "], [%[" #var "]]\n"
#define W(var, value) "str %w[" #value "], [%[" #var "]]\n"
#define W_RELEASE(var, value) "stlr %w[" #value "], [%[" #var "]]\n"
#define SWAP(var, value) "swpal %w[" #value "], %w[t], [%[" #var "]]\n"
#define DMB "dmb ish\n"
#define DMB_LD "dmb ishld\n"
#define DMB_ST "dmb ishst\n"
#define DSB "dsb ish\n"
#define ISB "isb\n"
// Dependencies on register `from`.
#define ADDRESS(from) "eor %w[t], %w[" #from "], %w[" #from "]\n"
#define R_AFTER_ADDRESS(reg, var) "ldr %w[" #reg "], [%[" #var "], %w[t], uxtw]\n"
#define W_AFTER_ADDRESS(var, value) "str %w[" #value "], [%[" #var "], %w[t], uxtw]\n"
#define W_DATA(var, value, from) ADDRESS(from) "add %w[t], %w[t], %w[" #value "]\nstr %w[t], [%[" #var "]]\n"
#define CONTROL(from) "cbnz %w[" #from "], 1f\n1:\n"

#define MP IS(A(1), 1) | IS(B(1), 0)
#define SB IS(A(0), 0) | IS(A(1), 0)
#define LB IS(A(0), 1) | IS(A(1), 1)
#define S IS(A(1), 1) | IS(FINAL_X, 2)
#define R_SHAPE IS(A(1), 0) | IS(FINAL_Y, 2)
#define TWO_WRITES IS(FINAL_X, 1) | IS(FINAL_Y, 1)
#define WRC IS(A(1), 1) | IS(A(2), 1) | IS(B(2), 0)
#define IRIW IS(A(1), 1) | IS(B(1), 0) | IS(A(3), 1) | IS(B(3), 0)

// clang-format off
#define LITMUS_TESTS(T2, T3, T4)                                                                                 \
    T2(mp, "MP", ALLOWED, MP, W(x, one) W(y, one), R(a, y) R(b, x))                                              \
    T2(mp_st_ctrl, "MP+dmb.st+ctrl", ALLOWED, MP, W(x, one) DMB_ST W(y, one), R(a, y) CONTROL(a) R(b, x))        \
    T2(mp_dmb, "MP+dmbs", FORBIDDEN, MP, W(x, one) DMB W(y, one), R(a, y) DMB R(b, x))                           \
    T2(mp_st_ld, "MP+dmb.st+dmb.ld", FORBIDDEN, MP, W(x, one) DMB_ST W(y, one), R(a, y) DMB_LD R(b, x))          \
    T2(mp_rel_acq, "MP+stlr+ldar", FORBIDDEN, MP, W(x, one) W_RELEASE(y, one), R_ACQUIRE(a, y) R(b, x))          \
    T2(mp_rel_pc, "MP+stlr+ldapr", FORBIDDEN, MP, W(x, one) W_RELEASE(y, one), R_ACQUIRE_PC(a, y) R(b, x))       \
    T2(mp_swap, "MP+swpal+ldar", FORBIDDEN, MP, W(x, one) SWAP(y, one), R_ACQUIRE(a, y) R(b, x))                 \
    T2(mp_addr, "MP+dmb.st+addr", FORBIDDEN, MP, W(x, one) DMB_ST W(y, one),                                     \
       R(a, y) ADDRESS(a) R_AFTER_ADDRESS(b, x))                                                                 \
    T2(mp_isb, "MP+dmb.st+ctrlisb", FORBIDDEN, MP, W(x, one) DMB_ST W(y, one), R(a, y) CONTROL(a) ISB R(b, x))   \
    T2(sb, "SB", ALLOWED, SB, W(x, one) R(a, y), W(y, one) R(a, x))                                              \
    T2(sb_rel_pc, "SB+stlr-ldaprs", ALLOWED, SB, W_RELEASE(x, one) R_ACQUIRE_PC(a, y),                           \
       W_RELEASE(y, one) R_ACQUIRE_PC(a, x))                                                                     \
    T2(sb_one_dmb, "SB+dmb+po", ALLOWED, SB, W(x, one) DMB R(a, y), W(y, one) R(a, x))                           \
    T2(sb_dmb, "SB+dmbs", FORBIDDEN, SB, W(x, one) DMB R(a, y), W(y, one) DMB R(a, x))                           \
    T2(sb_dsb, "SB+dsbs", FORBIDDEN, SB, W(x, one) DSB R(a, y), W(y, one) DSB R(a, x))                           \
    T2(sb_rel_acq, "SB+stlr-ldars", FORBIDDEN, SB, W_RELEASE(x, one) R_ACQUIRE(a, y),                            \
       W_RELEASE(y, one) R_ACQUIRE(a, x))                                                                        \
    T2(sb_swap, "SB+swpal-ldars", FORBIDDEN, SB, SWAP(x, one) R_ACQUIRE(a, y), SWAP(y, one) R_ACQUIRE(a, x))     \
    T2(sb_mixed, "SB+dmb+stlr-ldar", FORBIDDEN, SB, W(x, one) DMB R(a, y), W_RELEASE(y, one) R_ACQUIRE(a, x))    \
    T2(lb, "LB", ALLOWED, LB, R(a, x) W(y, one), R(a, y) W(x, one))                                              \
    T2(lb_dmb, "LB+dmbs", FORBIDDEN, LB, R(a, x) DMB W(y, one), R(a, y) DMB W(x, one))                           \
    T2(lb_ld, "LB+dmb.lds", FORBIDDEN, LB, R(a, x) DMB_LD W(y, one), R(a, y) DMB_LD W(x, one))                   \
    T2(lb_acq, "LB+ldars", FORBIDDEN, LB, R_ACQUIRE(a, x) W(y, one), R_ACQUIRE(a, y) W(x, one))                  \
    T2(lb_rel, "LB+stlrs", FORBIDDEN, LB, R(a, x) W_RELEASE(y, one), R(a, y) W_RELEASE(x, one))                  \
    T2(lb_data, "LB+datas", FORBIDDEN, LB, R(a, x) W_DATA(y, one, a), R(a, y) W_DATA(x, one, a))                 \
    T2(lb_addr, "LB+addrs", FORBIDDEN, LB, R(a, x) ADDRESS(a) W_AFTER_ADDRESS(y, one),                           \
       R(a, y) ADDRESS(a) W_AFTER_ADDRESS(x, one))                                                               \
    T2(lb_ctrl, "LB+ctrls", FORBIDDEN, LB, R(a, x) CONTROL(a) W(y, one), R(a, y) CONTROL(a) W(x, one))           \
    T2(s, "S", ALLOWED, S, W(x, two) W(y, one), R(a, y) W(x, one))                                               \
    T2(s_dmb, "S+dmbs", FORBIDDEN, S, W(x, two) DMB W(y, one), R(a, y) DMB W(x, one))                            \
    T2(s_data, "S+dmb.st+data", FORBIDDEN, S, W(x, two) DMB_ST W(y, one), R(a, y) W_DATA(x, one, a))             \
    T2(s_ctrl, "S+dmb.st+ctrl", FORBIDDEN, S, W(x, two) DMB_ST W(y, one), R(a, y) CONTROL(a) W(x, one))          \
    T2(s_rel_acq, "S+stlr+ldar", FORBIDDEN, S, W(x, two) W_RELEASE(y, one), R_ACQUIRE(a, y) W(x, one))           \
    T2(r, "R", ALLOWED, R_SHAPE, W(x, one) W(y, one), W(y, two) R(a, x))                                         \
    T2(r_dmb, "R+dmbs", FORBIDDEN, R_SHAPE, W(x, one) DMB W(y, one), W(y, two) DMB R(a, x))                      \
    T2(r_rel_acq, "R+stlr+stlr-ldar", FORBIDDEN, R_SHAPE, W(x, one) W_RELEASE(y, one),                           \
       W_RELEASE(y, two) R_ACQUIRE(a, x))                                                                        \
    T2(ww, "2+2W", ALLOWED, TWO_WRITES, W(x, one) W(y, two), W(y, one) W(x, two))                                \
    T2(ww_dmb, "2+2W+dmbs", FORBIDDEN, TWO_WRITES, W(x, one) DMB W(y, two), W(y, one) DMB W(x, two))             \
    T2(ww_st, "2+2W+dmb.sts", FORBIDDEN, TWO_WRITES, W(x, one) DMB_ST W(y, two), W(y, one) DMB_ST W(x, two))     \
    T2(ww_rel, "2+2W+stlrs", FORBIDDEN, TWO_WRITES, W(x, one) W_RELEASE(y, two), W(y, one) W_RELEASE(x, two))    \
    T2(corr, "CoRR", FORBIDDEN, MP, W(x, one), R(a, x) R(b, x))                                                  \
    T2(corw, "CoRW", FORBIDDEN, IS(A(0), 2) | IS(FINAL_X, 2), R(a, x) W(x, one), W(x, two))                      \
    T2(cowr, "CoWR", FORBIDDEN, IS(A(0), 2) | IS(FINAL_X, 1), W(x, one) R(a, x), W(x, two))                      \
    T3(wrc, "WRC", ALLOWED, WRC, W(x, one), R(a, x) W(y, one), R(a, y) R(b, x))                                  \
    T3(wrc_addr, "WRC+data+addr", FORBIDDEN, WRC, W(x, one), R(a, x) W_DATA(y, one, a),                          \
       R(a, y) ADDRESS(a) R_AFTER_ADDRESS(b, x))                                                                 \
    T3(wrc_acq, "WRC+stlr+ldar", FORBIDDEN, WRC, W(x, one), R(a, x) W_RELEASE(y, one), R_ACQUIRE(a, y) R(b, x))  \
    T4(iriw, "IRIW", ALLOWED, IRIW, W(x, one), R(a, x) R(b, y), W(y, one), R(a, y) R(b, x))                      \
    T4(iriw_dmb, "IRIW+dmbs", FORBIDDEN, IRIW, W(x, one), R(a, x) DMB R(b, y), W(y, one), R(a, y) DMB R(b, x))   \
    T4(iriw_addr, "IRIW+addrs", FORBIDDEN, IRIW, W(x, one), R(a, x) ADDRESS(a) R_AFTER_ADDRESS(b, y), W(y, one), \
       R(a, y) ADDRESS(a) R_AFTER_ADDRESS(b, x))                                                                 \
    T4(iriw_acq, "IRIW+ldars", FORBIDDEN, IRIW, W_RELEASE(x, one), R_ACQUIRE(a, x) R_ACQUIRE(b, y),              \
       W_RELEASE(y, one), R_ACQUIRE(a, y) R_ACQUIRE(b, x))
