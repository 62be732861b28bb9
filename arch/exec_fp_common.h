// What the handlers of scalar and vector floating point share: FPCR/FPSR and the scalar views of V registers.
#pragma once

#include "arch/fp/fp.h"
#include "arch/vcpu.h"

namespace vmm::arch {

inline fp::FpEnv fp_env(Vcpu& v) {
    return {v.s.fpcr, v.s.fpsr};
}

/// H[n], S[n] or D[n].
template <class T>
inline T scalar(const Vcpu& v, u32 n) {
    return static_cast<T>(v.s.v[n].lo);
}

/// Writes H[n], S[n] or D[n]; the rest of V[n] becomes zero.
template <class T>
inline Exec write_scalar(Vcpu& v, u32 n, T value) {
    v.s.v[n] = Vreg{value, 0};
    return Exec::next;
}

}  // namespace vmm::arch
