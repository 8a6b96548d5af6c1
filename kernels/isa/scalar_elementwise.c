/* scalar: element-wise programs, moves and reductions in plain C with libm. The reference that the bodies are tested
 * against and the fallback of CPUs without a vector set; it shares no code with the bodies. Sums run in order, so
 * its results agree within tolerances, not bit for bit. */
#include <math.h>
#include <string.h>

#include "../li_kernels.h"
#include "scalar_half.h"

typedef struct operand {
    char *at;
    int64_t dtype;
    const int64_t *stride;
    int64_t reg;
} operand;

typedef struct program {
    int64_t rank, n_in, n_out, n_op, total;
    const int64_t *size, *op;
    operand in[LI_MAP_REGS], out[LI_MAP_REGS];
} program;

static const int64_t *take(operand *o, const int64_t *w, int64_t rank, char *const *base)
{
    const li_ref ref = {w[0], w[1]};
    o->at = (char *)li_at(ref, base);
    o->dtype = w[2];
    o->stride = w + 3;
    return w + 3 + rank;
}

static void decode(program *p, const int64_t *w, char *const *base)
{
    p->rank = w[0];
    p->n_in = w[1];
    p->n_out = w[2];
    p->n_op = w[3];
    p->size = w + 4;
    w += 4 + p->rank;
    p->total = 1;
    for (int64_t d = 0; d < p->rank; d++) { p->total *= p->size[d]; }
    for (int64_t i = 0; i < p->n_in; i++) { w = take(&p->in[i], w, p->rank, base); }
    for (int64_t i = 0; i < p->n_out; i++) {
        w = take(&p->out[i], w, p->rank, base);
        p->out[i].reg = *w++;
    }
    p->op = w;
}

/* Element offset of flat position k. */
static int64_t place(const program *p, const int64_t *stride, int64_t k)
{
    int64_t at = 0;
    for (int64_t d = p->rank - 1; d >= 0; d--) {
        at += k % p->size[d] * stride[d];
        k /= p->size[d];
    }
    return at;
}

static uint16_t float_to_half(float f)
{
    const uint16_t sign = signbit(f) ? 0x8000 : 0;
    const float a = fabsf(f);
    int e;
    if (isnan(f)) { return sign | 0x7e00; }
    if (a >= 65520.0f) { return sign | 0x7c00; }
    if (a < 0x1p-14f) { return (uint16_t)(sign | (uint16_t)nearbyintf(ldexpf(a, 24))); }
    frexpf(a, &e); /* a = m * 2^e, m in [1/2, 1): 11 bits of it, a carry runs into the exponent */
    return (uint16_t)(sign | ((e + 13) * 1024 + (int)nearbyintf(ldexpf(a, 11 - e))));
}

static uint16_t float_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    if (isnan(f)) { return (uint16_t)(u >> 16 | 0x40); }
    const uint32_t rest = u & 0xffff, up = rest > 0x8000 || (rest == 0x8000 && (u >> 16 & 1));
    return (uint16_t)((u >> 16) + up);
}

static double load_real(const operand *o, int64_t at)
{
    const char *p = o->at;
    uint32_t u;
    float f;
    switch ((li_dtype)o->dtype) {
    case LI_F32: return ((const float *)(const void *)p)[at];
    case LI_F64: return ((const double *)(const void *)p)[at];
    case LI_F16: return half_to_float(((const uint16_t *)(const void *)p)[at]);
    default:
        u = (uint32_t)((const uint16_t *)(const void *)p)[at] << 16;
        memcpy(&f, &u, 4);
        return f;
    }
}

static int64_t load_integer(const operand *o, int64_t at)
{
    const char *p = o->at;
    switch ((li_dtype)o->dtype) {
    case LI_I8: return ((const int8_t *)p)[at];
    case LI_U8: return ((const uint8_t *)p)[at];
    case LI_I16: return ((const int16_t *)(const void *)p)[at];
    case LI_U16: return ((const uint16_t *)(const void *)p)[at];
    case LI_I32: return ((const int32_t *)(const void *)p)[at];
    case LI_U32: return ((const uint32_t *)(const void *)p)[at];
    case LI_BOOL: return ((const uint8_t *)p)[at] != 0;
    default: return ((const int64_t *)(const void *)p)[at]; /* uint64: the same bits */
    }
}

static int is_real(const operand *o) { return o->dtype <= LI_BF16; }

