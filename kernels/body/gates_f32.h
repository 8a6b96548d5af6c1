/* The micro-kernel: a tile of sums, each one chain of fused multiply-adds with k ascending.
 *
 *   tile = N columns x P panels x V vectors of the 16 units x A accumulators per unit, all in registers
 *   a chain of K terms adds, for every k, G weight gates to G of the A accumulators (the last one may go elsewhere:
 *   gru keeps the r part of gate h apart)
 *
 * N P V A G are constants at every call, so that the loops over them vanish. However a product is cut into tiles,
 * every sum sees the same operations in the same order: that is the whole of the bit-for-bit promise.
 *
 * Registers: N = 1 wants about 8 independent chains to hide the latency of the multiply-add; many columns want each
 * weight used N times, with accumulators, N broadcasts and one weight (or the reverse) in registers. */

#if LI_R >= 32
#define LI_ACC 24 /* accumulators of a tile with many columns: 6 columns x 4 vectors */
#else
#define LI_ACC 12 /* 6 columns x 2 vectors */
#endif
#define LI_COLS 6               /* most columns of a tile */
#define LI_PANELS1 (8 / LI_V)   /* panels of a single column, 1 accumulator per unit */
#define LI_PANELS4 (8 / LI_V >= 8 ? 2 : 1) /* the same with 4 */
#define LI_PANELSN (LI_ACC / LI_COLS / LI_V > 0 ? LI_ACC / LI_COLS / LI_V : 1) /* many columns, 1 accumulator */

/* K terms: weights w (panels `panel` floats apart, rows of one k `row` floats apart), inputs x (columns `col` apart,
 * k `step` apart, or input k at x + at[k]). */
typedef struct li_term {
    const float *w;
    int64_t panel, row;
    const float *x;
    int64_t col, step;
    int64_t K;
    const int64_t *at; /* only where a tile is made with TABLE */
} li_term;

/* The same terms seen from panel p, column n, weight gate `gate`. */
LI_INLINE li_term li_term_at(li_term t, int64_t p, int64_t n, int64_t gate)
{
    t.w += p * t.panel + gate * LI_UNITS;
    t.x += n * t.col;
    return t;
}

/* Index of an accumulator of a tile. */
#define LI_AT(n, p, a, v) ((((n) * P + (p)) * A + (a)) * V + (v))

/* The first G of the A accumulators = init: [col][panel][G][16], columns init_col and panels init_panel apart.
 * */
LI_INLINE void li_tile_init(vf *acc, const int N, const int P, const int V, const int A, const int G,
                            const float *init, int64_t init_col, int64_t init_panel)
{
    LI_UNROLL for (int n = 0; n < N; n++) {
        LI_UNROLL for (int p = 0; p < P; p++) {
            LI_UNROLL for (int a = 0; a < G; a++) {
                LI_UNROLL for (int v = 0; v < V; v++) {
                    acc[LI_AT(n, p, a, v)] = v_load(init + n * init_col + p * init_panel + a * LI_UNITS + v * LI_W);
                }
            }
        }
    }
}

/* The hot loop. Weight gate g goes to accumulator g, the last of the G to accumulator `last`. TABLE: inputs by t->at. */
LI_INLINE void li_tile_terms(vf *acc, const int N, const int P, const int V, const int A, const int G, const int last,
                             const li_term *t, int64_t row, const int TABLE)
{
    const float *w[8], *x[LI_COLS];
    LI_UNROLL for (int p = 0; p < P; p++) { w[p] = t->w + p * t->panel; }
    LI_UNROLL for (int n = 0; n < N; n++) { x[n] = t->x + n * t->col; }
    const int64_t K = t->K, step = t->step;
    int64_t at = 0;
    for (int64_t k = 0; k < K; k++) {
        if (TABLE) { at = t->at[k]; }
        if (P * G * V < N) { /* fewer weights than columns: weights stay in registers */
            vf ws[LI_COLS];
            LI_UNROLL for (int i = 0; i < P * G * V; i++) {
                ws[i] = v_load(w[i / (G * V)] + i / V % G * LI_UNITS + i % V * LI_W);
            }
            LI_UNROLL for (int n = 0; n < N; n++) {
                const vf xn = v_set1(x[n][at]);
                LI_UNROLL for (int i = 0; i < P * G * V; i++) {
                    const int a = LI_AT(n, i / (G * V), i / V % G == G - 1 ? last : i / V % G, i % V);
                    acc[a] = v_fma(ws[i], xn, acc[a]);
                }
            }
        } else { /* inputs stay in registers */
            vf xs[LI_COLS];
            LI_UNROLL for (int n = 0; n < N; n++) { xs[n] = v_set1(x[n][at]); }
            LI_UNROLL for (int i = 0; i < P * G * V; i++) {
                const vf weight = v_load(w[i / (G * V)] + i / V % G * LI_UNITS + i % V * LI_W);
                LI_UNROLL for (int n = 0; n < N; n++) {
                    const int a = LI_AT(n, i / (G * V), i / V % G == G - 1 ? last : i / V % G, i % V);
                    acc[a] = v_fma(weight, xs[n], acc[a]);
                }
            }
        }
        LI_UNROLL for (int p = 0; p < P; p++) { w[p] += row; }
        if (!TABLE) { at += step; }
    }
}

