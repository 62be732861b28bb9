// The execution engine's interface to the rest of arch. Behind it, a decoded-block interpreter (interpreter.cpp) and a
// translator for what is hot (translator.h) execute the same blocks.
#pragma once

#include <memory>

#include "arch/vcpu.h"

namespace vmm::arch {

class Engine {
  public:
    explicit Engine(Vcpu& vcpu);
    ~Engine();

    RunResult run(u64 budget);
    u64 ops_executed() const;
    bool translates() const;

    /// Decoded code of the guest-physical page is stale (IC IVAU here or on another PE).
    void invalidate_code_page(u64 pa_page);
    /// IC IALLU and friends.
    void invalidate_all_code();
    /// Translations or permissions of fetches may have changed: links across pages must be looked up again.
    void invalidate_links();
    /// EL, FP access or another input of decoding has changed.
    void context_changed();
    /// observer()->ops_until_sample() may have changed.
    void observer_changed();

    struct Impl;

  private:
    std::unique_ptr<Impl> impl_;
};

}  // namespace vmm::arch
