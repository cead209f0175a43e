// Per SIMD target: attention of few queries (decoding), bound by reading the cache once. A lane is one of the D values.
// Scores are made for as many keys at a time as a vector has lanes, so that their horizontal sums come from one
// transposition; while a span of keys is computed, the next one is fetched.
#ifndef OCELLUS_KERNELS_ATTENTION_FEW_INL_H
#define OCELLUS_KERNELS_ATTENTION_FEW_INL_H

#include <algorithm>
#include <limits>

#include "ocellus/kernels/attention_plan.hpp"
#include "ocellus/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

inline constexpr std::size_t few_keys =
    64;  // a span: at D = 80, k and v of it and of the next are 40 KiB of f16

/// What one worker needs.
struct few_scratch {
  float q[few_queries][max_head_size];  // scaled
  float out[few_queries][max_head_size];
  float scores[few_keys];
  float largest[few_queries];
  float total[few_queries];
};

/// `lanes` keys or values at p, as f32.
template <dtype Type>
HWY_INLINE f32_vec load_cached(const std::byte* p) {
  if constexpr (Type == dtype::f16) {
    return load_f16(p);
  } else {
    return load(reinterpret_cast<const float*>(p));
  }
}
/// Memory to fetch while `steps` keys are computed, each step an equal share.
struct fetch_list {
  const std::byte* at;
  const std::byte* end;
  std::size_t share;

  HWY_INLINE fetch_list(const std::byte* from, std::size_t bytes, std::size_t steps)
      : at(from), end(from + bytes), share((bytes + steps - 1) / steps) {}
  HWY_INLINE void next(std::size_t steps) {
    const std::byte* stop = at + (std::min)(steps * share, static_cast<std::size_t>(end - at));
    for (; at < stop; at += 64) hwy::Prefetch(at);
    at = (std::min)(at, end);
  }
};

/// Sums of the lanes of four vectors, block by block of 128 bits: those of a, b, c and d in one block.
HWY_INLINE f32_vec sums_in_blocks(f32_vec a, f32_vec b, f32_vec c, f32_vec d) {
  const f32_tag f;
  const pair_tag pairs;
  const auto ab = hn::BitCast(pairs, hn::Add(hn::InterleaveLower(f, a, b), hn::InterleaveUpper(f, a, b)));
  const auto cd = hn::BitCast(pairs, hn::Add(hn::InterleaveLower(f, c, d), hn::InterleaveUpper(f, c, d)));
  return hn::Add(hn::BitCast(f, hn::InterleaveLower(pairs, ab, cd)),
                 hn::BitCast(f, hn::InterleaveUpper(pairs, ab, cd)));
}

/// Lane i: the sum of the lanes of v[i].
HWY_INLINE f32_vec sums_of_each(const f32_vec (&v)[lanes]) {
  const f32_tag f;
  if constexpr (lanes == 4) {
    return sums_in_blocks(v[0], v[1], v[2], v[3]);
  } else if constexpr (lanes == 8) {
    const f32_vec low = sums_in_blocks(v[0], v[1], v[2], v[3]), high = sums_in_blocks(v[4], v[5], v[6], v[7]);
    return hn::Add(hn::ConcatLowerLower(f, high, low), hn::ConcatUpperUpper(f, high, low));
  } else {
    const f32_vec s0 = sums_in_blocks(v[0], v[1], v[2], v[3]), s1 = sums_in_blocks(v[4], v[5], v[6], v[7]),
                  s2 = sums_in_blocks(v[8], v[9], v[10], v[11]),
                  s3 = sums_in_blocks(v[12], v[13], v[14], v[15]);
    // Two blocks of each are left: of s0 and s2, of s1 and s3.
    const f32_vec even = hn::Add(hn::ConcatLowerLower(f, s2, s0), hn::ConcatUpperUpper(f, s2, s0));
    const f32_vec odd = hn::Add(hn::ConcatLowerLower(f, s3, s1), hn::ConcatUpperUpper(f, s3, s1));
    return hn::Add(hn::OddEvenBlocks(odd, even), hn::SwapAdjacentBlocks(hn::OddEvenBlocks(even, odd)));
  }
}

