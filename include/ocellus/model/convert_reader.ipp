// weight_reader: rows of weights as f32, in our order, with LoRA and resized positions.
#ifndef OCELLUS_MODEL_CONVERT_READER_IPP
#define OCELLUS_MODEL_CONVERT_READER_IPP

#include <algorithm>

#include "ocellus/model/convert_sources.hpp"
#include "ocellus/model/position_table.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// The row of a fused projection [heads][3][D] that is row i of [3][heads][D]; n = 3 * heads * D.
[[nodiscard]] inline std::uint32_t row_by_heads(std::uint32_t i, std::uint32_t n,
                                                std::uint32_t heads) noexcept {
  const std::uint32_t size = n / 3 / heads;
  const std::uint32_t which = i / (n / 3), head = i % (n / 3) / size, d = i % size;
  return (head * 3 + which) * size + d;
}

}  // namespace detail

result<void> weight_reader::begin(const weight_source& source, std::uint32_t workers) noexcept {
  evict();
  source_ = &source;
  std::uint32_t rank = 0, ranks = 0;
  for (std::uint32_t i = 0; i < source.lora_count; ++i) {
    ranks += source.loras[i].rank;
    rank = (std::max)(rank, source.loras[i].rank);
  }
  worker_scratch_ = 2 * std::size_t{source.k} + rank;
  if (!factors_.resize_times(ranks, source.k) || !scratch_.resize_times(workers, worker_scratch_)) {
    return no_memory("one matrix of the conversion");
  }
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < source.lora_count; ++i) {
    const std::size_t count = std::size_t{source.loras[i].rank} * source.k;
    from_.read(*source.loras[i].a, 0, factors_.span().subspan(at, count));
    at += count;
  }
  return {};
}

void weight_reader::evict() const noexcept {
  if (source_ == nullptr) return;
  for (const weight_part& part : std::span(source_->parts, source_->part_count)) {
    if (part.tensor != nullptr) from_.evict(*part.tensor);
  }
  for (const weight_lora& lora : std::span(source_->loras, source_->lora_count)) {
    from_.evict(*lora.a);
    from_.evict(*lora.b);
  }
}

void weight_reader::read_row(std::uint32_t i, std::uint32_t worker, std::span<float> out) noexcept {
  const weight_source& s = *source_;
  const std::span<float> scratch = scratch_.span().subspan(worker * worker_scratch_, worker_scratch_);
  if (s.grid != 0) return read_position(i, scratch, out);
  std::uint32_t row = i;
  const weight_part* part = s.parts;
  while (row >= part->rows) row -= part++->rows;
  if (part->tensor == nullptr) {
    std::fill(out.begin(), out.end(), part->fill);
  } else {
    if (part->order == row_order::by_heads) row = detail::row_by_heads(row, s.n, s.heads);
    from_.read(*part->tensor, std::uint64_t{row} * s.k, out);
  }

  const std::span<float> change = scratch.first(s.k);
  const float* a = factors_.data();
  for (std::uint32_t l = 0; l < s.lora_count; a += std::size_t{s.loras[l].rank} * s.k, ++l) {
    const weight_lora& lora = s.loras[l];
    if (i < lora.first || i - lora.first >= lora.rows) continue;
    const std::span<float> b = scratch.subspan(2 * std::size_t{s.k}, lora.rank);
    const std::uint32_t b_row =
        lora.order == row_order::by_heads ? detail::row_by_heads(i, s.n, s.heads) : i - lora.first;
    from_.read(*lora.b, std::uint64_t{b_row} * lora.rank, b);
    std::fill(change.begin(), change.end(), 0.0f);
    for (std::uint32_t q = 0; q < lora.rank;
         ++q) {  // summed in the order of the rank, so the bits are always the same
      const float factor = b[q];
      const float* values = a + std::size_t{q} * s.k;
      for (std::uint32_t c = 0; c < s.k; ++c) change[c] += factor * values[c];
    }
    for (std::uint32_t c = 0; c < s.k; ++c) out[c] += lora.scale * change[c];
  }
}

/// Row 0 is the class token's; the others are a picture of positions, resized by 4 x 4 taps, along x first.
void weight_reader::read_position(std::uint32_t i, std::span<float> scratch,
                                  std::span<float> out) const noexcept {
  const weight_source& s = *source_;
  const checkpoint_tensor& table = *s.parts[0].tensor;
  if (i == 0) return from_.read(table, 0, out);
  std::uint32_t grid = 1;  // the new one: s.n = grid * grid + 1
  while (grid * grid + 1 < s.n) ++grid;
  const cubic_taps y = cubic_taps_at((i - 1) / grid, s.grid, grid);
  const cubic_taps x = cubic_taps_at((i - 1) % grid, s.grid, grid);
  const std::span<float> value = scratch.first(s.k), along = scratch.subspan(s.k, s.k);
  std::fill(out.begin(), out.end(), 0.0f);
  for (int dy = 0; dy < 4; ++dy) {
    std::fill(along.begin(), along.end(), 0.0f);
    for (int dx = 0; dx < 4; ++dx) {
      from_.read(table, (std::uint64_t{1} + y.index[dy] * s.grid + x.index[dx]) * s.k, value);
      for (std::uint32_t c = 0; c < s.k; ++c) along[c] += x.weight[dx] * value[c];
    }
    for (std::uint32_t c = 0; c < s.k; ++c) out[c] += y.weight[dy] * along[c];
  }
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CONVERT_READER_IPP
