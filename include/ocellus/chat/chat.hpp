// chat: pictures and questions in, answers out. The friendly layer over session: prompt templates, choosing tokens,
// streaming text, stopping, several turns.
#ifndef OCELLUS_CHAT_CHAT_HPP
#define OCELLUS_CHAT_CHAT_HPP

#include <concepts>

#include "ocellus/chat/sampler.hpp"
#include "ocellus/chat/session.hpp"

namespace ocellus::inline OCELLUS_ABI {

struct chat_options {
  session_options session = {};
  std::string_view template_name = {};  ///< see find_template; empty: the one that the model names
  sampling choose = {};                 ///< greedy unless said otherwise
  std::uint32_t max_tokens = 0;         ///< of one answer; 0: what the template's users take
};

/// Why an answer ended.
enum class finish : std::uint8_t {
  open,          ///< it has not
  stop,          ///< the model said so: a stop string or the end-of-text token
  length,        ///< it has max_tokens
  context_full,  ///< no position is left to compute another token from
};

struct reply {
  std::string_view
      text;  ///< without white space (ASCII) at its ends; UTF-8; valid until the chat is used again
  finish end = finish::open;
  std::uint32_t prompt_tokens = 0;      ///< positions that the question took, pictures included
  std::uint32_t tokens = 0;             ///< chosen for the answer, those of a stop string included
  std::int64_t prompt_nanoseconds = 0;  ///< computing the question, up to the first token
  std::int64_t answer_nanoseconds = 0;  ///< computing the rest
};

/// How likely a model finds an answer.
struct answer_score {
  double log_probability = 0;  ///< natural logarithm, summed over the answer's tokens
  std::uint32_t tokens = 0;
};

/// Where pieces of an answer go; must not throw. A call of the chat from inside it gets error_code::busy.
struct text_sink {
  void* context = nullptr;
  void (*write)(void* context, std::string_view piece) = nullptr;
};

namespace detail {
struct chat_state;
}

/// One conversation. Move-only; one thread at a time, a second one gets error_code::busy. Computing an answer allocates
/// nothing, unless a stop string begins behind more than 48 bytes of one token; taking a question and keeping a picture do.
///
/// What stays in the context behind a turn is what the template's training or demonstration had there: the question as
/// laid out, then the answer's own tokens without the stop string and without white space before it. A later turn
/// begins with the template's answer_end. (A token that holds an answer's last characters and the beginning of a stop
/// string is replaced by the tokens of those characters.) Text of a user is never parsed as special tokens.
class chat {
 public:
  /// Errors: no_tokenizer, template_unknown, stop_string, those of session::open and sampler::make.
  [[nodiscard]] static result<chat> open(const model& source, const chat_options& options = {},
                                         const host& hooks = {}) noexcept;
  chat(chat&& other) noexcept;
  chat& operator=(chat&& other) noexcept;
  ~chat();

  // Pictures: shown now, part of the next question, in this order.

  /// Encodes a picture and keeps it for the next question. After `more` or error_code::cancelled, call again with the
  /// same picture to go on. Errors: those of session::encode, out_of_memory.
  [[nodiscard]] result<step_state> show(const image_view& picture, time_budget budget = {}) noexcept;
  [[nodiscard]] result<step_state> show(const image& picture, time_budget budget = {}) noexcept {
    return show(picture.view(), budget);
  }
  /// The same with a picture that was encoded before, by any chat or session of this model; it is copied. Errors:
  /// no_vision, invalid_argument (of another shape), out_of_memory.
  [[nodiscard]] result<void> show(const image_embedding& picture) noexcept;
  /// Encodes a picture for later use; shows nothing.
  [[nodiscard]] result<image_embedding> encode(const image_view& picture) noexcept;
  /// Pictures that wait for the next question (or belong to the one that is being answered).
  [[nodiscard]] std::uint32_t pictures() const noexcept;

  // Questions, all at once.

