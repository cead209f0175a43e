// session_engine: what sessions that were opened beside each other share. The memory that passes work in, planned once,
// and the pass that is in progress there.
#ifndef OCELLUS_CHAT_SESSION_ENGINE_IPP
#define OCELLUS_CHAT_SESSION_ENGINE_IPP

#include <atomic>
#include <cstring>

#include "ocellus/chat/session.hpp"
#include "ocellus/image/preprocess.hpp"
#include "ocellus/model/phi.hpp"
#include "ocellus/model/qformer.hpp"
#include "ocellus/model/vit.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

struct session_state;

/// A prompt is computed in chunks of at most so many rows: enough that weights are read seldom, few enough that the
/// activations stay tens of megabytes.
inline constexpr std::uint32_t prefill_rows = 512;

/// The options' context, or what the model was made for.
[[nodiscard]] inline std::uint32_t session_context(const model_config& c,
                                                   const session_options& options) noexcept {
  if (options.context != 0) return options.context;
  return c.phi.max_positions < 2048 ? c.phi.max_positions : 2048;
}

/// All matrices of an engine. Encoding and the language model never run at once and share their memory.
struct engine_plan {
  workspace vision, language;
  vit_buffers vit;
  qformer_buffers qformer;
  phi_buffers phi;
  matrix logits;  // [batch, vocabulary]; all rows of a block when observed

  engine_plan(const model_config& c, const session_options& o, void* work) noexcept
      : vision(buffer{work}), language(buffer{work}) {
    if (c.has_vision && o.vision) {
      vit = vit_buffers::plan(vision, c.vit, o.pictures);
      qformer = qformer_buffers::plan(vision, c, o.pictures);
    }
    // Sessions of a batch that hold a token each need no more than a row each.
    const std::uint64_t positions = std::uint64_t{session_context(c, o)} * o.batch;
    const auto rows = static_cast<std::uint32_t>(positions < prefill_rows ? positions : prefill_rows);
    phi = phi_buffers::plan(language, c.phi, rows < o.batch ? o.batch : rows);
    const std::uint32_t observed = o.watch ? steps::block_rows : 1;
    logits = language.activations(o.batch < observed ? observed : o.batch, c.phi.vocabulary);
  }
  [[nodiscard]] checked bytes() const noexcept {
    return vision.bytes().value() > language.bytes().value() ? vision.bytes() : language.bytes();
  }
  /// The most values that the input of a linear() has.
  [[nodiscard]] checked linear_values() const noexcept {
    checked most = 0;
    for (const matrix& x :
         {vit.patch_values, vit.h, vit.mlp, qformer.x, qformer.mlp, qformer.projected, phi.h, phi.mlp}) {
      const checked values = checked(x.rows) * x.stride;
      if (!values.valid() || values.value() > most.value()) most = values;
    }
    return most;
  }
  [[nodiscard]] bool valid() const noexcept {
    return vision.bytes().fits<std::size_t>() && language.bytes().fits<std::size_t>();
  }
};

struct session_engine {
  enum class pass : std::uint8_t { none, encode, language };

  /// A session's part of the language pass in progress.
  struct lane {
    session_state* session = nullptr;
    bool last = false;  // does the pass end with the session's logits?
  };

  session_engine(const model& m, const kernels& k, const session_options& options, const host& hooks) noexcept
      : source(m),
        table(&k),
        ctx(hooks),
        pictures(options.pictures),
        batch(options.batch),
        vision(m.config().has_vision && options.vision),
        chosen(hooks.memory),
        lanes(hooks.memory),
        lane_rows(hooks.memory) {}
  session_engine(session_engine&&) = delete;
  ~session_engine() {
    for (buffer* b : {&work, &scratch, &shared_scratch}) table->release(ctx, *b);
  }

  [[nodiscard]] result<void> allocate(const session_options& options) noexcept;
  /// Encodes `count` pictures, at most as many as there is memory for. pixels_of(i) gives the i-th one's pixels;
  /// place(i) is where its embedding goes.
  template <class Pixels, class Place>
  [[nodiscard]] result<step_state> encode(std::uint32_t count, const Pixels& pixels_of, const Place& place,
                                          const observer& watch, time_budget budget) noexcept;
  /// A picture's pixels, in fresh_pixels.
  [[nodiscard]] result<std::span<const float>> preprocessed(const image_view& picture) noexcept {
    OCELLUS_TRY(preprocess(picture, source.config().vit.image_size, fresh_pixels.span(), ctx.hooks().memory));
    return std::as_const(fresh_pixels).span();
  }
  /// Computes what `count` sessions have taken, of which at(i) is the i-th.
  template <class At>
  [[nodiscard]] result<step_state> step(std::size_t count, const At& at, time_budget budget) noexcept;

  [[nodiscard]] std::span<const phi_sequence> rows() const noexcept {
    return lane_rows.span().first(lane_count);
  }
  template <class At>
  [[nodiscard]] bool goes_on(std::size_t count, const At& at) const noexcept;
  template <class At>
  void gather(std::size_t count, const At& at) noexcept;
  void run_lanes(const observer& watch) noexcept;
  void run_logits(const phi_buffers& b, const observer& watch) noexcept;
  void finish_lanes(const observer& watch) noexcept;

  [[nodiscard]] error take_failure(std::string_view what) noexcept {
    const error_code code = ctx.failure();
    ctx.clear_failure();
    return error(code, what, ": ", describe(code));
  }

