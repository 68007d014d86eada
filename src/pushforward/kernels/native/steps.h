// What a chain is made of. The same layouts stand in chain.py, field by field.
#pragma once
#include "activations.h"
#include "spline.h"

enum { COUPLING, LU, PERMUTATION };
enum { ADDITIVE, AFFINE_SOFT, AFFINE_TANH, AFFINE_PLAIN, SPLINE };

#define MOST_HIDDEN 4
#define MOST_TENSORS 11

// One step. A coupling's tensors: weight and bias of each layer, the context's weights last. An LU step's: lower, upper,
// log diagonal, bias. gradients: where each tensor's gradient begins in the flat vector of gradients.
typedef struct {
    int kind, family, num_kept, num_hidden, hidden[MOST_HIDDEN], activation, bins;
    double bound;
    const int *order;  // a coupling's kept features, then the others; a permutation's y_i = x_order[i]
    const real *tensors[MOST_TENSORS];
    long gradients[MOST_TENSORS];
} Step;

typedef struct {
    int features, num_steps, context;
    long num_gradients;
    double slope_at_zero;  // log(expm1(1 - least slope)): raw slopes of zero give slope 1
    const Step *steps;
} Chain;

INLINE int params_of(const Step *s) { return s->family == ADDITIVE ? 1 : s->family == SPLINE ? 3 * s->bins - 1 : 2; }

static int widest(const Chain *c) {
    int most = c->features > c->context ? c->features : c->context;
    for (int i = 0; i < c->num_steps; i++)
        for (int h = 0; h < c->steps[i].num_hidden; h++)
            if (c->steps[i].hidden[h] > most) most = c->steps[i].hidden[h];
    return most;
}

// Rows that the backward pass finds again, of one step and block. A coupling's: kept features, inputs (where the slope of
// the activation needs them) and outputs of the hidden layers, the features before the map, their parameters.
static long saved_rows(const Chain *c, const Step *s) {
    if (s->kind != COUPLING) return s->kind == LU ? c->features : 0;
    long moved = c->features - s->num_kept, rows = s->num_kept + moved + moved * params_of(s);
    for (int h = 0; h < s->num_hidden; h++) rows += s->hidden[h] * (needs_input(s->activation) ? 2 : 1);
    return rows;
}
