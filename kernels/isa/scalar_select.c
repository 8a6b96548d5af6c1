/* scalar: reductions and products of integers, and the slots that choose elements, in plain C. The reference that the bodies are
 * tested against and the fallback of CPUs without a vector set; it shares no code with the bodies. */
#include <math.h>
#include <string.h>

#include "../li_kernels.h"

/* Element `at` of an integer or boolean operand; a uint64 comes as its bits. */
static int64_t load(const void *p, int64_t dtype, int64_t at)
{
    switch ((li_dtype)dtype) {
    case LI_I8: return ((const int8_t *)p)[at];
    case LI_U8: return ((const uint8_t *)p)[at];
    case LI_I16: return ((const int16_t *)p)[at];
    case LI_U16: return ((const uint16_t *)p)[at];
    case LI_I32: return ((const int32_t *)p)[at];
    case LI_U32: return ((const uint32_t *)p)[at];
    case LI_BOOL: return ((const uint8_t *)p)[at] != 0;
    default: return ((const int64_t *)p)[at];
    }
}

static void store(void *p, int64_t dtype, int64_t at, int64_t v)
{
    switch ((li_dtype)dtype) {
    case LI_I8: case LI_U8: ((uint8_t *)p)[at] = (uint8_t)v; return;
    case LI_I16: case LI_U16: ((uint16_t *)p)[at] = (uint16_t)v; return;
    case LI_I32: case LI_U32: ((uint32_t *)p)[at] = (uint32_t)v; return;
    case LI_BOOL: ((uint8_t *)p)[at] = v != 0; return;
    default: ((uint64_t *)p)[at] = (uint64_t)v;
    }
}

/* Does element a of p stand above element b, where the largest (else the smallest) is looked for. NaN stands above. */
static int above(const void *p, int64_t dtype, int64_t a, int64_t b, int largest)
{
    if (dtype == LI_F32) {
        const float x = ((const float *)p)[a], y = ((const float *)p)[b];
        if (isnan(x) || isnan(y)) { return isnan(x) && !isnan(y); }
        return largest ? x > y : x < y;
    }
    const int64_t x = load(p, dtype, a), y = load(p, dtype, b);
    if (dtype == LI_U64) { return largest ? (uint64_t)x > (uint64_t)y : (uint64_t)x < (uint64_t)y; }
    return largest ? x > y : x < y;
}

li_status li_arg_reduce_scalar(const void *args, char *const *base);
li_status li_arg_reduce_scalar(const void *args, char *const *base)
{
    const li_reduce_typed_args *g = (const li_reduce_typed_args *)args;
    const void *x = li_at(g->x, base);
    int64_t *y = (int64_t *)li_at(g->y, base);
    const int largest = g->code == LI_RED_MAX;
    for (int64_t o = 0; o < g->n_outer; o++) {
        for (int64_t i = 0; i < g->n_inner; i++) {
            const int64_t first = o * g->x_outer + i * g->x_inner;
            int64_t best = 0;
            for (int64_t r = 1; r < g->n; r++) {
                const int64_t here = first + r * g->x_r, there = first + best * g->x_r;
                const int takes = g->last ? !above(x, g->dtype, there, here, largest) : above(x, g->dtype, here, there, largest);
                best = takes ? r : best;
            }
            y[o * g->y_outer + i * g->y_inner] = best;
        }
    }
    return LI_OK;
}

static int64_t reduce(const li_reduce_typed_args *g, const void *x, int64_t first)
{
    const int wide = g->dtype == LI_U64;
    uint64_t sum = 0, squares = 0, absolute = 0, product = 1;
    double norm = 0;
    int64_t best = first;
    for (int64_t r = 0; r < g->n; r++) {
        const int64_t at = first + r * g->x_r, v = load(x, g->dtype, at);
        const double real = wide ? (double)(uint64_t)v : (double)v;
        sum += (uint64_t)v;
        squares += (uint64_t)v * (uint64_t)v;
        absolute += !wide && v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
        product *= (uint64_t)v;
        norm += real * real;
        best = above(x, g->dtype, at, best, g->code == LI_RED_MAX) ? at : best;
    }
    norm = sqrt(norm);
    switch ((li_reduce_code)g->code) {
    case LI_RED_MEAN: return wide ? (int64_t)(sum / (uint64_t)g->n) : (int64_t)sum / g->n;
    case LI_RED_MAX: case LI_RED_MIN: return load(x, g->dtype, best);
    case LI_RED_PROD: return (int64_t)product;
    case LI_RED_SUM_SQUARE: return (int64_t)squares;
    case LI_RED_L1: return (int64_t)absolute;
    case LI_RED_L2: return wide ? (int64_t)(norm < 0x1p64 ? (uint64_t)norm : UINT64_MAX) : norm < 0x1p63 ? (int64_t)norm : INT64_MAX;
    default: return (int64_t)sum;
    }
}

