// session: the public calls, each of them one caller at a time.
#ifndef OCELLUS_CHAT_SESSION_IPP
#define OCELLUS_CHAT_SESSION_IPP

#include "ocellus/chat/session_state.ipp"

namespace ocellus::inline OCELLUS_ABI {

#define OCELLUS_ENTER_SESSION(state)                              \
  ::ocellus::OCELLUS_ABI::detail::busy_guard guard((state).busy); \
  if (!guard.entered()) return error(error_code::busy, "the session is in use by another thread")

/// For calls that work in what sessions beside each other share.
#define OCELLUS_ENTER_ENGINE(engine)                                      \
  ::ocellus::OCELLUS_ABI::detail::busy_guard engine_guard((engine).busy); \
  if (!engine_guard.entered())                                            \
  return error(error_code::busy, "another thread computes with a session beside this one")

session::session(shared<detail::session_state> state) noexcept : state_(std::move(state)) {}
session::session(session&& other) noexcept = default;
session& session::operator=(session&& other) noexcept = default;
session::~session() = default;

namespace detail {

[[nodiscard]] inline result<const kernels*> session_kernels(const model_config& c,
                                                            const session_options& options,
                                                            const host& hooks) noexcept {
  const kernels* table = find_cpu_kernels(options.target, options.mode, hooks.allow_amx);
  if (table == nullptr) {
    return error(error_code::target_unknown, "no kernels ", quoted{options.target}, " for this processor");
  }
  if (options.pictures == 0 || options.batch == 0) {
    return error(error_code::invalid_argument, "memory for no ",
                 options.pictures == 0 ? "picture" : "session");
  }
  const std::uint64_t tokens = c.has_vision && options.vision ? c.vit.tokens() : 0;
  if (!(checked(options.pictures) * tokens).fits<std::uint32_t>() ||
      !(checked(options.pictures) * c.qformer.queries).fits<std::uint32_t>()) {
    return error(error_code::overflow, "memory for ", options.pictures, " pictures");
  }
  return table;
}

[[nodiscard]] inline result<void> check_context(const model_config& c,
                                                const session_options& options) noexcept {
  if (options.context > c.phi.max_positions) {
    return error(error_code::invalid_argument, "a context of ", options.context, " positions, the model has ",
                 c.phi.max_positions);
  }
  if (options.prefix.length() > session_context(c, options)) {
    return error(error_code::context_full, "a prefix of ", options.prefix.length(),
                 " positions does not fit into a context of ", session_context(c, options));
  }
  return {};
}

/// Can sessions of this engine begin with it?
[[nodiscard]] inline result<void> check_prefix(const session_engine& engine,
                                               const kv_prefix_state* prefix) noexcept {
  if (prefix == nullptr ||
      (&prefix->source.weights() == &engine.source.weights() && prefix->table == engine.table)) {
    return {};
  }
  return error(error_code::invalid_argument, "a prefix of another model, or made by other kernels");
}

}  // namespace detail

result<session> session::open(shared<detail::session_engine> engine,
                              const session_options& options) noexcept {
  OCELLUS_TRY(detail::check_prefix(*engine, options.prefix.state_.get()));
  const memory_hooks& memory = engine->ctx.hooks().memory;
  auto state = shared<detail::session_state>::make(memory, std::move(engine), options);
  if (!state) return no_memory("a session");
  OCELLUS_TRY(state->allocate(options));
  state->start(options.prefix.state_, options.prefix.length());
  return session(std::move(state));
}

result<session> session::open(const model& source, const session_options& options,
                              const host& hooks) noexcept {
  OCELLUS_TRY(detail::check_context(source.config(), options));
  OCELLUS_ASSIGN(const kernels* table, detail::session_kernels(source.config(), options, hooks));
  if (!hooks.tasks.has_workers()) return error(error_code::invalid_argument, "a host without workers");
  auto engine = shared<detail::session_engine>::make(hooks.memory, source, *table, options, hooks);
  if (!engine) return no_memory("a session");
  OCELLUS_TRY(engine->allocate(options));
  return open(std::move(engine), options);
}

result<session> session::open(const session& beside, const session_options& options) noexcept {
  OCELLUS_TRY(detail::check_context(beside.source().config(), options));
  return open(beside.state_->engine, options);
}

result<std::uint64_t> session::estimate(const model_config& config, const session_options& options,
                                        const host& hooks) noexcept {
  OCELLUS_TRY(validate(config));
  OCELLUS_TRY(detail::check_context(config, options));
  OCELLUS_ASSIGN(const kernels* table, detail::session_kernels(config, options, hooks));
  const detail::engine_plan work(config, options, nullptr);
  const detail::session_plan plan(config, options, nullptr);
  const checked all = detail::engine_bytes(config, options, work, *table, hooks) +
                      detail::session_bytes(config, plan, table->cache_type);
  if (!work.valid() || !all.valid()) {
    return error(error_code::overflow, "a context of ", plan.most, " positions");
  }
  return all.value();
}

result<std::uint64_t> session::estimate(const session& beside, const session_options& options) noexcept {
  const model_config& config = beside.source().config();
  OCELLUS_TRY(detail::check_context(config, options));
  const detail::session_plan plan(config, options, nullptr);
  return detail::session_bytes(config, plan, beside.state_->engine->table->cache_type).value();
}

const model& session::source() const noexcept { return state_->engine->source; }
std::string_view session::target() const noexcept { return state_->engine->table->name; }

result<step_state> session::encode(const image_view& picture, image_embedding& to,
                                   time_budget budget) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  if (!state_->vision) return error(error_code::no_vision, "this session cannot encode pictures");
  detail::session_engine& engine = *state_->engine;
  OCELLUS_ENTER_ENGINE(engine);
  const auto pixels = [&](std::uint32_t) { return engine.preprocessed(picture); };
  return engine.encode(
      1, pixels, [&](std::uint32_t) -> image_embedding& { return to; }, state_->watch, budget);
}

