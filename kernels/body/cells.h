/* The cells of LSTM, GRU and RNN: a vector of gate sums becomes the next state. Equations: li_kernels.h. */
#include "../li_block.h"

/* One step of B columns, every operand resolved. */
typedef struct li_cell {
    const li_recur_args *a;
    const float *init; /* where chains start: bias, or the projected inputs */
    int64_t init_col, init_panel;
    const float *bias, *peephole;
    const float *h;
    float *h_new, *c, *y, *part; /* y may be null; part: gru, linear_before_reset = 0 */
    int64_t h_col, h_new_col, c_col, y_col;
    int64_t H, H_pad;
    int64_t plain; /* sigmoid and tanh, nothing else: cell update in registers */
    int64_t back;  /* panels last to first, every other step: those just read are still in the nearest cache */
    float clip;
} li_cell;

/* The last vector of a row may be short: only what is left of it is read and written. */
LI_INLINE vf li_load_left(const float *p, int64_t left) { return left >= LI_W ? v_load(p) : v_load_part(p, left); }
LI_INLINE void li_store_left(float *p, vf v, int64_t left)
{
    if (left >= LI_W) {
        v_store(p, v);
    } else {
        v_store_part(p, v, left);
    }
}

LI_INLINE void li_put_h(const li_cell *s, int64_t unit, int64_t n, vf h, int64_t left)
{
    li_store_left(s->h_new + n * s->h_new_col + unit, h, left);
    if (s->y) { li_store_left(s->y + n * s->y_col + unit, h, left); }
}

LI_INLINE vf li_clip(const li_cell *s, vf z)
{
    return s->clip > 0.0f ? v_min(v_set1(s->clip), v_max(v_set1(-s->clip), z)) : z; /* NaN stays */
}

/* ---- lstm ---- */

/* Ct = ft . Ct-1 + it . ct      Ht = ot . h(Ct) */
LI_INLINE void li_lstm_cell(const li_cell *s, int64_t unit, int64_t n, vf zi, vf zo, vf zf, vf zc)
{
    const int64_t left = s->H - unit;
    if (left <= 0) { return; }
    float *at = s->c + n * s->c_col + unit;
    const vf c = v_fma(li_sigmoid(zf), li_load_left(at, left), v_mul(li_sigmoid(zi), li_tanh(zc)));
    li_store_left(at, c, left);
    li_put_h(s, unit, n, v_mul(li_sigmoid(zo), li_tanh(c)), left);
}

/* The same with peepholes (i and f see Ct-1, o sees Ct), clip, coupled gates and any activation. */
LI_NOINLINE void li_lstm_cell_any(const li_cell *s, int64_t unit, int64_t n, vf zi, vf zo, vf zf, vf zc)
{
    const li_act *act = s->a->act;
    const int64_t left = s->H - unit;
    if (left <= 0) { return; }
    float *at = s->c + n * s->c_col + unit;
    const float *peep = s->peephole ? s->peephole + unit : 0;
    const vf c_old = li_load_left(at, left);
    if (peep) {
        zi = v_fma(v_load(peep), c_old, zi);
        zf = v_fma(v_load(peep + 2 * s->H_pad), c_old, zf);
    }
    const vf i = li_act_apply(&act[0], li_clip(s, zi));
    const vf f = s->a->input_forget ? v_sub(v_set1(1.0f), i) : li_act_apply(&act[0], li_clip(s, zf));
    const vf c = v_fma(f, c_old, v_mul(i, li_act_apply(&act[1], li_clip(s, zc))));
    if (peep) { zo = v_fma(v_load(peep + s->H_pad), c, zo); }
    const vf o = li_act_apply(&act[0], li_clip(s, zo));
    li_store_left(at, c, left);
    li_put_h(s, unit, n, v_mul(o, li_act_apply(&act[2], c)), left);
}

LI_INLINE void li_lstm_put(const li_cell *s, int64_t unit, int64_t n, vf zi, vf zo, vf zf, vf zc)
{
    if (s->plain) {
        li_lstm_cell(s, unit, n, zi, zo, zf, zc);
    } else {
        li_lstm_cell_any(s, unit, n, zi, zo, zf, zc);
    }
}

/* ---- gru ---- */

/* Ht = (1 - zt) . ht + zt . Ht-1 */
LI_INLINE vf li_gru_mix(vf z, vf h_hat, vf h) { return v_fma(z, h, v_mul(v_sub(v_set1(1.0f), z), h_hat)); }

/* linear_before_reset: ht = g(Xt Wh + Wbh + rt . (Ht-1 Rh + Rbh)) */
LI_INLINE void li_gru_cell(const li_cell *s, int64_t unit, int64_t n, vf zz, vf zr, vf zx, vf zh)
{
    const int64_t left = s->H - unit;
    if (left <= 0) { return; }
    const vf h = li_load_left(s->h + n * s->h_col + unit, left);
    const vf h_hat = li_tanh(v_fma(li_sigmoid(zr), zh, zx));
    li_put_h(s, unit, n, li_gru_mix(li_sigmoid(zz), h_hat, h), left);
}

LI_NOINLINE void li_gru_cell_any(const li_cell *s, int64_t unit, int64_t n, vf zz, vf zr, vf zx, vf zh)
{
    const li_act *act = s->a->act;
    const int64_t left = s->H - unit;
    if (left <= 0) { return; }
    const vf h = li_load_left(s->h + n * s->h_col + unit, left);
    const vf r = li_act_apply(&act[0], li_clip(s, zr));
    const vf h_hat = li_act_apply(&act[1], li_clip(s, v_fma(r, zh, zx)));
    li_put_h(s, unit, n, li_gru_mix(li_act_apply(&act[0], li_clip(s, zz)), h_hat, h), left);
}

LI_INLINE void li_gru_put(const li_cell *s, int64_t unit, int64_t n, vf zz, vf zr, vf zx, vf zh)
{
    if (s->plain) {
        li_gru_cell(s, unit, n, zz, zr, zx, zh);
    } else {
        li_gru_cell_any(s, unit, n, zz, zr, zx, zh);
    }
}

/* To part, [B][3][H_pad]: z, h sum, r . h */
LI_INLINE void li_gru0_put(const li_cell *s, int64_t unit, int64_t n, vf zz, vf zr, vf zx, vf none)
{
    float *part = s->part + n * 3 * s->H_pad + unit;
    (void)none;
    v_store(part, zz);
    v_store(part + s->H_pad, zx);
    v_store(part + 2 * s->H_pad, zr);
}

LI_INLINE void li_copy_rows(float *dst, int64_t dst_row, const float *src, int64_t src_row, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t u = 0; u < n; u += LI_W) {
            li_store_left(dst + i * dst_row + u, li_load_left(src + i * src_row + u, n - u), n - u);
        }
    }
}
