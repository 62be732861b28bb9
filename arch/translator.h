// Host code for hot blocks: the engine's second way to execute a block, beside the interpreter's loop.
//
// The loop counts how often it enters a block and has it translated when it is hot. From then on entering the block means
// running its host code, which continues with other translated blocks by itself and comes back to the loop with an exit
// for everything that is not plain execution. Budget, attention, links, PC and flags mean the same in both at every
// operation: nothing is held back in host registers, so either may go on where the other stopped.
#pragma once

#include <array>
#include <memory>

#include "arch/block.h"

namespace vmm::arch {

class Vcpu;

/// Why host code came back to the loop. EngineFrame says where.
enum class NativeExit : u32 {
    // `exit_block`: budget or attention forbid it; its length is already taken from `native_remaining`.
    not_entered,
    // `exit_block` has no host code; not charged.
    interpret,
    // The branch `exit_op` of `exit_block` is taken and its target not known yet; `exit_link`, if any, is to be set.
    resolve,
    // `exit_target`: the jump cache does not know it.
    lookup,
    // The handler of `exit_op` returned `exit_result`, which is not Exec::next.
    result,
    // Counted host code has come to `exit_op`.
    stop,
};

/// What the loop and host code share, at fixed places. Standard layout: host code addresses its members.
struct EngineFrame {
    struct JumpEntry {
        u64 va = ~u64{0};
        u64 tag = 0;
        Block* block = nullptr;
        u64 unused = 0;  // 32 bytes, so that the index scales
    };
    static constexpr unsigned kJumpEntries = 4096;

    s64 budget_now = 0;  // operations that may still be executed, at the last call of a handler
    u64 jump_tag = 1;    // generation << 16 | fetch context

    // Host code's view of the loop's variables, while it runs and when it exits.
    s64 native_remaining = 0;
    u64 native_page_va = 0;
    Op* exit_op = nullptr;
    Block* exit_block = nullptr;
    const void** exit_link = nullptr;
    u64 exit_target = 0;
    u64 ops_to_stop = 0;  // counts down in counted host code
    Exec exit_result = Exec::next;

    std::array<JumpEntry, kJumpEntries> jump_cache{};

    static constexpr unsigned jump_index(u64 va) {
        return static_cast<unsigned>((va ^ (va >> 12)) >> 2) & (kJumpEntries - 1);
    }
};

class Translator {
  public:
    virtual ~Translator() = default;

    /// The one for this host; nullptr when there is none or the host gives no executable memory. `vcpu` and `frame` must
    /// outlive it.
    static std::unique_ptr<Translator> create(Vcpu& vcpu, EngineFrame& frame);

    /// Gives the block host code. False: no memory left; clear() makes room.
    virtual bool translate(Block& block) = 0;

    /// Block::native of blocks without host code.
    virtual const void* untranslated() const = 0;

    /// Where the block's host code can be entered at `op`, the length from there on taken from the budget already; nullptr:
    /// not here.
    virtual const void* entry_at(const Block& block, const Op& op) const = 0;

    /// Gives a translated block a second piece of host code, Block::native_counted, which is entered with the length taken
    /// from the budget already. False as for translate().
    virtual bool translate_counted(Block& block) = 0;

    /// Runs host code from `native` on, an entry point that is Block::native of a translated block.
    virtual NativeExit enter(const void* native) = 0;

    /// Cuts the links that lead out of the block.
    virtual void unlink(Block& block) = 0;

    /// Forgets all host code: no block may be entered any more.
    virtual void clear() = 0;

    /// Bytes of host code in use.
    virtual std::size_t code_bytes() const = 0;
};

}  // namespace vmm::arch
