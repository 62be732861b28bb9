// Hosts without a translator: everything is interpreted.

#include "arch/translator.h"

namespace vmm::arch {

std::unique_ptr<Translator> Translator::create(Vcpu&, EngineFrame&) {
    return nullptr;
}

}  // namespace vmm::arch
