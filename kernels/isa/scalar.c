/* scalar: the table. Its slots are plain C in scalar_*.c. */
#include "../li_kernels.h"

#define LI_SLOT(name, record) li_status li_##name##_scalar(const void *args, char *const *base);
#include "../li_slots.def"
#undef LI_SLOT

extern const li_kernels li_kernels_scalar;
const li_kernels li_kernels_scalar = {
    "scalar",
    {
#define LI_SLOT(name, record) li_##name##_scalar,
#include "../li_slots.def"
#undef LI_SLOT
    },
};
