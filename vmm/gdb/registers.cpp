#include "vmm/gdb/registers.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include "arch/exec.h"

namespace vmm::gdb {

namespace {

// Numbers in GDB's order.
constexpr unsigned kSp = 31;
constexpr unsigned kPc = 32;
constexpr unsigned kCpsr = 33;
constexpr unsigned kV0 = 34;
constexpr unsigned kFpsr = kV0 + 32;
constexpr unsigned kFpcr = kFpsr + 1;
constexpr unsigned kFirstSystem = kFpcr + 1;

bool is_vector(unsigned number) {
    return number >= kV0 && number < kFpsr;
}

template <class T>
std::vector<u8> bytes_of(const T& value) {
    std::vector<u8> bytes(sizeof value);
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

u64 number_in(std::span<const u8> bytes) {
    u64 value = 0;
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
}

bool writable(arch::SysregAccess access) {
    return access != arch::SysregAccess::ro_el1 && access != arch::SysregAccess::ro_el0;
}

/// PSTATE from an SPSR image. False for AArch32 and Exception levels that are not there.
bool write_pstate(arch::Vcpu& v, u64 value) {
    const u64 mode = bits(value, 4, 0);
    if (mode != 0b00000 && mode != 0b00100 && mode != 0b00101) {
        return false;
    }
    arch::CpuState& s = v.s;
    v.switch_el(static_cast<u8>(mode >> 2), static_cast<u8>(mode & 1));
    s.nzcv.unpack(value);
    s.daif = static_cast<u8>(bits(value, 9, 6));
    s.ssbs = bit(value, 12);
    s.il = bit(value, 20);
    s.ss = bit(value, 21);
    s.pan = bit(value, 22);
    s.uao = bit(value, 23);
    v.context_changed();
    return true;
}

bool write_system(arch::Vcpu& v, arch::SysregKey key, u64 value) {
    arch::SysregBank::Entry* entry = v.sysregs.find(key);
    if (entry == nullptr || !writable(entry->access)) {
        return false;
    }
    if (entry->write != nullptr) {
        entry->write(entry->self, v, value);
    } else {
        *entry->storage = (value & entry->writable) | entry->fixed;
    }
    v.context_changed();
    v.observer_changed();
    return true;
}

constexpr const char* kVectorTypes =
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>\n<vector id=\"v2u\" type=\"uint64\" count=\"2\"/>\n"
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>\n<vector id=\"v4u\" type=\"uint32\" count=\"4\"/>\n"
    "<vector id=\"v8u\" type=\"uint16\" count=\"8\"/>\n<vector id=\"v16u\" type=\"uint8\" count=\"16\"/>\n"
    "<union id=\"vreg\">\n"
    "<field name=\"d\" type=\"v2d\"/>\n<field name=\"s\" type=\"v4f\"/>\n<field name=\"u64\" type=\"v2u\"/>\n"
    "<field name=\"u32\" type=\"v4u\"/>\n<field name=\"u16\" type=\"v8u\"/>\n<field name=\"u8\" type=\"v16u\"/>\n"
    "<field name=\"q\" type=\"uint128\"/>\n</union>\n";

}  // namespace

RegisterFile::RegisterFile(std::span<const std::unique_ptr<Cpu>> cpus) {
    std::map<arch::SysregKey, std::string> found;
    for (const auto& cpu : cpus) {
        for (const arch::SysregBank::Entry* entry : cpu->vcpu.sysregs.entries()) {
            if (entry->readable_without_effect()) {
                found.emplace(entry->key, entry->full_name());
            }
        }
    }
    for (const auto& [key, name] : found) {
        // FPCR and FPSR are registers of GDB's own.
        if (name != "FPCR" && name != "FPSR") {
            system_.push_back({key, name});
        }
    }
}

unsigned RegisterFile::count() const {
    return kFirstSystem + static_cast<unsigned>(system_.size());
}

unsigned RegisterFile::general_count() const {
    return kFirstSystem;
}

unsigned RegisterFile::size(unsigned number) const {
    if (is_vector(number)) {
        return sizeof(arch::Vreg);
    }
    return number == kCpsr || number == kFpsr || number == kFpcr ? sizeof(u32) : sizeof(u64);
}

std::vector<u8> RegisterFile::read(Cpu& cpu, unsigned number) const {
    arch::Vcpu& v = cpu.vcpu;
    if (is_vector(number)) {
        return bytes_of(v.s.v[number - kV0]);
    }
    switch (number) {
        case kSp: return bytes_of(v.s.x[arch::kSp]);
        case kPc: return bytes_of(v.s.pc);
        case kCpsr: return bytes_of(static_cast<u32>(v.pack_pstate()));
        case kFpsr: return bytes_of(v.s.fpsr);
        case kFpcr: return bytes_of(v.s.fpcr);
        default: break;
    }
    if (number < kSp) {
        return bytes_of(v.s.x[number]);
    }
    const arch::SysregKey key = system_[number - kFirstSystem].key;
    return v.sysregs.find(key) == nullptr ? std::vector<u8>{} : bytes_of(v.sysregs.peek(v, key));
}

bool RegisterFile::write(Cpu& cpu, unsigned number, std::span<const u8> bytes) const {
    arch::Vcpu& v = cpu.vcpu;
    if (is_vector(number)) {
        std::memcpy(&v.s.v[number - kV0], bytes.data(), sizeof(arch::Vreg));
        return true;
    }
    const u64 value = number_in(bytes);
    if (number < kSp) {
        v.s.x[number] = value;
        return true;
    }
    switch (number) {
        case kSp: v.s.x[arch::kSp] = value; return true;
        case kPc: v.s.pc = value; return true;
        case kCpsr: return write_pstate(v, value);
        case kFpsr: v.s.fpsr = static_cast<u32>(value); return true;
        case kFpcr: v.s.fpcr = static_cast<u32>(value); return true;
        default: return write_system(v, system_[number - kFirstSystem].key, value);
    }
}

std::string RegisterFile::description() const {
    std::string text =
        "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
        "<architecture>aarch64</architecture>\n<feature name=\"org.gnu.gdb.aarch64.core\">\n";
    for (unsigned n = 0; n < kSp; ++n) {
        text += fmt::format("<reg name=\"x{}\" bitsize=\"64\" regnum=\"{}\"/>\n", n, n);
    }
    text += fmt::format(
        "<reg name=\"sp\" bitsize=\"64\" type=\"data_ptr\" regnum=\"{}\"/>\n"
        "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\" regnum=\"{}\"/>\n"
        "<reg name=\"cpsr\" bitsize=\"32\" regnum=\"{}\"/>\n</feature>\n<feature name=\"org.gnu.gdb.aarch64.fpu\">\n{}",
        kSp, kPc, kCpsr, kVectorTypes);
    for (unsigned n = 0; n < 32; ++n) {
        text += fmt::format("<reg name=\"v{}\" bitsize=\"128\" type=\"vreg\" regnum=\"{}\"/>\n", n, kV0 + n);
    }
    text += fmt::format(
        "<reg name=\"fpsr\" bitsize=\"32\" regnum=\"{}\"/>\n<reg name=\"fpcr\" bitsize=\"32\" regnum=\"{}\"/>\n"
        "</feature>\n<feature name=\"org.vmm.aarch64.system\">\n",
        kFpsr, kFpcr);
    for (unsigned i = 0; i < system_.size(); ++i) {
        text += fmt::format("<reg name=\"{}\" bitsize=\"64\" regnum=\"{}\" group=\"system\" save-restore=\"no\"/>\n",
                            system_[i].name, kFirstSystem + i);
    }
    return text + "</feature>\n</target>\n";
}

}  // namespace vmm::gdb
