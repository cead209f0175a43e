// chat: the public calls, each of them one caller at a time.
#ifndef OCELLUS_CHAT_CHAT_IPP
#define OCELLUS_CHAT_CHAT_IPP

#include "ocellus/chat/chat.hpp"
#include "ocellus/chat/chat_state.ipp"

namespace ocellus::inline OCELLUS_ABI {

#define OCELLUS_ENTER_CHAT(state)                                 \
  ::ocellus::OCELLUS_ABI::detail::busy_guard guard((state).busy); \
  if (!guard.entered())                                           \
  return error(error_code::busy, "the chat is in use, by another thread or from a callback")

namespace detail {

/// The strings that end an answer: the template's and the model's.
[[nodiscard]] inline result<stop_matcher> chat_stops(const model& source, const prompt_template& layout,
                                                     const memory_hooks& memory) noexcept {
  array<std::string_view> list(memory);
  bool stored = list.push_back(layout.stop);
  for (const std::string_view stop : source.stops()) {
    if (stop != layout.stop) stored = stored && list.push_back(stop);
  }
  if (!stored) return no_memory("stop strings");
  return stop_matcher::make(list.span(), memory);
}

}  // namespace detail

chat::chat(shared<detail::chat_state> state) noexcept : state_(std::move(state)) {}
chat::chat(chat&& other) noexcept = default;
chat& chat::operator=(chat&& other) noexcept = default;
chat::~chat() = default;

result<chat> chat::open(const model& source, const chat_options& options, const host& hooks) noexcept {
  const class tokenizer* words = source.tokenizer();
  if (words == nullptr)
    return error(error_code::no_tokenizer, "the model file holds no tokenizer; text cannot be asked");
  const std::string_view name =
      options.template_name.empty() ? source.default_template() : options.template_name;
  OCELLUS_ASSIGN(const prompt_template* layout, find_template(name));

  OCELLUS_ASSIGN(auto stops, detail::chat_stops(source, *layout, hooks.memory));
  OCELLUS_ASSIGN(auto chooser,
                 sampler::make(options.choose, source.config().phi.vocabulary, words, hooks.memory));
  OCELLUS_ASSIGN(auto talk, session::open(source, options.session, hooks));

  auto state = shared<detail::chat_state>::make(hooks.memory, std::move(talk), std::move(chooser),
                                                std::move(stops), *layout, hooks.memory);
  if (!state) return no_memory("a chat");
  state->max_tokens = options.max_tokens != 0 ? options.max_tokens : layout->max_tokens;
  OCELLUS_TRY(state->reserve());
  return chat(std::move(state));
}

result<step_state> chat::show(const image_view& picture, time_budget budget) noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  if (state_->open) return error(error_code::turn_state, "a picture between a question and its answer");
  image_embedding encoded;
  OCELLUS_ASSIGN(const step_state done, state_->talk.encode(picture, encoded, budget));
  if (done == step_state::more) return done;
  if (!state_->pictures.push_back(std::move(encoded))) return no_memory("a picture");
  return done;
}

result<void> chat::show(const image_embedding& picture) noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  const model_config& c = state_->talk.source().config();
  if (!c.has_vision) return error(error_code::no_vision, "the model has no picture side");
  if (state_->open) return error(error_code::turn_state, "a picture between a question and its answer");
  const shape expected{c.qformer.queries, c.phi.width};
  if (!(picture.values.dims() == expected)) {
    return error(error_code::invalid_argument, "an image embedding of shape ",
                 shape_text{picture.values.dims().dims()}, ", the model's are ", shape_text{expected.dims()});
  }
  image_embedding copy;
  OCELLUS_ASSIGN(copy.values, tensor<float>::make(expected, state_->memory));
  std::memcpy(copy.values.data(), picture.values.data(), picture.values.span().size_bytes());
  if (!state_->pictures.push_back(std::move(copy))) return no_memory("a picture");
  return {};
}

result<image_embedding> chat::encode(const image_view& picture) noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  image_embedding encoded;
  OCELLUS_TRY(state_->talk.encode(picture, encoded));
  return encoded;
}

std::uint32_t chat::pictures() const noexcept { return static_cast<std::uint32_t>(state_->pictures.size()); }

result<step_state> chat::prepare(time_budget budget) noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  return state_->prepare(budget);
}

