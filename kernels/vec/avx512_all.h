/* What avx512 and avx512vnni share: one number of all lanes. */
LI_INLINE vi vi_max(vi a, vi b) { return _mm512_max_epi32(a, b); }
LI_INLINE int32_t vi_max_all(vi a) { return _mm512_reduce_max_epi32(a); }
LI_INLINE int32_t vi_sum_all(vi a) { return _mm512_reduce_add_epi32(a); }
