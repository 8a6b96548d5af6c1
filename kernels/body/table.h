/* The table of this instruction set: one entry per row of li_slots.def. */
#define LI_STRING_(s) #s
#define LI_STRING(s) LI_STRING_(s)
#define LI_SLOT(name, record)
#define LI_SLOT_I8(name, record) li_status li_##name##_scalar(const void *args, char *const *base);
#include "../li_slots.def"
#undef LI_SLOT
extern const li_kernels LI_PASTE(li_kernels, LI_ISA_NAME);
const li_kernels LI_PASTE(li_kernels, LI_ISA_NAME) = {
    LI_STRING(LI_ISA_NAME),
    {
#define LI_SLOT(name, record) LI_NAME(name),
#define LI_SLOT_I8(name, record) li_##name##_scalar,
#include "../li_slots.def"
#undef LI_SLOT
    },
};
