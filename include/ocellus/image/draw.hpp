// Drawing on RGB pictures: boxes with labels, as an answer's boxes are shown to people.
#ifndef OCELLUS_IMAGE_DRAW_HPP
#define OCELLUS_IMAGE_DRAW_HPP

#include "ocellus/image/view.hpp"

namespace ocellus::inline OCELLUS_ABI {

struct rgb_color {
  std::uint8_t red = 0, green = 0, blue = 0;
};

/// The i-th of twelve colours that are easily told apart; after the last comes the first again.
[[nodiscard]] rgb_color distinct_color(std::size_t i) noexcept;

/// A rectangle in fractions of the picture's width and height, origin at the top left; parts outside are not drawn.
struct labelled_box {
  float left = 0, top = 0, right = 1, bottom = 1;
  std::string_view label;  ///< UTF-8; a character outside ASCII is drawn as an empty frame
  std::size_t color = 0;   ///< for distinct_color
};

/// Draws the boxes in order, each with its label on a filled background above it (inside it where there is no room).
/// Lines and letters grow with the picture. Corners may be swapped; NaN counts as 0.
/// Errors: invalid_argument when the picture is empty or not RGB.
[[nodiscard]] result<void> draw_boxes(image& picture, std::span<const labelled_box> boxes) noexcept;

/// Fills the pixels [left, right) x [top, bottom) that are inside the picture, which is RGB.
void fill_rectangle(image& picture, std::int64_t left, std::int64_t top, std::int64_t right,
                    std::int64_t bottom, rgb_color color) noexcept;

/// Writes one line of text with its top left corner at (left, top), each letter 5 x 7 dots of scale x scale pixels
/// with one dot between letters. The picture is RGB.
void draw_text(image& picture, std::int64_t left, std::int64_t top, std::string_view text,
               std::uint32_t scale, rgb_color color) noexcept;

/// Pixels that draw_text covers horizontally.
[[nodiscard]] std::int64_t text_width(std::string_view text, std::uint32_t scale) noexcept;

inline constexpr std::uint32_t text_dots_high = 7;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_DRAW_HPP
