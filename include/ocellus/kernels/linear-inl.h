// Per SIMD target: linear(), the product of activations with packed weights.
//
// Many rows (prefill, the ViT): a task owns 64 output columns (4 panels) of a block of rows. It walks K in blocks of
// 256 columns. Such a block of two panels, widened to f32, stays in the first-level cache while tiles of tile_rows rows
// by 2 vectors of outputs are summed in registers; `out` itself holds the sums between K blocks. One row (decoding): a
// task streams a few panels once, each an unbroken run of memory, and widens in registers. What a task is, and the
// order of every sum, follow from shapes alone.
#ifndef OCELLUS_KERNELS_LINEAR_INL_H
#define OCELLUS_KERNELS_LINEAR_INL_H

#include <algorithm>

#include "ocellus/kernels/lines-inl.h"
#include "ocellus/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

inline constexpr std::size_t k_block = 256;  // columns summed in registers: 16 KiB of a panel of f32
inline constexpr std::size_t group_columns =
    64;  // outputs of a task of many rows; a whole zero tail lies in one
inline constexpr std::size_t most_task_rows = 192;                     // x of a K block: 192 KiB
inline constexpr std::size_t row_task_bytes = std::size_t{256} << 10;  // weights that a task of one row reads
inline constexpr std::size_t prefetch_bytes = 2048;
inline constexpr std::size_t few_q4_rows = lanes == panel_rows ? 3 : 1;  // measured with 512-bit vectors

// A tile takes 2 vectors of outputs: two panels, one, or half of one.
inline constexpr std::size_t tile_columns = 2 * lanes;
inline constexpr std::size_t tile_panels = tile_columns <= panel_rows ? 1 : tile_columns / panel_rows;

/// What one worker needs: a K block of the panels of a tile, widened.
struct linear_scratch {
  float weights[tile_panels][k_block][panel_rows];
};

/// Adds neighbouring lanes: the sums of v0's pairs, then of v1's.
HWY_INLINE f32_vec add_pairs(f32_vec v0, f32_vec v1) {
  return hn::Add(hn::ConcatEven(f32_tag(), v1, v0), hn::ConcatOdd(f32_tag(), v1, v0));
}

/// Weights to fetch while a tile is computed: `step` bytes on for each of its columns.
struct fetch_ahead {
  const std::byte* at;
  std::size_t step;
};

/// R rows by 2 vectors over `depth` columns of K. x: [R, depth]; w0, w1: the vectors' weights, one in 16 f32.
template <std::size_t R>
HWY_NOINLINE void linear_tile(const float* HWY_RESTRICT x, std::size_t x_row, const float* HWY_RESTRICT w0,
                              const float* HWY_RESTRICT w1, std::size_t depth, float* HWY_RESTRICT out,
                              std::size_t out_row, bool add, fetch_ahead ahead) {
  f32_vec acc[R][2];
  clear_tile<R>(acc);
  for (std::size_t i = 0; i < depth; ++i) {
    prefetch_later(ahead.at);
    ahead.at += ahead.step;
    add_products<R>(acc, x, x_row, load(w0), load(w1));
    ++x;
    w0 += panel_rows;
    w1 += panel_rows;
  }
  store_tile<R>(acc, out, out_row, add);
}

