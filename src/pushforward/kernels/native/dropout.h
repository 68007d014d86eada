// Dropout (arXiv:1207.0580): which values are dropped follows from a key and their place, so the way back finds them again.
#pragma once
#include "vector.h"

#ifdef REAL_DOUBLE
typedef uint64_t word;
#else
typedef uint32_t word;
#endif
typedef word words __attribute__((vector_size(VECTOR_BYTES)));

// A key of a key and a number (SplitMix64, doi:10.1145/2660193.2660195); never 0, which stands for no dropout.
static uint64_t mixed(uint64_t key, uint64_t number) {
    uint64_t z = key + (number + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return z ? z : 1;
}

// Random bits in each lane: the last steps of MurmurHash3, of SplitMix64 for 64 bits.
INLINE words scattered(words z) {
#ifdef REAL_DOUBLE
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
#else
    z = (z ^ (z >> 16)) * 0x85ebca6bu;
    z = (z ^ (z >> 13)) * 0xc2b2ae35u;
    return z ^ (z >> 16);
#endif
}

// Whether the values of unit u, rows v ... are kept, in each lane
INLINE mask kept(double share, uint64_t key, long u, int v) {
    words lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = i;
    const word limit = share * 18446744073709551615.0 / (sizeof(word) == 4 ? 4294967296.0 : 1.0);
    return (mask)(scattered((word)mixed(key, u * ROWS + v) + lanes * (word)0x9e3779b97f4a7c15u) >= limit);
}

// Of units first ... first + many, [unit][ROWS] from A on: zero, or what remains grown to keep the mean.
static void drop(double share, uint64_t key, int first, int many, real *A) {
    const real grown = 1 / (1 - share);
    for (int u = 0; u < many; u++)
        for (int v = 0; v < ROWS; v += LANES) {
            vec *a = (vec *)(A + (long)u * ROWS + v);
            *a = choose(kept(share, key, first + u, v), grown * *a, (vec){0});
        }
}

// The same backward: G, the gradient with respect to what remained, becomes that with respect to the values; A, what
// remained, becomes the values again where they were kept.
static void drop_backward(double share, uint64_t key, int many, real *A, real *G) {
    const real grown = 1 / (1 - share), back = 1 - share;
    for (int u = 0; u < many; u++)
        for (int v = 0; v < ROWS; v += LANES) {
            vec *a = (vec *)(A + (long)u * ROWS + v), *g = (vec *)(G + (long)u * ROWS + v);
            *g = choose(kept(share, key, u, v), grown * *g, (vec){0});
            *a = back * *a;
        }
}
