#if LI_HALVES
/* One column, as li_tile_terms, in vectors of half the width. */
LI_INLINE void li_column_terms(vf *acc, const int P, const int V, const int A, const int G, const int last, const li_term *t, int64_t row,
                               const int TABLE)
{
    const li_weight *w[8];
    vh low[16], high[16];
    LI_UNROLL for (int p = 0; p < P; p++) { w[p] = t->w + p * t->panel; }
    LI_UNROLL for (int i = 0; i < P * G * V; i++) {
        const int a = LI_AT(0, i / (G * V), i / V % G == G - 1 ? last : i / V % G, i % V);
        low[i] = v_low(acc[a]);
        high[i] = v_high(acc[a]);
    }
    const int64_t K = t->K;
    for (int64_t k = 0, at = 0; k < K; k++, at += t->step) {
        const vh x = vh_set1(t->x[TABLE ? t->at[k] : at]);
        LI_UNROLL for (int i = 0; i < P * G * V; i++) {
            const li_weight *from = w[i / (G * V)] + i / V % G * LI_UNITS + i % V * LI_W;
            low[i] = vh_fma(vh_load_f16(from), x, low[i]);
            high[i] = vh_fma(vh_load_f16(from + LI_W / 2), x, high[i]);
        }
        LI_UNROLL for (int p = 0; p < P; p++) { w[p] += row; }
    }
    LI_UNROLL for (int i = 0; i < P * G * V; i++) {
        acc[LI_AT(0, i / (G * V), i / V % G == G - 1 ? last : i / V % G, i % V)] = v_join(low[i], high[i]);
    }
}
#endif

/* The hot loop. Weight gate g goes to accumulator g, the last of the G to accumulator `last`. TABLE: inputs by t->at. */
LI_INLINE void li_tile_terms(vf *acc, const int N, const int P, const int V, const int A, const int G, const int last,
                             const li_term *t, int64_t row, const int TABLE)
{
#if LI_HALVES
    if (N == 1) {
        li_column_terms(acc, P, V, A, G, last, t, row, TABLE);
        return;
    }
#endif
    const li_weight *w[8];
    const li_input *x[LI_COLS];
    LI_UNROLL for (int p = 0; p < P; p++) { w[p] = t->w + p * t->panel; }
    LI_UNROLL for (int n = 0; n < N; n++) { x[n] = t->x + n * t->col; }
    const int64_t K = t->K, step = t->step;
    int64_t at = 0;
    for (int64_t k = 0; k < K; k++) {
        if (TABLE) { at = t->at[k]; }
        if (P * G * V < N) { /* fewer weights than columns: weights stay in registers */
            vf ws[LI_COLS];
            LI_UNROLL for (int i = 0; i < P * G * V; i++) {
                ws[i] = li_weights(w[i / (G * V)] + i / V % G * LI_UNITS + i % V * LI_W);
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
                const vf weight = li_weights(w[i / (G * V)] + i / V % G * LI_UNITS + i % V * LI_W);
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

/* ---- inputs of a term: n columns, read where they are ---- */

typedef struct li_reader {
    char none;
} li_reader;

LI_INLINE li_reader li_reader_each(li_reader reader) { return reader; }

LI_INLINE void li_see(li_term *t, const li_reader *reader, const float *x, int64_t col, int64_t n)
{
    (void)reader, (void)n;
    t->x = x;
    t->col = col;
}

/* The same of `steps` times n columns. Do they lie evenly, one behind the other. */
LI_INLINE int li_see_steps(li_term *t, const li_reader *reader, const float *x, int64_t step, int64_t steps, int64_t col, int64_t n)
{
    (void)reader, (void)steps;
    t->x = x;
    t->col = n == 1 ? step : col;
    return n == 1 || step == n * col;
}
