// A coupling: the kept features go through a network, whose outputs are the parameters of the others' maps.
#pragma once
#include <string.h>

#include "products.h"
#include "steps.h"

#define LARGEST_SEEN 1e6  // what a network sees is clamped to it, as in transforms/conditioning.py

INLINE long scratch_of_a_coupling(const Chain *c) {
    return (long)ROWS * (2L * widest(c) + 3 * MOST_BINS + widest(c) + LANES);
}

INLINE vec log_scale(int family, vec raw) {
    return family == AFFINE_SOFT ? 2 * hyperbolic_tangent(raw / 2) : family == AFFINE_TANH ? hyperbolic_tangent(raw) : raw;
}

// x exp(s) + t and its inverse, s the log scale of the raw parameter one step behind the shift
INLINE vec affine(int family, const real *P, long ps, vec x, int inverse, vec *log_slope) {
    vec shift = *(const vec *)P;
    if (family == ADDITIVE) return *log_slope = (vec){0}, inverse ? x - shift : x + shift;
    vec s = log_scale(family, *(const vec *)(P + ps));
    *log_slope = inverse ? -s : s;
    return inverse ? (x - shift) * exponential(-s) : x * exponential(s) + shift;
}

// The gradient of the affine map: that of the parameters takes their place, that of x is returned.
INLINE vec affine_backward(int family, real *P, long ps, vec x, vec gy, vec gl) {
    *(vec *)P = gy;
    if (family == ADDITIVE) return gy;
    vec raw = *(vec *)(P + ps), s = log_scale(family, raw), scale = exponential(s), slope = splat(1);
    if (family == AFFINE_SOFT) slope = R(1.0) - s * s / 4;
    if (family == AFFINE_TANH) slope = R(1.0) - s * s;
    *(vec *)(P + ps) = (gy * x * scale + gl) * slope;
    return gy * scale;
}

// X: [D][ROWS], in place. C: [context][ROWS] or 0. log_det: [ROWS], added to. save: where the backward pass finds what it
// needs, or 0.
static void coupling(const Chain *chain, const Step *s, real *X, const real *C, real *log_det, int inverse, real *save,
                     real *scratch) {
    const int kept = s->num_kept, moved = chain->features - kept, np = params_of(s), two = needs_input(s->activation);
    const long W = widest(chain);
    real *A = save ? save : scratch, *other = scratch + W * ROWS;
    for (int i = 0; i < kept; i++)
        for (int v = 0; v < ROWS; v += LANES)
            *(vec *)(A + (long)i * ROWS + v) = clamp(*(vec *)(X + (long)s->order[i] * ROWS + v), -LARGEST_SEEN, LARGEST_SEEN);
    int width = kept;
    for (int h = 0; h < s->num_hidden; h++) {
        const int H = s->hidden[h];
        real *Z = save ? A + (long)width * ROWS : (A == scratch ? other : scratch), *out = save && two ? Z + (long)H * ROWS : Z;
        product(H, width, s->tensors[2 * h], width, 1, A, s->tensors[2 * h + 1], 1, Z, ROWS, 0);
        if (h == 0 && C)
            product(H, chain->context, s->tensors[2 * s->num_hidden + 2], chain->context, 1, C, 0, 0, Z, ROWS, 1);
        activate(s->activation, (long)H * ROWS, Z, out);
        A = out, width = H;
    }
    real *before = save ? A + (long)width * ROWS : 0, *all = save ? before + (long)moved * ROWS : scratch + 2 * W * ROWS;
    const long ps = save ? (long)moved * ROWS : ROWS;
    const real *weight = s->tensors[2 * s->num_hidden], *bias = s->tensors[2 * s->num_hidden + 1];
    const Spline spline = {s->bins, s->bound, chain->slope_at_zero};
    for (int j = 0; j < moved; j++) {  // the last layer for one feature, then its map: its parameters stay in the cache
        real *P = save ? all + (long)j * ROWS : all, *x = X + (long)s->order[kept + j] * ROWS;
        product(np, width, weight + (long)j * width, (long)moved * width, 1, A, bias + j, moved, P, ps, 0);
        if (save) memcpy(before + (long)j * ROWS, x, ROWS * sizeof(real));
        for (int v = 0; v < ROWS; v += LANES) {
            vec in = *(vec *)(x + v), out, log_slope;
            if (s->family != SPLINE) out = affine(s->family, P + v, ps, in, inverse, &log_slope);
            else if (inverse) spline_inverse(&spline, P + v, ps, in, &out, &log_slope);
            else spline_forward(&spline, P + v, ps, in, &out, &log_slope);
            *(vec *)(x + v) = out;
            *(vec *)(log_det + v) += log_slope;
        }
    }
}

// G: [D][ROWS], the gradient with respect to what came out, becomes that with respect to what went in. gl: [ROWS], that of
// log_det. grad: the flat vector, added to. save is used up.
static void coupling_backward(const Chain *chain, const Step *s, real *G, const real *C, const real *gl, real *save,
                              real *grad, real *scratch) {
    const int kept = s->num_kept, moved = chain->features - kept, np = params_of(s), two = needs_input(s->activation);
    const int last = s->num_hidden;
    const long W = widest(chain);
    real *inputs[MOST_HIDDEN], *outputs[MOST_HIDDEN + 1] = {save}, *at = save + (long)kept * ROWS;
    for (int h = 0; h < last; h++) {
        inputs[h] = at, at += (long)s->hidden[h] * ROWS;
        outputs[h + 1] = two ? at : inputs[h];
        if (two) at += (long)s->hidden[h] * ROWS;
    }
    real *before = at, *P = before + (long)moved * ROWS, *turned = scratch + (2 * W + 3 * MOST_BINS) * ROWS;
    const long ps = (long)moved * ROWS;
    const Spline spline = {s->bins, s->bound, chain->slope_at_zero};
    for (int j = 0; j < moved; j++)
        for (int v = 0; v < ROWS; v += LANES) {
            real *g = G + (long)s->order[kept + j] * ROWS + v, *p = P + (long)j * ROWS + v;
            vec gy = *(vec *)g, gs = *(const vec *)(gl + v), x = *(vec *)(before + (long)j * ROWS + v);
            *(vec *)g = s->family == SPLINE ? spline_backward(&spline, p, ps, x, gy, gs, 0, p, ps)
                                            : affine_backward(s->family, p, ps, x, gy, gs);
        }
    real *out = P;
    int rows = np * moved;
    for (int h = last; h >= 0; h--) {
        const int width = h ? s->hidden[h - 1] : kept;
        weight_gradient(rows, width, out, outputs[h], turned, grad + s->gradients[2 * h], grad + s->gradients[2 * h + 1]);
        if (h == 0 && C) weight_gradient(rows, chain->context, out, C, turned, grad + s->gradients[2 * last + 2], 0);
        real *in = scratch + (h & 1) * W * ROWS;
        product(width, rows, s->tensors[2 * h], 1, width, out, 0, 0, in, ROWS, 0);
        if (h) activate_backward(s->activation, (long)width * ROWS, inputs[h - 1], outputs[h], in);
        out = in, rows = width;
    }
    for (int i = 0; i < kept; i++)
        for (int v = 0; v < ROWS; v += LANES) {
            vec seen = *(vec *)(save + (long)i * ROWS + v), g = *(vec *)(out + (long)i * ROWS + v);
            *(vec *)(G + (long)s->order[i] * ROWS + v) += choose(absolute(seen) < splat(LARGEST_SEEN), g, (vec){0});
        }
}
