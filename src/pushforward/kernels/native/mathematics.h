// exp, log, tanh and their like on vectors: by range reduction and polynomials, without the compiler's fast mathematics,
// so NaN, infinities and signed zeros come out as in the library. Errors in units of the last place, float | double:
// exponential 2 | 2, logarithm 2 | 2, logarithm_1p 3 | 3, hyperbolic_tangent 3 | 3, softplus 4 | 4, normal_share 2 | 2 in units of
// the last place of 1 (tests/test_native_mathematics.py).
#pragma once
#include "vector.h"

#ifdef REAL_DOUBLE
#define MAGIC 6755399441055744.0  // adding it leaves the nearest whole number in the last bits
#define MANTISSA 52
#define LOWEST_EXPONENT (-708.0)
#define HIGHEST_EXPONENT 709.0
#else
#define MAGIC 12582912.f
#define MANTISSA 23
#define LOWEST_EXPONENT (-87.f)
#define HIGHEST_EXPONENT 88.f
#endif

INLINE vec square_root(vec x) {
    vec y;
    for (int i = 0; i < LANES; i++) y[i] = sizeof(real) == 4 ? __builtin_sqrtf(x[i]) : __builtin_sqrt(x[i]);
    return y;
}

// exp(c) = 2^n exp(r), n = round(c / log 2), |r| <= log(2) / 2, for c between the lowest and the highest exponent
INLINE vec exponential_in_range(vec c) {
#ifdef REAL_DOUBLE
    vec t = c * 1.4426950408889634 + MAGIC, n = t - MAGIC;
    vec r = c - n * 6.93145751953125e-1 - n * 1.42860682030941723212e-6;
    static const double taylor[] = {1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0,
                                    1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0};
    vec p = splat(1.0 / 6227020800.0);
    for (int i = 0; i < 13; i++) p = p * r + taylor[i];
#else
    vec t = c * 1.44269504f + MAGIC, n = t - MAGIC;
    vec r = c - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = splat(1.9875691500E-4f);
    p = p * r + 1.3981999507E-3f;
    p = p * r + 8.3334519073E-3f;
    p = p * r + 4.1665795894E-2f;
    p = p * r + 1.6666665459E-1f;
    p = p * r + 5.0000001201E-1f;
    p = p * r * r + r + 1.f;
#endif
    return (vec)((mask)p + ((mask)t << MANTISSA));
}

// 0 below the lowest exponent, infinity above the highest
INLINE vec exponential(vec x) {
    vec y = exponential_in_range(clamp(x, LOWEST_EXPONENT, HIGHEST_EXPONENT));
    y = choose(x > splat(HIGHEST_EXPONENT), splat(sizeof(real) == 4 ? __builtin_inff() : __builtin_inf()), y);
    y = choose(x < splat(LOWEST_EXPONENT), (vec){0}, y);
    return choose(x == x, y, x);
}

// The same for x <= 0, in fewer operations.
INLINE vec exponential_below(vec x) {
    mask low = x < splat(LOWEST_EXPONENT);
    vec c = choose(low, splat(LOWEST_EXPONENT), x);
    return (vec)((mask)exponential_in_range(c) & ~low) + (c - c);  // c - c: NaN stays
}

