// Monotone rational-quadratic splines (arXiv:1906.04032, eqs. 4-8): a vector of elements, each with parameters of its own.
// Parameter k of all of them lies at P + k ps: raw widths, raw heights, raw slopes. Reference: rational_quadratic.plain.
#pragma once
#include "mathematics.h"

#define MOST_BINS 64
#define MIN_SHARE ((real)1e-3)
#define MIN_SLOPE ((real)1e-3)

typedef struct {
    int bins;
    real bound, slope_at_zero;
} Spline;

// The bin of each element: left knot, width, height, slopes at its ends, their raw values, its number.
typedef struct {
    vec x0, y0, w, h, d0, d1, raw0, raw1;
    mask number;
} Bin;

// sizes: exp(raw - largest) of widths and heights; *to_width and *to_height make shares of the box of them.
INLINE Bin find_bin(const Spline *s, const real *P, long ps, vec v, int search_heights, vec *sizes, vec *to_width,
                    vec *to_height) {
    const int K = s->bins;
    vec most_w = *(const loose *)P, most_h = *(const loose *)(P + K * ps), sum_w = {0}, sum_h = {0}, zero = {0};
    for (int k = 1; k < K; k++) {
        most_w = larger(*(const loose *)(P + k * ps), most_w);
        most_h = larger(*(const loose *)(P + (K + k) * ps), most_h);
    }
    for (int k = 0; k < K; k++) {
        sum_w += sizes[k] = exponential_below(*(const loose *)(P + k * ps) - most_w);
        sum_h += sizes[K + k] = exponential_below(*(const loose *)(P + (K + k) * ps) - most_h);
    }
    real least = 2 * s->bound * MIN_SHARE, rest = 2 * s->bound * (1 - MIN_SHARE * K);
    *to_width = rest / sum_w, *to_height = rest / sum_h;
    vec x = splat(-s->bound), y = x, x1 = splat(s->bound), y1 = x1;
    Bin b = {.x0 = x, .y0 = y, .raw0 = zero, .raw1 = zero, .number = {0}};
    mask found = {0};  // whether a knot right of v has been met
    for (int k = 1; k < K; k++) {
        x += least + *to_width * sizes[k - 1];
        y += least + *to_height * sizes[K + k - 1];
        vec raw = *(const loose *)(P + (2 * K + k - 1) * ps);
        mask passed = v >= (search_heights ? y : x), end = ~passed & ~found;
        b.x0 = choose(passed, x, b.x0), b.y0 = choose(passed, y, b.y0), b.raw0 = choose(passed, raw, b.raw0);
        x1 = choose(end, x, x1), y1 = choose(end, y, y1), b.raw1 = choose(end, raw, b.raw1);
        b.number -= passed, found |= end;
    }
    b.w = x1 - b.x0, b.h = y1 - b.y0;
    b.d0 = softplus(b.raw0 + s->slope_at_zero) + MIN_SLOPE;
    b.d1 = softplus(b.raw1 + s->slope_at_zero) + MIN_SLOPE;
    return b;
}

INLINE void spline_forward(const Spline *s, const real *P, long ps, vec x, vec *y, vec *log_slope) {
    vec sizes[2 * MOST_BINS], to_w, to_h, c = clamp(x, -s->bound, s->bound);
    Bin b = find_bin(s, P, ps, c, 0, sizes, &to_w, &to_h);
    vec theta = clamp((c - b.x0) / b.w, 0, 1), slope = b.h / b.w, u = R(1.0) - theta, r = theta * u;
    vec bottom = slope + (b.d0 + b.d1 - 2 * slope) * r, over = R(1.0) / bottom, ratio = slope * over;
    vec rise = b.y0 + b.h * (slope * theta * theta + b.d0 * r) * over;
    vec top = b.d1 * theta * theta + 2 * slope * r + b.d0 * u * u;
    mask outside = absolute(x) > splat(s->bound);
    *y = choose(outside, x, rise);
    *log_slope = choose(outside, (vec){0}, logarithm(ratio * ratio * top) + (c - c));  // c - c: NaN stays
}

// Where in its bin a height v lies: eqs. 6-8 divided by h, a theta^2 + b theta + c = 0 with c <= 0.
INLINE vec place_of_height(const Bin *bin, vec v) {
    vec slope = bin->h / bin->w, rise = clamp((v - bin->y0) / bin->h, 0, 1), bend = rise * (bin->d0 + bin->d1 - 2 * slope);
    vec a = slope - bin->d0 + bend, b = bin->d0 - bend, c = -slope * rise;
    vec q = absolute(b) + square_root(larger(b * b - 4 * a * c, splat(R(1e-24))));
    mask steep = b < splat(0);  // of the two forms of one root, the one without cancellation
    return clamp(choose(steep, q, -2 * c) / choose(steep, 2 * a, q), 0, 1);
}