  /// Asks and returns the whole answer; write(std::string_view) gets it in pieces, as it comes, each of them whole
  /// code points. When the host's stop ends it (error_code::cancelled), answer() goes on and drop() gives up.
  template <std::invocable<std::string_view> Write>
  [[nodiscard]] result<reply> ask(std::string_view question, Write&& write) noexcept {
    OCELLUS_TRY(begin(question));
    return answer(std::forward<Write>(write));
  }
  [[nodiscard]] result<reply> ask(std::string_view question) noexcept {
    OCELLUS_TRY(begin(question));
    return answer(text_sink{});
  }

  // Questions, step by step: begin(), then step() until it is done, take() after each step.

  /// Takes a question with the pictures shown; computes nothing. Errors, which leave everything as it was:
  /// context_full (the question does not fit with room for one token of an answer), turn_state (another one is not
  /// finished), text_too_long, out_of_memory.
  [[nodiscard]] result<void> begin(std::string_view question) noexcept;
  /// Goes on with the answer until it is finished (`done`) or the time is up. Errors: turn_state (nothing was begun),
  /// cancelled (call again to go on, or drop()), numeric and out_of_memory (the turn can only be dropped).
  [[nodiscard]] result<step_state> step(time_budget budget = {}) noexcept;
  /// The piece of the answer that is new since the last call; valid until the chat is used again.
  [[nodiscard]] std::string_view take() noexcept;
  /// step() and take() to the end of the answer.
  [[nodiscard]] result<reply> answer(const text_sink& to) noexcept;
  template <std::invocable<std::string_view> Write>
  [[nodiscard]] result<reply> answer(Write&& write) noexcept {
    using callable = std::remove_reference_t<Write>;
    const auto call = [](void* context, std::string_view piece) {
      (*static_cast<callable*>(context))(piece);
    };
    return answer(text_sink{const_cast<void*>(static_cast<const void*>(&write)), call});
  }
  /// The answer so far, or the last one.
  [[nodiscard]] reply last() const noexcept;

  // Several at once.

  /// Computes beforehand what the next question begins with whatever it is: all up to the last picture shown. The question's
  /// first token then comes so much sooner. Errors: turn_state (a question is not answered), context_full, out_of_memory,
  /// cancelled (call again to go on).
  [[nodiscard]] result<step_state> prepare(time_budget budget = {}) noexcept;
  /// Another chat in the state of this one, its pictures included, that goes its own way from here: for asking many
  /// questions about one picture, or for trying several answers. It stands beside this one (see session::open), shares
  /// with it what is computed (prepare() comes first), and has memory for so many positions more; 0: as many as this chat.
  /// It chooses as this one does, from the seed on. clear() leaves it no more than those positions.
  /// Errors: those of prepare, session::open and sampler::make.
  [[nodiscard]] result<chat> fork(std::uint32_t positions = 0) noexcept;
  /// Goes on with the answers of several chats of one model in one computation, each a token at a time, until those that
  /// have begun one are finished or the time is up; how many go at once says session_options::batch of the first. Errors:
  /// those of step() and of session::step for several; one that concerns a single chat names it, the others can go
  /// on with another call.
  [[nodiscard]] static result<step_state> step(std::span<chat* const> together,
                                               time_budget budget = {}) noexcept;

  /// Forgets the question that is not finished; its pictures wait for the next one again. Without one, does nothing.
  [[nodiscard]] result<void> drop() noexcept;
  /// Forgets all turns and pictures.
  [[nodiscard]] result<void> clear() noexcept;

  /// How likely the model would give this answer to this question, word for word. Afterwards the chat is as before but for last(),
  /// pictures included. Errors: those of begin, with context_full for question and answer together.
  [[nodiscard]] result<answer_score> score(std::string_view question, std::string_view answer) noexcept;

  /// Other ways of choosing from the next answer on; random numbers start anew from the seed.
  [[nodiscard]] result<void> choose(const sampling& options) noexcept;
  /// Turns that are finished.
  [[nodiscard]] std::uint32_t turns() const noexcept;
  /// The session underneath: kernels, context, positions.
  [[nodiscard]] const session& inner() const noexcept;

 private:
  explicit chat(shared<detail::chat_state> state) noexcept;
  shared<detail::chat_state> state_;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_CHAT_HPP