/// Sums of `rows` rows for up to 4 panels, without bias; meanwhile the beginning of `next`, the panels of another task,
/// is fetched. x: [rows, k]; scales: those of the panels; out: [rows, 64]
template <class Lines>
HWY_NOINLINE void linear_sums(const float* x, std::size_t x_row, std::size_t rows, const std::byte* panels,
                              const std::byte* scales, const std::byte* next, std::size_t panel_size,
                              std::size_t panel_count, std::size_t k, float* out, std::size_t out_row,
                              linear_scratch& scratch) {
  const std::size_t full = rows / tile_rows, left = rows % tile_rows;
  const std::size_t row_tiles = full + left / tile_rows_left + left % tile_rows_left;
  const std::size_t tiles = (panel_count * panel_rows + tile_columns - 1) / tile_columns * row_tiles;
  const std::size_t tiles_per_panel = (std::max)(tiles / panel_count, std::size_t{1});
  for (std::size_t k0 = 0; k0 < k; k0 += k_block) {
    const std::size_t depth = (std::min)(k_block, k - k0);
    const std::size_t block_bytes = depth / Lines::columns * line_bytes;
    const std::byte* block = panels + k0 / Lines::columns * line_bytes;
    const std::byte* coming = k0 + k_block < k ? block + block_bytes : next;
    std::size_t tile = 0;
    // Tile by tile, an equal share of the next K block of these panels.
    const auto ahead = [&]() -> fetch_ahead {
      const std::size_t panel = tile / tiles_per_panel, part = tile % tiles_per_panel;
      ++tile;
      if (panel >= panel_count) return {block, 0};
      return {coming + panel * panel_size + part * (block_bytes / tiles_per_panel),
              (block_bytes / tiles_per_panel + depth - 1) / depth};
    };
    for (std::size_t c = 0; c < panel_count * panel_rows; c += tile_columns) {
      // A second vector beyond the last panel repeats the last; its sums land in the tail and are zeroed later.
      const auto weights = [&](std::size_t column) {
        const std::size_t panel = (std::min)(column / panel_rows, panel_count - 1);
        const std::byte* from = block + panel * panel_size;
        if constexpr (Lines::columns == 1) {
          return reinterpret_cast<const float*>(from) + column % panel_rows;
        } else {
          float* widened = scratch.weights[panel % tile_panels][0];
          if (column % panel_rows == 0) {
            const std::byte* of_panel = Lines::quantized ? scales + panel * k + k0 : nullptr;
            widen_panel<Lines>(from, of_panel, depth, widened);
          }
          return static_cast<const float*>(widened + column % panel_rows);
        }
      };
      const float* w0 = weights(c);
      const float* w1 = weights(c + lanes);
      const float* in = x + k0;
      float* to = out + c;
      std::size_t r = 0;
      for (; r + tile_rows <= rows; r += tile_rows) {
        linear_tile<tile_rows>(in + r * x_row, x_row, w0, w1, depth, to + r * out_row, out_row, k0 != 0,
                               ahead());
      }
      for (; r + tile_rows_left <= rows; r += tile_rows_left) {
        linear_tile<tile_rows_left>(in + r * x_row, x_row, w0, w1, depth, to + r * out_row, out_row, k0 != 0,
                                    ahead());
      }
      for (; r < rows; ++r) {
        linear_tile<1>(in + r * x_row, x_row, w0, w1, depth, to + r * out_row, out_row, k0 != 0, ahead());
      }
    }
  }
}

/// One line into the accumulators of one row, vector by vector from V on.
/// f32: acc[v] += x[0] w; bf16: even columns to acc[v], odd ones to acc[v + vectors]; f16: pairs.
template <class Lines, std::size_t V, std::size_t Count>
HWY_INLINE void add_line(f32_vec (&acc)[Count], const float* x, const std::byte* w) {
  constexpr std::size_t vectors = panel_rows / Lines::outputs;
  if constexpr (V != vectors) {
    const std::byte* at = w + V * Lines::outputs * 4;
    if constexpr (Lines::columns == 1) {
      acc[V] = hn::MulAdd(splat(x[0]), load(reinterpret_cast<const float*>(at)), acc[V]);
    } else if constexpr (Lines::outputs == lanes) {
      const auto bits = bf16_lines::bits(at);
      acc[V] = hn::MulAdd(splat(x[0]), bf16_lines::even(bits), acc[V]);
      acc[V + vectors] = hn::MulAdd(splat(x[1]), bf16_lines::odd(bits), acc[V + vectors]);
    } else {
      acc[V] = hn::MulAdd(splat_pair(x), load_f16(at), acc[V]);
    }
    add_line<Lines, V + 1>(acc, x, w);
  }
}

/// acc += from, and from = 0, element by element.
template <std::size_t N, std::size_t Count>
HWY_INLINE void move_sums(f32_vec (&to)[Count], f32_vec (&from)[Count]) {
  if constexpr (N != 0) {
    move_sums<N - 1>(to, from);
    to[N - 1] = hn::Add(to[N - 1], from[N - 1]);
    from[N - 1] = hn::Zero(f32_tag());
  }
}

template <std::size_t N, std::size_t Count>
HWY_INLINE void clear_sums(f32_vec (&sums)[Count]) {
  if constexpr (N != 0) {
    clear_sums<N - 1>(sums);
    sums[N - 1] = hn::Zero(f32_tag());
  }
}

