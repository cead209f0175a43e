// The scalar twin of every backend: each entry of the table as its formula reads, with sums in double.
#ifndef OCELLUS_KERNELS_REFERENCE_HPP
#define OCELLUS_KERNELS_REFERENCE_HPP

#include "ocellus/kernels/cpu_memory.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// The activation functions of linear(), in double.
[[nodiscard]] double reference_activation(activation act, double x) noexcept;

void reference_linear(context& ctx, const matrix& x, const linear_output* outputs,
                      std::uint32_t count) noexcept;
void reference_layer_norm(context& ctx, const layer_norm_args& args) noexcept;
void reference_rms_norm(context& ctx, const rms_norm_args& args) noexcept;
void reference_add(context& ctx, const matrix& a, const matrix& b, const matrix& out) noexcept;
void reference_attention(context& ctx, const attention_args& args) noexcept;
void reference_rotary_append(context& ctx, const rotary_append_args& args) noexcept;

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_REFERENCE_HPP
