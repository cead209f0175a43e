// The tokenizer with the real vocabulary: the cases, all bytes, long words, ids out of range.
#include "ocellus/text/tokenizer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ocellus/io/json.hpp"
#include "ocellus/io/utf8.hpp"
#include "ocellus/text/stream_decoder.hpp"
#include "support/counting_memory.hpp"
#include "support/read_file.hpp"
#include "support/skip.hpp"
#include "support/small_tokenizer.hpp"

namespace {

using ocellus::tokenizer;
using namespace ocellus_tests;

ocellus::result<tokenizer> load_folder(const std::string& folder, const ocellus::memory_hooks& memory = {}) {
  const std::string vocabulary = read_file(folder + "/vocab.json");
  const std::string merges = read_file(folder + "/merges.txt");
  const std::string added = read_file(folder + "/added_tokens.json");
  return tokenizer::from_files({vocabulary, merges, added}, memory);
}

const tokenizer& real() {
  static const auto loaded = load_folder(OCELLUS_TEST_DATA "/tokenizer");
  REQUIRE(loaded);
  return *loaded;
}

/// All lines of cases.jsonl against a tokenizer; returns how many there were.
int check_cases(const tokenizer& words) {
  const std::string all = read_file(OCELLUS_TEST_DATA "/tokenizer/cases.jsonl");
  int cases = 0;
  for (std::size_t at = 0; at < all.size(); ++cases) {
    const std::size_t end = (std::min)(all.find('\n', at), all.size());
    const auto line = ocellus::json::parse(std::string_view(all).substr(at, end - at));
    REQUIRE(line);
    at = end + 1;
    const std::string text(*line->root().find("text").as_string_view());
    std::vector<std::uint32_t> ids;
    for (const auto id : line->root().find("ids").elements()) {
      ids.push_back(static_cast<std::uint32_t>(*id.as_uint64()));
    }
    CHECK_MESSAGE(ids_of(words, text, true) == ids, "case ", cases, ": ", text);
    CHECK(text_of(words, ids) == *line->root().find("decoded").as_string_view());
    CHECK(text_of(words, ids) == text);
  }
  return cases;
}

// Byte-pair merging as it is defined: again and again the leftmost pair of the lowest rank.
std::vector<std::uint32_t> merge_slowly(const tokenizer& words, std::string_view piece) {
  const auto data = words.data();
  std::vector<std::uint32_t> merges(data.merges.size() / 4), ids;
  std::memcpy(merges.data(), data.merges.data(), data.merges.size());
  for (const char& c : piece) ids.push_back(*words.find({&c, 1}));
  for (std::size_t rank = 0; rank < merges.size() / 2; ++rank) {
    // Merges that come later in the list can not make a pair of a lower rank possible: they need its tokens.
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      if (ids[i] != merges[rank * 2] || ids[i + 1] != merges[rank * 2 + 1]) continue;
      const std::string joined =
          std::string(words.token_bytes(ids[i])) + std::string(words.token_bytes(ids[i + 1]));
      ids[i] = *words.find(joined);
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
  }
  return ids;
}

}  // namespace

TEST_CASE("tokenizer: every case is exact, both ways") { CHECK(check_cases(real()) == 600); }

TEST_CASE("tokenizer: every case is exact after a round through arrays") {
  const auto copy = tokenizer::from_data(real().data());
  REQUIRE(copy);
  CHECK(check_cases(*copy) == 600);
  CHECK(copy->end_of_text() == 50256);
}

TEST_CASE("tokenizer: every case is exact with tokenizer.json") {
  if (goldens_folder() == nullptr) OCELLUS_SKIP("no goldens (OCELLUS_GOLDENS)");
  const auto loaded =
      tokenizer::from_json(read_file(std::string(goldens_folder()) + "/tokenizer/tokenizer.json"));
  REQUIRE(loaded);
  CHECK(check_cases(*loaded) == 600);
  // Both ways of loading give the same arrays, but for what only tokenizer.json says.
  const auto a = loaded->data(), b = real().data();
  CHECK(std::ranges::equal(a.bytes, b.bytes));
  CHECK(std::ranges::equal(a.offsets, b.offsets));
  CHECK(std::ranges::equal(a.merges, b.merges));
  CHECK(std::ranges::equal(a.added, b.added));
  CHECK(std::ranges::equal(a.special, b.special));
}

