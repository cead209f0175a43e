// Per SIMD target: how the lines of a panel, in each format of packed.hpp, become vectors of f32 weights.
#ifndef OCELLUS_KERNELS_LINES_INL_H
#define OCELLUS_KERNELS_LINES_INL_H

#include "ocellus/kernels/compat-inl.h"
#include "ocellus/kernels/quantize.hpp"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

// In every format an output's share of a line is 4 bytes.
// columns: of K in a line. outputs: that a vector of products belongs to. quantized: has scales.

struct f32_lines {
  static constexpr std::size_t columns = 1, outputs = lanes;
  static constexpr bool quantized = false;
};

struct bf16_lines {
  static constexpr std::size_t columns = 2, outputs = lanes;
  static constexpr bool quantized = false;
  static HWY_INLINE hn::Vec<u32_tag> bits(const std::byte* w) {
    return hn::LoadU(u32_tag(), reinterpret_cast<const std::uint32_t*>(w));
  }
  static HWY_INLINE f32_vec even(hn::Vec<u32_tag> b) { return hn::BitCast(f32_tag(), hn::ShiftLeft<16>(b)); }
  static HWY_INLINE f32_vec odd(hn::Vec<u32_tag> b) {
    return hn::BitCast(f32_tag(), hn::And(b, hn::Set(u32_tag(), 0xffff0000u)));
  }
  /// `lanes` outputs of a line: its even column to `to`, the odd one to the row of 16 behind it.
  static HWY_INLINE void widen(const std::byte* w, float* to) {
    const auto b = bits(w);
    store(even(b), to);
    store(odd(b), to + panel_rows);
  }
};

// Conversion keeps the order of a line: neighbouring lanes hold the two columns of one output.
struct f16_lines {
  static constexpr std::size_t columns = 2, outputs = lanes / 2;
  static constexpr bool quantized = false;
  static HWY_INLINE void widen(const std::byte* w, float* to) {
    const f32_vec v0 = load_f16(w), v1 = load_f16(w + 2 * lanes);
    store(hn::ConcatEven(f32_tag(), v1, v0), to);
    store(hn::ConcatOdd(f32_tag(), v1, v0), to + panel_rows);
  }
};

using byte_tag = hn::Repartition<std::uint8_t, f32_tag>;
using i8_tag = hn::Repartition<std::int8_t, f32_tag>;
using half_tag = hn::Repartition<std::uint16_t, f32_tag>;
/// Codes of four columns in each 32-bit lane, a lane an output.
using code_vec = hn::Vec<i32_tag>;

/// The f32 of column Column, 0 to 3, of the codes.
template <int Column>
HWY_INLINE f32_vec widen_code(code_vec codes) {
  if constexpr (Column != 3) codes = hn::ShiftLeft<24 - 8 * Column>(codes);
  return hn::ConvertTo(f32_tag(), hn::ShiftRight<24>(codes));
}

// What a group of 32 columns has beside its codes, for `lanes` outputs: their scales, and in q4 their offsets.

struct q8_lines {
  static constexpr std::size_t columns = 4, outputs = lanes;
  static constexpr bool quantized = true;

  struct group {
    f32_vec scale;
    HWY_INLINE explicit group(const std::byte* scales)
        : scale(hn::Mul(load_f16(scales), splat(quant_unit))) {}
    /// Gives body(codes, first column) for each four columns of a line. w: `lanes` outputs of the line
    template <class Body>
    HWY_INLINE void for_codes(const std::byte* w, const Body& body) const {
      body(hn::LoadU(i32_tag(), reinterpret_cast<const std::int32_t*>(w)), std::size_t{0});
    }
  };
};

struct q4_lines {
  static constexpr std::size_t columns = 8, outputs = lanes;
  static constexpr bool quantized = true;

  struct group {
    f32_vec scale;
    hn::Vec<i8_tag> offset;  // of an output, in each of its four bytes
    hn::Vec<byte_tag> levels;
    HWY_INLINE explicit group(const std::byte* scales)
        : scale(hn::Mul(load_f16(scales), splat(quant_unit))),
          offset(offsets(scales)),
          levels(hn::LoadDup128(byte_tag(), reinterpret_cast<const std::uint8_t*>(q4_levels))) {}
    template <class Body>
    HWY_INLINE void for_codes(const std::byte* w, const Body& body) const {
      const auto bits = hn::LoadU(byte_tag(), reinterpret_cast<const std::uint8_t*>(w));
      const auto high = hn::BitCast(byte_tag(), hn::ShiftRight<4>(hn::BitCast(half_tag(), bits)));
      body(codes(bits), std::size_t{0});
      body(codes(high), std::size_t{4});
    }

   private:
    static HWY_INLINE hn::Vec<i8_tag> offsets(const std::byte* scales) {
      const auto pattern =
          hn::PromoteTo(u32_tag(), hn::LoadU(u16_tag(), reinterpret_cast<const std::uint16_t*>(scales)));
      const auto one = hn::And(pattern, hn::Set(u32_tag(), 15u));
      const auto two = hn::Or(one, hn::ShiftLeft<8>(one));
      return hn::BitCast(i8_tag(), hn::Or(two, hn::ShiftLeft<16>(two)));
    }
    /// Looks up the low four bits of each byte.
    HWY_INLINE code_vec codes(hn::Vec<byte_tag> bits) const {
      const auto level = hn::TableLookupBytes(levels, hn::And(bits, hn::Set(byte_tag(), std::uint8_t{15})));
      return hn::BitCast(i32_tag(), hn::Add(hn::BitCast(i8_tag(), level), offset));
    }
  };
};

/// Widens `columns` columns of one panel. w, scales: the panel from some column on; to: [columns, 16]
template <class Lines>
HWY_NOINLINE void widen_panel(const std::byte* HWY_RESTRICT w, const std::byte* HWY_RESTRICT scales,
                              std::size_t columns, float* HWY_RESTRICT to) {
  if constexpr (Lines::quantized) {
    for (std::size_t c = 0; c < columns; c += quant_group, scales += panel_rows * sizeof(f16)) {
      for (std::size_t output = 0; output < panel_rows; output += lanes) {
        const typename Lines::group group(scales + output * sizeof(f16));
        const std::byte* line = w + output * 4;
        float* column = to + output;
        for (std::size_t i = 0; i < quant_group; i += Lines::columns, line += line_bytes) {
          group.for_codes(line, [&](code_vec codes, std::size_t) HWY_ATTR {
            store(hn::Mul(widen_code<0>(codes), group.scale), column);
            store(hn::Mul(widen_code<1>(codes), group.scale), column + panel_rows);
            store(hn::Mul(widen_code<2>(codes), group.scale), column + 2 * panel_rows);
            store(hn::Mul(widen_code<3>(codes), group.scale), column + 3 * panel_rows);
            column += 4 * panel_rows;
          });
        }
      }
      w += quant_group / Lines::columns * line_bytes;
      to += quant_group * panel_rows;
    }
  } else {
    for (std::size_t c = 0; c < columns; c += Lines::columns) {
      for (std::size_t output = 0; output < panel_rows; output += lanes)
        Lines::widen(w + output * 4, to + output);
      w += line_bytes;
      to += Lines::columns * panel_rows;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_LINES_INL_H
