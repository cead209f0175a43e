// What the two targets that open models do with one: everything that a program would, if it is small enough.
#ifndef OCELLUS_TESTS_FUZZ_MODEL_USE_HPP
#define OCELLUS_TESTS_FUZZ_MODEL_USE_HPP

#include <chrono>

#include "fuzz/fuzz.hpp"
#include "ocellus/chat/chat.hpp"
#include "ocellus/io/utf8.hpp"
#include "ocellus/text/tokenizer.hpp"

namespace ocellus_fuzz {

inline constexpr std::size_t most_session_bytes = mib(8);
inline constexpr double most_multiplications = 1e7;  // some 10 ms with sanitizers

/// About how many multiplications a picture and so many positions take.
inline double work_of(const ocellus::model_config& c, std::uint32_t positions) {
  const auto padded = [](std::uint32_t n) { return static_cast<double>(ocellus::round_up(n, 64u)); };
  const auto block = [&](std::uint32_t width, std::uint32_t mlp, double rows, double keys) {
    return rows * padded(width) * (4 * padded(width) + 2 * padded(mlp) + 2 * keys);
  };
  double work = static_cast<double>(c.phi.layers) *
                block(c.phi.width, c.phi.mlp_width, static_cast<double>(positions), positions);
  work += padded(c.phi.vocabulary) * padded(c.phi.width) * 4;
  if (!c.has_vision) return work;
  const double tokens = c.vit.tokens(), queries = c.qformer.queries;
  work += tokens * padded(c.vit.patch_values()) * padded(c.vit.width);
  work += c.vit.layers * block(c.vit.width, c.vit.mlp_width, tokens, tokens);
  work += c.qformer.layers * (block(c.qformer.width, c.qformer.mlp_width, queries, queries) +
                              block(c.qformer.width, 1, queries, tokens) +
                              2 * tokens * padded(c.vit.width) * padded(c.qformer.width));
  work += queries * padded(c.projection_width) * (padded(c.qformer.width) + padded(c.phi.width));
  return work;
}

/// The smallest context that use_session has something to do in, or what the model has.
inline std::uint32_t least_context(const ocellus::model_config& c) {
  return std::min(c.phi.max_positions, (c.has_vision ? c.qformer.queries : 0) + 8);
}

/// Is it worth a run?
inline bool is_small(const ocellus::model_config& c) {
  ocellus::session_options options;
  options.context = least_context(c);
  const auto bytes = ocellus::session::estimate(c, options);
  OCELLUS_HOLDS(bytes);
  return *bytes <= most_session_bytes && work_of(c, options.context) <= most_multiplications;
}

/// A session whose calls are cut into single units computes the same bits as one that is never interrupted.
class two_sessions {
 public:
  two_sessions(const ocellus::model& m, const ocellus::session_options& o, const ocellus::host& hooks)
      : whole_(open(m, o, hooks)), cut_(open(m, o, hooks)) {}

  ocellus::image_embedding encode(std::span<const float> pixels) {
    ocellus::image_embedding a, b;
    OCELLUS_HOLDS(*whole_.encode(pixels, a) == ocellus::step_state::done);
    finish([&] { return cut_.encode(pixels, b, no_time); });
    OCELLUS_HOLDS(same_floats(a.values.span(), b.values.span()));
    return a;
  }
  template <class What>
  void append(const What& what) {
    OCELLUS_HOLDS(whole_.append(what) && cut_.append(what));
  }
  void step() {
    OCELLUS_HOLDS(*whole_.step() == ocellus::step_state::done);
    finish([&] { return cut_.step(no_time); });
    OCELLUS_HOLDS(whole_.position() == whole_.length() && cut_.position() == cut_.length());
    OCELLUS_HOLDS(whole_.logits().size() == whole_.source().config().phi.vocabulary);
    OCELLUS_HOLDS(same_floats(whole_.logits(), cut_.logits()));
  }
  void rewind(std::uint32_t position) { OCELLUS_HOLDS(whole_.rewind(position) && cut_.rewind(position)); }
  [[nodiscard]] const ocellus::session& get() const { return whole_; }

 private:
  static constexpr std::chrono::nanoseconds no_time{0};

  static ocellus::session open(const ocellus::model& m, const ocellus::session_options& o,
                               const ocellus::host& hooks) {
    auto opened = ocellus::session::open(m, o, hooks);
    OCELLUS_HOLDS(opened);
    return std::move(*opened);
  }
  template <class Call>
  static void finish(Call&& call) {
    for (int steps = 0;; ++steps) {
      const auto state = call();
      OCELLUS_HOLDS(state && steps < 1'000'000);
      if (*state == ocellus::step_state::done) return;
    }
  }
  static bool same_floats(std::span<const float> a, std::span<const float> b) {
    return same_bytes(std::as_bytes(a), std::as_bytes(b));
  }