TEST_CASE("tokenizer: the micro model's vocabulary") {
  if (goldens_folder() == nullptr) OCELLUS_SKIP("no goldens (OCELLUS_GOLDENS)");
  const std::string folder = std::string(goldens_folder()) + "/models/micro/phi-2";
  const auto words = load_folder(folder);
  REQUIRE(words);
  CHECK(words->vocab_size() == 504);
  CHECK(words->end_of_text() == 496);
  CHECK(ids_of(*words, "        ") == std::vector<std::uint32_t>{497});
  CHECK(ids_of(*words, "         a").front() == 497);
  CHECK(text_of(*words, ids_of(*words, "[vqa] what color is the circle?")) ==
        "[vqa] what color is the circle?");
  const auto same = tokenizer::from_json(read_file(folder + "/tokenizer.json"));
  REQUIRE(same);
  CHECK(std::ranges::equal(words->data().merges, same->data().merges));
  CHECK(std::ranges::equal(words->data().bytes, same->data().bytes));
}

TEST_CASE("tokenizer: ids that the model was trained on") {
  const tokenizer& words = real();
  CHECK(words.vocab_size() == 50295);
  CHECK(words.end_of_text() == 50256);
  CHECK(words.find("###") == 21017u);
  CHECK(words.find(" ###") == 44386u);
  CHECK(words.find("\n") == 198u);
  CHECK(words.find("<|endoftext|>") == 50256u);
  CHECK(words.find("\t\t\t\t\t\t\t\t\t") == 50287u);
  CHECK_FALSE(words.find("no such token at all"));
  CHECK_FALSE(words.find(""));
  CHECK(words.is_special(50256));
  CHECK_FALSE(words.is_special(50257));
  CHECK_FALSE(words.is_special(5));
  CHECK_FALSE(words.is_special(UINT_MAX));
}

TEST_CASE("tokenizer: special tokens are text unless asked for, runs of spaces are tokens always") {
  const tokenizer& words = real();
  using ids = std::vector<std::uint32_t>;
  CHECK(ids_of(words, "a<|endoftext|>", true) == ids{64, 50256});
  const ids plain = ids_of(words, "a<|endoftext|>");
  CHECK(plain.size() > 2);
  CHECK(std::ranges::find(plain, 50256u) == plain.end());
  CHECK(ids_of(words, "<|endoftext|><|endoftext|>", true) == ids{50256, 50256});
  CHECK(ids_of(words, std::string(33, ' ')) == ids{50257, 50286});
  CHECK(ids_of(words, std::string(32, ' ') + "a") == ids{50257, 257});
  CHECK(ids_of(words, "  a", true) == ids{50286, 64});
  CHECK(ids_of(words, "").empty());
}

TEST_CASE("tokenizer: any bytes come back") {
  const tokenizer& words = real();
  const auto round_trip = [&](const std::string& bytes) {
    const auto ids = ids_of(words, bytes);
    REQUIRE(text_of(words, ids) == bytes);
    REQUIRE(ids.size() <= bytes.size());
  };
  for (unsigned a = 0; a < 256; ++a) {
    round_trip(std::string(1, static_cast<char>(a)));
    for (unsigned b = 0; b < 256; ++b) round_trip({static_cast<char>(a), static_cast<char>(b)});
  }
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes(random() % 200, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    round_trip(bytes);
  }
}