static void store_real(const operand *o, int64_t at, double v)
{
    char *p = o->at;
    switch ((li_dtype)o->dtype) {
    case LI_F32: ((float *)(void *)p)[at] = (float)v; return;
    case LI_F64: ((double *)(void *)p)[at] = v; return;
    case LI_F16: ((uint16_t *)(void *)p)[at] = float_to_half((float)v); return;
    default: ((uint16_t *)(void *)p)[at] = float_to_bf16((float)v);
    }
}

static void store_integer(const operand *o, int64_t at, int64_t v)
{
    char *p = o->at;
    switch ((li_dtype)o->dtype) {
    case LI_I8: case LI_U8: ((uint8_t *)p)[at] = (uint8_t)v; return;
    case LI_I16: case LI_U16: ((uint16_t *)(void *)p)[at] = (uint16_t)v; return;
    case LI_I32: case LI_U32: ((uint32_t *)(void *)p)[at] = (uint32_t)v; return;
    case LI_BOOL: ((uint8_t *)p)[at] = v != 0; return;
    default: ((uint64_t *)(void *)p)[at] = (uint64_t)v;
    }
}

/* Toward zero, held inside the range of the dtype; NaN gives 0. Bits of a uint64 come back in an int64. */
static int64_t to_integer(double v, int64_t dtype)
{
    static const int width[] = {0, 0, 0, 0, -7, 8, -15, 16, -31, 32, -63, 64};
    const int w = width[dtype];
    const double end = ldexp(1.0, w < 0 ? -w : w), low = w < 0 ? -end : 0.0;
    if (isnan(v)) { return 0; }
    v = trunc(v);
    if (v < low) { v = low; }
    if (v >= end) { return w == 64 ? -1 : w == -63 ? INT64_MAX : (int64_t)end - 1; }
    return w == 64 ? (int64_t)(uint64_t)v : (int64_t)v;
}

static float modulo(float a, float b)
{
    const float r = fmodf(a, b);
    return r != 0.0f && (r < 0.0f) != (b < 0.0f) ? r + b : r;
}

static float run_f32(int64_t code, float a, float b, float c)
{
    switch ((li_map_code)code) {
    case LI_MAP_ADD: return a + b;
    case LI_MAP_SUB: return a - b;
    case LI_MAP_MUL: return a * b;
    case LI_MAP_DIV: return a / b;
    case LI_MAP_FMA: return fmaf(a, b, c);
    case LI_MAP_NEG: return -a;
    case LI_MAP_ABS: return fabsf(a);
    case LI_MAP_SIGN: return a > 0.0f ? 1.0f : a < 0.0f ? -1.0f : a;
    case LI_MAP_MIN: return isnan(a) || isnan(b) ? a + b : a < b ? a : b;
    case LI_MAP_MAX: return isnan(a) || isnan(b) ? a + b : a > b ? a : b;
    case LI_MAP_MOD: return modulo(a, b);
    case LI_MAP_FMOD: return fmodf(a, b);
    case LI_MAP_POW: return powf(a, b);
    case LI_MAP_SQRT: return sqrtf(a);
    case LI_MAP_RECIPROCAL: return 1.0f / a;
    case LI_MAP_EXP: return expf(a);
    case LI_MAP_LOG: return logf(a);
    case LI_MAP_SIN: return sinf(a);
    case LI_MAP_COS: return cosf(a);
    case LI_MAP_ATAN: return atanf(a);
    case LI_MAP_ERF: return erff(a);
    case LI_MAP_SIGMOID: return 1.0f / (1.0f + expf(-a));
    case LI_MAP_TANH: return tanhf(a);
    case LI_MAP_SOFTPLUS: return isnan(a) ? a : fmaxf(a, 0.0f) + log1pf(expf(-fabsf(a)));
    case LI_MAP_ROUND: return nearbyintf(a);
    case LI_MAP_FLOOR: return floorf(a);
    case LI_MAP_CEIL: return ceilf(a);
    case LI_MAP_TRUNC: return truncf(a);
    case LI_MAP_EQ: return a == b;
    case LI_MAP_LT: return a < b;
    case LI_MAP_LE: return a <= b;
    case LI_MAP_NOT: return a == 0.0f;
    case LI_MAP_AND: return a != 0.0f && b != 0.0f;
    case LI_MAP_OR: return a != 0.0f || b != 0.0f;
    case LI_MAP_XOR: return (a != 0.0f) != (b != 0.0f);
    case LI_MAP_SELECT: return a != 0.0f ? b : c;
    case LI_MAP_ISNAN: return isnan(a) ? 1.0f : 0.0f;
    case LI_MAP_ISINF: return isinf(a) ? 1.0f : 0.0f;
    default: return a;
    }
}

