// session: its memory, planned once, and the two passes that run in it.
#ifndef OCELLUS_CHAT_SESSION_IPP
#define OCELLUS_CHAT_SESSION_IPP

#include <atomic>
#include <cstring>

#include "ocellus/chat/busy_guard.hpp"
#include "ocellus/chat/session.hpp"
#include "ocellus/image/preprocess.hpp"
#include "ocellus/model/phi.hpp"
#include "ocellus/model/qformer.hpp"
#include "ocellus/model/vit.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// A prompt is computed in chunks of at most so many rows: enough that weights are read seldom, few enough that the
/// activations stay tens of megabytes.
inline constexpr std::uint32_t prefill_rows = 512;

/// All matrices of a session. Encoding and the language model never run at once and share `work`.
struct session_plan {
  workspace vision, language, kept;
  vit_buffers vit;
  qformer_buffers qformer;
  phi_buffers phi;
  matrix logits;          // [1, vocabulary]; all rows of a block when observed
  matrix input;           // [context, W] embeddings by position
  matrix cosines, sines;  // [context, rotary_size / 2]
  std::uint32_t context = 0;

  session_plan(const model_config& c, const session_options& options, void* work, void* keep) noexcept
      : vision(buffer{work}), language(buffer{work}), kept(buffer{keep}) {
    context = options.context != 0 ? options.context : c.phi.max_positions;
    if (options.context == 0 && context > 2048) context = 2048;
    if (c.has_vision && options.vision) {
      vit = vit_buffers::plan(vision, c.vit);
      qformer = qformer_buffers::plan(vision, c);
    }
    phi = phi_buffers::plan(language, c.phi, context < prefill_rows ? context : prefill_rows);
    logits = kept.activations(options.watch ? steps::block_rows : 1, c.phi.vocabulary);
    input = kept.activations(context, c.phi.width);
    const std::uint32_t half = c.phi.rotary_size / 2;
    cosines = kept.activations(context, half);
    sines = kept.activations(context, half);
  }
  [[nodiscard]] checked work_bytes() const noexcept {
    return vision.bytes().value() > language.bytes().value() ? vision.bytes() : language.bytes();
  }
  /// The most values that the input of a linear() has.
  [[nodiscard]] checked linear_values() const noexcept {
    checked most = 0;
    for (const matrix& x : {vit.patch_values, vit.h, vit.mlp, qformer.x, qformer.mlp, qformer.projected, phi.h,
                            phi.mlp}) {
      const checked values = checked(x.rows) * x.stride;
      if (!values.valid() || values.value() > most.value()) most = values;
    }
    return most;
  }
  [[nodiscard]] bool valid() const noexcept {
    return vision.bytes().fits<std::size_t>() && language.bytes().fits<std::size_t>() &&
           kept.bytes().fits<std::size_t>();
  }
};

struct session_state {
  enum class pass : std::uint8_t { none, encode, language };

  session_state(const model& m, const session_options& o, const host& hooks) noexcept
      : source(m), options(o), ctx(hooks) {}
  session_state(session_state&&) = delete;
  ~session_state() {
    if (table == nullptr) return;
    for (buffer* b : {&work, &keep, &cache_memory, &scratch, &shared_scratch}) table->release(ctx, *b);
  }

  [[nodiscard]] result<void> allocate() noexcept;
  [[nodiscard]] result<step_state> encode(std::span<const float> from, image_embedding& to,
                                          time_budget budget) noexcept;
  [[nodiscard]] result<step_state> step(time_budget budget) noexcept;
  [[nodiscard]] error take_failure(std::string_view what) noexcept {
    const error_code code = ctx.failure();
    ctx.clear_failure();
    return error(code, what, ": ", describe(code));
  }

  model source;
  session_options options;
  context ctx;
  const kernels* table = nullptr;
  buffer work, keep, cache_memory, scratch, shared_scratch;
  session_plan plan{model_config{}, {}, nullptr, nullptr};
  kv_cache cache;
  tensor<float> pixels;        // [3, S, S] of the picture that is being encoded
  tensor<float> fresh_pixels;  // of the picture that was asked for
  tensor<float> patch_values;  // [P, C]
  tensor<float> host_logits;   // [vocabulary]