LI_INLINE void li_tile_chain(vf *acc, const int N, const int P, const int V, const int A, const int G, const int last,
                             const li_term *t, int64_t row)
{
    li_tile_terms(acc, N, P, V, A, G, last, t, row, 0);
}

/* z = acc: the layout of init. */
LI_INLINE void li_tile_store(float *z, const vf *acc, const int N, const int P, const int V, const int A,
                             int64_t z_col, int64_t z_panel)
{
    LI_UNROLL for (int n = 0; n < N; n++) {
        LI_UNROLL for (int p = 0; p < P; p++) {
            LI_UNROLL for (int a = 0; a < A; a++) {
                LI_UNROLL for (int v = 0; v < V; v++) {
                    v_store(z + n * z_col + p * z_panel + a * LI_UNITS + v * LI_W, acc[LI_AT(n, p, a, v)]);
                }
            }
        }
    }
}

/* z = init + w x: all panels, n columns, G accumulators per unit stored as they are. One call reads each panel of
 * weights once, while it is in cache for all the columns. */
typedef struct li_gates {
    li_term a, b; /* b follows a in the same chain; K may be 0 */
    const float *init;
    int64_t init_col, init_panel;
    float *z;
    int64_t z_col, z_panel;
} li_gates;

LI_INLINE void li_gates_tile(const li_gates *s, int64_t p, int64_t n, const int N, const int P, const int V,
                             const int G, const int TABLE)
{
    vf acc[LI_ACC > 16 ? LI_ACC : 16];
    li_term t = li_term_at(s->a, p, n, 0);
    li_tile_init(acc, N, P, V, G, G, s->init + n * s->init_col + p * s->init_panel, s->init_col, s->init_panel);
    li_tile_terms(acc, N, P, V, G, G, G - 1, &t, G == 1 ? t.row : G * LI_UNITS, TABLE);
    if (!TABLE && s->b.K > 0) {
        t = li_term_at(s->b, p, n, 0);
        li_tile_chain(acc, N, P, V, G, G, G - 1, &t, G == 1 ? t.row : G * LI_UNITS);
    }
    li_tile_store(s->z + n * s->z_col + p * s->z_panel, acc, N, P, V, G, s->z_col, s->z_panel);
}

/* N becomes a constant: TILE(1) .. TILE(most columns). */
#define LI_BY_COLS(N, TILE)                                                                                          \
    switch (N) {                                                                                                     \
    case 1: TILE(1); break;                                                                                          \
    case 2: TILE(2); break;                                                                                          \
    case 3: TILE(3); break;                                                                                          \
    case 4: TILE(4); break;                                                                                          \
    case 5: TILE(5); break;                                                                                          \
    default: TILE(6); break;                                                                                         \
    }

/* Columns of the next tile: the last two tiles share what is left evenly, a lone column has too few chains. */
LI_INLINE int64_t li_next_cols(int64_t left)
{
    return left <= LI_COLS ? left : left < 2 * LI_COLS ? (left + 1) / 2 : LI_COLS;
}

LI_INLINE void li_gates_cols(const li_gates *s, int64_t p, int64_t n_cols, const int P, const int TABLE)
{
    for (int64_t n = 0, N; n < n_cols; n += N) {
        N = li_next_cols(n_cols - n);
#define LI_TILE(n_) li_gates_tile(s, p, n, n_, P, LI_V, 1, TABLE)
        LI_BY_COLS(N, LI_TILE)
#undef LI_TILE
    }
}

LI_INLINE void li_gates_single(const li_gates *s, int64_t n_panels, int64_t n_cols, const int TABLE)
{
    int64_t p = 0;
    if (n_cols == 1) {
        for (; p + LI_PANELS1 <= n_panels; p += LI_PANELS1) { li_gates_tile(s, p, 0, 1, LI_PANELS1, LI_V, 1, TABLE); }
#if LI_PANELS1 > 4
        if (p + 4 <= n_panels) { li_gates_tile(s, p, 0, 1, 4, LI_V, 1, TABLE); p += 4; }
#endif
#if LI_PANELS1 > 2
        if (p + 2 <= n_panels) { li_gates_tile(s, p, 0, 1, 2, LI_V, 1, TABLE); p += 2; }
#endif
        if (p < n_panels) { li_gates_tile(s, p, 0, 1, 1, LI_V, 1, TABLE); }
        return;
    }
#if LI_PANELSN > 1
    for (; p + LI_PANELSN <= n_panels; p += LI_PANELSN) {
        li_gates_cols(s, p, n_cols, LI_PANELSN, TABLE);
    }
#endif
    for (; p < n_panels; p++) { li_gates_cols(s, p, n_cols, 1, TABLE); }
}

