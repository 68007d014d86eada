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
    for (int r = 0; r < ROWS; r++) {
        const real *row = first + r < N ? from + (index ? index[first + r] : first + r) * D : 0;
        for (int d = 0; d < D; d++) X[(long)d * ROWS + r] = row ? row[d] : 0;
    }
}

static void load_context(const Chain *c, const real *context, const int64_t *index, long first, long N, real *C) {
    load_rows(context, index, first, N, c->context, C);
    for (long i = 0; i < (long)c->context * ROWS; i += LANES) *(vec *)(C + i) = clamp(*(vec *)(C + i), -LARGEST_SEEN, LARGEST_SEEN);
}

// L U of every LU step, D x D a step of any kind
static void multiply_all_out(const Chain *c, real *W) {
    const long D = c->features;
    for (int i = 0; i < c->num_steps; i++)
        if (c->steps[i].kind == LU) multiply_out(c->steps + i, D, W + i * D * D);
}

// One step of one block, forward or inverse; where `keep` is given, with what the backward pass needs.
static void take_step(const Chain *c, int i, const real *W, real *X, const real *C, real *log_det, int inverse, real *keep,
                      real *scratch) {
    const Step *s = c->steps + i;
    const long D = c->features;
    if (s->kind == COUPLING) {
        coupling(c, s, X, C, log_det, inverse, keep, scratch);
        return;
    }
    if (keep && s->kind == LU) memcpy(keep, X, D * ROWS * sizeof(real));
    mix(s, D, W + i * D * D, X, log_det, inverse, scratch);
}

// The same backward: G, the gradient with respect to what came out, becomes that with respect to what went in.
static void take_step_back(const Chain *c, int i, const real *W, real *G, const real *C, const real *gl, real *kept,
                           real *grad, real *scratch) {
    const long D = c->features;
    if (c->steps[i].kind == COUPLING) coupling_backward(c, c->steps + i, G, C, gl, kept, grad, scratch);
    else mix_backward(c->steps + i, D, W + i * D * D, G, kept, grad, scratch, scratch + D * ROWS);
}

