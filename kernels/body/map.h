/* map_f32 and map_i64: an element-wise program, run over blocks of lanes that stay in the first-level cache.
 *
 * Axes are merged where all operands allow it, then a block is rows x cols of the two innermost axes (several rows
 * when cols are few). Registers are pointers: to lanes on the stack, or straight to an operand whose block is dense
 * and of the register's type. The last instruction writes straight to a dense output. */
#ifndef LI_BODY_MAP_H
#define LI_BODY_MAP_H

#include "convert.h"

#define LI_MAP_OPERANDS (2 * LI_MAP_REGS)
#define LI_MAP_LANES_f32 256
#define LI_MAP_LANES_i64 128
#define LI_MAP_SPARE 16 /* lanes behind each register: a row may be written in whole vectors */

typedef struct li_map_operand_ {
    char *at; /* first element of the current block */
    int64_t dtype, bytes, reg;
    int64_t stride[LI_RANK];
} li_map_operand_;

typedef struct li_map_ {
    int64_t rank, n_in, n_all, n_op, size[LI_RANK];
    const int64_t *op;
    uint32_t written, taken; /* registers some instruction writes; registers some output reads */
    li_map_operand_ operand[LI_MAP_OPERANDS]; /* inputs, then outputs */
} li_map_;

LI_INLINE int64_t li_dtype_bytes_(int64_t dtype)
{
    static const unsigned char bytes[] = {4, 8, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8, 1};
    return bytes[dtype];
}

/* Drops axes of extent 1 and joins an axis with the next one where every operand steps through both evenly. */
LI_NOINLINE void li_map_merge_(li_map_ *m)
{
    int64_t n = 0; /* axes kept so far */
    for (int64_t d = 0; d < m->rank; d++) {
        if (m->size[d] == 1) { continue; }
        int joins = n > 0;
        for (int64_t i = 0; joins && i < m->n_all; i++) {
            const int64_t *s = m->operand[i].stride;
            joins = s[n - 1] == s[d] * m->size[d];
        }
        n += !joins;
        m->size[n - 1] = joins ? m->size[n - 1] * m->size[d] : m->size[d];
        for (int64_t i = 0; i < m->n_all; i++) { m->operand[i].stride[n - 1] = m->operand[i].stride[d]; }
    }
    m->rank = n;
}

LI_INLINE void li_map_decode_(li_map_ *m, const int64_t *w, char *const *base)
{
    m->rank = w[0];
    m->n_in = w[1];
    m->n_all = w[1] + w[2];
    m->n_op = w[3];
    w += 4;
    for (int64_t d = 0; d < m->rank; d++) { m->size[d] = w[d]; }
    w += m->rank;
    m->written = m->taken = 0;
    for (int64_t i = 0; i < m->n_all; i++) {
        li_map_operand_ *o = &m->operand[i];
        const li_ref ref = {w[0], w[1]};
        o->at = (char *)li_at(ref, base);
        o->dtype = w[2];
        o->bytes = li_dtype_bytes_(w[2]);
        o->reg = i;
        for (int64_t d = 0; d < m->rank; d++) { o->stride[d] = w[3 + d]; }
        w += 3 + m->rank;
        if (i >= m->n_in) {
            o->reg = *w++;
            m->taken |= 1u << o->reg;
        }
    }
    m->op = w;
    for (int64_t i = 0; i < m->n_op; i++) { m->written |= 1u << w[5 * i + 1]; }
    if (m->rank > 1) { li_map_merge_(m); }
}

/* Two innermost loops of a load or store: s0 along columns, s1 along rows, k counts lanes. */
#define LI_MAP_EACH(T, body)                                                                                           \
    for (int64_t r = 0, k = 0; r < rows; r++) {                                                                        \
        T *p = (T *)(void *)at + r * s1;                                                                               \
        for (int64_t c = 0; c < cols; c++, k++, p += s0) { body; }                                                     \
    }                                                                                                                  \
    break

/* x[k] = rows of n lanes each, moved in whole vectors: x has room behind it. */
LI_INLINE void li_map_rows_in_(float *x, const float *p, int64_t rows, int64_t n, int64_t s1)
{
    for (int64_t r = 0; r < rows; r++, x += n, p += s1) {
        int64_t c = 0;
        for (; c + LI_W <= n; c += LI_W) { v_store(x + c, v_load(p + c)); }
        if (c < n) { v_store(x + c, v_load_part(p + c, n - c)); }
    }
}

