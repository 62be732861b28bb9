// Five bodies under gravitation, in double precision, of masses and places made up.
#include "support.h"

enum { kBodies = 5 };

struct Body {
    double position[3], velocity[3], mass;
};

static struct Body bodies[kBodies] = {
    {{0, 0, 0}, {0, 0, 0}, 40},
    {{5, -1, 0.1}, {0.5, 2.7, -0.02}, 0.04},
    {{8, 4, -0.4}, {-1.0, 1.8, 0.01}, 0.012},
    {{13, -15, -0.2}, {1.1, 0.9, -0.01}, 0.0017},
    {{15, -26, 0.2}, {0.98, 0.6, -0.03}, 0.002},
};

static void step(double dt) {
    for (int i = 0; i < kBodies; ++i) {
        for (int j = i + 1; j < kBodies; ++j) {
            double delta[3];
            double square = 0;
            for (int k = 0; k < 3; ++k) {
                delta[k] = bodies[i].position[k] - bodies[j].position[k];
                square += delta[k] * delta[k];
            }
            const double magnitude = dt / (square * __builtin_sqrt(square));
            for (int k = 0; k < 3; ++k) {
                bodies[i].velocity[k] -= delta[k] * bodies[j].mass * magnitude;
                bodies[j].velocity[k] += delta[k] * bodies[i].mass * magnitude;
            }
        }
    }
    for (int i = 0; i < kBodies; ++i) {
        for (int k = 0; k < 3; ++k) {
            bodies[i].position[k] += dt * bodies[i].velocity[k];
        }
    }
}

uint64_t nbody(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
        step(0.001);
    }
    return mix(bits_of(bodies[0].position[0]), bits_of(bodies[4].velocity[1]));
}
