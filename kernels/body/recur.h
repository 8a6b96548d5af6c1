/* lstm, gru, rnn: T steps of one direction. Contracts and equations: li_kernels.h.
 *
 *   T = 1           chain over w then r in one tile, cell update on the accumulators, which never touch memory
 *   T > 1           the inputs of a block of steps go through w first, as one matrix product into scratch; each step
 *                   then starts from its row there and reads r only. Same chain, same bits.
 *   h               all panels of a step read the old h, so the new one is written elsewhere and they swap */

/* One step of B columns: its terms and its cells. */
typedef struct li_layer {
    li_cell cell;
    li_term w, r, r_h;
    li_reader of_x, of_h; /* 8-bit numbers: how inputs become such, and where they then lie */
} li_layer;

/* The sums of a tile: their terms, and where they start. `more`: the start of gru's fourth accumulator. */
typedef struct li_sums {
    li_term w, r;
    const float *init, *more;
    int64_t init_col, init_panel, more_col;
} li_sums;

LI_INLINE li_sums li_sums_at(const li_layer *s, int64_t p, int64_t n)
{
    return (li_sums){
        .w = li_term_at(s->w, p, n, 0), .r = li_term_at(s->r, p, n, 0),
        .init = s->cell.init + n * s->cell.init_col + p * s->cell.init_panel,
        .more = s->cell.bias + (p * 4 + 3) * LI_UNITS,
        .init_col = s->cell.init_col, .init_panel = s->cell.init_panel,
    };
}

/* ---- sums of a tile ---- */

LI_INLINE void li_lstm_tile(vf *z, const li_sums *t, const int N, const int P, const int V)
{
    enum { A = 4 };
    li_tile_init(z, N, P, V, A, A, t->init, t->init_col, t->init_panel);
    li_tile_chain(z, N, P, V, A, A, 3, &t->w, A * LI_UNITS);
    li_tile_chain(z, N, P, V, A, A, 3, &t->r, A * LI_UNITS);
}

LI_INLINE void li_gru_tile(vf *z, const li_sums *t, const int N, const int P, const int V)
{
    enum { A = 4, G = 3 };
    li_tile_init(z, N, P, V, A, G, t->init, t->init_col, t->init_panel);
    LI_UNROLL for (int n = 0; n < N; n++) {
        LI_UNROLL for (int p = 0; p < P; p++) {
            LI_UNROLL for (int v = 0; v < V; v++) {
                z[LI_AT(n, p, 3, v)] = v_load(t->more + n * t->more_col + p * 4 * LI_UNITS + v * LI_W);
            }
        }
    }
    li_tile_chain(z, N, P, V, A, G, 2, &t->w, G * LI_UNITS);
    li_tile_chain(z, N, P, V, A, G, 3, &t->r, G * LI_UNITS);
}

/* linear_before_reset = 0, first half: z, r . Ht-1, the x part of gate h */
LI_INLINE void li_gru0_tile(vf *z, const li_sums *t, const int N, const int P, const int V)
{
    enum { A = 4, G = 3 };
    li_tile_init(z, N, P, V, A, G, t->init, t->init_col, t->init_panel);
    LI_UNROLL for (int n = 0; n < N; n++) {
        LI_UNROLL for (int i = 0; i < P * V; i++) { z[LI_AT(n, i / V, 3, i % V)] = v_zero(); }
    }
    li_tile_chain(z, N, P, V, A, G, 2, &t->w, G * LI_UNITS);
    li_tile_chain(z, N, P, V, A, 2, 1, &t->r, 2 * LI_UNITS);
}

/* ---- a tile and its cells ----
 *
 * One column stays in registers. The sums of many go by way of z on the stack, and are made in a function of their own:
 * with the cell update behind them compilers keep accumulators in memory inside the hot loop. Blocks of k and vectors
 * take turns as in li_gates_many. */

