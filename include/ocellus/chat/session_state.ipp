// session_state: a session's positions and their memory; and the language pass, which computes the rows of several
// sessions together.
#ifndef OCELLUS_CHAT_SESSION_STATE_IPP
#define OCELLUS_CHAT_SESSION_STATE_IPP

#include <utility>

#include "ocellus/chat/busy_guard.hpp"
#include "ocellus/chat/kv_prefix.ipp"
#include "ocellus/chat/session_engine.ipp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// The matrices of a session, one row a position: those behind its prefix, and all of them.
struct session_plan {
  workspace kept;
  std::uint32_t most = 0;  // positions
  std::uint32_t own = 0;   // of them not in the prefix
  matrix input;            // [own, W] embeddings
  matrix cosines, sines;   // [most, rotary_size / 2]

  session_plan(const model_config& c, const session_options& o, void* memory) noexcept
      : kept(buffer{memory}) {
    most = session_context(c, o);
    own = most - (o.prefix.length() < most ? o.prefix.length() : most);
    const std::uint32_t half = c.phi.rotary_size / 2;
    input = kept.activations(own, c.phi.width);
    cosines = kept.activations(most, half);
    sines = kept.activations(most, half);
  }
};

struct session_state {
  session_state(shared<session_engine> e, const session_options& options) noexcept
      : engine(std::move(e)), watch(options.watch), vision(options.vision && engine->vision) {}
  session_state(session_state&&) = delete;
  ~session_state() {
    for (buffer* b : {&keep, &cache_memory}) engine->table->release(engine->ctx, *b);
  }

  [[nodiscard]] result<void> allocate(const session_options& options) noexcept;
  [[nodiscard]] const model_config& config() const noexcept { return engine->source.config(); }
  /// Positions that there can be.
  [[nodiscard]] std::uint32_t limit() const noexcept {
    return plan.most - base < plan.own ? plan.most : base + plan.own;
  }
  /// The input rows of positions from `first` on.
  [[nodiscard]] matrix input(std::uint32_t first, std::uint32_t count) const noexcept {
    return plan.input.slice(first - base, count);
  }
  /// For short work that is not worth cancelling: an error then always means that nothing has happened.
  [[nodiscard]] host unstoppable() const noexcept {
    host hooks = engine->ctx.hooks();
    hooks.stop = {};
    return hooks;
  }
  /// Forgets everything and begins with the first positions of a prefix.
  void start(shared<kv_prefix_state> from, std::uint32_t positions) noexcept {
    prefix = positions != 0 ? std::move(from) : shared<kv_prefix_state>();
    base = position = length = positions;
    logits_at = 0;
    pass_number = 0;
    if (positions == 0 || positions != prefix->positions || prefix->logits.size() == 0) return;
    std::memcpy(host_logits.data(), prefix->logits.data(), host_logits.span().size_bytes());
    logits_at = positions;
  }

  shared<session_engine> engine;
  observer watch;
  bool vision;
  buffer keep, cache_memory;
  session_plan plan{model_config{}, {}, nullptr};
  kv_cache cache;             // of positions from `base` on
  tensor<float> host_logits;  // [vocabulary]
  shared<kv_prefix_state> prefix;
  std::uint32_t base = 0;       // positions of the prefix in use
  std::uint32_t position = 0;   // positions computed
  std::uint32_t length = 0;     // positions taken
  std::uint32_t logits_at = 0;  // host_logits are those behind so many positions; 0: of none

  // The unfinished pass that it is part of, which may be another engine's; 0: none.
  const session_engine* pass_of = nullptr;
  std::uint64_t pass_number = 0;
  std::atomic<bool> busy{false};
};

/// Bytes that a session takes besides its engine.
[[nodiscard]] inline checked session_bytes(const model_config& c, const session_plan& plan,
                                           dtype cache_type) noexcept {
  return plan.kept.bytes() + kv_cache::bytes(c.phi, cache_type, plan.own) +
         checked(c.phi.vocabulary) * sizeof(float) + sizeof(session_state);
}

result<void> session_state::allocate(const session_options& options) noexcept {
  const model_config& c = config();
  context ctx(unstoppable());
  plan = session_plan(c, options, nullptr);
  const kernels& table = *engine->table;
  if (!session_bytes(c, plan, table.cache_type).fits<std::size_t>()) {
    return error(error_code::overflow, "a context of ", plan.most, " positions");
  }
  keep = table.allocate(ctx, plan.kept.bytes().value());
  cache_memory = table.allocate(ctx, kv_cache::bytes(c.phi, table.cache_type, plan.own).value());
  if (ctx.failed()) return error(ctx.failure(), "opening a session: ", describe(ctx.failure()));
  plan = session_plan(c, options, keep.handle);
  cache = kv_cache(c.phi, table.cache_type, cache_memory, plan.own);
  const memory_hooks& memory = ctx.hooks().memory;
  OCELLUS_ASSIGN(host_logits, tensor<float>::make({c.phi.vocabulary}, memory));
  const std::uint64_t half = c.phi.rotary_size / 2;
  OCELLUS_ASSIGN(auto cosines, tensor<float>::make({plan.most, half}, memory));
  OCELLUS_ASSIGN(auto sines, tensor<float>::make({plan.most, half}, memory));
  rotary_tables(c.phi, plan.most, cosines.span(), sines.span());
  table.upload(ctx, cosines.data(), plan.cosines);
  table.upload(ctx, sines.data(), plan.sines);
  return {};
}

