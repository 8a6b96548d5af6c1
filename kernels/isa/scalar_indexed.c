/* scalar: gather_nd and scatter_nd in plain C, element by element: the reference that the bodies are tested against. */
#include <math.h>
#include <string.h>

#include "../li_kernels.h"

static int64_t element_bytes(int64_t dtype)
{
    static const int64_t bytes[] = {4, 8, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8, 1};
    return bytes[dtype];
}

/* The first element of an entry's block. */
static li_status place(const li_indexed_args *a, const char *index, int64_t entry, int64_t *at)
{
    int64_t rest = entry, first = 0;
    *at = 0;
    for (int64_t i = a->rank - 1; i >= 0; i--) {
        *at += rest % a->size[i] * a->step[i];
        first += rest % a->size[i] * a->index_step[i];
        rest /= a->size[i];
    }
    for (int64_t d = 0; d < a->depth; d++) {
        const int64_t k = first + d * a->index_d;
        int64_t i = a->index_dtype == LI_I64 ? ((const volatile int64_t *)(const void *)index)[k]
                                             : ((const volatile int32_t *)(const void *)index)[k];
        if (i < 0 && a->from_end) { i += a->axis[d]; }
        if (i < 0 || i >= a->axis[d]) { return LI_ERR_INDEX; }
        *at += i * a->stride[d];
    }
    return LI_OK;
}

static float combine_f32(int64_t code, float a, float b)
{
    switch (code) {
    case LI_SCATTER_ADD: return a + b;
    case LI_SCATTER_MUL: return a * b;
    case LI_SCATTER_MIN: return isnan(a) || isnan(b) ? a + b : a < b ? a : b;
    default: return isnan(a) || isnan(b) ? a + b : a > b ? a : b;
    }
}

/* Integers as 64 bits: sign-extended or not, as the dtype says. */
static uint64_t load(const char *p, int64_t dtype)
{
    uint64_t u = 0;
    const int64_t bytes = element_bytes(dtype);
    for (int64_t i = 0; i < bytes; i++) { u |= (uint64_t)(uint8_t)p[i] << (8 * i); }
    const int is_signed = dtype == LI_I8 || dtype == LI_I16 || dtype == LI_I32;
    if (is_signed && u >> (8 * bytes - 1)) { u |= UINT64_MAX << (8 * bytes); }
    return u;
}

static void combine_integer(int64_t code, int64_t dtype, char *dst, const char *src)
{
    const uint64_t a = load(dst, dtype), b = load(src, dtype);
    const int is_signed = dtype == LI_I8 || dtype == LI_I16 || dtype == LI_I32 || dtype == LI_I64;
    const int less = is_signed ? (int64_t)a < (int64_t)b : a < b;
    uint64_t r = 0;
    switch (code) {
    case LI_SCATTER_ADD: r = dtype == LI_BOOL ? a | b : a + b; break;
    case LI_SCATTER_MUL: r = a * b; break;
    case LI_SCATTER_MIN: r = less ? a : b; break;
    default: r = less ? b : a;
    }
    for (int64_t i = 0; i < element_bytes(dtype); i++) { dst[i] = (char)(uint8_t)(r >> (8 * i)); }
}

static li_status each(const li_indexed_args *a, char *const *base, int gather)
{
    char *values = (char *)li_at(a->values, base), *data = (char *)li_at(a->data, base);
    const char *index = (const char *)li_at(a->index, base);
    const int64_t bytes = element_bytes(a->dtype);
    int64_t entries = 1;
    for (int64_t i = 0; i < a->rank; i++) { entries *= a->size[i]; }
    for (int64_t entry = 0; entry < entries; entry++) {
        int64_t at;
        if (place(a, index, entry, &at) != LI_OK) { return LI_ERR_INDEX; }
        for (int64_t i = 0; i < a->inner; i++) {
            char *value = values + (entry * a->inner + i) * bytes, *element = data + (at + i) * bytes;
            if (gather) {
                memcpy(value, element, (size_t)bytes);
            } else if (a->code == LI_SCATTER_SET) {
                memcpy(element, value, (size_t)bytes);
            } else if (a->dtype == LI_F32) {
                float x, y;
                memcpy(&x, element, 4);
                memcpy(&y, value, 4);
                x = combine_f32(a->code, x, y);
                memcpy(element, &x, 4);
            } else {
                combine_integer(a->code, a->dtype, element, value);
            }
        }
    }
    return LI_OK;
}

li_status li_gather_nd_scalar(const void *args, char *const *base);
li_status li_gather_nd_scalar(const void *args, char *const *base)
{
    return each((const li_indexed_args *)args, base, 1);
}

li_status li_scatter_nd_scalar(const void *args, char *const *base);
li_status li_scatter_nd_scalar(const void *args, char *const *base)
{
    return each((const li_indexed_args *)args, base, 0);
}
