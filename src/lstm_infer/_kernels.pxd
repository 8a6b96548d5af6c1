"""C declarations only: what _core and _check call in kernels/."""

from libc.stdint cimport int8_t, int32_t, int64_t

cdef extern from *:
    """
    #undef I /* a macro of complex.h, which NumPy includes; a field in li_kernels.h */
    """

cdef extern from "li_kernels.h" nogil:
    enum:
        LI_UNITS
        LI_LANES
        LI_RANK
        LI_MAP_REGS
        LI_N_MAP
        LI_N_SLOTS

    ctypedef int li_status
    enum:
        LI_OK
        LI_ERR_INDEX
        LI_ERR_LENGTH
        LI_ERR_VALUE
        LI_ERR_LIMIT
        LI_ERR_BRANCH

    enum:
        LI_F32
        LI_F64
        LI_F16
        LI_BF16
        LI_I8
        LI_U8
        LI_I16
        LI_U16
        LI_I32
        LI_U32
        LI_I64
        LI_U64
        LI_BOOL

    enum:
        LI_ACT_NONE
        LI_ACT_SIGMOID
        LI_ACT_TANH
        LI_ACT_RELU
        LI_ACT_AFFINE
        LI_ACT_LEAKY_RELU
        LI_ACT_THRESHOLDED_RELU
        LI_ACT_SCALED_TANH
        LI_ACT_HARD_SIGMOID
        LI_ACT_ELU
        LI_ACT_SOFTSIGN
        LI_ACT_SOFTPLUS

    enum:
        LI_QUANT_ROW
        LI_QUANT_ROW_U8
        LI_QUANT_ALL_U8
        LI_QUANT_GIVEN

    enum:
        LI_RED_SUM
        LI_RED_MEAN
        LI_RED_MAX
        LI_RED_MIN
        LI_RED_PROD
        LI_RED_SUM_SQUARE
        LI_RED_L1
        LI_RED_L2
        LI_RED_LOG_SUM
        LI_RED_LOG_SUM_EXP

    enum:
        LI_SCATTER_SET
        LI_SCATTER_ADD
        LI_SCATTER_MUL
        LI_SCATTER_MIN
        LI_SCATTER_MAX

    ctypedef int (*li_slot_fn)(const void *args, char **base) noexcept nogil

    ctypedef struct li_kernels:
        const char *isa
        li_slot_fn *slot

    int64_t li_recur_scratch(int64_t gates, int64_t T, int64_t B, int64_t I, int64_t H) noexcept
    int64_t li_recur_i8_scratch(int64_t gates, int64_t T, int64_t B, int64_t I, int64_t H) noexcept
    int64_t li_matmul_i8_scratch(int64_t n, int64_t k) noexcept
    int64_t li_matmul_dyn_scratch(int64_t k, int64_t m) noexcept
    int64_t li_pool_scratch(int64_t y_cols, int64_t kernel, int64_t stride, int64_t dilation) noexcept
    int64_t li_conv_scratch(int64_t channels, int64_t groups, const int64_t *kernel, const int64_t *out,
                            const int64_t *stride, const int64_t *dilation) noexcept

cdef extern from "li_pack.h" nogil:
    void li_pack_f32(float *dst, const float *src, int64_t gates, int64_t n_units, int64_t K, int64_t gate_stride,
                     int64_t unit_stride, int64_t k_stride, int64_t panel) noexcept
    void li_pack_i8(int32_t *dst, const int8_t *src, const float *scale, const int32_t *zero, int64_t gates,
                    int64_t n_units, int64_t K, int64_t gate_stride, int64_t unit_stride, int64_t k_stride,
                    int64_t panel) noexcept

cdef extern from "li_plan.h" nogil:
    ctypedef struct li_step:
        li_slot_fn fn
        const void *args

    ctypedef struct li_steps:
        const li_step *step
        int64_t n

    li_slot_fn li_loop
    li_slot_fn li_branch
    int64_t li_plan_run(const li_step *steps, int64_t n_steps, char **base) noexcept

cdef extern from "li_check.h" nogil:
    enum:
        LI_SLOT_LOOP
        LI_SLOT_BRANCH
        LI_USE_READ
        LI_USE_WRITE
        LI_USE_OWN

    ctypedef struct li_memory:
        int64_t root

    ctypedef struct li_bytes:
        int64_t root, begin "from", end "to"

    ctypedef struct li_memories:
        const li_memory *base
        const li_bytes *block
        const li_bytes *kept
        int64_t n_bases, n_blocks, n_kept

    ctypedef struct li_verdict:
        const char *field
        const char *what
        double work

    li_verdict li_check(int64_t slot, const int64_t *words, int64_t n_words, const li_memories *memories) noexcept
    int64_t li_loop_inside(const int64_t *words, const li_memories *memories, li_memory *base, li_bytes *table) noexcept
    int64_t li_loop_slices(int64_t n_words) noexcept

cdef extern from "dispatch.h" nogil:
    int li_n_isas() noexcept
    const char *li_isa_name(int index) noexcept
    int li_isa_runnable(int index) noexcept
    const li_kernels *li_isa_kernels(int index) noexcept
    const char *li_slot_name(int slot) noexcept
    int64_t li_slot_words(int slot) noexcept
    const char *li_map_name(int code) noexcept
    int li_map_args(int code) noexcept