li_status li_map_f32_scalar(const void *args, char *const *base);
li_status li_map_f32_scalar(const void *args, char *const *base)
{
    program p;
    decode(&p, (const int64_t *)args, base);
    for (int64_t k = 0; k < p.total; k++) {
        float reg[LI_MAP_REGS] = {0};
        for (int64_t i = 0; i < p.n_in; i++) {
            const operand *o = &p.in[i];
            const int64_t at = place(&p, o->stride, k);
            if (is_real(o)) {
                reg[i] = (float)load_real(o, at);
            } else if (o->dtype == LI_U64) {
                reg[i] = (float)(uint64_t)load_integer(o, at);
            } else {
                reg[i] = (float)load_integer(o, at);
            }
        }
        for (int64_t i = 0; i < p.n_op; i++) {
            const int64_t *op = p.op + 5 * i;
            reg[op[1]] = run_f32(op[0], reg[op[2]], reg[op[3]], reg[op[4]]);
        }
        for (int64_t i = 0; i < p.n_out; i++) {
            const operand *o = &p.out[i];
            const int64_t at = place(&p, o->stride, k);
            const float v = reg[o->reg];
            if (is_real(o)) {
                store_real(o, at, v);
            } else {
                store_integer(o, at, o->dtype == LI_BOOL ? v != 0.0f : to_integer(v, o->dtype));
            }
        }
    }
    return LI_OK;
}

static uint64_t integer_power(uint64_t a, int64_t b)
{
    uint64_t r = 1;
    if (b < 0) { return a == 1 ? 1 : a == UINT64_MAX ? (b % 2 ? a : 1) : 0; }
    for (; b > 0; b /= 2) {
        if (b % 2) { r *= a; }
        a *= a;
    }
    return r;
}

/* Unsigned arithmetic wherever a result may wrap. */
static li_status run_i64(int64_t code, int64_t a, int64_t b, int64_t c, int64_t *d)
{
    const uint64_t ua = (uint64_t)a, ub = (uint64_t)b, uc = (uint64_t)c;
    const int divides = code == LI_MAP_DIV || code == LI_MAP_MOD || code == LI_MAP_FMOD;
    if ((divides && b == 0) || (code == LI_MAP_POW && a == 0 && b < 0)) { return LI_ERR_VALUE; }
    if ((code == LI_MAP_UDIV || code == LI_MAP_UMOD) && b == 0) { return LI_ERR_VALUE; }
    int64_t rest = divides && b != -1 ? a % b : 0;
    switch ((li_map_code)code) {
    case LI_MAP_ADD: *d = (int64_t)(ua + ub); break;
    case LI_MAP_SUB: *d = (int64_t)(ua - ub); break;
    case LI_MAP_MUL: *d = (int64_t)(ua * ub); break;
    case LI_MAP_DIV: *d = b == -1 ? (int64_t)-ua : a / b; break;
    case LI_MAP_FMA: *d = (int64_t)(ua * ub + uc); break;
    case LI_MAP_NEG: *d = (int64_t)-ua; break;
    case LI_MAP_ABS: *d = a < 0 ? (int64_t)-ua : a; break;
    case LI_MAP_SIGN: *d = a > 0 ? 1 : a < 0 ? -1 : 0; break;
    case LI_MAP_MIN: *d = a < b ? a : b; break;
    case LI_MAP_MAX: *d = a > b ? a : b; break;
    case LI_MAP_MOD: *d = rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest; break;
    case LI_MAP_FMOD: *d = rest; break;
    case LI_MAP_UDIV: *d = (int64_t)(ua / ub); break;
    case LI_MAP_UMOD: *d = (int64_t)(ua % ub); break;
    case LI_MAP_POW: *d = (int64_t)integer_power(ua, b); break;
    case LI_MAP_EQ: *d = a == b; break;
    case LI_MAP_LT: *d = a < b; break;
    case LI_MAP_LE: *d = a <= b; break;
    case LI_MAP_NOT: *d = !a; break;
    case LI_MAP_AND: *d = a && b; break;
    case LI_MAP_OR: *d = a || b; break;
    case LI_MAP_XOR: *d = !a != !b; break;
    case LI_MAP_SELECT: *d = a ? b : c; break;
    case LI_MAP_BITAND: *d = a & b; break;
    case LI_MAP_BITOR: *d = a | b; break;
    case LI_MAP_BITXOR: *d = a ^ b; break;
    case LI_MAP_BITNOT: *d = ~a; break;
    case LI_MAP_SHL: *d = ub > 63 ? 0 : (int64_t)(ua << ub); break;
    case LI_MAP_SHR: *d = ub > 63 ? 0 : (int64_t)(ua >> ub); break;
    default: *d = a;
    }
    return LI_OK;
}

