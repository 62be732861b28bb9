// Host code of conditions: selects and conditional compares.

#include <bit>

#include "arch/x64/emitter.h"

namespace vmm::arch::x64 {

Emitter::Holds Emitter::test_condition(unsigned cond) {
    const HostFlags host = host_flags_;
    const bool signed_or_equal = cond < 2 || (cond >= 4 && cond < 8) || cond >= 10;
    if (host == HostFlags::subtraction || (host != HostFlags::none && signed_or_equal)) {
        static constexpr Holds kAfterCompare[14] = {Holds::e,  Holds::ne, Holds::ae, Holds::b, Holds::s,
                                                    Holds::ns, Holds::o,  Holds::no, Holds::a, Holds::be,
                                                    Holds::ge, Holds::l,  Holds::g,  Holds::le};
        return kAfterCompare[cond];
    }
    const Nzcv& f = env_.vcpu->s.nzcv;
    host_flags_ = HostFlags::none;
    const bool inverted = (cond & 1) != 0;
    switch (cond >> 1) {
        case 0: cmp(at8(&f.z), 0); break;
        case 1: cmp(at8(&f.c), 0); break;
        case 2: cmp(at8(&f.n), 0); break;
        case 3: cmp(at8(&f.v), 0); break;
        case 4:  // C and not Z: C above Z
            movzx(eax, at8(&f.c));
            cmp(al, at8(&f.z));
            return inverted ? Holds::be : Holds::a;
        case 5:
            movzx(eax, at8(&f.n));
            cmp(al, at8(&f.v));
            return inverted ? Holds::ne : Holds::e;
        default:
            movzx(eax, at8(&f.n));
            xor_(al, at8(&f.v));
            or_(al, at8(&f.z));
            return inverted ? Holds::ne : Holds::e;
    }
    return inverted ? Holds::e : Holds::ne;
}

void Emitter::jump_if(Holds holds, const Label& label) {
    switch (holds) {
        case Holds::e: je(label, T_NEAR); break;
        case Holds::ne: jne(label, T_NEAR); break;
        case Holds::b: jb(label, T_NEAR); break;
        case Holds::ae: jae(label, T_NEAR); break;
        case Holds::s: js(label, T_NEAR); break;
        case Holds::ns: jns(label, T_NEAR); break;
        case Holds::o: jo(label, T_NEAR); break;
        case Holds::no: jno(label, T_NEAR); break;
        case Holds::a: ja(label, T_NEAR); break;
        case Holds::be: jbe(label, T_NEAR); break;
        case Holds::ge: jge(label, T_NEAR); break;
        case Holds::l: jl(label, T_NEAR); break;
        case Holds::g: jg(label, T_NEAR); break;
        case Holds::le: jle(label, T_NEAR); break;
    }
}

void Emitter::move_if(Holds holds, const Xbyak::Reg32e& to, const Xbyak::Operand& from) {
    switch (holds) {
        case Holds::e: cmove(to, from); break;
        case Holds::ne: cmovne(to, from); break;
        case Holds::b: cmovb(to, from); break;
        case Holds::ae: cmovae(to, from); break;
        case Holds::s: cmovs(to, from); break;
        case Holds::ns: cmovns(to, from); break;
        case Holds::o: cmovo(to, from); break;
        case Holds::no: cmovno(to, from); break;
        case Holds::a: cmova(to, from); break;
        case Holds::be: cmovbe(to, from); break;
        case Holds::ge: cmovge(to, from); break;
        case Holds::l: cmovl(to, from); break;
        case Holds::g: cmovg(to, from); break;
        case Holds::le: cmovle(to, from); break;
    }
}

/// CSEL, CSINC, CSINV, CSNEG, `variant` being the operation's name for 64 bits. Leaves the host's flags alone.
void Emitter::emit_select(const Op& op, unsigned cond, bool wide, HotOp variant) {
    if (op.rd == kSink) {
        return;
    }
    const Holds holds = test_condition(cond);
    const HostFlags host = host_flags_;
    if (wide) {
        load(rcx, op.rm);
    } else {
        load32(ecx, op.rm);
    }
    switch (variant) {
        case HotOp::csinc64_eq: lea(rcx, ptr[rcx + 1]); break;
        case HotOp::csinv64: not_(rcx); break;
        case HotOp::csneg64:
            not_(rcx);
            lea(rcx, ptr[rcx + 1]);
            break;
        default: break;
    }
    if (wide) {
        move_if(holds, rcx, x64(op.rn));
    } else {
        move_if(holds, ecx, x32(op.rn));
    }
    store(op.rd, rcx);
    host_flags_ = host;
}

void Emitter::emit_conditional_compare(const Op& op, bool wide, bool constant) {
    Label compare;
    Label done;
    if (op.aux < 14) {
        jump_if(test_condition(op.aux), compare);
        Nzcv otherwise;
        otherwise.unpack(u64{op.ra} << 28);
        mov(at32(&env_.vcpu->s.nzcv), std::bit_cast<u32>(otherwise));
        jmp(done, T_NEAR);
    }
    L(compare);
    if (constant) {
        cmp(wide ? x64(op.rn) : x32(op.rn), op.rm);
    } else {
        mov(wide ? static_cast<Xbyak::Reg>(rax) : static_cast<Xbyak::Reg>(eax),
            wide ? x64(op.rn) : x32(op.rn));
        cmp(wide ? static_cast<Xbyak::Reg>(rax) : static_cast<Xbyak::Reg>(eax),
            wide ? x64(op.rm) : x32(op.rm));
    }
    save_flags(HostFlags::subtraction);
    L(done);
    host_flags_ = HostFlags::none;
}

bool Emitter::emit_condition(const Op& op) {
    switch (hot_[current_]) {
#define SELECTS(c)                                                                          \
    case HotOp::csel64_##c: emit_select(op, op.aux, true, HotOp::csel64_eq); return true;   \
    case HotOp::csel32_##c: emit_select(op, op.aux, false, HotOp::csel64_eq); return true;  \
    case HotOp::csinc64_##c: emit_select(op, op.aux, true, HotOp::csinc64_eq); return true; \
    case HotOp::csinc32_##c: emit_select(op, op.aux, false, HotOp::csinc64_eq); return true;
        VMM_CONDITIONS(SELECTS)
#undef SELECTS
        case HotOp::csinv64: emit_select(op, op.aux, true, HotOp::csinv64); return true;
        case HotOp::csinv32: emit_select(op, op.aux, false, HotOp::csinv64); return true;
        case HotOp::csneg64: emit_select(op, op.aux, true, HotOp::csneg64); return true;
        case HotOp::csneg32: emit_select(op, op.aux, false, HotOp::csneg64); return true;
        case HotOp::ccmp64: emit_conditional_compare(op, true, false); return true;
        case HotOp::ccmp32: emit_conditional_compare(op, false, false); return true;
        case HotOp::ccmpi64: emit_conditional_compare(op, true, true); return true;
        case HotOp::ccmpi32: emit_conditional_compare(op, false, true); return true;
        default: return false;
    }
}

}  // namespace vmm::arch::x64
