/* The table of this instruction set: one entry per row of li_slots.def. */
#define LI_STRING_(s) #s
#define LI_STRING(s) LI_STRING_(s)

#ifndef LI_LENDER
#define LI_LENDER LI_ISA_NAME
#else
#define LI_SLOT(name, record) li_status LI_PASTE(li_##name, LI_LENDER)(const void *args, char *const *base);
#define LI_SLOT_I8(name, record)
#include "../li_slots.def"
#undef LI_SLOT
#endif

extern const li_kernels LI_PASTE(li_kernels, LI_ISA_NAME);
const li_kernels LI_PASTE(li_kernels, LI_ISA_NAME) = {
    LI_STRING(LI_ISA_NAME),
    {
#define LI_SLOT(name, record) LI_PASTE(li_##name, LI_LENDER),
#define LI_SLOT_I8(name, record) LI_NAME(name),
#include "../li_slots.def"
#undef LI_SLOT
    },
};