result<step_state> session::encode(std::span<const float> pixels, image_embedding& to,
                                   time_budget budget) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  if (!state_->vision) return error(error_code::no_vision, "this session cannot encode pictures");
  detail::session_engine& engine = *state_->engine;
  OCELLUS_ENTER_ENGINE(engine);
  if (pixels.size() != engine.fresh_pixels.size()) {
    return error(error_code::invalid_argument, pixels.size(), " pixel values, expected ",
                 shape_text{engine.fresh_pixels.dims().dims()});
  }
  const auto given = [&](std::uint32_t) { return result<std::span<const float>>(pixels); };
  return engine.encode(
      1, given, [&](std::uint32_t) -> image_embedding& { return to; }, state_->watch, budget);
}

result<step_state> session::encode(std::span<const image_view> pictures, std::span<image_embedding> to,
                                   time_budget budget) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  if (!state_->vision) return error(error_code::no_vision, "this session cannot encode pictures");
  if (pictures.size() != to.size()) {
    return error(error_code::invalid_argument, to.size(), " places for ", pictures.size(), " pictures");
  }
  if (state_->watch && pictures.size() > 1) {
    return error(error_code::unsupported, "a session with an observer encodes one picture at a time");
  }
  detail::session_engine& engine = *state_->engine;
  OCELLUS_ENTER_ENGINE(engine);
  const std::int64_t start = steady_nanoseconds();
  const auto pixels = [&](std::uint32_t i) -> result<std::span<const float>> {
    const std::uint32_t which = engine.chosen[i];
    auto values = engine.preprocessed(pictures[which]);
    if (!values) return values.error().in("picture ", which + 1, " of ", pictures.size());
    return values;
  };
  const auto place = [&](std::uint32_t i) -> image_embedding& { return to[engine.chosen[i]]; };
  for (bool first = true;; first = false) {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < to.size() && count < engine.pictures; ++i) {
      if (to[i].values.size() == 0) engine.chosen[count++] = i;
    }
    if (count == 0) return step_state::done;
    // Out of time between two passes: the next one is the next call's.
    const std::int64_t taken = steady_nanoseconds() - start;
    if (!first && budget.used_up_by(taken)) return step_state::more;
    OCELLUS_ASSIGN(const step_state state,
                   engine.encode(count, pixels, place, state_->watch, budget.minus(taken)));
    if (state == step_state::more) return state;
  }
}

result<void> session::append(std::span<const std::uint32_t> tokens) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  detail::session_state& s = *state_;
  if (tokens.size() > s.limit() - s.length) {
    return error(error_code::context_full, tokens.size(), " tokens behind ", s.length,
                 " do not fit into a context of ", s.limit());
  }
  for (std::uint32_t id : tokens) {
    if (id >= s.config().phi.vocabulary) {
      return error(error_code::token_unknown, "token id ", id, ", the vocabulary has ",
                   s.config().phi.vocabulary);
    }
  }
  const auto count = static_cast<std::uint32_t>(tokens.size());
  if (count == 0) return {};
  ocellus::context unstoppable(s.unstoppable());  // (context is also the name of a method)
  s.engine->table->embed(unstoppable,
                         {source().weights().phi.embedding, tokens.data(), s.input(s.length, count)});
  if (unstoppable.failed()) return error(unstoppable.failure(), "taking tokens");
  s.length += count;
  return {};
}

result<void> session::append(const image_embedding& picture) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  detail::session_state& s = *state_;
  const model_config& c = s.config();
  if (!c.has_vision) return error(error_code::no_vision, "the model has no picture side");
  if (!(picture.values.dims() == shape{c.qformer.queries, c.phi.width})) {
    return error(error_code::invalid_argument, "an image embedding of shape ",
                 shape_text{picture.values.dims().dims()}, ", the model's are [", c.qformer.queries, ", ",
                 c.phi.width, "]");
  }
  if (c.qformer.queries > s.limit() - s.length) {
    return error(error_code::context_full, "a picture of ", c.qformer.queries, " positions behind ", s.length,
                 " does not fit into a context of ", s.limit());
  }
  ocellus::context unstoppable(s.unstoppable());
  s.engine->table->upload(unstoppable, picture.values.data(), s.input(s.length, c.qformer.queries));
  s.length += c.qformer.queries;
  return {};
}

