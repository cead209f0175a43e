// Per SIMD target, AVX-512 alone: linear() of many rows with tiles of bf16 (AMX), for weights of every format.
//
// The input is rounded to bf16 once a call and laid out as the tiles take it. A task owns up to 512 rows and up to 16
// panels (256 outputs). It walks K in blocks of 256 columns, and within a block the panels in groups of four. The
// group's lines of that block, as bf16, are 32 KiB and stay in the first-level cache (a panel of bf16 is used where it lies; all other
// formats are unpacked, once for all rows of the task), while blocks of 32 rows pass by: 16 KiB of input each, from the second
// level, used for two products of 2 x 2 tiles. The sums of such a product stay in tiles for the 8 steps of a K block and
// lie in compact scratch between blocks, not in `out`, whose rows are tens of kilobytes apart.
//
// A tile's rows know nothing of each other, and every row goes through the same steps along K. So the bits of a row depend
// neither on the other rows of a call nor on their number, as long as there are 16; fewer go another way.
#ifndef OCELLUS_KERNELS_LINEAR_TILES_INL_H
#define OCELLUS_KERNELS_LINEAR_TILES_INL_H

#include <type_traits>

#include "ocellus/kernels/linear-inl.h"
#include "ocellus/kernels/x86_tiles.hpp"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

static_assert(lanes == panel_rows, "a line is one vector");

inline constexpr std::size_t tile_height = 16;                 // rows of a tile
inline constexpr std::size_t tile_row_bytes = 64;              // of each row of a tile
inline constexpr std::size_t tile_depth = tile_row_bytes / 2;  // columns of K that a product of tiles takes
inline constexpr std::size_t tile_lines = tile_depth / 2;      // lines of a panel that are a tile
inline constexpr std::size_t tiles_row_block = 2 * tile_height;
inline constexpr std::size_t tiles_k_block = 256;
inline constexpr std::size_t tiles_group = group_columns / panel_rows;  // panels
inline constexpr std::size_t tiles_task_panels = 16;                    // at most
inline constexpr std::size_t tiles_task_rows = 512;                     // at most
inline constexpr std::size_t tiles_column_tasks = 16;     // of a matrix, if it has panels for them
inline constexpr std::size_t tiles_round_columns = 1024;  // of a task that rounds input

/// The input as bf16: blocks of 32 rows (the last has what is left), each an unbroken run of memory in which 32 columns of
/// all its rows follow one another: [T/32][K/32][32][32]. So a tile is 1 KiB in one piece, and no two rows compete for the same
/// sets of a cache, whatever K is.
struct tile_input {
  std::byte* base;
  std::size_t rows, k;  // k padded

  [[nodiscard]] std::size_t rows_of(std::size_t block) const noexcept {
    return (std::min)(tiles_row_block, rows - block * tiles_row_block);
  }
  /// The rows of a block from column k0 on, a multiple of 32.
  [[nodiscard]] std::byte* at(std::size_t block, std::size_t k0) const noexcept {
    return base + block * tiles_row_block * k * 2 + k0 / tile_depth * rows_of(block) * tile_row_bytes;
  }
};

/// Rounds to nearest even. to: 2 * lanes values
HWY_INLINE void round_to_bf16(const float* from, std::byte* to) {
  const auto round = [](f32_vec v) HWY_ATTR {
    const auto bits = hn::BitCast(u32_tag(), v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u32_tag(), 1u));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(u32_tag(), 0x7fffu)));
    const auto quiet = hn::Or(bits, hn::Set(u32_tag(), 0x400000u));  // a NaN must not be rounded to infinity
    return hn::ShiftRight<16>(hn::IfThenElse(hn::RebindMask(u32_tag(), hn::IsNaN(v)), quiet, rounded));
  };
  auto* values = reinterpret_cast<std::uint16_t*>(to);
  hn::StoreU(hn::DemoteTo(u16_tag(), hn::BitCast(i32_tag(), round(load(from)))), u16_tag(), values);
  hn::StoreU(hn::DemoteTo(u16_tag(), hn::BitCast(i32_tag(), round(load(from + lanes)))), u16_tag(),
             values + lanes);
}

/// A line of bf16 from its two columns, rounded to nearest (and away from zero when both are as near). Weights are finite.
HWY_INLINE void store_bf16_line(f32_vec even, f32_vec odd, std::byte* to) {
  using bits_tag = hn::Repartition<std::uint16_t, f32_tag>;
  const auto half = hn::Set(u32_tag(), 0x8000u);
  const auto low = hn::ShiftRight<16>(hn::Add(hn::BitCast(u32_tag(), even), half));
  const auto high = hn::Add(hn::BitCast(u32_tag(), odd), half);
  hn::StoreU(hn::OddEven(hn::BitCast(bits_tag(), high), hn::BitCast(bits_tag(), low)), bits_tag(),
             reinterpret_cast<std::uint16_t*>(to));
}

