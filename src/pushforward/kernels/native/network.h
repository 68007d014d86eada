// The network of a coupling or of an autoregressive step: its layers, dropout, and the order of an autoregressive one's units.
//
// A masked network (MADE, arXiv:1502.03509) is kept sorted: inputs in the sequence in which features are known, the units
// of each hidden layer by their level, the number of features that they wait for, outputs feature by feature in the
// sequence. Each output of a layer then sees a beginning of its inputs and no more: half of the products fall away, and
// the inverse meets every unit once. `sorted` names, one after another:
//   for each layer, weights (out, in), biases, in the first layer the context's weights: where the number stands in its
//     tensor, -1 for a weight that the mask removes;
//   for each layer: of each output how many inputs it sees, of each input the first output that sees it;
//   for each hidden layer: of each place in the sequence how many units wait for no more than the features before it.
#pragma once
#include <string.h>

#include "dropout.h"
#include "products.h"
#include "steps.h"

typedef struct {
    int in, out;
    const real *weight, *bias, *context;  // context: its weights, or 0
    const int *sees, *seen_from;          // or 0: every output sees every input
} Layer;

INLINE int layer_in(const Step *s, int h) { return h ? s->hidden[h - 1] : s->num_kept; }
INLINE int layer_out(const Step *s, int h) { return h < s->num_hidden ? s->hidden[h] : s->num_moved * params_of(s); }

INLINE long numbers_of_layer(const Step *s, int h) {
    return (long)layer_out(s, h) * (layer_in(s, h) + 1 + (h ? 0 : s->context));
}

static Layer layer_of(const Step *s, int h, const real *prepared) {
    Layer l = {layer_in(s, h), layer_out(s, h), s->tensors[2 * h], s->tensors[2 * h + 1], 0, 0, 0};
    if (h == 0 && s->context) l.context = s->tensors[2 * s->num_hidden + 2];
    if (!s->sorted) return l;
    const real *at = prepared;
    const int *reach = s->sorted;
    for (int k = 0; k <= s->num_hidden; k++) reach += numbers_of_layer(s, k);
    for (int k = 0; k < h; k++) at += numbers_of_layer(s, k), reach += layer_in(s, k) + layer_out(s, k);
    l.weight = at, l.bias = at + (long)l.in * l.out;
    if (l.context) l.context = l.bias + l.out;
    l.sees = reach, l.seen_from = reach + l.out;
    return l;
}

// Of hidden layer h, how many units wait for no more than the features before each place of the sequence.
static const int *known_units(const Step *s, int h) {
    const int *at = s->sorted;
    for (int k = 0; k <= s->num_hidden; k++) at += numbers_of_layer(s, k) + layer_in(s, k) + layer_out(s, k);
    return at + (long)h * s->num_moved;
}

// Parameter q of the map of moved feature j is output j * by_feature(s) + q * by_param(s) of the network.
INLINE long by_feature(const Step *s) { return s->sorted ? params_of(s) : 1; }
INLINE long by_param(const Step *s) { return s->sorted ? 1 : s->num_moved; }

// Part 0, 1, 2 of a layer: weights, biases, the context's weights. Which tensor it is, and how many numbers it has.
INLINE int tensor_of(const Step *s, int h, int part) { return part == 2 ? 2 * s->num_hidden + 2 : 2 * h + part; }
INLINE long size_of(const Step *s, int h, int part) {
    return (long)layer_out(s, h) * (part == 0 ? layer_in(s, h) : part == 1 ? 1 : h ? 0 : s->context);
}

// The layers sorted.
static void sort_network(const Step *s, real *to) {
    const int *place = s->sorted;
    for (int h = 0; h <= s->num_hidden; h++)
        for (int part = 0; part < 3; part++) {
            const real *from = s->tensors[tensor_of(s, h, part)];
            for (long i = size_of(s, h, part); i > 0; i--, place++) *to++ = *place < 0 ? 0 : from[*place];
        }
}

// The gradients, which have gathered in sorted order, in the order of the tensors. scratch: the size of the largest tensor.
static void unsort_gradients(const Step *s, real *grad, real *scratch) {
    const int *place = s->sorted;
    for (int h = 0; h <= s->num_hidden; h++)
        for (int part = 0; part < 3; part++) {
            const long many = size_of(s, h, part);
            real *to = grad + s->gradients[tensor_of(s, h, part)];
            memcpy(scratch, to, many * sizeof(real));
            memset(to, 0, many * sizeof(real));
            for (long i = 0; i < many; i++, place++)
                if (*place >= 0) to[*place] = scratch[i];
        }
}

// Outputs first ... first + many of a hidden layer from A: before the activation to Z, after it and dropout to out (may be Z).
static void hidden_outputs(const Step *s, const Layer *l, int h, int first, int many, int n_in, const real *A, const real *C,
                           uint64_t noise, real *Z, real *out) {
    const long at = (long)first * ROWS;
    product(many, n_in, l->weight + (long)first * l->in, l->in, 1, A, l->bias + first, 1, Z + at, ROWS, 0, 0, l->sees ? l->sees + first : 0);
    if (l->context) product(many, s->context, l->context + (long)first * s->context, s->context, 1, C, 0, 0, Z + at, ROWS, 1, 0, 0);
    activate(s->activation, many * (long)ROWS, Z + at, out + at);
    if (noise) drop(s->dropout, mixed(noise, h), first, many, out + at);
}
