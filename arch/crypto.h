// The arithmetic of the cryptographic extension on registers: AES rounds, SHA-1 and SHA-256 steps, 64-bit
// polynomial multiplication. Two implementations with equal results: portable, and one that uses the host's
// instructions.
#pragma once

#include "arch/cpu_state.h"

namespace vmm::arch {

/// One function per instruction, named after it. `d`, `n` and `m` are the old values of Vd, Vn and Vm; the
/// result is the new Vd. Pure.
struct CryptoPrimitives {
    Vreg (*aese)(Vreg d, Vreg n);
    Vreg (*aesd)(Vreg d, Vreg n);
    Vreg (*aesmc)(Vreg n);
    Vreg (*aesimc)(Vreg n);
    Vreg (*sha1c)(Vreg d, u32 n, Vreg m);
    Vreg (*sha1p)(Vreg d, u32 n, Vreg m);
    Vreg (*sha1m)(Vreg d, u32 n, Vreg m);
    Vreg (*sha1su0)(Vreg d, Vreg n, Vreg m);
    Vreg (*sha1su1)(Vreg d, Vreg n);
    Vreg (*sha256h)(Vreg d, Vreg n, Vreg m);
    Vreg (*sha256h2)(Vreg d, Vreg n, Vreg m);
    Vreg (*sha256su0)(Vreg d, Vreg n);
    Vreg (*sha256su1)(Vreg d, Vreg n, Vreg m);
    Vreg (*pmull64)(u64 n, u64 m);
};

/// Runs on every host.
const CryptoPrimitives& portable_crypto();

/// The fastest this host can do; portable where it lacks an instruction.
const CryptoPrimitives& host_crypto();

}  // namespace vmm::arch
