// Added tokens: strings that are looked for in a text before it is cut into words, leftmost first, longest
// first.
#ifndef OCELLUS_TEXT_ADDED_TOKENS_HPP
#define OCELLUS_TEXT_ADDED_TOKENS_HPP

#include "ocellus/text/bpe.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// What a tokenizer's arrays say about an added token.
enum added_token_flags : std::uint32_t {
  added_special = 1,     ///< recognised only when asked for
  added_raw = 2,         ///< "normalized": false, looked for in the whole text before those without the flag
  added_ordinary = 4,    ///< also a token of the vocabulary, which merges may make
  added_known_flags = 7  ///< all of them
};

namespace detail {

/// Finds added tokens. The strings are kept sorted, so those that begin alike are neighbours and a match
/// narrows a range.
class added_token_matcher {
 public:
  struct match {
    std::size_t begin;
    std::size_t length;  // 0: there is no match and begin is the text's end
    std::uint32_t id;
  };

  added_token_matcher() noexcept = default;
  explicit added_token_matcher(const memory_hooks& memory) noexcept : entries_(memory) {}

  /// False when memory is out. Call index() when all are there.
  [[nodiscard]] bool add(std::uint32_t id, std::uint32_t flags) noexcept;
  /// The id of a token whose bytes another one has too, or no_token.
  [[nodiscard]] std::uint32_t index(const token_list& tokens) noexcept;

  /// The first token at or after text[from]; of those that begin there, the longest.
  [[nodiscard]] match find(const token_list& tokens, std::string_view text, std::size_t from,
                           bool parse_special) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  [[nodiscard]] std::uint32_t id(std::size_t i) const noexcept { return entries_[i].id; }
  /// Is there any token to look for?
  [[nodiscard]] bool active(bool parse_special) const noexcept {
    return parse_special ? !entries_.empty() : has_plain_;
  }
  /// The added token of exactly these bytes, or no_token.
  [[nodiscard]] std::uint32_t find_exact(const token_list& tokens, std::string_view bytes) const noexcept;
  [[nodiscard]] bool is_special(const token_list& tokens, std::uint32_t id) const noexcept;

 private:
  struct entry {
    std::uint32_t id;
    std::uint32_t flags;
  };
  [[nodiscard]] match match_at(const token_list& tokens, std::string_view text, std::size_t at,
                               bool parse_special) const noexcept;

  array<entry> entries_;
  std::uint32_t first_[257] = {};  // first_[b]: the first entry that begins with byte b or a later one
  bool has_plain_ = false;
};

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_ADDED_TOKENS_HPP