  steps run;
  pass active = pass::none;     // what `run` is in the middle of
  std::uint32_t chunk = 0;      // rows of the language pass in progress
  std::uint32_t position = 0;   // positions computed
  std::uint32_t length = 0;     // positions taken
  std::uint32_t logits_at = 0;  // host_logits are those behind so many positions; 0: of none
  bool last_chunk = false;      // does the pass in progress end with logits?
  std::atomic<bool> busy{false};
};

#define OCELLUS_ENTER_SESSION(state)                              \
  ::ocellus::OCELLUS_ABI::detail::busy_guard guard((state).busy); \
  if (!guard.entered()) return error(error_code::busy, "the session is in use by another thread")

result<void> session_state::allocate() noexcept {
  const model_config& c = source.config();
  const memory_hooks& memory = ctx.hooks().memory;
  plan = session_plan(c, options, nullptr, nullptr);
  const checked cache_bytes = kv_cache::bytes(c.phi, table->cache_type, plan.context);
  if (!plan.valid() || !cache_bytes.fits<std::size_t>()) {
    return error(error_code::overflow, "a context of ", plan.context, " positions");
  }
  work = table->allocate(ctx, plan.work_bytes().value());
  keep = table->allocate(ctx, plan.kept.bytes().value());
  cache_memory = table->allocate(ctx, cache_bytes.value());
  const std::uint64_t scratch_bytes = round_up<std::uint64_t>(table->scratch_bytes_per_worker, line_bytes);
  if (scratch_bytes != 0) {
    scratch = table->allocate(ctx, scratch_bytes * ctx.workers());
    ctx.set_scratch(scratch.handle, scratch_bytes);
  }
  if (table->scratch_bytes_per_value != 0) {
    shared_scratch = table->allocate(ctx, (plan.linear_values() * table->scratch_bytes_per_value).value());
    ctx.set_shared_scratch(shared_scratch.handle);
  }
  if (ctx.failed()) return take_failure("opening a session");
  plan = session_plan(c, options, work.handle, keep.handle);
  cache = kv_cache(c.phi, table->cache_type, cache_memory, plan.context);

  OCELLUS_ASSIGN(host_logits, tensor<float>::make({c.phi.vocabulary}, memory));
  if (plan.vit.patch_values) {
    const std::uint64_t side = c.vit.image_size;
    OCELLUS_ASSIGN(pixels, tensor<float>::make({3, side, side}, memory));
    OCELLUS_ASSIGN(fresh_pixels, tensor<float>::make({3, side, side}, memory));
    OCELLUS_ASSIGN(patch_values, tensor<float>::make({c.vit.patches(), c.vit.patch_values()}, memory));
  }
  const std::uint64_t half = c.phi.rotary_size / 2;
  OCELLUS_ASSIGN(auto cosines, tensor<float>::make({plan.context, half}, memory));
  OCELLUS_ASSIGN(auto sines, tensor<float>::make({plan.context, half}, memory));
  rotary_tables(c.phi, plan.context, cosines.span(), sines.span());
  table->upload(ctx, cosines.data(), plan.cosines);
  table->upload(ctx, sines.data(), plan.sines);
  return {};
}

result<step_state> session_state::encode(std::span<const float> from, image_embedding& to,
                                         time_budget budget) noexcept {
  const model_config& c = source.config();
  // A pass that was interrupted goes on only with the very same picture.
  const bool fresh =
      active != pass::encode || std::memcmp(pixels.data(), from.data(), from.size_bytes()) != 0;
  if (fresh) {
    std::memcpy(pixels.data(), from.data(), from.size_bytes());
    extract_patches(c.vit, pixels.span(), patch_values.span());
    table->upload(ctx, patch_values.data(), plan.vit.patch_values);
    active = pass::encode;
  }
  run.begin(*table, ctx, options.watch, budget, fresh);
  vit_forward(run, c.vit, source.weights().vit, plan.vit);
  qformer_forward(run, c, source.weights(), plan.vit.tokens, plan.qformer);
  if (ctx.failed()) return take_failure("encoding a picture");
  if (!run.finished()) return step_state::more;
  OCELLUS_ASSIGN(auto values, tensor<float>::make({c.qformer.queries, c.phi.width}, ctx.hooks().memory));
  table->download(ctx, plan.qformer.embeds, values.data());
  active = pass::none;
  to.values = std::move(values);
  return step_state::done;
}

