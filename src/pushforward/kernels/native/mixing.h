// Mixing steps: y = L U x + b with L unit lower and U upper triangular, its diagonal exp(log_diagonal); permutations; fixed
// orthogonal matrices.
#pragma once
#include <math.h>
#include <string.h>

#include "products.h"
#include "steps.h"

// U[i][k] of an LU step
INLINE real upper(const Step *s, int D, int i, int k) {
    return k > i ? s->tensors[1][(long)i * D + k] : k == i ? (real)exp((double)s->tensors[2][i]) : 0;
}

INLINE real lower(const Step *s, int D, int i, int k) { return k < i ? s->tensors[0][(long)i * D + k] : k == i ? 1 : 0; }

// W = L U
static void multiply_out(const Step *s, int D, real *W) {
    memset(W, 0, (long)D * D * sizeof(real));
    for (int i = 0; i < D; i++)
        for (int m = 0; m <= i; m++) {
            real l = lower(s, D, i, m);
            for (int k = m; k < D; k++) W[(long)i * D + k] += l * upper(s, D, m, k);
        }
}

static real log_det_of(const Step *s, int D) {
    real sum = 0;
    for (int i = 0; i < D; i++) sum += s->tensors[2][i];
    return sum;
}

// X: [D][ROWS], in place; scratch: D more rows. W: the product, for the way forward.
static void mix(const Step *s, int D, const real *W, real *X, real *log_det, int inverse, real *scratch) {
    if (s->kind == PERMUTATION) {
        memcpy(scratch, X, (long)D * ROWS * sizeof(real));
        for (int i = 0; i < D; i++) {
            const long to = inverse ? s->order[i] : i, from = inverse ? i : s->order[i];
            memcpy(X + to * ROWS, scratch + from * ROWS, ROWS * sizeof(real));
        }
        return;
    }
    if (s->kind == MATRIX) {
        memcpy(scratch, X, (long)D * ROWS * sizeof(real));
        product(D, D, s->tensors[0], inverse ? 1 : D, inverse ? D : 1, scratch, 0, 0, X, ROWS, 0, 0, 0);
        return;
    }
    const real sum = log_det_of(s, D);
    for (int r = 0; r < ROWS; r++) log_det[r] += inverse ? -sum : sum;
    if (!inverse) {
        memcpy(scratch, X, (long)D * ROWS * sizeof(real));
        product(D, D, W, D, 1, scratch, s->tensors[3], 1, X, ROWS, 0, 0, 0);
        return;
    }
    for (int i = 0; i < D; i++)  // x = U^-1 L^-1 (y - b), row by row from above, then from below
        for (int v = 0; v < ROWS; v += LANES) {
            vec x = *(vec *)(X + (long)i * ROWS + v) - s->tensors[3][i];
            for (int k = 0; k < i; k++) x -= s->tensors[0][(long)i * D + k] * *(vec *)(X + (long)k * ROWS + v);
            *(vec *)(X + (long)i * ROWS + v) = x;
        }
    for (int i = D - 1; i >= 0; i--)
        for (int v = 0; v < ROWS; v += LANES) {
            vec x = *(vec *)(X + (long)i * ROWS + v);
            for (int k = i + 1; k < D; k++) x -= s->tensors[1][(long)i * D + k] * *(vec *)(X + (long)k * ROWS + v);
            *(vec *)(X + (long)i * ROWS + v) = x / upper(s, D, i, i);
        }
}

// v = L^-T U^-T g, in place
static void solve_turned(const Step *s, int D, real *g) {
    for (int i = 0; i < D; i++)
        for (int v = 0; v < ROWS; v += LANES) {
            vec x = *(vec *)(g + (long)i * ROWS + v);
            for (int k = 0; k < i; k++) x -= upper(s, D, k, i) * *(vec *)(g + (long)k * ROWS + v);
            *(vec *)(g + (long)i * ROWS + v) = x / upper(s, D, i, i);
        }
    for (int i = D - 1; i >= 0; i--)
        for (int v = 0; v < ROWS; v += LANES) {
            vec x = *(vec *)(g + (long)i * ROWS + v);
            for (int k = i + 1; k < D; k++) x -= lower(s, D, k, i) * *(vec *)(g + (long)k * ROWS + v);
            *(vec *)(g + (long)i * ROWS + v) = x;
        }
}

// save: of an LU step what went in, or, of its inverse, what came out. The gradient of W gathers where that of `lower` will
// stand: finish_gradient makes the factors' of it. Of the inverse x = W^-1 (y - b): dy = W^-T dx, dW = -dy x^T, db = -dy.
static void mix_backward(const Step *s, int D, const real *W, real *G, int inverse, real *save, real *grad, real *scratch,
                         real *turned) {
    memcpy(scratch, G, (long)D * ROWS * sizeof(real));
    if (s->kind == PERMUTATION) {
        for (int i = 0; i < D; i++) {
            const long to = inverse ? i : s->order[i], from = inverse ? s->order[i] : i;
            memcpy(G + to * ROWS, scratch + from * ROWS, ROWS * sizeof(real));
        }
        return;
    }
    if (s->kind == MATRIX) {
        product(D, D, s->tensors[0], inverse ? D : 1, inverse ? 1 : D, scratch, 0, 0, G, ROWS, 0, 0, 0);
        return;
    }
    if (inverse) {
        solve_turned(s, D, G);
        for (long i = 0; i < (long)D * ROWS; i++) scratch[i] = -G[i];
        weight_gradient(D, D, scratch, save, turned, grad + s->gradients[0], grad + s->gradients[3], 0);
        return;
    }
    weight_gradient(D, D, G, save, turned, grad + s->gradients[0], grad + s->gradients[3], 0);
    product(D, D, W, 1, D, scratch, 0, 0, G, ROWS, 0, 0, 0);
}

// dL = dW U^T below the diagonal, dU = L^T dW above it, d log diagonal = diag(dU) exp(log diagonal) + sum of gl
static void finish_gradient(const Step *s, int D, real *grad, real sum_gl, real *W) {
    real *to_lower = grad + s->gradients[0], *to_upper = grad + s->gradients[1], *to_diagonal = grad + s->gradients[2];
    memcpy(W, to_lower, (long)D * D * sizeof(real));
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++) {
            real below = 0, above = 0;
            if (j < i)
                for (int k = j; k < D; k++) below += W[(long)i * D + k] * upper(s, D, j, k);
            else
                for (int k = i; k < D; k++) above += lower(s, D, k, i) * W[(long)k * D + j];
            to_lower[(long)i * D + j] = below;
            to_upper[(long)i * D + j] = j > i ? above : 0;
            if (i == j) to_diagonal[i] = above * upper(s, D, i, i) + sum_gl;
        }
}