/// Unpacks `columns` columns of a panel, a multiple of 32. w, scales: the panel from some column on; to: [columns / 2][16][2]
template <class Lines>
HWY_NOINLINE void unpack_bf16(const std::byte* HWY_RESTRICT w, const std::byte* HWY_RESTRICT scales,
                              std::size_t columns, std::byte* HWY_RESTRICT to) {
  if constexpr (Lines::quantized) {
    for (std::size_t c = 0; c < columns; c += quant_group, scales += panel_rows * sizeof(f16)) {
      const typename Lines::group group(scales);
      for (std::size_t i = 0; i < quant_group; i += Lines::columns, w += line_bytes) {
        group.for_codes(w, [&](code_vec codes, std::size_t) HWY_ATTR {
          store_bf16_line(hn::Mul(widen_code<0>(codes), group.scale),
                          hn::Mul(widen_code<1>(codes), group.scale), to);
          store_bf16_line(hn::Mul(widen_code<2>(codes), group.scale),
                          hn::Mul(widen_code<3>(codes), group.scale), to + line_bytes);
          to += 2 * line_bytes;
        });
      }
    }
  } else {
    for (std::size_t c = 0; c < columns; c += 2, to += line_bytes) {
      if constexpr (Lines::columns == 1) {
        const float* first = reinterpret_cast<const float*>(w);
        store_bf16_line(load(first), load(first + panel_rows), to);
        w += 2 * line_bytes;
      } else {
        const f32_vec v0 = load_f16(w), v1 = load_f16(w + 2 * lanes);
        store_bf16_line(hn::ConcatEven(f32_tag(), v1, v0), hn::ConcatOdd(f32_tag(), v1, v0), to);
        w += line_bytes;
      }
    }
  }
}

// Tiles of a product: four of sums, two of rows, two of lines.
enum tile_name : int { sums_00, sums_01, sums_10, sums_11, rows_0, rows_1, lines_0, lines_1 };

/// Sets the shapes for a block of 1 to 32 rows.
template <class Tiles>
void shape_tiles(Tiles& tiles, std::size_t rows) {
  tile_shapes shapes;
  shapes.palette = 1;
  const auto shape = [&](tile_name tile, std::size_t tile_rows_used) {
    if (tile_rows_used == 0) return;  // stays without rows and bytes
    shapes.rows[tile] = static_cast<std::uint8_t>(tile_rows_used);
    shapes.row_bytes[tile] = tile_row_bytes;
  };
  const std::size_t first = (std::min)(rows, tile_height), second = rows - first;
  for (const tile_name tile : {sums_00, sums_01, rows_0}) shape(tile, first);
  for (const tile_name tile : {sums_10, sums_11, rows_1}) shape(tile, second);
  for (const tile_name tile : {lines_0, lines_1}) shape(tile, tile_lines);
  tiles.configure(shapes);
}

template <int Tile, class Tiles>
HWY_INLINE void begin_sums(Tiles& tiles, const float* sums, bool add) {
  if (add) {
    tiles.template load<Tile>(sums, group_columns * sizeof(float));
  } else {
    tiles.template zero<Tile>();
  }
}

/// A block of rows by one panel or two over `columns` columns. x: as tile_input::at gives it; w0, w1: bf16 lines; sums:
/// [rows, 64], to be added to if `add`
template <bool TwoTiles, bool TwoPanels, class Tiles>
HWY_NOINLINE void multiply_tiles(Tiles& tiles, const std::byte* x, std::size_t rows, const std::byte* w0,
                                 const std::byte* w1, std::size_t columns, float* sums, bool add) {
  constexpr std::size_t sums_stride = group_columns * sizeof(float);
  float* below = sums + tile_height * group_columns;
  begin_sums<sums_00>(tiles, sums, add);
  if constexpr (TwoPanels) begin_sums<sums_01>(tiles, sums + panel_rows, add);
  if constexpr (TwoTiles) begin_sums<sums_10>(tiles, below, add);
  if constexpr (TwoTiles && TwoPanels) begin_sums<sums_11>(tiles, below + panel_rows, add);
  for (std::size_t k = 0; k < columns; k += tile_depth) {
    tiles.template load<lines_0>(w0, line_bytes);
    tiles.template load<rows_0>(x, tile_row_bytes);
    tiles.template dot<sums_00, rows_0, lines_0>();
    if constexpr (TwoPanels) {
      tiles.template load<lines_1>(w1, line_bytes);
      tiles.template dot<sums_01, rows_0, lines_1>();
    }
    if constexpr (TwoTiles) {
      tiles.template load<rows_1>(x + tile_height * tile_row_bytes, tile_row_bytes);
      tiles.template dot<sums_10, rows_1, lines_0>();
    }
    if constexpr (TwoTiles && TwoPanels) tiles.template dot<sums_11, rows_1, lines_1>();
    x += rows * tile_row_bytes;
    w0 += tile_lines * line_bytes;
    w1 += tile_lines * line_bytes;
  }
  tiles.template store<sums_00>(sums, sums_stride);
  if constexpr (TwoPanels) tiles.template store<sums_01>(sums + panel_rows, sums_stride);
  if constexpr (TwoTiles) tiles.template store<sums_10>(below, sums_stride);
  if constexpr (TwoTiles && TwoPanels) tiles.template store<sums_11>(below + panel_rows, sums_stride);
}

