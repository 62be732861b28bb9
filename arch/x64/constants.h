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

    // Byte orders for PSHUFB. By log2 of the lane's bytes: the even lanes, then the odd ones.
    Vector even_first[3] = {{{0x0E0C'0A08'0604'0200, 0x0F0D'0B09'0705'0301}},
                            {{0x0D0C'0908'0504'0100, 0x0F0E'0B0A'0706'0302}},
                            {{0x0B0A'0908'0302'0100, 0x0F0E'0D0C'0706'0504}}};
    // Lanes reversed within containers of 2, 4 and 8 bytes; by log2 of the lane's bytes.
    Vector reversed[3][3] = {
        {{{0x0607'0405'0203'0001, 0x0E0F'0C0D'0A0B'0809}}},
        {{{0x0405'0607'0001'0203, 0x0C0D'0E0F'0809'0A0B}}, {{0x0504'0706'0100'0302, 0x0D0C'0F0E'0908'0B0A}}},
        {{{0x0001'0203'0405'0607, 0x0809'0A0B'0C0D'0E0F}},
         {{0x0100'0302'0504'0706, 0x0908'0B0A'0D0C'0F0E}},
         {{0x0302'0100'0706'0504, 0x0B0A'0908'0F0E'0D0C}}}};
    Vector nibble_bits = {{0x0302'0201'0201'0100, 0x0403'0302'0302'0201}};  // set bits of 0 to 15
};

}  // namespace vmm::arch::x64
