// Advanced SIMD by intrinsics: y += a * x, a dot product of floats, and saturated mixing of bytes.
#include <arm_neon.h>

#include "support.h"

enum { kFloats = 4096, kBytes = 16384 };

static float x[kFloats] __attribute__((aligned(16)));
static float y[kFloats] __attribute__((aligned(16)));
static uint8_t picture[kBytes] __attribute__((aligned(16)));
static uint8_t overlay[kBytes] __attribute__((aligned(16)));

static void fill_floats(void) {
    uint64_t state = 5;
    for (int i = 0; i < kFloats; ++i) {
        x[i] = (float)(next_random(&state) % 2000) / 1000.0f - 1.0f;
        y[i] = (float)(next_random(&state) % 2000) / 1000.0f - 1.0f;
    }
}

uint64_t saxpy(uint64_t count) {
    fill_floats();
    for (uint64_t round = 0; round < count; ++round) {
        const float32x4_t factor = vdupq_n_f32(round & 1 ? 0.25f : -0.25f);
        for (int i = 0; i < kFloats; i += 16) {
            for (int j = i; j < i + 16; j += 4) {
                vst1q_f32(y + j, vfmaq_f32(vld1q_f32(y + j), factor, vld1q_f32(x + j)));
            }
        }
    }
    uint64_t result = 0;
    for (int i = 0; i < kFloats; ++i) {
        result = mix(result, bits_of((double)y[i]));
    }
    return result;
}

uint64_t dot_product(uint64_t count) {
    fill_floats();
    uint64_t result = 0;
    for (uint64_t round = 0; round < count; ++round) {
        float32x4_t sums[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
        for (int i = 0; i < kFloats; i += 16) {
            for (int j = 0; j < 4; ++j) {
                sums[j] = vfmaq_f32(sums[j], vld1q_f32(x + i + 4 * j), vld1q_f32(y + i + 4 * j));
            }
        }
        const float32x4_t sum = vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3]));
        result = mix(result, bits_of((double)vaddvq_f32(sum)));
        y[round % kFloats] += 0.5f;
    }
    return result;
}

uint64_t blend(uint64_t count) {
    uint64_t state = 3;
    for (int i = 0; i < kBytes; ++i) {
        picture[i] = (uint8_t)next_random(&state);
        overlay[i] = (uint8_t)next_random(&state);
    }
    for (uint64_t round = 0; round < count; ++round) {
        const uint8x8_t weight = vdup_n_u8((uint8_t)(round & 31));
        for (int i = 0; i < kBytes; i += 16) {
            const uint8x16_t p = vld1q_u8(picture + i);
            const uint8x16_t o = vld1q_u8(overlay + i);
            const uint16x8_t low = vmull_u8(vget_low_u8(o), weight);
            const uint16x8_t high = vmull_u8(vget_high_u8(o), weight);
            const uint8x16_t scaled = vcombine_u8(vshrn_n_u16(low, 5), vshrn_n_u16(high, 5));
            const uint8x16_t mixed = vhaddq_u8(vqaddq_u8(p, scaled), vextq_u8(p, o, 3));
            vst1q_u8(picture + i, vbslq_u8(vcgtq_u8(mixed, o), mixed, veorq_u8(p, o)));
        }
    }
    uint64_t result = 0;
    for (int i = 0; i < kBytes; ++i) {
        result = mix(result, picture[i]);
    }
    return result;
}
