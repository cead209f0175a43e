// Puts a tokenizer together from the tokens and merges of Hugging Face's files.
#ifndef OCELLUS_TEXT_TOKENIZER_BUILDER_IPP
#define OCELLUS_TEXT_TOKENIZER_BUILDER_IPP

#include "ocellus/text/tokenizer_builder.hpp"
#include "ocellus/text/unicode.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

struct byte_alphabet {
  // What the characters U+0100 to U+0143 stand for.
  char shifted[68] = {};

  static constexpr bool prints(std::uint32_t c) noexcept {
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xff && c != 0xad);
  }
  constexpr byte_alphabet() noexcept {
    std::size_t n = 0;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      if (!prints(byte)) shifted[n++] = static_cast<char>(byte);
    }
  }
};

inline constexpr byte_alphabet gpt2_alphabet;

std::optional<std::size_t> from_byte_alphabet(std::string_view text, char* to) noexcept {
  std::size_t n = 0;
  while (!text.empty()) {
    const utf8_step step = read_utf8(text);
    const std::uint32_t c = step.code_point;
    if (step.what != utf8_step::kind::code_point) return std::nullopt;
    if (byte_alphabet::prints(c)) {
      to[n++] = static_cast<char>(c);
    } else if (c >= 0x100 && c - 0x100 < sizeof(gpt2_alphabet.shifted)) {
      to[n++] = gpt2_alphabet.shifted[c - 0x100];
    } else {
      return std::nullopt;
    }
    text.remove_prefix(step.length);
  }
  return n;
}

result<std::uint32_t> read_token_id(std::string_view token, json::value id) noexcept {
  if (id.kind() != json_kind::number) {
    return error(error_code::token_id, "the id of token ", quoted{token}, " is ", name_of(id.kind()));
  }
  const std::optional<std::uint64_t> number = id.as_uint64();
  if (!number || *number >= tokenizer::max_ids) {
    return error(error_code::token_id, "the id of token ", quoted{token}, " is ", quoted{id.number_text()},
                 ", not an integer from 0 to ", tokenizer::max_ids - 1);
  }
  return static_cast<std::uint32_t>(*number);
}

result<void> check_tokenizer_file(std::string_view name, std::string_view content) noexcept {
  if (content.empty()) return error(error_code::empty_file, name);
  if (content.size() > tokenizer::max_file_bytes) {
    return error(error_code::limit_tokens, name, " has ", content.size(), " bytes; at most ",
                 tokenizer::max_file_bytes);
  }
  return {};
}

result<tokenizer_builder::slot*> tokenizer_builder::slot_of(std::uint32_t id) noexcept {
  if (id >= slots_.size() && !slots_.resize(std::size_t{id} + 1)) return no_memory("a vocabulary");
  return &slots_[id];
}

result<void> tokenizer_builder::add_added(std::string_view content, std::uint32_t id,
                                          std::uint32_t flags) noexcept {
  if (content.empty()) return error(error_code::token_empty, "added token ", id);
  if (content.size() > tokenizer::max_added_bytes) {
    return error(error_code::token_too_long, "added token ", id, " has ", content.size(), " bytes");
  }
  OCELLUS_ASSIGN(slot * at, slot_of(id));
  if (at->added) {
    return error(error_code::token_id_duplicate, "added tokens ", quoted{at->content}, " and ",
                 quoted{content}, " have id ", id);
  }
  *at = {content, flags, true, false};
  return {};
}

result<void> tokenizer_builder::add_vocabulary(json::value object) noexcept {
  if (object.size() > tokenizer::max_ids) {
    return error(error_code::limit_tokens, "a vocabulary of ", object.size(), " tokens; at most ",
                 tokenizer::max_ids);
  }
  for (std::size_t id = 0; id < slots_.size(); ++id) {
    if (!slots_[id].added) continue;
    const json::value same = object.find(slots_[id].content);
    if (!same) continue;
    OCELLUS_ASSIGN(const std::uint32_t other, read_token_id(slots_[id].content, same));
    if (other != id) {
      return error(error_code::token_duplicate, "added token ", quoted{slots_[id].content}, " has id ", id,
                   " and id ", other, " in the vocabulary");
    }
  }
  for (const json::member entry : object.members()) OCELLUS_TRY(add_ordinary(entry.key, entry.value));
  return {};
}

