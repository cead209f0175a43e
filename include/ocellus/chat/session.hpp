// session: one conversation's memory and place in it. Encodes pictures, takes tokens and image embeddings, computes
// logits, in as many steps as the host likes. What to say and how to choose tokens is chat's business (chat.hpp).
#ifndef OCELLUS_CHAT_SESSION_HPP
#define OCELLUS_CHAT_SESSION_HPP

#include "ocellus/image/view.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/model/steps.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// What the language model sees of a picture: [queries, Phi's width] f32. Belongs to the model that made it, not to a
/// session: keep it and ask many questions about one picture without encoding it again.
struct image_embedding {
  tensor<float> values;
};

struct session_options {
  std::uint32_t context = 0;  ///< positions of the KV cache; 0: what the model was trained for, at most 2048
  bool vision = true;         ///< reserve memory for encoding pictures (if the model can)
  std::string_view target;    ///< kernels by name ("AVX2", "reference"); empty: the fastest of this processor
  precision mode = precision::exact;  ///< see kernels.hpp
  /// Sees every stage of every pass; with it, logits are computed for all positions ("logits"), not only the last.
  observer watch;
};

/// Did a step finish what was begun, or did its time run out?
enum class step_state : std::uint8_t { done, more };

namespace detail {
struct session_state;
}

/// Move-only. One thread at a time: a second one gets error_code::busy. Sessions of one model may run at the same
/// time. After open(), computing allocates nothing but an image_embedding's own memory, the rows that a picture is
/// resized through (none when its pixels are given), and an observer's copies.
///
/// Every call that computes can be cut short: by its time budget (it returns `more`; call again to go on) or by the
/// host's stop hook (error_code::cancelled; call again to go on, or rewind). The result has the same bits either way.
class session {
 public:
  /// Errors: invalid_argument, target_unknown, out_of_memory.
  [[nodiscard]] static result<session> open(const model& source, const session_options& options = {},
                                            const host& hooks = {}) noexcept;
  /// Bytes that open() would ask for, from the configuration alone. Errors: config_*, those of open.
  [[nodiscard]] static result<std::uint64_t> estimate(const model_config& config,
                                                      const session_options& options = {},
                                                      const host& hooks = {}) noexcept;

  session(session&& other) noexcept;
  session& operator=(session&& other) noexcept;
  ~session();

  [[nodiscard]] const model& source() const noexcept;
  /// The kernels in use: "AVX3", "reference", ...
  [[nodiscard]] std::string_view target() const noexcept;

  /// Encodes a picture of any size; `to` is filled when the state is `done`. To go on after `more`, call again with
  /// the same picture (it is resized again for each call; give its pixels where that matters). Errors: no_vision,
  /// image_*, cancelled, busy, out_of_memory.
  [[nodiscard]] result<step_state> encode(const image_view& picture, image_embedding& to,
                                          time_budget budget = {}) noexcept;
  /// The same from normalised pixels [3, S, S], S the model's picture size.
  [[nodiscard]] result<step_state> encode(std::span<const float> pixels, image_embedding& to,
                                          time_budget budget = {}) noexcept;

  /// Takes tokens as what comes next. Computes nothing yet. Errors: context_full (nothing is taken), token_unknown.
  [[nodiscard]] result<void> append(std::span<const std::uint32_t> tokens) noexcept;
  /// Takes a picture as what comes next: as many positions as the model has queries.
  [[nodiscard]] result<void> append(const image_embedding& picture) noexcept;

  /// Computes what was taken; when the state is `done`, logits() are those behind the last position. A step with
  /// nothing to do is `done` at once. Errors: cancelled, busy.
  [[nodiscard]] result<step_state> step(time_budget budget = {}) noexcept;

  /// [vocabulary] behind the last position that is computed; valid until the next step. Empty when there are none: at
  /// the beginning, after rewind() to an earlier position, while a step is unfinished.
  [[nodiscard]] std::span<const float> logits() const noexcept;

  /// Positions that are computed.
  [[nodiscard]] std::uint32_t position() const noexcept;
  /// Positions that are taken, computed or not.
  [[nodiscard]] std::uint32_t length() const noexcept;
  /// Positions that there can be.
  [[nodiscard]] std::uint32_t context() const noexcept;
  /// Forgets everything from a position on, also what was only taken. Errors: invalid_argument (beyond length()).
  [[nodiscard]] result<void> rewind(std::uint32_t position) noexcept;

 private:
  explicit session(shared<detail::session_state> state) noexcept;
  shared<detail::session_state> state_;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_SESSION_HPP
