/* A plan: slots with their arguments, run in order over one table of base addresses. Knows no operator by name. */
#ifndef LI_PLAN_H
#define LI_PLAN_H

#include "li_kernels.h"

typedef struct li_step {
    li_slot_fn fn;
    const void *args; /* record or words of the slot; outlives the plan */
} li_step;

/* Runs the steps; stops at the first that fails. Returns 0, or (step index << 8) | li_status. A plan is immutable:
 * any number of threads may run it at once, each over its own arena. Rounding and denormals are IEEE inside: a
 * caller's flush-to-zero mode is saved, cleared and restored. */
int64_t li_plan_run(const li_step *steps, int64_t n_steps, char *const *base);

#endif