TEST_CASE("tokenizer: code points that are cut into several tokens stream as they are") {
  const tokenizer& words = real();
  std::map<std::size_t, int> tokens_a_point;
  for (std::uint32_t c = 1; c <= 0x10ffff; c += c < 0x3000 ? 1 : 61) {
    if (c >= 0xd800 && c < 0xe000) continue;
    char bytes[4];
    const std::string point(bytes, ocellus::encode_utf8(c, bytes));
    const auto ids = ids_of(words, point);
    ++tokens_a_point[ids.size()];
    ocellus::stream_decoder decoder;
    ocellus::text out;
    for (const std::uint32_t id : ids) {
      REQUIRE(out.empty());  // nothing before the last token
      REQUIRE(decoder.push(words.token_bytes(id), out));
    }
    REQUIRE(out.view() == point);
    REQUIRE(decoder.held() == 0);
  }
  for (const std::size_t tokens : {1u, 2u, 3u, 4u}) CHECK(tokens_a_point[tokens] > 10);
  CHECK(tokens_a_point.size() == 4);
}

TEST_CASE("tokenizer: a text beyond the limit is refused before it is read") {
  const std::size_t size = tokenizer::max_text_bytes + 1;
  const std::unique_ptr<char, void (*)(void*)> zeros(static_cast<char*>(std::calloc(size, 1)), std::free);
  if (zeros == nullptr) OCELLUS_SKIP("no room for a text of 1 GiB");
  ocellus::array<std::uint32_t> ids;
  const auto refused = real().encode({zeros.get(), size}, ids);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ocellus::error_code::text_too_long);
  CHECK(ids.empty());
}

TEST_CASE("tokenizer: merging by scan, by queue and by definition agree") {
  const auto small =
      tokenizer::from_files({small_tokenizer().vocab_json(), small_tokenizer().merges_txt(), "{}"});
  REQUIRE(small);
  std::mt19937 random(3);
  for (int round = 0; round < 1000; ++round) {
    std::string word;
    for (std::size_t n = random() % 120; n != 0; --n) word += "abcthe"[random() % 6];
    REQUIRE_MESSAGE(ids_of(*small, word) == merge_slowly(*small, word), word);
  }
  // The real vocabulary, with words on both sides of the length where the method changes.
  for (const std::size_t length : {1u, 2u, 47u, 48u, 49u, 50u, 131u}) {
    for (int round = 0; round < 6; ++round) {
      std::string word;
      while (word.size() < length) word += "etaoinshrdlucmfwypvbgkjqxz"[random() % 26];
      REQUIRE_MESSAGE(ids_of(real(), word) == merge_slowly(real(), word), word);
    }
  }
}

TEST_CASE("tokenizer: a word that is a token is taken as it if merging gives it, the first time and later") {
  const auto small =
      tokenizer::from_files({small_tokenizer().vocab_json(), small_tokenizer().merges_txt(), "{}"});
  REQUIRE(small);
  for (int time = 0; time < 3; ++time) {
    CHECK(ids_of(*small, "the") == std::vector<std::uint32_t>{257});
    CHECK(ids_of(*small, "abc") == std::vector<std::uint32_t>{'a', 261});  // "bc" comes before "ab"
    CHECK(ids_of(*small, "aaaa") == std::vector<std::uint32_t>{263});
  }
}

TEST_CASE("tokenizer: threads that encode with one tokenizer at once get what one alone gets") {
  const auto shared = load_folder(OCELLUS_TEST_DATA "/tokenizer");
  REQUIRE(shared);
  std::string text;
  for (std::uint32_t id = 300; id < 5000; ++id) text += " " + std::string(real().token_bytes(id));
  const std::vector<std::uint32_t> alone = ids_of(real(), text);
  std::vector<std::vector<std::uint32_t>> together(4);
  std::vector<std::thread> threads;
  for (auto& ids : together) {
    threads.emplace_back([&] {
      ocellus::array<std::uint32_t> made;
      if (shared->encode(text, made)) ids.assign(made.begin(), made.end());
    });
  }
  for (std::thread& t : threads) t.join();
  for (const auto& ids : together) CHECK(ids == alone);
}

