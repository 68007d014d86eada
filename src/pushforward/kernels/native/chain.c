// A chain of couplings, autoregressive and mixing steps as one operator: forward, inverse, and the gradients of both.
#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#endif

#include "blocks.h"

#define TOGETHER 4  // blocks that pass a step together, while its weights are in the cache

int block_rows(void) { return ROWS; }

int runs_parallel(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

static real *prepared(const Chain *c) {
    real *W = numbers(c->num_prepared + 1);
    prepare(c, W);
    return W;
}

static void store_rows(const real *X, long first, long N, int D, real *to) {
    for (int r = 0; r < ROWS && first + r < N; r++)
        for (int d = 0; d < D; d++) to[(first + r) * D + d] = X[(long)d * ROWS + r];
}

long saved_numbers(const Chain *c) { return numbers_to_save(c); }

// in, out: (N, D). context: (N, context) or 0. log_det: (N). noise: key of dropout, or 0. saved: blocks x saved_numbers, or 0.
void chain_map(const Chain *c, const real *in, const real *context, long N, real *out, real *log_det, int inverse,
               uint64_t noise, real *saved, int threads) {
    const long D = c->features, blocks = (N + ROWS - 1) / ROWS, size = numbers_to_save(c), groups = (blocks + TOGETHER - 1) / TOGETHER;
    real *W = prepared(c);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        real *scratch = numbers(scratch_of_a_step(c)), *X = numbers(TOGETHER * D * ROWS), *ld = numbers(TOGETHER * ROWS);
        real *C = context ? numbers((long)TOGETHER * c->context * ROWS) : 0;
#pragma omp for schedule(dynamic, 1)
        for (long g = 0; g < groups; g++) {
            const long first = g * TOGETHER, many = blocks - first < TOGETHER ? blocks - first : TOGETHER;
            long done = 0;
            memset(ld, 0, TOGETHER * ROWS * sizeof(real));
            for (long b = 0; b < many; b++) {
                load_rows(in, 0, (first + b) * ROWS, N, D, X + b * D * ROWS);
                if (C) load_context(c, context, 0, (first + b) * ROWS, N, C + b * c->context * ROWS);
            }
            for (int k = 0; k < c->num_steps; k++) {
                const int i = inverse ? c->num_steps - 1 - k : k;
                for (long b = 0; b < many; b++)
                    take_step(c, i, W, X + b * D * ROWS, C ? C + b * c->context * ROWS : 0, ld + b * ROWS, inverse,
                              noise ? mixed(noise, first + b) : 0, saved ? saved + (first + b) * size + done * ROWS : 0, scratch);
                done += saved_rows(c, c->steps + i);
            }
            for (long b = 0; b < many; b++) {
                store_rows(X + b * D * ROWS, (first + b) * ROWS, N, D, out);
                store_rows(ld + b * ROWS, (first + b) * ROWS, N, 1, log_det);
            }
        }
        free(scratch), free(X), free(ld), free(C);
    }
    free(W);
}

// gz: (N, D) and gl: (N), gradients with respect to the results of chain_map; inverse, noise, saved: as there, saved is used up. gx: (N, D) or
// 0. grads: (threads, num_gradients); the sum ends in the first.
void chain_backward(const Chain *c, const real *context, long N, const real *gz, const real *gl, int inverse, uint64_t noise,
                    real *saved, real *gx, real *grads, int threads) {
    const long D = c->features, blocks = (N + ROWS - 1) / ROWS, size = numbers_to_save(c), n = c->num_gradients;
    real *W = prepared(c);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const int t = omp_get_thread_num();
        real *scratch = numbers(scratch_of_a_step(c)), *G = numbers(TOGETHER * D * ROWS), *g = numbers(TOGETHER * ROWS);
        real *C = context ? numbers((long)TOGETHER * c->context * ROWS) : 0, *grad = grads + t * n;
        memset(grad, 0, n * sizeof(real));
        const long low = blocks * t / threads, high = blocks * (t + 1) / threads;  // fixed, so that sums keep their order
        for (long first = low; first < high; first += TOGETHER) {
            const long many = high - first < TOGETHER ? high - first : TOGETHER;
            long done = size / ROWS;
            for (long b = 0; b < many; b++) {
                load_rows(gz, 0, (first + b) * ROWS, N, D, G + b * D * ROWS);
                load_rows(gl, 0, (first + b) * ROWS, N, 1, g + b * ROWS);
                if (C) load_context(c, context, 0, (first + b) * ROWS, N, C + b * c->context * ROWS);
            }
            for (int k = c->num_steps - 1; k >= 0; k--) {
                const int i = inverse ? c->num_steps - 1 - k : k;
                done -= saved_rows(c, c->steps + i);
                for (long b = 0; b < many; b++)
                    take_step_back(c, i, W, G + b * D * ROWS, C ? C + b * c->context * ROWS : 0, g + b * ROWS, inverse,
                                   noise ? mixed(noise, first + b) : 0, saved + (first + b) * size + done * ROWS, grad, scratch);
            }
            for (long b = 0; gx && b < many; b++) store_rows(G + b * D * ROWS, (first + b) * ROWS, N, D, gx);
        }
        free(scratch), free(G), free(g), free(C);
#pragma omp barrier
        for (int u = 1; u < threads; u++)
            for (long i = n * t / threads; i < n * (t + 1) / threads; i++) grads[i] += grads[u * n + i];
    }
    double sum = 0;
    for (long r = 0; r < N; r++) sum += gl[r];
    finish(c, grads, (real)sum, inverse, W);
    free(W);
}
