#include "ocellus/chat/sampler.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "support/counting_memory.hpp"
#include "support/tiny_model.hpp"

namespace {

using ocellus::error_code;
using ocellus::sampler;
using ocellus::sampling;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

sampler make(const sampling& options, std::size_t vocabulary) {
  auto made = sampler::make(options, static_cast<std::uint32_t>(vocabulary));
  REQUIRE(made);
  return std::move(*made);
}

std::uint32_t one(const sampling& options, const std::vector<float>& logits,
                  const std::vector<std::uint32_t>& generated = {}) {
  auto s = make(options, logits.size());
  const auto id = s.next(logits, generated);
  REQUIRE(id);
  return *id;
}

std::map<std::uint32_t, int> counts(const sampling& options, const std::vector<float>& logits, int draws) {
  auto s = make(options, logits.size());
  std::map<std::uint32_t, int> seen;
  for (int i = 0; i < draws; ++i) {
    const auto id = s.next(logits, {});
    REQUIRE(id);
    ++seen[*id];
  }
  return seen;
}

/// Logits that look like a language model's: many small, few large, different for each seed.
std::vector<float> rough_logits(std::size_t n, std::uint64_t seed) {
  ocellus::random_stream random(seed);
  std::vector<float> logits(n);
  for (float& v : logits)
    v = static_cast<float>(static_cast<double>(random.next() >> 11) * 0x1p-53 * 20 - 10);
  return logits;
}

}  // namespace

TEST_CASE("sampler: greedy takes the largest logit, of equal ones the lowest id") {
  CHECK(one({}, {1, 3, 2}) == 1);
  CHECK(one({}, {5, 7, 7, 7}) == 1);
  CHECK(one({}, {0, 0, 0}) == 0);
  CHECK(one({}, {-infinity, -3, -infinity}) == 1);
  CHECK(one({}, {1, infinity, infinity, 2}) == 1);
  CHECK(one({}, {4}) == 0);
}

TEST_CASE("sampler: no token is ever taken from logits that are not numbers or all impossible") {
  for (float temperature : {0.0f, 1.0f}) {
    auto s = make({.temperature = temperature, .top_k = 2, .top_p = 0.5f}, 3);
    for (const std::vector<float>& bad : {std::vector<float>{1, nan_value, 2},
                                          {nan_value, nan_value, nan_value},
                                          {infinity, nan_value, -infinity},
                                          {-infinity, -infinity, -infinity}}) {
      const auto id = s.next(bad, {});
      REQUIRE(!id);
      CHECK(id.error().code() == error_code::numeric);
    }
    const auto other_size = s.next(std::vector<float>{1, 2}, {});
    REQUIRE(!other_size);
    CHECK(other_size.error().code() == error_code::invalid_argument);
    CHECK(s.next(std::vector<float>{1, 2, 3}, {}));  // it goes on working
  }
  // The message says where, for whoever has to find out why.
  auto s = make({}, 3);
  CHECK(s.next(std::vector<float>{1, 2, nan_value}, {}).error().message() == "logit 2 is not a number");
}

TEST_CASE("sampler: plus infinity is certain, minus infinity impossible") {
  const auto both = counts({.temperature = 1}, {3, infinity, 2, infinity, -infinity}, 2000);
  CHECK(both.size() == 2);
  CHECK(both.at(1) > 900);
  CHECK(both.at(3) > 900);
  CHECK(counts({.temperature = 1}, {0, -infinity, 0}, 1000).count(1) == 0);
}

TEST_CASE("sampler: ids without a token are never chosen when there is a tokenizer") {
  const ocellus_tests::tiny_words words;
  const auto tokenizer = ocellus::tokenizer::from_data(words.data());
  REQUIRE(tokenizer);
  const std::uint32_t ids = tokenizer->vocab_size();
  std::vector<float> logits(ids + 50, 1.0f);
  for (std::size_t id = ids; id < logits.size(); ++id) logits[id] = 9;
  logits[65] = 2;
  for (float temperature : {0.0f, 1.0f}) {
    auto s = sampler::make({.temperature = temperature, .top_k = 5}, ids + 50, &*tokenizer);
    REQUIRE(s);
    for (int i = 0; i < 50; ++i) CHECK(*s->next(logits, {}) < ids);
    if (temperature == 0) CHECK(*s->next(logits, {}) == 65);
  }
  CHECK(one({}, logits) == ids);  // without a tokenizer any id counts
}

