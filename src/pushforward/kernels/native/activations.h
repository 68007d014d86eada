// The activations of nets.mlp and their slopes, in place of n numbers (a multiple of the lanes).
#pragma once
#include "mathematics.h"

enum { RELU, SILU, TANH, GELU };

// Whether the slope needs what went in beside what came out.
INLINE int needs_input(int kind) { return kind == SILU || kind == GELU; }

static void activate(int kind, long n, const real *Z, real *A) {
    const vec *z = (const vec *)Z;
    vec *a = (vec *)A, zero = {0};
    long m = n / LANES;
    if (kind == RELU)
        for (long i = 0; i < m; i++) a[i] = choose(z[i] < zero, zero, z[i]);
    else if (kind == SILU)
        for (long i = 0; i < m; i++) a[i] = z[i] * sigmoid(z[i]);
    else if (kind == TANH)
        for (long i = 0; i < m; i++) a[i] = hyperbolic_tangent(z[i]);
    else
        for (long i = 0; i < m; i++) a[i] = z[i] * normal_share(z[i]);
}

// G, the gradient with respect to what came out, A, becomes that with respect to what went in, Z.
static void activate_backward(int kind, long n, const real *Z, const real *A, real *G) {
    const vec *z = (const vec *)Z, *a = (const vec *)A;
    vec *g = (vec *)G, zero = {0};
    long m = n / LANES;
    if (kind == RELU)
        for (long i = 0; i < m; i++) g[i] = choose(a[i] > zero, g[i], zero);
    else if (kind == SILU)
        for (long i = 0; i < m; i++) {
            vec s = sigmoid(z[i]);
            g[i] *= s * (R(1.0) + z[i] * (R(1.0) - s));
        }
    else if (kind == TANH)
        for (long i = 0; i < m; i++) g[i] *= R(1.0) - a[i] * a[i];
    else
        for (long i = 0; i < m; i++)
            g[i] *= normal_share(z[i]) + z[i] * R(0.3989422804014327) * exponential_below(R(-0.5) * z[i] * z[i]);
}