result<void> tokenizer_builder::add_ordinary(std::string_view content, json::value id_value) noexcept {
  OCELLUS_ASSIGN(const std::uint32_t id, read_token_id(content, id_value));
  if (content.empty()) return error(error_code::token_empty, "token ", id);
  if (content.size() > 2 * tokenizer::max_token_bytes) {  // one or two bytes a character of the alphabet
    return error(error_code::token_too_long, "token ", id, ", ", quoted{content});
  }
  OCELLUS_ASSIGN(slot * at, slot_of(id));
  char bytes[2 * tokenizer::max_token_bytes];
  const std::optional<std::size_t> length = from_byte_alphabet(content, bytes);
  if (at->added && at->content == content) {
    // A vocabulary may list an added token as it is written. It is ordinary if it would be the same bytes as
    // such.
    at->ordinary = length && std::string_view(bytes, *length) == content;
    return {};
  }
  if (at->added || at->ordinary) {
    return error(error_code::token_id_duplicate, "tokens ", quoted{at->content}, " and ", quoted{content},
                 " have id ", id);
  }
  if (!length) {
    return error(error_code::token_alphabet, "token ", id, ", ", quoted{content},
                 ", holds a character outside the byte alphabet");
  }
  if (*length > tokenizer::max_token_bytes) {
    return error(error_code::token_too_long, "token ", id, " has ", *length, " bytes");
  }
  *at = {content, 0, false, true};
  return {};
}

result<void> tokenizer_builder::finish_tokens() noexcept {
  const memory_hooks& memory = made_.bytes_.memory();
  if (!made_.offsets_.reserve(slots_.size() + 1)) return no_memory("a vocabulary of ", slots_.size(), " ids");
  for (std::uint32_t id = 0; id < slots_.size(); ++id) {
    const slot& at = slots_[id];
    bool stored = made_.offsets_.push_back(static_cast<std::uint32_t>(made_.bytes_.size()));
    if (at.added) {
      const std::uint32_t pair[] = {id, at.flags | (at.ordinary ? std::uint32_t{added_ordinary} : 0u)};
      stored = stored && made_.bytes_.append(at.content) &&
               made_.added_.append(std::span<const std::uint32_t>(pair));
    } else if (at.ordinary) {
      char bytes[2 * tokenizer::max_token_bytes];
      const std::size_t length = from_byte_alphabet(at.content, bytes).value_or(0);
      stored = stored && made_.bytes_.append(std::string_view(bytes, length));
    }
    if (!stored) return no_memory("a vocabulary of ", slots_.size(), " ids");
    if (made_.bytes_.size() > tokenizer::max_all_bytes) {
      return error(error_code::limit_tokens, "the tokens have more than ", tokenizer::max_all_bytes,
                   " bytes together");
    }
  }
  if (!made_.offsets_.push_back(static_cast<std::uint32_t>(made_.bytes_.size()))) {
    return no_memory("a vocabulary of ", slots_.size(), " ids");
  }
  slots_ = array<slot>(memory);
  OCELLUS_TRY(made_.check_tokens());
  OCELLUS_TRY(made_.index_tokens());
  return made_.index_added();
}

std::uint32_t tokenizer_builder::find_ordinary(std::string_view in_alphabet) const noexcept {
  char bytes[2 * tokenizer::max_token_bytes];
  if (in_alphabet.size() > sizeof(bytes)) return no_token;
  const std::optional<std::size_t> length = from_byte_alphabet(in_alphabet, bytes);
  return length ? made_.ordinary_.find(made_.tokens(), {bytes, *length}) : no_token;
}

result<void> tokenizer_builder::add_merge(std::string_view left, std::string_view right,
                                          std::string_view where, std::size_t number) noexcept {
  if (left.empty() || right.empty()) {
    return error(error_code::merge_syntax, where, number, ": a token of the merge is empty");
  }
  if (made_.merges_.size() / 2 == tokenizer::max_merges) {
    return error(error_code::limit_merges, where, number, ": more than ", tokenizer::max_merges, " merges");
  }
  for (const std::string_view part : {left, right}) {
    const std::uint32_t id = find_ordinary(part);
    if (id == no_token) return error(error_code::merge_unknown, where, number, ": no token ", quoted{part});
    if (!made_.merges_.push_back(id)) return no_memory("merges");
  }
  return {};
}

result<tokenizer> tokenizer_builder::finish() noexcept {
  OCELLUS_TRY(made_.index_merges());
  std::uint32_t end = no_token;
  for (const added_token_matcher* matcher : {&made_.first_added_, &made_.second_added_}) {
    if (end == no_token) end = matcher->find_exact(made_.tokens(), tokenizer::end_of_text_token);
  }
  if (end == no_token) end = made_.ordinary_.find(made_.tokens(), tokenizer::end_of_text_token);
  if (end == no_token) {
    return error(error_code::end_of_text_missing, "no token ", quoted{tokenizer::end_of_text_token});
  }
  made_.end_of_text_ = end;
  return std::move(made_);
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_TOKENIZER_BUILDER_IPP