li_status li_map_i64_scalar(const void *args, char *const *base);
li_status li_map_i64_scalar(const void *args, char *const *base)
{
    program p;
    decode(&p, (const int64_t *)args, base);
    for (int64_t k = 0; k < p.total; k++) {
        int64_t reg[LI_MAP_REGS] = {0};
        for (int64_t i = 0; i < p.n_in; i++) {
            const operand *o = &p.in[i];
            const int64_t at = place(&p, o->stride, k);
            reg[i] = is_real(o) ? to_integer(load_real(o, at), LI_I64) : load_integer(o, at);
        }
        for (int64_t i = 0; i < p.n_op; i++) {
            const int64_t *op = p.op + 5 * i;
            const li_status status = run_i64(op[0], reg[op[2]], reg[op[3]], reg[op[4]], &reg[op[1]]);
            if (status != LI_OK) { return status; }
        }
        for (int64_t i = 0; i < p.n_out; i++) {
            const operand *o = &p.out[i];
            const int64_t at = place(&p, o->stride, k), v = reg[o->reg];
            if (o->dtype == LI_F64) {
                store_real(o, at, (double)v);
            } else if (is_real(o)) {
                store_real(o, at, (float)v);
            } else {
                store_integer(o, at, v);
            }
        }
    }
    return LI_OK;
}

li_status li_copy_scalar(const void *args, char *const *base);
li_status li_copy_scalar(const void *args, char *const *base)
{
    const int64_t *w = (const int64_t *)args, bytes = w[0], rank = w[1], *size = w + 6;
    const li_ref dst_ref = {w[2], w[3]}, src_ref = {w[4], w[5]};
    char *dst = (char *)li_at(dst_ref, base);
    const char *src = (const char *)li_at(src_ref, base);
    int64_t total = 1;
    for (int64_t i = 0; i < rank; i++) { total *= size[i]; }
    for (int64_t k = 0; k < total; k++) {
        int64_t to = 0, from = 0, rest = k;
        for (int64_t i = rank - 1; i >= 0; i--) {
            to += rest % size[i] * size[rank + i];
            from += rest % size[i] * size[2 * rank + i];
            rest /= size[i];
        }
        memcpy(dst + to * bytes, src + from * bytes, (size_t)bytes);
    }
    return LI_OK;
}

li_status li_gather_scalar(const void *args, char *const *base);
li_status li_gather_scalar(const void *args, char *const *base)
{
    const li_gather_args *g = (const li_gather_args *)args;
    const void *index = li_at(g->index, base);
    char *dst = (char *)li_at(g->dst, base);
    const char *src = (const char *)li_at(g->src, base);
    for (int64_t o = 0; o < g->n_outer; o++) {
        for (int64_t j = 0; j < g->n_index; j++) {
            int64_t i = g->index_dtype == LI_I64 ? ((const int64_t *)index)[j] : ((const int32_t *)index)[j];
            if (i < 0) { i += g->axis; }
            if (i < 0 || i >= g->axis) { return LI_ERR_INDEX; }
            memmove(dst + (o * g->n_index + j) * g->inner_bytes, src + (o * g->axis + i) * g->inner_bytes,
                   (size_t)g->inner_bytes);
        }
    }
    return LI_OK;
}

li_status li_reverse_scalar(const void *args, char *const *base);
li_status li_reverse_scalar(const void *args, char *const *base)
{
    const li_reverse_args *g = (const li_reverse_args *)args;
    const int64_t *lens = (const int64_t *)li_at(g->lens, base);
    char *dst = (char *)li_at(g->dst, base);
    const char *src = (const char *)li_at(g->src, base);
    for (int64_t b = 0; b < g->B; b++) {
        if (lens[b] < 0 || lens[b] > g->T) { return LI_ERR_LENGTH; }
    }
    for (int64_t k = 0; k < g->B * g->T; k++) {
        const int64_t b = k / g->T, t = k % g->T, n = ((const volatile int64_t *)lens)[b], from = t < n ? n - 1 - t : t;
        if (n < 0 || n > g->T) { return LI_ERR_LENGTH; }
        memmove(dst + b * g->dst_b + t * g->dst_t, src + b * g->src_b + from * g->src_t, (size_t)g->bytes);
    }
    return LI_OK;
}