/// The accumulators' outputs in order.
template <class Lines, std::size_t V, std::size_t Count>
HWY_INLINE void store_sums(const f32_vec (&acc)[Count], float* out) {
  constexpr std::size_t vectors = panel_rows / Lines::outputs;
  if constexpr (Lines::outputs != lanes) {
    if constexpr (V != vectors) {
      store(add_pairs(acc[V], acc[V + 1]), out + V * Lines::outputs);
      store_sums<Lines, V + 2>(acc, out);
    }
  } else if constexpr (V != vectors) {
    f32_vec sum = acc[V];
    if constexpr (Lines::columns == 2) sum = hn::Add(sum, acc[V + vectors]);
    store(sum, out + V * lanes);
    store_sums<Lines, V + 1>(acc, out);
  }
}

/// One row by one panel over all of K. Two sets of accumulators take lines in turn; they are added to the
/// totals after every K block, which keeps chains of additions short. x: [k]; out: [16]
template <class Lines>
HWY_NOINLINE void linear_row(const float* HWY_RESTRICT x, const std::byte* HWY_RESTRICT w, std::size_t k,
                             float* HWY_RESTRICT out) {
  constexpr std::size_t count = panel_rows / Lines::outputs * (Lines::outputs == lanes ? Lines::columns : 1);
  f32_vec total[count], acc0[count], acc1[count];
  clear_sums<count>(total);
  clear_sums<count>(acc0);
  clear_sums<count>(acc1);
  for (std::size_t k0 = 0; k0 < k; k0 += k_block) {
    const std::size_t end = (std::min)(k_block, k - k0);
    for (std::size_t i = 0; i < end; i += 2 * Lines::columns) {
      hwy::Prefetch(w + prefetch_bytes);
      hwy::Prefetch(w + prefetch_bytes + line_bytes);
      add_line<Lines, 0>(acc0, x, w);
      add_line<Lines, 0>(acc1, x + Lines::columns, w + line_bytes);
      x += 2 * Lines::columns;
      w += 2 * line_bytes;
    }
    move_sums<count>(total, acc0);
    move_sums<count>(total, acc1);
  }
  store_sums<Lines, 0>(total, out);
}

/// The same for q8 and q4. The products of a group are summed column by column of the line, in four sums, and scaled
/// together. x: [k]; out: [16]
template <class Lines>
HWY_NOINLINE void linear_row_quantized(const float* HWY_RESTRICT x, const std::byte* HWY_RESTRICT w,
                                       const std::byte* HWY_RESTRICT scales, std::size_t k,
                                       float* HWY_RESTRICT out) {
  constexpr std::size_t vectors = panel_rows / lanes, group_lines = quant_group / Lines::columns;
  f32_vec total[vectors];
  clear_sums<vectors>(total);
  for (std::size_t k0 = 0; k0 < k; k0 += quant_group) {
    for (std::size_t i = 0; i < group_lines; ++i) hwy::Prefetch(w + prefetch_bytes + i * line_bytes);
    for (std::size_t v = 0; v < vectors; ++v) {
      const typename Lines::group group(scales + v * lanes * sizeof(f16));
      f32_vec sum0 = hn::Zero(f32_tag()), sum1 = sum0, sum2 = sum0, sum3 = sum0;
      for (std::size_t i = 0; i < group_lines; ++i) {
        group.for_codes(w + i * line_bytes + v * lanes * 4, [&](code_vec codes, std::size_t first) HWY_ATTR {
          const float* in = x + i * Lines::columns + first;
          sum0 = hn::MulAdd(splat(in[0]), widen_code<0>(codes), sum0);
          sum1 = hn::MulAdd(splat(in[1]), widen_code<1>(codes), sum1);
          sum2 = hn::MulAdd(splat(in[2]), widen_code<2>(codes), sum2);
          sum3 = hn::MulAdd(splat(in[3]), widen_code<3>(codes), sum3);
        });
      }
      total[v] = hn::MulAdd(hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)), group.scale, total[v]);
    }
    x += quant_group;
    w += group_lines * line_bytes;
    scales += panel_rows * sizeof(f16);
  }
  for (std::size_t v = 0; v < vectors; ++v) store(total[v], out + v * lanes);
}

