/* Ranges of bytes, the check of one step, and those of loops and branches. Contract: li_check.h. */
#include <stddef.h>

#include "check_ranges.h"
#include "li_plan.h"

int li_refuse(li_checked *c, const char *field, const char *what)
{
    if (!c->verdict.field) {
        c->verdict.field = field;
        c->verdict.what = what;
    }
    return 0;
}

int li_within(li_checked *c, const char *field, int64_t value, int64_t low, int64_t high)
{
    return (value >= low && value <= high) || li_refuse(c, field, "is not a number that the kernel takes");
}

int li_all_within(li_checked *c, const char *field, const int64_t *value, int64_t n, int64_t low, int64_t high)
{
    for (int64_t i = 0; i < n; i++) {
        if (!li_within(c, field, value[i], low, high)) { return 0; }
    }
    return 1;
}

li_span li_dense(int64_t n) { return (li_span){0, n, n > LI_STRIDE}; }

li_span li_along(li_span s, int64_t n, int64_t stride)
{
    const double reach = (double)(n - 1) * (double)stride;
    if (n <= 0) { s.high = s.low; }
    s.far |= stride > LI_STRIDE || stride < -LI_STRIDE || reach > LI_REACH || reach < -LI_REACH;
    if (s.far || s.high <= s.low) { return s; }
    if (stride < 0) {
        s.low += (n - 1) * stride;
    } else {
        s.high += (n - 1) * stride;
    }
    s.far = s.low < -(INT64_C(1) << 58) || s.high > INT64_C(1) << 58;
    return s;
}

/* The last block that begins at or before `from`. */
static const li_bytes *block_at(const li_memories *m, int64_t root, int64_t from)
{
    int64_t low = 0, high = m->n_blocks;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const li_bytes *b = &m->block[middle];
        if (b->root < root || (b->root == root && b->from <= from)) { low = middle + 1; } else { high = middle; }
    }
    return low > 0 && m->block[low - 1].root == root ? &m->block[low - 1] : 0;
}

static int shares(li_bytes a, li_bytes b) { return a.root == b.root && a.from < b.to && b.from < a.to; }

li_bytes li_touch(li_checked *c, const char *field, li_ref at, li_span s, int64_t element, li_access access)
{
    const li_memories *m = c->memories;
    const li_bytes none = {-1, 0, 0};
    const double most = 0x1p61;
    if (at.base < 0 || at.base >= m->n_bases) { li_refuse(c, field, at.base < 0 ? "is absent" : "has a base that there is not"); return none; }
    const li_memory *in = &m->base[at.base];
    const double low = (double)at.offset + (double)s.low * (double)element, high = (double)at.offset + (double)s.high * (double)element;
    if (s.far || low < -most || high > most) { li_refuse(c, field, "reaches outside of its memory"); return none; }
    if (s.high <= s.low) { return none; }
    if (at.offset % element != 0 || in->align % element != 0) { li_refuse(c, field, "is not aligned to its elements"); return none; }
    if ((access & LI_USE_WRITE) && !(in->use & LI_USE_WRITE)) { li_refuse(c, field, "writes to what may be read only"); return none; }
    const li_bytes found = {in->root, in->first + at.offset + s.low * element, in->last + at.offset + s.high * element};
    if (found.from < 0 || found.to > in->n_bytes) {
        if (!in->parted) { li_refuse(c, field, "reaches outside of its memory"); return none; }
    }
    if (in->parted) {
        const li_bytes *block = block_at(m, found.root, found.from);
        if (!block || found.to > block->to) { li_refuse(c, field, "reaches outside of a block of its memory"); return none; }
    }
    for (int64_t i = 0; i < m->n_kept; i++) {
        if (shares(found, m->kept[i])) { li_refuse(c, field, "lies in the table of a loop that is running"); return none; }
    }
    return found;
}

li_bytes li_touch_if(li_checked *c, const char *field, li_ref at, li_span s, int64_t element, li_access access)
{
    if (at.base < 0) { return (li_bytes){-1, 0, 0}; }
    return li_touch(c, field, at, s, element, access);
}

li_bytes li_scratch(li_checked *c, li_ref at, int64_t n_bytes, int trusted)
{
    const li_bytes found = li_touch(c, "scratch", at, li_dense(n_bytes), 1, LI_UPDATES);
    if (found.root < 0) { return found; }
    if (at.offset % 64 != 0 || c->memories->base[at.base].align % 64 != 0) { li_refuse(c, "scratch", "is not aligned to 64 bytes"); }
    if (trusted && !(c->memories->base[at.base].use & LI_USE_OWN)) { li_refuse(c, "scratch", "lies where others may write"); }
    return found;
}

void li_apart(li_checked *c, const char *field, li_bytes a, li_bytes with)
{
    if (a.root >= 0 && shares(a, with)) { li_refuse(c, field, "lies on other operands of the step"); }
}

int64_t li_element(int64_t dtype)
{
    static const unsigned char bytes[] = {4, 8, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8, 1};
    return dtype < LI_F32 || dtype > LI_BOOL ? 0 : bytes[dtype];
}

int64_t li_integer(int64_t dtype) { return dtype < LI_I8 ? 0 : li_element(dtype); }

/* A loop as its plan has it: the number of the body, then li_loop_args from `table` on, whatever the number of slices. */
typedef struct loop {
    int64_t body;
    li_ref table, trips, go, iter;
    int64_t limit, n_base, n_slices;
    li_slice slice[1];
} loop;

