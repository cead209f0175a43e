// A tokenizer small enough to break on purpose: 256 bytes, a few merges, two added tokens, as the texts of its files.
#ifndef OCELLUS_TESTS_SUPPORT_SMALL_TOKENIZER_HPP
#define OCELLUS_TESTS_SUPPORT_SMALL_TOKENIZER_HPP

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "ocellus/text/tokenizer.hpp"
#include "support/byte_alphabet.hpp"

namespace ocellus_tests {

/// Ids: bytes 0 to 255 are themselves, then the tokens in order, then <|endoftext|>; added tokens follow.
struct small_tokenizer {
  std::vector<std::string> tokens = {"th",  "the", "\u0120the", "ab",
                                     "abc", "bc",  "aa",        "aaaa"};  // \u0120: a space
  std::vector<std::string> merges = {"t h", "th e", "\u0120 the", "b c", "a b", "ab c", "a a", "aa aa"};
  std::string added = R"({"  ": 300, "   ": 301})";
  std::string more_vocabulary;  // appended inside the object: ",\"x\": 400"
  std::string no_such_byte;     // left out of the vocabulary

  std::string vocab_json() const {
    std::string json = "{\"<|endoftext|>\": " + std::to_string(256 + tokens.size());
    for (unsigned byte = 0; byte < 256; ++byte) {
      const std::string written = in_byte_alphabet(byte);
      if (written != no_such_byte) json += "," + json_quoted(written) + ":" + std::to_string(byte);
    }
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      json += "," + json_quoted(tokens[i]) + ":" + std::to_string(256 + i);
    }
    return json + more_vocabulary + "}";
  }
  std::string merges_txt() const {
    std::string text = "#version: 0.2\n";
    for (const std::string& merge : merges) text += merge + "\n";
    return text;
  }
  unsigned end_of_text() const { return 256 + static_cast<unsigned>(tokens.size()); }

  // tokenizer.json, a part at a time.
  std::string json_added = R"([{"id": 264, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
    "rstrip": false, "normalized": false, "special": true},
    {"id": 300, "content": "  ", "normalized": true, "special": false}])";
  std::string json_head = R"("version": "1.0", "truncation": null, "padding": null, "normalizer": null)";
  std::string json_pre =
      R"("pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true})";
  std::string json_post = R"("post_processor": {"type": "ByteLevel", "trim_offsets": false})";
  std::string json_decoder = R"("decoder": {"type": "ByteLevel", "add_prefix_space": true})";
  std::string json_options = R"("type": "BPE", "dropout": null, "unk_token": null, "byte_fallback": false)";
  std::string json_merges;  // empty: the merges as strings

  std::string merge_strings() const {
    std::string list;
    for (const std::string& merge : merges) list += (list.empty() ? "" : ",") + json_quoted(merge);
    return "[" + list + "]";
  }
  std::string merge_pairs() const {
    std::string list;
    for (const std::string& merge : merges) {
      const std::size_t space = merge.find(' ');
      list += (list.empty() ? "[" : ",[") + json_quoted(merge.substr(0, space)) + "," +
              json_quoted(merge.substr(space + 1)) + "]";
    }
    return "[" + list + "]";
  }
  std::string tokenizer_json() const {
    return "{" + json_head + ", \"added_tokens\": " + json_added + "," + json_pre + "," + json_post + "," +
           json_decoder + ", \"model\": {" + json_options + ", \"vocab\": " + vocab_json() +
           ", \"merges\": " + (json_merges.empty() ? merge_strings() : json_merges) + "}}";
  }
};

/// The ids of a text, as a vector.
inline std::vector<std::uint32_t> ids_of(const ocellus::tokenizer& words, std::string_view text,
                                         bool parse_special = false) {
  ocellus::array<std::uint32_t> ids;
  REQUIRE(words.encode(text, {parse_special}, ids));
  return {ids.begin(), ids.end()};
}

/// The bytes of ids, as a string.
inline std::string text_of(const ocellus::tokenizer& words, const std::vector<std::uint32_t>& ids) {
  ocellus::text bytes;
  REQUIRE(words.decode(ids, bytes));
  return std::string(bytes.view());
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_SMALL_TOKENIZER_HPP
