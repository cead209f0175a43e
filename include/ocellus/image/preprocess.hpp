// From a picture to what the vision transformer reads: resized, scaled to [0, 1], normalised, planar.
#ifndef OCELLUS_IMAGE_PREPROCESS_HPP
#define OCELLUS_IMAGE_PREPROCESS_HPP

#include "ocellus/image/view.hpp"
#include "ocellus/tensor.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Per channel, in the order R, G, B: (value / 255 - mean) / deviation.
struct normalization {
  float mean[3];
  float deviation[3];
};

/// The statistics of CLIP's training pictures, which EVA-CLIP and BLIP-2 use as well.
inline constexpr normalization clip_normalization{{0.48145466f, 0.4578275f, 0.40821073f},
                                                  {0.26862954f, 0.26130258f, 0.27577711f}};

/// Writes the picture's pixels as [3][size][size] f32 into `planar`: Pillow's bicubic resize to size x size
/// (the ratio is not kept), then, in f32 and in the order of torchvision's ToTensor and Normalize, byte /
/// 255, minus mean, divided by deviation: equal bit by bit. Errors: those of resize_bicubic; invalid_argument
/// when planar has another number of elements.
[[nodiscard]] result<void> preprocess(const image_view& from, std::uint32_t size, std::span<float> planar,
                                      const memory_hooks& memory = {},
                                      const normalization& norm = clip_normalization) noexcept;

/// The same as a new tensor of shape [3, size, size].
[[nodiscard]] result<tensor<float>> preprocess(const image_view& from, std::uint32_t size,
                                               const memory_hooks& memory = {},
                                               const normalization& norm = clip_normalization) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_PREPROCESS_HPP
