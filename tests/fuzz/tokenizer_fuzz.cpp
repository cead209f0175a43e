// tokenizer: the first byte says what the others are: Hugging Face's three files, tokenizer.json, a model file's arrays, or
// one of these without the tokens of the 256 bytes, which are needed and which a fuzzer mostly breaks. Every token of
// what is accepted is decoded, found and encoded, and its arrays make the same tokenizer again.
#include "ocellus/text/tokenizer.hpp"

#include "fuzz/fuzz.hpp"
#include "support/byte_alphabet.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

// Ids may have holes up to a million, so a tokenizer of few bytes may take this much.
constexpr std::size_t promised = mib(128);

/// The members of vocab.json for the 256 bytes, ids 0 to 255, and end-of-text, id 256, without the closing brace.
std::string byte_vocabulary() {
  std::string json = R"({"<|endoftext|>":256)";
  for (unsigned byte = 0; byte < 256; ++byte) {
    json +=
        "," + ocellus_tests::json_quoted(ocellus_tests::in_byte_alphabet(byte)) + ":" + std::to_string(byte);
  }
  return json;
}

std::vector<char> exact(const std::string& text) { return {text.begin(), text.end()}; }
std::string_view view(const std::vector<char>& text) { return {text.data(), text.size()}; }

/// More members of the vocabulary, the lines of merges.txt, added_tokens.json.
result<tokenizer> load_more_files(input in, const memory_hooks& memory) {
  const auto more = in.take_part(), merges = in.take_part(), added = in.take_part();
  const auto vocabulary = exact(byte_vocabulary() + std::string(chars(more)) + "}");
  return tokenizer::from_files({view(vocabulary), chars(merges), chars(added)}, memory);
}

/// More members of the vocabulary, members of the model beside it, members of the root.
result<tokenizer> load_more_json(input in, const memory_hooks& memory) {
  const auto more = in.take_part(), model = in.take_part(), root = in.take_part();
  const std::string byte_level = R"({"type":"ByteLevel","add_prefix_space":false})";
  const auto json = exact(R"({"pre_tokenizer":)" + byte_level + R"(,"decoder":)" + byte_level +
                          std::string(chars(root)) + R"(,"model":{"vocab":)" + byte_vocabulary() +
                          std::string(chars(more)) + "}" + std::string(chars(model)) + "}}");
  return tokenizer::from_json(view(json), memory);
}

/// Tokens behind their lengths (a byte each, 0 ends), merges and added tokens as pairs of numbers of two bytes.
result<tokenizer> load_more_arrays(input in, const memory_hooks& memory) {
  std::string bytes;
  std::vector<std::uint32_t> offsets{0}, merges, added, special;
  const auto add = [&](std::string_view token) {
    bytes += token;
    offsets.push_back(static_cast<std::uint32_t>(bytes.size()));
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  while (const std::uint32_t length = in.byte()) add(chars(in.take(length - 1)));  // 1: an id without a token
  special.push_back(in.number(2));
  for (std::uint32_t pairs = in.byte(); pairs != 0; --pairs)
    merges.push_back(in.number(2)), merges.push_back(in.number(2));
  for (std::uint32_t pairs = in.byte(); pairs != 0; --pairs)
    added.push_back(in.number(2)), added.push_back(in.byte());
  for (auto* numbers : {&offsets, &merges, &added}) numbers->shrink_to_fit();
  const auto of = [](const auto& items) { return std::as_bytes(std::span(items)); };
  const auto exact_bytes = exact(bytes);
  return tokenizer::from_data({of(exact_bytes), of(offsets), of(merges), of(added), of(special)}, memory);
}

result<tokenizer> load(input in, const memory_hooks& memory) {
  switch (in.byte() % 6) {
    case 0: {
      const auto vocabulary = in.take_part(), merges = in.take_part(), added = in.take_part();
      return tokenizer::from_files({chars(vocabulary), chars(merges), chars(added)}, memory);
    }
    case 1:
      return tokenizer::from_json(chars(in.rest()), memory);
    case 2:
      return load_more_files(in, memory);
    case 3:
      return load_more_json(in, memory);
    case 4:
      return load_more_arrays(in, memory);
    default: {
      // Each array behind its length, of two bytes.
      const auto bytes = in.take(in.number(2)), offsets = in.take(in.number(2)),
                 merges = in.take(in.number(2)), added = in.take(in.number(2)),
                 special = in.take(in.number(2));
      return tokenizer::from_data({bytes, offsets, merges, added, special}, memory);
    }
  }
}

void check_round_trip(const tokenizer& words, std::string_view bytes) {
  for (const bool parse_special : {false, true}) {
    array<std::uint32_t> ids;
    OCELLUS_HOLDS(words.encode(bytes, {parse_special}, ids));
    OCELLUS_HOLDS(ids.size() <= bytes.size());
    text decoded;
    OCELLUS_HOLDS(words.decode(ids.span(), decoded));
    OCELLUS_HOLDS(decoded.view() == bytes);
    for (const std::uint32_t id : ids) OCELLUS_HOLDS(parse_special || !words.is_special(id));
  }
}

void check_tokens(const tokenizer& words) {
  OCELLUS_HOLDS(words.has_token(words.end_of_text()));
  std::uint32_t tokens = 0;
  for (std::uint32_t id = 0; id < words.vocab_size(); ++id) {
    const std::string_view bytes = words.token_bytes(id);
    if (bytes.empty()) continue;
    const auto found = words.find(bytes);
    OCELLUS_HOLDS(found.has_value() && words.token_bytes(*found) == bytes);
    static_cast<void>(words.is_special(id));
    if (++tokens <= 1024) check_round_trip(words, bytes);
  }
  OCELLUS_HOLDS(!words.has_token(words.vocab_size()) && !words.has_token(0xffffffff));
}

void check_arrays(const tokenizer& words, std::string_view sample) {
  const tokenizer_data data = words.data();
  const auto again = tokenizer::from_data(data);
  OCELLUS_HOLDS(again);
  const tokenizer_data copy = again->data();
  OCELLUS_HOLDS(same_bytes(copy.bytes, data.bytes) && same_bytes(copy.offsets, data.offsets));
  OCELLUS_HOLDS(same_bytes(copy.merges, data.merges) && same_bytes(copy.added, data.added));
  OCELLUS_HOLDS(same_bytes(copy.special, data.special));
  array<std::uint32_t> ids, copied_ids;
  OCELLUS_HOLDS(words.encode(sample, ids) && again->encode(sample, copied_ids));
  OCELLUS_HOLDS(std::equal(ids.begin(), ids.end(), copied_ids.begin(), copied_ids.end()));
}

}  // namespace

bool run(std::span<const std::byte> bytes) {
  limited_memory memory(promised + 64 * (bytes.size() + kib(8)));
  const auto words = load(input(bytes), memory.hooks());
  if (!words) return false;
  check_tokens(*words);
  const std::string_view sample = chars(bytes.first(std::min<std::size_t>(bytes.size(), 4096)));
  check_round_trip(*words, sample);
  check_arrays(*words, sample);
  return true;
}

}  // namespace ocellus_fuzz
