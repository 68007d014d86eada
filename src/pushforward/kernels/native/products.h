// Matrix products of a block: numbers lie feature by feature, [feature][ROWS], so a row of data is a lane everywhere.
#pragma once
#include "vector.h"

// Y[o][r] (+)= bias[o] + sum_k W[o so + k sk] A[k][r] for m outputs, kept in registers
INLINE void product_tile(const int m, int n_k, const real *W, long so, long sk, const real *A, const real *bias, long sb,
                         real *Y, long sy, int add) {
    vec sums[TILE_OUTPUTS][TILE_VECTORS];
UNROLL
    for (int i = 0; i < m; i++)
UNROLL
        for (int j = 0; j < TILE_VECTORS; j++)
            sums[i][j] = add ? *(vec *)(Y + i * sy + j * LANES) : splat(bias ? bias[i * sb] : 0);
    for (int k = 0; k < n_k; k++) {
        vec a[TILE_VECTORS];
UNROLL
        for (int j = 0; j < TILE_VECTORS; j++) a[j] = *(const vec *)(A + (long)k * ROWS + j * LANES);
UNROLL
        for (int i = 0; i < m; i++) {
            real w = W[i * so + k * sk];
UNROLL
            for (int j = 0; j < TILE_VECTORS; j++) sums[i][j] += w * a[j];
        }
    }
UNROLL
    for (int i = 0; i < m; i++)
UNROLL
        for (int j = 0; j < TILE_VECTORS; j++) *(vec *)(Y + i * sy + j * LANES) = sums[i][j];
}

// The same for any number of outputs. so, sk: steps between the weights of two outputs and of two inputs; sb, sy: between
// two biases and two rows of Y. from, to: of each output, the inputs whose weights are not zero, where that is known; both
// grow from output to output.
static void product(int n_o, int n_k, const real *W, long so, long sk, const real *A, const real *bias, long sb, real *Y,
                    long sy, int add, const int *from, const int *to) {
    int o = 0;
#define TILE(m) \
    { \
        const long low = from ? from[o] : 0, high = to ? to[o + (m) - 1] : n_k; \
        product_tile(m, high - low, W + o * so + low * sk, so, sk, A + low * ROWS, bias ? bias + o * sb : 0, sb, Y + o * sy, sy, add); \
    }
    for (; o + TILE_OUTPUTS <= n_o; o += TILE_OUTPUTS) TILE(TILE_OUTPUTS)
    switch (n_o - o) {
        case 1: TILE(1) break;
        case 2: TILE(2) break;
        case 3: TILE(3) break;
#if TILE_OUTPUTS > 4
        case 4: TILE(4) break;
        case 5: TILE(5) break;
#endif
    }
#undef TILE
}

// B = A^T for LANES x LANES numbers, rows sa and sb apart: halves are interleaved until every number is in its place.
INLINE void turn_tile(const real *A, long sa, real *B, long sb) {
#ifdef __clang__
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < LANES; j++) B[j * sb + i] = A[i * sa + j];
#else
    vec rows[LANES], next[LANES];
    mask low, high;
    for (int i = 0; i < LANES; i++) low[i] = (i >> 1) + (i & 1) * LANES, high[i] = LANES / 2 + (i >> 1) + (i & 1) * LANES;
UNROLL
    for (int i = 0; i < LANES; i++) rows[i] = *(const vec *)(A + i * sa);
UNROLL
    for (int step = 1; step < LANES; step *= 2) {
UNROLL
        for (int i = 0; i < LANES / 2; i++) {
            next[2 * i] = __builtin_shuffle(rows[i], rows[i + LANES / 2], low);
            next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + LANES / 2], high);
        }
UNROLL
        for (int i = 0; i < LANES; i++) rows[i] = next[i];
    }
UNROLL
    for (int i = 0; i < LANES; i++) *(vec *)(B + i * sb) = rows[i];
#endif
}