INLINE void spline_inverse(const Spline *s, const real *P, long ps, vec y, vec *x, vec *log_slope) {
    vec sizes[2 * MOST_BINS], to_w, to_h, zero = {0}, v = clamp(y, -s->bound, s->bound);
    Bin bin = find_bin(s, P, ps, v, 1, sizes, &to_w, &to_h);
    vec theta = place_of_height(&bin, v), u = R(1.0) - theta, r = theta * u, slope = bin.h / bin.w;
    vec ratio = slope / (slope + (bin.d0 + bin.d1 - 2 * slope) * r);
    vec top = bin.d1 * theta * theta + 2 * slope * r + bin.d0 * u * u;
    mask outside = absolute(y) > splat(s->bound);
    *x = choose(outside, y, bin.x0 + bin.w * theta);
    *log_slope = choose(outside, zero, -logarithm(ratio * ratio * top) + (v - v));
}

// gy, gl: gradients with respect to both results of spline_forward at x, or of spline_inverse. Writes that of the parameters
// to G (which may be P), returns that of x. Every a_ is the gradient with respect to the quantity of that name.
INLINE vec spline_backward(const Spline *s, const real *P, long ps, vec x, vec gy, vec gl, int inverse, real *G, long gs) {
    const int K = s->bins;
    vec sizes[2 * MOST_BINS], to_w, to_h, zero = {0}, c = clamp(x, -s->bound, s->bound);
    Bin b = find_bin(s, P, ps, c, inverse, sizes, &to_w, &to_h);
    mask outside = absolute(x) > splat(s->bound);
    vec over_w = R(1.0) / b.w, slope = b.h * over_w;
    vec theta = inverse ? place_of_height(&b, c) : clamp((c - b.x0) * over_w, 0, 1);
    vec u = R(1.0) - theta, r = theta * u, bend = b.d0 + b.d1 - 2 * slope;
    vec bottom = slope + bend * r, over = R(1.0) / bottom, top = slope * theta * theta + b.d0 * r, share = top * over;
    vec steepness = b.d1 * theta * theta + 2 * slope * r + b.d0 * u * u;
    vec g = choose(outside, zero, gy), q = choose(outside, zero, gl), a_y = zero, a_inverse_theta = -g * b.w;
    if (inverse) {  // F(theta) = y stays: d theta = (dy - F_p dp) / F_theta, which moves both x and -log F_x
        vec by_theta = 2 * ((b.d1 * theta + slope * (u - theta) - b.d0 * u) / steepness - bend * (u - theta) * over);
        a_y = (g * b.w - q * by_theta) / (b.h * slope * steepness * over * over);
        g = -a_y, q = -q;
    }
    vec a_top = g * b.h * over, a_bottom = -(a_top * share + 2 * q * over), a_steepness = q / steepness;
    vec a_slope = 2 * q / slope + a_top * theta * theta + a_bottom * (R(1.0) - 2 * r) + a_steepness * 2 * r;
    vec a_d0 = a_top * r + a_bottom * r + a_steepness * u * u, a_d1 = a_bottom * r + a_steepness * theta * theta;
    vec a_r = a_top * b.d0 + a_bottom * bend + a_steepness * 2 * slope;
    vec a_theta = inverse ? a_inverse_theta
                          : a_top * 2 * slope * theta + a_steepness * 2 * (b.d1 * theta - b.d0 * u) + a_r * (u - theta);
    vec a_x = a_theta * over_w, a_w = -(a_theta * theta + a_slope * slope) * over_w, a_h = g * share + a_slope * over_w;
    mask last = b.number == (K - 1);  // its right end is the end of the box, which does not move
    vec a_x1 = choose(last, zero, a_w), a_y1 = choose(last, zero, a_h);
    // Bins left of this one move both its knots, or its left one alone, if the right one is the end of the box.
    vec before_w = choose(last, (a_slope * slope - a_theta * u) * over_w, -a_x);
    vec before_h = choose(last, g * (R(1.0) - share) - a_slope * over_w, g);
    vec a_raw0 = sigmoid(b.raw0 + s->slope_at_zero) * a_d0, a_raw1 = sigmoid(b.raw1 + s->slope_at_zero) * a_d1;
    real per_share = 1 / (2 * s->bound * (1 - MIN_SHARE * K));
    vec mean_w = zero, mean_h = zero, by_w[MOST_BINS], by_h[MOST_BINS];  // of the softmax's backward
    for (int k = 0; k < K; k++) {
        mask here = (mask){0} + k == b.number, left = (mask){0} + k < b.number;
        by_w[k] = choose(left, before_w, choose(here, a_x1, zero));
        by_h[k] = choose(left, before_h, choose(here, a_y1, zero));
        sizes[k] *= to_w, sizes[K + k] *= to_h;
        mean_w += sizes[k] * by_w[k], mean_h += sizes[K + k] * by_h[k];
    }
    mean_w *= per_share, mean_h *= per_share;
    for (int k = 0; k < K; k++) {
        *(loose *)(G + k * gs) = sizes[k] * (by_w[k] - mean_w);
        *(loose *)(G + (K + k) * gs) = sizes[K + k] * (by_h[k] - mean_h);
    }
    for (int k = 1; k < K; k++) {
        mask left = (mask){0} + k == b.number, right = (mask){0} + k == b.number + 1;
        *(loose *)(G + (2 * K + k - 1) * gs) = choose(left, a_raw0, choose(right, a_raw1, zero));
    }
    return choose(outside, gy, choose(x == x, inverse ? a_y : a_x, zero));  // NaN: as torch's clamp has it
}
