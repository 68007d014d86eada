// A coupling: the kept features go through a network, whose outputs are the parameters of the moved ones' maps. An
// autoregressive step is the same with a masked network, and every feature both kept and moved.
#pragma once
#include "network.h"

#define LARGEST_SEEN 1e6  // what a network sees is clamped to it, as in transforms/conditioning.py

INLINE long scratch_of_a_step(const Chain *c) { return (long)ROWS * (rows_of_a_network(c) + 3 * MOST_BINS + LANES); }

INLINE vec log_scale(int family, vec raw) {
    return family == AFFINE_SOFT ? 2 * hyperbolic_tangent(raw / 2) : family == AFFINE_TANH ? hyperbolic_tangent(raw) : raw;
}

// x exp(s) + t and its inverse. s, the log scale, takes the place of its raw parameter, one step behind the shift.
INLINE vec affine(int family, real *P, long ps, vec x, int inverse, vec *log_slope) {
    vec shift = *(const vec *)P;
    if (family == ADDITIVE) return *log_slope = (vec){0}, inverse ? x - shift : x + shift;
    vec s = *(vec *)(P + ps) = log_scale(family, *(const vec *)(P + ps));
    *log_slope = inverse ? -s : s;
    return inverse ? (x - shift) * exponential(-s) : x * exponential(s) + shift;
}

// The gradient of either, at what went in, from what `affine` left: that of the parameters takes their place, that of x is
// returned. gy, gl: gradients with respect to both results.
INLINE vec affine_backward(int family, real *P, long ps, vec x, vec gy, vec gl, int inverse) {
    vec shift = *(vec *)P;
    if (family == ADDITIVE) return *(vec *)P = inverse ? -gy : gy, gy;
    vec s = *(vec *)(P + ps), scale = exponential(inverse ? -s : s), slope = splat(1), gx = gy * scale;
    if (family == AFFINE_SOFT) slope = R(1.0) - s * s / 4;
    if (family == AFFINE_TANH) slope = R(1.0) - s * s;
    *(vec *)P = inverse ? -gx : gy;
    *(vec *)(P + ps) = (inverse ? -(gx * (x - shift) + gl) : gx * x + gl) * slope;
    return gx;
}

// x: [ROWS], in place, by the map with parameters P, ps apart. log_det: [ROWS], added to.
static void map_feature(const Chain *chain, const Step *s, real *P, long ps, real *x, real *log_det, int inverse) {
    const Spline spline = {s->bins, s->bound, chain->slope_at_zero};
    for (int v = 0; v < ROWS; v += LANES) {
        vec in = *(vec *)(x + v), out, log_slope;
        if (s->family != SPLINE) out = affine(s->family, P + v, ps, in, inverse, &log_slope);
        else if (inverse) spline_inverse(&spline, P + v, ps, in, &out, &log_slope);
        else spline_forward(&spline, P + v, ps, in, &out, &log_slope);
        *(vec *)(x + v) = out;
        *(vec *)(log_det + v) += log_slope;
    }
}

INLINE void see(const real *x, real *seen) {
    for (int v = 0; v < ROWS; v += LANES) *(vec *)(seen + v) = clamp(*(const vec *)(x + v), -LARGEST_SEEN, LARGEST_SEEN);
}

// X: [D][ROWS], in place. C: [context][ROWS] or 0. W: the network as prepared. log_det: [ROWS], added to. noise: key of
// dropout or 0. save: where the backward pass finds what it needs, or 0.
static void coupling(const Chain *chain, const Step *s, const real *W, real *X, const real *C, real *log_det, int inverse,
                     uint64_t noise, real *save, real *scratch) {
    const int moved = s->num_moved, np = params_of(s), two = needs_input(s->activation);
    const long most = widest(chain);
    real *A = save ? save : scratch, *other = scratch + most * ROWS;
    for (int i = 0; i < s->num_kept; i++) see(X + (long)s->order[i] * ROWS, A + (long)i * ROWS);
    for (int h = 0; h < s->num_hidden; h++) {
        const Layer l = layer_of(s, h, W);
        real *Z = save ? A + (long)l.in * ROWS : (A == scratch ? other : scratch), *out = save && two ? Z + (long)l.out * ROWS : Z;
        hidden_outputs(s, &l, h, 0, l.out, l.in, A, C, noise, Z, out);
        A = out;
    }
    const Layer l = layer_of(s, s->num_hidden, W);
    real *before = save ? A + (long)l.in * ROWS : 0, *all = save ? before + (long)moved * ROWS : scratch + 2 * most * ROWS;
    const long ps = save ? by_param(s) * ROWS : ROWS;
    for (int j = 0; j < moved; j++) {  // the last layer for one feature, then its map: its parameters stay in the cache
        const long first = j * by_feature(s);
        real *P = save ? all + first * ROWS : all, *x = X + (long)s->order[s->num_kept + j] * ROWS;
        product(np, l.sees ? l.sees[first] : l.in, l.weight + first * l.in, by_param(s) * l.in, 1, A, l.bias + first,
                by_param(s), P, ps, 0, 0, 0);
        if (save) memcpy(before + (long)j * ROWS, x, ROWS * sizeof(real));
        map_feature(chain, s, P, ps, x, log_det, inverse);
    }
}

