#include "spe/make_model.h"

#include "spe/detailed_model.h"
#include "vmm/base/check.h"

namespace vmm::spe {

std::unique_ptr<EventModel> make_model(ModelKind kind, u8 pmsver, u64 seed, MemorySystem* memory,
                                       unsigned core) {
    if (kind == ModelKind::detailed) {
        VMM_CHECK(memory != nullptr);
        return std::make_unique<DetailedModel>(pmsver, seed, *memory, core);
    }
    return std::make_unique<BasicModel>(pmsver, seed);
}

}  // namespace vmm::spe
