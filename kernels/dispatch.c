#include "dispatch.h"

#include "cpu.h"

#define LI_ISA(name, needs) extern const li_kernels li_kernels_##name;
#include "li_isas.def"
#undef LI_ISA

static const struct {
    const char *name;
    unsigned needs;
    const li_kernels *kernels;
} isas[] = {
#define LI_ISA(name, needs) {#name, (needs), &li_kernels_##name},
#include "li_isas.def"
#undef LI_ISA
};

typedef struct { int64_t word[1]; } li_words; /* stands for a record of variable length */

static const struct {
    const char *name;
    int64_t words;
} slots[] = {
#define LI_SLOT(name, record) {#name, sizeof(record) == sizeof(li_words) ? 0 : (int64_t)(sizeof(record) / 8)},
#include "li_slots.def"
#undef LI_SLOT
};

static const struct {
    const char *name;
    int n_args;
} maps[] = {
#define LI_MAP(name, n_args) {#name, n_args},
#include "li_map.def"
#undef LI_MAP
};

int li_n_isas(void) { return (int)(sizeof(isas) / sizeof(isas[0])); }
const char *li_isa_name(int index) { return isas[index].name; }
const li_kernels *li_isa_kernels(int index) { return isas[index].kernels; }
int li_isa_runnable(int index) { return (li_cpu_features() & isas[index].needs) == isas[index].needs; }
const char *li_slot_name(int slot) { return slots[slot].name; }
int64_t li_slot_words(int slot) { return slots[slot].words; }
const char *li_map_name(int code) { return maps[code].name; }
int li_map_args(int code) { return maps[code].n_args; }
