// How attention() is cut, for all CPU targets: into tasks, and the keys of a head into spans. Both follow from shapes
// alone.
#ifndef OCELLUS_KERNELS_ATTENTION_PLAN_HPP
#define OCELLUS_KERNELS_ATTENTION_PLAN_HPP

#include <algorithm>

#include "ocellus/kernels/cpu_memory.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

inline constexpr std::size_t few_queries = 3;  // up to so many rows of a sequence are done one by one

/// A task: rows [first, first + count) of a sequence, one head.
struct attention_task {
  const attention_args& args;
  const attention_sequence& sequence;
  std::uint32_t head;
  std::size_t first, count;

  /// Keys that row `row` of the sequence sees.
  [[nodiscard]] std::size_t visible(std::size_t row) const noexcept {
    std::size_t keys = 0;
    for (std::uint32_t i = 0; i < sequence.segment_count; ++i) keys += sequence.segments[i].k.rows;
    return args.causal ? (std::min)(keys, sequence.position + row + 1) : keys;
  }
  /// The D values of this head in row `row` of the sequence.
  [[nodiscard]] const float* query(std::size_t row) const noexcept {
    return cpu_row(args.q, sequence.first_row + row) + std::size_t{head} * args.head_size;
  }
  [[nodiscard]] float* out(std::size_t row) const noexcept {
    return cpu_row(args.out, sequence.first_row + row) + std::size_t{head} * args.head_size;
  }
};

/// A stretch of keys of one segment: `count` rows of D values, k_row and v_row bytes apart.
struct key_span {
  const std::byte* k = nullptr;
  const std::byte* v = nullptr;
  std::size_t k_row = 0, v_row = 0;
  std::size_t first = 0;  // position of its first key
  std::size_t count = 0;
};

/// Walks the first `visible` keys of a head in spans of at most `most` keys. A segment is cut into as few of them as can
/// be, of about the same size, all but the last multiples of `unit`; where does not depend on how much of it is visible, so
/// that a row has the same bits whichever rows it shares a call with.
class key_walk {
 public:
  key_walk(const attention_sequence& s, std::uint32_t head, std::size_t visible, std::size_t most,
           std::size_t unit) noexcept
      : sequence_(&s), head_(head), visible_(visible), most_(most), unit_(unit) {}

  /// The next span; false, and an empty one, behind the last.
  bool next(key_span& span) noexcept {
    span = {};
    while (left_ == 0) {
      if (segment_ == sequence_->segment_count || position_ == visible_) return false;
      const kv_segment& s = sequence_->segments[segment_++];
      left_ = (std::min)(std::size_t{s.k.rows}, visible_ - position_);
      const std::size_t spans = (s.k.rows + most_ - 1) / most_;
      if (spans != 0) size_ = round_up<std::size_t>((s.k.rows + spans - 1) / spans, unit_);
      const std::size_t element = bits_of(s.k.type) / 8, skip = head_ * s.head_stride * element;
      at_ = {cpu_row_bytes(s.k, 0) + skip,
             cpu_row_bytes(s.v, 0) + skip,
             s.k.stride * element,
             s.v.stride * element,
             position_,
             0};
    }
    span = at_;
    span.count = (std::min)(size_, left_);
    left_ -= span.count;
    position_ += span.count;
    at_.k += span.count * at_.k_row;
    at_.v += span.count * at_.v_row;
    at_.first = position_;
    return true;
  }

 private:
  const attention_sequence* sequence_;
  std::uint32_t head_;
  std::size_t visible_, most_, unit_;
  std::uint32_t segment_ = 0;
  std::size_t position_ = 0;  // of the next key
  std::size_t left_ = 0;      // keys of the segment
  std::size_t size_ = 0;      // keys of a span
  key_span at_;
};

/// Runs body(attention_task, worker) for all heads and blocks of rows of all sequences: in blocks of about the same
/// size, at most `most` rows and multiples of `unit`, or all rows at once if they are few. Then zeros the tails of `out`.
template <class Body>
void for_attention_tasks(context& ctx, const attention_args& args, std::size_t most, std::size_t unit,
                         const Body& body) noexcept {
  const auto block_of = [&](const attention_sequence& s) -> std::size_t {
    if (s.rows <= few_queries) return few_queries;
    const std::size_t blocks = (s.rows + most - 1) / most;
    return round_up<std::size_t>((s.rows + blocks - 1) / blocks, unit);
  };
  const auto tasks_of = [&](const attention_sequence& s) {
    return static_cast<std::uint32_t>((s.rows + block_of(s) - 1) / block_of(s)) * args.heads;
  };
  std::uint32_t tasks = 0;
  for (std::uint32_t i = 0; i < args.sequence_count; ++i) tasks += tasks_of(args.sequences[i]);
  ctx.parallel(tasks, [&](std::uint32_t index, std::uint32_t worker) {
    const attention_sequence* s = args.sequences;
    for (; index >= tasks_of(*s); ++s) index -= tasks_of(*s);
    // Heads in turn, blocks within: the blocks of a head read the same keys.
    const std::size_t block = block_of(*s), blocks = (s->rows + block - 1) / block;
    const std::size_t first = index % blocks * block, count = (std::min)(block, s->rows - first);
    const attention_task task{args, *s, static_cast<std::uint32_t>(index / blocks), first, count};
    body(task, worker);
    if (task.head + 1 != args.heads) return;
    const std::size_t width = std::size_t{args.heads} * args.head_size;
    for (std::size_t row = first; row < first + count; ++row) {
      float* out = cpu_row(args.out, s->first_row + row);
      std::fill(out + width, out + round_up<std::size_t>(width, column_pad), 0.0f);
    }
  });
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_ATTENTION_PLAN_HPP
