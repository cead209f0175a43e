// Well-formed UTF-8, one sequence at a time: no overlong forms, no surrogates, nothing above U+10FFFF.
#ifndef OCELLUS_IO_UTF8_HPP
#define OCELLUS_IO_UTF8_HPP

#include <string_view>

#include "ocellus/config.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// The length (1 to 4) of the well-formed sequence that text begins with; 0 when there is none.
/// The ranges are those of table 3-7 of the Unicode Standard.
constexpr std::size_t utf8_sequence(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) noexcept { return static_cast<unsigned char>(text[i]); };
  const auto within = [&](std::size_t i, unsigned low, unsigned high) noexcept {
    return i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  if (text.empty()) return 0;
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return within(1, 0x80, 0xbf) ? 2 : 0;
  if (lead < 0xf0) {
    const unsigned low = lead == 0xe0 ? 0xa0 : 0x80;
    const unsigned high = lead == 0xed ? 0x9f : 0xbf;
    return within(1, low, high) && within(2, 0x80, 0xbf) ? 3 : 0;
  }
  if (lead < 0xf5) {
    const unsigned low = lead == 0xf0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xf4 ? 0x8f : 0xbf;
    return within(1, low, high) && within(2, 0x80, 0xbf) && within(3, 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

/// Is all of it well-formed?
constexpr bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

/// Writes a code point that is no surrogate and at most U+10FFFF; returns the number of bytes, 1 to 4.
constexpr std::size_t encode_utf8(std::uint32_t code, char* to) noexcept {
  const auto tail = [code](unsigned shift) noexcept {
    return static_cast<char>(0x80u | ((code >> shift) & 0x3fu));
  };
  if (code < 0x80) return to[0] = static_cast<char>(code), 1;
  if (code < 0x800) return to[0] = static_cast<char>(0xc0u | (code >> 6)), to[1] = tail(0), 2;
  if (code < 0x10000) {
    return to[0] = static_cast<char>(0xe0u | (code >> 12)), to[1] = tail(6), to[2] = tail(0), 3;
  }
  return to[0] = static_cast<char>(0xf0u | (code >> 18)), to[1] = tail(12), to[2] = tail(6), to[3] = tail(0),
         4;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_UTF8_HPP