/* Every second number of each row, or each row from its end: what pools and mirrored halves read. */
LI_INLINE void li_map_rows_even_(float *x, const float *p, int64_t rows, int64_t n, int64_t s1)
{
    for (int64_t r = 0; r < rows; r++, x += n, p += s1) {
        int64_t c = 0;
        if (n > LI_W) { /* nothing is read before the first one or behind the last one */
            v_store(x, v_load_even(p));
            for (c = LI_W; c + LI_W <= n; c += LI_W) { v_store(x + c, v_load_odd(p + 2 * c - 1)); }
            v_store(x + n - LI_W, v_load_odd(p + 2 * (n - LI_W) - 1));
            continue;
        }
        for (; c < n; c++) { x[c] = p[2 * c]; }
    }
}

LI_INLINE void li_map_rows_back_(float *x, const float *p, int64_t rows, int64_t n, int64_t s1)
{
    for (int64_t r = 0; r < rows; r++, x += n, p += s1) {
        int64_t c = 0;
        for (; c + LI_W <= n; c += LI_W) { v_store(x + c, v_load_back(p - c)); }
        for (; c < n; c++) { x[c] = p[-c]; }
    }
}

/* Each row one number. */
LI_INLINE void li_map_rows_of_one_(float *x, const float *p, int64_t rows, int64_t n, int64_t s1)
{
    for (int64_t r = 0; r < rows; r++, x += n, p += s1) {
        const vf all = v_set1(*p);
        for (int64_t c = 0; c < n; c += LI_W) { v_store(x + c, all); }
    }
}

/* The same for rows of a few numbers: each row one load and one store. */
LI_INLINE void li_map_short_rows_in_(float *x, const float *p, int64_t rows, int64_t n, int64_t s1)
{
    for (int64_t r = 0; r < rows; r++, x += n, p += s1) { v_store_most(x, v_load_part(p, n), n); }
}

LI_INLINE void li_map_rows_out_(float *p, const float *x, int64_t rows, int64_t n, int64_t s1)
{
    for (int64_t r = 0; r < rows; r++, x += n, p += s1) {
        int64_t c = 0;
        for (; c + LI_W <= n; c += LI_W) { v_store(p + c, v_load(x + c)); }
        if (c < n) { v_store_part(p + c, v_load(x + c), n - c); }
    }
}

LI_NOINLINE void li_map_load_f32_(float *x, const li_map_operand_ *o, char *at, int64_t rows, int64_t cols, int64_t s1,
                                  int64_t s0)
{
    if (o->dtype == LI_F32 && cols >= 8 && s0 >= -1 && s0 <= 2) {
        const float *p = (const float *)(const void *)at;
        switch (s0) {
        case -1: li_map_rows_back_(x, p, rows, cols, s1); break;
        case 0: li_map_rows_of_one_(x, p, rows, cols, s1); break;
        case 1: li_map_rows_in_(x, p, rows, cols, s1); break;
        default: li_map_rows_even_(x, p, rows, cols, s1); break;
        }
        return;
    }
    if (o->dtype == LI_F32 && s0 == 1 && rows > 1 && cols > 1 && cols <= LI_W) {
        li_map_short_rows_in_(x, (const float *)(const void *)at, rows, cols, s1);
        return;
    }
    switch ((li_dtype)o->dtype) {
    case LI_F32: LI_MAP_EACH(const float, x[k] = *p);
    case LI_F64: LI_MAP_EACH(const double, x[k] = (float)*p);
    case LI_F16: LI_MAP_EACH(const uint16_t, x[k] = li_from_f16_(*p));
    case LI_BF16: LI_MAP_EACH(const uint16_t, x[k] = li_from_bf16_(*p));
    case LI_I8: LI_MAP_EACH(const int8_t, x[k] = (float)*p);
    case LI_U8: LI_MAP_EACH(const uint8_t, x[k] = (float)*p);
    case LI_I16: LI_MAP_EACH(const int16_t, x[k] = (float)*p);
    case LI_U16: LI_MAP_EACH(const uint16_t, x[k] = (float)*p);
    case LI_I32: LI_MAP_EACH(const int32_t, x[k] = (float)*p);
    case LI_U32: LI_MAP_EACH(const uint32_t, x[k] = (float)*p);
    case LI_I64: LI_MAP_EACH(const int64_t, x[k] = (float)*p);
    case LI_U64: LI_MAP_EACH(const uint64_t, x[k] = (float)*p);
    case LI_BOOL: LI_MAP_EACH(const uint8_t, x[k] = *p ? 1.0f : 0.0f);
    }
}

