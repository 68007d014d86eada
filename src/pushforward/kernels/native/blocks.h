// Rows of data into blocks, [feature][ROWS]; memory for them; one step of a chain on one block.
#pragma once
#include <stdlib.h>
#include <string.h>

#include "coupling.h"
#include "mixing.h"

// Numbers that the backward pass needs of one block.
static long numbers_to_save(const Chain *c) {
    long rows = 0;
    for (int i = 0; i < c->num_steps; i++) rows += saved_rows(c, c->steps + i);
    return rows * ROWS;
}

INLINE real *numbers(long n) { return aligned_alloc(64, (n * sizeof(real) + 127) / 64 * 64); }

// Rows first ... of (N, D), or of those that index names, into [D][ROWS]; rows beyond the last are zero.
static void load_rows(const real *from, const int64_t *index, long first, long N, int D, real *X) {
    real tile[LANES * LANES] __attribute__((aligned(VECTOR_BYTES)));
    const real *rows[LANES];
    for (int r = 0; r < ROWS; r += LANES) {
        for (int i = 0; i < LANES; i++) {
            const long at = first + r + i;
            rows[i] = at < N ? from + (index ? index[at] : at) * D : 0;
        }
        int d = 0;
        for (; d + LANES <= D; d += LANES) {
            for (int i = 0; i < LANES; i++) {
                vec numbers = {0};
                if (rows[i]) numbers = *(const loose *)(rows[i] + d);
                *(vec *)(tile + i * LANES) = numbers;
            }
            turn_tile(tile, LANES, X + (long)d * ROWS + r, ROWS);
        }
        for (; d < D; d++)
            for (int i = 0; i < LANES; i++) X[(long)d * ROWS + r + i] = rows[i] ? rows[i][d] : 0;
    }
}

static void load_context(const Chain *c, const real *context, const int64_t *index, long first, long N, real *C) {
    load_rows(context, index, first, N, c->context, C);
    for (long i = 0; i < (long)c->context * ROWS; i += LANES) *(vec *)(C + i) = clamp(*(vec *)(C + i), -LARGEST_SEEN, LARGEST_SEEN);
}

// What the steps make of their tensors before any row comes: L U, sorted networks.
static void prepare(const Chain *c, real *W) {
    for (const Step *s = c->steps; s < c->steps + c->num_steps; s++) {
        if (s->kind == LU) multiply_out(s, c->features, W + s->prepared);
        if (s->sorted) sort_network(s, W + s->prepared);
    }
}

// The gradients of the tensors, of what has gathered in their places once all rows have passed; W is used up.
static void finish(const Chain *c, real *grad, real sum_gl, int inverse, real *W) {
    for (const Step *s = c->steps; s < c->steps + c->num_steps; s++) {
        if (s->kind == LU) finish_gradient(s, c->features, grad, inverse ^ s->inverted ? -sum_gl : sum_gl, W + s->prepared);
        if (s->sorted) unsort_gradients(s, grad, W + s->prepared);
    }
}

// Step i of one block, forward or inverse; where `keep` is given, with what the backward pass needs. noise: the block's key
// of dropout, or 0.
static void take_step(const Chain *c, int i, const real *W, real *X, const real *C, real *log_det, int inverse, uint64_t noise,
                      real *keep, real *scratch) {
    const Step *s = c->steps + i;
    inverse ^= s->inverted;
    const uint64_t key = noise && s->dropout > 0 ? mixed(noise, i) : 0;
    if (s->kind == AUTOREGRESSIVE && inverse) {
        autoregressive_inverse(c, s, W + s->prepared, X, C, log_det, key, scratch);
    } else if (has_network(s)) {
        coupling(c, s, W + s->prepared, X, C, log_det, inverse, key, keep, scratch);
    } else {
        const size_t size = keep && s->kind == LU ? (size_t)c->features * ROWS * sizeof(real) : 0;
        if (size && !inverse) memcpy(keep, X, size);
        mix(s, c->features, W + s->prepared, X, log_det, inverse, scratch);
        if (size && inverse) memcpy(keep, X, size);
    }
}

// The same backward: G, the gradient with respect to what came out, becomes that with respect to what went in.
static void take_step_back(const Chain *c, int i, const real *W, real *G, const real *C, const real *gl, int inverse,
                           uint64_t noise, real *kept, real *grad, real *scratch) {
    const Step *s = c->steps + i;
    const long D = c->features;
    inverse ^= s->inverted;
    if (has_network(s))
        coupling_backward(c, s, W + s->prepared, G, C, gl, inverse, noise && s->dropout > 0 ? mixed(noise, i) : 0, kept, grad, scratch);
    else mix_backward(s, D, W + s->prepared, G, inverse, kept, grad, scratch, scratch + D * ROWS);
}
