// The x86-64 Translator: memory for host code, the entry points that blocks share, links between blocks.

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include <xbyak/xbyak_util.h>

#include "arch/x64/emitter.h"
#include "vmm/base/check.h"

namespace vmm::arch {

namespace x64 {

namespace {

constexpr std::size_t kCodeBytes = std::size_t{32} << 20;
constexpr std::size_t kMaxLinks = std::size_t{256} << 10;
constexpr std::size_t kLinkBytes = kMaxLinks * sizeof(void*);
constexpr std::size_t kThunkBytes = 4096;  // with the constants at their end
constexpr std::size_t kConstantBytes = (sizeof(Constants) + 63) & ~std::size_t{63};

class ThunkWriter : public Xbyak::CodeGenerator {
  public:
    ThunkWriter(const Environment& env, u8* memory)
        : CodeGenerator(kThunkBytes - kConstantBytes, memory), env_(env) {}

    Thunks write();

  private:
    Xbyak::Address frame(const void* field) {
        return qword[r15 + static_cast<int>(static_cast<const u8*>(field) -
                                            reinterpret_cast<const u8*>(env_.frame))];
    }
    void leave(NativeExit exit) {
        mov(eax, static_cast<u32>(exit));
        jmp(leave_, T_NEAR);
    }

    const Environment& env_;
    Xbyak::Label leave_;
};

Thunks ThunkWriter::write() {
    EngineFrame& f = *env_.frame;
    CpuState& s = env_.vcpu->s;
    const Xbyak::Reg64 saved[] = {rbx, rbp, r12, r13, r14, r15};
    Thunks t;

    t.enter = getCurr();
    for (const Xbyak::Reg64& reg : saved) {
        push(reg);
    }
    sub(rsp, 8);  // calls from host code find the stack aligned
    mov(rbp, reinterpret_cast<u64>(&s.x[16]));
    mov(r15, reinterpret_cast<u64>(&f));
    mov(r12, frame(&f.native_remaining));
    mov(r14, frame(&f.native_page_va));
    jmp(rdi);

    L(leave_);
    mov(frame(&f.native_remaining), r12);
    mov(frame(&f.native_page_va), r14);
    add(rsp, 8);
    for (auto reg = std::rbegin(saved); reg != std::rend(saved); ++reg) {
        pop(*reg);
    }
    ret();

    t.call_handler = getCurr();
    add(rcx, r14);
    mov(qword[rbp +
              static_cast<int>(reinterpret_cast<const u8*>(&s.pc) - reinterpret_cast<const u8*>(&s.x[16]))],
        rcx);
    add(rdx, r12);
    mov(frame(&f.budget_now), rdx);
    mov(rdi, reinterpret_cast<u64>(env_.vcpu));
    jmp(rax);

    t.not_entered = getCurr();
    mov(frame(&f.exit_block), rdx);
    leave(NativeExit::not_entered);
    t.interpret = getCurr();
    mov(frame(&f.exit_block), rdx);
    leave(NativeExit::interpret);
    t.resolve = getCurr();
    mov(frame(&f.exit_op), rdx);
    mov(frame(&f.exit_block), rcx);
    mov(frame(&f.exit_link), rax);
    leave(NativeExit::resolve);
    t.lookup = getCurr();
    mov(frame(&f.exit_target), rax);
    leave(NativeExit::lookup);
    t.stop = getCurr();
    mov(frame(&f.exit_op), rdx);
    leave(NativeExit::stop);
    t.result = getCurr();
    mov(frame(&f.exit_op), rdx);
    mov(byte[r15 +
             static_cast<int>(reinterpret_cast<const u8*>(&f.exit_result) - reinterpret_cast<const u8*>(&f))],
        al);
    leave(NativeExit::result);
    return t;
}

/// One mapping: the links first, so that code reaches them relative to its own address, then the code.
class NativeCode final : public Translator {
  public:
    NativeCode(Vcpu& vcpu, EngineFrame& frame, u8* memory)
        : memory_(memory), links_(reinterpret_cast<const void**>(memory)), code_(memory + kLinkBytes) {
        env_.vcpu = &vcpu;
        env_.frame = &frame;
        env_.thunks = ThunkWriter(env_, code_).write();
        env_.constants = new (code_ + kThunkBytes - kConstantBytes) Constants;
        env_.avx2 = Xbyak::util::Cpu().has(Xbyak::util::Cpu::tAVX2);
        env_.fma = Xbyak::util::Cpu().has(Xbyak::util::Cpu::tFMA);
        unresolved_.resize(kMaxLinks);
        clear();
    }
    ~NativeCode() override { munmap(memory_, kLinkBytes + kCodeBytes); }
    NativeCode(const NativeCode&) = delete;
    NativeCode& operator=(const NativeCode&) = delete;

