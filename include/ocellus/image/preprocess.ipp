// Resize, scale and normalise. A byte has 256 values, so each channel is a table of 256 floats.
#ifndef OCELLUS_IMAGE_PREPROCESS_IPP
#define OCELLUS_IMAGE_PREPROCESS_IPP

#include "ocellus/image/preprocess.hpp"
#include "ocellus/image/resize.ipp"

namespace ocellus::inline OCELLUS_ABI {

result<void> preprocess(const image_view& from, std::uint32_t size, std::span<float> planar,
                        const memory_hooks& memory, const normalization& norm) noexcept {
  const std::size_t plane = std::size_t{size} * size;
  if (planar.size() != 3 * plane) {
    return error(error_code::invalid_argument, "pixels of [3, ", size, ", ", size, "] do not fit into ",
                 planar.size(), " floats");
  }
  OCELLUS_ASSIGN(image resized, resize_bicubic(from, size, size, memory));
  for (std::size_t channel = 0; channel < 3; ++channel) {
    float value_of[256];
    for (int byte = 0; byte < 256; ++byte) {
      const float scaled = static_cast<float>(byte) / 255.0f;
      value_of[byte] = (scaled - norm.mean[channel]) / norm.deviation[channel];
    }
    const std::uint8_t* pixel = resized.pixels().data() + channel;
    float* to = planar.data() + channel * plane;
    for (std::size_t i = 0; i < plane; ++i) to[i] = value_of[pixel[3 * i]];
  }
  return {};
}

result<tensor<float>> preprocess(const image_view& from, std::uint32_t size, const memory_hooks& memory,
                                 const normalization& norm) noexcept {
  // Checked here as well, before memory is asked for.
  if (size == 0 || size > max_resize_axis) {
    return error(error_code::invalid_argument, "an image size of ", size, "; it must be 1 to ",
                 max_resize_axis);
  }
  OCELLUS_ASSIGN(tensor<float> pixels, tensor<float>::make({3, size, size}, memory));
  OCELLUS_TRY(preprocess(from, size, pixels.span(), memory, norm));
  return pixels;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_PREPROCESS_IPP