// dW[o][i] += sum_r G[o][r] T[r][i] for m outputs and nv vectors of inputs; T: [ROWS][st], the inputs row by row
INLINE void gradient_tile(const int m, const int nv, const real *G, const real *T, long st, real *dW, long sw) {
    vec sums[8][TILE_VECTORS];
UNROLL
    for (int i = 0; i < m; i++)
UNROLL
        for (int j = 0; j < nv; j++) sums[i][j] = (vec){0};  // a sum of its own a block: fewer roundings of large sums
    for (int r = 0; r < ROWS; r++) {
        vec t[TILE_VECTORS];
UNROLL
        for (int j = 0; j < nv; j++) t[j] = *(const vec *)(T + r * st + j * LANES);
UNROLL
        for (int i = 0; i < m; i++) {
            real g = G[(long)i * ROWS + r];
UNROLL
            for (int j = 0; j < nv; j++) sums[i][j] += g * t[j];
        }
    }
UNROLL
    for (int i = 0; i < m; i++)
UNROLL
        for (int j = 0; j < nv; j++) *(loose *)(dW + i * sw + j * LANES) += sums[i][j];
}

// to[k step] += the sum of the lanes of s[k], for k < n; s has room for LANES of them
static void add_sums(const vec *s, int n, real *to, long step) {
    real turned[LANES * LANES] __attribute__((aligned(VECTOR_BYTES)));
    turn_tile((const real *)s, LANES, turned, LANES);
    vec total = *(vec *)turned;
    for (int i = 1; i < LANES; i++) total += *(vec *)(turned + i * LANES);
    for (int k = 0; k < n; k++) to[k * step] += total[k];
}

// to[o step] += sum_r G[o][r] a[r], or of G alone where there is no a, for outputs from ... n_o
static void add_products(int from, int n_o, const real *G, const real *a, real *to, long step) {
    for (int o = from; o < n_o; o += LANES) {
        const int n = n_o - o < LANES ? n_o - o : LANES;
        vec s[LANES];
        for (int k = 0; k < n; k++) {
            const vec *g = (const vec *)(G + (long)(o + k) * ROWS);
            s[k] = (vec){0};
            for (int j = 0; j < TILE_VECTORS; j++) s[k] += a ? g[j] * ((const vec *)a)[j] : g[j];
        }
        for (int k = n; k < LANES; k++) s[k] = (vec){0};
        add_sums(s, n, to + o * step, step);
    }
}

// dW[o][i] += sum_r G[o][r] A[i][r] and db[o] += sum_r G[o][r]. turned: scratch for the inputs row by row. from: of each
// input the first output that counts, where only some do; it grows from input to input.
static void weight_gradient(int n_o, int n_i, const real *G, const real *A, real *turned, real *dW, real *db, const int *from) {
    if (db) add_products(0, n_o, G, 0, db, 1);
    int wide = n_i / LANES * LANES, i = 0;
    for (int k = 0; k < wide; k += LANES)
        for (int r = 0; r < ROWS; r += LANES) turn_tile(A + (long)k * ROWS + r, ROWS, turned + (long)r * wide + k, wide);
#define TILES(m, nv) \
    for (; o + (m) <= n_o; o += (m)) gradient_tile(m, nv, G + (long)o * ROWS, turned + i, wide, dW + (long)o * n_i + i, n_i);
#define STRIPE(m, nv) \
    for (; i + (nv) * LANES <= wide; i += (nv) * LANES) { \
        int o = from ? from[i] : 0; \
        TILES(m, nv) TILES(4, nv) TILES(2, nv) TILES(1, nv) \
    }
    STRIPE(TILE_OUTPUTS, TILE_VECTORS)
    STRIPE(8, 2)
    STRIPE(8, 1)
#undef STRIPE
#undef TILES
    for (; i < n_i; i++) add_products(from ? from[i] : 0, n_o, G, A + (long)i * ROWS, dW + i, n_i);
}