  model source;
  const kernels* table;
  context ctx;
  std::uint32_t pictures, batch;
  bool vision;
  buffer work, scratch, shared_scratch;
  engine_plan plan{model_config{}, {}, nullptr};
  tensor<float> pixels;        // [pictures, 3, S, S] of those that are being encoded
  tensor<float> fresh_pixels;  // [3, S, S] of one that was asked for
  tensor<float> patch_values;  // [P, C]

  steps run;
  pass active = pass::none;       // what `run` is in the middle of
  std::uint32_t encoding = 0;     // pictures of the pass
  array<std::uint32_t> chosen;    // [pictures] which of those that were asked for
  array<lane> lanes;              // of the pass: the first lane_count
  array<phi_sequence> lane_rows;  // theirs
  std::uint32_t lane_count = 0;
  std::uint64_t pass_number = 0;  // of language passes so far; sessions remember which one they are in
  std::atomic<bool> busy{false};
};

/// Bytes of an engine's tensors of pixels.
[[nodiscard]] inline checked pixel_bytes(const model_config& c, const session_options& o) noexcept {
  if (!c.has_vision || !o.vision) return 0;
  const checked side = c.vit.image_size;
  return (side * side * 3 * (checked(o.pictures) + 1) + checked(c.vit.patches()) * c.vit.patch_values() +
          o.pictures) *
         sizeof(float);
}

/// Bytes that an engine takes on a host.
[[nodiscard]] inline checked engine_bytes(const model_config& c, const session_options& o,
                                          const engine_plan& plan, const kernels& table,
                                          const host& hooks) noexcept {
  return plan.bytes() + checked(table.scratch_bytes_per_worker).align_up(line_bytes) * hooks.tasks.workers +
         plan.linear_values() * table.scratch_bytes_per_value + pixel_bytes(c, o) +
         checked(o.batch) * (sizeof(session_engine::lane) + sizeof(phi_sequence)) + sizeof(session_engine);
}

result<void> session_engine::allocate(const session_options& options) noexcept {
  const model_config& c = source.config();
  const memory_hooks& memory = ctx.hooks().memory;
  plan = engine_plan(c, options, nullptr);
  if (!plan.valid() || !engine_bytes(c, options, plan, *table, ctx.hooks()).fits<std::size_t>()) {
    return error(error_code::overflow, "work memory for ", pictures, " pictures and ", batch, " sessions");
  }
  work = table->allocate(ctx, plan.bytes().value());
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
  plan = engine_plan(c, options, work.handle);
  if (!lanes.resize(batch) || !lane_rows.resize(batch)) return no_memory("a batch of ", batch, " sessions");
  if (vision) {
    const std::uint64_t side = c.vit.image_size;
    if (!chosen.resize(pictures)) return no_memory("a batch of ", pictures, " pictures");
    OCELLUS_ASSIGN(pixels, tensor<float>::make({pictures, 3, side, side}, memory));
    OCELLUS_ASSIGN(fresh_pixels, tensor<float>::make({3, side, side}, memory));
    OCELLUS_ASSIGN(patch_values, tensor<float>::make({c.vit.patches(), c.vit.patch_values()}, memory));
  }
  return {};
}

template <class Pixels, class Place>
result<step_state> session_engine::encode(std::uint32_t count, const Pixels& pixels_of, const Place& place,
                                          const observer& watch, time_budget budget) noexcept {
  const model_config& c = source.config();
  const std::uint32_t patches = c.vit.patches(), queries = c.qformer.queries;
  // A pass that was interrupted goes on only with the very same pictures.
  bool fresh = active != pass::encode || encoding != count;
  for (std::uint32_t i = 0; i < count; ++i) {
    OCELLUS_ASSIGN(const std::span<const float> from, pixels_of(i));
    const std::span<float> mine = pixels.span().subspan(i * from.size(), from.size());
    if (!fresh && std::memcmp(mine.data(), from.data(), from.size_bytes()) == 0) continue;
    fresh = true;
    active = pass::none;
    std::memcpy(mine.data(), from.data(), from.size_bytes());
  }
  for (std::uint32_t i = 0; fresh && i < count; ++i) {
    const std::size_t size = fresh_pixels.size();
    extract_patches(c.vit, pixels.span().subspan(i * size, size), patch_values.span());
    table->upload(ctx, patch_values.data(), plan.vit.patch_values.slice(i * patches, patches));
  }
  active = pass::encode;
  encoding = count;
  run.begin(*table, ctx, watch, budget, fresh);
  const vit_buffers vit = plan.vit.first(c.vit, count);
  const qformer_buffers qformer = plan.qformer.first(c, count);
  vit_forward(run, c.vit, source.weights().vit, vit);
  qformer_forward(run, c, source.weights(), vit.tokens, qformer);
  if (ctx.failed()) return take_failure("encoding a picture");
  if (!run.finished()) return step_state::more;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto values = tensor<float>::make({queries, c.phi.width}, ctx.hooks().memory);
    if (!values) {  // all of them or none, so that the pass is still that of the pictures without an embedding
      while (i-- > 0) place(i) = {};
      return values.error();
    }
    table->download(ctx, qformer.embeds.slice(i * queries, queries), values->data());
    place(i).values = std::move(*values);
  }
  active = pass::none;
  return step_state::done;
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_SESSION_ENGINE_IPP
