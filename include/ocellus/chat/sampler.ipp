// sampler: probabilities are turned into integer weights once, so that sums do not depend on their order and the last
// bit of a machine's exp() hardly ever decides.
#ifndef OCELLUS_CHAT_SAMPLER_IPP
#define OCELLUS_CHAT_SAMPLER_IPP

#include <algorithm>
#include <cmath>
#include <limits>

#include "ocellus/chat/sampler.hpp"
#include "ocellus/text/tokenizer.hpp"

namespace ocellus::inline OCELLUS_ABI {

result<void> validate(const sampling& o) noexcept {
  // Written so that NaN fails each test.
  if (!(o.temperature >= 0 && o.temperature <= 100)) {
    return error(error_code::invalid_argument, "temperature is not in [0, 100]");
  }
  if (!(o.top_p > 0 && o.top_p <= 1)) return error(error_code::invalid_argument, "top_p is not in (0, 1]");
  if (!(o.repetition_penalty >= 0.01f && o.repetition_penalty <= 100)) {
    return error(error_code::invalid_argument, "repetition_penalty is not in [0.01, 100]");
  }
  return {};
}

std::uint64_t random_stream::next() noexcept {
  // SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
  state_ += 0x9e3779b97f4a7c15u;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::uint64_t random_stream::next(std::uint64_t below) noexcept {
  // The numbers beyond the last whole multiple of `below` are drawn again; else small results would be likelier.
  const std::uint64_t surplus = (0 - below) % below;  // 2^64 mod below
  std::uint64_t r = next();
  while (r > UINT64_MAX - surplus) r = next();
  return r % below;
}

double log_probability(std::span<const float> logits, std::uint32_t id) noexcept {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (id >= logits.size()) return -infinity;
  double largest = -infinity;
  for (float v : logits) {
    if (!(v <= largest)) largest = v;  // NaN is taken over, and stays unless a number follows
  }
  double sum = 0;
  for (float v : logits) sum += std::exp(v - largest);
  return logits[id] - largest - std::log(sum);
}

result<sampler> sampler::make(const sampling& options, std::uint32_t vocabulary, const tokenizer* words,
                              const memory_hooks& memory) noexcept {
  if (vocabulary == 0 || vocabulary > max_vocabulary) {
    return error(error_code::invalid_argument, "a vocabulary of ", vocabulary, " ids; 1 to ", max_vocabulary,
                 " can be sampled");
  }
  sampler made;
  OCELLUS_TRY(made.set(options));
  made.allowed_ = array<std::uint8_t>(memory);
  made.seen_ = array<std::uint8_t>(memory);
  made.candidates_ = array<candidate>(memory);
  if (!made.allowed_.resize(vocabulary) || !made.seen_.resize(vocabulary) ||
      !made.candidates_.reserve(vocabulary)) {
    return no_memory("sampling from ", vocabulary, " ids");
  }
  bool any = false;
  for (std::uint32_t id = 0; id < vocabulary; ++id) {
    made.allowed_[id] = words == nullptr || words->has_token(id);
    any |= made.allowed_[id] != 0;
  }
  if (!any) return error(error_code::numeric, "none of the ", vocabulary, " ids has a token");
  return made;
}

result<void> sampler::set(const sampling& options) noexcept {
  OCELLUS_TRY(validate(options));
  options_ = options;
  random_ = random_stream(options.seed);
  return {};
}

result<std::uint32_t> sampler::next(std::span<const float> logits,
                                    std::span<const std::uint32_t> generated) noexcept {
  OCELLUS_TRY(collect(logits, generated));
  if (options_.temperature == 0) {
    return std::min_element(candidates_.begin(), candidates_.end(), before)->id;
  }
  keep_top_k();
  std::uint64_t total = weigh();
  if (options_.top_p < 1) total = keep_top_p(total);
  return draw(total);
}

/// All possible tokens with their logits, the repetition penalty applied. Ids ascend.
result<void> sampler::collect(std::span<const float> logits,
                              std::span<const std::uint32_t> generated) noexcept {
  if (logits.size() != allowed_.size()) {
    return error(error_code::invalid_argument, logits.size(), " logits for a vocabulary of ", allowed_.size(),
                 " ids");
  }
  const float penalty = options_.repetition_penalty;
  const std::span<const std::uint32_t> punished = penalty != 1 ? generated : std::span<const std::uint32_t>();
  for (std::uint32_t id : punished) {
    if (id < seen_.size()) seen_[id] = 1;
  }
  candidates_.clear();
  constexpr std::size_t none = SIZE_MAX;
  std::size_t nan_at = none;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    float v = logits[id];
    if (std::isnan(v) && nan_at == none) nan_at = id;
    if (!allowed_[id]) continue;
    if (seen_[id] != 0) v = v > 0 ? v / penalty : v * penalty;
    if (v == -std::numeric_limits<float>::infinity()) continue;
    (void)candidates_.push_back({v, static_cast<std::uint32_t>(id), 0});  // never grows: see make()
  }
  for (std::uint32_t id : punished) {
    if (id < seen_.size()) seen_[id] = 0;
  }
  if (nan_at != none) return error(error_code::numeric, "logit ", nan_at, " is not a number");
  if (candidates_.empty()) return error(error_code::numeric, "all logits are minus infinity");
  return {};
}

/// Drops all but the top_k preferred candidates. They come out in order, because the order in which nth_element leaves
/// them is the standard library's own.
void sampler::keep_top_k() noexcept {
  const std::size_t k = options_.top_k;
  if (k == 0 || k >= candidates_.size()) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + k, candidates_.end(), before);
  candidates_.truncate(k);
  std::sort(candidates_.begin(), candidates_.end(), before);
}

