// The word pattern of GPT-2's tokenizer, written by hand: cuts text into the pieces inside which tokens are
// merged.
#ifndef OCELLUS_TEXT_PRETOKENIZER_HPP
#define OCELLUS_TEXT_PRETOKENIZER_HPP

#include "ocellus/slice.hpp"
#include "ocellus/text/unicode.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

struct ascii_class_table {
  char_class classes[128] = {};
};

constexpr ascii_class_table make_ascii_classes() noexcept {
  ascii_class_table table;
  for (std::uint32_t c = 0; c < 128; ++c) table.classes[c] = class_of(c);
  return table;
}

inline constexpr ascii_class_table ascii_classes = make_ascii_classes();

struct classified_char {
  char_class what;
  std::size_t end;  // where the next character begins
};

/// The class of the character at text[at]. A byte that begins no well-formed sequence is one of class other.
constexpr classified_char classify_char(std::string_view text, std::size_t at) noexcept {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) return {ascii_classes.classes[byte], at + 1};
  const utf8_step step = read_utf8(slice(text, at));
  if (step.what != utf8_step::kind::code_point) return {char_class::other, at + step.length};
  return {class_of(step.code_point), at + step.length};
}

/// The length of one of 's 't 're 've 'm 'll 'd after the apostrophe at text[at], with it; 0 if none is
/// there.
constexpr std::size_t contraction_length(std::string_view text, std::size_t at) noexcept {
  const char first = at + 1 < text.size() ? text[at + 1] : '\0';
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = at + 2 < text.size() ? text[at + 2] : '\0';
  return ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l') ? 3 : 0;
}

constexpr std::size_t char_run_end(std::string_view text, std::size_t at, char_class what) noexcept {
  while (at < text.size()) {
    const classified_char next = classify_char(text, at);
    if (next.what != what) break;
    at = next.end;
  }
  return at;
}

}  // namespace detail

/// Where the piece that begins at text[at] ends, at < text.size(). The pattern, its alternatives tried in
/// order, is
///   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// Text before `at` has no influence; text after it does (white space leaves its last character to a word).
constexpr std::size_t piece_end(std::string_view text, std::size_t at) noexcept {
  if (text[at] == '\'') {
    if (const std::size_t length = detail::contraction_length(text, at); length != 0) return at + length;
  }
  const detail::classified_char first = detail::classify_char(text, at);
  if (first.what != char_class::space) return detail::char_run_end(text, first.end, first.what);
  if (text[at] == ' ' && at + 1 < text.size()) {
    const detail::classified_char second = detail::classify_char(text, at + 1);
    if (second.what != char_class::space) return detail::char_run_end(text, second.end, second.what);
  }
  std::size_t last = at, end = first.end;  // the last white space character so far, and what follows it
  while (end < text.size()) {
    const detail::classified_char next = detail::classify_char(text, end);
    if (next.what != char_class::space) return last == at ? end : last;
    last = end;
    end = next.end;
  }
  return end;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_PRETOKENIZER_HPP
