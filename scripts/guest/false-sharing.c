// Two threads count, on two CPUs if there are, each in a counter of its own, but both counters are in one cache line.
// usage: false-sharing ROUNDS
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
    _Alignas(64) volatile uint64_t counters[2];
} shared;

static uint64_t rounds;
static pthread_barrier_t both_ready;  // or one may be done before the other begins

static void* count(void* argument) {
    const int number = (int)(intptr_t)argument;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(number % (int)sysconf(_SC_NPROCESSORS_ONLN), &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) {
        perror("false-sharing: sched_setaffinity");
        exit(1);
    }
    pthread_barrier_wait(&both_ready);
    for (uint64_t i = 0; i < rounds; ++i) {
        ++shared.counters[number];
    }
    return NULL;
}

int main(int argc, char** argv) {
    rounds = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
    pthread_t threads[2];
    pthread_barrier_init(&both_ready, NULL, 2);
    for (int i = 0; i < 2; ++i) {
        if (pthread_create(&threads[i], NULL, count, (void*)(intptr_t)i) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < 2; ++i) {
        pthread_join(threads[i], NULL);
    }
    printf("false-sharing: line %#jx holds %ju and %ju\n", (uintmax_t)(uintptr_t)&shared, (uintmax_t)shared.counters[0],
           (uintmax_t)shared.counters[1]);
    return 0;
}