// G: [D][ROWS], the gradient with respect to what came out, becomes that with respect to what went in. gl: [ROWS], that of
// log_det. grad: the flat vector, added to. save is used up.
static void coupling_backward(const Chain *chain, const Step *s, const real *W, real *G, const real *C, const real *gl,
                              int inverse, uint64_t noise, real *save, real *grad, real *scratch) {
    const int moved = s->num_moved, two = needs_input(s->activation), last = s->num_hidden;
    const long most = widest(chain);
    real *inputs[MOST_HIDDEN], *outputs[MOST_HIDDEN + 1] = {save}, *at = save + (long)s->num_kept * ROWS;
    for (int h = 0; h < last; h++) {
        inputs[h] = at, at += (long)s->hidden[h] * ROWS;
        outputs[h + 1] = two ? at : inputs[h];
        if (two) at += (long)s->hidden[h] * ROWS;
    }
    real *before = at, *P = before + (long)moved * ROWS, *turned = scratch + (2 * most + 3 * MOST_BINS) * ROWS;
    const long ps = by_param(s) * ROWS;
    const Spline spline = {s->bins, s->bound, chain->slope_at_zero};
    for (int j = 0; j < moved; j++)
        for (int v = 0; v < ROWS; v += LANES) {
            real *g = G + (long)s->order[s->num_kept + j] * ROWS + v, *p = P + j * by_feature(s) * ROWS + v;
            vec gy = *(vec *)g, gs = *(const vec *)(gl + v), x = *(vec *)(before + (long)j * ROWS + v);
            *(vec *)g = s->family == SPLINE ? spline_backward(&spline, p, ps, x, gy, gs, inverse, p, ps)
                                            : affine_backward(s->family, p, ps, x, gy, gs, inverse);
        }
    real *out = P;
    for (int h = last; h >= 0; h--) {
        const Layer l = layer_of(s, h, W);
        weight_gradient(l.out, l.in, out, outputs[h], turned, grad + s->gradients[2 * h], grad + s->gradients[2 * h + 1], l.seen_from);
        if (l.context) weight_gradient(l.out, s->context, out, C, turned, grad + s->gradients[2 * last + 2], 0, 0);
        real *in = scratch + (h & 1) * most * ROWS;
        product(l.in, l.out, l.weight, 1, l.in, out, 0, 0, in, ROWS, 0, l.seen_from, 0);
        if (h && noise) drop_backward(s->dropout, mixed(noise, h - 1), l.in, outputs[h], in);
        if (h) activate_backward(s->activation, (long)l.in * ROWS, inputs[h - 1], outputs[h], in);
        out = in;
    }
    for (int i = 0; i < s->num_kept; i++)
        for (int v = 0; v < ROWS; v += LANES) {
            vec seen = *(vec *)(save + (long)i * ROWS + v), g = *(vec *)(out + (long)i * ROWS + v);
            *(vec *)(G + (long)s->order[i] * ROWS + v) += choose(absolute(seen) < splat(LARGEST_SEEN), g, (vec){0});
        }
}

// The inverse of an autoregressive step, feature after feature: each unit is computed once, when all that it sees is known.
static void autoregressive_inverse(const Chain *chain, const Step *s, const real *W, real *X, const real *C, real *log_det,
                                   uint64_t noise, real *scratch) {
    real *seen = scratch, *P = scratch + rows_of_a_network(chain) * ROWS;
    for (int p = 0; p < s->num_moved; p++) {
        real *A = seen, *x = X + (long)s->order[p] * ROWS;
        int known = p;
        for (int h = 0; h < s->num_hidden; h++) {
            const Layer l = layer_of(s, h, W);
            const int *units = known_units(s, h), first = p ? units[p - 1] : 0;
            real *Z = A + (long)l.in * ROWS;
            hidden_outputs(s, &l, h, first, units[p] - first, known, A, C, noise, Z, Z);
            A = Z, known = units[p];
        }
        const Layer l = layer_of(s, s->num_hidden, W);
        const long first = p * by_feature(s);
        product(params_of(s), known, l.weight + first * l.in, l.in, 1, A, l.bias + first, 1, P, ROWS, 0, 0, 0);
        map_feature(chain, s, P, ROWS, x, log_det, 1);
        see(x, seen + (long)p * ROWS);
    }
}