result<chat> chat::fork(std::uint32_t positions) noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  detail::chat_state& from = *state_;
  OCELLUS_TRY(from.prepare({}));
  // What is shared already is shared again. (A chat grows; the same length is the same context until clear().)
  const std::uint32_t length = from.talk.length();
  if (from.part.length() != length) {
    OCELLUS_ASSIGN(from.part, from.talk.share(length));
  }
  const std::uint64_t wanted = std::uint64_t{length} + positions;
  const std::uint32_t most = from.talk.source().config().phi.max_positions;
  session_options options;
  options.context = positions == 0  ? from.talk.context()
                    : wanted < most ? static_cast<std::uint32_t>(wanted)
                                    : most;
  options.prefix = from.part;
  OCELLUS_ASSIGN(auto talk, session::open(from.talk, options));
  OCELLUS_ASSIGN(auto stops, detail::chat_stops(talk.source(), *from.layout, from.memory));
  OCELLUS_ASSIGN(auto chooser, sampler::make(from.choose.options(), talk.source().config().phi.vocabulary,
                                             &from.words(), from.memory));
  auto state = shared<detail::chat_state>::make(from.memory, std::move(talk), std::move(chooser),
                                                std::move(stops), *from.layout, from.memory);
  if (!state) return no_memory("a chat");
  state->max_tokens = from.max_tokens;
  OCELLUS_TRY(state->reserve());
  // Its pictures are in the context already: only their number still counts.
  for (std::size_t i = 0; i < from.pictures.size(); ++i) {
    if (!state->pictures.push_back({})) return no_memory("a picture");
  }
  if (!state->carry.append(from.carry.span())) return no_memory("an answer");
  state->turns = from.turns;
  state->turn_begin = from.turn_begin;
  state->ready = from.ready;
  state->ready_at = from.ready_at;
  state->part = from.part;
  return chat(std::move(state));
}

result<step_state> chat::step(std::span<chat* const> together, time_budget budget) noexcept {
  const std::size_t count = together.size();
  const auto at = [&](std::size_t i) -> detail::chat_state& { return *together[i]->state_; };
  for (std::size_t i = 0; i < count; ++i) {
    if (together[i] == nullptr) {
      return error(error_code::invalid_argument, "chat ", i + 1, " of ", count, " is null");
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (&at(i) != &at(j)) continue;
      return error(error_code::invalid_argument, "chat ", i + 1, " of ", count, " is also chat ", j + 1);
    }
  }
  const detail::busy_guards guards(count, at);
  if (guards.entered() != count) {
    return error(error_code::busy, "chat ", guards.entered() + 1, " of ", count,
                 " is in use, by another thread or from a callback");
  }
  const auto session_at = [](const void* list, std::size_t i) noexcept {
    return &static_cast<chat* const*>(list)[i]->state_->talk;
  };
  const std::int64_t start = steady_nanoseconds();
  std::int64_t lap = start;
  for (;;) {
    std::size_t answering = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (!at(i).answering()) continue;
      if (const auto took = at(i).take_pending(); !took)
        return took.error().in("chat ", i + 1, " of ", count);
      answering += at(i).answering();
    }
    if (answering == 0) return step_state::done;
    auto state = session::step({together.data(), session_at, count}, budget.minus(lap - start));
    const std::int64_t now = steady_nanoseconds();
    for (std::size_t i = 0; i < count; ++i) {
      if (at(i).answering()) at(i).add_time(now - lap);
    }
    lap = now;
    if (!state || *state == step_state::more) return state;
    // One whose answer fails is told of, but the others have their token.
    result<void> told;
    for (std::size_t i = 0; i < count; ++i) {
      detail::chat_state& c = at(i);
      if (!c.answering()) continue;
      c.question_done = true;
      const auto chose = c.next_token();
      c.failed = !chose;
      if (!chose && told) told = chose.error().in("chat ", i + 1, " of ", count);
    }
    if (!told) return told.error();
    if (budget.used_up_by(steady_nanoseconds() - start)) {
      for (std::size_t i = 0; i < count; ++i) {
        if (at(i).answering()) return step_state::more;
      }
    }
  }
}

result<void> chat::begin(std::string_view question) noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  return state_->begin(question, 1);
}

result<step_state> chat::step(time_budget budget) noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  return state_->step(budget, false);
}

std::string_view chat::take() noexcept {
  detail::busy_guard guard(state_->busy);
  return guard.entered() ? state_->take() : std::string_view();
}

result<reply> chat::answer(const text_sink& to) noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  for (;;) {
    const auto state = state_->step({}, to.write != nullptr);
    if (!state) return state.error();
    if (to.write != nullptr) {
      if (const std::string_view fresh = state_->take(); !fresh.empty()) to.write(to.context, fresh);
    }
    if (*state == step_state::done) return state_->current();
  }
}

reply chat::last() const noexcept { return state_->current(); }

result<void> chat::drop() noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  return state_->drop();
}

result<void> chat::clear() noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  OCELLUS_TRY(state_->drop());
  OCELLUS_TRY(state_->talk.rewind(0));
  state_->pictures.clear();
  state_->carry.clear();
  state_->ready = 0;
  state_->part = {};
  state_->turns = 0;
  return {};
}

result<answer_score> chat::score(std::string_view question, std::string_view answer) noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  OCELLUS_TRY(state_->begin(question, 0));
  auto sum = state_->score_answer(answer);
  OCELLUS_TRY(state_->drop());
  return sum;
}

result<void> chat::choose(const sampling& options) noexcept {
  OCELLUS_ENTER_CHAT(*state_);
  return state_->choose.set(options);
}

std::uint32_t chat::turns() const noexcept { return state_->turns; }
const session& chat::inner() const noexcept { return state_->talk; }

#undef OCELLUS_ENTER_CHAT

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_CHAT_IPP
