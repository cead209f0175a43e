// Puts a tokenizer together from the tokens and merges of Hugging Face's files. For tokenizer_files.ipp and
// tokenizer_json.ipp.
#ifndef OCELLUS_TEXT_TOKENIZER_BUILDER_HPP
#define OCELLUS_TEXT_TOKENIZER_BUILDER_HPP

#include "ocellus/io/json.hpp"
#include "ocellus/text/tokenizer.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// Call in this order: add_added for each added token, add_vocabulary, finish_tokens, add_merge for each,
/// finish. The strings must live until finish_tokens.
class tokenizer_builder {
 public:
  explicit tokenizer_builder(const memory_hooks& memory) noexcept : made_(memory), slots_(memory) {}

  /// A token that is looked for as it is written.
  [[nodiscard]] result<void> add_added(std::string_view content, std::uint32_t id,
                                       std::uint32_t flags) noexcept;
  /// An object of tokens, written in the byte alphabet, and their ids.
  [[nodiscard]] result<void> add_vocabulary(json::value object) noexcept;
  [[nodiscard]] result<void> finish_tokens() noexcept;
  /// Two tokens in the byte alphabet. `where` names the merge in messages: "merges.txt, line " 17.
  [[nodiscard]] result<void> add_merge(std::string_view left, std::string_view right, std::string_view where,
                                       std::size_t number) noexcept;
  [[nodiscard]] result<tokenizer> finish() noexcept;

 private:
  struct slot {
    std::string_view content;
    std::uint32_t flags = 0;
    bool added = false;
    bool ordinary = false;
  };
  [[nodiscard]] result<slot*> slot_of(std::uint32_t id) noexcept;
  [[nodiscard]] result<void> add_ordinary(std::string_view content, json::value id) noexcept;
  [[nodiscard]] std::uint32_t find_ordinary(std::string_view in_alphabet) const noexcept;

  tokenizer made_;
  array<slot> slots_;  // by id
};

/// The id of a token in a JSON file: an unsigned integer below tokenizer::max_ids.
[[nodiscard]] result<std::uint32_t> read_token_id(std::string_view token, json::value id) noexcept;

/// A file that is not empty and not too large for a tokenizer.
[[nodiscard]] result<void> check_tokenizer_file(std::string_view name, std::string_view content) noexcept;

/// Turns text of the byte alphabet into bytes: GPT-2 writes every byte as one printable character, those that
/// print in Latin-1 as themselves, the other 68 as U+0100 and up in the order of their values. `to` has room
/// for as many bytes as the text. Returns their number, or nothing if a character is outside the alphabet.
[[nodiscard]] std::optional<std::size_t> from_byte_alphabet(std::string_view text, char* to) noexcept;

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_TOKENIZER_BUILDER_HPP