LI_NOINLINE void li_map_store_f32_(const float *x, const li_map_operand_ *o, char *at, int64_t rows, int64_t cols,
                                   int64_t s1, int64_t s0)
{
    if (o->dtype == LI_F32 && (cols >= 8 || (rows > 1 && cols > 2)) && s0 == 1) {
        li_map_rows_out_((float *)(void *)at, x, rows, cols, s1);
        return;
    }
    switch ((li_dtype)o->dtype) {
    case LI_F32: LI_MAP_EACH(float, *p = x[k]);
    case LI_F64: LI_MAP_EACH(double, *p = (double)x[k]);
    case LI_F16: LI_MAP_EACH(uint16_t, *p = li_to_f16_(x[k]));
    case LI_BF16: LI_MAP_EACH(uint16_t, *p = li_to_bf16_(x[k]));
    case LI_I8: LI_MAP_EACH(int8_t, *p = (int8_t)li_to_int_(x[k], -0x1p7, 0x1p7));
    case LI_U8: LI_MAP_EACH(uint8_t, *p = (uint8_t)li_to_int_(x[k], 0.0, 0x1p8));
    case LI_I16: LI_MAP_EACH(int16_t, *p = (int16_t)li_to_int_(x[k], -0x1p15, 0x1p15));
    case LI_U16: LI_MAP_EACH(uint16_t, *p = (uint16_t)li_to_int_(x[k], 0.0, 0x1p16));
    case LI_I32: LI_MAP_EACH(int32_t, *p = (int32_t)li_to_int_(x[k], -0x1p31, 0x1p31));
    case LI_U32: LI_MAP_EACH(uint32_t, *p = (uint32_t)li_to_int_(x[k], 0.0, 0x1p32));
    case LI_I64: LI_MAP_EACH(int64_t, *p = li_to_i64_(x[k]));
    case LI_U64: LI_MAP_EACH(uint64_t, *p = li_to_u64_(x[k]));
    case LI_BOOL: LI_MAP_EACH(uint8_t, *p = x[k] != 0.0f);
    }
}

LI_NOINLINE void li_map_load_i64_(int64_t *x, const li_map_operand_ *o, char *at, int64_t rows, int64_t cols,
                                  int64_t s1, int64_t s0)
{
    switch ((li_dtype)o->dtype) {
    case LI_F32: LI_MAP_EACH(const float, x[k] = li_to_i64_(*p));
    case LI_F64: LI_MAP_EACH(const double, x[k] = li_to_i64_(*p));
    case LI_F16: LI_MAP_EACH(const uint16_t, x[k] = li_to_i64_(li_from_f16_(*p)));
    case LI_BF16: LI_MAP_EACH(const uint16_t, x[k] = li_to_i64_(li_from_bf16_(*p)));
    case LI_I8: LI_MAP_EACH(const int8_t, x[k] = *p);
    case LI_U8: LI_MAP_EACH(const uint8_t, x[k] = *p);
    case LI_I16: LI_MAP_EACH(const int16_t, x[k] = *p);
    case LI_U16: LI_MAP_EACH(const uint16_t, x[k] = *p);
    case LI_I32: LI_MAP_EACH(const int32_t, x[k] = *p);
    case LI_U32: LI_MAP_EACH(const uint32_t, x[k] = *p);
    case LI_I64: LI_MAP_EACH(const int64_t, x[k] = *p);
    case LI_U64: LI_MAP_EACH(const uint64_t, x[k] = (int64_t)*p);
    case LI_BOOL: LI_MAP_EACH(const uint8_t, x[k] = *p != 0);
    }
}

LI_NOINLINE void li_map_store_i64_(const int64_t *x, const li_map_operand_ *o, char *at, int64_t rows, int64_t cols,
                                   int64_t s1, int64_t s0)
{
    switch ((li_dtype)o->dtype) {
    case LI_F32: LI_MAP_EACH(float, *p = (float)x[k]);
    case LI_F64: LI_MAP_EACH(double, *p = (double)x[k]);
    case LI_F16: LI_MAP_EACH(uint16_t, *p = li_to_f16_((float)x[k]));
    case LI_BF16: LI_MAP_EACH(uint16_t, *p = li_to_bf16_((float)x[k]));
    case LI_I8: case LI_U8: LI_MAP_EACH(uint8_t, *p = (uint8_t)x[k]);
    case LI_I16: case LI_U16: LI_MAP_EACH(uint16_t, *p = (uint16_t)x[k]);
    case LI_I32: case LI_U32: LI_MAP_EACH(uint32_t, *p = (uint32_t)x[k]);
    case LI_I64: case LI_U64: LI_MAP_EACH(int64_t, *p = x[k]);
    case LI_BOOL: LI_MAP_EACH(uint8_t, *p = x[k] != 0);
    }
}

LI_INLINE vf li_truth_(vm m) { return v_sel(m, v_set1(1.0f), v_zero()); }

/* a mod b exactly, sign of a. Every step takes away q b 2^k with q < 2^29: exact in f64, and what is left has no more
 * bits than b. */