TEST_CASE("tokenizer: long words take no quadratic time") {
  const tokenizer& words = real();
  const std::size_t size = 1 << 20;
  for (const std::string unit :
       {"a", "_", " ", "^", "\n", "\u0301", "\U0001f469\u200d", "\u0639", "ab", "\xff"}) {
    std::string text;
    while (text.size() < size) text += unit;
    const auto start = std::chrono::steady_clock::now();
    const auto ids = ids_of(words, text);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    CHECK(text_of(words, ids) == text);
    CHECK_MESSAGE(took.count() < 20,
                  unit);  // a fraction of a second; with sanitizers on a busy machine a few
  }
}

TEST_CASE("tokenizer: ids without a token decode to nothing, wherever they are") {
  const tokenizer& words = real();
  for (const std::uint32_t id : {50295u, 50296u, 51199u, 51200u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    CHECK_FALSE(words.has_token(id));
    CHECK(words.token_bytes(id).empty());
  }
  for (std::uint32_t id = 0; id < words.vocab_size(); ++id) CHECK(words.has_token(id));
  CHECK(text_of(words, {0xffffffffu, 64, 50295, 65}) == "ab");
  std::mt19937 random(11);
  std::vector<std::uint32_t> ids(1'000'000);
  for (std::uint32_t& id : ids) id = static_cast<std::uint32_t>(random());
  for (std::size_t i = 0; i < ids.size(); i += 2) ids[i] %= 51200;
  CHECK(text_of(words, ids).size() > 1'000'000);
}

TEST_CASE("tokenizer: every token's bytes encode to tokens that decode to them") {
  const tokenizer& words = real();
  for (std::uint32_t id = 0; id < words.vocab_size(); ++id) {
    const std::string bytes(words.token_bytes(id));
    REQUIRE(text_of(words, ids_of(words, bytes, true)) == bytes);
  }
}

TEST_CASE("tokenizer: words of up to 48 bytes need no memory but the output's") {
  counting_memory memory;
  ocellus::array<std::uint32_t> ids(memory.hooks());
  const std::string text = "Based on the image, respond to this question: what colour is the car's door?  \n";
  REQUIRE(ids.reserve(text.size()));
  const std::size_t before = memory.requests();
  REQUIRE(real().encode(text, ids));
  CHECK(memory.requests() == before);
}

TEST_CASE("tokenizer: a text that is too long is refused before it is read") {
  constexpr std::size_t size = ocellus::tokenizer::max_text_bytes + 1;
  const std::unique_ptr<void, void (*)(void*)> untouched(std::calloc(size, 1), std::free);  // costs no memory
  REQUIRE(untouched);
  ocellus::array<std::uint32_t> ids;
  REQUIRE(ids.push_back(7));
  const auto encoded = real().encode({static_cast<const char*>(untouched.get()), size}, ids);
  REQUIRE_FALSE(encoded);
  CHECK(encoded.error().code() == ocellus::error_code::text_too_long);
  CHECK(ids.size() == 1);
}

TEST_CASE("tokenizer: out of memory is an error and the output stays as it was") {
  small_tokenizer files;
  const std::string vocabulary = files.vocab_json(), merges = files.merges_txt(),
                    json = files.tokenizer_json();
  fail_every_allocation([&](const ocellus::memory_hooks& memory) {
    return tokenizer::from_files({vocabulary, merges, files.added}, memory);
  });
  fail_every_allocation(
      [&](const ocellus::memory_hooks& memory) { return tokenizer::from_json(json, memory); });
  const auto words = tokenizer::from_json(json);
  REQUIRE(words);
  fail_every_allocation(
      [&](const ocellus::memory_hooks& memory) { return tokenizer::from_data(words->data(), memory); });
  const std::string text = "the abc  " + std::string(200, 'a');
  fail_every_allocation([&](const ocellus::memory_hooks& memory) -> ocellus::result<void> {
    ocellus::array<std::uint32_t> ids(memory);
    const bool room = ids.push_back(17);
    const auto done = words->encode(text, ids);
    if (!done) CHECK(ids.size() == (room ? 1 : 0));
    if (room) CHECK(ids[0] == 17);
    if (!done) return done.error();
    return room ? ocellus::result<void>() : ocellus::no_memory("the first id");
  });
}
