// What the tests of chat share: chats on tiny models, and the context that a chat should have, computed by a session.
#ifndef OCELLUS_TESTS_SUPPORT_CHAT_FIXTURE_HPP
#define OCELLUS_TESTS_SUPPORT_CHAT_FIXTURE_HPP

#include <chrono>

#include "ocellus/chat/chat.hpp"
#include "support/tiny_model.hpp"

namespace ocellus_tests {

inline constexpr std::uint32_t space = ' ';

/// In exact precision: answers are compared with what sessions compute in other pieces.
inline ocellus::chat open_chat(const ocellus::model& model, ocellus::chat_options options = {},
                               const ocellus::host& hooks = {}) {
  options.session.mode = ocellus::precision::exact;
  auto opened = ocellus::chat::open(model, options, hooks);
  INFO((opened ? std::string_view() : opened.error().message()));
  REQUIRE(opened);
  return std::move(*opened);
}

/// A model that answers every question with these tokens, each of which may stand once only; prompts end in a space.
inline tiny_options says(const std::vector<std::uint32_t>& tokens) {
  tiny_options o;
  o.script = script_of(space, tokens);
  return o;
}

inline std::vector<std::uint32_t> bytes_of(std::string_view text) {
  std::vector<std::uint32_t> ids;
  for (char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

inline std::vector<std::uint32_t> operator+(std::vector<std::uint32_t> a,
                                            const std::vector<std::uint32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// The logits behind a context that is written out, with a picture at one place of it. See close().
inline std::vector<float> logits_of(const ocellus::model& model, const std::vector<std::uint32_t>& context,
                                    const ocellus::image_embedding* picture = nullptr,
                                    std::size_t picture_at = 0) {
  auto s = ocellus::session::open(model, {.mode = ocellus::precision::exact});
  REQUIRE(s);
  const std::span<const std::uint32_t> all(context);
  REQUIRE(s->append(all.first(picture_at)));
  if (picture != nullptr) REQUIRE(s->append(*picture));
  REQUIRE(s->append(all.subspan(picture_at)));
  REQUIRE(s->step());
  return {s->logits().begin(), s->logits().end()};
}

/// Equal but for rounding: the same context computed in other pieces.
inline bool close(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return a.size() == b.size() && norm > 0 && difference <= 1e-10 * norm;
}

inline std::vector<std::uint32_t> encode(const ocellus::model& model, std::string_view text) {
  ocellus::array<std::uint32_t> ids;
  REQUIRE(model.tokenizer()->encode(text, ids));
  return {ids.begin(), ids.end()};
}

/// Begins another turn with a question of one letter and returns the first logits of its answer; what the context was
/// before decides them.
inline std::vector<float> after_next_question(ocellus::chat& c) {
  REQUIRE(c.begin("Q"));
  const auto state = c.step({std::chrono::nanoseconds(0)});
  REQUIRE(state);
  while (c.inner().position() < c.inner().length()) REQUIRE(c.step({std::chrono::nanoseconds(0)}));
  return {c.inner().logits().begin(), c.inner().logits().end()};
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_CHAT_FIXTURE_HPP
