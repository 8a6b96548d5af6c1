/* gather_nd and scatter_nd: blocks of elements at places that an array of indices tells. */
#ifndef LI_BODY_INDEXED_H
#define LI_BODY_INDEXED_H

typedef void (*li_combine_)(char *dst, const char *src, int64_t n); /* n elements */

/* Each is one loop over dense elements. MUL: of 16 bits in 32, where it cannot overflow an int. */
#define LI_COMBINE(name, T, value)                                                                                     \
    static void LI_NAME(name)(char *dst, const char *src, int64_t n)                                                   \
    {                                                                                                                  \
        T *LI_RESTRICT d = (T *)(void *)dst;                                                                           \
        const T *LI_RESTRICT s = (const T *)(const void *)src;                                                         \
        for (int64_t i = 0; i < n; i++) { d[i] = (T)(value); }                                                         \
    }
#define LI_COMBINE_INT(T, U, wide)                                                                                     \
    LI_COMBINE(min_##T, T, s[i] < d[i] ? s[i] : d[i])                                                                  \
    LI_COMBINE(max_##T, T, s[i] > d[i] ? s[i] : d[i])                                                                  \
    LI_COMBINE(min_##U, U, s[i] < d[i] ? s[i] : d[i])                                                                  \
    LI_COMBINE(max_##U, U, s[i] > d[i] ? s[i] : d[i])                                                                  \
    LI_COMBINE(add_##U, U, (wide)d[i] + (wide)s[i])                                                                    \
    LI_COMBINE(mul_##U, U, (wide)d[i] * (wide)s[i])
LI_COMBINE_INT(int8_t, uint8_t, uint32_t)
LI_COMBINE_INT(int16_t, uint16_t, uint32_t)
LI_COMBINE_INT(int32_t, uint32_t, uint32_t)
LI_COMBINE_INT(int64_t, uint64_t, uint64_t)
LI_COMBINE(add_float, float, d[i] + s[i])
LI_COMBINE(mul_float, float, d[i] * s[i])
LI_COMBINE(min_float, float, d[i] < s[i] || d[i] != d[i] ? d[i] : s[i])
LI_COMBINE(max_float, float, d[i] > s[i] || d[i] != d[i] ? d[i] : s[i])
#undef LI_COMBINE_INT
#undef LI_COMBINE

#define LI_COMBINE_ROW(S, U) {LI_NAME(add_##U), LI_NAME(mul_##U), LI_NAME(min_##S), LI_NAME(max_##S)}
LI_INLINE li_combine_ li_combine_of_(int64_t dtype, int64_t code)
{
    static const li_combine_ table[][4] = {
        LI_COMBINE_ROW(float, float),      LI_COMBINE_ROW(int8_t, uint8_t),    LI_COMBINE_ROW(uint8_t, uint8_t),
        LI_COMBINE_ROW(int16_t, uint16_t), LI_COMBINE_ROW(uint16_t, uint16_t), LI_COMBINE_ROW(int32_t, uint32_t),
        LI_COMBINE_ROW(uint32_t, uint32_t), LI_COMBINE_ROW(int64_t, uint64_t), LI_COMBINE_ROW(uint64_t, uint64_t),
        {LI_NAME(max_uint8_t), LI_NAME(min_uint8_t), LI_NAME(min_uint8_t), LI_NAME(max_uint8_t)}, /* bool */
    };
    return table[dtype == LI_F32 ? 0 : dtype - LI_I8 + 1][code - LI_SCATTER_ADD];
}
#undef LI_COMBINE_ROW

typedef enum li_indexed_do_ { LI_DO_GATHER, LI_DO_SET, LI_DO_ADD_F32, LI_DO_COMBINE } li_indexed_do_;

typedef struct li_indexed_to_ { /* what is done to a block; a constant but for `combine` */
    li_indexed_do_ what;
    int64_t bytes, n;
    li_combine_ combine;
} li_indexed_to_;

LI_INLINE void li_indexed_block_(li_indexed_to_ to, char *block, char *value)
{
    float x, y;
    switch (to.what) {
    case LI_DO_GATHER: memmove(value, block, (size_t)to.bytes); return;
    case LI_DO_SET: memmove(block, value, (size_t)to.bytes); return;
    case LI_DO_ADD_F32: /* one element: a call costs more */
        memcpy(&x, block, 4);
        memcpy(&y, value, 4);
        x += y;
        memcpy(block, &x, 4);
        return;
    case LI_DO_COMBINE: to.combine(block, value, to.n);
    }
}

/* Read once: the array may be the caller's, and change. */
LI_INLINE int64_t li_index_(const char *index, int64_t wide)
{
    const void *at = index;
    return wide ? *(const volatile int64_t *)at : *(const volatile int32_t *)at;
}

/* All entries. `depth`, `wide` and `to` are constants at the calls that matter. */
LI_INLINE li_status li_indexed_(const li_indexed_args *a, char *const *base, li_indexed_to_ to, int64_t depth, int64_t wide)
{
    const int64_t elem = li_dtype_bytes_(a->dtype), each = wide ? 8 : 4, last = a->rank - 1;
    const int64_t step = a->step[last] * elem, index_step = a->index_step[last] * each, index_d = a->index_d * each;
    int64_t at[LI_RANK] = {0}, axis[LI_RANK], stride[LI_RANK], wrap[LI_RANK];
    char *data = (char *)li_at(a->data, base), *value = (char *)li_at(a->values, base);
    const char *index = (const char *)li_at(a->index, base);
    for (int64_t d = 0; d < depth; d++) {
        axis[d] = a->axis[d];
        stride[d] = a->stride[d] * elem;
        wrap[d] = a->from_end ? axis[d] : 0;
    }
    for (int64_t i = 0; i <= last; i++) {
        if (a->size[i] == 0) { return LI_OK; }
    }
    for (;;) {
        char *line = data;
        const char *from = index;
        for (int64_t e = 0; e < a->size[last]; e++, line += step, from += index_step, value += to.bytes) {
            char *block = line;
            for (int64_t d = 0; d < depth; d++) {
                int64_t i = li_index_(from + d * index_d, wide);
                i += i < 0 ? wrap[d] : 0;
                if ((uint64_t)i >= (uint64_t)axis[d]) { return LI_ERR_INDEX; }
                block += i * stride[d];
            }
            li_indexed_block_(to, block, value);
        }
        int64_t i = last - 1;
        for (; i >= 0; i--) { /* the next position of the other axes */
            const int64_t by = ++at[i] < a->size[i] ? 1 : 1 - a->size[i];
            data += by * a->step[i] * elem;
            index += by * a->index_step[i] * each;
            if (by == 1) { break; }
            at[i] = 0;
        }
        if (i < 0) { return LI_OK; }
    }
}

LI_INLINE li_status li_indexed_run_(const li_indexed_args *a, char *const *base, li_indexed_to_ to)
{
    const int64_t wide = a->index_dtype == LI_I64;
    if (a->depth != 1) { return li_indexed_(a, base, to, a->depth, wide); }
    return wide ? li_indexed_(a, base, to, 1, 1) : li_indexed_(a, base, to, 1, 0);
}

LI_INLINE li_status li_indexed_move_(const li_indexed_args *a, char *const *base, li_indexed_do_ what)
{
    const int64_t bytes = a->inner * li_dtype_bytes_(a->dtype);
    if (bytes == 4) { return li_indexed_run_(a, base, (li_indexed_to_){what, 4, 0, 0}); }
    if (bytes == 8) { return li_indexed_run_(a, base, (li_indexed_to_){what, 8, 0, 0}); }
    return li_indexed_run_(a, base, (li_indexed_to_){what, bytes, 0, 0});
}

li_status LI_NAME(gather_nd)(const void *args, char *const *base)
{
    return li_indexed_move_((const li_indexed_args *)args, base, LI_DO_GATHER);
}

li_status LI_NAME(scatter_nd)(const void *args, char *const *base)
{
    const li_indexed_args *a = (const li_indexed_args *)args;
    if (a->code == LI_SCATTER_SET) { return li_indexed_move_(a, base, LI_DO_SET); }
    if (a->code == LI_SCATTER_ADD && a->dtype == LI_F32 && a->inner == 1) {
        return li_indexed_run_(a, base, (li_indexed_to_){LI_DO_ADD_F32, 4, 0, 0});
    }
    const int64_t bytes = a->inner * li_dtype_bytes_(a->dtype);
    return li_indexed_run_(a, base, (li_indexed_to_){LI_DO_COMBINE, bytes, a->inner, li_combine_of_(a->dtype, a->code)});
}

#endif
