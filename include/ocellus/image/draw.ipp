// Drawing boxes and letters by filling rectangles that are clipped to the picture.
#ifndef OCELLUS_IMAGE_DRAW_IPP
#define OCELLUS_IMAGE_DRAW_IPP

#include <algorithm>

#include "ocellus/image/draw.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

// ASCII 32 to 126, 5 x 7 dots: bit 5 * row + column, from the top left.
// clang-format off
inline constexpr std::uint64_t glyphs[95] = {
    0x000000000, 0x100421084, 0x00000014a, 0x295f57d4a, 0x11f4717c4, 0x632222263, 0x593511526,
    0x000000084, 0x208210888, 0x088842082, 0x009575480, 0x0084f9080, 0x088600000, 0x0000f8000,
    0x18c000000, 0x002222200, 0x3a33ae62e, 0x3884210c4, 0x7c444422e, 0x3a304111f, 0x211f4a988,
    0x3a3083c3f, 0x3a317844c, 0x08422221f, 0x3a317462e, 0x1910f462e, 0x00c6018c0, 0x0886018c0,
    0x208208888, 0x001f07c00, 0x088882082, 0x10044422e, 0x383daf62e, 0x4631fc62e, 0x3e317c62f,
    0x3a210862e, 0x1d318c527, 0x7c217843f, 0x04217843f, 0x7a31e862e, 0x4631fc631, 0x38842108e,
    0x19284211c, 0x452519531, 0x7c2108421, 0x4631ad771, 0x4639ad671, 0x3a318c62e, 0x04217c62f,
    0x59358c62e, 0x45257c62f, 0x3e107043e, 0x10842109f, 0x3a318c631, 0x11518c631, 0x4775ac631,
    0x462a22a31, 0x108422a31, 0x7c222221f, 0x38421084e, 0x020820820, 0x39084210e, 0x000004544,
    0x7c0000000, 0x000000082, 0x7a3e83800, 0x3e319b421, 0x3a210b800, 0x7a31cda10, 0x383f8b800,
    0x084238a4c, 0x3a1e8c7c0, 0x46319b421, 0x388421804, 0x192843008, 0x24a32a421, 0x388421086,
    0x4635aac00, 0x46319b400, 0x3a318b800, 0x042f8bc00, 0x421ecd800, 0x04219b400, 0x3e0e0f800,
    0x324211c42, 0x5b318c400, 0x11518c400, 0x2ab58c400, 0x454454400, 0x3a1e8c400, 0x7c4447c00,
    0x208411088, 0x108421084, 0x088441082, 0x0008a8800
};
// clang-format on

inline constexpr std::uint64_t frame_glyph = 0x7e318c63f;  // for what the font does not hold
inline constexpr std::int64_t glyph_columns = 5, glyph_step = 6;

/// Takes the first character off the text and returns its dots; continuation bytes of UTF-8 go with it.
std::uint64_t next_glyph(std::string_view& text) noexcept {
  const auto first = static_cast<unsigned char>(text.front());
  text.remove_prefix(1);
  if (first >= 0x80) {
    while (!text.empty() && (static_cast<unsigned char>(text.front()) & 0xc0) == 0x80) text.remove_prefix(1);
  }
  return first >= 32 && first < 127 ? glyphs[first - 32] : frame_glyph;
}

/// A fraction of an axis as a pixel border; a little outside of the picture stays outside.
std::int64_t border(float fraction, std::uint32_t pixels) noexcept {
  const double clamped = fraction >= -1.0f  ? (fraction <= 2.0f ? static_cast<double>(fraction) : 2.0)
                         : fraction < -1.0f ? -1.0
                                            : 0.0;  // NaN
  const double position = clamped * pixels;
  return static_cast<std::int64_t>(position < 0 ? position - 0.5 : position + 0.5);
}

}  // namespace detail

rgb_color distinct_color(std::size_t i) noexcept {
  constexpr rgb_color colors[] = {{230, 30, 40},  {25, 120, 230}, {40, 170, 50},  {250, 140, 0},
                                  {150, 50, 190}, {0, 180, 190},  {240, 60, 170}, {130, 190, 20},
                                  {140, 85, 40},  {250, 210, 30}, {70, 70, 160},  {110, 120, 130}};
  return colors[i % std::size(colors)];
}