li_status li_reduce_i64_scalar(const void *args, char *const *base);
li_status li_reduce_i64_scalar(const void *args, char *const *base)
{
    const li_reduce_typed_args *g = (const li_reduce_typed_args *)args;
    const void *x = li_at(g->x, base);
    void *y = li_at(g->y, base);
    for (int64_t o = 0; o < g->n_outer; o++) {
        for (int64_t i = 0; i < g->n_inner; i++) {
            store(y, g->dtype, o * g->y_outer + i * g->y_inner, reduce(g, x, o * g->x_outer + i * g->x_inner));
        }
    }
    return LI_OK;
}

/* Does element a of p come before element b among the best. */
static int before(const li_topk_args *g, const void *p, int64_t a, int64_t b)
{
    const int64_t at_a = a * g->x_r, at_b = b * g->x_r;
    int better = above(p, g->dtype, at_a, at_b, !g->least), worse = above(p, g->dtype, at_b, at_a, !g->least);
    if (g->dtype == LI_F32 && g->least && (isnan(((const float *)p)[at_a]) || isnan(((const float *)p)[at_b]))) {
        const int swapped = better;
        better = worse;
        worse = swapped;
    }
    return better || (!worse && a < b);
}

li_status li_topk_scalar(const void *args, char *const *base);
li_status li_topk_scalar(const void *args, char *const *base)
{
    static const int bytes_of[] = {4, 8, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8, 1};
    const li_topk_args *g = (const li_topk_args *)args;
    const int64_t bytes = bytes_of[g->dtype];
    char *values = (char *)li_at(g->values, base);
    int64_t *indices = (int64_t *)li_at(g->indices, base), *best = (int64_t *)li_at(g->scratch, base);
    for (int64_t row = 0; row < g->n_outer * g->n_inner; row++) {
        const int64_t o = row / g->n_inner, i = row % g->n_inner;
        const char *x = (const char *)li_at(g->x, base) + (o * g->x_outer + i * g->x_inner) * bytes;
        int64_t held = 0;
        for (int64_t r = 0; r < g->n; r++) {
            int64_t low = 0, high = held; /* best[low .. high] holds the first that r comes before */
            while (low < high) {
                const int64_t middle = (low + high) / 2;
                if (before(g, x, r, best[middle])) { high = middle; } else { low = middle + 1; }
            }
            if (low == g->k) { continue; }
            held += held < g->k;
            memmove(best + low + 1, best + low, (size_t)(held - low - 1) * sizeof(int64_t));
            best[low] = r;
        }
        for (int64_t j = 0; j < g->k; j++) {
            const int64_t to = (o * g->k + j) * g->n_inner + i;
            if (indices) { indices[to] = best[j]; }
            if (values) { memcpy(values + to * bytes, x + best[j] * g->x_r * bytes, (size_t)bytes); }
        }
    }
    return LI_OK;
}

li_status li_matmul_i64_scalar(const void *args, char *const *base);
li_status li_matmul_i64_scalar(const void *args, char *const *base)
{
    const li_matmul_i64_args *g = (const li_matmul_i64_args *)args;
    const void *a = li_at(g->a, base), *b = li_at(g->b, base);
    void *y = li_at(g->y, base);
    int64_t entries = 1;
    for (int64_t d = 0; d < g->batch_rank; d++) { entries *= g->batch[d]; }
    for (int64_t e = 0; e < entries; e++) {
        int64_t at_a = 0, at_b = 0, at_y = 0, rest = e;
        for (int64_t d = g->batch_rank - 1; d >= 0; d--) {
            at_a += rest % g->batch[d] * g->a_batch[d];
            at_b += rest % g->batch[d] * g->b_batch[d];
            at_y += rest % g->batch[d] * g->y_batch[d];
            rest /= g->batch[d];
        }
        for (int64_t i = 0; i < g->n; i++) {
            for (int64_t j = 0; j < g->m; j++) {
                uint64_t sum = 0;
                for (int64_t k = 0; k < g->k; k++) {
                    sum += (uint64_t)load(a, g->dtype, at_a + i * g->a_row + k * g->a_k) *
                           (uint64_t)load(b, g->dtype, at_b + k * g->b_k + j * g->b_col);
                }
                store(y, g->dtype, at_y + i * g->y_row + j, (int64_t)sum);
            }
        }
    }
    return LI_OK;
}
