/* Checks of the slots that go element by element, copy, index and draw. What they touch: body/map.h, move.h, indexed.h, random.h
 * and isa/scalar_elementwise.c, scalar_indexed.c, scalar_random.c. */
#include "check_ranges.h"
#include "dispatch.h"

/* How many entries axes have, with or without those of extent 0. */
static double volume(const int64_t *size, int64_t rank, int64_t least)
{
    double n = 1.0;
    for (int64_t d = 0; d < rank; d++) { n *= (double)(size[d] < least ? least : size[d]); }
    return n;
}

/* Products of extents and strides that nothing touches are computed too: axes of extent 0 count as 1 for `far`. */
static li_span strided(li_span s, const int64_t *size, const int64_t *stride, int64_t rank)
{
    int empty = 0;
    for (int64_t d = 0; d < rank; d++) {
        empty |= size[d] == 0;
        s = li_along(s, size[d] == 0 ? 1 : size[d], stride[d]);
    }
    if (empty) { s.high = s.low; }
    return s;
}

static int sizes_are_right(li_checked *c, const int64_t *size, int64_t rank)
{
    if (!li_all_within(c, "size", size, rank, 0, LI_COUNT)) { return 0; }
    return volume(size, rank, 1) < LI_REACH || li_refuse(c, "size", "is out of all proportion");
}

/* ---- map ---- */

/* Has a program of this kind the instruction. Marks in li_map.def. */
static int has_instruction(int64_t code, int ints)
{
    switch ((li_map_code)code) {
    case LI_MAP_BITAND: case LI_MAP_BITOR: case LI_MAP_BITXOR: case LI_MAP_BITNOT: case LI_MAP_SHL: case LI_MAP_SHR: case LI_MAP_UDIV:
    case LI_MAP_UMOD: return ints;
    case LI_MAP_SQRT: case LI_MAP_RECIPROCAL: case LI_MAP_EXP: case LI_MAP_LOG: case LI_MAP_SIN: case LI_MAP_COS: case LI_MAP_ERF:
    case LI_MAP_SIGMOID: case LI_MAP_TANH: case LI_MAP_SOFTPLUS: case LI_MAP_ROUND: case LI_MAP_FLOOR: case LI_MAP_CEIL: case LI_MAP_TRUNC:
    case LI_MAP_ISNAN: case LI_MAP_ISINF: case LI_MAP_ATAN: return !ints;
    default: return 1;
    }
}

/* Instructions use registers that hold something, and leave something in each that is stored. */
static int check_program(li_checked *c, const int64_t *op, int64_t n_op, int64_t n_in, uint32_t stored, int ints)
{
    uint32_t held = (1u << n_in) - 1u;
    for (int64_t i = 0; i < n_op; i++, op += 5) {
        if (!li_within(c, "code", op[0], 0, LI_N_MAP - 1) || !has_instruction(op[0], ints)) { return li_refuse(c, "code", "is not an instruction of this program"); }
        if (!li_all_within(c, "register", op + 1, 4, 0, LI_MAP_REGS - 1)) { return 0; }
        for (int a = 0; a < li_map_args((int)op[0]); a++) {
            if (!(held >> op[2 + a] & 1u)) { return li_refuse(c, "register", "is read before it is written"); }
        }
        held |= 1u << op[1];
    }
    return (stored & ~held) == 0 || li_refuse(c, "register", "is stored but never written");
}

