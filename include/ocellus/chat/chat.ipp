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

  array<std::string_view> list(hooks.memory);
  bool stored = list.push_back(layout->stop);
  for (const std::string_view stop : source.stops()) {
    if (stop != layout->stop) stored = stored && list.push_back(stop);
  }
  if (!stored) return no_memory("stop strings");
  OCELLUS_ASSIGN(auto stops, stop_matcher::make(list.span(), hooks.memory));
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
