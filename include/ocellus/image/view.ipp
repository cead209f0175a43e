// Checks of pixel views, owning pictures, and reading a row of any pixel format as RGB.
#ifndef OCELLUS_IMAGE_VIEW_IPP
#define OCELLUS_IMAGE_VIEW_IPP

#include "ocellus/checked.hpp"
#include "ocellus/image/view.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

result<void> check_image_size(std::uint64_t width, std::uint64_t height, std::uint64_t max_axis,
                              std::uint64_t max_area) noexcept {
  if (width == 0 || height == 0 || width > max_axis || height > max_axis) {
    return error(error_code::image_size, "a picture of ", width, " x ", height, " pixels; each must be 1 to ",
                 max_axis);
  }
  if (width * height > max_area) {
    return error(error_code::image_too_large, "a picture of ", width, " x ", height, " pixels; the limit is ",
                 max_area, " in all");
  }
  return {};
}

void read_rgb_row(const image_view& view, std::uint32_t y, std::uint8_t* rgb) noexcept {
  const std::uint8_t* from = view.row(y);
  if (view.format == pixel_format::rgb) {
    std::memcpy(rgb, from, view.row_bytes());
    return;
  }
  const std::size_t step = channels_of(view.format);
  const bool gray = step < 3;
  const bool reversed = view.format == pixel_format::bgr || view.format == pixel_format::bgra;
  const std::size_t red = reversed ? 2 : 0;
  const std::size_t green = gray ? 0 : 1;
  const std::size_t blue = gray || reversed ? 0 : 2;
  for (std::uint32_t x = 0; x < view.width; ++x, from += step, rgb += 3) {
    rgb[0] = from[red];
    rgb[1] = from[green];
    rgb[2] = from[blue];
  }
}

}  // namespace detail

result<void> check_view(const image_view& view) noexcept {
  if (view.pixels == nullptr)
    return error(error_code::invalid_argument, "a picture without pixels (null pointer)");
  if (channels_of(view.format) == 0) {
    return error(error_code::invalid_argument, "pixel format ", static_cast<unsigned>(view.format),
                 " does not exist");
  }
  OCELLUS_TRY(detail::check_image_size(view.width, view.height, max_image_axis, max_image_area));
  const auto row_bytes = static_cast<std::ptrdiff_t>(view.row_bytes());
  if (view.stride != 0 && view.stride > -row_bytes && view.stride < row_bytes) {
    return error(error_code::invalid_argument, "rows of ", view.width, " pixels need ", row_bytes,
                 " bytes, but the stride is ", view.stride);
  }
  // The last row's address must be countable.
  const auto step = static_cast<std::uint64_t>(view.stride < 0 ? -(view.stride + 1) : view.stride);
  if (!(checked(step) * view.height).fits<std::ptrdiff_t>()) {
    return error(error_code::invalid_argument, "stride ", view.stride, " is too large");
  }
  return {};
}

result<image_view> view_pixels(std::span<const std::uint8_t> bytes, std::uint32_t width, std::uint32_t height,
                               pixel_format format, std::size_t stride) noexcept {
  if (stride > static_cast<std::size_t>(PTRDIFF_MAX)) {
    return error(error_code::invalid_argument, "stride ", stride, " is too large");
  }
  const image_view view{bytes.data(), width, height, static_cast<std::ptrdiff_t>(stride), format};
  OCELLUS_TRY(check_view(view));
  const checked step = stride != 0 ? stride : view.row_bytes();
  const checked needed = step * (height - 1) + view.row_bytes();
  if (!needed.valid() || needed.value() > bytes.size()) {
    return error(error_code::invalid_argument, "a picture of ", width, " x ", height, " pixels needs ",
                 needed.value(), " bytes, there are ", bytes.size());
  }
  return view;
}

result<image> image::make(std::uint32_t width, std::uint32_t height, const memory_hooks& memory,
                          pixel_format format) noexcept {
  const std::uint32_t channels = channels_of(format);
  if (channels == 0) {
    return error(error_code::invalid_argument, "pixel format ", static_cast<unsigned>(format),
                 " does not exist");
  }
  OCELLUS_TRY(detail::check_image_size(width, height, max_image_axis, max_image_area));
  image made;
  made.pixels_ = array<std::uint8_t>(memory);
  if (!made.pixels_.resize(std::size_t{width} * height * channels)) {
    return no_memory("a picture of ", width, " x ", height, " pixels");
  }
  made.width_ = width;
  made.height_ = height;
  made.format_ = format;
  return made;
}

result<image> image::copy_rgb(const image_view& from, const memory_hooks& memory) noexcept {
  OCELLUS_TRY(check_view(from));
  OCELLUS_ASSIGN(image made, make(from.width, from.height, memory));
  for (std::uint32_t y = 0; y < from.height; ++y) detail::read_rgb_row(from, y, made.row(y));
  return made;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_VIEW_IPP
