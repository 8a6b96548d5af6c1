/* The hot loop of 8-bit numbers: sums in int32, all K of them, then one term for each chain. Names and places as in chain.h. */
LI_INLINE void li_tile_bytes(int32_t *sums, const int N, const int P, const int V, const int G, const li_term *t, int64_t row)
{
    const li_weight *w[8];
    const li_input *x[LI_COLS];
    vs sum[LI_ACC > 16 ? LI_ACC : 16];
    LI_UNROLL for (int p = 0; p < P; p++) { w[p] = t->w + p * t->panel + 3 * row; }
    LI_UNROLL for (int n = 0; n < N; n++) { x[n] = t->x + n * t->col + LI_HEAD; }
    LI_UNROLL for (int i = 0; i < N * P * G * V; i++) { sum[i] = vs_of(vi_set1(0)); }
    const int64_t end = (t->K + 3) / 4 * LI_PARTS;
    for (int64_t at = 0; at < end; at += LI_PARTS) {
        if (N == 1) { /* a weight is read once for all its parts */
            LI_UNROLL for (int i = 0; i < P * G * V; i++) {
                const li_weight *from = w[i / (G * V)] + i / V % G * LI_UNITS + i % V * LI_W;
                LI_UNROLL for (int part = 0; part < LI_PARTS; part++) {
                    sum[i] = vb_dot(sum[i], vb_weights(from, part), vi_set1(x[0][at + part]));
                }
            }
        } else if (P * G * V < N) {
            LI_UNROLL for (int part = 0; part < LI_PARTS; part++) {
                vi ws[LI_COLS];
                LI_UNROLL for (int i = 0; i < P * G * V; i++) {
                    ws[i] = vb_weights(w[i / (G * V)] + i / V % G * LI_UNITS + i % V * LI_W, part);
                }
                LI_UNROLL for (int n = 0; n < N; n++) {
                    const vi xn = vi_set1(x[n][at + part]);
                    LI_UNROLL for (int i = 0; i < P * G * V; i++) { sum[n * P * G * V + i] = vb_dot(sum[n * P * G * V + i], ws[i], xn); }
                }
            }
        } else {
            LI_UNROLL for (int part = 0; part < LI_PARTS; part++) {
                vi xs[LI_COLS];
                LI_UNROLL for (int n = 0; n < N; n++) { xs[n] = vi_set1(x[n][at + part]); }
                LI_UNROLL for (int i = 0; i < P * G * V; i++) {
                    const vi weight = vb_weights(w[i / (G * V)] + i / V % G * LI_UNITS + i % V * LI_W, part);
                    LI_UNROLL for (int n = 0; n < N; n++) { sum[n * P * G * V + i] = vb_dot(sum[n * P * G * V + i], weight, xs[n]); }
                }
            }
        }
        LI_UNROLL for (int p = 0; p < P; p++) { w[p] += row; }
    }
    LI_UNROLL for (int i = 0; i < N * P * G * V; i++) { vi_store(sums + i * LI_W, vi_of(sum[i])); }
}

#if LI_PARTS == 2
/* The same for one column, whose inputs lie otherwise. */
LI_INLINE void li_tile_alone(int32_t *sums, const int P, const int V, const int G, const li_term *t, int64_t row)
{
    const li_weight *w[8];
    const li_input *x = t->x + LI_HEAD, *end = x + (t->K + 3) / 4 * 2;
    vs sum[16];
    LI_UNROLL for (int p = 0; p < P; p++) { w[p] = t->w + p * t->panel + 3 * row; }
    LI_UNROLL for (int i = 0; i < P * G * V; i++) { sum[i] = vs_of(vi_set1(0)); }
    do {
        const vi up = vi_set1(x[0]), down = vi_set1(x[1]);
        LI_UNROLL for (int i = 0; i < P * G * V; i++) {
            sum[i] = vb_dot_alone(sum[i], vi_load(w[i / (G * V)] + i / V % G * LI_UNITS + i % V * LI_W), up, down);
        }
        LI_UNROLL for (int p = 0; p < P; p++) { w[p] += row; }
        x += 2;
    } while (x < end); /* K > 0 */
    LI_UNROLL for (int i = 0; i < P * G * V; i++) { vi_store(sums + i * LI_W, vi_of(sum[i])); }
}
#endif

