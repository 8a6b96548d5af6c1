/* matmul_i64: batched product of integers modulo 2^64. b is converted once for each entry of the batch; then rows of a
 * against blocks of columns, whose sums stay in registers or the first cache. */
#ifndef LI_BODY_MATMUL_I64_H
#define LI_BODY_MATMUL_I64_H

#define LI_INT_COLUMNS 64

LI_NOINLINE void li_int_chain_(int64_t *LI_RESTRICT acc, const int64_t *LI_RESTRICT a, const int64_t *LI_RESTRICT b, int64_t k,
                               int64_t columns, int64_t m)
{
    for (int64_t p = 0; p < k; p++, b += m) {
        const uint64_t by = (uint64_t)a[p];
        for (int64_t j = 0; j < columns; j++) { acc[j] = (int64_t)((uint64_t)acc[j] + by * (uint64_t)b[j]); }
    }
}

/* One entry of the batch; b lies converted in w, rows dense. */
LI_INLINE void li_int_product_(const li_matmul_i64_args *g, const li_map_operand_ *a, const int64_t *w, char *y)
{
    int64_t row[LI_INT_BLOCK], acc[LI_INT_COLUMNS];
    for (int64_t i = 0; i < g->n; i++) {
        for (int64_t j = 0; j < g->m; j += LI_INT_COLUMNS) {
            const int64_t left = g->m - j, columns = left < LI_INT_COLUMNS ? left : LI_INT_COLUMNS;
            memset(acc, 0, sizeof(acc));
            for (int64_t p = 0; p < g->k; p += LI_INT_BLOCK) {
                const int64_t rest = g->k - p, k = rest < LI_INT_BLOCK ? rest : LI_INT_BLOCK;
                li_map_load_i64_(row, a, a->at + (i * g->a_row + p * g->a_k) * a->bytes, 1, k, 0, g->a_k);
                li_int_chain_(acc, row, w + p * g->m + j, k, columns, g->m);
            }
            li_map_store_i64_(acc, a, y + (i * g->y_row + j) * a->bytes, 1, columns, 0, 1);
        }
    }
}

li_status LI_NAME(matmul_i64)(const void *args, char *const *base)
{
    const li_matmul_i64_args *g = (const li_matmul_i64_args *)args;
    int64_t *w = (int64_t *)li_at(g->scratch, base), index[LI_RANK] = {0};
    char *b = (char *)li_at(g->b, base), *y = (char *)li_at(g->y, base);
    li_map_operand_ a;
    memset(&a, 0, sizeof(a));
    a.at = (char *)li_at(g->a, base);
    a.dtype = g->dtype;
    a.bytes = li_dtype_bytes_(g->dtype);
    for (int fresh = 1;;) { /* fresh: b is another one than before */
        if (fresh) { li_map_load_i64_(w, &a, b, g->k, g->m, g->b_k, g->b_col); }
        li_int_product_(g, &a, w, y);
        int64_t d = g->batch_rank - 1;
        fresh = 0;
        for (; d >= 0; d--) { /* the next entry */
            const int64_t by = ++index[d] < g->batch[d] ? 1 : 1 - g->batch[d];
            a.at += by * g->a_batch[d] * a.bytes;
            b += by * g->b_batch[d] * a.bytes;
            y += by * g->y_batch[d] * a.bytes;
            fresh |= g->b_batch[d] != 0;
            if (by == 1) { break; }
            index[d] = 0;
        }
        if (d < 0) { return LI_OK; }
    }
}

#endif
