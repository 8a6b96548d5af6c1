/* A plan: slots with their arguments, run in order over one table of base addresses. Knows no operator by name. */
#ifndef LI_PLAN_H
#define LI_PLAN_H

#include "li_kernels.h"

typedef struct li_step {
    li_slot_fn fn;
    const void *args; /* record or words of the slot; outlives the plan */
} li_step;

typedef struct li_steps {
    const li_step *step;
    int64_t n;
} li_steps;

/* ---- loop: the steps of a body, over and over ------------------------------------------------------------
 * A step like any other (li_loop as its function), compiled once: it computes nothing itself.
 * Before each iteration i (0, 1, ...) it stops where i == *trips (absent: no count), or *go == 0 (absent: always
 * true). LI_ERR_LIMIT where i == limit would begin. The number of the iteration is written to *iter (may be absent).
 * table: scratch of n_base + n_slices pointers. The body sees the n_base addresses of the caller, then one for each
 * slice, which lies at `at` in the first iteration and `advance` bytes further in each next one. */
typedef struct li_slice {
    li_ref at;
    int64_t advance;
} li_slice;

typedef struct li_loop_args {
    const li_steps *body;
    li_ref table, trips, go, iter; /* int64 trips and iter; go is a bool */
    int64_t limit, n_base, n_slices;
    li_slice slice[1]; /* n_slices of them */
} li_loop_args;

li_status li_loop(const void *args, char *const *base);

/* ---- branch: the steps of one of two lists, by *cond (a bool). n < 0: LI_ERR_BRANCH. */
typedef struct li_branch_args {
    const li_steps *taken[2]; /* [0] where the condition is false, [1] where it is true */
    li_ref cond;
} li_branch_args;

li_status li_branch(const void *args, char *const *base);

/* The steps alone, without the care for the floating-point mode. Returns as li_plan_run does. */
int64_t li_steps_run(const li_step *steps, int64_t n_steps, char *const *base);

/* Runs the steps; stops at the first that fails. Returns 0, or (step index << 8) | li_status. A plan is immutable:
 * any number of threads may run it at once, each over its own arena. Rounding and denormals are IEEE inside: a
 * caller's flush-to-zero mode is saved, cleared and restored. */
int64_t li_plan_run(const li_step *steps, int64_t n_steps, char *const *base);

#endif
