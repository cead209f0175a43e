// The arrays that a model file stores, as a hostile file might have them.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>

#include "ocellus/text/tokenizer.hpp"
#include "support/small_tokenizer.hpp"

namespace {

using ocellus::error_code;
using ocellus::tokenizer;
using namespace ocellus_tests;
using words32 = std::vector<std::uint32_t>;

// tokenizer_data with memory of its own, and one byte before each array so that none is aligned.
struct owned_data {
  std::string bytes;
  words32 offsets, merges, added, special;
  std::string memory[5];

  ocellus::tokenizer_data view() {
    const auto keep = [&](int i, const void* from, std::size_t size) {
      memory[i] = "?" + std::string(static_cast<const char*>(from), size);
      return std::as_bytes(std::span<const char>(memory[i].data() + 1, size));
    };
    return {keep(0, bytes.data(), bytes.size()), keep(1, offsets.data(), offsets.size() * 4),
            keep(2, merges.data(), merges.size() * 4), keep(3, added.data(), added.size() * 4),
            keep(4, special.data(), special.size() * 4)};
  }
};

words32 copy_words(std::span<const std::byte> from) {
  words32 to(from.size() / 4);
  std::memcpy(to.data(), from.data(), from.size());
  return to;
}

owned_data good() {
  const small_tokenizer files;
  const auto loaded = tokenizer::from_files({files.vocab_json(), files.merges_txt(), files.added});
  REQUIRE(loaded);
  const auto data = loaded->data();
  owned_data d;
  d.bytes.assign(reinterpret_cast<const char*>(data.bytes.data()), data.bytes.size());
  d.offsets = copy_words(data.offsets);
  d.merges = copy_words(data.merges);
  d.added = copy_words(data.added);
  d.special = copy_words(data.special);
  return d;
}

void refuses(owned_data d, error_code code) {
  const auto loaded = tokenizer::from_data(d.view());
  REQUIRE_FALSE(loaded);
  const std::string message(loaded.error().message());
  CHECK_MESSAGE(name_of(loaded.error().code()) == name_of(code), message);
}

template <class Change>
void refuses(error_code code, Change change) {
  owned_data d = good();
  change(d);
  refuses(d, code);
}

}  // namespace

TEST_CASE("tokenizer data: arrays at odd addresses give the same tokenizer") {
  owned_data d = good();
  CHECK(d.special == words32{264});
  CHECK(d.added == words32{264, 7, 300, 0, 301, 0});
  CHECK(d.offsets.size() == 303);
  const auto loaded = tokenizer::from_data(d.view());
  REQUIRE(loaded);
  CHECK(ids_of(*loaded, "the abc   ") == words32{257, ' ', 'a', 261, 301});
  CHECK(loaded->end_of_text() == 264);
  CHECK(loaded->is_special(264));
}

TEST_CASE("tokenizer data: what contradicts itself is refused") {
  using d = owned_data&;
  const auto data = error_code::tokenizer_data;
  refuses(owned_data{}, data);
  refuses(data, [](d x) { x.offsets.clear(); });
  refuses(data, [](d x) { x.offsets = {0}; });
  refuses(data, [](d x) { x.offsets[0] = 1; });
  refuses(data, [](d x) { x.offsets.back() += 1; });
  refuses(data, [](d x) { x.offsets.back() = 0xffffffff; });
  refuses(error_code::token_too_long, [](d x) { x.offsets[9] = 0xffffffff; });
  refuses(data, [](d x) {
    x.offsets[9] = 8;
    x.offsets[10] = 7;
  });
  refuses(data, [](d x) { x.bytes.pop_back(); });
  refuses(data, [](d x) { x.special.clear(); });
  refuses(data, [](d x) { x.special.push_back(1); });
  refuses(data, [](d x) { x.special[0] = 270; });  // a hole
  refuses(data, [](d x) { x.special[0] = 302; });
  refuses(data, [](d x) { x.special[0] = 0xffffffff; });
  refuses(data, [](d x) { x.added.pop_back(); });
  refuses(data, [](d x) { x.added[0] = 270; });
  refuses(data, [](d x) { x.added[0] = 0xffffffff; });
  refuses(data, [](d x) { x.added[1] = 8; });
  refuses(data, [](d x) { x.merges.pop_back(); });
  refuses(data, [](d x) { x.offsets.assign(1'000'002, 0); });
  refuses(error_code::token_duplicate, [](d x) { x.added[2] = 301; });
  refuses(error_code::token_duplicate, [](d x) { x.bytes[65] = 'B'; });
  refuses(error_code::byte_missing, [](d x) {
    x.added[0] = 7;
    x.added[1] = 0;
  });
  refuses(error_code::merge_unknown, [](d x) { x.merges[0] = 302; });
  refuses(error_code::merge_unknown, [](d x) { x.merges[0] = 0xffffffff; });
  refuses(error_code::merge_unknown, [](d x) { x.merges[1] = 270; });
  refuses(error_code::merge_unknown, [](d x) { x.merges[1] = 300; });  // an added token is not merged
  refuses(error_code::merge_result, [](d x) { x.merges[1] = 'z'; });
  refuses(error_code::merge_duplicate, [](d x) {
    x.merges[2] = x.merges[0];
    x.merges[3] = x.merges[1];
  });
  refuses(error_code::token_too_long, [](d x) {
    x.bytes += std::string(4097, 'z');
    x.offsets.push_back(static_cast<std::uint32_t>(x.bytes.size()));
  });
}

TEST_CASE("tokenizer data: changed at random, it is refused or it works") {
  std::mt19937 random(5);
  const owned_data whole = good();
  int accepted = 0;
  for (int round = 0; round < 4000; ++round) {
    owned_data d = whole;
    words32* arrays[] = {&d.offsets, &d.merges, &d.added, &d.special};
    words32& array = *arrays[random() % 4];
    std::uint32_t& word = array[random() % array.size()];
    word = random() % 2 != 0 ? static_cast<std::uint32_t>(random() % 310) : word ^ (1u << (random() % 32));
    const auto loaded = tokenizer::from_data(d.view());
    if (!loaded) continue;
    ++accepted;
    const std::string text = "the abcthe  aaaa<|endoftext|>";
    CHECK(text_of(*loaded, ids_of(*loaded, text, true)) == text);
  }
  CHECK(accepted > 10);
}

TEST_CASE("tokenizer data: a tokenizer that was moved from encodes nothing and says so") {
  owned_data d = good();
  auto loaded = tokenizer::from_data(d.view());
  REQUIRE(loaded);
  const tokenizer taken = std::move(*loaded);
  CHECK(ids_of(taken, "the") == words32{257});
  ocellus::array<std::uint32_t> ids;
  CHECK_FALSE(loaded->encode("the", ids));  // NOLINT(bugprone-use-after-move)
  CHECK(loaded->token_bytes(5).empty());
}
