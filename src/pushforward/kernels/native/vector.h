// Vectors of numbers, one row of data a lane: types, selection, bounds. Compiled once for float, once for double
// (-DREAL_DOUBLE), with GCC's and clang's vector extension, so one text serves AVX-512, AVX2, SSE2 and NEON.
#pragma once
#include <stdint.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TILE_OUTPUTS 6
#define TILE_VECTORS 4
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define TILE_OUTPUTS 4
#define TILE_VECTORS 3
#else
#define VECTOR_BYTES 16
#define TILE_OUTPUTS 4
#define TILE_VECTORS 3
#endif

#ifdef REAL_DOUBLE
typedef double real;
typedef int64_t whole;
#define R(x) x
#else
typedef float real;
typedef int32_t whole;
#define R(x) x##f
#endif

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef whole mask __attribute__((vector_size(VECTOR_BYTES)));  // 0 or -1 in each lane
typedef real loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));  // at any address

#define LANES ((int)(VECTOR_BYTES / sizeof(real)))
#define ROWS (TILE_VECTORS * LANES)  // of a block: rows that pass through a flow together
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INLINE vec splat(real x) { return x - (vec){0}; }
INLINE vec choose(mask m, vec yes, vec no) { return (vec)(((mask)yes & m) | ((mask)no & ~m)); }
INLINE vec larger(vec a, vec b) { return choose(a > b, a, b); }
INLINE vec absolute(vec a) { return (vec)((mask)a & ~(mask)splat(-R(0.0))); }

// x within [low, high]; NaN stays
INLINE vec clamp(vec x, real low, real high) {
    x = choose(x < splat(low), splat(low), x);
    return choose(x > splat(high), splat(high), x);
}

INLINE real sum_of_lanes(vec a) {
    real s = 0;
    for (int i = 0; i < LANES; i++) s += a[i];
    return s;
}
