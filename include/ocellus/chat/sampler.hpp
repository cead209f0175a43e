// sampler: chooses the next token from logits, greedily or at random. The same seed gives the same tokens everywhere.
#ifndef OCELLUS_CHAT_SAMPLER_HPP
#define OCELLUS_CHAT_SAMPLER_HPP

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

class tokenizer;

/// How to choose. The steps are those of Hugging Face's generate, in its order: repetition penalty, temperature,
/// top-k, top-p. The default takes the most likely token.
struct sampling {
  float temperature = 0;    ///< 0: always the largest logit; else logits are divided by it, at most 100
  std::uint32_t top_k = 0;  ///< only the k largest logits; 0: all
  float top_p = 1;          ///< only the most likely tokens that together reach this probability; in (0, 1]
  float repetition_penalty =
      1;  ///< logits of generated tokens: positive divided, negative multiplied; in [0.01, 100]
  std::uint64_t seed = 0;  ///< of the random numbers; any
};

/// Every field in its range; the error, invalid_argument, names the field. NaN is in no range.
[[nodiscard]] result<void> validate(const sampling& options) noexcept;

/// A stream of 64-bit random numbers (SplitMix64), the same on every machine.
class random_stream {
 public:
  explicit random_stream(std::uint64_t seed = 0) noexcept : state_(seed) {}
  [[nodiscard]] std::uint64_t next() noexcept;
  /// Uniform in [0, below); below is not 0.
  [[nodiscard]] std::uint64_t next(std::uint64_t below) noexcept;

 private:
  std::uint64_t state_;
};

/// The natural logarithm of softmax(logits)[id], in double, over all logits; -inf for an id outside. NaN when a logit is
/// NaN or +inf, or all are -inf.
[[nodiscard]] double log_probability(std::span<const float> logits, std::uint32_t id) noexcept;

/// Holds its working memory; next() allocates nothing. Move-only, one thread at a time.
class sampler {
 public:
  static constexpr std::uint32_t max_vocabulary = 1u << 22;

  /// vocabulary: how many logits there are. With a tokenizer, ids that it has no token for are never chosen.
  /// Errors: invalid_argument, numeric (no id is left), out_of_memory.
  [[nodiscard]] static result<sampler> make(const sampling& options, std::uint32_t vocabulary,
                                            const tokenizer* words = nullptr,
                                            const memory_hooks& memory = {}) noexcept;

  /// The next token. `generated`: the answer so far, for the repetition penalty; ids outside are passed over.
  /// Of equal logits the lowest id counts as the larger one. +inf is certain (several share it), -inf impossible.
  /// Errors: numeric (a logit is NaN, or no token is possible), invalid_argument (another number of logits).
  [[nodiscard]] result<std::uint32_t> next(std::span<const float> logits,
                                           std::span<const std::uint32_t> generated) noexcept;

  [[nodiscard]] const sampling& options() const noexcept { return options_; }
  /// Other options from here on; the random numbers start anew from their seed. Errors: invalid_argument.
  [[nodiscard]] result<void> set(const sampling& options) noexcept;

 private:
  struct candidate {
    float logit;
    std::uint32_t id;
    std::uint64_t weight;  // proportional to the probability; 2^40 is the largest logit's
  };
  /// The order of preference: strict, and without NaN total.
  static bool before(const candidate& a, const candidate& b) noexcept {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  }

  sampler() noexcept = default;
  [[nodiscard]] result<void> collect(std::span<const float> logits,
                                     std::span<const std::uint32_t> generated) noexcept;
  [[nodiscard]] std::uint64_t weigh() noexcept;
  void keep_top_k() noexcept;
  [[nodiscard]] std::uint64_t keep_top_p(std::uint64_t total) noexcept;
  [[nodiscard]] std::uint32_t draw(std::uint64_t total) noexcept;

  sampling options_;
  random_stream random_;
  array<std::uint8_t> allowed_;  // [vocabulary] has the id a token?
  array<std::uint8_t> seen_;     // [vocabulary] was it generated? all 0 between calls
  array<candidate> candidates_;  // of the current call; room for the whole vocabulary
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_SAMPLER_HPP
