// Bicubic resizing in 22-bit fixed point: a horizontal and a vertical pass, each rounded and clamped to 8
// bits. Only the rows that the next output row needs are kept between the passes.
#ifndef OCELLUS_IMAGE_RESIZE_IPP
#define OCELLUS_IMAGE_RESIZE_IPP

#include <algorithm>

#include "ocellus/image/resize.hpp"
#include "ocellus/image/view.ipp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

/// 32 bits less 8 of a pixel and 2 of head room: the sum of |weights| * 255 stays within 32 bits.
inline constexpr int resize_precision = 22;

/// What one output pixel of an axis is made of: `count` source pixels from `first` on.
struct resize_tap {
  std::uint32_t first;
  std::uint32_t count;
};

/// The taps and weights of one axis. The weights of output i begin at i * stride and sum to about 2^22.
struct resize_axis {
  array<resize_tap> taps;
  array<std::int32_t> weights;
  std::size_t stride = 0;
};

/// Keys' cubic convolution kernel with a = -0.5, in the order of operations that decides the last bit.
double bicubic_weight(double x) noexcept {
  constexpr double a = -0.5;
  if (x < 0.0) x = -x;
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

/// Fills in the axis from in_size to out_size pixels. When it shrinks, the kernel is stretched by the same
/// factor.
result<void> make_resize_axis(std::uint32_t in_size, std::uint32_t out_size, resize_axis& axis) noexcept {
  const double scale = static_cast<double>(in_size) / out_size;
  const double stretch = scale < 1.0 ? 1.0 : scale;
  const double support = 2.0 * stretch;  // source pixels on each side of the centre
  auto widest = static_cast<std::size_t>(support) + 1;
  widest = (std::min)(2 * widest + 1, std::size_t{in_size});
  array<double> exact(axis.taps.memory());
  if (!axis.taps.resize(out_size) || !axis.weights.resize(out_size * widest) || !exact.resize(widest)) {
    return no_memory("resize weights from ", in_size, " to ", out_size, " pixels");
  }
  axis.stride = widest;
  const double unstretch = 1.0 / stretch;
  for (std::uint32_t i = 0; i < out_size; ++i) {
    const double centre = (i + 0.5) * scale;
    const double begin = centre - support + 0.5;
    const double end = centre + support + 0.5;
    const auto first = begin < 0.0 ? 0u : static_cast<std::uint32_t>(begin);
    const auto last = end > in_size ? in_size : static_cast<std::uint32_t>(end);
    const std::uint32_t count = (std::min)(last - first, static_cast<std::uint32_t>(widest));
    double sum = 0.0;
    for (std::uint32_t j = 0; j < count; ++j) {
      exact[j] = bicubic_weight((j + first - centre + 0.5) * unstretch);
      sum += exact[j];
    }
    std::int32_t* weights = axis.weights.data() + i * widest;
    for (std::uint32_t j = 0; j < count; ++j) {
      const double w = (sum != 0.0 ? exact[j] / sum : exact[j]) * (1 << resize_precision);
      weights[j] = static_cast<std::int32_t>(w < 0.0 ? w - 0.5 : w + 0.5);
    }
    axis.taps[i] = {first, count};
  }
  return {};
}

constexpr std::int32_t resize_half = 1 << (resize_precision - 1);

inline std::uint8_t resize_clamp(std::int32_t sum) noexcept {
  const std::int32_t value = sum >> resize_precision;
  return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

/// One row, from RGB pixels to RGB pixels.
void resize_row(const resize_axis& axis, const std::uint8_t* from, std::uint8_t* to) noexcept {
  const std::size_t outputs = axis.taps.size();
  for (std::size_t i = 0; i < outputs; ++i) {
    const resize_tap tap = axis.taps[i];
    const std::int32_t* weights = axis.weights.data() + i * axis.stride;
    const std::uint8_t* pixel = from + std::size_t{tap.first} * 3;
    std::int32_t red = resize_half, green = resize_half, blue = resize_half;
    for (std::uint32_t j = 0; j < tap.count; ++j, pixel += 3) {
      red += weights[j] * pixel[0];
      green += weights[j] * pixel[1];
      blue += weights[j] * pixel[2];
    }
    *to++ = resize_clamp(red);
    *to++ = resize_clamp(green);
    *to++ = resize_clamp(blue);
  }
}

/// Pillow's choice since version 13 (before, it always went horizontally first): the rounding between the
/// passes makes the two orders differ in the last bit.
constexpr bool resizes_vertically_first(std::int64_t in_width, std::int64_t in_height, std::int64_t width,
                                        std::int64_t height) noexcept {
  return height < in_height && in_height - height > 2 * (in_width - width);
}

/// The rows of a picture as RGB, resized horizontally if there is an axis. The newest `slots` of them are
/// kept, each computed once and in order.
class resized_rows {
 public:
  resized_rows(const image_view& from, const resize_axis* axis, std::size_t row_bytes,
               const memory_hooks& memory) noexcept
      : from_(from),
        axis_(axis),
        row_bytes_(row_bytes),
        as_they_are_(axis == nullptr && from.format == pixel_format::rgb),
        source_(memory),
        rows_(memory) {}

  [[nodiscard]] bool reserve(std::size_t slots) noexcept {
    slots_ = slots;
    if (as_they_are_) return true;
    return source_.resize(std::size_t{from_.width} * 3) && rows_.resize(slots * row_bytes_);
  }
  /// Makes rows [first, first + count) available; first never goes back.
  void advance(std::uint32_t first, std::uint32_t count) noexcept {
    if (as_they_are_) return;
    if (next_ < first) next_ = first;
    for (; next_ < first + count; ++next_) {
      std::uint8_t* to = rows_.data() + (next_ % slots_) * row_bytes_;
      if (axis_ == nullptr) {
        read_rgb_row(from_, next_, to);
      } else if (from_.format == pixel_format::rgb) {
        resize_row(*axis_, from_.row(next_), to);
      } else {
        read_rgb_row(from_, next_, source_.data());
        resize_row(*axis_, source_.data(), to);
      }
    }
  }
  [[nodiscard]] const std::uint8_t* row(std::uint32_t y) const noexcept {
    return as_they_are_ ? from_.row(y) : rows_.data() + (y % slots_) * row_bytes_;
  }

 private:
  const image_view& from_;
  const resize_axis* axis_;  // null: the width stays
  std::size_t row_bytes_;
  bool as_they_are_;
  std::size_t slots_ = 0;
  array<std::uint8_t> source_;
  array<std::uint8_t> rows_;
  std::uint32_t next_ = 0;
};

/// Row y of the vertical pass over `rows`; sums and to have as many elements as a row has bytes.
void resize_down(const resize_axis& axis, std::uint32_t y, const resized_rows& rows,
                 std::span<std::int32_t> sums, std::uint8_t* to) noexcept {
  const resize_tap tap = axis.taps[y];
  const std::int32_t* weights = axis.weights.data() + y * axis.stride;
  const std::size_t row_bytes = sums.size();
  std::int32_t* sum = sums.data();
  for (std::size_t x = 0; x < row_bytes; ++x) sum[x] = resize_half;
  for (std::uint32_t j = 0; j < tap.count; ++j) {
    const std::uint8_t* row = rows.row(tap.first + j);
    const std::int32_t weight = weights[j];
    for (std::size_t x = 0; x < row_bytes; ++x) sum[x] += weight * row[x];
  }
  for (std::size_t x = 0; x < row_bytes; ++x) to[x] = resize_clamp(sum[x]);
}

}  // namespace detail

result<void> resize_bicubic(const image_view& from, std::uint32_t width, std::uint32_t height,
                            std::span<std::uint8_t> rgb, const memory_hooks& memory) noexcept {
  OCELLUS_TRY(check_view(from));
  if (width == 0 || height == 0 || width > max_resize_axis || height > max_resize_axis) {
    return error(error_code::invalid_argument, "resize to ", width, " x ", height, "; each must be 1 to ",
                 max_resize_axis);
  }
  const std::size_t row_bytes = std::size_t{width} * 3;
  if (rgb.size() != row_bytes * height) {
    return error(error_code::invalid_argument, "resize to ", width, " x ", height, " needs ",
                 row_bytes * height, " bytes, got ", rgb.size());
  }

  // An axis that keeps its size is copied: its weights would be 0 and 1.
  const bool changes_width = width != from.width, changes_height = height != from.height;
  detail::resize_axis across{array<detail::resize_tap>(memory), array<std::int32_t>(memory)};
  detail::resize_axis down{array<detail::resize_tap>(memory), array<std::int32_t>(memory)};
  if (changes_width) OCELLUS_TRY(detail::make_resize_axis(from.width, width, across));
  if (changes_height) OCELLUS_TRY(detail::make_resize_axis(from.height, height, down));

  const bool across_last =
      changes_width && detail::resizes_vertically_first(from.width, from.height, width, height);
  const std::size_t middle_bytes = across_last ? std::size_t{from.width} * 3 : row_bytes;
  detail::resized_rows rows(from, changes_width && !across_last ? &across : nullptr, middle_bytes, memory);
  array<std::int32_t> sums(memory);
  array<std::uint8_t> middle(memory);
  if (!rows.reserve(changes_height ? down.stride : 1) || !sums.resize(changes_height ? middle_bytes : 0) ||
      !middle.resize(across_last ? middle_bytes : 0)) {
    return no_memory("resizing to ", width, " x ", height, " pixels");
  }
  for (std::uint32_t y = 0; y < height; ++y) {
    std::uint8_t* to = rgb.data() + y * row_bytes;
    if (!changes_height) {
      rows.advance(y, 1);
      std::memcpy(to, rows.row(y), row_bytes);
      continue;
    }
    rows.advance(down.taps[y].first, down.taps[y].count);
    detail::resize_down(down, y, rows, sums.span(), across_last ? middle.data() : to);
    if (across_last) detail::resize_row(across, middle.data(), to);
  }
  return {};
}

result<image> resize_bicubic(const image_view& from, std::uint32_t width, std::uint32_t height,
                             const memory_hooks& memory) noexcept {
  OCELLUS_TRY(check_view(from));
  if (width > max_resize_axis || height > max_resize_axis) {
    return error(error_code::invalid_argument, "resize to ", width, " x ", height, "; each must be 1 to ",
                 max_resize_axis);
  }
  OCELLUS_ASSIGN(image made, image::make(width, height, memory));
  OCELLUS_TRY(resize_bicubic(from, width, height, made.pixels(), memory));
  return made;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_RESIZE_IPP
