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

LI_INLINE void li_gates_cols(const li_gates *s, int64_t p, int64_t n_cols, const int P, const int TABLE)
{
    for (int64_t n = 0, N; n < n_cols; n += N) {
        N = li_next_cols(n_cols - n, LI_MOST1);
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

#if !LI_BYTES
/* The same for inputs that lie anywhere: a.at tells where. */
LI_NOINLINE void li_gates_at(const li_gates *s, int64_t n_panels, int64_t n_cols) { li_gates_single(s, n_panels, n_cols, 1); }
#endif

/* ---- several gates, many columns ----
 *
 * A tile holds all gates of one vector of units, for as many columns as fit the registers. Where vectors are shorter than
 * a panel, its lines are used by several tiles: the tiles of a panel then take turns over a block of k, whose weights stay
 * in L1 meanwhile. Between blocks the sums lie in z, which changes no bit. */

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
                    N = li_next_cols(first + cols - n, LI_MOST4);
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