template <dtype Type, std::size_t Keys, std::size_t Count>
HWY_INLINE void add_key_products(f32_vec (&sums)[Count], f32_vec q, const std::byte* k, std::size_t k_row) {
  if constexpr (Keys != 0) {
    add_key_products<Type, Keys - 1>(sums, q, k, k_row);
    sums[Keys - 1] = hn::MulAdd(q, load_cached<Type>(k + (Keys - 1) * k_row), sums[Keys - 1]);
  }
}
template <std::size_t N, std::size_t Count>
HWY_INLINE void zero_vectors(f32_vec (&v)[Count]) {
  if constexpr (N != 0) {
    zero_vectors<N - 1>(v);
    v[N - 1] = hn::Zero(f32_tag());
  }
}

/// q . k of `Keys` keys, which is 1 or `lanes`, over whole vectors of the D values: in its lane, or in every one.
template <dtype Type, std::size_t Keys>
HWY_INLINE f32_vec dot_keys(const float* q, const std::byte* k, std::size_t k_row, std::size_t size) {
  f32_vec sums[Keys];
  zero_vectors<Keys>(sums);
  for (std::size_t d = 0; d + lanes <= size; d += lanes) {
    add_key_products<Type, Keys>(sums, load(q + d), k + d * (bits_of(Type) / 8), k_row);
  }
  if constexpr (Keys == 1) {
    return splat(sum_of_lanes(sums[0]));
  } else {
    return sums_of_each(sums);
  }
}

/// Scores of `count` keys, `ahead` being fetched meanwhile; returns the largest of them and `most`. scores: [few_keys]
template <dtype Type>
HWY_NOINLINE float score_keys(const float* q, const key_span& span, std::size_t count, std::size_t size,
                              float* scores, float most, fetch_list& ahead) {
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    ahead.next(lanes);
    store(dot_keys<Type, lanes>(q, span.k + i * span.k_row, span.k_row, size), scores + i);
  }
  for (; i < count; ++i) {
    ahead.next(1);
    scores[i] = hn::GetLane(dot_keys<Type, 1>(q, span.k + i * span.k_row, span.k_row, size));
  }
  // The values behind the last whole vector, one by one; the model's heads have none.
  for (std::size_t d = size / lanes * lanes; d < size; ++d) {
    for (i = 0; i < count; ++i) scores[i] += q[d] * load_as_f32(Type, span.k + i * span.k_row, d);
  }
  f32_vec largest = splat(most);
  for (i = 0; i + lanes <= count; i += lanes) largest = hn::Max(largest, load(scores + i));
  most = max_of_lanes(largest);
  for (; i < count; ++i) most = scores[i] > most ? scores[i] : most;
  return most;
}

template <dtype Type, std::size_t N, std::size_t Count>
HWY_INLINE void add_value_products(f32_vec (&sums)[Count], f32_vec weight, const std::byte* v) {
  if constexpr (N != 0) {
    add_value_products<Type, N - 1>(sums, weight, v);
    const std::byte* at = v + (N - 1) * lanes * (bits_of(Type) / 8);
    sums[N - 1] = hn::MulAdd(weight, load_cached<Type>(at), sums[N - 1]);
  }
}
template <std::size_t N, std::size_t Count>
HWY_INLINE void add_to_row(const f32_vec (&v)[Count], f32_vec scale, float* row) {
  if constexpr (N != 0) {
    add_to_row<N - 1>(v, scale, row);
    float* at = row + (N - 1) * lanes;
    store(hn::MulAdd(load(at), scale, v[N - 1]), at);
  }
}

/// out = out * rescale + sum over keys of weight * v for N vectors of the D values. Even and odd keys have sums of their
/// own, for enough independent additions.
template <dtype Type, std::size_t N>
HWY_NOINLINE void add_value_columns(const float* weights, const std::byte* v, std::size_t v_row,
                                    std::size_t keys, float rescale, float* out, fetch_list& ahead) {
  f32_vec even[N], odd[N];
  zero_vectors<N>(even);
  zero_vectors<N>(odd);
  std::size_t i = 0;
  for (; i + 2 <= keys; i += 2) {
    ahead.next(2);
    add_value_products<Type, N>(even, splat(weights[i]), v);
    add_value_products<Type, N>(odd, splat(weights[i + 1]), v + v_row);
    v += 2 * v_row;
  }
  if (i != keys) add_value_products<Type, N>(even, splat(weights[i]), v);
  add_to_row<N>(even, splat(rescale), out);
  add_to_row<N>(odd, splat(1.0f), out);
}

