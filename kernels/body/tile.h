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

/* Index of an accumulator of a tile. */
#define LI_AT(n, p, a, v) ((((n) * P + (p)) * A + (a)) * V + (v))

/* The first G of the A accumulators = init: [col][panel][G][16], columns init_col and panels init_panel apart. */
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
LI_INLINE int64_t li_next_cols(int64_t left, int64_t most)
{
    return left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
}

/* With several gates a tile holds all of one vector of units, for as many columns as fit the registers. */
#if LI_V == 1
#define LI_BLOCK_K INT64_MAX
#define LI_MANY LI_COLS
#else
#define LI_BLOCK_K 64
#define LI_MANY 24 /* columns that share a block of weights */
#endif
#define LI_COLS4 (LI_ACC / 4) /* columns of a tile with 3 or 4 accumulators per unit */
#define LI_MOST1 LI_COLS  /* what of them is used */
#define LI_MOST4 LI_COLS4

/* Columns of the next pass over a panel; no lone one is left behind. */
LI_INLINE int64_t li_next_many(int64_t left)
{
    return left <= LI_MANY ? left : left < LI_MANY + LI_COLS ? (left + 1) / 2 : LI_MANY;
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

static const float li_zeros[4 * LI_UNITS] = {0}; /* init of a sum without bias, init_panel = 0 */
