// session: one conversation's memory and place in it. Encodes pictures, takes tokens and image embeddings, computes
// logits, in as many steps as the host likes, alone or together with other sessions. What to say and how to choose tokens
// is chat's business (chat.hpp).
#ifndef OCELLUS_CHAT_SESSION_HPP
#define OCELLUS_CHAT_SESSION_HPP

#include "ocellus/chat/kv_prefix.hpp"
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
  std::uint32_t context = 0;   ///< positions of the KV cache; 0: what the model was trained for, at most 2048
  bool vision = true;          ///< reserve memory for encoding pictures (if the model can)
  std::uint32_t pictures = 1;  ///< that are encoded in one pass; more go in turns
  std::uint32_t batch = 1;     ///< sessions that are computed in one pass; more go in turns
  std::string_view target =
      {};  ///< kernels by name ("AVX2", "reference"); empty: the fastest of this processor
  precision mode = precision::fast;  ///< see kernels.hpp
  /// Sees every stage of every pass; with it, logits are computed for all positions ("logits"), not only the last.
  observer watch = {};
  /// What the session begins with. Its own memory is for the positions behind it.
  kv_prefix prefix = {};
};

/// Did a step finish what was begun, or did its time run out?
enum class step_state : std::uint8_t { done, more };

namespace detail {
struct session_engine;
struct session_state;
}  // namespace detail

/// Move-only. One thread at a time: a second one gets error_code::busy. Sessions of one model may run at the same
/// time. After open(), computing allocates nothing but an image_embedding's own memory, the rows that a picture is
/// resized through (none when its pixels are given), and an observer's copies.
///
/// Every call that computes can be cut short: by its time budget (it returns `more`; call again to go on) or by the
/// host's stop hook (error_code::cancelled; call again to go on, or rewind). The result has the same bits either way.
///
/// Sessions may share what they have in common: the memory that a pass works in (open() beside another session), the keys
/// and values of their first positions (share()), and the pass itself (step() of several). What the last one computes
/// agrees with what each session computes alone but for rounding: more rows at once are summed in another order.
class session {
 public:
  /// Errors: invalid_argument, target_unknown, out_of_memory.
  [[nodiscard]] static result<session> open(const model& source, const session_options& options = {},
                                            const host& hooks = {}) noexcept;
  /// A session beside another one: of its model, host and kernels, and with its work memory, which is most of what a
  /// session takes besides its positions. So only one of them computes at a time, a second thread gets busy; and what one
  /// has begun but not finished begins anew when another was computed in between. Of the options only context, watch
  /// and prefix count. Errors: invalid_argument, out_of_memory.
  [[nodiscard]] static result<session> open(const session& beside,
                                            const session_options& options = {}) noexcept;
  /// Bytes that open() would ask for, from the configuration alone. Errors: config_*, those of open.
  [[nodiscard]] static result<std::uint64_t> estimate(const model_config& config,
                                                      const session_options& options = {},
                                                      const host& hooks = {}) noexcept;
  /// The same for a session beside another one.
  [[nodiscard]] static result<std::uint64_t> estimate(const session& beside,
                                                      const session_options& options = {}) noexcept;

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
  /// Several pictures together: those whose embedding in `to` is still empty, session_options::pictures in one pass. So to
  /// go on after `more` or an error, call again with the same spans. Errors: invalid_argument (spans of different
  /// lengths), those of one picture; an image_* says which.
  [[nodiscard]] result<step_state> encode(std::span<const image_view> pictures, std::span<image_embedding> to,
                                          time_budget budget = {}) noexcept;

  /// Takes tokens as what comes next. Computes nothing yet. Errors: context_full (nothing is taken), token_unknown.
  [[nodiscard]] result<void> append(std::span<const std::uint32_t> tokens) noexcept;
  /// Takes a picture as what comes next: as many positions as the model has queries.
  [[nodiscard]] result<void> append(const image_embedding& picture) noexcept;

  /// Computes what was taken; when the state is `done`, logits() are those behind the last position. A step with
  /// nothing to do is `done` at once. Errors: cancelled, busy.
  [[nodiscard]] result<step_state> step(time_budget budget = {}) noexcept;
  /// Computes what several sessions of one model and one set of kernels have taken, up to session_options::batch of the
  /// first one at a time: weights are read once for all of them. The first one's work memory and host serve. `done`: each
  /// is. To go on after `more`, call again with the same sessions. Errors, which leave every session as it was but for
  /// cancelled: busy, invalid_argument (null, twice the same, of another model or other kernels), unsupported (more than
  /// one, and one has an observer), cancelled.
  [[nodiscard]] static result<step_state> step(std::span<session* const> together,
                                               time_budget budget = {}) noexcept;

  /// Hands out the first positions that are computed, as a copy; without one if they are what this session began with.
  /// Errors: invalid_argument (beyond position()), out_of_memory, busy.
  [[nodiscard]] result<kv_prefix> share(std::uint32_t positions) const noexcept;
  /// Forgets everything and begins anew behind these positions. Errors: invalid_argument (of another model or other
  /// kernels), context_full, busy.
  [[nodiscard]] result<void> start(const kv_prefix& prefix) noexcept;

  /// [vocabulary] behind the last position that is computed; valid until the next step. Empty when there are none: at
  /// the beginning (unless the prefix has them), after rewind() to an earlier position, while a step is unfinished.
  [[nodiscard]] std::span<const float> logits() const noexcept;

  /// Positions that are computed.
  [[nodiscard]] std::uint32_t position() const noexcept;
  /// Positions that are taken, computed or not.
  [[nodiscard]] std::uint32_t length() const noexcept;
  /// Positions that there can be: those of the prefix in use and as many as the session has memory for, but not more than
  /// the options said.
  [[nodiscard]] std::uint32_t context() const noexcept;
  /// Positions of the prefix in use.
  [[nodiscard]] std::uint32_t prefix_length() const noexcept;
  /// Forgets everything from a position on, also what was only taken. Before the end of its prefix a session keeps only
  /// what of it stands before the position; where it was opened with the prefix, context() is then so much smaller.
  /// Errors: invalid_argument (beyond length()).
  [[nodiscard]] result<void> rewind(std::uint32_t position) noexcept;

 private:
  friend class chat;  // computes the sessions of several chats
  /// Sessions without an array of them.
  struct list {
    const void* context;
    session* (*at)(const void* context, std::size_t i) noexcept;
    std::size_t count;
    [[nodiscard]] session& operator[](std::size_t i) const noexcept { return *at(context, i); }
  };
  [[nodiscard]] static result<step_state> step(const list& together, time_budget budget) noexcept;
  explicit session(shared<detail::session_state> state) noexcept;
  [[nodiscard]] static result<session> open(shared<detail::session_engine> engine,
                                            const session_options& options) noexcept;
  shared<detail::session_state> state_;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_SESSION_HPP
