// Per SIMD target: softmax(q k^T * scale) v, without ever holding a row of scores: keys come in fixed chunks
// and each chunk's share is rescaled when a larger score turns up (online softmax). Scratch does not grow
// with T or P.
//
// Many queries (prefill, the ViT, the Q-Former): a lane is a query. q is transposed once per task; then both products
// are the tiles of linear(), with single values of k and v spread over the lanes. f32 keys and values are read where
// they are, f16 ones widened once for all queries of a task. Few queries (decoding): see attention_few-inl.h.
#ifndef OCELLUS_KERNELS_ATTENTION_INL_H
#define OCELLUS_KERNELS_ATTENTION_INL_H

#include <limits>

#include "ocellus/kernels/attention_few-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

inline constexpr std::size_t key_chunk = 64;     // keys between two rescalings
inline constexpr std::size_t query_block = 64;   // queries of a task
inline constexpr std::size_t strip = 2 * lanes;  // queries of a tile

struct many_scratch {
  float q[max_head_size * query_block];    // [strips][D][strip]
  float out[max_head_size * query_block];  // [strips][D][strip]
  float scores[key_chunk * strip];         // [keys][strip]
  float k[max_head_size * key_chunk];      // widened f16
  float v[max_head_size * key_chunk];
  float largest[query_block];
  float total[query_block];
};

/// What one worker needs.
struct attention_scratch {
  many_scratch many;
  few_scratch few;
};

/// acc[r][lane] += sum over steps of x[step * x_step + r * x_row] * w[step][lane]: the tile of linear() with free
/// strides. w: [steps, strip]; out: [R, strip]
template <std::size_t R>
HWY_NOINLINE void attention_tile(const float* HWY_RESTRICT x, std::size_t x_row, std::size_t x_step,
                                 const float* HWY_RESTRICT w, std::size_t steps, float* HWY_RESTRICT out,
                                 bool add) {
  f32_vec acc[R][2];
  clear_tile<R>(acc);
  for (std::size_t i = 0; i < steps; ++i) {
    add_products<R>(acc, x, x_row, load(w), load(w + lanes));
    x += x_step;
    w += strip;
  }
  store_tile<R>(acc, out, strip, add);
}

/// out (+)= x w for `rows` rows of x. out: [rows, strip]
HWY_NOINLINE void attention_product(const float* x, std::size_t rows, std::size_t x_row, std::size_t x_step,
                                    const float* w, std::size_t steps, float* out, bool add) {
  std::size_t r = 0;
  for (; r + tile_rows <= rows; r += tile_rows) {
    attention_tile<tile_rows>(x + r * x_row, x_row, x_step, w, steps, out + r * strip, add);
  }
  for (; r + tile_rows_left <= rows; r += tile_rows_left) {
    attention_tile<tile_rows_left>(x + r * x_row, x_row, x_step, w, steps, out + r * strip, add);
  }
  for (; r < rows; ++r) attention_tile<1>(x + r * x_row, x_row, x_step, w, steps, out + r * strip, add);
}

/// One vector of queries: turns their scores of a chunk into exp(score - largest), brings `total` and the
/// sums in `out` to the new largest score. scores: [keys][strip]; out: [D][strip]; limit: keys of the chunk
/// that the first lane's query sees, one more for each lane when causal.
HWY_NOINLINE void softmax_chunk(float* scores, std::size_t keys, bool causal, std::ptrdiff_t limit,
                                float* largest, float* total, float* out, std::size_t head_size) {
  const f32_tag d;
  if (causal && limit < static_cast<std::ptrdiff_t>(keys)) {
    const f32_vec seen = hn::Add(hn::Iota(d, 0.0f), splat(static_cast<float>(limit)));
    for (std::size_t i = 0; i < keys; ++i) {
      const auto hidden = hn::Ge(splat(static_cast<float>(i)), seen);
      store(hn::IfThenElse(hidden, splat(-std::numeric_limits<float>::infinity()), load(scores + i * strip)),
            scores + i * strip);
    }
  }
  const f32_vec before = load(largest);
  f32_vec most = before;
  for (std::size_t i = 0; i < keys; ++i) most = hn::Max(most, load(scores + i * strip));
  // A lane that saw no key yet keeps -infinity; any finite number makes its weights exactly 0 instead of NaN.
  const f32_vec shift = hn::Max(most, splat(-3.0e38f));
  f32_vec sum = hn::Zero(d);
  for (std::size_t i = 0; i < keys; ++i) {
    const f32_vec weight = exp_f32(hn::Sub(load(scores + i * strip), shift));
    store(weight, scores + i * strip);
    sum = hn::Add(sum, weight);
  }
  const f32_vec rescale = exp_f32(hn::Sub(before, shift));
  store(hn::MulAdd(load(total), rescale, sum), total);
  store(most, largest);
  for (std::size_t i = 0; i < head_size; ++i) store(hn::Mul(load(out + i * strip), rescale), out + i * strip);
}

/// Keys or values as rows of f32: where they are, or widened into `to`, [count, D].
struct f32_rows {
  const float* at;
  std::size_t row;  // elements
};
HWY_INLINE f32_rows rows_of(const std::byte* from, std::size_t row, dtype type, std::size_t count,
                            std::size_t size, float* to) {
  if (type == dtype::f32) return {reinterpret_cast<const float*>(from), row / sizeof(float)};
  const std::size_t padded = round_up(size, lanes);
  for (std::size_t i = 0; i < count; ++i, from += row) {
    std::size_t d = 0;
    for (; d + lanes <= size; d += lanes) store(load_f16(from + d * sizeof(f16)), to + i * padded + d);
    for (; d < size; ++d) to[i * padded + d] = load_as_f32(type, from, d);
  }
  return {to, padded};
}

