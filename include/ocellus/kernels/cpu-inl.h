// Per SIMD target: the table. Included once for each target, without a guard; the files below are guarded within one
// target, by guards that are dropped here and so do not depend on how Highway was included before.
#undef OCELLUS_KERNELS_ATTENTION_INL_H
#undef OCELLUS_KERNELS_ATTENTION_FEW_INL_H
#undef OCELLUS_KERNELS_COMPAT_INL_H
#undef OCELLUS_KERNELS_LINEAR_INL_H
#undef OCELLUS_KERNELS_LINES_INL_H
#undef OCELLUS_KERNELS_MATH_INL_H
#undef OCELLUS_KERNELS_NORM_INL_H

#include "ocellus/kernels/attention-inl.h"
#include "ocellus/kernels/linear-inl.h"
#include "ocellus/kernels/norm-inl.h"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

template <precision Mode>
inline constexpr kernels table = {
    &HWY_STR(HWY_NAMESPACE)[2],  // without the "N_"
    Mode,
    cache_type_of(Mode),
    round_up<std::uint64_t>((std::max)(sizeof(attention_scratch), sizeof(linear_scratch)), 64),
    0,
    cpu_allocate,
    cpu_release,
    cpu_wrap,
    cpu_upload,
    cpu_download,
    linear,
    layer_norm,
    rms_norm,
    add,
    attention,
    rotary_append,
    cpu_embed,
};

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