result<step_state> session_state::step(time_budget budget) noexcept {
  const phi_config& c = source.config().phi;
  const phi_weights& w = source.weights().phi;
  const std::int64_t start = steady_nanoseconds();
  while (position < length) {
    const bool fresh = active != pass::language;
    if (fresh) {
      const std::uint32_t rows = plan.phi.x.rows;
      chunk = length - position < rows ? length - position : rows;
      last_chunk = position + chunk == length;
      active = pass::language;
      logits_at = 0;
    }
    const time_budget rest = budget.minus(steady_nanoseconds() - start);
    const phi_buffers buffers = plan.phi.first(chunk);
    const matrix input = plan.input.slice(position, chunk);
    run.begin(*table, ctx, options.watch, rest, fresh);
    run.observe("prompt_embeds", input, position);
    phi_forward(run, c, w, {input, position, &cache, plan.cosines, plan.sines, buffers});
    if (options.watch) {  // all rows, a block at a time
      for (std::uint32_t first = 0; first < chunk; first += plan.logits.rows) {
        const std::uint32_t rows = chunk - first < plan.logits.rows ? chunk - first : plan.logits.rows;
        phi_logits(run, w, buffers.h.slice(first, rows), plan.logits.slice(0, rows));
        run.observe("logits", plan.logits.slice(0, rows), position + first);
      }
    } else if (last_chunk) {
      phi_logits(run, w, buffers.h.slice(chunk - 1, 1), plan.logits);
    }
    if (ctx.failed()) return take_failure("computing tokens");
    if (!run.finished()) return step_state::more;
    position += chunk;
    active = pass::none;
    if (last_chunk) {
      const std::uint32_t row = options.watch ? (chunk - 1) % plan.logits.rows : 0;
      table->download(ctx, plan.logits.slice(row, 1), host_logits.data());
      logits_at = position;
    }
    // Out of time between two chunks; what is left after this one is the next call's.
    if (position < length && rest.used_up_by(0)) return step_state::more;
  }
  return step_state::done;
}

}  // namespace detail

session::session(shared<detail::session_state> state) noexcept : state_(std::move(state)) {}
session::session(session&& other) noexcept = default;
session& session::operator=(session&& other) noexcept = default;
session::~session() = default;

namespace detail {

[[nodiscard]] inline result<const kernels*> session_kernels(const model_config& c,
                                                            const session_options& options,
                                                            const host& hooks) noexcept {
  if (options.context > c.phi.max_positions) {
    return error(error_code::invalid_argument, "a context of ", options.context, " positions, the model has ",
                 c.phi.max_positions);
  }
  const kernels* table = find_cpu_kernels(options.target, options.mode, hooks.allow_amx);
  if (table == nullptr) {
    return error(error_code::target_unknown, "no kernels ", quoted{options.target}, " for this processor");
  }
  return table;
}

}  // namespace detail

result<session> session::open(const model& source, const session_options& options,
                              const host& hooks) noexcept {
  OCELLUS_ASSIGN(const kernels* table, detail::session_kernels(source.config(), options, hooks));
  if (!hooks.tasks.has_workers()) return error(error_code::invalid_argument, "a host without workers");
  auto state = shared<detail::session_state>::make(hooks.memory, source, options, hooks);
  if (!state) return no_memory("a session");
  state->table = table;
  state->options.target = {};  // the caller's string need not live on
  OCELLUS_TRY(state->allocate());
  return session(std::move(state));
}

result<std::uint64_t> session::estimate(const model_config& config, const session_options& options,
                                        const host& hooks) noexcept {
  OCELLUS_TRY(validate(config));
  OCELLUS_ASSIGN(const kernels* table, detail::session_kernels(config, options, hooks));
  const detail::session_plan plan(config, options, nullptr, nullptr);
  checked pictures = 0;
  if (config.has_vision && options.vision) {
    const checked side = config.vit.image_size;
    pictures = (side * side * 6 + checked(config.vit.patches()) * config.vit.patch_values()) * sizeof(float);
  }
  const checked all = plan.work_bytes() + plan.kept.bytes() + kv_cache::bytes(config.phi, table->cache_type, plan.context) +
                      checked(table->scratch_bytes_per_worker).align_up(line_bytes) * hooks.tasks.workers +
                      plan.linear_values() * table->scratch_bytes_per_value +
                      pictures + checked(config.phi.vocabulary) * sizeof(float) +
                      sizeof(detail::session_state);
  if (!plan.valid() || !all.valid()) {
    return error(error_code::overflow, "a context of ", plan.context, " positions");
  }
  return all.value();
}

