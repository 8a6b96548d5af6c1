/* The verifier of slot arguments: for plans that come from a file, which nobody trusts.
 *
 * Takes the words of one step and the sizes of the memories behind its bases, and says whether the slot, whatever its data
 * are, reads and writes inside them only, divides by nothing, and how long it takes. Looks at arguments alone: no data, no
 * allocation, no loop over anything but words. A step that is found right here may be run over memories of these sizes.
 *
 * What data can change is either read once and checked by the kernel (indices, lengths), or lies where no other step and no
 * caller writes meanwhile: the tables of loops, and the scratch of conv_f32 and topk, which hold places in memory. */
#ifndef LI_CHECK_H
#define LI_CHECK_H

#include "li_kernels.h"

/* Behind the slots: the steps of li_plan.h. Their first words are positions in the list of nested plans, or -1. */
#define LI_SLOT_LOOP LI_N_SLOTS
#define LI_SLOT_BRANCH (LI_N_SLOTS + 1)

/* What may be done with a memory. OWN: nobody but the steps of the plan writes to it while they run. */
typedef enum li_use { LI_USE_READ = 1, LI_USE_WRITE = 2, LI_USE_OWN = 4 } li_use;

/* What stands behind one base: a window on a memory, which begins anywhere from byte `first` to byte `last` of it (a slice of a
 * loop moves; else both are 0), at multiples of `align`, a power of two. */
typedef struct li_memory {
    int64_t root; /* which memory: all windows on it have one root */
    int64_t first, last, align;
    int64_t n_bytes, use; /* of the memory */
    int64_t parted;       /* only its blocks may be touched, and each access lies in one of them */
} li_memory;

/* Bytes from .. to - 1 of a memory. */
typedef struct li_bytes {
    int64_t root, from, to;
} li_bytes;

typedef struct li_memories {
    const li_memory *base;
    const li_bytes *block; /* of parted memories: by root and place, apart from each other */
    const li_bytes *kept;  /* the tables of the loops that a step runs in */
    int64_t n_bases, n_blocks, n_kept;
} li_memories;

/* field: of the record, as its C name; null where all is right. work: about how many numbers are read, written or multiplied. */
typedef struct li_verdict {
    const char *field, *what;
    double work;
} li_verdict;

/* slot: an li_slot, or one of the two above. */
li_verdict li_check(int64_t slot, const int64_t *words, int64_t n_words, const li_memories *memories);

/* Of a loop that is right: what its body sees. base: room for one more than n_bases for each slice; table: bytes that no step of the
 * body may touch. Returns how often it may run. */
int64_t li_loop_inside(const int64_t *words, const li_memories *memories, li_memory *base, li_bytes *table);
int64_t li_loop_slices(int64_t n_words);

#endif