#define LI_CELL(kind)                                                                                                \
    LI_INLINE void li_##kind##_one(const li_layer *s, int64_t p0, int64_t n0, const int P)                            \
    {                                                                                                                \
        enum { A = 4, V = LI_V };                                                                                    \
        vf z[LI_ACC > 16 ? LI_ACC : 16];                                                                             \
        const li_sums t = li_sums_at(s, p0, n0);                                                                     \
        li_##kind##_tile(z, &t, 1, P, V);                                                                            \
        LI_UNROLL for (int p = 0; p < P; p++) {                                                                      \
            LI_UNROLL for (int v = 0; v < V; v++) {                                                                  \
                li_##kind##_put(&s->cell, (p0 + p) * LI_UNITS + v * LI_W, n0, z[LI_AT(0, p, 0, v)], z[LI_AT(0, p, 1, v)],   \
                                z[LI_AT(0, p, 2, v)], z[LI_AT(0, p, 3, v)]);                                         \
            }                                                                                                        \
        }                                                                                                            \
    }                                                                                                                \
    LI_NOINLINE void li_##kind##_sums(float *z, const li_sums *block, int64_t n_cols)                                \
    {                                                                                                                \
        for (int64_t n = 0, N; n < n_cols; n += N) {                                                                 \
            N = li_next_cols(n_cols - n, LI_MOST4);                                                                           \
            for (int64_t v = 0; v < LI_V; v++) {                                                                     \
                const li_sums t = li_sums_part(block, n, v);                                                         \
                LI_BY_COLS4(N, LI_SUMS_##kind)                                                                       \
            }                                                                                                        \
        }                                                                                                            \
    }                                                                                                                \
    LI_INLINE void li_##kind##_many(const li_layer *s, int64_t p, int64_t n, int64_t N)                               \
    {                                                                                                                \
        float z[LI_MANY * 4 * LI_UNITS];                                                                             \
        li_many_sums(z, s, p, n, N, li_##kind##_sums);                                                               \
        for (int64_t i = 0; i < N; i++) {                                                                            \
            for (int64_t u = 0; u < LI_UNITS; u += LI_W) {                                                           \
                const float *at = z + i * 4 * LI_UNITS + u;                                                          \
                li_##kind##_put(&s->cell, p * LI_UNITS + u, n + i, v_load(at), v_load(at + LI_UNITS),                       \
                                v_load(at + 2 * LI_UNITS), v_load(at + 3 * LI_UNITS));                               \
            }                                                                                                        \
        }                                                                                                            \
    }

#define LI_SUMS_OF(tile, N_)                                                                                         \
    {                                                                                                                \
        vf acc[LI_ACC];                                                                                              \
        tile(acc, &t, N_, 1, 1);                                                                                     \
        li_tile_store(z + n * 4 * LI_UNITS + v * LI_W, acc, N_, 1, 1, 4, 4 * LI_UNITS, 0);                           \
    }
#define LI_SUMS_lstm(N_) LI_SUMS_OF(li_lstm_tile, N_)
#define LI_SUMS_gru(N_) LI_SUMS_OF(li_gru_tile, N_)
#define LI_SUMS_gru0(N_) LI_SUMS_OF(li_gru0_tile, N_)

/* The same from column n and vector v of the panel on. */
LI_INLINE li_sums li_sums_part(const li_sums *block, int64_t n, int64_t v)
{
    li_sums t = *block;
    t.w.w += v * LI_W;
    t.r.w += v * LI_W;
    t.w.x += n * t.w.col;
    t.r.x += n * t.r.col;
    t.init += n * t.init_col + v * LI_W;
    t.more += n * t.more_col + v * LI_W;
    return t;
}

/* z[N][4][16] = the sums of panel p, columns n .. n + N - 1. */
LI_INLINE void li_many_sums(float *z, const li_layer *s, int64_t p, int64_t n, int64_t N,
                            void (*sums)(float *z, const li_sums *block, int64_t n_cols))
{
    const li_sums whole = li_sums_at(s, p, n);
    const int64_t K = s->w.K + s->r.K;
    int64_t k = 0;
    do {
        const int64_t end = K - k > LI_BLOCK_K ? k + LI_BLOCK_K : K;
        li_sums t = whole;
        t.w = li_term_part(t.w, k, end);
        t.r = li_term_part(t.r, k - s->w.K, end - s->w.K);
        if (k > 0) {
            t.init = z;
            t.more = z + 3 * LI_UNITS;
            t.init_col = t.more_col = 4 * LI_UNITS;
        }
        sums(z, &t, N);
        k = end;
    } while (k < K);
}

LI_CELL(lstm)
LI_CELL(gru)
LI_CELL(gru0)

/* ---- a step: every panel, B columns ---- */

typedef void (*li_step_fn)(const li_layer *s, int64_t n_panels, int64_t B);

#define LI_STEP(name, kind)                                                                                          \
    LI_NOINLINE void name(const li_layer *s, int64_t n_panels, int64_t B)                                             \
    {                                                                                                                \
        int64_t p = 0;                                                                                               \
        if (B == 1) {                                                                                                \
            const int64_t n_tiles = n_panels / LI_PANELS4;                                                           \
            for (int64_t i = 0; i < n_tiles; i++) {                                                                  \
                const int64_t tile = s->cell.back ? n_tiles - 1 - i : i;                                                  \
                li_##kind##_one(s, tile * LI_PANELS4, 0, LI_PANELS4);                                                \
            }                                                                                                        \
            p = n_tiles * LI_PANELS4;                                                                                \
        }                                                                                                            \
        for (; p < n_panels; p++) {                                                                                  \
            for (int64_t n = 0, N; n < B; n += N) {                                                                  \
                N = li_next_many(B - n);                                                                             \
                if (N == 1) {                                                                                        \
                    li_##kind##_one(s, p, n, 1);                                                                     \
                } else {                                                                                             \
                    li_##kind##_many(s, p, n, N);                                                                    \
                }                                                                                                    \
            }                                                                                                        \
        }                                                                                                            \
    }

LI_STEP(li_lstm_step, lstm)
LI_STEP(li_gru_step, gru)
LI_STEP(li_gru0_gates, gru0)

/* linear_before_reset = 0: ht = g(Xt Wh + (rt . Ht-1) Rh + Rbh + Wbh), in three passes */
LI_NOINLINE void li_gru0_step(const li_layer *s, int64_t n_panels, int64_t B)
{
    const li_act *act = s->cell.a->act;
    const int64_t row = 3 * s->cell.H_pad;
    float *z = s->cell.part, *zh = s->cell.part + s->cell.H_pad, *rh = s->cell.part + 2 * s->cell.H_pad;
    li_term r_h = s->r_h;
    const li_reader each = li_reader_each(s->of_h);
    li_gru0_gates(s, n_panels, B);
    for (int64_t n = 0; n < B; n++) {
        for (int64_t u = 0; u < s->cell.H; u += LI_W) {
            const vf h = li_load_left(s->cell.h + n * s->cell.h_col + u, s->cell.H - u);
            float *at = rh + n * row + u;
            v_store(at, v_mul(li_act_apply(&act[0], li_clip(&s->cell, v_load(at))), h));
        }
    }
    li_see(&r_h, &each, rh, row, B);
    const li_gates sums = {
        .a = r_h,
        .init = zh, .init_col = row, .init_panel = LI_UNITS,
        .z = zh, .z_col = row, .z_panel = LI_UNITS,
    };
    li_gates_1(&sums, n_panels, B);
    for (int64_t n = 0; n < B; n++) {
        for (int64_t u = 0; u < s->cell.H; u += LI_W) {
            const vf h = li_load_left(s->cell.h + n * s->cell.h_col + u, s->cell.H - u);
            const vf h_hat = li_act_apply(&act[1], li_clip(&s->cell, v_load(zh + n * row + u)));
            const vf gate = li_act_apply(&act[0], li_clip(&s->cell, v_load(z + n * row + u)));
            li_put_h(&s->cell, u, n, li_gru_mix(gate, h_hat, h), s->cell.H - u);
        }
    }
}

/* Ht = f(Xt W + Ht-1 R + b): sums into the new h, then the activation over it */
LI_NOINLINE void li_rnn_step(const li_layer *s, int64_t n_panels, int64_t B)
{
    const li_gates sums = {
        .a = s->w, .b = s->r,
        .init = s->cell.init, .init_col = s->cell.init_col, .init_panel = s->cell.init_panel,
        .z = s->cell.h_new, .z_col = s->cell.H_pad, .z_panel = LI_UNITS,
    };
    li_gates_1(&sums, n_panels, B);
    for (int64_t n = 0; n < B; n++) {
        for (int64_t u = 0; u < s->cell.H; u += LI_W) {
            const vf z = li_clip(&s->cell, v_load(s->cell.h_new + n * s->cell.H_pad + u));
            li_put_h(&s->cell, u, n, s->cell.plain ? li_tanh(z) : li_act_apply(&s->cell.a->act[0], z), s->cell.H - u);
        }
    }
}

/* ---- T steps ---- */

/* One run of T steps in lockstep: x and y point at the first step taken, x_t and y_t may be negative. */
typedef struct li_run {
    const li_recur_args *a;
    const float *x;
    float *y, *h, *scratch;
    int64_t T, B, x_t, y_t;
    int gates;       /* of w: 4 lstm, 3 gru, 1 rnn */
    int64_t in_place; /* panels up to which one tile reads all of h before it writes any */
    li_step_fn step;
} li_run;

LI_INLINE void li_gates_any(const li_gates *s, int64_t n_panels, int64_t n_cols, int gates)
{
    if (gates == 4) {
        li_gates_4(s, n_panels, n_cols);
    } else if (gates == 3) {
        li_gates_3(s, n_panels, n_cols);
    } else {
        li_gates_1(s, n_panels, n_cols);
    }
}

/* z[t][b] = bias + x[t][b] w for `steps` steps; columns are walked along t or b, whichever is longer. */
LI_NOINLINE void li_project(const li_run *run, const li_layer *s, const float *x, int64_t steps, float *z)
{
    const int64_t n_panels = s->cell.H_pad / LI_UNITS, B = run->B, x_b = run->a->x_b;
    const int64_t row = run->gates * s->cell.H_pad;
    li_gates g = {
        .a = s->w,
        .init = s->cell.bias, .init_panel = (run->gates == 3 ? 4 : run->gates) * LI_UNITS,
        .z_panel = run->gates * LI_UNITS,
    };
    g.a.K = run->a->I;
    if (li_see_steps(&g.a, &s->of_x, x, run->x_t, steps, x_b, B)) {
        g.z = z;
        g.z_col = row;
        li_gates_any(&g, n_panels, steps * B, run->gates);
        return;
    }
    const int along_t = steps > B;
    for (int64_t i = 0; i < (along_t ? B : steps); i++) {
        li_see(&g.a, &s->of_x, x + i * (along_t ? x_b : run->x_t), along_t ? run->x_t : x_b, along_t ? steps : B);
        g.z = z + i * (along_t ? row : B * row);
        g.z_col = along_t ? B * row : row;
        li_gates_any(&g, n_panels, along_t ? steps : B, run->gates);
    }
}

LI_INLINE void li_run_steps(const li_run *run, li_layer *s)
{
    const int64_t n_panels = s->cell.H_pad / LI_UNITS, B = run->B, T = run->T, h_b = run->a->h_b;
    const int64_t block = li_recur_block(run->gates, T, B, s->cell.H), row = run->gates * s->cell.H_pad;
    const int64_t in_place = (B == 1 || LI_BYTES) && n_panels <= run->in_place;
    float *h[2] = {run->scratch, run->scratch + B * s->cell.H_pad};
    float *z = run->scratch + 6 * B * s->cell.H_pad;
    s->cell.part = run->scratch + 2 * B * s->cell.H_pad;
    s->cell.h = run->h;
    s->cell.h_col = h_b;
    for (int64_t t = 0; t < T; t++) {
        if (block > 0) {
            if (t % block == 0) {
                li_project(run, s, run->x + t * run->x_t, T - t < block ? T - t : block, z);
                s->w.K = 0;
                s->cell.init_col = row;
                s->cell.init_panel = run->gates * LI_UNITS;
            }
            s->cell.init = z + t % block * B * row;
        }
        if (s->w.K > 0) { li_see(&s->w, &s->of_x, run->x + t * run->x_t, run->a->x_b, B); }
        li_see(&s->r, &s->of_h, s->cell.h, s->cell.h_col, B);
        s->cell.h_new = in_place ? run->h : h[t & 1];
        s->cell.h_new_col = in_place ? h_b : s->cell.H_pad;
        s->cell.y = run->y ? run->y + t * run->y_t : 0;
        s->cell.back = t & 1;
        run->step(s, n_panels, B);
        s->cell.h = s->cell.h_new;
        s->cell.h_col = s->cell.h_new_col;
    }
    if (!in_place) { li_copy_rows(run->h, h_b, s->cell.h, s->cell.H_pad, B, s->cell.H); }
}

/* Rows of different length run one stream after the other: the bits do not depend on company. A length that is used is
 * read once and checked then: the array may be the caller's, and change after the first look at all of them. */
LI_NOINLINE li_status li_run_lens(const li_run *whole, const li_layer *layer, const int32_t *lens)
{
    const li_recur_args *a = whole->a;
    for (int64_t b = 0; b < a->B; b++) {
        li_run run = *whole;
        li_layer s = *layer;
        const int64_t n = ((const volatile int32_t *)lens)[b];
        if (n < 0 || n > a->T) { return LI_ERR_LENGTH; }
        run.T = n;
        run.B = 1;
        run.x += b * a->x_b + (a->reverse ? (n - 1) * a->x_t : 0);
        run.h += b * a->h_b;
        if (s.cell.c) { s.cell.c += b * a->c_b; }
        if (run.y) {
            float *y = run.y + b * a->y_b;
            for (int64_t t = n; t < a->T; t++) {
                for (int64_t u = 0; u < s.cell.H; u += LI_W) { li_store_left(y + t * a->y_t + u, v_zero(), s.cell.H - u); }
            }
            run.y = y + (a->reverse ? (n - 1) * a->y_t : 0);
        }
        if (n > 0) { li_run_steps(&run, &s); }
    }
    return LI_OK;
}

#if LI_BYTES
#define LI_IN_PLACE INT64_MAX /* what is summed over h is a copy */
typedef li_recur_i8_args li_slot_args;
LI_INLINE const li_recur_args *li_layer_args(const li_slot_args *args) { return &args->layer; }
LI_INLINE void li_readers(li_layer *s, const li_slot_args *args, int gates, const float *x, float *scratch)
{
    const li_recur_args *a = &args->layer;
    const li_quantiser how = {.mode = args->quantize, .zeros = args->weight_zeros};
    s->of_h.how = how;
    s->of_h.room = (int32_t *)(void *)(scratch + li_recur_floats(gates, a->T, a->B, a->H));
    s->of_x.how = li_quantise_all(how, x, a->T, a->x_t, a->B, a->x_b, 1, a->I);
    s->of_x.room = s->of_h.room + a->B * li_input_row(a->H);
}
#else
#define LI_IN_PLACE LI_PANELS4
typedef li_recur_args li_slot_args;
LI_INLINE const li_recur_args *li_layer_args(const li_slot_args *args) { return args; }
LI_INLINE void li_readers(li_layer *s, const li_slot_args *args, int gates, const float *x, float *scratch)
{
    (void)s, (void)args, (void)gates, (void)x, (void)scratch;
}
#endif

LI_INLINE li_status li_recur(const li_slot_args *args, char *const *base, int gates, int64_t in_place, int64_t plain, li_step_fn step)
{
    const li_recur_args *a = li_layer_args(args);
    const int64_t H_pad = li_pad_units(a->H), bias_gates = gates == 3 ? 4 : gates;
    const int32_t *lens = li_at(a->lens, base);
    const float *bias = li_at(a->bias, base), *peephole = li_at(a->peephole, base);
    if (a->T <= 0 || a->B <= 0) { return LI_OK; }
    li_layer s = {
        .w = {.w = li_at(a->w, base), .panel = a->w_panel, .row = gates * LI_UNITS, .step = 1, .K = a->I},
        .r = {.w = li_at(a->r, base), .panel = a->r_panel, .row = gates * LI_UNITS, .step = 1, .K = a->H},
    };
    s.cell = (li_cell){
        .a = a,
        .init = bias, .init_panel = bias_gates * LI_UNITS,
        .bias = bias, .peephole = peephole,
        .c = li_at(a->c, base), .c_col = a->c_b, .y_col = a->y_b,
        .H = a->H, .H_pad = H_pad,
        .plain = plain && a->clip == 0.0 && !a->input_forget && !peephole,
        .clip = (float)a->clip,
    };
    li_run run = {
        .a = a,
        .x = li_at(a->x, base), .y = li_at(a->y, base), .h = li_at(a->h, base), .scratch = li_at(a->scratch, base),
        .T = a->T, .B = a->B,
        .x_t = a->reverse ? -a->x_t : a->x_t, .y_t = a->reverse ? -a->y_t : a->y_t,
        .gates = gates, .in_place = in_place, .step = step,
    };
    li_readers(&s, args, gates, run.x, run.scratch);
    if (a->r_h.base >= 0) {
        s.r.row = 2 * LI_UNITS;
        s.r_h = (li_term){.w = li_at(a->r_h, base), .panel = a->r_h_panel, .row = LI_UNITS, .step = 1, .K = a->H};
    }
    if (lens) {
        for (int64_t b = 0; b < a->B; b++) {
            if (lens[b] < 0 || lens[b] > a->T) { return LI_ERR_LENGTH; }
        }
        return li_run_lens(&run, &s, lens);
    }
    if (a->reverse) {
        run.x += (a->T - 1) * a->x_t;
        run.y = run.y ? run.y + (a->T - 1) * a->y_t : 0;
    }
    li_run_steps(&run, &s);
    return LI_OK;
}

li_status LI_SLOT_OF(lstm)(const void *args, char *const *base)
{
    const li_act *act = li_layer_args(args)->act;
    const int plain = act[0].code == LI_ACT_SIGMOID && act[1].code == LI_ACT_TANH && act[2].code == LI_ACT_TANH;
    return li_recur(args, base, 4, LI_IN_PLACE, plain, li_lstm_step);
}

li_status LI_SLOT_OF(gru)(const void *args, char *const *base)
{
    const li_recur_args *a = li_layer_args(args);
    const int plain = a->act[0].code == LI_ACT_SIGMOID && a->act[1].code == LI_ACT_TANH;
    if (!a->linear_before_reset) { return li_recur(args, base, 3, 0, plain, li_gru0_step); }
    return li_recur(args, base, 3, LI_IN_PLACE, plain, li_gru_step);
}

li_status LI_SLOT_OF(rnn)(const void *args, char *const *base)
{
    return li_recur(args, base, 1, 0, li_layer_args(args)->act[0].code == LI_ACT_TANH, li_rnn_step);
}
#undef LI_IN_PLACE
