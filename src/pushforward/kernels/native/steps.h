// What a chain is made of. The same layouts stand in chain.py, field by field.
#pragma once
#include "activations.h"
#include "spline.h"

enum { COUPLING, AUTOREGRESSIVE, LU, PERMUTATION, MATRIX };
enum { ADDITIVE, AFFINE_SOFT, AFFINE_TANH, AFFINE_PLAIN, SPLINE };

#define MOST_HIDDEN 4
#define MOST_TENSORS 11

// One step. Tensors of a coupling and of an autoregressive step: weight and bias of each layer, the context's weights last;
// of an LU step: lower, upper, log diagonal, bias; of a matrix: the matrix, which learns nothing. gradients: where each
// tensor's gradient begins in the flat vector of gradients. inverted: it runs the other way. An
// autoregressive step has no gradient against its way. prepared: where what `prepare` makes of the tensors begins.
typedef struct {
    int kind, inverted, family, num_kept, num_moved, num_hidden, hidden[MOST_HIDDEN], activation, bins, context;
    double bound, dropout;
    const int *order;  // the kept features, then the moved ones; a permutation's y_i = x_order[i]
    const int *sorted;  // of an autoregressive step: see network.h
    const real *tensors[MOST_TENSORS];
    long gradients[MOST_TENSORS], prepared;
} Step;

typedef struct {
    int features, num_steps, context;
    long num_gradients, num_prepared;
    double slope_at_zero;  // log(expm1(1 - least slope)): raw slopes of zero give slope 1
    const Step *steps;
} Chain;

INLINE int has_network(const Step *s) { return s->kind == COUPLING || s->kind == AUTOREGRESSIVE; }

INLINE int params_of(const Step *s) { return s->family == ADDITIVE ? 1 : s->family == SPLINE ? 3 * s->bins - 1 : 2; }

static int widest(const Chain *c) {
    int most = c->features > c->context ? c->features : c->context;
    for (int i = 0; i < c->num_steps; i++)
        for (int h = 0; h < c->steps[i].num_hidden; h++)
            if (c->steps[i].hidden[h] > most) most = c->steps[i].hidden[h];
    return most;
}

// Rows of scratch that a network needs: three layers side by side, or, one feature at a time, all of them.
static long rows_of_a_network(const Chain *c) {
    long most = 3L * widest(c);
    for (int i = 0; i < c->num_steps; i++) {
        long all = c->features;
        for (int h = 0; h < c->steps[i].num_hidden; h++) all += c->steps[i].hidden[h];
        if (all > most) most = all;
    }
    return most;
}

// Rows that the backward pass finds again, of one step and block. A network's: kept features, inputs (where the slope of
// the activation needs them) and outputs of the hidden layers, the features before the map, their parameters.
static long saved_rows(const Chain *c, const Step *s) {
    if (!has_network(s)) return s->kind == LU ? c->features : 0;
    long rows = s->num_kept + s->num_moved + (long)s->num_moved * params_of(s);
    for (int h = 0; h < s->num_hidden; h++) rows += s->hidden[h] * (needs_input(s->activation) ? 2 : 1);
    return rows;
}