inline output_plan tiles_plan(const packed_matrix& w, std::size_t rows) noexcept {
  output_plan plan(w);
  // The more outputs a task has, the less often is the input read from beyond the second-level cache.
  const std::size_t share = (plan.panels + tiles_column_tasks - 1) / tiles_column_tasks;
  plan.cut(rows, (std::min)(round_up(share, tiles_group), tiles_task_panels),
           round_up(even_rows(rows, tiles_task_rows), tiles_row_block));
  return plan;
}

/// What one worker needs.
struct tiles_scratch {
  std::byte lines[tiles_group][tiles_k_block / 2 * line_bytes];  // of a K block of a group
  float sums[tiles_task_panels / tiles_group][tiles_task_rows][group_columns];
};

/// Neighbouring panels of a K block, and a later part of the weight to be fetched meanwhile.
struct tiles_panels {
  const std::byte* lines[tiles_group];
  std::size_t count;
  const std::byte* coming[tiles_group];
  std::size_t coming_count, coming_bytes;  // of each panel
};

/// The sums of a K block for a group of panels and all rows of a task. first_block: of the task in x; sums: [rows, 64]
template <class Tiles>
HWY_NOINLINE void multiply_group(Tiles& tiles, const tile_input& x, std::size_t first_block,
                                 std::size_t blocks, std::size_t k0, std::size_t columns,
                                 const tiles_panels& w, float (*sums)[group_columns],
                                 std::size_t& shaped_rows) {
  const std::size_t products = blocks * ((w.count + 1) / 2);
  std::size_t product = 0;
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t rows = x.rows_of(first_block + b);
    if (rows != shaped_rows) shape_tiles(tiles, rows);
    shaped_rows = rows;
    const std::byte* in = x.at(first_block + b, k0);
    for (std::size_t p = 0; p < w.count; p += 2, ++product) {
      const std::size_t share = (w.coming_bytes / line_bytes + products - 1) / products * line_bytes;
      for (std::size_t panel = 0; panel < w.coming_count; ++panel) {
        const std::size_t end = (std::min)(w.coming_bytes, (product + 1) * share);
        for (std::size_t at = product * share; at < end; at += line_bytes)
          prefetch_later(w.coming[panel] + at);
      }
      float* to = sums[b * tiles_row_block] + p * panel_rows;
      const bool two_panels = p + 1 < w.count;
      const auto multiply = rows > tile_height ? two_panels ? multiply_tiles<true, true, Tiles>
                                                            : multiply_tiles<true, false, Tiles>
                            : two_panels ? multiply_tiles<false, true, Tiles>
                                               : multiply_tiles<false, false, Tiles>;
      multiply(tiles, in, rows, w.lines[p], w.lines[two_panels ? p + 1 : p], columns, to, k0 != 0);
    }
  }
}

