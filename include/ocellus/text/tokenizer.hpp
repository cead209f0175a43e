// tokenizer: CodeGen's byte-level BPE, exact, with its added tokens. Text to token ids and back.
#ifndef OCELLUS_TEXT_TOKENIZER_HPP
#define OCELLUS_TEXT_TOKENIZER_HPP

#include <optional>

#include "ocellus/text/added_tokens.hpp"
#include "ocellus/text/bpe.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {
class tokenizer_builder;
}

/// The contents of a Hugging Face folder's three files. added_tokens_json may be empty: no added tokens.
struct tokenizer_files {
  std::string_view vocab_json;
  std::string_view merges_txt;
  std::string_view added_tokens_json;
};

/// A tokenizer as flat little-endian arrays at any alignment: what a model file stores.
struct tokenizer_data {
  std::span<const std::byte> bytes;  ///< u8: the bytes of all tokens, joined in the order of their ids
  std::span<const std::byte>
      offsets;  ///< u32 [ids + 1]: where each token begins; an id without bytes has no token
  std::span<const std::byte> merges;   ///< u32 [merges, 2]: ids of the left and the right part, by rank
  std::span<const std::byte> added;    ///< u32 [added tokens, 2]: id and added_token_flags
  std::span<const std::byte> special;  ///< u32 [1]: the id of the end-of-text token
};

struct encode_options {
  /// Turn the text of special tokens ("<|endoftext|>") into their ids. Leave it off for text that a user
  /// typed. The added tokens that are not special (runs of spaces) are recognised always.
  bool parse_special = false;
};

/// Immutable after loading: const methods may be called from any threads at once. Move-only.
class tokenizer {
 public:
  // What a tokenizer may ask of its reader. Ids are below max_ids, holes between them included.
  static constexpr std::uint32_t max_ids = 1'000'000;
  static constexpr std::uint32_t max_token_bytes = 4096;
  static constexpr std::uint32_t max_all_bytes = 16u << 20;  ///< of all tokens together
  static constexpr std::uint32_t max_added_bytes = 256;      ///< of one added token
  static constexpr std::uint32_t max_merges = 1'000'000;
  static constexpr std::size_t max_file_bytes = std::size_t{64} << 20;  ///< of each file
  static constexpr std::size_t max_text_bytes = std::size_t{1} << 30;   ///< of one text to encode
  static constexpr std::string_view end_of_text_token = "<|endoftext|>";

  /// From vocab.json, merges.txt and added_tokens.json. "<|endoftext|>" is special, the added tokens are not.
  /// Errors: those of json::parse, empty_file, too_large, root_not_object, token_*, merge_*, byte_missing,
  /// limit_*, end_of_text_missing, utf8, out_of_memory.
  [[nodiscard]] static result<tokenizer> from_files(const tokenizer_files& files,
                                                    const memory_hooks& memory = {}) noexcept;
  /// From tokenizer.json, with merges as strings or as pairs. What the file asks for and this class does not
  /// do (normalizers, other patterns, dropout, ...) is an error, never ignored. Unknown top-level keys are
  /// passed over. Errors: as above, and tokenizer_unsupported, field_missing, field_type.
  [[nodiscard]] static result<tokenizer> from_json(std::string_view tokenizer_json,
                                                   const memory_hooks& memory = {}) noexcept;
  /// From arrays, which are checked entirely and copied. Errors: tokenizer_data and those of from_files that
  /// are about tokens and merges.
  [[nodiscard]] static result<tokenizer> from_data(const tokenizer_data& data,
                                                   const memory_hooks& memory = {}) noexcept;
  /// The same tokenizer as arrays; views that live as long as it does.
  [[nodiscard]] tokenizer_data data() const noexcept;

  /// Appends the text's tokens. Any bytes may be encoded: those that are no UTF-8 count, each sequence that
  /// breaks off, as characters that are neither letters, numbers nor white space; decoding gives the same
  /// bytes back. There is at most one token a byte, so out.reserve(out.size() + text.size()) is enough. Works
  /// on the stack for words of up to 48 bytes; longer ones take memory from out's allocator for the time of
  /// the call. After an error out is as before. Errors: text_too_long, out_of_memory.
  [[nodiscard]] result<void> encode(std::string_view text, const encode_options& options,
                                    array<std::uint32_t>& out) const noexcept;
  [[nodiscard]] result<void> encode(std::string_view text, array<std::uint32_t>& out) const noexcept {
    return encode(text, encode_options{}, out);
  }

  /// Appends the bytes of the tokens, special ones included; ids without a token give nothing. The bytes may
  /// break off inside a code point: see stream_decoder. After an error (out_of_memory) out is as before.
  [[nodiscard]] result<void> decode(std::span<const std::uint32_t> ids, ocellus::text& out) const noexcept;

  /// The bytes that a token stands for; empty for every id without a token, of whatever size.
  [[nodiscard]] std::string_view token_bytes(std::uint32_t id) const noexcept {
    return id < vocab_size() ? tokens()[id] : std::string_view();
  }
  [[nodiscard]] bool has_token(std::uint32_t id) const noexcept { return !token_bytes(id).empty(); }
  /// The largest id plus one. Not every id below it need have a token; a model's logits may be wider.
  [[nodiscard]] std::uint32_t vocab_size() const noexcept {
    return offsets_.empty() ? 0 : static_cast<std::uint32_t>(offsets_.size() - 1);
  }
  /// The token of exactly these bytes; an ordinary one if both an ordinary and an added one have them.
  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view bytes) const noexcept;
  /// "<|endoftext|>": beginning, end, unknown and padding in one.
  [[nodiscard]] std::uint32_t end_of_text() const noexcept { return end_of_text_; }
  /// Was it declared special? Streaming leaves such tokens out of an answer.
  [[nodiscard]] bool is_special(std::uint32_t id) const noexcept;

 private:
  friend class detail::tokenizer_builder;
  explicit tokenizer(const memory_hooks& memory) noexcept;

  [[nodiscard]] detail::token_list tokens() const noexcept {
    return {bytes_.data(), offsets_.data(), vocab_size()};
  }
  [[nodiscard]] result<void> check_tokens() const noexcept;
  [[nodiscard]] result<void> index_tokens() noexcept;
  [[nodiscard]] result<void> index_added() noexcept;
  [[nodiscard]] result<void> index_merges() noexcept;
  [[nodiscard]] bool encode_words(std::string_view text, detail::bpe_scratch& scratch,
                                  array<std::uint32_t>& out) const noexcept;
  [[nodiscard]] bool encode_gap(std::string_view text, bool parse_special, detail::bpe_scratch& scratch,
                                array<std::uint32_t>& out) const noexcept;

  ocellus::text bytes_;
  array<std::uint32_t> offsets_;
  array<std::uint32_t> merges_;  // [merges][left, right]
  array<std::uint32_t> added_;   // [added tokens][id, flags]
  detail::token_table ordinary_;
  detail::merge_table merge_table_;
  detail::added_token_matcher first_added_;   // those that are looked for before a normalizer would run
  detail::added_token_matcher second_added_;  // and after
  // By id: is it known that merging the token's bytes gives the token? Encoding notes what it finds, a hint for later
  // words that changes no result. To try it for all tokens would be most of the time that opening a model takes.
  mutable array<detail::shared_flag> whole_;
  std::uint32_t byte_ids_[256] = {};
  std::uint32_t end_of_text_ = 0;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_TOKENIZER_HPP
