/* Blocks of a product: how they are cut, and their way to y. */

#define LI_BLOCK_PANELS 8 /* a block of output: finished while it is in L1 */
#define LI_BLOCK_COLS 24

/* Columns of the next block: as many as in those behind it, in whole tiles, since few columns read all weights for little. */
LI_INLINE int64_t li_block_cols(int64_t left)
{
    const int64_t blocks = (left + LI_BLOCK_COLS - 1) / LI_BLOCK_COLS, even = (left + blocks - 1) / blocks;
    return blocks == 1 ? left : (even + LI_COLS - 1) / LI_COLS * LI_COLS;
}

/* y[n][m] = act(buf[n][m]). Rows of buf are ld floats apart and hold whole vectors; buf is used up. */
LI_NOINLINE void li_finish(const li_act *act, float *buf, int64_t ld, int64_t n, int64_t m, float *y, int64_t y_row,
                           int64_t y_col)
{
    if (act->code != LI_ACT_NONE) {
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < m; j += LI_W) { v_store(buf + i * ld + j, li_act_apply(act, v_load(buf + i * ld + j))); }
        }
    }
    if (y_col == 1) {
        for (int64_t i = 0; i < n; i++) {
            int64_t j = 0;
            for (; j + LI_W <= m; j += LI_W) { v_store(y + i * y_row + j, v_load(buf + i * ld + j)); }
            if (j < m) { v_store_part(y + i * y_row + j, v_load(buf + i * ld + j), m - j); }
        }
    } else if (y_row == 1) { /* channels first: positions side by side */
        int64_t i = 0;
        for (; i + 4 <= n; i += 4) {
            int64_t j = 0;
            for (; j + 4 <= m; j += 4) { v_turn4(y + j * y_col + i, y_col, buf + i * ld + j, ld); }
            for (; j < m; j++) {
                for (int64_t q = i; q < i + 4; q++) { y[j * y_col + q] = buf[q * ld + j]; }
            }
        }
        for (; i < n; i++) {
            for (int64_t j = 0; j < m; j++) { y[j * y_col + i] = buf[i * ld + j]; }
        }
    } else {
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < m; j++) { y[i * y_row + j * y_col] = buf[i * ld + j]; }
        }
    }
}