/// Are all of them finite? rows: [count, D]
HWY_NOINLINE bool all_finite(f32_rows rows, std::size_t count, std::size_t size) {
  // 0 * x is 0 or NaN, which stays in a sum.
  f32_vec sum = hn::Zero(f32_tag());
  float left = 0.0f;
  for (std::size_t i = 0; i < count; ++i) {
    const float* row = rows.at + i * rows.row;
    std::size_t d = 0;
    for (; d + lanes <= size; d += lanes) sum = hn::MulAdd(load(row + d), hn::Zero(f32_tag()), sum);
    for (; d < size; ++d) left += row[d] * 0.0f;
  }
  return sum_of_lanes(sum) + left == 0.0f;
}

/// A task of the many-query way.
HWY_NOINLINE void attend_many(context& ctx, const attention_task& task, attention_scratch& scratch) {
  const attention_args& args = task.args;
  const std::size_t size = args.head_size, count = task.count;
  const std::size_t strips = (count + strip - 1) / strip;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < size; j += 16) {
      prefetch_later(reinterpret_cast<const std::byte*>(task.query(task.first + i) + j));
      prefetch_later(reinterpret_cast<const std::byte*>(task.out(task.first + i) + j));
    }
  }
  many_scratch& many = scratch.many;
  for (std::size_t i = 0; i < strips * strip; ++i) {
    const float* q = i < count ? task.query(task.first + i) : nullptr;
    float* to = many.q + i / strip * size * strip + i % strip;
    for (std::size_t j = 0; j < size; ++j) to[j * strip] = q != nullptr ? q[j] * args.scale : 0.0f;
    many.largest[i] = -std::numeric_limits<float>::infinity();
    many.total[i] = 0.0f;
  }
  std::memset(many.out, 0, strips * strip * size * sizeof(float));
  const std::size_t position = task.sequence.position + task.first;
  const std::size_t visible = task.visible(task.first + count - 1);
  const dtype type = task.sequence.segments[0].k.type;
  key_walk walk(task.sequence, task.head, visible, key_chunk, key_chunk);
  for (key_span span; walk.next(span);) {
    const f32_rows k = rows_of(span.k, span.k_row, type, span.count, size, many.k);
    const f32_rows v = rows_of(span.v, span.v_row, type, span.count, size, many.v);
    // A key that a query does not see has the weight 0 for it, which does not hide infinity and NaN.
    if (args.causal && position + 1 < span.first + span.count && !all_finite(v, span.count, size)) {
      return attend_one_by_one(ctx, task, scratch.few);
    }
    for (std::size_t part = 0; part < strips; ++part) {
      float* out = many.out + part * size * strip;
      attention_product(k.at, span.count, k.row, 1, many.q + part * size * strip, size, many.scores, false);
      for (std::size_t half = 0; half < strip; half += lanes) {
        const std::size_t lane0 = part * strip + half;
        const auto limit =
            static_cast<std::ptrdiff_t>(position + lane0 + 1) - static_cast<std::ptrdiff_t>(span.first);
        softmax_chunk(many.scores + half, span.count, args.causal, limit, many.largest + lane0,
                      many.total + lane0, out + half, size);
      }
      attention_product(v.at, size, 1, v.row, many.scores, span.count, out, true);
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    float* out = task.out(task.first + i);
    const float* from = many.out + i / strip * size * strip + i % strip;
    const float inverse = visible != 0 ? 1.0f / many.total[i] : 0.0f;
    for (std::size_t j = 0; j < size; ++j) out[j] = from[j * strip] * inverse;
  }
}

void attention(context& ctx, const attention_args& args) noexcept {
  for_attention_tasks(ctx, args, query_block, strip, [&](const attention_task& task, std::uint32_t worker) {
    auto& scratch = *static_cast<attention_scratch*>(ctx.scratch(worker));
    if (task.sequence.rows <= few_queries) {
      attend_few(ctx, task, scratch.few);
    } else {
      attend_many(ctx, task, scratch);
    }
  });
}

#if OCELLUS_X86_64 && HWY_TARGET <= HWY_AVX3
/// Either way is a task's.
union bf16_attention_scratch {
  avx512_bf16::scratch many;
  few_scratch few;
};

/// Many queries by dot products of bf16. What holds numbers that are not finite, and few queries, goes one by one.
void attention_bf16(context& ctx, const attention_args& args) noexcept {
  constexpr std::size_t unit = avx512_bf16::tile_vectors * avx512_bf16::lanes;
  const std::size_t most =
      (std::min)(avx512_bf16::most_queries, avx512_bf16::most_query_values / args.head_size / unit * unit);
  for_attention_tasks(ctx, args, most, unit, [&](const attention_task& task, std::uint32_t worker) {
    void* memory = ctx.scratch(worker);
    if (task.sequence.rows > few_queries) {
      auto& scratch = *static_cast<avx512_bf16::scratch*>(memory);
      const bool f16 = task.sequence.segments[0].k.type == dtype::f16;
      if (f16 ? avx512_bf16::attend_many<dtype::f16>(task, scratch)
              : avx512_bf16::attend_many<dtype::f32>(task, scratch)) {
        return;
      }
    }
    attend_one_by_one(ctx, task, *static_cast<few_scratch*>(memory));
  });
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_ATTENTION_INL_H