LI_INLINE float li_fmod_(float a, float b)
{
    const double m = b < 0 ? -(double)b : (double)b;
    double r = a < 0 ? -(double)a : (double)a;
    if (!(m > 0) || !(r <= 0x1.fffffep127)) { return (a - a) / (b - b + 0.0f); } /* NaN, also for inf mod b and x mod 0 */
    if (m > 0x1.fffffep127) { return a; }
    while (r >= m) {
        double s = m;
        while (r >= s * 0x1p29) { s *= 0x1p28; }
        const int64_t q = (int64_t)(r / s);
        r -= (double)q * s;
        if (r < 0) { r += s; } /* the quotient was rounded up to the next integer */
    }
    return li_float_of_bits_(li_bits_of_float_((float)r) | (li_bits_of_float_(a) & 0x80000000u));
}

LI_NOINLINE vf li_map_mod_(vf a, vf b, int sign_of_divisor)
{
    float x[LI_W], y[LI_W];
    v_store(x, a);
    v_store(y, b);
    for (int l = 0; l < LI_W; l++) {
        x[l] = li_fmod_(x[l], y[l]);
        if (sign_of_divisor && x[l] != 0.0f && (x[l] < 0.0f) != (y[l] < 0.0f)) { x[l] += y[l]; }
    }
    return v_load(x);
}

/* One instruction over n lanes, n a multiple of 16. d may be any of the sources. */
#define LI_MAP_LANES(value)                                                                                            \
    for (int64_t i = 0; i < n; i += LI_W) {                                                                            \
        const vf x = v_load(a + i);                                                                                    \
        v_store(d + i, (value));                                                                                       \
    }                                                                                                                  \
    break
#define y v_load(b + i)
#define z v_load(c + i)

LI_NOINLINE void li_map_func_f32_(int64_t code, float *d, const float *a, const float *b, int64_t n)
{
    switch ((li_map_code)code) {
    case LI_MAP_MOD: LI_MAP_LANES(li_map_mod_(x, y, 1));
    case LI_MAP_FMOD: LI_MAP_LANES(li_map_mod_(x, y, 0));
    case LI_MAP_POW: LI_MAP_LANES(li_pow(x, y));
    case LI_MAP_EXP: LI_MAP_LANES(li_exp(x));
    case LI_MAP_LOG: LI_MAP_LANES(li_log(x));
    case LI_MAP_SIN: LI_MAP_LANES(li_sin(x));
    case LI_MAP_COS: LI_MAP_LANES(li_cos(x));
    case LI_MAP_ATAN: LI_MAP_LANES(li_atan(x));
    case LI_MAP_ERF: LI_MAP_LANES(li_erf(x));
    case LI_MAP_SIGMOID: LI_MAP_LANES(li_sigmoid(x));
    case LI_MAP_TANH: LI_MAP_LANES(li_tanh(x));
    case LI_MAP_SOFTPLUS: LI_MAP_LANES(li_softplus(x));
    default: break;
    }
}

LI_NOINLINE void li_map_run_f32_(int64_t code, float *d, const float *a, const float *b, const float *c, int64_t n)
{
    const vf zero = v_zero(), one = v_set1(1.0f);
    switch ((li_map_code)code) {
    case LI_MAP_MOVE: LI_MAP_LANES(x);
    case LI_MAP_ADD: LI_MAP_LANES(v_add(x, y));
    case LI_MAP_SUB: LI_MAP_LANES(v_sub(x, y));
    case LI_MAP_MUL: LI_MAP_LANES(v_mul(x, y));
    case LI_MAP_DIV: LI_MAP_LANES(v_div(x, y));
    case LI_MAP_FMA: LI_MAP_LANES(v_fma(x, y, z));
    case LI_MAP_NEG: LI_MAP_LANES(v_neg(x));
    case LI_MAP_ABS: LI_MAP_LANES(v_abs(x));
    case LI_MAP_SIGN: LI_MAP_LANES(v_sel(v_lt(zero, x), one, v_sel(v_lt(x, zero), v_neg(one), v_add(x, x))));
    case LI_MAP_MIN: LI_MAP_LANES(v_sel(v_unord(x, y), v_add(x, y), v_min(x, y)));
    case LI_MAP_MAX: LI_MAP_LANES(v_sel(v_unord(x, y), v_add(x, y), v_max(x, y)));
    case LI_MAP_SQRT: LI_MAP_LANES(v_sqrt(x));
    case LI_MAP_RECIPROCAL: LI_MAP_LANES(v_div(one, x));
    case LI_MAP_ROUND: LI_MAP_LANES(v_round(x));
    case LI_MAP_FLOOR: LI_MAP_LANES(v_floor(x));
    case LI_MAP_CEIL: LI_MAP_LANES(v_ceil(x));
    case LI_MAP_TRUNC: LI_MAP_LANES(v_trunc(x));
    case LI_MAP_EQ: LI_MAP_LANES(li_truth_(v_eq(x, y)));
    case LI_MAP_LT: LI_MAP_LANES(li_truth_(v_lt(x, y)));
    case LI_MAP_LE: LI_MAP_LANES(li_truth_(v_le(x, y)));
    case LI_MAP_NOT: LI_MAP_LANES(li_truth_(v_eq(x, zero)));
    case LI_MAP_AND: LI_MAP_LANES(v_sel(m_or(v_eq(x, zero), v_eq(y, zero)), zero, one));
    case LI_MAP_OR: LI_MAP_LANES(v_sel(m_and(v_eq(x, zero), v_eq(y, zero)), zero, one));
    case LI_MAP_XOR: LI_MAP_LANES(v_abs(v_sub(li_truth_(v_eq(x, zero)), li_truth_(v_eq(y, zero)))));
    case LI_MAP_SELECT: LI_MAP_LANES(v_sel(v_eq(x, zero), z, y));
    case LI_MAP_ISNAN: LI_MAP_LANES(li_truth_(v_unord(x, x)));
    case LI_MAP_ISINF: LI_MAP_LANES(li_truth_(v_eq(v_abs(x), v_float(vi_set1(LI_INF_BITS)))));
    default: li_map_func_f32_(code, d, a, b, n);
    }
}
#undef y
#undef z
#undef LI_MAP_LANES

