/* K terms: weights w (panels `panel` apart, rows of one k `row` apart), inputs x (columns `col` apart, k `step` apart, or
 * input k at x + at[k]); distances in elements. */
typedef struct li_term {
    const li_weight *w;
    int64_t panel, row;
    const li_input *x;
    int64_t col, step;
    int64_t K;
    const int64_t *at; /* only where a tile is made with TABLE */
    int64_t zeros;     /* weights of 8 bits: they have zero points */
} li_term;

/* The same terms seen from panel p, column n, weight gate `gate`. */
LI_INLINE li_term li_term_at(li_term t, int64_t p, int64_t n, int64_t gate)
{
    t.w += p * t.panel + gate * LI_UNITS;
    t.x += n * t.col;
    return t;
}

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
