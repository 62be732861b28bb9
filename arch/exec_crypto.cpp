// The cryptographic extension: AES, SHA-1, SHA-256 and PMULL of 64-bit elements. The arithmetic is in
// crypto.cpp.
#include "arch/crypto.h"
#include "arch/decode_section.h"

namespace vmm::arch {

namespace {

using namespace operands;

const CryptoPrimitives& crypto = host_crypto();

Exec aese(Vcpu& v, Rn rn, Rd rd) {
    crypto.aese(v.s.v[rd], v.s.v[rn]);
    return Exec::next;
}

Exec aesd(Vcpu& v, Rn rn, Rd rd) {
    crypto.aesd(v.s.v[rd], v.s.v[rn]);
    return Exec::next;
}

Exec aesmc(Vcpu& v, Rn rn, Rd rd) {
    crypto.aesmc(v.s.v[rd], v.s.v[rn]);
    return Exec::next;
}

Exec aesimc(Vcpu& v, Rn rn, Rd rd) {
    crypto.aesimc(v.s.v[rd], v.s.v[rn]);
    return Exec::next;
}

Exec sha1c(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    crypto.sha1c(v.s.v[rd], v.s.v[rn], v.s.v[rm]);
    return Exec::next;
}

Exec sha1p(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    crypto.sha1p(v.s.v[rd], v.s.v[rn], v.s.v[rm]);
    return Exec::next;
}

Exec sha1m(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    crypto.sha1m(v.s.v[rd], v.s.v[rn], v.s.v[rm]);
    return Exec::next;
}

Exec sha1h(Vcpu& v, Rn rn, Rd rd) {
    v.s.v[rd] = Vreg{std::rotl(static_cast<u32>(v.s.v[rn].lo), 30), 0};
    return Exec::next;
}

Exec sha1su0(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    crypto.sha1su0(v.s.v[rd], v.s.v[rn], v.s.v[rm]);
    return Exec::next;
}

Exec sha1su1(Vcpu& v, Rn rn, Rd rd) {
    crypto.sha1su1(v.s.v[rd], v.s.v[rn]);
    return Exec::next;
}

Exec sha256h(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    crypto.sha256h(v.s.v[rd], v.s.v[rn], v.s.v[rm]);
    return Exec::next;
}

Exec sha256h2(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    crypto.sha256h2(v.s.v[rd], v.s.v[rn], v.s.v[rm]);
    return Exec::next;
}

Exec sha256su0(Vcpu& v, Rn rn, Rd rd) {
    crypto.sha256su0(v.s.v[rd], v.s.v[rn]);
    return Exec::next;
}

Exec sha256su1(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    crypto.sha256su1(v.s.v[rd], v.s.v[rn], v.s.v[rm]);
    return Exec::next;
}

Exec pmull_64(Vcpu& v, Q q, Rm rm, Rn rn, Rd rd) {
    const Vreg& n = v.s.v[rn];
    const Vreg& m = v.s.v[rm];
    crypto.pmull64(v.s.v[rd], q != 0 ? n.hi : n.lo, q != 0 ? m.hi : m.lo);
    return Exec::next;
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_crypto.inc"
};

}  // namespace

std::span<const DecodeRow> crypto_rows() {
    return kRows;
}

}  // namespace vmm::arch