static void check_map(li_checked *c, const int64_t *w, int64_t n_words, int ints)
{
    if (n_words < 4) { li_refuse(c, "words", "are too few"); return; }
    const int64_t rank = w[0], n_in = w[1], n_out = w[2], n_op = w[3], *size = w + 4;
    uint32_t stored = 0;
    if (!li_within(c, "rank", rank, 0, LI_RANK) || !li_within(c, "n_in", n_in, 0, LI_MAP_REGS) || !li_within(c, "n_out", n_out, 1, LI_MAP_REGS)) { return; }
    if (!li_within(c, "n_op", n_op, 0, n_words)) { return; }
    if (n_words != 4 + rank + n_in * (3 + rank) + n_out * (4 + rank) + 5 * n_op) { li_refuse(c, "words", "are not as many as the program has"); return; }
    if (!sizes_are_right(c, size, rank)) { return; }
    w += 4 + rank;
    for (int64_t i = 0; i < n_in + n_out; i++) {
        const int out = i >= n_in;
        const int64_t bytes = li_element(w[2]);
        if (bytes == 0) { li_refuse(c, "dtype", "is unknown"); return; }
        li_touch(c, out ? "output" : "input", (li_ref){w[0], w[1]}, strided(li_dense(1), size, w + 3, rank), bytes, out ? LI_WRITES : LI_READS);
        w += 3 + rank;
        if (!out) { continue; }
        if (!li_within(c, "register", *w, 0, LI_MAP_REGS - 1)) { return; }
        stored |= 1u << *w++;
    }
    if (c->verdict.field || !check_program(c, w, n_op, n_in, stored, ints)) { return; }
    c->verdict.work = (volume(size, rank, 0) + 16.0) * (double)(n_in + n_out + 4 * n_op);
}

void li_check_map_f32(li_checked *c, const int64_t *words, int64_t n_words) { check_map(c, words, n_words, 0); }
void li_check_map_i64(li_checked *c, const int64_t *words, int64_t n_words) { check_map(c, words, n_words, 1); }

/* ---- copy, reverse ---- */

void li_check_copy(li_checked *c, const int64_t *w, int64_t n_words)
{
    if (n_words < 6) { li_refuse(c, "words", "are too few"); return; }
    const int64_t bytes = w[0], rank = w[1], *size = w + 6;
    if (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) { li_refuse(c, "elem_bytes", "is not 1, 2, 4 or 8"); return; }
    if (!li_within(c, "rank", rank, 0, LI_RANK)) { return; }
    if (n_words != 6 + 3 * rank) { li_refuse(c, "words", "are not as many as the rank asks for"); return; }
    if (!sizes_are_right(c, size, rank)) { return; }
    li_touch(c, "dst", (li_ref){w[2], w[3]}, strided(li_dense(1), size, size + rank, rank), bytes, LI_WRITES);
    li_touch(c, "src", (li_ref){w[4], w[5]}, strided(li_dense(1), size, size + 2 * rank, rank), bytes, LI_READS);
    c->verdict.work = volume(size, rank, 0);
}

void li_check_reverse(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_reverse_args *a = (const li_reverse_args *)(const void *)words;
    (void)n_words;
    if (!LI_FIELD(T, 0, LI_COUNT) || !LI_FIELD(B, 0, LI_COUNT) || !LI_FIELD(bytes, 0, LI_COUNT)) { return; }
    LI_TOUCH(dst, li_along(li_along(li_dense(a->bytes), a->T, a->dst_t), a->B, a->dst_b), 1, LI_WRITES);
    LI_TOUCH(src, li_along(li_along(li_dense(a->bytes), a->T, a->src_t), a->B, a->src_b), 1, LI_READS);
    LI_TOUCH(lens, li_dense(a->B), 8, LI_READS);
    c->verdict.work = (double)a->B * (double)(a->T + 1) * (double)(a->bytes + 8);
}

/* ---- gather, gather_nd, scatter_nd ---- */

static int64_t index_bytes(li_checked *c, int64_t dtype)
{
    return dtype == LI_I64 ? 8 : dtype == LI_I32 ? 4 : li_refuse(c, "index_dtype", "is not int32 or int64");
}

void li_check_gather(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_gather_args *a = (const li_gather_args *)(const void *)words;
    const int64_t each = index_bytes(c, a->index_dtype);
    (void)n_words;
    if (each == 0 || !LI_FIELD(n_outer, 0, LI_COUNT) || !LI_FIELD(axis, 0, LI_COUNT) || !LI_FIELD(n_index, 0, LI_COUNT)) { return; }
    if (!LI_FIELD(inner_bytes, 0, LI_COUNT)) { return; }
    const double most = (double)a->n_outer * (double)(a->n_index + a->axis) * (double)(a->inner_bytes + 1);
    if (most > (double)LI_STRIDE) { li_refuse(c, "inner_bytes", "is out of all proportion"); return; }
    LI_TOUCH(dst, li_dense(a->n_outer * a->n_index * a->inner_bytes), 1, LI_WRITES);
    LI_TOUCH(src, li_dense(a->n_outer * a->axis * a->inner_bytes), 1, LI_READS);
    LI_TOUCH(index, li_dense(a->n_index), each, LI_READS);
    c->verdict.work = (double)a->n_outer * ((double)a->n_index * (double)(a->inner_bytes + 8) + 1.0);
}