LI_INLINE void li_tile_chain(vf *acc, const int N, const int P, const int V, const int A, const int G, const int last,
                             const li_term *t, int64_t row)
{
    int32_t sums[(LI_ACC > 16 ? LI_ACC : 16) * LI_W];
    float held[(LI_ACC > 16 ? LI_ACC : 16) * LI_W]; /* no chain takes a register from the sums */
    if (t->K == 0) { return; }
    LI_UNROLL for (int i = 0; i < N * P * V * A; i++) { v_store(held + i * LI_W, acc[i]); }
    LI_FENCE(held);
#if LI_PARTS == 2
    if (N == 1 && t->x[3]) {
        li_tile_alone(sums, P, V, G, t, row);
    } else
#endif
    {
        li_tile_bytes(sums, N, P, V, G, t, row);
    }
    LI_FENCE(sums);
    LI_UNROLL for (int i = 0; i < N * P * V * A; i++) { acc[i] = v_load(held + i * LI_W); }
    LI_UNROLL for (int n = 0; n < N; n++) {
        const li_input *x = t->x + n * t->col;
        const vf scale = v_float(vi_set1(x[0]));
        const vi zero = vi_set1(x[1]), total = vi_set1(x[2]);
        LI_UNROLL for (int i = 0; i < P * G * V; i++) {
            const li_weight *unit = t->w + i / (G * V) * t->panel + i / V % G * LI_UNITS + i % V * LI_W;
            const int a = LI_AT(n, i / (G * V), i / V % G == G - 1 ? last : i / V % G, i % V);
            vi s = vi_sub(vi_load(sums + (n * P * G * V + i) * LI_W), vi_mul(zero, vi_load(unit + row)));
            if (t->zeros) { s = vi_sub(s, vi_mul(total, vi_load(unit + 2 * row))); }
            acc[a] = v_fma(v_to_f(s), v_mul(scale, v_float(vi_load(unit))), acc[a]);
        }
    }
}

LI_INLINE void li_tile_terms(vf *acc, const int N, const int P, const int V, const int A, const int G, const int last,
                             const li_term *t, int64_t row, const int TABLE)
{
    (void)TABLE; /* inputs lie one behind the other */
    li_tile_chain(acc, N, P, V, A, G, last, t, row);
}

/* ---- inputs of a term: n columns, quantised into the reader's room ---- */

typedef struct li_reader {
    li_quantiser how;
    int32_t *room;
} li_reader;

/* The same with a scale for each row. */
LI_INLINE li_reader li_reader_each(li_reader reader)
{
    if (reader.how.mode == LI_QUANT_ALL_U8) { reader.how.mode = LI_QUANT_ROW_U8; }
    return reader;
}

LI_INLINE void li_see(li_term *t, const li_reader *reader, const float *x, int64_t col, int64_t n)
{
    li_quantiser how = li_quantise_all(reader->how, x, 1, 0, n, col, 1, t->K);
    how.alone = n == 1;
    li_quantise_rows(reader->room, how, x, col, n, 1, t->K);
    t->x = reader->room;
    t->col = li_input_row(t->K);
    t->zeros = how.zeros;
}

/* The same of `steps` times n columns. Do they now lie evenly, one behind the other. */
LI_INLINE int li_see_steps(li_term *t, const li_reader *reader, const float *x, int64_t step, int64_t steps, int64_t col, int64_t n)
{
    const int64_t row = li_input_row(t->K);
    li_quantiser how = reader->how;
    how.alone = steps * n == 1;
    for (int64_t i = 0; i < steps; i++) { li_quantise_rows(reader->room + i * n * row, how, x + i * step, col, n, 1, t->K); }
    t->x = reader->room;
    t->col = row;
    t->zeros = reader->how.zeros;
    return 1;
}