static float extreme(const float *x, int64_t n, int64_t stride, int largest)
{
    float m = largest ? -INFINITY : INFINITY;
    for (int64_t r = 0; r < n; r++) {
        const float v = x[r * stride];
        if (isnan(v)) { return v; }
        if (largest ? v > m : v < m) { m = v; }
    }
    return m;
}

static float log_sum_exp(const float *x, int64_t n, int64_t stride)
{
    const float most = extreme(x, n, stride, 1), shift = isinf(most) ? 0.0f : most;
    double sum = 0;
    for (int64_t r = 0; r < n; r++) { sum += exp((double)x[r * stride] - (double)shift); }
    return (float)(log(sum) + (double)shift);
}

static float reduce(int64_t code, const float *x, int64_t n, int64_t stride)
{
    double sum = 0, squares = 0, absolute = 0, product = 1;
    for (int64_t r = 0; r < n; r++) {
        const double v = x[r * stride];
        sum += v;
        squares += v * v;
        absolute += fabs(v);
        product *= v;
    }
    switch ((li_reduce_code)code) {
    case LI_RED_MEAN: return (float)(sum / (double)n);
    case LI_RED_MAX: return extreme(x, n, stride, 1);
    case LI_RED_MIN: return extreme(x, n, stride, 0);
    case LI_RED_PROD: return (float)product;
    case LI_RED_SUM_SQUARE: return (float)squares;
    case LI_RED_L1: return (float)absolute;
    case LI_RED_L2: return (float)sqrt(squares);
    case LI_RED_LOG_SUM: return (float)log(sum);
    case LI_RED_LOG_SUM_EXP: return log_sum_exp(x, n, stride);
    default: return (float)sum;
    }
}

li_status li_reduce_f32_scalar(const void *args, char *const *base);
li_status li_reduce_f32_scalar(const void *args, char *const *base)
{
    const li_reduce_args *g = (const li_reduce_args *)args;
    const float *x = (const float *)li_at(g->x, base);
    float *y = (float *)li_at(g->y, base);
    for (int64_t o = 0; o < g->n_outer; o++) {
        for (int64_t i = 0; i < g->n_inner; i++) {
            y[o * g->y_outer + i * g->y_inner] = reduce(g->code, x + o * g->x_outer + i * g->x_inner, g->n, g->x_r);
        }
    }
    return LI_OK;
}

li_status li_softmax_f32_scalar(const void *args, char *const *base);
li_status li_softmax_f32_scalar(const void *args, char *const *base)
{
    const li_softmax_args *g = (const li_softmax_args *)args;
    for (int64_t row = 0; row < g->rows; row++) {
        const float *x = (const float *)li_at(g->x, base) + row * g->x_row;
        float *y = (float *)li_at(g->y, base) + row * g->y_row;
        const double most = extreme(x, g->n, 1, 1);
        double sum = 0;
        for (int64_t i = 0; i < g->n; i++) { sum += exp((double)x[i] - most); }
        for (int64_t i = 0; i < g->n; i++) {
            const double t = (double)x[i] - most;
            y[i] = (float)(g->log ? t - log(sum) : exp(t) / sum);
        }
    }
    return LI_OK;
}

li_status li_layernorm_f32_scalar(const void *args, char *const *base);
li_status li_layernorm_f32_scalar(const void *args, char *const *base)
{
    const li_layernorm_args *g = (const li_layernorm_args *)args;
    const float *scale = (const float *)li_at(g->scale, base), *bias = (const float *)li_at(g->bias, base);
    float *means = (float *)li_at(g->mean, base), *inv_stds = (float *)li_at(g->inv_std, base);
    for (int64_t row = 0; row < g->rows; row++) {
        const float *x = (const float *)li_at(g->x, base) + row * g->x_row;
        float *y = (float *)li_at(g->y, base) + row * g->y_row;
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < g->n; i++) { sum += x[i]; }
        const double mean = sum / (double)g->n;
        for (int64_t i = 0; i < g->n; i++) { squares += (x[i] - mean) * (x[i] - mean); }
        const double inv_std = 1.0 / sqrt(squares / (double)g->n + g->epsilon);
        if (means) { means[row] = (float)mean; }
        if (inv_stds) { inv_stds[row] = (float)inv_std; }
        for (int64_t i = 0; i < g->n; i++) {
            y[i] = (float)((x[i] - mean) * inv_std * (scale ? scale[i] : 1.0f) + (bias ? bias[i] : 0.0f));
        }
    }
    return LI_OK;
}