static int check_indexed(li_checked *c, const li_indexed_args *a, li_access data, li_access values)
{
    const int64_t each = index_bytes(c, a->index_dtype), bytes = li_element(a->dtype);
    if (each == 0) { return 0; }
    if (bytes == 0) { return li_refuse(c, "dtype", "is unknown"); }
    if (!LI_FIELD(inner, 0, LI_COUNT) || !LI_FIELD(rank, 1, LI_RANK) || !LI_FIELD(depth, 0, LI_RANK)) { return 0; }
    if (!LI_FIELDS(size, a->rank, 0, LI_COUNT) || !LI_FIELDS(axis, a->depth, 0, LI_COUNT)) { return 0; }
    const double entries = volume(a->size, a->rank, 0);
    const li_span place = strided(strided(li_dense(a->inner), a->size, a->step, a->rank), a->axis, a->stride, a->depth);
    const li_span index = li_along(strided(li_dense(a->depth > 0), a->size, a->index_step, a->rank), a->depth, a->index_d);
    c->verdict.work = entries * (double)(a->inner + 8 * (a->depth + 1));
    if (entries * (double)(a->inner + 1) > LI_REACH) { return li_refuse(c, "inner", "is out of all proportion"); }
    LI_TOUCH(data, place, bytes, data);
    LI_TOUCH(values, li_dense((int64_t)entries * a->inner), bytes, values);
    LI_TOUCH(index, index, each, LI_READS);
    return !c->verdict.field;
}

void li_check_gather_nd(li_checked *c, const int64_t *words, int64_t n_words)
{
    (void)n_words;
    check_indexed(c, (const li_indexed_args *)(const void *)words, LI_READS, LI_WRITES);
}

void li_check_scatter_nd(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_indexed_args *a = (const li_indexed_args *)(const void *)words;
    (void)n_words;
    if (!LI_FIELD(code, LI_SCATTER_SET, LI_SCATTER_MAX)) { return; }
    if (a->code != LI_SCATTER_SET && a->dtype != LI_F32 && li_integer(a->dtype) == 0) { li_refuse(c, "dtype", "cannot be combined"); return; }
    check_indexed(c, a, LI_UPDATES, LI_READS);
}

/* ---- random, choose ---- */

void li_check_random(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_random_args *a = (const li_random_args *)(const void *)words;
    (void)n_words;
    if (!LI_FIELD(n_steps, 0, LI_COUNT) || !LI_FIELD(n_signals, 0, LI_COUNT) || !LI_FIELD(n, 0, LI_COUNT)) { return; }
    const double rows = (double)a->n_steps * (double)a->n_signals;
    c->verdict.work = rows * (double)(8 * a->n + 8) + (double)(a->n_steps + a->n_signals);
    if (rows * (double)a->n > (double)LI_STRIDE) { li_refuse(c, "n", "is out of all proportion"); return; }
    LI_TOUCH(y, li_dense(a->n_steps * a->n_signals * a->n), 4, LI_WRITES);
    LI_TOUCH(state, li_dense(2 * a->n_signals), 8, LI_UPDATES);
}

void li_check_choose(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_choose_args *a = (const li_choose_args *)(const void *)words;
    const int64_t each = index_bytes(c, a->dtype);
    (void)n_words;
    if (each == 0 || !LI_FIELD(rows, 0, LI_COUNT) || !LI_FIELD(n, 0, LI_COUNT) || !LI_FIELD(samples, 0, LI_COUNT)) { return; }
    c->verdict.work = (double)a->rows * (double)(a->n + 1) * (double)(a->samples + 1);
    if ((double)a->rows * (double)(a->n + a->samples) > (double)LI_STRIDE) { li_refuse(c, "rows", "is out of all proportion"); return; }
    LI_TOUCH(p, li_dense(a->rows * a->n), 4, LI_READS);
    LI_TOUCH(u, li_dense(a->rows * a->samples), 4, LI_READS);
    LI_TOUCH(y, li_dense(a->rows * a->samples), each, LI_WRITES);
}
