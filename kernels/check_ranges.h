/* What the checks of all slots are made of: extents of operands in closed form, and whether they lie in their memory. */
#ifndef LI_CHECK_RANGES_H
#define LI_CHECK_RANGES_H

#include "li_check.h"

#define LI_COUNT (INT64_C(1) << 40)  /* more of anything fits no memory, or takes hours */
#define LI_STRIDE (INT64_C(1) << 44) /* no product of a stride and an index of its axis leaves int64 */
#define LI_REACH 0x1p58              /* sums of a dozen of such do not either */

/* One step that is being checked: the first thing that is wrong stays. */
typedef struct li_checked {
    const li_memories *memories;
    li_verdict verdict;
} li_checked;

/* Elements low .. high - 1, from where an operand begins; none where high <= low. */
typedef struct li_span {
    int64_t low, high;
    int far; /* reaches further than any memory */
} li_span;

typedef enum li_access { LI_READS = LI_USE_READ, LI_WRITES = LI_USE_WRITE, LI_UPDATES = LI_USE_READ | LI_USE_WRITE } li_access;

/* Always 0, so that a check can say `return li_refuse(...)`. */
int li_refuse(li_checked *c, const char *field, const char *what);
int li_within(li_checked *c, const char *field, int64_t value, int64_t low, int64_t high);
int li_all_within(li_checked *c, const char *field, const int64_t *value, int64_t n, int64_t low, int64_t high);

/* n elements that lie behind each other; n steps of `stride` of all that s holds. */
li_span li_dense(int64_t n);
li_span li_along(li_span s, int64_t n, int64_t stride);

/* The bytes of `memories` that an operand reads or writes; root -1 where it touches none, or is refused. */
li_bytes li_touch(li_checked *c, const char *field, li_ref at, li_span s, int64_t element, li_access access);

/* The same of an operand that may be absent, and of scratch, which is 64-byte aligned. trusted: it holds places in memory. */
li_bytes li_touch_if(li_checked *c, const char *field, li_ref at, li_span s, int64_t element, li_access access);
li_bytes li_scratch(li_checked *c, li_ref at, int64_t n_bytes, int trusted);

/* Refuses what shares bytes with `with`. */
void li_apart(li_checked *c, const char *field, li_bytes a, li_bytes with);

/* Bytes of an element, 0 where there is no such type; of integers and booleans alone. */
int64_t li_element(int64_t dtype);
int64_t li_integer(int64_t dtype);

#define LI_FIELD(field, low, high) li_within(c, #field, a->field, (low), (high))
#define LI_FIELDS(field, n, low, high) li_all_within(c, #field, a->field, (n), (low), (high))
#define LI_TOUCH(field, span, element, access) li_touch(c, #field, a->field, (span), (element), (access))
#define LI_TOUCH_IF(field, span, element, access) li_touch_if(c, #field, a->field, (span), (element), (access))

/* One function a slot: adds up work, or refuses. */
#define LI_SLOT(name, record) void li_check_##name(li_checked *c, const int64_t *words, int64_t n_words);
#include "li_slots.def"
#undef LI_SLOT
void li_check_loop(li_checked *c, const int64_t *words, int64_t n_words);
void li_check_branch(li_checked *c, const int64_t *words, int64_t n_words);

#endif
