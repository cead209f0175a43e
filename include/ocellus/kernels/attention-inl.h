// Per SIMD target: softmax(q k^T * scale) v, without ever holding a row of scores: keys come in fixed chunks
// and each chunk's share is rescaled when a larger score turns up (online softmax). Scratch does not grow
// with T or P.
//
// Many queries (prefill, the ViT, the Q-Former): a lane is a query. q is transposed once per task; then both
// products are the tiles of linear(), with single values of k and v read in place and spread over the lanes,
// so no key or value is copied and none beyond a head's own D is read. Few queries (decoding): a lane is one
// of the D values.
#ifndef OCELLUS_KERNELS_ATTENTION_INL_H
#define OCELLUS_KERNELS_ATTENTION_INL_H

#include <algorithm>
#include <limits>

#include "ocellus/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

inline constexpr std::size_t key_chunk = 64;     // keys between two rescalings; never across a segment border
inline constexpr std::size_t query_block = 64;   // queries of a task
inline constexpr std::size_t strip = 2 * lanes;  // queries of a tile
inline constexpr std::uint32_t few_queries = 3;  // up to so many rows of a sequence are done one by one

/// What one worker needs: the larger of the two ways.
struct attention_scratch {
  float q[max_head_size * query_block];    // [strips][D][strip]
  float out[max_head_size * query_block];  // [strips][D][strip]
  float scores[key_chunk * strip];         // [keys][strip]
  float largest[query_block];
  float total[query_block];
};

/// A stretch of keys of one segment. k, v: [count, D], rows k_row and v_row elements apart
struct key_span {
  const float* k;
  const float* v;
  std::size_t k_row, v_row;
  std::size_t first;  // position of its first key
  std::size_t count;
};

/// Runs body(key_span) over the first `visible` keys, chunk by chunk.
template <class Body>
HWY_INLINE void for_key_chunks(const attention_sequence& s, std::uint32_t head, std::size_t visible,
                               const Body& body) {
  std::size_t position = 0;
  for (std::uint32_t i = 0; i < s.segment_count; ++i) {
    const kv_segment& segment = s.segments[i];
    for (std::size_t p = 0; p < segment.k.rows && position < visible; p += key_chunk) {
      const std::size_t in_segment = (std::min)(key_chunk, segment.k.rows - p);
      const std::size_t count = (std::min)(in_segment, visible - position);
      const float* k = cpu_row(segment.k, p) + head * segment.head_stride;
      const float* v = cpu_row(segment.v, p) + head * segment.head_stride;
      body(key_span{k, v, static_cast<std::size_t>(segment.k.stride),
                    static_cast<std::size_t>(segment.v.stride), position, count});
      position += count;
    }
  }
}

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

/// One task of the many-query way: queries [first, first + count) of one head.
HWY_NOINLINE void attend_block(const attention_args& args, const attention_sequence& s, std::uint32_t head,
                               std::size_t first, std::size_t count, std::size_t keys,
                               attention_scratch& scratch) {
  const std::size_t size = args.head_size, column = std::size_t{head} * size;
  const std::size_t strips = (count + strip - 1) / strip;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t row = s.first_row + first + i;
    for (std::size_t j = 0; j < size; j += 16) {
      prefetch_later(reinterpret_cast<const std::byte*>(cpu_row(args.q, row) + column + j));
      prefetch_later(reinterpret_cast<const std::byte*>(cpu_row(args.out, row) + column + j));
    }
  }
  for (std::size_t i = 0; i < strips * strip; ++i) {
    const float* q = i < count ? cpu_row(args.q, s.first_row + first + i) + column : nullptr;
    float* to = scratch.q + i / strip * size * strip + i % strip;
    for (std::size_t j = 0; j < size; ++j) to[j * strip] = q != nullptr ? q[j] * args.scale : 0.0f;
    scratch.largest[i] = -std::numeric_limits<float>::infinity();
    scratch.total[i] = 0.0f;
  }
  std::memset(scratch.out, 0, strips * strip * size * sizeof(float));
  const std::size_t position = s.position + first;
  const std::size_t visible = args.causal ? (std::min)(keys, position + count) : keys;
  for_key_chunks(s, head, visible, [&](const key_span& span) HWY_ATTR {
    for (std::size_t part = 0; part < strips; ++part) {
      float* out = scratch.out + part * size * strip;
      attention_product(span.k, span.count, span.k_row, 1, scratch.q + part * size * strip, size,
                        scratch.scores, false);
      for (std::size_t half = 0; half < strip; half += lanes) {
        const std::size_t lane0 = part * strip + half;
        const auto limit =
            static_cast<std::ptrdiff_t>(position + lane0 + 1) - static_cast<std::ptrdiff_t>(span.first);
        softmax_chunk(scratch.scores + half, span.count, args.causal, limit, scratch.largest + lane0,
                      scratch.total + lane0, out + half, size);
      }
      attention_product(span.v, size, 1, span.v_row, scratch.scores, span.count, out, true);
    }
  });
  for (std::size_t i = 0; i < count; ++i) {
    float* out = cpu_row(args.out, s.first_row + first + i) + column;
    const float* from = scratch.out + i / strip * size * strip + i % strip;
    const float inverse = visible != 0 ? 1.0f / scratch.total[i] : 0.0f;
    for (std::size_t j = 0; j < size; ++j) out[j] = from[j * strip] * inverse;
  }
}