LI_NOINLINE void li_gates_1(const li_gates *s, int64_t n_panels, int64_t n_cols) { li_gates_single(s, n_panels, n_cols, 0); }

/* The same for inputs that lie anywhere: a.at tells where. */
LI_NOINLINE void li_gates_at(const li_gates *s, int64_t n_panels, int64_t n_cols) { li_gates_single(s, n_panels, n_cols, 1); }

/* ---- several gates, many columns ----
 *
 * A tile holds all gates of one vector of units, for as many columns as fit the registers. Where vectors are shorter than
 * a panel, its lines are used by several tiles: the tiles of a panel then take turns over a block of k, whose weights stay
 * in L1 meanwhile. Between blocks the sums lie in z, which changes no bit. */
#if LI_V == 1
#define LI_BLOCK_K INT64_MAX
#define LI_MANY LI_COLS
#else
#define LI_BLOCK_K 64
#define LI_MANY 24 /* columns that share a block of weights */
#endif
#define LI_COLS4 (LI_ACC / 4) /* columns of a tile with 3 or 4 accumulators per unit */

/* Columns of the next pass over a panel; no lone one is left behind. */
LI_INLINE int64_t li_next_many(int64_t left)
{
    return left <= LI_MANY ? left : left < LI_MANY + LI_COLS ? (left + 1) / 2 : LI_MANY;
}

/* Columns of the next tile with 3 or 4 accumulators per unit. */
LI_INLINE int64_t li_next_cols4(int64_t left)
{
    return left <= LI_COLS4 ? left : left < 2 * LI_COLS4 ? (left + 1) / 2 : LI_COLS4;
}

/* N becomes a constant, up to LI_COLS4. */
#if LI_ACC >= 24
#define LI_BY_COLS4 LI_BY_COLS
#else
#define LI_BY_COLS4(N, TILE)                                                                                         \
    switch (N) {                                                                                                     \
    case 1: TILE(1); break;                                                                                          \
    case 2: TILE(2); break;                                                                                          \
    default: TILE(3); break;                                                                                         \
    }
#endif

/* Terms `from` .. `to` - 1, as far as there are such. */
LI_INLINE li_term li_term_part(li_term t, int64_t from, int64_t to)
{
    if (from < 0) { from = 0; }
    if (to > t.K) { to = t.K; }
    t.w += from * t.row;
    t.x += from * t.step;
    t.K = to > from ? to - from : 0;
    return t;
}

/* One vector of units of panel p: terms `from` .. `to` - 1 of columns n .. n + N - 1. Of a only, there is no b. */
LI_INLINE void li_gates_part(const li_gates *s, int64_t p, int64_t n, int64_t v, int64_t from, int64_t to, const int N,
                             const int G)
{
    vf acc[LI_ACC];
    float *z = s->z + n * s->z_col + p * s->z_panel + v * LI_W;
    li_term a = li_term_part(li_term_at(s->a, p, n, 0), from, to);
    a.w += v * LI_W;
    if (from == 0) {
        li_tile_init(acc, N, 1, 1, G, G, s->init + n * s->init_col + p * s->init_panel + v * LI_W, s->init_col, 0);
    } else {
        li_tile_init(acc, N, 1, 1, G, G, z, s->z_col, 0);
    }
    li_tile_chain(acc, N, 1, 1, G, G, G - 1, &a, G * LI_UNITS);
    li_tile_store(z, acc, N, 1, 1, G, s->z_col, 0);
}

/* Columns inside panels, so that a panel of weights is read once from far away. */
LI_INLINE void li_gates_many(const li_gates *s, int64_t n_panels, int64_t n_cols, const int G)
{
    for (int64_t p = 0; p < n_panels; p++) {
        if (n_cols == 1) {
            li_gates_tile(s, p, 0, 1, 1, LI_V, G, 0);
            continue;
        }
        for (int64_t first = 0, cols; first < n_cols; first += cols) {
            cols = li_next_many(n_cols - first);
            int64_t k = 0;
            do {
                const int64_t end = s->a.K - k > LI_BLOCK_K ? k + LI_BLOCK_K : s->a.K;
                for (int64_t n = first, N; n < first + cols; n += N) {
                    N = li_next_cols4(first + cols - n);
                    for (int64_t v = 0; v < LI_V; v++) {
#define LI_TILE(n_) li_gates_part(s, p, n, v, k, end, n_, G)
                        LI_BY_COLS4(N, LI_TILE)
#undef LI_TILE
                    }
                }
                k = end;
            } while (k < s->a.K);
        }
    }
}

LI_NOINLINE void li_gates_3(const li_gates *s, int64_t n_panels, int64_t n_cols) { li_gates_many(s, n_panels, n_cols, 3); }
LI_NOINLINE void li_gates_4(const li_gates *s, int64_t n_panels, int64_t n_cols) { li_gates_many(s, n_panels, n_cols, 4); }

static const float li_zeros[4 * LI_UNITS] = {0}; /* init of a sum without bias, init_panel = 0 */