/// Is the pass that was interrupted still worth going on with? All sessions in it must be among those asked for, and none
/// may have been rewound or computed elsewhere since. (A session of the past may have stood at the same address: it is
/// looked at only when it is among those asked for, and then knows nothing of the pass.)
template <class At>
bool session_engine::goes_on(std::size_t count, const At& at) const noexcept {
  if (active != pass::language) return false;
  for (std::uint32_t i = 0; i < lane_count; ++i) {
    bool found = false;
    for (std::size_t j = 0; j < count && !found; ++j) {
      const session_state& s = at(j);
      found = &s == lanes[i].session && s.pass_of == this && s.pass_number == pass_number;
    }
    if (!found) return false;
  }
  return true;
}

/// Begins a pass: rows of the first sessions that have any to be computed, as many as there is room for.
template <class At>
void session_engine::gather(std::size_t count, const At& at) noexcept {
  active = pass::language;
  lane_count = 0;
  ++pass_number;
  std::uint32_t rows = 0;
  for (std::size_t i = 0; i < count && lane_count < batch && rows < plan.phi.x.rows; ++i) {
    session_state& s = at(i);
    const std::uint32_t wanted = s.length - s.position, room = plan.phi.x.rows - rows;
    if (wanted == 0) continue;
    const bool last = wanted <= room;
    lanes[lane_count] = {&s, last};
    lane_rows[lane_count++] = {
        rows, last ? wanted : room, s.position, s.base != 0 ? s.prefix->cache : kv_cache(), s.base, s.cache};
    rows += last ? wanted : room;
    s.logits_at = 0;
    s.pass_of = this;
    s.pass_number = pass_number;
  }
}

/// The pass over the rows of all lanes.
void session_engine::run_lanes(const observer& watch) noexcept {
  const phi_config& c = source.config().phi;
  const phi_buffers b = plan.phi.first(rows().back().first_row + rows().back().rows);
  matrix input = b.x;
  const session_state* longest = lanes[0].session;  // its rotary tables hold the positions of all
  if (lane_count == 1) {
    input = lanes[0].session->input(rows()[0].position, b.x.rows);
  } else {
    for (std::uint32_t i = 0; i < lane_count; ++i) {
      const phi_sequence& s = lane_rows[i];
      run.copy(lanes[i].session->input(s.position, s.rows).with_tails(),
               b.x.slice(s.first_row, s.rows).with_tails());
      if (lanes[i].session->plan.most > longest->plan.most) longest = lanes[i].session;
    }
  }
  run.observe("prompt_embeds", input, rows()[0].position);
  phi_forward(run, c, source.weights().phi, {input, rows(), longest->plan.cosines, longest->plan.sines, b});
  run_logits(b, watch);
}

/// Logits behind the last row of each lane; with an observer, who is alone, behind all rows.
void session_engine::run_logits(const phi_buffers& b, const observer& watch) noexcept {
  const phi_weights& w = source.weights().phi;
  if (watch) {
    for (std::uint32_t first = 0; first < b.h.rows; first += plan.logits.rows) {
      const std::uint32_t left = b.h.rows - first, count = left < plan.logits.rows ? left : plan.logits.rows;
      phi_logits(run, w, b.h.slice(first, count), plan.logits.slice(0, count));
      run.observe("logits", plan.logits.slice(0, count), rows()[0].position + first);
    }
    return;
  }
  // Their last rows side by side, if they are not already; y is free by now.
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < lane_count; ++i) count += lanes[i].last;
  if (count == 0) return;
  matrix h = b.h;
  if (lane_count == 1) {
    h = b.h.slice(b.h.rows - 1, 1);
  } else if (count != b.h.rows) {
    h = b.y.slice(0, count);
    std::uint32_t to = 0;
    for (std::uint32_t i = 0; i < lane_count; ++i) {
      const phi_sequence& s = lane_rows[i];
      if (!lanes[i].last) continue;
      run.copy(b.h.slice(s.first_row + s.rows - 1, 1).with_tails(), h.slice(to++, 1).with_tails());
    }
  }
  phi_logits(run, w, h, plan.logits.slice(0, count));
}

/// The pass is done: its sessions move on.
void session_engine::finish_lanes(const observer& watch) noexcept {
  std::uint32_t row = 0;
  for (std::uint32_t i = 0; i < lane_count; ++i) {
    session_state& s = *lanes[i].session;
    s.position = lane_rows[i].position + lane_rows[i].rows;
    s.pass_number = 0;
    if (!lanes[i].last) continue;
    const std::uint32_t from = watch ? (lane_rows[i].rows - 1) % plan.logits.rows : row++;
    table->download(ctx, plan.logits.slice(from, 1), s.host_logits.data());
    s.logits_at = s.position;
  }
  active = pass::none;
}

template <class At>
result<step_state> session_engine::step(std::size_t count, const At& at, time_budget budget) noexcept {
  const std::int64_t start = steady_nanoseconds();
  const observer watch = count == 1 ? at(0).watch : observer{};
  for (bool first = true;; first = false) {
    const bool fresh = !goes_on(count, at);
    if (fresh) {
      bool pending = false;
      for (std::size_t i = 0; i < count; ++i) pending = pending || at(i).position < at(i).length;
      if (!pending) return step_state::done;
      // Out of time between two passes: the next one is the next call's.
      if (!first && budget.used_up_by(steady_nanoseconds() - start)) return step_state::more;
      gather(count, at);
    }
    run.begin(*table, ctx, watch, budget.minus(steady_nanoseconds() - start), fresh);
    run_lanes(watch);
    if (ctx.failed()) return take_failure("computing tokens");
    if (!run.finished()) return step_state::more;
    finish_lanes(watch);
  }
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_SESSION_STATE_IPP
