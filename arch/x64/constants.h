// Constants of host code, kept where it reaches them relative to its own address.
#pragma once

#include "vmm/base/types.h"

namespace vmm::arch::x64 {

/// Of floating-point formats, by the size of a lane: [0] single, [1] double precision. What concerns scalars has zeros
/// beyond the lowest lane.
struct Constants {
    struct Scalar {
        alignas(16) u64 word[2];
    };
    struct Vector {
        alignas(16) u64 word[2];
    };

    Scalar infinity[2] = {{{0x7F80'0000, 0}}, {{0x7FF0'0000'0000'0000, 0}}};
    // The exponent without its lowest bit: all ones in huge, infinite and NaN values, zeros in tiny ones.
    Scalar exponent_top[2] = {{{0x7F00'0000, 0}}, {{0x7FE0'0000'0000'0000, 0}}};
    Scalar sign[2] = {{{0x8000'0000, 0}}, {{0x8000'0000'0000'0000, 0}}};
    Scalar magnitude[2] = {{{0x7FFF'FFFF, 0}}, {{0x7FFF'FFFF'FFFF'FFFF, 0}}};

    Vector signs[2] = {{{0x8000'0000'8000'0000, 0x8000'0000'8000'0000}},
                       {{0x8000'0000'0000'0000, 0x8000'0000'0000'0000}}};
    Vector magnitudes[2] = {{{0x7FFF'FFFF'7FFF'FFFF, 0x7FFF'FFFF'7FFF'FFFF}},
                            {{0x7FFF'FFFF'FFFF'FFFF, 0x7FFF'FFFF'FFFF'FFFF}}};
    // Twice a lane plus `ordinary_bias` is, as a signed number, at most `ordinary_limit` when the lane is finite and above
    // the smallest normal number.
    Vector ordinary_bias[2] = {{{0x7EFF'FFFE'7EFF'FFFE, 0x7EFF'FFFE'7EFF'FFFE}},
                               {{0x7FDF'FFFF'FFFF'FFFE, 0x7FDF'FFFF'FFFF'FFFE}}};
    Vector ordinary_limit[2] = {{{0x7DFF'FFFC'7DFF'FFFC, 0x7DFF'FFFC'7DFF'FFFC}},
                                {{0x7FBF'FFFF'FFFF'FFFC, 0x7FBF'FFFF'FFFF'FFFC}}};
};

}  // namespace vmm::arch::x64