TEST_CASE("sampler: draws as often as the softmax says, at any temperature") {
  const std::vector<float> logits{2, 1, 0, -1, -2, 1.5f};
  for (float temperature : {0.25f, 1.0f, 3.0f}) {
    double sum = 0;
    for (float v : logits) sum += std::exp(double{v} / temperature);
    const int draws = 40000;
    const auto seen = counts({.temperature = temperature, .seed = 9}, logits, draws);
    for (std::uint32_t id = 0; id < logits.size(); ++id) {
      const double p = std::exp(double{logits[id]} / temperature) / sum;
      const double deviation = std::sqrt(p * (1 - p) / draws);
      const double got = seen.count(id) != 0 ? double(seen.at(id)) / draws : 0;
      CHECK(std::abs(got - p) <= 5 * deviation + 1e-9);
    }
  }
  // A temperature next to nothing is greedy, not a division by zero.
  for (float temperature : {1e-30f, std::numeric_limits<float>::denorm_min()}) {
    CHECK(counts({.temperature = temperature}, {1, 1.5f, 1.25f}, 100).size() == 1);
  }
}

TEST_CASE("sampler: top-k keeps exactly k, lowest ids first among equals") {
  const std::vector<float> logits{1, 3, 3, 3, 0};
  auto seen = counts({.temperature = 1, .top_k = 2}, logits, 500);
  CHECK(seen.size() == 2);
  CHECK(seen.count(1) == 1);
  CHECK(seen.count(2) == 1);
  CHECK(counts({.temperature = 1, .top_k = 1}, logits, 100).begin()->first == 1);
  CHECK(counts({.temperature = 1, .top_k = 5}, logits, 2000).size() == 5);
  CHECK(counts({.temperature = 1, .top_k = 4000000000u}, logits, 2000).size() == 5);
}

TEST_CASE("sampler: top-p keeps the fewest tokens that reach it, at least one") {
  // Probabilities 0.5, 0.25, 0.125, 0.125.
  const float two = std::log(2.0f);
  const std::vector<float> logits{2 * two, two, 3 * two, two};  // ids 2, 0, then 1 and 3
  CHECK(counts({.temperature = 1, .top_p = 0.4f}, logits, 300).size() == 1);
  CHECK(counts({.temperature = 1, .top_p = 1e-20f}, logits, 300).begin()->first == 2);
  CHECK(counts({.temperature = 1, .top_p = 0.6f}, logits, 300).size() == 2);
  const auto three = counts({.temperature = 1, .top_p = 0.8f}, logits, 300);
  CHECK(three.size() == 3);
  CHECK(three.count(3) == 0);
  CHECK(counts({.temperature = 1, .top_p = 1}, logits, 300).size() == 4);
  // top-k comes first: of the two that are left, the first has two thirds.
  CHECK(counts({.temperature = 1, .top_k = 2, .top_p = 0.6f}, logits, 300).size() == 1);
}

TEST_CASE("sampler: top-p over a large vocabulary is what sorting all of it gives") {
  for (std::uint64_t seed : {1u, 2u, 3u}) {
    for (std::size_t n : {63u, 64u, 65u, 320u, 321u, 5000u}) {
      const auto logits = rough_logits(n, seed);
      for (float p : {0.3f, 0.9f, 0.999f}) {
        std::vector<std::uint32_t> order(n);
        std::iota(order.begin(), order.end(), 0u);
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return logits[a] > logits[b]; });
        double total = 0, sum = 0;
        for (float v : logits) total += std::exp(double{v});
        std::size_t kept = 0;
        while (kept < n && sum < double{p} * total) sum += std::exp(double{logits[order[kept++]]});
        const auto seen = counts({.temperature = 1, .top_p = p}, logits, 60);
        for (const auto& [id, count] : seen) {
          const auto rank = std::find(order.begin(), order.end(), id) - order.begin();
          CHECK(static_cast<std::size_t>(rank) < kept + 1);  // one more for the rounding of p
        }
      }
    }
  }
}

TEST_CASE("sampler: the repetition penalty divides positive and multiplies negative logits, each id once") {
  const sampling options{.repetition_penalty = 2};
  CHECK(one(options, {4, 3, 1}) == 0);
  CHECK(one(options, {4, 3, 1}, {0}) == 1);
  CHECK(one(options, {4, 3, 1}, {0, 0, 0, 1, 1}) == 0);  // 2, 1.5, 1: not divided again
  CHECK(one(options, {-1, -1.5f}, {0}) == 1);
  CHECK(one(options, {4, 3}, {7, 4000000000u}) == 0);  // ids that cannot be are passed over
  CHECK(one({}, {4, 3}, {0}) == 0);
  // What was punished in one call is not in the next.
  auto s = make(options, 2);
  CHECK(*s.next(std::vector<float>{4, 3}, std::vector<std::uint32_t>{0}) == 1);
  CHECK(*s.next(std::vector<float>{4, 3}, {}) == 0);
}