/* Division and remainder of int64 with every result defined: -2^63 / -1 wraps. */
LI_INLINE int64_t li_div_i64_(int64_t a, int64_t b) { return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b; }
LI_INLINE int64_t li_rem_i64_(int64_t a, int64_t b) { return b == -1 ? 0 : a % b; }

LI_INLINE int64_t li_mod_i64_(int64_t a, int64_t b)
{
    const int64_t r = li_rem_i64_(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* b < 0: the reciprocal, toward zero; the caller has refused a = 0. */
LI_INLINE int64_t li_pow_i64_(int64_t a, int64_t b)
{
    if (b < 0) { return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0; }
    uint64_t r = 1, s = (uint64_t)a;
    for (uint64_t k = (uint64_t)b; k; k >>= 1, s *= s) { r *= k & 1 ? s : 1; }
    return (int64_t)r;
}

#define LI_MAP_LANES(value)                                                                                            \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        const int64_t x = a[i];                                                                                        \
        d[i] = (int64_t)(value);                                                                                       \
    }                                                                                                                  \
    break
#define y b[i]
#define z c[i]
#define U(v) ((uint64_t)(v))

LI_NOINLINE li_status li_map_run_i64_(int64_t code, int64_t *d, const int64_t *a, const int64_t *b, const int64_t *c,
                                      int64_t n)
{
    if (code == LI_MAP_DIV || code == LI_MAP_MOD || code == LI_MAP_FMOD || code == LI_MAP_UDIV || code == LI_MAP_UMOD) {
        for (int64_t i = 0; i < n; i++) { if (b[i] == 0) { return LI_ERR_VALUE; } }
    }
    if (code == LI_MAP_POW) {
        for (int64_t i = 0; i < n; i++) { if (a[i] == 0 && b[i] < 0) { return LI_ERR_VALUE; } }
    }
    switch ((li_map_code)code) {
    case LI_MAP_MOVE: LI_MAP_LANES(x);
    case LI_MAP_ADD: LI_MAP_LANES(U(x) + U(y));
    case LI_MAP_SUB: LI_MAP_LANES(U(x) - U(y));
    case LI_MAP_MUL: LI_MAP_LANES(U(x) * U(y));
    case LI_MAP_DIV: LI_MAP_LANES(li_div_i64_(x, y));
    case LI_MAP_FMA: LI_MAP_LANES(U(x) * U(y) + U(z));
    case LI_MAP_NEG: LI_MAP_LANES(0 - U(x));
    case LI_MAP_ABS: LI_MAP_LANES(x < 0 ? 0 - U(x) : U(x));
    case LI_MAP_SIGN: LI_MAP_LANES((x > 0) - (x < 0));
    case LI_MAP_MIN: LI_MAP_LANES(x < y ? x : y);
    case LI_MAP_MAX: LI_MAP_LANES(x > y ? x : y);
    case LI_MAP_MOD: LI_MAP_LANES(li_mod_i64_(x, y));
    case LI_MAP_FMOD: LI_MAP_LANES(li_rem_i64_(x, y));
    case LI_MAP_POW: LI_MAP_LANES(li_pow_i64_(x, y));
    case LI_MAP_UDIV: LI_MAP_LANES(U(x) / U(y));
    case LI_MAP_UMOD: LI_MAP_LANES(U(x) % U(y));
    case LI_MAP_EQ: LI_MAP_LANES(x == y);
    case LI_MAP_LT: LI_MAP_LANES(x < y);
    case LI_MAP_LE: LI_MAP_LANES(x <= y);
    case LI_MAP_NOT: LI_MAP_LANES(x == 0);
    case LI_MAP_AND: LI_MAP_LANES((x != 0) & (y != 0));
    case LI_MAP_OR: LI_MAP_LANES((x != 0) | (y != 0));
    case LI_MAP_XOR: LI_MAP_LANES((x != 0) ^ (y != 0));
    case LI_MAP_SELECT: LI_MAP_LANES(x != 0 ? y : z);
    case LI_MAP_BITAND: LI_MAP_LANES(x & y);
    case LI_MAP_BITOR: LI_MAP_LANES(x | y);
    case LI_MAP_BITXOR: LI_MAP_LANES(x ^ y);
    case LI_MAP_BITNOT: LI_MAP_LANES(~x);
    case LI_MAP_SHL: LI_MAP_LANES(U(y) < 64 ? U(x) << (y & 63) : 0);
    case LI_MAP_SHR: LI_MAP_LANES(U(y) < 64 ? U(x) >> (y & 63) : 0); /* zeros come in, as for uint64 */
    default: break;
    }
    return LI_OK;
}
#undef y
#undef z
#undef U
#undef LI_MAP_LANES
#undef LI_MAP_EACH

/* What differs between the two register types, for the walk below. */
typedef struct li_map_kind_ {
    int64_t dtype, lanes, granule, bytes; /* granule: lanes an instruction takes at a time */
    int64_t step;                         /* bytes from one register to the next */
    int i64;
} li_map_kind_;

/* Fills register i from an input, or lets it point at the input, unless a store would read it there: in whole vectors. */
LI_INLINE const char *li_map_take_(const li_map_ *m, const li_map_kind_ *kind, int64_t i, char *lanes, char *at,
                                   int64_t rows, int64_t cols, int64_t s1, int64_t s0)
{
    const li_map_operand_ *o = &m->operand[i];
    const int64_t n = rows * cols, n_pad = (n + kind->granule - 1) / kind->granule * kind->granule;
    const int dense = o->dtype == kind->dtype && s0 == 1 && (rows == 1 || s1 == cols);
    const int stored = m->taken >> i & 1 && (m->n_all > m->n_in + 1 || !(m->written >> i & 1));
    if (dense && n == n_pad && !stored) { return at; }
    if (dense) {
        memcpy(lanes, at, (size_t)(n * kind->bytes));
    } else if (kind->i64) {
        li_map_load_i64_((int64_t *)(void *)lanes, o, at, rows, cols, s1, s0);
    } else {
        li_map_load_f32_((float *)(void *)lanes, o, at, rows, cols, s1, s0);
    }
    if (n < n_pad) { memset(lanes + n * kind->bytes, 0, (size_t)((n_pad - n) * kind->bytes)); }
    return lanes;
}

/* One block: rows x cols elements; row and col say where it lies in the two innermost axes. */
LI_INLINE li_status li_map_block_(const li_map_ *m, const li_map_kind_ *kind, char *file, uint32_t once, int64_t row,
                                  int64_t col, int64_t rows, int64_t cols)
{
    const char *reg[LI_MAP_REGS];
    char *at[LI_MAP_OPERANDS];
    const int64_t step = kind->step, n = rows * cols;
    const int64_t n_pad = (n + kind->granule - 1) / kind->granule * kind->granule;
    const int64_t d0 = m->rank - 1, d1 = m->rank - 2;
    for (int64_t r = m->n_in; r < LI_MAP_REGS; r++) { reg[r] = file + r * step; }
    for (int64_t i = 0; i < m->n_all; i++) {
        const li_map_operand_ *o = &m->operand[i];
        const int64_t s0 = d0 >= 0 ? o->stride[d0] : 1, s1 = d1 >= 0 ? o->stride[d1] : 0;
        at[i] = o->at + (row * s1 + col * s0) * o->bytes;
        if (i >= m->n_in) { continue; }
        reg[i] = once >> i & 1 ? file + i * step : li_map_take_(m, kind, i, file + i * step, at[i], rows, cols, s1, s0);
    }
    char *direct = 0; /* the only output, if the last instruction can write it in place */
    if (m->n_all == m->n_in + 1 && m->n_op && n == n_pad) {
        const li_map_operand_ *o = &m->operand[m->n_in];
        const int64_t s0 = d0 >= 0 ? o->stride[d0] : 1, s1 = d1 >= 0 ? o->stride[d1] : 0;
        const int last = o->reg == m->op[5 * (m->n_op - 1) + 1];
        if (last && o->dtype == kind->dtype && s0 == 1 && (rows == 1 || s1 == cols)) { direct = at[m->n_in]; }
    }
    for (int64_t i = 0; i < m->n_op; i++) {
        const int64_t *op = m->op + 5 * i;
        char *d = direct && i == m->n_op - 1 ? direct : file + op[1] * step;
        const void *a = reg[op[2]], *b = reg[op[3]], *c = reg[op[4]];
        if (kind->i64) {
            const li_status status = li_map_run_i64_(op[0], (int64_t *)(void *)d, (const int64_t *)a,
                                                     (const int64_t *)b, (const int64_t *)c, n);
            if (status != LI_OK) { return status; }
        } else {
            li_map_run_f32_(op[0], (float *)(void *)d, (const float *)a, (const float *)b, (const float *)c, n_pad);
        }
        reg[op[1]] = d;
    }
    for (int64_t i = m->n_in; !direct && i < m->n_all; i++) {
        const li_map_operand_ *o = &m->operand[i];
        const int64_t s0 = d0 >= 0 ? o->stride[d0] : 1, s1 = d1 >= 0 ? o->stride[d1] : 0;
        if (kind->i64) {
            li_map_store_i64_((const int64_t *)(const void *)reg[o->reg], o, at[i], rows, cols, s1, s0);
        } else {
            li_map_store_f32_((const float *)(const void *)reg[o->reg], o, at[i], rows, cols, s1, s0);
        }
    }
    return LI_OK;
}

/* Registers of inputs that broadcast over everything are filled here, once; returned as a set. */
LI_INLINE uint32_t li_map_scalars_(const li_map_ *m, const li_map_kind_ *kind, char *file, int64_t lanes)
{
    uint32_t once = 0;
    for (int64_t i = 0; i < m->n_in; i++) {
        const li_map_operand_ *o = &m->operand[i];
        int moves = m->written >> i & 1;
        for (int64_t d = 0; d < m->rank; d++) { moves |= o->stride[d] != 0; }
        if (moves || m->rank == 0) { continue; }
        char *to = file + i * kind->step;
        if (kind->i64) {
            int64_t *x = (int64_t *)(void *)to;
            li_map_load_i64_(x, o, o->at, 1, 1, 0, 0);
            for (int64_t l = 1; l < lanes; l++) { x[l] = x[0]; }
        } else {
            float *x = (float *)(void *)to;
            li_map_load_f32_(x, o, o->at, 1, 1, 0, 0);
            const vf all = v_set1(x[0]);
            for (int64_t l = 0; l < lanes; l += LI_W) { v_store(x + l, all); }
        }
        once |= 1u << i;
    }
    return once;
}

LI_INLINE li_status li_map_walk_(const int64_t *words, char *const *base, const li_map_kind_ *kind, char *file)
{
    li_map_ m;
    li_map_decode_(&m, words, base);
    int64_t total = 1, outer = 1, index[LI_RANK] = {0};
    for (int64_t d = 0; d < m.rank; d++) { total *= m.size[d]; }
    if (total == 0) { return LI_OK; }
    const int64_t n0 = m.rank > 0 ? m.size[m.rank - 1] : 1, n1 = m.rank > 1 ? m.size[m.rank - 2] : 1;
    for (int64_t d = 0; d < m.rank - 2; d++) { outer *= m.size[d]; }
    const int64_t most = total < kind->lanes ? (total + kind->granule - 1) / kind->granule * kind->granule : kind->lanes;
    const uint32_t once = li_map_scalars_(&m, kind, file, most);
    for (int64_t o = 0;;) {
        int64_t per = n0 < kind->lanes ? kind->lanes / n0 : 1; /* rows of a block */
        if (per > 16) { per -= per % 16; } /* so that it needs no padding */
        for (int64_t row = 0; row < n1; row += per) {
            const int64_t rows = n1 - row < per ? n1 - row : per;
            for (int64_t col = 0; col < n0;) {
                int64_t cols = n0 - col < kind->lanes ? n0 - col : kind->lanes;
                /* a ragged end of one row: the full granules without a copy, then the rest */
                if (rows == 1 && cols > kind->granule) { cols -= cols % kind->granule; }
                const li_status status = li_map_block_(&m, kind, file, once, row, col, rows, cols);
                if (status != LI_OK) { return status; }
                col += cols;
            }
        }
        if (++o == outer) { return LI_OK; }
        for (int64_t d = m.rank - 3; d >= 0; d--) { /* the next position of the outer axes */
            const int64_t by = ++index[d] < m.size[d] ? 1 : 1 - m.size[d];
            for (int64_t i = 0; i < m.n_all; i++) { m.operand[i].at += by * m.operand[i].stride[d] * m.operand[i].bytes; }
            if (by == 1) { break; }
            index[d] = 0;
        }
    }
}

/* How operand words (after size[rank]) step through the whole shape: 1 dense, 0 not at all, -1 otherwise. */
LI_INLINE int li_map_shape_(const int64_t *size, const int64_t *stride, int64_t rank)
{
    int64_t dense = 1;
    int is_dense = 1, is_scalar = 1;
    for (int64_t d = rank - 1; d >= 0; d--) {
        is_dense &= stride[d] == dense || size[d] == 1;
        is_scalar &= stride[d] == 0;
        dense *= size[d];
    }
    return is_dense ? 1 : is_scalar ? 0 : -1;
}

/* Moves n floats, from or to a place with room for n rounded up to vectors. */
LI_INLINE void li_map_lanes_in_(float *to, const float *from, int64_t n)
{
    for (; n > 0; n -= LI_W, to += LI_W, from += LI_W) { v_store(to, n < LI_W ? v_load_part(from, n) : v_load(from)); }
}

LI_INLINE void li_map_lanes_out_(float *to, const float *from, int64_t n)
{
    for (; n >= LI_W; n -= LI_W, to += LI_W, from += LI_W) { v_store(to, v_load(from)); }
    if (n > 0) { v_store_part(to, v_load(from), n); }
}

/* The short way for what small models are full of: at most one block, f32, every operand dense or a scalar, one
 * output. Saves half of a tiny call (16 lanes, one instruction). 0: not such a program, nothing done. */
LI_INLINE int li_map_flat_(const int64_t *w, char *const *base, float *file)
{
    const int64_t rank = w[0], n_in = w[1], n_op = w[3], *size = w + 4, step = LI_MAP_LANES_f32 + LI_MAP_SPARE;
    const float *reg[LI_MAP_REGS] = {0};
    int64_t n = 1;
    for (int64_t d = 0; d < rank; d++) { n *= size[d]; }
    if (n > LI_MAP_LANES_f32 || n <= 0 || w[2] != 1) { return 0; }
    const int64_t n_pad = (n + 15) / 16 * 16;
    w += 4 + rank;
    for (int64_t i = 0; i < n_in; i++, w += 3 + rank) {
        const int shape = li_map_shape_(size, w + 3, rank);
        if (w[2] != LI_F32 || shape < 0) { return 0; }
        const li_ref ref = {w[0], w[1]};
        const float *x = (const float *)li_at(ref, base);
        float *lanes = file + i * step;
        reg[i] = shape && n == n_pad ? x : lanes;
        if (shape == 0) {
            const vf all = v_set1(*x);
            for (int64_t l = 0; l < n_pad; l += LI_W) { v_store(lanes + l, all); }
        } else if (n != n_pad) {
            li_map_lanes_in_(lanes, x, n);
            for (int64_t l = (n + LI_W - 1) / LI_W * LI_W; l < n_pad; l += LI_W) { v_store(lanes + l, v_zero()); }
        }
    }
    if (w[2] != LI_F32 || li_map_shape_(size, w + 3, rank) != 1) { return 0; }
    const li_ref ref = {w[0], w[1]};
    float *y = (float *)li_at(ref, base);
    const int64_t out = w[3 + rank], *op = w + 4 + rank;
    for (int64_t i = 0; i < n_op; i++, op += 5) {
        float *d = i == n_op - 1 && op[1] == out && n == n_pad ? y : file + op[1] * step;
        li_map_run_f32_(op[0], d, reg[op[2]], reg[op[3]], reg[op[4]], n_pad);
        reg[op[1]] = d;
    }
    if (reg[out] != y) { li_map_lanes_out_(y, reg[out], n); }
    return 1;
}

li_status LI_NAME(map_f32)(const void *args, char *const *base)
{
    static const li_map_kind_ kind = {LI_F32, LI_MAP_LANES_f32, 16, 4, (LI_MAP_LANES_f32 + LI_MAP_SPARE) * 4, 0};
    float file[LI_MAP_REGS * (LI_MAP_LANES_f32 + LI_MAP_SPARE)];
    if (li_map_flat_((const int64_t *)args, base, file)) { return LI_OK; }
    return li_map_walk_((const int64_t *)args, base, &kind, (char *)file);
}

li_status LI_NAME(map_i64)(const void *args, char *const *base)
{
    static const li_map_kind_ kind = {LI_I64, LI_MAP_LANES_i64, 1, 8, LI_MAP_LANES_i64 * 8, 1};
    int64_t file[LI_MAP_REGS * LI_MAP_LANES_i64];
    return li_map_walk_((const int64_t *)args, base, &kind, (char *)file);
}

#endif