  ocellus::session whole_, cut_;
};

inline void use_session(const ocellus::model& m, const ocellus::session_options& options,
                        const ocellus::host& hooks, std::uint32_t seed) {
  const ocellus::model_config& c = m.config();
  const auto token = [&] { return (seed = seed * 1664525 + 1013904223) % c.phi.vocabulary; };
  two_sessions both(m, options, hooks);
  const std::uint32_t context = both.get().context();
  if (c.has_vision) {
    std::vector<float> pixels(std::size_t{3} * c.vit.image_size * c.vit.image_size);
    for (float& p : pixels) p = static_cast<float>(token() % 512) / 128.0f - 2.0f;
    const ocellus::image_embedding picture = both.encode(pixels);
    if (c.qformer.queries < context) both.append(picture);
  }
  std::vector<std::uint32_t> prompt;
  while (prompt.size() < 3 && both.get().length() + prompt.size() < context) prompt.push_back(token());
  const std::uint32_t before = both.get().length();
  if (before + prompt.size() == 0) return;
  both.append(std::span<const std::uint32_t>(prompt));
  both.step();
  both.rewind(before);
  OCELLUS_HOLDS(both.get().logits().empty() == (!prompt.empty() || before == 0));
  both.append(std::span<const std::uint32_t>(prompt));
  both.step();
  if (both.get().length() < context) {
    const std::uint32_t next[] = {token()};
    both.append(std::span<const std::uint32_t>(next));
    both.step();
  }
}

inline void use_chat(const ocellus::model& m, const ocellus::session_options& options,
                     const ocellus::host& hooks, std::uint32_t seed) {
  ocellus::chat_options how;
  how.session = options;
  how.max_tokens = 3;
  if (seed % 2 != 0) how.choose = {0.7f, 1 + seed % 50, 0.9f, 1.1f, seed};
  auto chat = ocellus::chat::open(m, how, hooks);
  if (!chat) {
    OCELLUS_HOLDS(chat.error().code() == ocellus::error_code::no_tokenizer ||
                  chat.error().code() == ocellus::error_code::template_unknown);
    return;
  }
  if (m.config().has_vision) {
    const std::uint8_t pixels[12] = {0, 255, 3, 128, 7, 99, 1, 2, 3, 4, 5, 6};
    OCELLUS_HOLDS(chat->show({pixels, 2, 2, 0, ocellus::pixel_format::rgb}));
  }
  std::string pieces;
  for (int turn = 0; turn < 2; ++turn) {
    pieces.clear();
    const auto score = chat->score("a#", "##b");
    OCELLUS_HOLDS(!score || score->tokens > 0);
    const auto reply = chat->ask("a#", [&](std::string_view piece) { pieces += piece; });
    if (!reply) return;  // context_full, or numeric: weights may be NaN
    OCELLUS_HOLDS(ocellus::is_utf8(pieces) && ocellus::is_utf8(reply->text) && reply->tokens <= 3);
  }
}

/// Opens sessions and a chat of a model that is accepted, computes a picture, a prompt and a token more.
inline void use_model(const ocellus::model& m, std::uint32_t seed) {
  const ocellus::model_config& c = m.config();
  OCELLUS_HOLDS(ocellus::validate(c));
  for (const ocellus::tensor_info& t : m.contents().tensors()) touch(t.bytes);
  for (const std::string_view stop : m.stops()) touch(stop);
  ocellus::session_options options;
  options.context = least_context(c);
  if (seed % 4 == 0) options.target = "reference";
  if (!is_small(c)) return;
  const auto bytes = ocellus::session::estimate(c, options);

  limited_memory memory(SIZE_MAX);
  ocellus::host hooks;
  hooks.memory = memory.hooks();
  {
    const auto opened = ocellus::session::open(m, options, hooks);
    OCELLUS_HOLDS(bytes && opened &&
                  memory.used() <= *bytes + kib(4));  // (small roundings are left out of it)
  }
  use_session(m, options, hooks, seed);
  if (m.tokenizer() == nullptr) return;
  options.context = std::min(c.phi.max_positions, options.context + 92);
  if (work_of(c, options.context) <= most_multiplications) use_chat(m, options, hooks, seed);
}

}  // namespace ocellus_fuzz

#endif  // OCELLUS_TESTS_FUZZ_MODEL_USE_HPP
