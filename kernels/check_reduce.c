/* Checks of the slots that work along one axis, and of windows. What they touch: body/reduce_f32.h, reduce_i64.h, arg_reduce.h, topk.h,
 * pool_f32.h and isa/scalar_elementwise.c, scalar_select.c, scalar_pool.c. */
#include "check_ranges.h"
#include "li_block.h"

static double times3(int64_t a, int64_t b, int64_t n) { return (double)(a + 1) * (double)(b + 1) * (double)(n + 1); }

/* x[o][r][i] and y[o][i]. */
static li_span grid(int64_t n_outer, int64_t outer, int64_t n, int64_t r, int64_t n_inner, int64_t inner)
{
    return li_along(li_along(li_along(li_dense(1), n_inner, inner), n, r), n_outer, outer);
}

void li_check_reduce_f32(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_reduce_args *a = (const li_reduce_args *)(const void *)words;
    (void)n_words;
    if (!LI_FIELD(code, LI_RED_SUM, LI_RED_LOG_SUM_EXP)) { return; }
    if (!LI_FIELD(n_outer, 0, LI_COUNT) || !LI_FIELD(n, 0, LI_COUNT) || !LI_FIELD(n_inner, 0, LI_COUNT)) { return; }
    LI_TOUCH(x, grid(a->n_outer, a->x_outer, a->n, a->x_r, a->n_inner, a->x_inner), 4, LI_READS);
    LI_TOUCH(y, grid(a->n_outer, a->y_outer, 1, 0, a->n_inner, a->y_inner), 4, LI_WRITES);
    c->verdict.work = 2.0 * times3(a->n_outer, a->n_inner, a->n + 16);
}

static void check_typed(li_checked *c, const li_reduce_typed_args *a, int64_t y_bytes)
{
    if (!LI_FIELD(n_outer, 0, LI_COUNT) || !LI_FIELD(n, 1, LI_COUNT) || !LI_FIELD(n_inner, 0, LI_COUNT)) { return; }
    LI_TOUCH(x, grid(a->n_outer, a->x_outer, a->n, a->x_r, a->n_inner, a->x_inner), li_element(a->dtype), LI_READS);
    LI_TOUCH(y, grid(a->n_outer, a->y_outer, 1, 0, a->n_inner, a->y_inner), y_bytes, LI_WRITES);
    c->verdict.work = 4.0 * times3(a->n_outer, a->n_inner, a->n + 64);
}

void li_check_arg_reduce(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_reduce_typed_args *a = (const li_reduce_typed_args *)(const void *)words;
    (void)n_words;
    if (a->dtype != LI_F32 && li_integer(a->dtype) == 0) { li_refuse(c, "dtype", "cannot be compared"); return; }
    if (!LI_FIELD(code, LI_RED_MAX, LI_RED_MIN)) { return; }
    check_typed(c, a, 8);
}

void li_check_reduce_i64(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_reduce_typed_args *a = (const li_reduce_typed_args *)(const void *)words;
    (void)n_words;
    if (li_integer(a->dtype) == 0) { li_refuse(c, "dtype", "is not an integer type"); return; }
    if (!LI_FIELD(code, LI_RED_SUM, LI_RED_L2)) { return; }
    check_typed(c, a, li_integer(a->dtype));
}

void li_check_topk(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_topk_args *a = (const li_topk_args *)(const void *)words;
    (void)n_words;
    if (a->dtype != LI_F32 && li_integer(a->dtype) == 0) { li_refuse(c, "dtype", "cannot be compared"); return; }
    if (!LI_FIELD(n_outer, 0, LI_COUNT) || !LI_FIELD(n, 1, LI_COUNT) || !LI_FIELD(k, 1, a->n) || !LI_FIELD(n_inner, 0, LI_COUNT)) { return; }
    const double rows = (double)a->n_outer * (double)a->n_inner;
    c->verdict.work = (rows + 1.0) * ((double)a->n + (double)a->k) * 64.0;
    if (rows * (double)a->k > (double)LI_STRIDE) { li_refuse(c, "k", "is out of all proportion"); return; }
    const int64_t bytes = li_element(a->dtype), found = a->n_outer * a->n_inner * a->k;
    LI_TOUCH(x, grid(a->n_outer, a->x_outer, a->n, a->x_r, a->n_inner, a->x_inner), bytes, LI_READS);
    const li_bytes values = LI_TOUCH_IF(values, li_dense(found), bytes, LI_WRITES);
    const li_bytes indices = LI_TOUCH_IF(indices, li_dense(found), 8, LI_WRITES);
    const li_bytes heap = li_scratch(c, a->scratch, 16 * a->k, 1);
    li_apart(c, "values", values, heap);
    li_apart(c, "indices", indices, heap);
}

