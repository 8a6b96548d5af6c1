/* What neon and neondot share: bytes are held as they are; one number of all lanes. */
#define LI_PARTS 1
#define LI_OFFSET 0

LI_INLINE vi vb_weights(const int32_t *w, const int part)
{
    (void)part;
    return vi_load(w);
}
LI_INLINE void vb_store(int32_t *to, vi q)
{
    const int16x4_t half = vmovn_s32(q);
    vst1q_lane_s32(to, vreinterpretq_s32_s8(vcombine_s8(vmovn_s16(vcombine_s16(half, half)), vdup_n_s8(0))), 0);
}
LI_INLINE vs vs_of(vi a) { return a; }
LI_INLINE vi vi_of(vs a) { return a; }
LI_INLINE vi vi_max(vi a, vi b) { return vmaxq_s32(a, b); }
LI_INLINE int32_t vi_max_all(vi a) { return vmaxvq_s32(a); }
LI_INLINE int32_t vi_sum_all(vi a) { return vaddvq_s32(a); }
