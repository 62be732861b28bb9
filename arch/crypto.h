// The arithmetic of the cryptographic extension on registers: AES rounds, SHA-1 and SHA-256 steps, 64-bit
// polynomial multiplication. Two implementations with equal results: portable, and one that uses the host's
// instructions.
#pragma once

#include "arch/cpu_state.h"

namespace vmm::arch {

/// One function per instruction, named after it: `d` is Vd, old value in, new value out; `n` and `m` are Vn
/// and Vm, which may be the same objects as `d`.
struct CryptoPrimitives {
    using Unary = void (*)(Vreg& d, const Vreg& n);
    using Binary = void (*)(Vreg& d, const Vreg& n, const Vreg& m);

    Unary aese;
    Unary aesd;
    Unary aesmc;
    Unary aesimc;
    Binary sha1c;
    Binary sha1p;
    Binary sha1m;
    Binary sha1su0;
    Unary sha1su1;
    Binary sha256h;
    Binary sha256h2;
    Unary sha256su0;
    Binary sha256su1;
    void (*pmull64)(Vreg& d, u64 n, u64 m);
};

/// Runs on every host.
const CryptoPrimitives& portable_crypto();

/// The fastest this host can do; portable where it lacks an instruction.
const CryptoPrimitives& host_crypto();

}  // namespace vmm::arch
