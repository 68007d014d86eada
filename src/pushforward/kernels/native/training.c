// Whole steps of maximum likelihood on a chain with a standard normal base: gather, loss, gradient, clipping, Adam.
// Adam: arXiv:1412.6980, algorithm 1; decoupled decay: arXiv:1711.05101.
#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#endif

#include "blocks.h"

#define MOST_THREADS 256

typedef struct {
    long batch, num_rows;
    const real *data, *context;      // (num_rows, D) and (num_rows, context) or 0
    const real *weight, *constant;   // (num_rows) or 0: a row's weight, and what its log-likelihood has more
    real *theta, *mean, *square;     // all parameters, and Adam's moments
    double beta1, beta2, epsilon, decay, clip;  // clip: largest norm of the gradient, 0 for none
    int decoupled;
    uint64_t noise;  // key of dropout
} Training;

// Numbers of scratch that `train` needs a thread.
static long work_of_a_thread(const Chain *c, long batch, int threads) {
    const long blocks = (batch + ROWS - 1) / ROWS, own = (blocks + threads - 1) / threads;
    const long n = own * (numbers_to_save(c) + (c->features + c->context + 2L) * ROWS) + scratch_of_a_step(c) + c->num_gradients;
    return (n + 63) / 64 * 64 + 64;
}

long train_numbers(const Chain *c, long batch, int threads) {
    return threads * work_of_a_thread(c, batch, threads) + c->num_prepared + 64;
}

// Lets numbers below the normal range be zero on this thread; returns what was so before. Adam's mean of a gradient that is
// zero would else stay there for ever, and each such number costs a hundred ordinary ones.
static unsigned long flush_tiny(void) {
    unsigned long before = 0;
#if defined(__SSE__)
    before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before | 0x8040);
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | 1ul << 24));
#endif
    return before;
}

