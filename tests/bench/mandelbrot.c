// Points of the Mandelbrot set, in double precision.
#include "support.h"

enum { kSide = 64, kIterations = 100 };

uint64_t mandelbrot(uint64_t count) {
    uint64_t result = 0;
    for (uint64_t round = 0; round < count; ++round) {
        const double shift = (double)round * 1e-4;
        for (int row = 0; row < kSide; ++row) {
            const double ci = 2.0 * row / kSide - 1.0;
            for (int column = 0; column < kSide; ++column) {
                const double cr = 3.0 * column / kSide - 2.0 + shift;
                double zr = 0, zi = 0;
                int i = 0;
                for (; i < kIterations && zr * zr + zi * zi < 4.0; ++i) {
                    const double next = zr * zr - zi * zi + cr;
                    zi = 2.0 * zr * zi + ci;
                    zr = next;
                }
                result += (uint64_t)i;
            }
        }
    }
    return result;
}