/// q . k for whole vectors, then value by value. [n] both
HWY_INLINE float dot(const float* q, const float* k, std::size_t n) {
  f32_vec sum0 = hn::Zero(f32_tag()), sum1 = sum0;
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    sum0 = hn::MulAdd(load(q + i), load(k + i), sum0);
    sum1 = hn::MulAdd(load(q + i + lanes), load(k + i + lanes), sum1);
  }
  for (; i + lanes <= n; i += lanes) sum0 = hn::MulAdd(load(q + i), load(k + i), sum0);
  float sum = sum_of_lanes(hn::Add(sum0, sum1));
  for (; i < n; ++i) sum += q[i] * k[i];
  return sum;
}

/// out += sum over keys of weight * v row, four vectors of D at a time. v: [keys, D]; out: [D]
HWY_INLINE void add_values(const float* weights, const float* v, std::size_t v_row, std::size_t keys,
                           std::size_t size, float* out) {
  std::size_t d = 0;
  for (; d + 4 * lanes <= size; d += 4 * lanes) {
    f32_vec sum0 = load(out + d), sum1 = load(out + d + lanes);
    f32_vec sum2 = load(out + d + 2 * lanes), sum3 = load(out + d + 3 * lanes);
    for (std::size_t i = 0; i < keys; ++i) {
      const float* row = v + i * v_row + d;
      const f32_vec w = splat(weights[i]);
      sum0 = hn::MulAdd(w, load(row), sum0);
      sum1 = hn::MulAdd(w, load(row + lanes), sum1);
      sum2 = hn::MulAdd(w, load(row + 2 * lanes), sum2);
      sum3 = hn::MulAdd(w, load(row + 3 * lanes), sum3);
    }
    store(sum0, out + d);
    store(sum1, out + d + lanes);
    store(sum2, out + d + 2 * lanes);
    store(sum3, out + d + 3 * lanes);
  }
  for (; d + lanes <= size; d += lanes) {
    f32_vec sum = load(out + d);
    for (std::size_t i = 0; i < keys; ++i) sum = hn::MulAdd(splat(weights[i]), load(v + i * v_row + d), sum);
    store(sum, out + d);
  }
  for (; d < size; ++d) {
    for (std::size_t i = 0; i < keys; ++i) out[d] += weights[i] * v[i * v_row + d];
  }
}

/// One query of one head. q, out: [D]
HWY_NOINLINE void attend_one(const attention_args& args, const attention_sequence& s, std::uint32_t head,
                             const float* q, std::size_t visible, float* out, attention_scratch& scratch) {
  const std::size_t size = args.head_size;
  std::memset(scratch.out, 0, size * sizeof(float));
  float largest = -3.0e38f, total = 0.0f;
  for_key_chunks(s, head, visible, [&](const key_span& span) HWY_ATTR {
    float most = largest;
    for (std::size_t i = 0; i < span.count; ++i) {
      scratch.scores[i] = dot(q, span.k + i * span.k_row, size) * args.scale;
      most = scratch.scores[i] > most ? scratch.scores[i] : most;
    }
    f32_vec sum = hn::Zero(f32_tag());
    for (std::size_t i = 0; i < span.count; i += lanes) {
      const f32_vec scores = first_lanes(span.count - i, load(scratch.scores + i));
      const f32_vec weight = first_lanes(span.count - i, exp_f32(hn::Sub(scores, splat(most))));
      store(weight, scratch.scores + i);
      sum = hn::Add(sum, weight);
    }
    const float rescale = hn::GetLane(exp_f32(splat(largest - most)));
    total = total * rescale + sum_of_lanes(sum);
    for (std::size_t d = 0; d < size; ++d) scratch.out[d] *= rescale;
    add_values(scratch.scores, span.v, span.v_row, span.count, size, scratch.out);
    largest = most;
  });
  const float inverse = visible != 0 ? 1.0f / total : 0.0f;
  for (std::size_t d = 0; d < size; ++d) out[d] = scratch.out[d] * inverse;
}

void attention(context& ctx, const attention_args& args) noexcept {
  for (const attention_sequence* s = args.sequences; s != args.sequences + args.sequence_count; ++s) {
    if (s->rows == 0) continue;
    std::size_t keys = 0;
    for (std::uint32_t i = 0; i < s->segment_count; ++i) keys += s->segments[i].k.rows;
    // Blocks of about the same size, in whole strips.
    const std::size_t block = [&]() -> std::size_t {
      if (s->rows <= few_queries) return 1;
      const std::size_t blocks = (s->rows + query_block - 1) / query_block;
      return ((s->rows + blocks - 1) / blocks + strip - 1) / strip * strip;
    }();
    const auto blocks = static_cast<std::uint32_t>((s->rows + block - 1) / block);
    ctx.parallel(args.heads * blocks, [&](std::uint32_t task, std::uint32_t worker) {
      auto& scratch = *static_cast<attention_scratch*>(ctx.scratch(worker));
      const std::uint32_t head = task / blocks;
      const std::size_t first = task % blocks * block, count = (std::min)(block, s->rows - first);
      if (block == 1) {
        const std::size_t column = std::size_t{head} * args.head_size, t = s->first_row + first;
        const std::size_t visible = args.causal ? (std::min)(keys, s->position + first + 1) : keys;
        attend_one(args, *s, head, cpu_row(args.q, t) + column, visible, cpu_row(args.out, t) + column,
                   scratch);
      } else {
        attend_block(args, *s, head, first, count, keys, scratch);
      }
      if (head + 1 == args.heads) {
        const std::size_t width = std::size_t{args.heads} * args.head_size;
        for (std::size_t i = 0; i < count; ++i) {
          zero_fill(cpu_row(args.out, s->first_row + first + i), width,
                    round_up<std::size_t>(width, column_pad));
        }
      }
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_ATTENTION_INL_H