/// Gives each candidate its weight, exp((logit - largest) / temperature); returns their sum, which cannot overflow:
/// at most 2^22 candidates of at most 2^40.
std::uint64_t sampler::weigh() noexcept {
  constexpr double one = 0x1p40;
  const double largest = std::min_element(candidates_.begin(), candidates_.end(), before)->logit;
  std::uint64_t total = 0;
  for (candidate& c : candidates_) {
    // Equal logits, infinite ones among them, have no defined difference in floating point when infinite.
    const double below = c.logit == largest ? 0.0 : (c.logit - largest) / options_.temperature;
    c.weight = static_cast<std::uint64_t>(std::exp(below) * one);
    total += c.weight;
  }
  return total;
}

/// Drops all but the fewest preferred candidates whose weights reach top_p of the total; returns the sum of those
/// left. Sorts only as many as that takes: 64, then 4 times as many, and so on.
std::uint64_t sampler::keep_top_p(std::uint64_t total) noexcept {
  const auto target =
      static_cast<std::uint64_t>(static_cast<double>(total) * static_cast<double>(options_.top_p));
  std::uint64_t sum = 0;
  std::size_t sorted = 0;
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    if (i == sorted) {
      sorted = (std::min)(candidates_.size(), (std::max)(std::size_t{64}, sorted * 4));
      if (sorted < candidates_.size()) {
        std::nth_element(candidates_.begin() + i, candidates_.begin() + sorted, candidates_.end(), before);
      }
      std::sort(candidates_.begin() + i, candidates_.begin() + sorted, before);
    }
    sum += candidates_[i].weight;
    if (sum >= target) {
      candidates_.truncate(i + 1);
      break;
    }
  }
  return sum;
}

/// One candidate at random, each as likely as its weight. The largest logit has weight 2^40, so total is not 0.
std::uint32_t sampler::draw(std::uint64_t total) noexcept {
  std::uint64_t r = random_.next(total);
  for (const candidate& c : candidates_) {
    if (r < c.weight) return c.id;
    r -= c.weight;
  }
  return candidates_.back().id;  // not reached: r < total
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_SAMPLER_IPP
