// Added tokens: the sorted list and the search in it.
#ifndef OCELLUS_TEXT_ADDED_TOKENS_IPP
#define OCELLUS_TEXT_ADDED_TOKENS_IPP

#include <algorithm>

#include "ocellus/text/added_tokens.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

bool added_token_matcher::add(std::uint32_t id, std::uint32_t flags) noexcept {
  has_plain_ = has_plain_ || (flags & added_special) == 0;
  return entries_.push_back({id, flags});
}

std::uint32_t added_token_matcher::index(const token_list& tokens) noexcept {
  // Comparison of string_views is by unsigned bytes, as the narrowing below needs.
  std::sort(entries_.begin(), entries_.end(),
            [&](const entry& a, const entry& b) noexcept { return tokens[a.id] < tokens[b.id]; });
  std::uint32_t at = 0;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    first_[byte] = at;
    while (at < entries_.size() && static_cast<unsigned char>(tokens[entries_[at].id][0]) == byte) ++at;
  }
  first_[256] = at;
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    if (tokens[entries_[i].id] == tokens[entries_[i - 1].id]) return entries_[i].id;
  }
  return no_token;
}

added_token_matcher::match added_token_matcher::match_at(const token_list& tokens, std::string_view text,
                                                         std::size_t at, bool parse_special) const noexcept {
  match found{at, 0, no_token};
  const auto first_byte = static_cast<unsigned char>(text[at]);
  std::uint32_t low = first_[first_byte], high = first_[first_byte + 1u];
  // Entries low to high begin with the `depth` bytes at text[at].
  for (std::size_t depth = 1; low < high; ++depth) {
    if (tokens[entries_[low].id].size() == depth) {
      if (parse_special || (entries_[low].flags & added_special) == 0) found = {at, depth, entries_[low].id};
      if (++low == high) break;
    }
    if (at + depth == text.size()) break;
    const auto next = static_cast<unsigned char>(text[at + depth]);
    const auto byte_of = [&](std::uint32_t i) noexcept {
      return static_cast<unsigned char>(tokens[entries_[i].id][depth]);
    };
    if (next < byte_of(low) || next > byte_of(high - 1)) break;
    const auto lower_bound = [&](std::uint32_t from, std::uint32_t byte) noexcept {
      std::uint32_t to = high;
      while (from < to) {
        const std::uint32_t middle = from + (to - from) / 2;
        if (byte_of(middle) < byte) {
          from = middle + 1;
        } else {
          to = middle;
        }
      }
      return from;
    };
    low = lower_bound(low, next);
    high = lower_bound(low, next + 1u);
  }
  return found;
}

added_token_matcher::match added_token_matcher::find(const token_list& tokens, std::string_view text,
                                                     std::size_t from, bool parse_special) const noexcept {
  if (active(parse_special)) {
    for (std::size_t at = from; at < text.size(); ++at) {
      const auto byte = static_cast<unsigned char>(text[at]);
      if (first_[byte] == first_[byte + 1u]) continue;
      const match found = match_at(tokens, text, at, parse_special);
      if (found.length != 0) return found;
    }
  }
  return {text.size(), 0, no_token};
}

std::uint32_t added_token_matcher::find_exact(const token_list& tokens,
                                              std::string_view bytes) const noexcept {
  const auto* found = std::lower_bound(
      entries_.begin(), entries_.end(), bytes,
      [&](const entry& e, std::string_view wanted) noexcept { return tokens[e.id] < wanted; });
  return found != entries_.end() && tokens[found->id] == bytes ? found->id : no_token;
}

bool added_token_matcher::is_special(const token_list& tokens, std::uint32_t id) const noexcept {
  const auto* found = std::lower_bound(
      entries_.begin(), entries_.end(), tokens[id],
      [&](const entry& e, std::string_view wanted) noexcept { return tokens[e.id] < wanted; });
  return found != entries_.end() && found->id == id && (found->flags & added_special) != 0;
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_ADDED_TOKENS_IPP