template <class Lines, class Tiles>
HWY_NOINLINE void tiles_task(context& ctx, const tile_input& x, const linear_output& o,
                             const output_plan& plan, std::size_t task, std::uint32_t worker) {
  const auto [panel, panel_count, row, rows] = plan.part(task, x.rows);
  const std::byte* panels = cpu_panels(o.weight) + panel * plan.panel_size;
  const std::byte* scales = Lines::quantized ? cpu_scales(o.weight) + panel * plan.k : nullptr;
  auto& scratch = *static_cast<tiles_scratch*>(ctx.scratch(worker));
  const std::size_t blocks = (rows + tiles_row_block - 1) / tiles_row_block;
  {
    Tiles tiles;
    std::size_t shaped_rows = 0;
    for (std::size_t k0 = 0; k0 < plan.k; k0 += tiles_k_block) {
      const std::size_t columns = (std::min)(tiles_k_block, plan.k - k0);
      const std::size_t offset = k0 / Lines::columns * line_bytes;
      for (std::size_t g = 0; g < panel_count; g += tiles_group) {
        const std::byte* group = panels + g * plan.panel_size + offset;
        tiles_panels w{};
        w.count = (std::min)(tiles_group, panel_count - g);
        for (std::size_t p = 0; p < w.count; ++p) {
          const std::byte* from = group + p * plan.panel_size;
          if constexpr (std::is_same_v<Lines, bf16_lines>) {
            w.lines[p] = from;
          } else {
            unpack_bf16<Lines>(from, Lines::quantized ? scales + (g + p) * plan.k + k0 : nullptr, columns,
                               scratch.lines[p]);
            w.lines[p] = scratch.lines[p];
          }
        }
        // Next come the same columns of the next group, or the next columns of the first.
        const bool more = g + tiles_group < panel_count, last = !more && k0 + columns == plan.k;
        const std::size_t next_k = more ? k0 : k0 + columns;
        w.coming_count = last   ? 0
                         : more ? (std::min)(tiles_group, panel_count - g - tiles_group)
                                : (std::min)(tiles_group, panel_count);
        w.coming_bytes =
            (std::min)(tiles_k_block, plan.k - (last ? 0 : next_k)) / Lines::columns * line_bytes;
        for (std::size_t p = 0; p < w.coming_count; ++p) {
          w.coming[p] = panels + ((more ? g + tiles_group : 0) + p) * plan.panel_size +
                        next_k / Lines::columns * line_bytes;
        }
        multiply_group(tiles, x, row / tiles_row_block, blocks, k0, columns, w, scratch.sums[g / tiles_group],
                       shaped_rows);
      }
    }
  }
  for (std::size_t g = 0; g < panel_count; g += tiles_group) {
    const std::size_t first = (panel + g) * panel_rows;
    const std::size_t last = (std::min)(first + group_columns, (panel + panel_count) * panel_rows);
    linear_epilogue(o, row, rows, first, last, scratch.sums[g / tiles_group][0], group_columns);
  }
}

/// Rounds the input, a block of rows and some columns a task.
inline void round_input(context& ctx, const matrix& x, const tile_input& to) {
  const std::size_t blocks = (to.rows + tiles_row_block - 1) / tiles_row_block;
  const std::size_t parts = (to.k + tiles_round_columns - 1) / tiles_round_columns;
  ctx.parallel(static_cast<std::uint32_t>(blocks * parts), [&](std::uint32_t task, std::uint32_t) {
    const std::size_t block = task / parts, begin = task % parts * tiles_round_columns;
    const std::size_t end = (std::min)(begin + tiles_round_columns, to.k), rows = to.rows_of(block);
    for (std::size_t r = 0; r < rows; ++r) {
      const float* from = cpu_row(x, block * tiles_row_block + r);
      std::byte* at = to.at(block, begin) + r * tile_row_bytes;
      for (std::size_t k = begin; k < end; k += tile_depth, at += rows * tile_row_bytes) {
        static_assert(tile_depth == 2 * lanes);
        round_to_bf16(from + k, at);
      }
    }
  });
}

/// Tiles: x86_tiles or model_tiles. FewRows: linear() of another table, for what has too few rows for tiles.
template <class Tiles, auto FewRows>
void linear_tiles(context& ctx, const matrix& x, const linear_output* outputs, std::uint32_t count) noexcept {
  static_assert(tile_height == least_part_rows);
  if (x.rows < least_part_rows) return FewRows(ctx, x, outputs, count);
  const tile_input in{ctx.shared_scratch(), x.rows, round_up<std::size_t>(x.cols, column_pad)};
  round_input(ctx, x, in);
  for_output_tasks(
      ctx, outputs, count, [&](const linear_output& o) { return tiles_plan(o.weight, x.rows); },
      [&](const linear_output& o, const output_plan& plan, std::size_t task, std::uint32_t worker) {
        with_lines(o.weight.format,
                   [&](auto lines) { tiles_task<decltype(lines), Tiles>(ctx, in, o, plan, task, worker); });
      });
}

/// A table that multiplies many rows with tiles and is like `other` in the rest.
template <class Tiles, const kernels& Other>
constexpr kernels table_with_tiles(const char* name) noexcept {
  kernels t = Other;
  t.name = name;
  t.scratch_bytes_per_worker =
      (std::max)(t.scratch_bytes_per_worker, round_up<std::uint64_t>(sizeof(tiles_scratch), 64));
  t.scratch_bytes_per_value = (std::max)(t.scratch_bytes_per_value, std::uint64_t{2});
  t.linear = linear_tiles<Tiles, Other.linear>;
  return t;
}

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_LINEAR_TILES_INL_H
