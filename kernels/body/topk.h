/* topk: the k largest or smallest elements of an axis, in order. A heap of the best so far, the worst of them on top:
 * n log k steps at worst, and one comparison for an element that is not among the best. */
#ifndef LI_BODY_TOPK_H
#define LI_BODY_TOPK_H

/* The greater key is the better one; of equal keys the one that stands first. */
typedef struct li_top_ {
    int64_t key, at;
} li_top_;

LI_INLINE int li_top_worse_(const li_top_ *a, const li_top_ *b)
{
    return a->key < b->key || (a->key == b->key && a->at > b->at);
}

/* Keys of n elements from `first` on, `step` apart. f32: -0 as 0, NaN above all numbers. */
LI_INLINE void li_top_keys_(int64_t *key, const li_map_operand_ *x, int64_t first, int64_t n, int64_t step, int least)
{
    if (x->dtype == LI_F32) {
        const float *p = (const float *)(const void *)x->at + first;
        for (int64_t i = 0; i < n; i++) {
            const float v = p[i * step] + 0.0f;
            const int32_t bits = (int32_t)li_bits_of_float_(v);
            const int32_t made = v == v ? bits ^ (bits < 0 ? INT32_MAX : 0) : INT32_MAX;
            key[i] = least ? ~made : made;
        }
        return;
    }
    const int64_t flip = (x->dtype == LI_U64 ? INT64_MIN : 0) ^ (least ? -1 : 0);
    li_map_load_i64_(key, x, x->at + first * x->bytes, 1, n, 0, step);
    for (int64_t i = 0; i < n; i++) { key[i] ^= flip; }
}

/* Puts `one` into the heap of n instead of what stands on top (i = 0), or below it. */
LI_INLINE void li_top_sift_(li_top_ *heap, int64_t i, int64_t n, li_top_ one)
{
    for (int64_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        child += child + 1 < n && li_top_worse_(&heap[child + 1], &heap[child]);
        if (!li_top_worse_(&heap[child], &one)) { break; }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = one;
}

/* The k best of one axis in heap, the best first. */
LI_NOINLINE void li_top_row_(li_top_ *heap, const li_topk_args *g, const li_map_operand_ *x, int64_t first)
{
    int64_t key[LI_INT_BLOCK];
    const int64_t k = g->k;
    for (int64_t r = 0; r < g->n; r += LI_INT_BLOCK) {
        const int64_t left = g->n - r, n = left < LI_INT_BLOCK ? left : LI_INT_BLOCK;
        li_top_keys_(key, x, first + r * g->x_r, n, g->x_r, g->least != 0);
        for (int64_t i = 0; i < n; i++) {
            const li_top_ one = {key[i], r + i};
            if (r + i >= k) {
                if (one.key > heap[0].key) { li_top_sift_(heap, 0, k, one); }
                continue;
            }
            heap[r + i] = one;
            for (int64_t p = k / 2 - 1; r + i == k - 1 && p >= 0; p--) { li_top_sift_(heap, p, k, heap[p]); }
        }
    }
    for (int64_t n = k - 1; n > 0; n--) {
        const li_top_ last = heap[n];
        heap[n] = heap[0];
        li_top_sift_(heap, 0, n, last);
    }
}

li_status LI_NAME(topk)(const void *args, char *const *base)
{
    const li_topk_args *g = (const li_topk_args *)args;
    li_top_ *heap = (li_top_ *)li_at(g->scratch, base);
    char *values = (char *)li_at(g->values, base);
    int64_t *indices = (int64_t *)li_at(g->indices, base);
    li_map_operand_ x;
    memset(&x, 0, sizeof(x));
    x.at = (char *)li_at(g->x, base);
    x.dtype = g->dtype;
    x.bytes = li_dtype_bytes_(g->dtype);
    for (int64_t row = 0; row < g->n_outer * g->n_inner; row++) {
        const int64_t o = row / g->n_inner, i = row % g->n_inner, first = o * g->x_outer + i * g->x_inner;
        li_top_row_(heap, g, &x, first);
        for (int64_t j = 0; j < g->k; j++) {
            const int64_t to = (o * g->k + j) * g->n_inner + i;
            if (indices) { indices[to] = heap[j].at; }
            if (values) { memcpy(values + to * x.bytes, x.at + (first + heap[j].at * g->x_r) * x.bytes, (size_t)x.bytes); }
        }
    }
    return LI_OK;
}

#endif
