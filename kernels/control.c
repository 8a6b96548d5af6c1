/* Loops and branches of a plan: they run lists of steps and compute nothing themselves. */
#include <stddef.h>

#include "li_plan.h"

li_status li_loop(const void *args, char *const *base)
{
    const li_loop_args *a = (const li_loop_args *)args;
    char **table = (char **)li_at(a->table, base);
    const int64_t *trips = (const int64_t *)li_at(a->trips, base);
    const uint8_t *go = (const uint8_t *)li_at(a->go, base);
    int64_t *iter = (int64_t *)li_at(a->iter, base);
    int64_t i = 0;
    for (int64_t b = 0; b < a->n_base; b++) { table[b] = base[b]; }
    for (int64_t s = 0; s < a->n_slices; s++) { table[a->n_base + s] = (char *)li_at(a->slice[s].at, base); }
    for (; (!trips || i < *trips) && (!go || *go); i++) {
        if (i >= a->limit) { return LI_ERR_LIMIT; }
        if (iter) { *iter = i; }
        const int64_t code = li_steps_run(a->body->step, a->body->n, table);
        if (code) { return (li_status)(code & 0xff); }
        for (int64_t s = 0; s < a->n_slices; s++) { table[a->n_base + s] += a->slice[s].advance; }
    }
    return LI_OK;
}

li_status li_branch(const void *args, char *const *base)
{
    const li_branch_args *a = (const li_branch_args *)args;
    const li_steps *taken = a->taken[*(const uint8_t *)li_at(a->cond, base) != 0];
    if (taken->n < 0) { return LI_ERR_BRANCH; }
    return (li_status)(li_steps_run(taken->step, taken->n, base) & 0xff);
}