/// Bias, activation and residual of `count` sums; then zeros up to `padded`. Reads of sums, bias and residual go to the next
/// multiple of 16, which their tails allow. out may be sums.
template <activation Act>
HWY_NOINLINE void linear_epilogue_row(const float* sums, float* out, const float* HWY_RESTRICT bias,
                                      const float* HWY_RESTRICT residual, std::size_t count,
                                      std::size_t padded) {
  for (std::size_t c = 0; c < count; c += lanes) {
    f32_vec v = load(sums + c);
    if (bias != nullptr) v = hn::Add(v, load(bias + c));
    if constexpr (Act == activation::gelu) v = gelu_f32(v);
    if constexpr (Act == activation::gelu_tanh) v = gelu_tanh_f32(v);
    if (residual != nullptr) v = hn::Add(v, load(residual + c));
    store(v, out + c);
  }
  zero_fill(out, count, padded);
}

/// The epilogue of outputs [first, last) of rows [row, row + rows); zeros behind the last output if it is among them.
/// sums: of these rows, sums_row apart, from output `first` on; they may stand in o.out itself.
inline void linear_epilogue(const linear_output& o, std::size_t row, std::size_t rows, std::size_t first,
                            std::size_t last, const float* sums, std::size_t sums_row) {
  const float* bias = cpu_vector(o.bias);
  const std::size_t n = o.weight.n;
  const std::size_t count = (std::min)(last, n) - first;
  const std::size_t padded = last < n ? count : round_up<std::size_t>(n, column_pad) - first;
  for (std::size_t r = row; r < row + rows; ++r, sums += sums_row) {
    float* out = cpu_row(o.out, r) + first;
    const float* residual = o.residual ? cpu_row(o.residual, r) + first : nullptr;
    const float* row_bias = bias != nullptr ? bias + first : nullptr;
    switch (o.act) {
      case activation::none:
        linear_epilogue_row<activation::none>(sums, out, row_bias, residual, count, padded);
        break;
      case activation::gelu:
        linear_epilogue_row<activation::gelu>(sums, out, row_bias, residual, count, padded);
        break;
      case activation::gelu_tanh:
        linear_epilogue_row<activation::gelu_tanh>(sums, out, row_bias, residual, count, padded);
        break;
    }
  }
}

/// The part of a product that a task computes.
struct output_part {
  std::size_t panel, panel_count;
  std::size_t row, rows;
};

/// How the product of T rows with one weight is cut into tasks: of task_panels panels and task_rows rows.
struct output_plan {
  std::size_t k = 0;           // padded; also the bytes of a panel's scales
  std::size_t panel_size = 0;  // bytes
  std::size_t panels = 0;
  std::size_t task_panels = 0;
  std::size_t task_rows = 0;
  std::size_t column_tasks = 0;
  std::size_t tasks = 0;

  output_plan() noexcept = default;  // no tasks
  explicit output_plan(const packed_matrix& w) noexcept
      : k(round_up<std::size_t>(w.k, column_pad)),
        panel_size(static_cast<std::size_t>(panel_bytes(w.format, w.k).value())),
        panels((w.n + panel_rows - 1) / panel_rows) {}
  void cut(std::size_t rows, std::size_t panels_of_task, std::size_t rows_of_task) noexcept {
    task_panels = panels_of_task;
    task_rows = rows_of_task;
    column_tasks = (panels + task_panels - 1) / task_panels;
    tasks = column_tasks * ((rows + task_rows - 1) / task_rows);
  }
  [[nodiscard]] output_part part(std::size_t task, std::size_t rows) const noexcept {
    const std::size_t panel = task % column_tasks * task_panels, row = task / column_tasks * task_rows;
    return {panel, (std::min)(task_panels, panels - panel), row, (std::min)(task_rows, rows - row)};
  }
};

/// Rows of each of as few equal blocks as can be, of at most `most`.
[[nodiscard]] inline std::size_t even_rows(std::size_t rows, std::size_t most) noexcept {
  const std::size_t blocks = (rows + most - 1) / most;
  return (rows + blocks - 1) / blocks;
}

inline constexpr std::uint32_t most_outputs = 8;  // that are multiplied together