// log(x) of positive, normal, finite numbers: x = 2^e m, m in [sqrt(1/2), sqrt(2))
INLINE vec logarithm(vec x) {
    mask bits = (mask)x, half = (mask)splat(R(0.70710678118654752440));
    mask e = (bits - half) >> MANTISSA;
    vec m = (vec)(bits - (e << MANTISSA)), exponent = (vec)(e + (mask)splat(MAGIC)) - MAGIC;
    vec f = m - R(1.0);
#ifdef REAL_DOUBLE
    vec s = f / (2.0 + f), z = s * s, q = splat(1.479819860511658591e-01);
    q = q * z + 1.531383769920937332e-01;
    q = q * z + 1.818357216161805012e-01;
    q = q * z + 2.222219843214978396e-01;
    q = q * z + 2.857142874366239149e-01;
    q = q * z + 3.999999999940941908e-01;
    q = q * z + 6.666666666666735130e-01;
    vec h = 0.5 * f * f;
    return exponent * 6.93147180369123816490e-01 - ((h - (s * (h + q * z) + exponent * 1.90821492927058770002e-10)) - f);
#else
    vec z = f * f, p = splat(7.0376836292E-2f);
    p = p * f - 1.1514610310E-1f;
    p = p * f + 1.1676998740E-1f;
    p = p * f - 1.2420140846E-1f;
    p = p * f + 1.4249322787E-1f;
    p = p * f - 1.6668057665E-1f;
    p = p * f + 2.0000714765E-1f;
    p = p * f - 2.4999993993E-1f;
    p = p * f + 3.3333331174E-1f;
    vec y = f * z * p - 2.12194440e-4f * exponent - 0.5f * z;
    return f + y + 0.693359375f * exponent;
#endif
}

// log(1 + u), u >= 0: what 1 + u has lost of u comes back in the first order
INLINE vec logarithm_1p(vec u) {
    vec w = R(1.0) + u, lost = u - (w - R(1.0));
    return logarithm(w) + lost / w;
}

INLINE vec sigmoid(vec x) { return R(1.0) / (R(1.0) + exponential(-x)); }

INLINE vec softplus(vec x) { return larger(x, (vec){0}) + logarithm_1p(exponential_below(-absolute(x))); }

// From exp(-2 |x|) where |x| >= 0.625, a polynomial (Cephes) below, where 1 - exp(-2 |x|) would cancel
INLINE vec hyperbolic_tangent(vec x) {
    vec a = absolute(x), e = exponential_below(R(-2.0) * a), t = (R(1.0) - e) / (R(1.0) + e), z = x * x;
#ifdef REAL_DOUBLE
    vec top = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3;
    vec bottom = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3;
    vec small = x + x * z * (top / bottom);
#else
    vec p = ((-5.70498872745e-3f * z + 2.06390887954e-2f) * z - 5.37397155531e-2f) * z + 1.33314422036e-1f;
    vec small = x + x * z * (p * z - 3.33332819422e-1f);
#endif
    t = choose(x < splat(R(0.0)), -t, t);
    t = choose(a < splat(R(0.625)), small, t);
    t = choose(x == splat(R(0.0)), x, t);  // -0 stays
    return choose(x == x, t, x);
}

// Horner's scheme for n coefficients, the highest power first
INLINE vec polynomial(const double *c, int n, vec x) {
    vec p = splat((real)c[0]);
    for (int i = 1; i < n; i++) p = p * x + (real)c[i];
    return p;
}

// The normal's cumulative distribution, erfc(-z / sqrt 2) / 2, by Cody's rational approximations
// (doi:10.1090/S0025-5718-1969-0247736-4)
static vec normal_share(vec z) {
    static const double A[] = {1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
                               3.20937758913846947e3},
                        B[] = {1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3},
                        C[] = {2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
                               2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
                               1.23033935479799725e3},
                        D[] = {1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
                               3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3},
                        P[] = {1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
                               1.60837851487422766e-2, 6.58749161529837803e-4},
                        Q[] = {1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2,
                               2.33520497626869185e-3};
    vec x = absolute(z) * R(0.70710678118654752440), square = x * x, y = R(1.0) / square, tail = exponential_below(-square);
    vec near = x * polynomial(A, 5, square) / polynomial(B, 5, square);  // erf
    vec middle = tail * polynomial(C, 9, x) / polynomial(D, 9, x);       // erfc, as the next
    vec far = tail * (R(0.56418958354775628695) - y * polynomial(P, 6, y) / polynomial(Q, 6, y)) / x;
    vec outer = R(0.5) * choose(x > splat(R(4.0)), far, middle);
    vec half = R(0.5) * near, negative = choose(x < splat(R(0.46875)), R(0.5) - half, outer);
    vec positive = choose(x < splat(R(0.46875)), R(0.5) + half, R(1.0) - outer);
    return choose(z == z, choose(z < splat(0), negative, positive), z);
}