result<step_state> session::step(time_budget budget) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  OCELLUS_ENTER_ENGINE(*state_->engine);
  return state_->engine->step(
      1, [&](std::size_t) -> detail::session_state& { return *state_; }, budget);
}

result<step_state> session::step(std::span<session* const> together, time_budget budget) noexcept {
  for (std::size_t i = 0; i < together.size(); ++i) {
    if (together[i] != nullptr) continue;
    return error(error_code::invalid_argument, "session ", i + 1, " of ", together.size(), " is null");
  }
  const auto at = [](const void* list, std::size_t i) noexcept {
    return static_cast<session* const*>(list)[i];
  };
  return step({together.data(), at, together.size()}, budget);
}

result<step_state> session::step(const list& together, time_budget budget) noexcept {
  const std::size_t count = together.count;
  if (count == 0) return step_state::done;
  const auto at = [&](std::size_t i) -> detail::session_state& { return *together[i].state_; };
  detail::session_engine& engine = *at(0).engine;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (&at(i) != &at(j)) continue;
      return error(error_code::invalid_argument, "session ", i + 1, " of ", count, " is also session ",
                   j + 1);
    }
    const detail::session_engine& other = *at(i).engine;
    if (&other.source.weights() != &engine.source.weights() || other.table != engine.table) {
      return error(error_code::invalid_argument, "session ", i + 1, " of ", count,
                   " is of another model or computes with other kernels than the first");
    }
    if (count > 1 && at(i).watch) {
      return error(error_code::unsupported, "session ", i + 1, " of ", count,
                   " has an observer, who sees one session at a time");
    }
  }
  const detail::busy_guards guards(count, at);
  if (guards.entered() != count) {
    return error(error_code::busy, "session ", guards.entered() + 1, " of ", count,
                 " is in use by another thread");
  }
  OCELLUS_ENTER_ENGINE(engine);
  return engine.step(count, at, budget);
}

result<kv_prefix> session::share(std::uint32_t positions) const noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  const detail::session_state& s = *state_;
  if (positions > s.position) {
    return error(error_code::invalid_argument, "sharing ", positions, " of ", s.position, " positions");
  }
  if (positions <= s.base)
    return kv_prefix(s.base != 0 ? s.prefix : shared<detail::kv_prefix_state>(), positions);
  const phi_config& c = s.config().phi;
  const kernels& table = *s.engine->table;
  const host hooks = s.unstoppable();
  auto made = shared<detail::kv_prefix_state>::make(hooks.memory, source(), table, hooks);
  if (!made) return no_memory("a prefix of ", positions, " positions");
  detail::kv_prefix_state& to = *made;
  to.memory = table.allocate(to.ctx, kv_cache::bytes(c, table.cache_type, positions).value());
  if (to.ctx.failed()) return no_memory("a prefix of ", positions, " positions");
  to.cache = kv_cache(c, table.cache_type, to.memory, positions);
  if (s.base != 0) {
    table.copy(to.ctx, s.prefix->cache.positions(c, 0, s.base), to.cache.positions(c, 0, s.base));
  }
  const std::uint32_t own = positions - s.base;
  table.copy(to.ctx, s.cache.positions(c, 0, own), to.cache.positions(c, s.base, own));
  to.positions = positions;
  if (s.logits_at == positions) {
    OCELLUS_ASSIGN(to.logits, tensor<float>::make({c.vocabulary}, hooks.memory));
    std::memcpy(to.logits.data(), s.host_logits.data(), s.host_logits.span().size_bytes());
  }
  return kv_prefix(std::move(made), positions);
}

result<void> session::start(const kv_prefix& prefix) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  detail::session_state& s = *state_;
  OCELLUS_TRY(detail::check_prefix(*s.engine, prefix.state_.get()));
  if (prefix.length() > s.plan.most) {
    return error(error_code::context_full, "a prefix of ", prefix.length(),
                 " positions does not fit into a context of ", s.plan.most);
  }
  s.start(prefix.state_, prefix.length());
  return {};
}

std::span<const float> session::logits() const noexcept {
  const detail::session_state& s = *state_;
  return s.logits_at != 0 && s.logits_at == s.position ? std::as_const(s.host_logits).span()
                                                       : std::span<const float>();
}
std::uint32_t session::position() const noexcept { return state_->position; }
std::uint32_t session::length() const noexcept { return state_->length; }
std::uint32_t session::context() const noexcept { return state_->limit(); }
std::uint32_t session::prefix_length() const noexcept { return state_->base; }

result<void> session::rewind(std::uint32_t position) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  detail::session_state& s = *state_;
  if (position > s.length) {
    return error(error_code::invalid_argument, "rewind to ", position, " of ", s.length, " positions");
  }
  if (position < s.base) {
    s.start(s.prefix, position);
    return {};
  }
  s.length = position;
  if (s.position > position) s.position = position;
  if (s.logits_at > position) s.logits_at = 0;
  s.pass_number = 0;
  return {};
}

#undef OCELLUS_ENTER_SESSION
#undef OCELLUS_ENTER_ENGINE

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_SESSION_IPP
