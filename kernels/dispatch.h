/* The list of instruction sets in this build, best first. Stores nothing: a table is a value handed down. */
#ifndef LI_DISPATCH_H
#define LI_DISPATCH_H

#include "li_kernels.h"

int li_n_isas(void);
const char *li_isa_name(int index);              /* 0 .. li_n_isas()-1 */
int li_isa_runnable(int index);                  /* does this CPU and its OS offer what the row asks for */
const li_kernels *li_isa_kernels(int index);     /* the table, also where it cannot run (never call into it then) */
const char *li_slot_name(int slot);
int64_t li_slot_words(int slot);                 /* 8-byte words of the argument record; 0: variable length */
const char *li_map_name(int code);
int li_map_args(int code);

#endif