const model& session::source() const noexcept { return state_->source; }
std::string_view session::target() const noexcept { return state_->table->name; }

result<step_state> session::encode(const image_view& picture, image_embedding& to,
                                   time_budget budget) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  if (!state_->plan.vit.patch_values)
    return error(error_code::no_vision, "this session cannot encode pictures");
  tensor<float>& pixels = state_->fresh_pixels;
  OCELLUS_TRY(
      preprocess(picture, source().config().vit.image_size, pixels.span(), state_->ctx.hooks().memory));
  return state_->encode(pixels.span(), to, budget);
}

result<step_state> session::encode(std::span<const float> pixels, image_embedding& to,
                                   time_budget budget) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  if (!state_->plan.vit.patch_values)
    return error(error_code::no_vision, "this session cannot encode pictures");
  if (pixels.size() != state_->pixels.size()) {
    return error(error_code::invalid_argument, pixels.size(), " pixel values, expected ",
                 shape_text{state_->pixels.dims().dims()});
  }
  return state_->encode(pixels, to, budget);
}

result<void> session::append(std::span<const std::uint32_t> tokens) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  detail::session_state& s = *state_;
  if (tokens.size() > s.plan.context - s.length) {
    return error(error_code::context_full, tokens.size(), " tokens behind ", s.length,
                 " do not fit into a context of ", s.plan.context);
  }
  for (std::uint32_t id : tokens) {
    if (id >= s.source.config().phi.vocabulary) {
      return error(error_code::token_unknown, "token id ", id, ", the vocabulary has ",
                   s.source.config().phi.vocabulary);
    }
  }
  const auto count = static_cast<std::uint32_t>(tokens.size());
  if (count == 0) return {};
  // A row is copied for each token, which is not worth cancelling: an error then always means that nothing was taken.
  host hooks = s.ctx.hooks();
  hooks.stop = {};
  ocellus::context unstoppable(hooks);  // (context is also the name of a method)
  s.table->embed(unstoppable,
                 {s.source.weights().phi.embedding, tokens.data(), s.plan.input.slice(s.length, count)});
  if (unstoppable.failed()) return error(unstoppable.failure(), "taking tokens");
  s.length += count;
  return {};
}

result<void> session::append(const image_embedding& picture) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  detail::session_state& s = *state_;
  const model_config& c = s.source.config();
  if (!c.has_vision) return error(error_code::no_vision, "the model has no picture side");
  if (!(picture.values.dims() == shape{c.qformer.queries, c.phi.width})) {
    return error(error_code::invalid_argument, "an image embedding of shape ",
                 shape_text{picture.values.dims().dims()}, ", the model's are [", c.qformer.queries, ", ",
                 c.phi.width, "]");
  }
  if (c.qformer.queries > s.plan.context - s.length) {
    return error(error_code::context_full, "a picture of ", c.qformer.queries, " positions behind ", s.length,
                 " does not fit into a context of ", s.plan.context);
  }
  s.table->upload(s.ctx, picture.values.data(), s.plan.input.slice(s.length, c.qformer.queries));
  s.length += c.qformer.queries;
  return {};
}

result<step_state> session::step(time_budget budget) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  return state_->step(budget);
}

std::span<const float> session::logits() const noexcept {
  const detail::session_state& s = *state_;
  return s.logits_at != 0 && s.logits_at == s.position ? std::as_const(s.host_logits).span()
                                                       : std::span<const float>();
}
std::uint32_t session::position() const noexcept { return state_->position; }
std::uint32_t session::length() const noexcept { return state_->length; }
std::uint32_t session::context() const noexcept { return state_->plan.context; }

result<void> session::rewind(std::uint32_t position) noexcept {
  OCELLUS_ENTER_SESSION(*state_);
  detail::session_state& s = *state_;
  if (position > s.length) {
    return error(error_code::invalid_argument, "rewind to ", position, " of ", s.length, " positions");
  }
  s.length = position;
  if (s.position > position) s.position = position;
  if (s.logits_at > position) s.logits_at = 0;
  s.active = detail::session_state::pass::none;
  return {};
}

#undef OCELLUS_ENTER_SESSION

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_SESSION_IPP
