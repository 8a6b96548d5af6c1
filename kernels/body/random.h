/* random: Philox 4x32-10, several blocks at a time. choose: an index by cumulative sums. */
#ifndef LI_BODY_RANDOM_H
#define LI_BODY_RANDOM_H

#define LI_PHILOX_LANES 16 /* blocks that are made side by side, of whatever step and signal */

typedef struct li_philox_ {
    uint32_t word[4][LI_PHILOX_LANES], key[2][LI_PHILOX_LANES]; /* counters, then what they become */
    float *to[LI_PHILOX_LANES];
    int64_t n[LI_PHILOX_LANES]; /* words of a block that are wanted: 1 to 4 */
} li_philox_;

#define LI_WORD(array, l) vi_load((const int32_t *)(const void *)((array) + (l)))

/* Multipliers and Weyl constants of the paper. */
LI_INLINE void li_philox_vector_(li_philox_ *p, int64_t l)
{
    const vi m0 = vi_set1((int32_t)0xD2511F53u), m1 = vi_set1((int32_t)0xCD9E8D57u);
    const vi w0 = vi_set1((int32_t)0x9E3779B9u), w1 = vi_set1((int32_t)0xBB67AE85u);
    vi c0 = LI_WORD(p->word[0], l), c1 = LI_WORD(p->word[1], l), c2 = LI_WORD(p->word[2], l), c3 = LI_WORD(p->word[3], l);
    vi k0 = LI_WORD(p->key[0], l), k1 = LI_WORD(p->key[1], l);
    for (int round = 0; round < 10; round++) {
        const vi high0 = vi_mul_high(c0, m0), low0 = vi_mul(c0, m0), high1 = vi_mul_high(c2, m1), low1 = vi_mul(c2, m1);
        c0 = vi_xor(high1, vi_xor(c1, k0));
        c1 = low1;
        c2 = vi_xor(high0, vi_xor(c3, k1));
        c3 = low0;
        k0 = vi_add(k0, w0);
        k1 = vi_add(k1, w1);
    }
    const vi made[4] = {c0, c1, c2, c3};
    const vf unit = v_set1(0x1p-24f);
    for (int w = 0; w < 4; w++) {
        vi_store((int32_t *)(void *)(p->word[w] + l), v_bits(v_mul(v_to_f(vi_shr(made[w], 8)), unit)));
    }
}
#undef LI_WORD

/* The numbers of the first n_lanes blocks, to where they belong. */
LI_NOINLINE void li_philox_draw_(li_philox_ *p, int64_t n_lanes)
{
    for (int64_t l = 0; l < n_lanes; l += LI_W) { li_philox_vector_(p, l); }
    for (int64_t l = 0; l < n_lanes; l++) {
        uint32_t drawn[4];
        for (int w = 0; w < 4; w++) { drawn[w] = p->word[w][l]; }
        if (p->n[l] == 4) {
            memcpy(p->to[l], drawn, 16);
        } else {
            for (int64_t w = 0; w < p->n[l]; w++) { memcpy(p->to[l] + w, &drawn[w], 4); }
        }
    }
}

li_status LI_NAME(random)(const void *args, char *const *base)
{
    const li_random_args *a = (const li_random_args *)args;
    float *y = (float *)li_at(a->y, base);
    int64_t *state = (int64_t *)li_at(a->state, base);
    li_philox_ p;
    int64_t lane = 0;
    memset(&p, 0, sizeof(p)); /* vectors are whole, whatever their last lanes hold */
    for (int64_t t = 0; t < a->n_steps; t++) {
        for (int64_t b = 0; b < a->n_signals; b++, y += a->n) {
            const uint64_t key = (uint64_t)state[2 * b] ^ (uint64_t)a->key;
            const uint64_t step = (uint64_t)state[2 * b + 1] + (uint64_t)t;
            for (int64_t i = 0; i < a->n; i += 4) {
                const uint64_t counter[2] = {(uint64_t)i / 4, step};
                for (int w = 0; w < 4; w++) { p.word[w][lane] = (uint32_t)(counter[w / 2] >> (w % 2 * 32)); }
                p.key[0][lane] = (uint32_t)key;
                p.key[1][lane] = (uint32_t)(key >> 32);
                p.to[lane] = y + i;
                p.n[lane] = a->n - i < 4 ? a->n - i : 4;
                if (++lane == LI_PHILOX_LANES) {
                    li_philox_draw_(&p, lane);
                    lane = 0;
                }
            }
        }
    }
    li_philox_draw_(&p, lane);
    for (int64_t b = 0; b < a->n_signals; b++) {
        state[2 * b + 1] = (int64_t)((uint64_t)state[2 * b + 1] + (uint64_t)a->advance);
    }
    return LI_OK;
}

li_status LI_NAME(choose)(const void *args, char *const *base)
{
    const li_choose_args *a = (const li_choose_args *)args;
    const float *p = (const float *)li_at(a->p, base), *u = (const float *)li_at(a->u, base);
    char *y = (char *)li_at(a->y, base);
    for (int64_t row = 0; row < a->rows; row++, p += a->n) {
        double total = 0;
        for (int64_t k = 0; k < a->n; k++) { total += (double)p[k]; }
        for (int64_t s = 0; s < a->samples; s++, u++) {
            const double part = (double)*u * total;
            double sum = 0;
            int64_t k = 0;
            for (; k < a->n - 1; k++) {
                sum += (double)p[k];
                if (sum > part) { break; }
            }
            if (a->dtype == LI_I64) {
                memcpy(y, &k, 8);
            } else {
                const int32_t narrow = (int32_t)k;
                memcpy(y, &narrow, 4);
            }
            y += a->dtype == LI_I64 ? 8 : 4;
        }
    }
    return LI_OK;
}

#endif
