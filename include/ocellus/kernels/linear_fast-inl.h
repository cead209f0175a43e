// Per SIMD target: linear() of fast precision. The input is turned into int8 or bf16 rows once a call, in scratch that all
// workers share; then tasks multiply them by panels with the dot products of `Dots` (see x86_dots.ipp) and finish
// their outputs, bias to residual, while they are in cache.
//
// q8 and q4 weights are multiplied by int8 rows, those of 16 and 32 bits by bf16 rows where there are such dot products; what
// is left goes the exact way. Which way is taken depends on the format, and on the number of rows only below 16: a
// pass is never cut into calls of so few rows (see steps.hpp).
#ifndef OCELLUS_KERNELS_LINEAR_FAST_INL_H
#define OCELLUS_KERNELS_LINEAR_FAST_INL_H

#include "ocellus/kernels/fast_rows.hpp"
#include "ocellus/kernels/linear-inl.h"
#include "ocellus/kernels/norm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

enum class linear_way : std::uint8_t { int8, bf16, exact };

inline constexpr std::size_t fast_rows_of_task = 512;  // x of a K block: 512 KiB
// Weights that a task of few rows reads: with 128 KiB a core reads 7 per cent less.
inline constexpr std::size_t fast_few_row_bytes = std::size_t{512} << 10;

template <class Dots>
linear_way linear_way_of(weight_format format, std::size_t rows) {
  if (is_quantized(format)) return linear_way::int8;
  if (!Dots::has_bf16 || (format != weight_format::bf16 && rows < least_part_rows)) return linear_way::exact;
  return linear_way::bf16;
}

inline output_plan fast_plan(const packed_matrix& w, std::size_t rows, std::size_t few_rows) noexcept {
  constexpr std::size_t whole = group_columns / panel_rows;  // a zero tail lies in one task
  output_plan plan(w);
  const std::size_t groups =
      rows > few_rows ? 1 : (std::max)(fast_few_row_bytes / plan.panel_size / whole, std::size_t{1});
  plan.cut(rows, groups * whole, even_rows(rows, fast_rows_of_task));
  return plan;
}

/// What one worker needs.
template <class Dots>
struct fast_scratch {
  alignas(64) std::byte block[Dots::scratch_bytes];  // weights of a K block, as the dot products take them
  float sums[fast_rows_of_task * group_columns];
};

template <class Dots>
HWY_NOINLINE void fast_task(context& ctx, linear_way way, const matrix& x, const linear_output& o,
                            const output_plan& plan, std::size_t task, std::uint32_t worker) {
  const auto [panel, panel_count, row, rows] = plan.part(task, x.rows);
  const bool quantized = is_quantized(o.weight.format);
  // The panels that this worker will probably take next, if there are so many.
  const std::size_t skip = ctx.workers() * plan.task_panels;
  const std::size_t next = panel + skip + panel_count <= plan.panels ? skip : 0;
  dot_panels w{};
  w.format = o.weight.format;
  w.size = plan.panel_size;
  w.count = panel_count;
  w.codes = cpu_panels(o.weight) + panel * plan.panel_size;
  w.next_codes = w.codes + next * plan.panel_size;
  if (quantized) {
    w.scales = cpu_scales(o.weight) + panel * plan.k;
    w.next_scales = w.scales + next * plan.k;
  }
  // Sums of many rows are kept together until they are finished: in `out`, whose rows are tens of kilobytes apart, they would
  // fall into a few sets of the caches and be fetched again for each K block.
  auto& scratch = *static_cast<fast_scratch<Dots>*>(ctx.scratch(worker));
  const bool few = rows <= Dots::few_rows;
  float* sums = few ? cpu_row(o.out, row) + panel * panel_rows : scratch.sums;
  const std::size_t sums_row = few ? o.out.stride : group_columns;
  if (way == linear_way::int8) {
    const int8_rows in = int8_rows{ctx.shared_scratch(), plan.k}.from(row);
    Dots::int8_sums(in, rows, w, sums, sums_row, scratch.block);
  } else if constexpr (Dots::has_bf16) {
    const bf16_rows in = bf16_rows{ctx.shared_scratch(), plan.k}.from(row);
    Dots::bf16_sums(in, rows, w, sums, sums_row, scratch.block);
  }
  linear_epilogue(o, row, rows, panel * panel_rows, (panel + panel_count) * panel_rows, sums, sums_row);
}

/// Turns x into the rows that a way takes.
template <class Dots>
void fast_prepare(context& ctx, linear_way way, const matrix& x) {
  const std::size_t k = round_up<std::size_t>(x.cols, column_pad);
  const auto prepare = [&](std::uint32_t row) {
    if (way == linear_way::int8) {
      Dots::quantize_row(cpu_row(x, row), int8_rows{ctx.shared_scratch(), k}, row);
    } else if constexpr (Dots::has_bf16) {
      Dots::round_row(cpu_row(x, row), bf16_rows{ctx.shared_scratch(), k}, row);
    }
  };
  if (x.rows <= Dots::few_rows) {  // takes less time than to wake a worker
    for (std::uint32_t row = 0; row < x.rows; ++row) prepare(row);
  } else {
    for_rows(ctx, x.rows, prepare);
  }
}

template <class Dots>
void linear_fast(context& ctx, const matrix& x, const linear_output* outputs, std::uint32_t count) noexcept {
  if (x.rows == 0) return;
  for (const linear_way way : {linear_way::int8, linear_way::bf16, linear_way::exact}) {
    const auto goes = [&](const linear_output& o) {
      return linear_way_of<Dots>(o.weight.format, x.rows) == way;
    };
    if (std::none_of(outputs, outputs + count, goes)) continue;
    if (way == linear_way::exact) {
      for (const linear_output* o = outputs; o != outputs + count; ++o) {
        if (goes(*o)) linear(ctx, x, o, 1);
      }
      continue;
    }
    fast_prepare<Dots>(ctx, way, x);
    for_output_tasks(
        ctx, outputs, count,
        [&](const linear_output& o) {
          return goes(o) ? fast_plan(o.weight, x.rows, Dots::few_rows) : output_plan();
        },
        [&](const linear_output& o, const output_plan& plan, std::size_t task, std::uint32_t worker) {
          fast_task<Dots>(ctx, way, x, o, plan, task, worker);
        });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_LINEAR_FAST_INL_H
