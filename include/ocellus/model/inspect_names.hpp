// What names alone tell an inspection.
#ifndef OCELLUS_MODEL_INSPECT_NAMES_HPP
#define OCELLUS_MODEL_INSPECT_NAMES_HPP

#include "ocellus/io/json.hpp"
#include "ocellus/model/checkpoint.hpp"
#include "ocellus/model/inspect.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// "layer.2" before "layer.10": runs of digits are compared by their value.
[[nodiscard]] bool natural_less(std::string_view a, std::string_view b) noexcept;

/// Whose file it is, by tensors that only that one holds.
[[nodiscard]] std::optional<source_role> role_by_names(std::span<const checkpoint_tensor> tensors) noexcept;

/// The N of "...StageN..." in the last name of a path, 1 to 4; 0 if it does not say.
[[nodiscard]] std::uint32_t stage_in_path(std::string_view path) noexcept;

/// A tensor of a model file that was opened. `matrices`: what ocellus.matrices says.
[[nodiscard]] inspected_tensor describe_model_tensor(const tensor_info& t,
                                                     const json::value& matrices) noexcept;

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_INSPECT_NAMES_HPP
