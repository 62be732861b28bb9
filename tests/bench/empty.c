// Nothing: what starting and ending a machine costs.
#include "support.h"

uint64_t empty(uint64_t count) {
    return count;
}