TEST_CASE("sampler: the same seed gives the same tokens, and they are these") {
  const auto logits = rough_logits(1000, 5);
  std::vector<std::uint32_t> first;
  for (int round = 0; round < 2; ++round) {
    auto s = make({.temperature = 2, .top_k = 40, .top_p = 0.95f, .seed = 1234}, logits.size());
    std::vector<std::uint32_t> ids;
    for (int i = 0; i < 6; ++i) ids.push_back(*s.next(logits, {}));
    if (round == 0) first = ids;
    CHECK(ids == first);
  }
  CHECK(first == std::vector<std::uint32_t>{708, 987, 965, 34, 733, 201});  // computed in Python
  auto other = make({.temperature = 2, .top_k = 40, .top_p = 0.95f, .seed = 1235}, logits.size());
  std::vector<std::uint32_t> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(*other.next(logits, {}));
  CHECK(ids != first);
  // set() starts the numbers anew.
  REQUIRE(other.set({.temperature = 2, .top_k = 40, .top_p = 0.95f, .seed = 1234}));
  CHECK(*other.next(logits, {}) == first[0]);
}

TEST_CASE("sampler: random numbers are SplitMix64's and stay below their bound") {
  ocellus::random_stream zero(0);
  CHECK(zero.next() == 0xe220a8397b1dcdafu);  // the generator's published first outputs for seed 0
  CHECK(zero.next() == 0x6e789e6aa1b965f4u);
  // Above half of the range about every second number is drawn again; computed in Python.
  ocellus::random_stream wide(42);
  for (const std::uint64_t expected :
       {2949826092126892291u, 5139283748462763858u, 6349198060258255764u, 701532786141963250u}) {
    CHECK(wide.next((std::uint64_t{1} << 63) + 1) == expected);
  }
  ocellus::random_stream s(42);
  for (std::uint64_t below :
       {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}, (std::uint64_t{1} << 63) + 1}) {
    for (int i = 0; i < 200; ++i) CHECK(s.next(below) < below);
  }
}

TEST_CASE("sampler: options out of range are errors that name the field") {
  const auto refused = [](const sampling& o, std::string_view field) {
    const auto r = ocellus::validate(o);
    if (r) return false;
    return r.error().code() == error_code::invalid_argument && r.error().message().find(field) == 0 &&
           !sampler::make(o, 10);
  };
  for (float t : {-1.0f, -1e-30f, 100.1f, infinity, nan_value})
    CHECK(refused({.temperature = t}, "temperature"));
  for (float p : {0.0f, -0.1f, 1.01f, infinity, nan_value}) CHECK(refused({.top_p = p}, "top_p"));
  for (float r : {0.0f, -2.0f, 1e9f, infinity, nan_value}) {
    CHECK(refused({.repetition_penalty = r}, "repetition_penalty"));
  }
  CHECK(ocellus::validate({.temperature = 100, .top_k = 0xffffffffu, .top_p = 1, .repetition_penalty = 100}));
  CHECK(!sampler::make({}, 0));
  CHECK(!sampler::make({}, sampler::max_vocabulary + 1));
}

TEST_CASE("sampler: choosing allocates nothing, making reports what it cannot have") {
  ocellus_tests::counting_memory memory;
  auto s = sampler::make({.temperature = 1, .top_k = 50, .top_p = 0.9f, .repetition_penalty = 1.1f}, 3000,
                         nullptr, memory.hooks());
  REQUIRE(s);
  const auto before = memory.requests();
  const auto logits = rough_logits(3000, 8);
  std::vector<std::uint32_t> generated;
  for (int i = 0; i < 20; ++i) generated.push_back(*s->next(logits, generated));
  CHECK(memory.requests() == before);
}

TEST_CASE("sampler: log probabilities are those of the softmax") {
  const std::vector<float> logits{1, 2, 3};
  const double sum = std::exp(1.0) + std::exp(2.0) + std::exp(3.0);
  CHECK(ocellus::log_probability(logits, 1) == doctest::Approx(2 - std::log(sum)).epsilon(1e-12));
  CHECK(ocellus::log_probability(std::vector<float>{1e30f, 1e30f}, 0) == doctest::Approx(-std::log(2.0)));
  CHECK(ocellus::log_probability(logits, 3) == -std::numeric_limits<double>::infinity());
  CHECK(std::isnan(ocellus::log_probability(std::vector<float>{nan_value, 1}, 1)));
  CHECK(std::isnan(ocellus::log_probability(std::vector<float>{-infinity, -infinity}, 1)));
}