/// Runs run(output, its plan, task of that plan, worker) for all tasks of the outputs; plan_of(output) says how each is
/// cut. Plans are made once: a task of one row lasts a few microseconds.
template <class PlanOf, class Run>
void for_output_tasks(context& ctx, const linear_output* outputs, std::uint32_t count, const PlanOf& plan_of,
                      const Run& run) noexcept {
  for (; count != 0;) {
    const std::uint32_t part = (std::min)(count, most_outputs);
    decltype(plan_of(*outputs)) plans[most_outputs];
    std::size_t tasks = 0;
    for (std::uint32_t i = 0; i < part; ++i) tasks += (plans[i] = plan_of(outputs[i])).tasks;
    ctx.parallel(static_cast<std::uint32_t>(tasks), [&](std::uint32_t task, std::uint32_t worker) {
      std::size_t index = task, i = 0;
      while (index >= plans[i].tasks) index -= plans[i++].tasks;
      run(outputs[i], plans[i], index, worker);
    });
    outputs += part;
    count -= part;
  }
}

/// Calls body with the lines of a format: f32_lines() and so on.
template <class Body>
void with_lines(weight_format format, const Body& body) {
  switch (format) {
    case weight_format::f32:
      return body(f32_lines());
    case weight_format::f16:
      return body(f16_lines());
    case weight_format::bf16:
      return body(bf16_lines());
    case weight_format::q8:
      return body(q8_lines());
    case weight_format::q4:
      return body(q4_lines());
  }
}

struct linear_plan : output_plan {
  bool one_by_one = false;

  linear_plan() noexcept = default;
  linear_plan(const packed_matrix& w, std::size_t rows) noexcept : output_plan(w) {
    // Two or three rows of q4 take less time one by one than to widen the weights into memory.
    if (rows <= (w.format == weight_format::q4 ? few_q4_rows : 1)) {
      one_by_one = true;
      cut(rows, (std::max)(row_task_bytes / panel_size, std::size_t{1}), rows);
    } else {
      cut(rows, group_columns / panel_rows, round_up(even_rows(rows, most_task_rows), tile_rows));
    }
  }
};

template <class Lines>
HWY_NOINLINE void linear_task(context& ctx, const matrix& x, const linear_output& o, const linear_plan& plan,
                              std::size_t task, std::uint32_t worker) {
  const auto [panel, panel_count, row, rows] = plan.part(task, x.rows);
  const std::byte* weights = cpu_panels(o.weight) + panel * plan.panel_size;
  const std::byte* scales = Lines::quantized ? cpu_scales(o.weight) + panel * plan.k : nullptr;
  float* out = cpu_row(o.out, row) + panel * panel_rows;
  if (plan.one_by_one) {
    for (std::size_t p = 0; p < panel_count; ++p) {
      for (std::size_t r = 0; r < rows; ++r) {
        float* to = out + r * o.out.stride + p * panel_rows;
        if constexpr (Lines::quantized) {
          linear_row_quantized<Lines>(cpu_row(x, row + r), weights + p * plan.panel_size, scales + p * plan.k,
                                      plan.k, to);
        } else {
          linear_row<Lines>(cpu_row(x, row + r), weights + p * plan.panel_size, plan.k, to);
        }
      }
    }
  } else {
    // The panels that this worker will probably take next, if they are whole.
    const std::size_t skip = ctx.workers() * plan.task_panels;
    const std::byte* next =
        panel + skip + panel_count <= plan.panels ? weights + skip * plan.panel_size : weights;
    linear_sums<Lines>(cpu_row(x, row), x.stride, rows, weights, scales, next, plan.panel_size, panel_count,
                       plan.k, out, o.out.stride, *static_cast<linear_scratch*>(ctx.scratch(worker)));
  }
  linear_epilogue(o, row, rows, panel * panel_rows, (panel + panel_count) * panel_rows, out, o.out.stride);
}

void linear(context& ctx, const matrix& x, const linear_output* outputs, std::uint32_t count) noexcept {
  if (x.rows == 0) return;
  for_output_tasks(
      ctx, outputs, count, [&](const linear_output& o) { return linear_plan(o.weight, x.rows); },
      [&](const linear_output& o, const linear_plan& plan, std::size_t task, std::uint32_t worker) {
        with_lines(o.weight.format,
                   [&](auto lines) { linear_task<decltype(lines)>(ctx, x, o, plan, task, worker); });
      });
}

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_LINEAR_INL_H
