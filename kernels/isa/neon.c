/* neon: the shared bodies over the neon vocabulary. Compiled with its own flags (setup.py). */
#if !defined(LI_ISA_neon)
#error "compile this file with -DLI_ISA_neon and the flags of neon"
#endif
#define LI_ISA_NAME neon
#include "../vec/neon_i8.h"
#include "../body/all.h"