static void flush_as(unsigned long before) {
#if defined(__SSE__)
    __builtin_ia32_ldmxcsr(before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#endif
    (void)before;
}

// z becomes the gradient of the mean loss, g that of log_det; returns the sum of the rows' losses.
static double loss_of_a_block(const Chain *c, const Training *t, const int64_t *index, long first, real *z, real *ld) {
    const int D = c->features;
    vec half_square[TILE_VECTORS] = {{0}};
    for (int d = 0; d < D; d++)
        for (int v = 0; v < TILE_VECTORS; v++) {
            vec y = *(vec *)(z + (long)d * ROWS + v * LANES);
            half_square[v] += y * y;
        }
    double loss = 0;
    real share[ROWS] __attribute__((aligned(64)));
    for (int r = 0; r < ROWS; r++) {
        const int is_row = first + r < t->batch;
        const int64_t row = is_row ? index[first + r] : 0;
        const real weight = !is_row ? 0 : t->weight ? t->weight[row] : 1;
        if (is_row) {
            double more = t->constant ? t->constant[row] : 0;
            loss += weight * (0.5 * (double)half_square[r / LANES][r % LANES] + 0.91893853320467274178 * D - ld[r] - more);
        }
        share[r] = weight / (real)t->batch;
    }
    for (int d = 0; d < D; d++)
        for (int v = 0; v < ROWS; v += LANES) *(vec *)(z + (long)d * ROWS + v) *= *(vec *)(share + v);
    for (int v = 0; v < ROWS; v += LANES) *(vec *)(ld + v) = -*(vec *)(share + v);
    return loss;
}

static double sum_of_squares(const real *g, long n) {
    double sum = 0;
    long i = 0;
    while (i + LANES <= n) {  // in stretches: fewer roundings of large sums
        vec s = {0};
        for (int k = 0; k < 64 && i + LANES <= n; k++, i += LANES) s += *(const loose *)(g + i) * *(const loose *)(g + i);
        sum += sum_of_lanes(s);
    }
    for (; i < n; i++) sum += (double)g[i] * g[i];
    return sum;
}

// Adam's update of parameters from ... to by the gradient g, scaled.
static void adam(const Training *t, const real *g, long from, long to, long step, double rate, real scale) {
    const real b1 = t->beta1, b2 = t->beta2, decay = t->decay;
    const double root = sqrt(1 - pow(t->beta2, step));  // m / (sqrt(v) / root + eps) = m root / (sqrt(v) + eps root)
    const real size = rate * root / (1 - pow(t->beta1, step)), little = t->epsilon * root, keep = 1 - rate * t->decay;
    long i = from;
#define UPDATE(type, ROOT) \
    type p = *(type *)(t->theta + i), d = *(const type *)(g + i) * scale; \
    if (decay != 0 && t->decoupled) p *= keep; \
    else if (decay != 0) d += decay * p; \
    type m = *(type *)(t->mean + i), v = *(type *)(t->square + i); \
    m += (1 - b1) * (d - m), v = b2 * v + (1 - b2) * d * d; \
    *(type *)(t->mean + i) = m, *(type *)(t->square + i) = v; \
    *(type *)(t->theta + i) = p - size * m / (ROOT(v) + little);
    for (; i + LANES <= to; i += LANES) { UPDATE(loose, square_root) }
    for (; i < to; i++) { UPDATE(real, sqrt) }
#undef UPDATE
}

// Steps on the rows that index names, (steps, batch), at rates, (steps). taken: steps before. work: train_numbers of them,
// on 64 bytes. losses: (steps), the mean loss before each step.
void train(const Chain *c, const Training *t, const int64_t *index, const double *rates, long steps, long taken, real *work,
           double *losses, int threads) {
    const long D = c->features, n = c->num_gradients, blocks = (t->batch + ROWS - 1) / ROWS, size = numbers_to_save(c);
    const long stride = work_of_a_thread(c, t->batch, threads), most = (blocks + threads - 1) / threads;
    real *W = work + threads * stride;
    double loss_of[MOST_THREADS], by_log_det[MOST_THREADS], square_of[MOST_THREADS];
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const int me = omp_get_thread_num();
        const unsigned long tiny = flush_tiny();
        real *saved = work + me * stride, *X = saved + most * size, *ld = X + most * D * ROWS, *C = ld + most * ROWS;
        real *grad = C + most * c->context * ROWS, *scratch = grad + (n + 63) / 64 * 64;
        const long low = blocks * me / threads, own = blocks * (me + 1) / threads - low;
        const long from = n * me / threads / LANES * LANES, to = me + 1 == threads ? n : n * (me + 1) / threads / LANES * LANES;
        for (long s = 0; s < steps; s++) {
            const int64_t *rows = index + s * t->batch;
            const uint64_t noise = mixed(t->noise, taken + s);
            if (me == 0) prepare(c, W);
            memset(grad, 0, n * sizeof(real));
            memset(ld, 0, most * ROWS * sizeof(real));
            for (long b = 0; b < own; b++) {
                load_rows(t->data, rows, (low + b) * ROWS, t->batch, D, X + b * D * ROWS);
                if (t->context) load_context(c, t->context, rows, (low + b) * ROWS, t->batch, C + b * c->context * ROWS);
            }
#pragma omp barrier
#define CONTEXT(b) (t->context ? C + (b) * c->context * ROWS : 0)
            long done = 0;
            for (int i = 0; i < c->num_steps; i++) {
                for (long b = 0; b < own; b++)
                    take_step(c, i, W, X + b * D * ROWS, CONTEXT(b), ld + b * ROWS, 0,
                              mixed(noise, low + b), saved + b * size + done * ROWS, scratch);
                done += saved_rows(c, c->steps + i);
            }
            loss_of[me] = by_log_det[me] = square_of[me] = 0;
            for (long b = 0; b < own; b++) {
                loss_of[me] += loss_of_a_block(c, t, rows, (low + b) * ROWS, X + b * D * ROWS, ld + b * ROWS);
                for (int r = 0; r < ROWS; r++) by_log_det[me] += ld[b * ROWS + r];
            }
            for (int i = c->num_steps - 1; i >= 0; i--) {
                done -= saved_rows(c, c->steps + i);
                for (long b = 0; b < own; b++)
                    take_step_back(c, i, W, X + b * D * ROWS, CONTEXT(b), ld + b * ROWS, 0, mixed(noise, low + b),
                                   saved + b * size + done * ROWS, grad, scratch);
            }
#undef CONTEXT
#pragma omp barrier
            real *total = grad - me * stride;  // the first thread's, to which the others' are added, each its stretch
            for (int u = 1; u < threads; u++)
                for (long i = from; i < to; i++) total[i] += total[u * stride + i];
#pragma omp barrier
            if (me == 0) {
                double sum = 0;
                for (int u = 0; u < threads; u++) sum += by_log_det[u];
                finish(c, grad, (real)sum, 0, W);
            }
#pragma omp barrier
            if (t->clip > 0) square_of[me] = sum_of_squares(total + from, to - from);
#pragma omp barrier
            double square = 0, loss = 0;
            for (int u = 0; u < threads; u++) square += square_of[u], loss += loss_of[u];
            const double norm = sqrt(square);
            adam(t, total, from, to, taken + s + 1, rates[s], t->clip > 0 && !(norm <= t->clip) ? (real)(t->clip / norm) : 1);
            if (me == 0) losses[s] = loss / t->batch;
#pragma omp barrier
        }
        flush_as(tiny);
    }
}
