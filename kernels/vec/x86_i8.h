/* What the sets of x86 share. */
/* Sums of 32 bits, as a type of their own: gcc moves a sum to and fro where it is a vi between the instructions that add to it. */
#if defined(__GNUC__)
typedef int vs __attribute__((vector_size(4 * LI_W)));
LI_INLINE vs vs_of(vi a) { return (vs)a; }
LI_INLINE vi vi_of(vs a) { return (vi)a; }
#else
typedef vi vs;
LI_INLINE vs vs_of(vi a) { return a; }
LI_INLINE vi vi_of(vs a) { return a; }
#endif
