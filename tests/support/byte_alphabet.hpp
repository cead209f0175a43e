// Tokens as vocab.json and tokenizer.json write them: each byte as one printable character, in a JSON string.
#ifndef OCELLUS_TESTS_SUPPORT_BYTE_ALPHABET_HPP
#define OCELLUS_TESTS_SUPPORT_BYTE_ALPHABET_HPP

#include <string>
#include <string_view>

#include "ocellus/io/utf8.hpp"

namespace ocellus_tests {

/// A byte as GPT-2's files write it.
inline std::string in_byte_alphabet(unsigned byte) {
  const auto prints = [](unsigned c) { return (c > 0x20 && c < 0x7f) || (c > 0xa0 && c != 0xad); };
  unsigned code = byte;
  if (!prints(byte)) {
    code = 0x100;
    for (unsigned c = 0; c < byte; ++c) code += prints(c) ? 0u : 1u;
  }
  char text[4];
  return {text, ocellus::encode_utf8(code, text)};
}

/// A JSON string; the content needs no escapes but these.
inline std::string json_quoted(std::string_view content) {
  std::string quoted = "\"";
  for (const char c : content) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_BYTE_ALPHABET_HPP
