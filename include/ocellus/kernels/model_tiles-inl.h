// Per SIMD target, AVX-512 alone, and for tests (OCELLUS_MODEL_TILES): what x86_tiles.hpp's tiles do, in ordinary code, so that
// the kernel around them is tested on processors without AMX. As strict as the instructions are: what would
// raise an exception there makes the sums NaN here. The one difference: denormal numbers are not flushed to zero.
#ifndef OCELLUS_KERNELS_MODEL_TILES_INL_H
#define OCELLUS_KERNELS_MODEL_TILES_INL_H

#include <cstring>
#include <limits>

#include "ocellus/kernels/lines-inl.h"
#include "ocellus/kernels/x86_tiles.hpp"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

class model_tiles {
 public:
  model_tiles() noexcept = default;
  model_tiles(const model_tiles&) = delete;
  model_tiles& operator=(const model_tiles&) = delete;

  void configure(const tile_shapes& shapes) noexcept {
    shapes_ = shapes;
    std::memset(tiles_, 0, sizeof tiles_);
    valid_ = shapes.palette == 1 && shapes.start_row == 0;
    for (const std::uint8_t b : shapes.reserved) valid_ = valid_ && b == 0;
    for (int t = 0; t < 16; ++t) {
      const bool used = shapes.rows[t] != 0;
      valid_ = valid_ && used == (shapes.row_bytes[t] != 0) && shapes.rows[t] <= 16 &&
               shapes.row_bytes[t] <= 64 && !(used && t >= 8);
    }
  }
  template <int Tile>
  void zero() noexcept {
    check(Tile, shapes_.rows[Tile] != 0);
    std::memset(tiles_[Tile], 0, sizeof tiles_[Tile]);
  }
  template <int Tile>
  void load(const void* rows, std::size_t stride) noexcept {
    std::memset(tiles_[Tile], 0, sizeof tiles_[Tile]);
    const auto* from = static_cast<const std::byte*>(rows);
    for (std::size_t r = 0; r < shapes_.rows[Tile]; ++r) {
      std::memcpy(tiles_[Tile][r], from + r * stride, shapes_.row_bytes[Tile]);
    }
    check(Tile, shapes_.rows[Tile] != 0);
  }
  template <int Tile>
  void store(void* rows, std::size_t stride) noexcept {
    check(Tile, shapes_.rows[Tile] != 0);
    auto* to = static_cast<std::byte*>(rows);
    for (std::size_t r = 0; r < shapes_.rows[Tile]; ++r) {
      std::memcpy(to + r * stride, tiles_[Tile][r], shapes_.row_bytes[Tile]);
    }
  }
  /// Within an instruction, even and odd columns are summed on their own, then added together, then to the sums.
  template <int Sums, int A, int B>
  void dot() noexcept {
    for (std::size_t m = 0; m < shapes_.rows[Sums]; ++m) {
      f32_vec even = hn::Zero(f32_tag()), odd = even;
      for (std::size_t k = 0; k < shapes_.row_bytes[A] / 4; ++k) {
        std::uint32_t pair;
        std::memcpy(&pair, tiles_[A][m] + k * 4, 4);
        const auto line = bf16_lines::bits(tiles_[B][k]);
        const auto x = hn::Set(u32_tag(), pair);
        even = hn::MulAdd(bf16_lines::even(x), bf16_lines::even(line), even);
        odd = hn::MulAdd(bf16_lines::odd(x), bf16_lines::odd(line), odd);
      }
      auto* sums = reinterpret_cast<float*>(tiles_[Sums][m]);
      store_lanes(hn::Add(load_lanes(sums), hn::Add(even, odd)), sums);
    }
    const auto bytes = [&](int t) { return shapes_.row_bytes[t]; };
    check(Sums, Sums != A && Sums != B && A != B && shapes_.rows[Sums] != 0 &&
                    shapes_.rows[A] == shapes_.rows[Sums] && bytes(B) == bytes(Sums) && bytes(A) % 4 == 0 &&
                    bytes(A) / 4 == shapes_.rows[B]);
  }

 private:
  static f32_vec load_lanes(const float* p) { return hn::LoadU(f32_tag(), p); }
  static void store_lanes(f32_vec v, float* p) { hn::StoreU(v, f32_tag(), p); }
  /// All of a tile that an instruction changes becomes NaN if it is not a valid one, or had invalid ones before it.
  void check(int changed, bool valid) noexcept {
    valid_ = valid_ && valid;
    if (valid_) return;
    for (auto& row : tiles_[changed]) {
      for (std::size_t i = 0; i < 64; i += 4) {
        constexpr float nan = std::numeric_limits<float>::quiet_NaN();
        std::memcpy(row + i, &nan, 4);
      }
    }
  }

  tile_shapes shapes_;
  bool valid_ = false;
  alignas(64) std::byte tiles_[8][16][64] = {};
};

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_MODEL_TILES_INL_H