/// The same for all D values.
template <dtype Type>
HWY_NOINLINE void add_values(const float* weights, const key_span& span, std::size_t keys, std::size_t size,
                             float rescale, float* out, fetch_list& ahead) {
  std::size_t d = 0;
  while (d + lanes <= size) {
    const std::size_t left = (size - d) / lanes;
    const std::byte* v = span.v + d * (bits_of(Type) / 8);
    const auto columns = [&](auto n) HWY_ATTR {
      constexpr std::size_t N = decltype(n)::value;
      add_value_columns<Type, N>(weights, v, span.v_row, keys, rescale, out + d, ahead);
      d += N * lanes;
    };
    if (left >= 5) {
      columns(std::integral_constant<std::size_t, 5>());
    } else if (left >= 3) {
      columns(std::integral_constant<std::size_t, 3>());
    } else {
      columns(std::integral_constant<std::size_t, 1>());
    }
  }
  for (; d < size; ++d) {
    out[d] *= rescale;
    for (std::size_t i = 0; i < keys; ++i)
      out[d] += weights[i] * load_as_f32(Type, span.v + i * span.v_row, d);
  }
}

/// Scores to weights exp(score - most); returns their sum. [count]
HWY_NOINLINE float weigh_scores(float* scores, std::size_t count, float most) {
  f32_vec sum = hn::Zero(f32_tag());
  for (std::size_t i = 0; i < count; i += lanes) {
    const f32_vec weight =
        first_lanes(count - i, exp_f32(hn::Sub(first_lanes(count - i, load(scores + i)), splat(most))));
    store(weight, scores + i);
    sum = hn::Add(sum, weight);
  }
  return sum_of_lanes(sum);
}

/// Rows of a task, at most few_queries, one by one; span by span for all of them.
/// next: the head that this worker will probably take next, or none: no less than there are
template <dtype Type>
HWY_NOINLINE void attend_few_of(const attention_task& task, std::uint32_t next, few_scratch& scratch) {
  const std::size_t size = task.args.head_size;
  for (std::size_t r = 0; r < task.count; ++r) {
    const float* q = task.query(task.first + r);
    for (std::size_t d = 0; d < size; ++d) scratch.q[r][d] = q[d] * task.args.scale;
    zero_fill(scratch.out[r], 0, size);
    scratch.largest[r] = -3.0e38f;
    scratch.total[r] = 0.0f;
  }
  const std::size_t visible = task.visible(task.first + task.count - 1);
  key_walk walk(task.sequence, task.head, visible, few_keys, few_keys);
  key_span span, coming;
  for (bool more = walk.next(span); more; span = coming) {
    more = walk.next(coming);
    if (!more && next < task.args.heads) {
      key_walk(task.sequence, next, visible, few_keys, few_keys).next(coming);
    }
    fetch_list keys(coming.k, coming.count * coming.k_row, span.count);
    fetch_list values(coming.v, coming.count * coming.v_row, span.count);
    for (std::size_t r = 0; r < task.count; ++r) {
      const std::size_t sees = task.visible(task.first + r);
      const std::size_t count = sees > span.first ? (std::min)(span.count, sees - span.first) : 0;
      if (count == 0) continue;
      float& largest = scratch.largest[r];
      const float most = score_keys<Type>(scratch.q[r], span, count, size, scratch.scores, largest, keys);
      const float sum = weigh_scores(scratch.scores, count, most);
      const float rescale = hn::GetLane(exp_f32(splat(largest - most)));
      scratch.total[r] = scratch.total[r] * rescale + sum;
      add_values<Type>(scratch.scores, span, count, size, rescale, scratch.out[r], values);
      largest = most;
    }
  }
  for (std::size_t r = 0; r < task.count; ++r) {
    float* out = task.out(task.first + r);
    const float inverse = visible != 0 ? 1.0f / scratch.total[r] : 0.0f;
    for (std::size_t d = 0; d < size; ++d) out[d] = scratch.out[r][d] * inverse;
  }
}

HWY_NOINLINE void attend_few(context& ctx, const attention_task& task, few_scratch& scratch) {
  const std::uint32_t next = task.head + ctx.workers();
  if (task.sequence.segments[0].k.type == dtype::f16) {
    attend_few_of<dtype::f16>(task, next, scratch);
  } else {
    attend_few_of<dtype::f32>(task, next, scratch);
  }
}

/// A task of any number of rows in steps of few.
inline void attend_one_by_one(context& ctx, const attention_task& task, few_scratch& scratch) {
  for (std::size_t i = 0; i < task.count; i += few_queries) {
    attend_few(ctx,
               {task.args, task.sequence, task.head, task.first + i, (std::min)(few_queries, task.count - i)},
               scratch);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_ATTENTION_FEW_INL_H
