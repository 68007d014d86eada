// The spline by itself, for conditioners of any kind: `size` values side by side, n to a row, and their parameters of any
// strides. A vector holds LANES values that follow each other.
#include "spline.h"

typedef struct {
    long row, feature, step;  // from one row, feature and parameter to the next
} Strides;

INLINE vec load(const real *from, int count) {
    if (count == LANES) return *(const loose *)from;
    vec x = {0};
    for (int i = 0; i < count; i++) x[i] = from[i];
    return x;
}

INLINE void store(vec x, real *to, int count) {
    if (count == LANES) *(loose *)to = x;
    else
        for (int i = 0; i < count; i++) to[i] = x[i];
}

// Whether the parameters of values first ... lie side by side, as those of one row's features do behind a network.
INLINE int side_by_side(Strides at, long first, long n, int count) {
    return at.feature == 1 && count == LANES && first % n + LANES <= n;
}

// Where each lane's parameters begin; lanes behind the last value have those of the last.
INLINE void find_lanes(Strides at, long first, long n, int count, long *lanes) {
    long row = first / n, feature = first % n;
    for (int i = 0; i < LANES; i++) {
        lanes[i] = i < count ? row * at.row + feature * at.feature : lanes[i - 1];
        if (++feature == n) row++, feature = 0;
    }
}

// The parameters of values first ..., and the step from one of a value to its next: where they are, or gathered.
INLINE const real *parameters(const real *P, Strides at, long first, long n, int count, int np, vec *room, long *step) {
    if (side_by_side(at, first, n, count)) return *step = at.step, P + first / n * at.row + first % n;
    long lanes[LANES];
    real *into = (real *)room;
    find_lanes(at, first, n, count, lanes);
    for (int i = 0; i < LANES; i++) {
        const real *p = P + lanes[i];
#pragma GCC unroll 8
        for (int k = 0; k < np; k++, p += at.step) into[k * LANES + i] = *p;
    }
    return *step = LANES, into;
}

void spline_map(const real *values, const real *params, long row, long feature, long step, long size, long n, int bins,
                double bound, double slope_at_zero, int inverse, real *mapped, real *log_slope, int threads) {
    const Spline s = {bins, bound, slope_at_zero};
    const Strides at = {row, feature, step};
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long first = 0; first < size; first += LANES) {
        const int count = size - first < LANES ? size - first : LANES;
        vec room[3 * MOST_BINS], x = load(values + first, count), y, slope;
        long ps;
        const real *P = parameters(params, at, first, n, count, 3 * bins - 1, room, &ps);
        if (inverse) spline_inverse(&s, P, ps, x, &y, &slope);
        else spline_forward(&s, P, ps, x, &y, &slope);
        store(y, mapped + first, count);
        store(slope, log_slope + first, count);
    }
}

// by_mapped, by_log: gradients with respect to both results. by_row, by_feature, by_step: the strides of by_params.
void spline_gradient(const real *by_mapped, const real *by_log, const real *values, const real *params, long row,
                     long feature, long step, long size, long n, int bins, double bound, double slope_at_zero, int inverse,
                     real *by_values, real *by_params, long by_row, long by_feature, long by_step, int threads) {
    const Spline s = {bins, bound, slope_at_zero};
    const Strides at = {row, feature, step}, to = {by_row, by_feature, by_step};
    const int np = 3 * bins - 1;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (long first = 0; first < size; first += LANES) {
        const int count = size - first < LANES ? size - first : LANES;
        vec room[3 * MOST_BINS], x = load(values + first, count), gy = load(by_mapped + first, count),
                                 gl = load(by_log + first, count), gx;
        long ps;
        const real *P = parameters(params, at, first, n, count, np, room, &ps);
        if (side_by_side(to, first, n, count))
            gx = spline_backward(&s, P, ps, x, gy, gl, inverse, by_params + first / n * by_row + first % n, by_step);
        else {
            long lanes[LANES];
            real *G = (real *)room;  // over the parameters, which have been read by then
            gx = spline_backward(&s, P, ps, x, gy, gl, inverse, G, LANES);
            find_lanes(to, first, n, count, lanes);
            for (int i = 0; i < count; i++) {
                real *g = by_params + lanes[i];
#pragma GCC unroll 8
                for (int k = 0; k < np; k++, g += by_step) *g = G[k * LANES + i];
            }
        }
        store(gx, by_values + first, count);
    }
}