    bool translate(Block& block) override;
    bool translate_counted(Block& block) override;
    const void* entry_at(const Block& block, const Op& op) const override;
    const void* untranslated() const override { return env_.thunks.interpret; }
    NativeExit enter(const void* native) override {
        using Enter = NativeExit (*)(const void*);
        return reinterpret_cast<Enter>(reinterpret_cast<std::uintptr_t>(env_.thunks.enter))(native);
    }
    void unlink(Block& block) override {
        std::copy_n(unresolved_.begin() + block.first_link, block.link_count, links_ + block.first_link);
    }
    void clear() override {
        code_used_ = kThunkBytes;
        links_used_ = 0;
    }
    std::size_t code_bytes() const override { return code_used_; }

  private:
    u8* const memory_;
    const void** const links_;
    u8* const code_;
    Environment env_;
    std::vector<const void*> unresolved_;  // what each link leads to until its target is known
    std::size_t code_used_ = 0;
    std::size_t links_used_ = 0;
};

/// Host code of a block is preceded by the offsets of its operations, the first one's last.
const void* NativeCode::entry_at(const Block& block, const Op& op) const {
    if (block.native == untranslated()) {
        return nullptr;
    }
    const u8* const entry = static_cast<const u8*>(block.native);
    const std::size_t index = static_cast<std::size_t>(&op - block.ops());
    u16 offset = 0;
    std::memcpy(&offset, entry - (index + 1) * sizeof(offset), sizeof(offset));
    return offset == 0 ? nullptr : entry + offset;
}

bool NativeCode::translate_counted(Block& block) {
    const std::size_t most = (block.op_count + std::size_t{1}) * Emitter::kMaxBytesPerOp;
    if (code_used_ + most > kCodeBytes) {
        return false;
    }
    u8* const entry = code_ + code_used_;
    Xbyak::ClearError();
    Emitter emitter(env_, entry, most, block, nullptr);
    const bool translated = emitter.translate();
    VMM_CHECK(translated);
    code_used_ += (emitter.getSize() + 15) & ~std::size_t{15};
    block.native_counted = entry;
    return true;
}

bool NativeCode::translate(Block& block) {
    const std::size_t table = (block.op_count * sizeof(u16) + 15) & ~std::size_t{15};
    const std::size_t most = (block.op_count + std::size_t{1}) * Emitter::kMaxBytesPerOp;
    if (code_used_ + table + most > kCodeBytes || links_used_ + block.op_count > kMaxLinks) {
        return false;
    }
    code_used_ += table;
    u8* const entry = code_ + code_used_;
    Xbyak::ClearError();
    Emitter emitter(env_, entry, most, block, links_ + links_used_);
    const bool translated = emitter.translate();
    VMM_CHECK(translated);  // every operation of the loop has host code, of limited size
    block.first_link = static_cast<u32>(links_used_);
    block.link_count = static_cast<u32>(emitter.unresolved().size());
    std::copy(emitter.unresolved().begin(), emitter.unresolved().end(),
              unresolved_.begin() + block.first_link);
    unlink(block);
    links_used_ += block.link_count;
    code_used_ += (emitter.getSize() + 15) & ~std::size_t{15};
    block.native = entry;
    u8* offset = entry;
    for (const u16 value : emitter.offsets()) {
        offset -= sizeof(value);
        std::memcpy(offset, &value, sizeof(value));
    }
    return true;
}

}  // namespace

}  // namespace x64

std::unique_ptr<Translator> Translator::create(Vcpu& vcpu, EngineFrame& frame) {
    if (!Xbyak::util::Cpu().has(Xbyak::util::Cpu::tLZCNT)) {
        return nullptr;
    }
    void* memory = mmap(nullptr, x64::kLinkBytes + x64::kCodeBytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return nullptr;
    }
    return std::make_unique<x64::NativeCode>(vcpu, frame, static_cast<u8*>(memory));
}

}  // namespace vmm::arch
