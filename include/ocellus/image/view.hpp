// Pictures in memory: image_view looks at anybody's pixels, image owns its own on the host's allocator.
#ifndef OCELLUS_IMAGE_VIEW_HPP
#define OCELLUS_IMAGE_VIEW_HPP

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// The order of the bytes of one pixel, 8 bits each.
enum class pixel_format : std::uint8_t { rgb, rgba, bgr, bgra, gray, gray_alpha };

/// Bytes a pixel; 0 for a value that is no pixel_format.
constexpr std::uint32_t channels_of(pixel_format format) noexcept {
  switch (format) {
    case pixel_format::rgb:
    case pixel_format::bgr:
      return 3;
    case pixel_format::rgba:
    case pixel_format::bgra:
      return 4;
    case pixel_format::gray:
      return 1;
    case pixel_format::gray_alpha:
      return 2;
  }
  return 0;
}

inline constexpr std::uint32_t max_image_axis = 32768;       ///< Widest and highest picture, in pixels.
inline constexpr std::uint64_t max_image_area = 50'000'000;  ///< Most pixels of one picture.

/// Somebody's pixels: the first one is the top left, sRGB as in files. An alpha channel is ignored: colours
/// are taken as they stand, neither composited nor unpremultiplied. The pixels must outlive the view.
struct image_view {
  const std::uint8_t* pixels = nullptr;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  /// Bytes from one row to the one below: 0 means rows without gaps, negative that the rows lie bottom-up
  /// (pixels still points to the top row).
  std::ptrdiff_t stride = 0;
  pixel_format format = pixel_format::rgb;

  [[nodiscard]] std::size_t row_bytes() const noexcept { return std::size_t{width} * channels_of(format); }
  [[nodiscard]] const std::uint8_t* row(std::uint32_t y) const noexcept {
    const std::ptrdiff_t step = stride != 0 ? stride : static_cast<std::ptrdiff_t>(row_bytes());
    return pixels + static_cast<std::ptrdiff_t>(y) * step;
  }
};

/// Whether a view can be read: invalid_argument for null pixels, an unknown format, rows that overlap;
/// image_size for an axis that is 0 or beyond max_image_axis; image_too_large beyond max_image_area.
[[nodiscard]] result<void> check_view(const image_view& view) noexcept;

/// A view of bytes whose number is known: invalid_argument also when they are fewer than the rows need.
/// stride: 0 for rows without gaps, or positive.
[[nodiscard]] result<image_view> view_pixels(std::span<const std::uint8_t> bytes, std::uint32_t width,
                                             std::uint32_t height, pixel_format format = pixel_format::rgb,
                                             std::size_t stride = 0) noexcept;

/// A picture that owns its pixels, rows without gaps. Move-only.
class image {
 public:
  image() noexcept = default;

  /// All pixels 0. Errors: image_size, image_too_large, out_of_memory.
  [[nodiscard]] static result<image> make(std::uint32_t width, std::uint32_t height,
                                          const memory_hooks& memory = {},
                                          pixel_format format = pixel_format::rgb) noexcept;
  /// A copy in RGB, without alpha.
  [[nodiscard]] static result<image> copy_rgb(const image_view& from,
                                              const memory_hooks& memory = {}) noexcept;

  [[nodiscard]] std::uint32_t width() const noexcept { return width_; }
  [[nodiscard]] std::uint32_t height() const noexcept { return height_; }
  [[nodiscard]] pixel_format format() const noexcept { return format_; }
  [[nodiscard]] std::size_t row_bytes() const noexcept { return std::size_t{width_} * channels_of(format_); }
  [[nodiscard]] std::span<std::uint8_t> pixels() noexcept { return pixels_.span(); }
  [[nodiscard]] std::span<const std::uint8_t> pixels() const noexcept { return pixels_.span(); }
  [[nodiscard]] std::uint8_t* row(std::uint32_t y) noexcept { return pixels_.data() + y * row_bytes(); }
  [[nodiscard]] const std::uint8_t* row(std::uint32_t y) const noexcept {
    return pixels_.data() + y * row_bytes();
  }
  [[nodiscard]] image_view view() const noexcept { return {pixels_.data(), width_, height_, 0, format_}; }

 private:
  array<std::uint8_t> pixels_;
  std::uint32_t width_ = 0;
  std::uint32_t height_ = 0;
  pixel_format format_ = pixel_format::rgb;
};

namespace detail {

/// Row y as [width][3] RGB bytes; view has passed check_view().
void read_rgb_row(const image_view& view, std::uint32_t y, std::uint8_t* rgb) noexcept;

}  // namespace detail

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_VIEW_HPP
