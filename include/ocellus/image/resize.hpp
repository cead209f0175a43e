// Bicubic resizing, equal byte by byte to Pillow's Image.resize(size, Image.Resampling.BICUBIC) on RGB
// pictures.
#ifndef OCELLUS_IMAGE_RESIZE_HPP
#define OCELLUS_IMAGE_RESIZE_HPP

#include "ocellus/image/view.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// The widest and highest target of a resize, in pixels.
inline constexpr std::uint32_t max_resize_axis = 4096;

/// Kernel a = -0.5, stretched when shrinking; the order of the passes is that of Pillow 13 (vertically first
/// when the height shrinks by more than twice what the width shrinks by; older versions never do, and may
/// differ by a step or two of 255 there). The picture at width x height, RGB; the ratio is not kept, alpha is
/// dropped. `rgb` receives [height][width][3] and must not overlap the source. Scratch memory: the rows that
/// one row of the target is made of. Errors: those of check_view; invalid_argument (target axis of 0 or
/// beyond max_resize_axis, rgb of another size); out_of_memory.
[[nodiscard]] result<void> resize_bicubic(const image_view& from, std::uint32_t width, std::uint32_t height,
                                          std::span<std::uint8_t> rgb,
                                          const memory_hooks& memory = {}) noexcept;

/// The same into a new picture.
[[nodiscard]] result<image> resize_bicubic(const image_view& from, std::uint32_t width, std::uint32_t height,
                                           const memory_hooks& memory = {}) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_RESIZE_HPP
