// What the shapes of the published checkpoints say about a model: sizes, layers, heads.
#ifndef OCELLUS_MODEL_CONVERT_SHAPES_HPP
#define OCELLUS_MODEL_CONVERT_SHAPES_HPP

#include "ocellus/model/checkpoint.hpp"
#include "ocellus/model/config.hpp"
#include "ocellus/model/convert.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Fills in vit, qformer and projection_width. What no file says: heads are 88 values wide in the ViT and 64 in the
/// Q-Former; of the ViT's blocks, 39 are used if there are 39 or 40, else all but the last. The block that is not used is
/// marked as ignored. Errors: tensor_missing, tensor_shape, config_mismatch.
[[nodiscard]] result<void> read_vision_shapes(checkpoint& from, std::uint32_t image_size,
                                              model_config& config, convert_report& report) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CONVERT_SHAPES_HPP
