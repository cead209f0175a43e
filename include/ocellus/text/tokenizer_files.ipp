// tokenizer::from_files: vocab.json, merges.txt and added_tokens.json.
#ifndef OCELLUS_TEXT_TOKENIZER_FILES_IPP
#define OCELLUS_TEXT_TOKENIZER_FILES_IPP

#include "ocellus/io/utf8.hpp"
#include "ocellus/slice.hpp"
#include "ocellus/text/tokenizer_builder.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

// One merge a line: two tokens with one space between. The first line may be "#version ..."; later on a line
// that begins so is a merge like any other. Empty lines are passed over at the end of the file only.
inline result<void> read_merges(std::string_view merges, tokenizer_builder& builder) noexcept {
  constexpr std::string_view where = "merges.txt, line ";
  std::size_t number = 0, first_empty = 0;
  while (!merges.empty()) {
    const std::size_t newline = merges.find('\n');
    std::string_view line = merges;
    if (newline != std::string_view::npos) line = slice(merges, 0, newline);
    merges.remove_prefix(newline == std::string_view::npos ? merges.size() : newline + 1);
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (number == 1 && line.starts_with("#version")) continue;
    if (line.empty()) {
      if (first_empty == 0) first_empty = number;
      continue;
    }
    if (first_empty != 0) return error(error_code::merge_syntax, where, first_empty, ": an empty line");
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      return error(error_code::merge_syntax, where, number, ": not two tokens and a space: ", quoted{line});
    }
    if (!is_utf8(line)) return error(error_code::utf8, where, number, ": ", quoted{line});
    if (line.starts_with("\xef\xbb\xbf")) {
      return error(error_code::merge_syntax, where, number, ": the file begins with a byte order mark");
    }
    OCELLUS_TRY(builder.add_merge(slice(line, 0, space), slice(line, space + 1), where, number));
  }
  return {};
}

// A JSON file that is an object of tokens and ids.
inline result<json> read_token_map(std::string_view name, std::string_view content,
                                   const memory_hooks& memory) noexcept {
  OCELLUS_TRY(check_tokenizer_file(name, content));
  auto parsed = json::parse(content, memory);
  if (!parsed) return parsed.error().in(name);
  if (!parsed->root().is_object()) {
    return error(error_code::root_not_object, name, " holds ", name_of(parsed->root().kind()));
  }
  return parsed;
}

}  // namespace detail

result<tokenizer> tokenizer::from_files(const tokenizer_files& files, const memory_hooks& memory) noexcept {
  OCELLUS_TRY(detail::check_tokenizer_file("merges.txt", files.merges_txt));
  OCELLUS_ASSIGN(const json vocabulary, detail::read_token_map("vocab.json", files.vocab_json, memory));
  const std::string_view added_file = files.added_tokens_json.empty() ? "{}" : files.added_tokens_json;
  OCELLUS_ASSIGN(const json added, detail::read_token_map("added_tokens.json", added_file, memory));

  detail::tokenizer_builder builder(memory);
  constexpr std::uint32_t special_flags = added_special | added_raw;
  for (const json::member entry : added.root().members()) {
    OCELLUS_ASSIGN(const std::uint32_t id, detail::read_token_id(entry.key, entry.value));
    const std::uint32_t flags = entry.key == end_of_text_token ? special_flags : 0;
    if (auto done = builder.add_added(entry.key, id, flags); !done)
      return done.error().in("added_tokens.json");
  }
  // CodeGen's configuration declares this one, which is in vocab.json, to be special.
  const json::value end = vocabulary.root().find(end_of_text_token);
  if (end && !added.root().find(end_of_text_token)) {
    OCELLUS_ASSIGN(const std::uint32_t id, detail::read_token_id(end_of_text_token, end));
    OCELLUS_TRY(builder.add_added(end_of_text_token, id, special_flags));
  }
  if (auto done = builder.add_vocabulary(vocabulary.root()); !done) return done.error().in("vocab.json");
  if (auto done = builder.finish_tokens(); !done) return done.error().in("vocab.json");
  OCELLUS_TRY(detail::read_merges(files.merges_txt, builder));
  return builder.finish();
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_TOKENIZER_FILES_IPP