void fill_rectangle(image& picture, std::int64_t left, std::int64_t top, std::int64_t right,
                    std::int64_t bottom, rgb_color color) noexcept {
  if (picture.format() != pixel_format::rgb) return;
  left = (std::max)(left, std::int64_t{0});
  top = (std::max)(top, std::int64_t{0});
  right = (std::min)(right, std::int64_t{picture.width()});
  bottom = (std::min)(bottom, std::int64_t{picture.height()});
  for (std::int64_t y = top; y < bottom; ++y) {
    std::uint8_t* pixel = picture.row(static_cast<std::uint32_t>(y)) + left * 3;
    for (std::int64_t x = left; x < right; ++x) {
      *pixel++ = color.red;
      *pixel++ = color.green;
      *pixel++ = color.blue;
    }
  }
}

std::int64_t text_width(std::string_view text, std::uint32_t scale) noexcept {
  std::int64_t characters = 0;
  for (; !text.empty(); ++characters) detail::next_glyph(text);
  return characters == 0 ? 0 : (characters * detail::glyph_step - 1) * scale;
}

void draw_text(image& picture, std::int64_t left, std::int64_t top, std::string_view text,
               std::uint32_t scale, rgb_color color) noexcept {
  while (!text.empty() && left < picture.width()) {
    const std::uint64_t dots = detail::next_glyph(text);
    for (std::int64_t dot = 0; dot < detail::glyph_columns * text_dots_high; ++dot) {
      if ((dots >> dot & 1) == 0) continue;
      const std::int64_t x = left + dot % detail::glyph_columns * scale,
                         y = top + dot / detail::glyph_columns * scale;
      fill_rectangle(picture, x, y, x + scale, y + scale, color);
    }
    left += detail::glyph_step * scale;
  }
}

result<void> draw_boxes(image& picture, std::span<const labelled_box> boxes) noexcept {
  if (picture.width() == 0 || picture.format() != pixel_format::rgb) {
    return error(error_code::invalid_argument, "boxes are drawn on RGB pictures only");
  }
  const std::int64_t width = picture.width(), height = picture.height();
  const auto shorter = (std::min)(picture.width(), picture.height());
  const std::int64_t line = (std::max)(shorter / 150, 1u);
  const std::uint32_t scale = (std::max)((shorter + 60) / 240, 1u);
  const std::int64_t margin = scale + 1, label_height = std::int64_t{text_dots_high} * scale + 2 * margin;
  for (const labelled_box& box : boxes) {
    const std::int64_t x0 = detail::border(box.left, picture.width()),
                       x1 = detail::border(box.right, picture.width());
    const std::int64_t y0 = detail::border(box.top, picture.height());
    const std::int64_t y1 = detail::border(box.bottom, picture.height());
    const std::int64_t left = (std::min)(x0, x1), right = (std::max)((std::max)(x0, x1), left + 1);
    const std::int64_t top = (std::min)(y0, y1), bottom = (std::max)((std::max)(y0, y1), top + 1);
    const rgb_color color = distinct_color(box.color);
    fill_rectangle(picture, left, top, right, (std::min)(top + line, bottom), color);
    fill_rectangle(picture, left, (std::max)(bottom - line, top), right, bottom, color);
    fill_rectangle(picture, left, top, (std::min)(left + line, right), bottom, color);
    fill_rectangle(picture, (std::max)(right - line, left), top, right, bottom, color);
    if (box.label.empty()) continue;

    const std::int64_t label_width = text_width(box.label, scale) + 2 * margin;
    const std::int64_t label_left = (std::max)((std::min)(left, width - label_width), std::int64_t{0});
    const std::int64_t above = top - label_height;
    const std::int64_t label_top =
        above >= 0 ? (std::min)(above, height - label_height) : (std::max)(top, std::int64_t{0});
    fill_rectangle(picture, label_left, label_top, label_left + label_width, label_top + label_height, color);
    // Black on light colours, white on dark ones (weights: ITU-R BT.601 luma).
    const bool light = 299 * color.red + 587 * color.green + 114 * color.blue > 150'000;
    const rgb_color ink = light ? rgb_color{0, 0, 0} : rgb_color{255, 255, 255};
    draw_text(picture, label_left + margin, label_top + margin, box.label, scale, ink);
  }
  return {};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_DRAW_IPP
