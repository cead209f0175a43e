// chat_state: a turn from question to answer, a small state machine over session. Between calls the session holds
// everything up to the last token that was chosen but one; that last token is taken at the beginning of the next step,
// so that a stop at any place can go on.
#ifndef OCELLUS_CHAT_CHAT_STATE_IPP
#define OCELLUS_CHAT_CHAT_STATE_IPP

#include <algorithm>
#include <atomic>

#include "ocellus/chat/busy_guard.hpp"
#include "ocellus/chat/chat.hpp"
#include "ocellus/slice.hpp"
#include "ocellus/text/prompt.hpp"
#include "ocellus/text/stop_matcher.hpp"
#include "ocellus/text/stream_decoder.hpp"
#include "ocellus/text/tokenizer.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

inline constexpr std::uint32_t picture_mark = UINT32_MAX;  // stands for a picture among ids; no token has it

inline bool is_blank(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

struct chat_state {
  chat_state(session&& opened, sampler&& chooser, stop_matcher&& matcher, const prompt_template& prompts,
             const memory_hooks& hooks) noexcept
      : talk(std::move(opened)),
        choose(std::move(chooser)),
        stops(std::move(matcher)),
        layout(&prompts),
        memory(hooks) {}
  chat_state(chat_state&&) = delete;

  [[nodiscard]] const tokenizer& words() const noexcept { return *talk.source().tokenizer(); }
  [[nodiscard]] result<void> reserve() noexcept;
  [[nodiscard]] result<void> lay_out(std::string_view question) noexcept;
  [[nodiscard]] result<void> take_ids(std::size_t end) noexcept;
  [[nodiscard]] result<step_state> prepare(time_budget budget) noexcept;
  [[nodiscard]] result<void> begin(std::string_view question, std::uint32_t room) noexcept;
  [[nodiscard]] result<step_state> step(time_budget budget, bool one_token) noexcept;
  [[nodiscard]] result<void> take_pending() noexcept;
  void add_time(std::int64_t nanoseconds) noexcept;
  [[nodiscard]] bool answering() const noexcept { return open && !failed; }
  [[nodiscard]] result<void> next_token() noexcept;
  [[nodiscard]] result<bool> add_text(std::uint32_t id) noexcept;
  [[nodiscard]] result<void> take_piece() noexcept;
  void trim() noexcept;
  [[nodiscard]] result<void> finish_turn(finish why) noexcept;
  [[nodiscard]] result<void> cut_answer() noexcept;
  [[nodiscard]] result<void> drop() noexcept;
  [[nodiscard]] result<answer_score> score_answer(std::string_view answer_text) noexcept;
  [[nodiscard]] reply current() const noexcept;
  [[nodiscard]] std::string_view take() noexcept;

  session talk;
  sampler choose;
  stop_matcher stops;
  stream_decoder decoder;
  const prompt_template* layout;
  memory_hooks memory;
  std::uint32_t max_tokens = 0;

  array<image_embedding> pictures;  // of the next question, or the one that is being answered
  array<std::uint32_t> ids;         // of the question
  array<std::uint32_t>
      carry;                // of the last answer, not in the session yet: the next question begins with them
  std::uint32_t turns = 0;  // finished
  std::size_t ready = 0;  // ids of the next question (or this one) that the session took before it was asked
  std::uint32_t ready_at = 0;  // position behind them
  kv_prefix part;              // the last that was shared with a fork

  // The turn.
  bool open = false;
  bool question_done = false;       // is the question computed?
  bool failed = false;              // by something that trying again does not mend
  bool pending = false;             // is the last chosen token still to be taken by the session?
  std::uint32_t turn_begin = 0;     // position of the question
  std::uint32_t answer_begin = 0;   // position of the answer's first token
  array<std::uint32_t> chosen;      // tokens of the answer
  text piece;                       // bytes that one token releases
  std::size_t answer_bytes = 0;     // bytes of tokens that are released, undecoded
  std::size_t visible_bytes = 0;    // up to the last of them that is not blank
  text answer;                      // decoded
  std::size_t first = 0, last = 0;  // its trimmed part
  std::size_t taken = 0;            // up to here it was handed out
  reply result_;
  std::atomic<bool> busy{false};
};

/// All memory that answers need.
result<void> chat_state::reserve() noexcept {
  std::size_t longest = 0;
  for (std::uint32_t id = 0; id < words().vocab_size(); ++id) {
    longest = (std::max)(longest, words().token_bytes(id).size());
  }
  pictures = array<image_embedding>(memory);
  ids = array<std::uint32_t>(memory);
  carry = array<std::uint32_t>(memory);
  chosen = array<std::uint32_t>(memory);
  piece = text(memory);
  answer = text(memory);
  const std::size_t most = (std::min)(max_tokens, talk.context());
  // Decoding makes at most three bytes of one (U+FFFD). A vocabulary of enormous tokens may have to grow this later.
  const std::size_t bytes = (std::min)(most * longest * 3 + 3, std::size_t{1} << 22);
  if (!chosen.reserve(most) || !carry.reserve(longest + 1) ||
      !piece.reserve(longest + stop_matcher::max_bytes) || !answer.reserve(bytes)) {
    return no_memory("answers of ", most, " tokens");
  }
  return {};
}

/// The question's ids, pictures marked, behind what the last answer left.
result<void> chat_state::lay_out(std::string_view question) noexcept {
  const auto count = static_cast<std::uint32_t>((std::min)(pictures.size(), std::size_t{UINT32_MAX}));
  const auto which = turns == 0 ? prompt::turn::first : prompt::turn::later;
  OCELLUS_ASSIGN(const prompt laid, prompt::make(*layout, which, count, question, memory));
  ids.clear();
  if (!ids.append(carry.span())) return no_memory("a question");
  for (std::size_t i = 0; i < laid.size(); ++i) {
    const prompt_segment segment = laid[i];
    if (segment.part == prompt_part::text) {
      OCELLUS_TRY(words().encode(segment.text, ids));
    } else if (!ids.push_back(segment.part == prompt_part::image ? picture_mark : words().end_of_text())) {
      return no_memory("a question");
    }
  }
  return {};
}

/// Hands ids and pictures to the session, from those that it has to `end`; all or none.
result<void> chat_state::take_ids(std::size_t end) noexcept {
  const std::uint32_t before = talk.length();
  std::size_t picture = 0, from = ready;
  for (std::size_t i = 0; i < ready; ++i) picture += ids[i] == picture_mark;
  const auto take = [&]() -> result<void> {
    for (std::size_t i = ready; i <= end; ++i) {
      if (i < end && ids[i] != picture_mark) continue;
      OCELLUS_TRY(talk.append(ids.span().subspan(from, i - from)));
      if (i < end) OCELLUS_TRY(talk.append(pictures[picture++]));
      from = i + 1;
    }
    return {};
  };
  const auto took = take();
  if (!took) OCELLUS_TRY(talk.rewind(before));
  return took;
}

/// What the next question begins with, whatever it is: everything up to the last picture. (Text behind it is tokenized
/// together with the question's.)
result<step_state> chat_state::prepare(time_budget budget) noexcept {
  if (open)
    return error(error_code::turn_state, "the last question is not answered yet; answer() or drop() it");
  OCELLUS_TRY(lay_out({}));
  std::size_t common = ids.size();
  while (common > 0 && ids[common - 1] != picture_mark) --common;
  if (common > ready) {
    if (ready == 0) turn_begin = talk.length();
    OCELLUS_TRY(take_ids(common));
    ready = common;
    ready_at = talk.length();
  }
  return talk.step(budget);
}

/// room: positions that are to be free behind the question.
result<void> chat_state::begin(std::string_view question, std::uint32_t room) noexcept {
  if (open)
    return error(error_code::turn_state, "the last question is not answered yet; answer() or drop() it");
  OCELLUS_TRY(lay_out(question));
  const std::uint64_t queries = talk.source().config().qformer.queries;
  const std::uint64_t needed = ids.size() - pictures.size() + pictures.size() * queries;
  const std::uint32_t begin = ready != 0 ? turn_begin : talk.length();
  const std::uint64_t left = talk.context() - begin;
  if (needed == 0) return error(error_code::invalid_argument, "nothing to ask: the question has no tokens");
  if (needed + room > left) {
    return error(error_code::context_full, "the question takes ", needed,
                 " positions and its answer at least ", room, ", but ", left, " of the context's ",
                 talk.context(), " are left");
  }
  OCELLUS_TRY(take_ids(ids.size()));
  turn_begin = begin;
  answer_begin = talk.length();
  open = true;
  question_done = failed = pending = false;
  chosen.clear();
  stops.reset();
  decoder.reset();
  answer.clear();
  answer_bytes = visible_bytes = first = last = taken = 0;
  result_ = {};
  result_.prompt_tokens = answer_begin - turn_begin;
  return {};
}

result<step_state> chat_state::step(time_budget budget, bool one_token) noexcept {
  if (!open) return error(error_code::turn_state, "no question was begun");
  if (failed) return error(error_code::turn_state, "the answer failed and can only be dropped");
  const std::int64_t start = steady_nanoseconds();
  std::int64_t lap = start;
  while (open) {
    OCELLUS_TRY(take_pending());
    if (!open) break;
    const auto state = talk.step(budget.minus(lap - start));
    const bool computed = state && *state == step_state::done;
    const auto chose = computed ? next_token() : result<void>();
    const std::int64_t now = steady_nanoseconds();
    add_time(now - lap);
    lap = now;
    if (!state) return state.error();
    if (!computed) return step_state::more;
    question_done = true;
    if (!chose) {
      failed = true;
      return chose.error();
    }
    if (open && (one_token || budget.used_up_by(now - start))) return step_state::more;
  }
  return step_state::done;
}

/// The token that was chosen last becomes part of the context, if there is room.
result<void> chat_state::take_pending() noexcept {
  if (!pending) return {};
  if (talk.length() == talk.context()) {
    const auto finished = finish_turn(finish::context_full);
    failed = !finished;
    return finished;
  }
  OCELLUS_TRY(talk.append(std::span<const std::uint32_t>(&chosen.back(), 1)));
  pending = false;
  return {};
}

void chat_state::add_time(std::int64_t nanoseconds) noexcept {
  (question_done ? result_.answer_nanoseconds : result_.prompt_nanoseconds) += nanoseconds;
}

/// From the logits to the next token, and from there to the end of the turn if it is one.
result<void> chat_state::next_token() noexcept {
  OCELLUS_ASSIGN(const std::uint32_t id, choose.next(talk.logits(), chosen.span()));
  if (id == words().end_of_text()) return finish_turn(finish::stop);
  if (!chosen.push_back(id)) return no_memory("an answer");
  OCELLUS_ASSIGN(const bool stopped, add_text(id));
  if (stopped) return finish_turn(finish::stop);
  pending = true;
  if (chosen.size() == max_tokens) return finish_turn(finish::length);
  return {};
}

/// A token's text; true when a stop string is complete. Stop strings are looked for in bytes: that finds them wherever
/// the borders of tokens are, as tokens of their own ("###", " ###") as well.
result<bool> chat_state::add_text(std::uint32_t id) noexcept {
  piece.clear();
  OCELLUS_ASSIGN(const bool stopped,
                 stops.push(words().is_special(id) ? std::string_view() : words().token_bytes(id), piece));
  OCELLUS_TRY(take_piece());
  trim();
  return stopped;
}

/// Bytes that are certain to belong to the answer.
result<void> chat_state::take_piece() noexcept {
  for (std::size_t i = 0; i < piece.size(); ++i) {
    if (!is_blank(piece[i])) visible_bytes = answer_bytes + i + 1;
  }
  answer_bytes += piece.size();
  return decoder.push(piece.view(), answer);
}

/// Moves the borders of the answer's trimmed part over what was added.
void chat_state::trim() noexcept {
  for (std::size_t i = last; i < answer.size(); ++i) {
    if (is_blank(answer[i])) continue;
    if (last == 0) first = taken = i;
    last = i + 1;
  }
}

result<void> chat_state::finish_turn(finish why) noexcept {
  // What was held back as the beginning of a stop string belongs to the answer, unless a stop string ended it.
  piece.clear();
  OCELLUS_TRY(stops.finish(piece));
  OCELLUS_TRY(take_piece());
  OCELLUS_TRY(decoder.finish(answer));
  trim();
  carry.clear();
  if (why == finish::stop) {
    OCELLUS_TRY(cut_answer());
  } else if (pending) {
    if (!carry.push_back(chosen.back())) return no_memory("an answer");
  }
  result_.end = why;
  pictures.clear();
  ready = 0;
  pending = open = false;
  ++turns;
  return {};
}

/// Leaves in the session the tokens that lie wholly in the visible answer; the rest of a token that does not goes to
/// `carry`.
result<void> chat_state::cut_answer() noexcept {
  std::size_t bytes = 0;
  std::uint32_t whole = 0;
  std::string_view rest;
  for (; whole < chosen.size(); ++whole) {
    const std::uint32_t id = chosen[whole];
    const std::string_view token = words().is_special(id) ? std::string_view() : words().token_bytes(id);
    if (bytes + token.size() > visible_bytes) {
      rest = slice(token, 0, visible_bytes - bytes);
      break;
    }
    bytes += token.size();
  }
  OCELLUS_TRY(words().encode(rest, carry));
  return talk.rewind(answer_begin + whole);
}

result<void> chat_state::drop() noexcept {
  if (!open) return {};
  OCELLUS_TRY(talk.rewind(ready != 0 ? ready_at : turn_begin));
  open = pending = false;
  result_ = {};
  chosen.clear();
  answer.clear();
  first = last = taken = 0;
  return {};
}

result<answer_score> chat_state::score_answer(std::string_view answer_text) noexcept {
  ids.clear();
  OCELLUS_TRY(words().encode(answer_text, ids));
  if (ids.size() > talk.context() - talk.length()) {
    return error(error_code::context_full, "the question takes ", talk.length() - turn_begin,
                 " positions and the answer ", ids.size(), ", but ", talk.context() - turn_begin,
                 " of the context's ", talk.context(), " are left");
  }
  answer_score sum;
  for (const std::uint32_t& id : ids) {
    OCELLUS_TRY(talk.step());
    sum.log_probability += ocellus::log_probability(talk.logits(), id);
    ++sum.tokens;
    OCELLUS_TRY(talk.append(std::span<const std::uint32_t>(&id, 1)));
  }
  if (!(sum.log_probability <= 0)) return error(error_code::numeric, "the score is not a number");
  return sum;
}

reply chat_state::current() const noexcept {
  reply r = result_;
  r.text = slice(answer.view(), first, last - first);
  r.tokens = static_cast<std::uint32_t>(chosen.size());
  return r;
}

std::string_view chat_state::take() noexcept {
  if (taken >= last) return {};
  const std::string_view fresh = slice(answer.view(), taken, last - taken);
  taken = last;
  return fresh;
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_CHAT_STATE_IPP
