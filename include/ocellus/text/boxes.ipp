// Boxes in answers: a scanner that accepts what it knows and passes over the rest.
#ifndef OCELLUS_TEXT_BOXES_IPP
#define OCELLUS_TEXT_BOXES_IPP

#include <charconv>

#include "ocellus/text/boxes.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

inline void skip_blanks(std::string_view& rest) noexcept {
  while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\n' || rest.front() == '\t'))
    rest.remove_prefix(1);
}

inline bool skip_literal(std::string_view& rest, std::string_view literal) noexcept {
  if (!rest.starts_with(literal)) return false;
  rest.remove_prefix(literal.size());
  return true;
}

// "<12>" with one to nine digits.
inline bool scan_coordinate(std::string_view& rest, std::uint32_t& value) noexcept {
  std::string_view from = rest;
  if (!skip_literal(from, "<")) return false;
  std::size_t digits = 0;
  for (value = 0; digits < from.size() && from[digits] >= '0' && from[digits] <= '9'; ++digits) {
    if (digits == 9) return false;
    value = value * 10 + static_cast<std::uint32_t>(from[digits] - '0');
  }
  from.remove_prefix(digits);
  if (digits == 0 || !skip_literal(from, ">")) return false;
  rest = from;
  return true;
}

inline bool is_valid_box(const answer_box& box) noexcept {
  return box.x0 <= box.x1 && box.x1 <= 100 && box.y0 <= box.y1 && box.y1 <= 100;
}

inline bool scan_box(std::string_view& rest, answer_box& box) noexcept {
  std::string_view from = rest;
  const bool brace = skip_literal(from, "{");
  for (std::uint32_t* value : {&box.x0, &box.y0, &box.x1, &box.y1}) {
    skip_blanks(from);
    if (!scan_coordinate(from, *value)) return false;
  }
  std::string_view after = from;
  skip_blanks(after);
  if (brace && skip_literal(after, "}")) from = after;
  box.valid = is_valid_box(box);
  rest = from;
  return true;
}

}  // namespace detail

result<void> parse_boxes(std::string_view answer, array<answer_box>& out) noexcept {
  const std::size_t before = out.size();
  std::string_view phrase;
  const char* opened = nullptr;  // what follows the last "<p>", until its "</p>" or a box
  for (std::string_view rest = answer; !rest.empty();) {
    answer_box box;
    const char* const here = rest.data();
    if (detail::skip_literal(rest, "<p>")) {
      opened = rest.data();
      phrase = {};
    } else if (opened != nullptr && detail::skip_literal(rest, "</p>")) {
      phrase = {opened, static_cast<std::size_t>(here - opened)};
      opened = nullptr;
    } else if ((*here == '{' || *here == '<') && detail::scan_box(rest, box)) {
      opened = nullptr;
      box.phrase = phrase;
      if (!out.push_back(box)) {
        out.truncate(before);
        return no_memory("the boxes of an answer");
      }
    } else if (!detail::skip_literal(rest, "<delim>")) {
      // Any text but blanks and <delim> between a phrase and a box parts them.
      if (*here != ' ' && *here != '\n' && *here != '\t') phrase = {};
      rest.remove_prefix(1);
    }
  }
  return {};
}

result<void> append_box(const answer_box& box, text& out) noexcept {
  if (!detail::is_valid_box(box)) {
    return error(error_code::invalid_argument, "a box from ", box.x0, ", ", box.y0, " to ", box.x1, ", ",
                 box.y1, " is not within 0 to 100");
  }
  char written[24];
  char* at = written;
  *at++ = '{';
  for (const std::uint32_t value : {box.x0, box.y0, box.x1, box.y1}) {
    *at++ = '<';
    at = std::to_chars(at, written + sizeof(written), value).ptr;
    *at++ = '>';
  }
  *at++ = '}';
  if (!out.append({written, static_cast<std::size_t>(at - written)})) return no_memory("a box");
  return {};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_BOXES_IPP
