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

/* Read once: the array may be the caller's, and change. */
LI_INLINE int64_t li_index_(const char *index, int64_t k, int64_t wide)
{
    const void *at = index;
    return wide ? ((const volatile int64_t *)at)[k] : ((const volatile int32_t *)at)[k];
}

/* All entries. `bytes` of a block, `depth` and `gather` are constants at the calls that matter; combine: 0 to replace. */
LI_INLINE li_status li_indexed_(const li_indexed_args *a, char *const *base, int64_t bytes, int64_t depth, int gather,
                                li_combine_ combine)
{
    char *data = (char *)li_at(a->data, base), *values = (char *)li_at(a->values, base);
    const char *index = (const char *)li_at(a->index, base);
    const int64_t elem = li_dtype_bytes_(a->dtype), wide = a->index_dtype == LI_I64, last = a->rank - 1;
    int64_t at[LI_RANK] = {0}, start = 0, first = 0;
    for (int64_t i = 0; i <= last; i++) {
        if (a->size[i] == 0) { return LI_OK; }
    }
    for (;;) {
        for (int64_t e = 0; e < a->size[last]; e++, values += bytes) {
            int64_t place = start + e * a->step[last];
            for (int64_t d = 0; d < depth; d++) {
                int64_t i = li_index_(index, first + e * a->index_step[last] + d * a->index_d, wide);
                i += i < 0 && a->from_end ? a->axis[d] : 0;
                if ((uint64_t)i >= (uint64_t)a->axis[d]) { return LI_ERR_INDEX; }
                place += i * a->stride[d];
            }
            char *block = data + place * elem;
            if (combine) {
                combine(block, values, a->inner);
            } else if (gather) {
                memcpy(values, block, (size_t)bytes);
            } else {
                memcpy(block, values, (size_t)bytes);
            }
        }
        int64_t i = last - 1;
        for (; i >= 0; i--) { /* the next position of the other axes */
            start += a->step[i];
            first += a->index_step[i];
            if (++at[i] < a->size[i]) { break; }
            start -= a->size[i] * a->step[i];
            first -= a->size[i] * a->index_step[i];
            at[i] = 0;
        }
        if (i < 0) { return LI_OK; }
    }
}

LI_INLINE li_status li_indexed_move_(const li_indexed_args *a, char *const *base, int gather)
{
    const int64_t bytes = a->inner * li_dtype_bytes_(a->dtype);
    if (a->depth != 1) { return li_indexed_(a, base, bytes, a->depth, gather, 0); }
    switch (bytes) {
    case 4: return li_indexed_(a, base, 4, 1, gather, 0);
    case 8: return li_indexed_(a, base, 8, 1, gather, 0);
    default: return li_indexed_(a, base, bytes, 1, gather, 0);
    }
}

static li_status LI_NAME(gather_nd)(const void *args, char *const *base)
{
    return li_indexed_move_((const li_indexed_args *)args, base, 1);
}

static li_status LI_NAME(scatter_nd)(const void *args, char *const *base)
{
    const li_indexed_args *a = (const li_indexed_args *)args;
    if (a->code == LI_SCATTER_SET) { return li_indexed_move_(a, base, 0); }
    const int64_t bytes = a->inner * li_dtype_bytes_(a->dtype);
    return li_indexed_(a, base, bytes, a->depth, 0, li_combine_of_(a->dtype, a->code));
}

#endif
