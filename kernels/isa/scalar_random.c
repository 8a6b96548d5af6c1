/* scalar: random and choose in plain C, one block of Philox at a time: the reference that the bodies are tested against. */
#include <string.h>

#include "../li_kernels.h"

static uint32_t mul_high(uint32_t a, uint32_t b, uint32_t *low)
{
    const uint64_t product = (uint64_t)a * b;
    *low = (uint32_t)product;
    return (uint32_t)(product >> 32);
}

/* One block: the counter becomes four random words. */
static void philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint32_t low0, low1;
        const uint32_t high0 = mul_high(0xD2511F53u, c[0], &low0), high1 = mul_high(0xCD9E8D57u, c[2], &low1);
        c[0] = high1 ^ c[1] ^ k0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ k1;
        c[3] = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

li_status li_random_scalar(const void *args, char *const *base);
li_status li_random_scalar(const void *args, char *const *base)
{
    const li_random_args *a = (const li_random_args *)args;
    float *y = (float *)li_at(a->y, base);
    uint64_t *state = (uint64_t *)li_at(a->state, base);
    for (int64_t t = 0; t < a->n_steps; t++) {
        for (int64_t b = 0; b < a->n_signals; b++) {
            const uint64_t key = state[2 * b] ^ (uint64_t)a->key, step = state[2 * b + 1] + (uint64_t)t;
            for (int64_t i = 0; i < a->n; i++) {
                const uint64_t block = (uint64_t)i / 4;
                uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)step, (uint32_t)(step >> 32)};
                philox(c, (uint32_t)key, (uint32_t)(key >> 32));
                y[(t * a->n_signals + b) * a->n + i] = (float)(c[i % 4] >> 8) / 16777216.0f;
            }
        }
    }
    for (int64_t b = 0; b < a->n_signals; b++) { state[2 * b + 1] += (uint64_t)a->advance; }
    return LI_OK;
}

li_status li_choose_scalar(const void *args, char *const *base);
li_status li_choose_scalar(const void *args, char *const *base)
{
    const li_choose_args *a = (const li_choose_args *)args;
    const float *p = (const float *)li_at(a->p, base), *u = (const float *)li_at(a->u, base);
    void *y = li_at(a->y, base);
    for (int64_t at = 0; at < a->rows * a->samples; at++) {
        const float *row = p + at / a->samples * a->n;
        double total = 0, sum = 0;
        int64_t k = 0;
        for (int64_t i = 0; i < a->n; i++) { total += row[i]; }
        while (k < a->n - 1 && !((sum += row[k]) > u[at] * total)) { k++; }
        if (a->dtype == LI_I64) {
            ((int64_t *)y)[at] = k;
        } else {
            ((int32_t *)y)[at] = (int32_t)k;
        }
    }
    return LI_OK;
}
