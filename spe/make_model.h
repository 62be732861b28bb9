// The event model that was chosen, for one PE.
#pragma once

#include <memory>

#include "spe/event_model.h"
#include "spe/memory_system.h"

namespace vmm::spe {

/// `memory` is what the detailed model needs: the PE is number `core` in it, and it outlives the model. The
/// basic model takes nullptr as well.
std::unique_ptr<EventModel> make_model(ModelKind kind, u8 pmsver, u64 seed, MemorySystem* memory,
                                       unsigned core);

}  // namespace vmm::spe
