// UTF-8, read one code point at a time, and the classes of code points that the tokenizer's word pattern asks
// for.
#ifndef OCELLUS_TEXT_UNICODE_HPP
#define OCELLUS_TEXT_UNICODE_HPP

#include <iterator>
#include <string_view>

#include "ocellus/text/unicode_tables.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// What the word pattern distinguishes: letters (\p{L}), numbers (\p{N}), white space (\s, Unicode's
/// White_Space property) and everything else, which includes bytes that are no UTF-8.
enum class char_class : std::uint8_t { other, letter, number, space };

/// The class of any number; beyond U+10FFFF and for surrogates it is other.
constexpr char_class class_of(std::uint32_t code_point) noexcept {
  if (code_point > 0x10ffff) return char_class::other;
  // The last run that begins at or before the code point.
  std::size_t low = 0, high = std::size(detail::unicode_runs);
  while (high - low > 1) {
    const std::size_t middle = (low + high) / 2;
    (detail::unicode_runs[middle] >> 2 <= code_point ? low : high) = middle;
  }
  return static_cast<char_class>(detail::unicode_runs[low] & 3u);
}

/// What stands at the beginning of some bytes.
struct utf8_step {
  enum class kind : std::uint8_t {
    code_point,  ///< a well-formed sequence
    invalid,     ///< no sequence can begin with these bytes
    incomplete,  ///< the bytes end inside a sequence that is well-formed so far
  };
  kind what = kind::invalid;
  std::uint8_t length = 0;  ///< bytes that belong to it; a U+FFFD for them is what WHATWG's decoders write
  std::uint32_t code_point = 0;  ///< only if well-formed
};

/// Reads one step; the bytes must not be empty. The length of an invalid step is its "maximal subpart"
/// (Unicode Standard, section 3.9): at least 1, at most 3.
constexpr utf8_step read_utf8(std::string_view bytes) noexcept {
  using kind = utf8_step::kind;
  const auto byte = [&](std::size_t i) noexcept {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i]));
  };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return {kind::code_point, 1, lead};
  if (lead < 0xc2 || lead > 0xf4) return {kind::invalid, 1, 0};
  const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  std::uint32_t code = lead & (0x7fu >> length);
  // Only the second byte has a range of its own: it keeps out overlong forms, surrogates and what is too
  // large.
  std::uint32_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  std::uint32_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {kind::incomplete, static_cast<std::uint8_t>(i), 0};
    if (byte(i) < low || byte(i) > high) return {kind::invalid, static_cast<std::uint8_t>(i), 0};
    code = code << 6 | (byte(i) & 0x3fu);
    low = 0x80;
    high = 0xbf;
  }
  return {kind::code_point, static_cast<std::uint8_t>(length), code};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_UNICODE_HPP
