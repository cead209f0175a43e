// Boxes in answers: "<p>a red car</p> {<10><20><55><60>}" to numbers and back.
#ifndef OCELLUS_TEXT_BOXES_HPP
#define OCELLUS_TEXT_BOXES_HPP

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// A box in hundredths of the picture's width and height, (0, 0) top left.
struct answer_box {
  std::string_view phrase;  ///< what it is said to show, a part of the answer; empty if nothing is said
  std::uint32_t x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  bool valid = false;  ///< x0 <= x1 <= 100 and y0 <= y1 <= 100

  friend constexpr bool operator==(const answer_box&, const answer_box&) noexcept = default;
};

/// Appends all boxes of an answer, in order. A box is four numbers in angle brackets; the braces around it
/// may be missing, spaces may stand between. The phrase of a box is the <p>...</p> right before it or before
/// the box that it is joined to by <delim>. What is broken is passed over. Error: out_of_memory; out is then
/// as before.
[[nodiscard]] result<void> parse_boxes(std::string_view answer, array<answer_box>& out) noexcept;

/// Appends "{<x0><y0><x1><y1>}", as [identify] wants it. Errors: invalid_argument (a box that is not valid,
/// whatever its flag says), out_of_memory.
[[nodiscard]] result<void> append_box(const answer_box& box, text& out) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_BOXES_HPP