#define LOOP_WORDS ((int64_t)(offsetof(loop, slice) / 8))
#define SLICE_WORDS ((int64_t)(sizeof(li_slice) / 8))

/* Where a slice begins, from its first iteration to its last. */
static li_memory window(const li_memories *m, const loop *a, const li_slice *slice)
{
    li_memory found = m->base[slice->at.base];
    const int64_t reach = a->limit > 1 ? (a->limit - 1) * slice->advance : 0;
    const uint64_t moves = (uint64_t)(found.align | slice->at.offset | slice->advance);
    found.first += slice->at.offset + (reach < 0 ? reach : 0);
    found.last += slice->at.offset + (reach > 0 ? reach : 0);
    found.align = (int64_t)(moves & (0 - moves));
    return found;
}

static int check_slice(li_checked *c, const loop *a, const li_slice *slice)
{
    const int64_t most = INT64_C(1) << 60;
    if (!li_within(c, "slice", slice->at.base, 0, a->n_base - 1) || !li_within(c, "slice", slice->at.offset, -LI_STRIDE, LI_STRIDE)) { return 0; }
    if (li_along(li_dense(1), a->limit, slice->advance).far) { return li_refuse(c, "slice", "reaches outside of its memory"); }
    const li_memory found = window(c->memories, a, slice);
    return li_within(c, "slice", found.first, -most, most) && li_within(c, "slice", found.last, -most, most);
}

void li_check_loop(li_checked *c, const int64_t *words, int64_t n_words)
{
    const loop *a = (const loop *)(const void *)words;
    const int64_t rest = n_words - LOOP_WORDS, n_slices = rest / SLICE_WORDS, n_bases = c->memories->n_bases;
    if (rest < 0 || rest % SLICE_WORDS != 0) { li_refuse(c, "words", "are not those of a loop"); return; }
    if (!LI_FIELD(limit, 0, LI_COUNT) || !LI_FIELD(n_base, n_bases, n_bases) || !LI_FIELD(n_slices, n_slices, n_slices)) { return; }
    const li_bytes table = LI_TOUCH(table, li_dense(a->n_base + n_slices), 8, LI_UPDATES);
    if (c->verdict.field) { return; }
    if (!(c->memories->base[a->table.base].use & LI_USE_OWN)) { li_refuse(c, "table", "lies where others may write"); return; }
    li_apart(c, "trips", LI_TOUCH_IF(trips, li_dense(1), 8, LI_READS), table);
    li_apart(c, "go", LI_TOUCH_IF(go, li_dense(1), 1, LI_READS), table);
    li_apart(c, "iter", LI_TOUCH_IF(iter, li_dense(1), 8, LI_WRITES), table);
    for (int64_t s = 0; s < n_slices; s++) {
        if (!check_slice(c, a, &a->slice[s])) { return; }
    }
    c->verdict.work = 8.0 * (double)(a->n_base + n_slices);
}

int64_t li_loop_inside(const int64_t *words, const li_memories *m, li_memory *base, li_bytes *table)
{
    const loop *a = (const loop *)(const void *)words;
    const li_memory *in = &m->base[a->table.base];
    for (int64_t b = 0; b < m->n_bases; b++) { base[b] = m->base[b]; }
    for (int64_t s = 0; s < a->n_slices; s++) { base[m->n_bases + s] = window(m, a, &a->slice[s]); }
    *table = (li_bytes){in->root, in->first + a->table.offset, in->last + a->table.offset + 8 * (a->n_base + a->n_slices)};
    return a->limit;
}

int64_t li_loop_slices(int64_t n_words) { return (n_words - LOOP_WORDS) / SLICE_WORDS; }

/* A branch: the numbers of two plans, then its condition. */
typedef struct branch {
    int64_t taken[2];
    li_ref cond;
} branch;

void li_check_branch(li_checked *c, const int64_t *words, int64_t n_words)
{
    const branch *a = (const branch *)(const void *)words;
    if (n_words != (int64_t)(sizeof(branch) / 8)) { li_refuse(c, "words", "are not those of a branch"); return; }
    LI_TOUCH(cond, li_dense(1), 1, LI_READS);
}

typedef void (*li_check_fn)(li_checked *c, const int64_t *words, int64_t n_words);

typedef struct { int64_t word[1]; } li_words; /* stands for a record of variable length */

static const struct {
    li_check_fn fn;
    int64_t words; /* 0: the check knows */
} checks[] = {
#define LI_SLOT(name, record) {li_check_##name, sizeof(record) == sizeof(li_words) ? 0 : (int64_t)(sizeof(record) / 8)},
#include "li_slots.def"
#undef LI_SLOT
    {li_check_loop, 0},
    {li_check_branch, 0},
};

li_verdict li_check(int64_t slot, const int64_t *words, int64_t n_words, const li_memories *memories)
{
    li_checked c = {memories, {0, 0, 0.0}};
    if (slot < 0 || slot > LI_SLOT_BRANCH) {
        li_refuse(&c, "slot", "is unknown");
    } else if (checks[slot].words != 0 && checks[slot].words != n_words) {
        li_refuse(&c, "words", "are not as many as the record of the slot has");
    } else {
        checks[slot].fn(&c, words, n_words);
    }
    return c.verdict;
}