void li_check_softmax_f32(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_softmax_args *a = (const li_softmax_args *)(const void *)words;
    (void)n_words;
    if (!LI_FIELD(rows, 0, LI_COUNT) || !LI_FIELD(n, 0, LI_COUNT)) { return; }
    LI_TOUCH(x, li_along(li_dense(a->n), a->rows, a->x_row), 4, LI_READS);
    LI_TOUCH(y, li_along(li_dense(a->n), a->rows, a->y_row), 4, LI_UPDATES);
    c->verdict.work = 8.0 * times3(a->rows, 0, a->n + 16);
}

void li_check_layernorm_f32(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_layernorm_args *a = (const li_layernorm_args *)(const void *)words;
    (void)n_words;
    if (!LI_FIELD(rows, 0, LI_COUNT) || !LI_FIELD(n, 0, LI_COUNT)) { return; }
    LI_TOUCH(x, li_along(li_dense(a->n), a->rows, a->x_row), 4, LI_READS);
    LI_TOUCH_IF(scale, li_dense(a->n), 4, LI_READS);
    LI_TOUCH_IF(bias, li_dense(a->n), 4, LI_READS);
    LI_TOUCH(y, li_along(li_dense(a->n), a->rows, a->y_row), 4, LI_WRITES);
    LI_TOUCH_IF(mean, li_dense(a->rows), 4, LI_WRITES);
    LI_TOUCH_IF(inv_std, li_dense(a->rows), 4, LI_WRITES);
    c->verdict.work = 8.0 * times3(a->rows, 0, a->n + 16);
}

/* ---- windows ---- */

static int pool_sizes(li_checked *c, const li_pool_args *a)
{
    const int64_t most = INT64_C(1) << 31;
    if (a->code != LI_RED_SUM && a->code != LI_RED_MAX) { return li_refuse(c, "code", "is not a sum or the largest"); }
    if (!LI_FIELDS(n, 2, 0, LI_COUNT) || !LI_FIELD(rows, 0, most) || !LI_FIELD(cols, 0, most)) { return 0; }
    if (!LI_FIELD(y_rows, 0, most) || !LI_FIELD(y_cols, 0, most)) { return 0; }
    if (!LI_FIELDS(kernel, 2, 1, most) || !LI_FIELDS(stride, 2, 1, most) || !LI_FIELDS(dilation, 2, 1, most)) { return 0; }
    if (!li_within(c, "pad", a->pad[0], -most, most) || !li_within(c, "pad", a->pad[1], 0, most)) { return 0; }
    const double line = ((double)a->y_cols + 18.0) * (double)a->stride[1] + (double)a->kernel[1] * (double)a->dilation[1];
    const double step = (double)a->x_stride[2] * (double)a->dilation[0];
    if (step < -LI_REACH || step > LI_REACH) { return li_refuse(c, "x_stride", "is out of all proportion"); }
    return line < 0x1p44 || li_refuse(c, "kernel", "is out of all proportion");
}

void li_check_pool_f32(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_pool_args *a = (const li_pool_args *)(const void *)words;
    (void)n_words;
    if (!pool_sizes(c, a)) { return; }
    const int64_t part = li_pool_part(a->y_cols, a->kernel[1], a->stride[1], a->dilation[1]), line = a->stride[1] * part;
    if (a->pad[1] > line - LI_UNITS) { li_refuse(c, "pad", "is wider than all windows"); return; }
    li_span of_x = li_along(li_dense(a->cols), a->rows, a->x_stride[2]), of_y = li_along(li_dense(a->y_cols), a->y_rows, a->y_stride[2]);
    for (int d = 0; d < 2; d++) {
        of_x = li_along(of_x, a->n[d], a->x_stride[d]);
        of_y = li_along(of_y, a->n[d], a->y_stride[d]);
    }
    LI_TOUCH(x, of_x, 4, LI_READS);
    LI_TOUCH(y, of_y, 4, LI_WRITES);
    li_scratch(c, a->scratch, li_pool_scratch(a->y_cols, a->kernel[1], a->stride[1], a->dilation[1]), 0);
    const double of_row = (double)a->cols * (double)a->kernel[0] + (double)(a->y_cols + 16) * (double)a->kernel[1] + 2.0 * (double)line;
    c->verdict.work = (double)(a->n[0] + 1) * (double)(a->n[1] + 1) * (double)(a->y_rows + 1) * of_row;
}
