// tokenizer: the first byte says what the others are (Hugging Face's three files, tokenizer.json, or a model file's
// arrays). Every token of what is accepted is decoded, found and encoded, and its arrays make the same tokenizer again.
#include "ocellus/text/tokenizer.hpp"

#include "fuzz/fuzz.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

// Ids may have holes up to a million, so a tokenizer of few bytes may take this much.
constexpr std::size_t promised = mib(128);

result<tokenizer> load(input in, const memory_hooks& memory) {
  switch (in.byte() % 3) {
    case 0: {
      const auto vocabulary = in.take_part(), merges = in.take_part(), added = in.take_part();
      return tokenizer::from_files({chars(vocabulary), chars(merges), chars(added)}, memory);
    }
    case 1:
      return tokenizer::from_json(chars(in.rest()), memory);
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
  limited_memory memory(promised + 64 * bytes.size());
  const auto words = load(input(bytes), memory.hooks());
  if (!words) return false;
  check_tokens(*words);
  const std::string_view sample = chars(bytes.first(std::min<std::size_t>(bytes.size(), 4096)));
  check_round_trip(*words, sample);
  check_arrays(*words, sample);
  return true;
}

}  // namespace ocellus_fuzz
