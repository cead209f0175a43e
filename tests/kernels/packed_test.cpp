// The packed layout: where each element lies, what is padded, how values are rounded.
#include <doctest/doctest.h>

#include "support/kernel_fixtures.hpp"

using namespace ocellus_tests;
using ocellus::weight_format;

TEST_CASE("packed: formats have names and element types, and no other name is a format") {
  for (weight_format f : ocellus::weight_formats) {
    weight_format parsed = f == weight_format::f32 ? weight_format::f16 : weight_format::f32;
    CHECK(ocellus::parse_weight_format(name_of(f), parsed));
    CHECK(parsed == f);
  }
  weight_format untouched = weight_format::bf16;
  for (const char* name : {"", "F32", "f64", "bf1", "bf16 "})
    CHECK(!ocellus::parse_weight_format(name, untouched));
  CHECK(untouched == weight_format::bf16);
  CHECK(dtype_of_format(weight_format::f32) == ocellus::dtype::f32);
  CHECK(dtype_of_format(weight_format::f16) == ocellus::dtype::f16);
  CHECK(dtype_of_format(weight_format::bf16) == ocellus::dtype::bf16);
  CHECK(dtype_of_format(weight_format::q8) == ocellus::dtype::i8);
  CHECK(dtype_of_format(weight_format::q4) == ocellus::dtype::u8);
}

TEST_CASE("packed: shapes are padded to 16 rows and 64 columns") {
  CHECK(ocellus::packed_shape(weight_format::f32, 1, 1) == ocellus::shape{1, 64, 16});
  CHECK(ocellus::packed_shape(weight_format::f32, 16, 64) == ocellus::shape{1, 64, 16});
  CHECK(ocellus::packed_shape(weight_format::f32, 17, 65) == ocellus::shape{2, 128, 16});
  CHECK(ocellus::packed_shape(weight_format::bf16, 17, 65) == ocellus::shape{2, 64, 16, 2});
  CHECK(ocellus::packed_shape(weight_format::f16, 6144, 1408) == ocellus::shape{384, 704, 16, 2});
  CHECK(ocellus::packed_shape(weight_format::q8, 17, 65) == ocellus::shape{2, 32, 16, 4});
  CHECK(ocellus::packed_shape(weight_format::q4, 17, 65) == ocellus::shape{2, 16, 16, 4});
  CHECK(ocellus::packed_scale_shape(17, 65) == ocellus::shape{2, 4, 16});
  CHECK(ocellus::packed_bytes(weight_format::f32, 17, 65).value() == 2 * 128 * 64);
  CHECK(ocellus::packed_bytes(weight_format::q8, 17, 65).value() == 2 * 16 * 128);
  CHECK(ocellus::packed_bytes(weight_format::q4, 17, 65).value() == 2 * 16 * 64);
  CHECK(ocellus::packed_bytes(weight_format::bf16, 17, 65).value() == 2 * 64 * 64);
  CHECK(ocellus::panel_bytes(weight_format::f16, 2560).value() == 2560 * 32);
  for (weight_format f : ocellus::weight_formats) {
    CHECK(ocellus::table_shape(f, 7, 65) == ocellus::shape{7, f == weight_format::q4 ? 64u : 128u});
    CHECK(ocellus::table_row_bytes(f, 65).value() * 8 ==
          ocellus::table_shape(f, 1, 65).count().value() * bits_of(dtype_of_format(f)));
    CHECK(ocellus::packed_bytes(f, 33, 100).value() * 8 ==
          ocellus::packed_shape(f, 33, 100).count().value() * bits_of(dtype_of_format(f)));
  }
  CHECK(ocellus::table_scale_shape(7, 65) == ocellus::shape{7, 4});
  CHECK(ocellus::table_row_scale_bytes(65).value() == 8);
}

TEST_CASE("packed: sizes of the largest matrix fit, and nothing wraps around") {
  const std::uint32_t most = 0xffffffffu - 63;
  CHECK(ocellus::packed_bytes(weight_format::f32, most, most).valid() == false);
  CHECK(ocellus::packed_bytes(weight_format::f32, 51200, 10240).value() == 51200ull * 10240 * 4);
}

TEST_CASE("packed: a line holds 16 rows, one f32 or two 16-bit columns of each") {
  const std::uint32_t n = 18, k = 5;
  std::vector<float> values(n * k);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i);  // exact in bf16 up to 256
  const packed_weight f(weight_format::f32, n, k, values), b(weight_format::bf16, n, k, values);
  const auto* floats = static_cast<const std::byte*>(f.matrix().handle);
  const auto* pairs = static_cast<const std::byte*>(b.matrix().handle);
  for (std::uint32_t row = 0; row < 32; ++row) {
    for (std::uint32_t column = 0; column < 64; ++column) {
      const float expected = row < n && column < k ? values[row * k + column] : 0.0f;
      float v;
      std::memcpy(&v, floats + ((std::size_t{row / 16} * 64 + column) * 16 + row % 16) * 4, 4);
      CHECK(v == expected);
      ocellus::bf16 h;
      std::memcpy(
          &h, pairs + (((std::size_t{row / 16} * 32 + column / 2) * 16 + row % 16) * 2 + column % 2) * 2, 2);
      CHECK(to_f32(h) == expected);
    }
  }
}

TEST_CASE("packed: what is packed is read back, rounded to the format") {
  const std::uint32_t n = 35, k = 70;
  const std::vector<float> values = random_values(n * k, 1);
  for (std::size_t misalign : {0u, 1u, 3u}) {
    const packed_weight f(weight_format::f32, n, k, values, misalign),
        h(weight_format::f16, n, k, values, misalign), b(weight_format::bf16, n, k, values, misalign);
    for (std::uint32_t row = 0; row < n; ++row) {
      for (std::uint32_t column = 0; column < k; ++column) {
        const float v = values[row * k + column];
        CHECK(f.at(row, column) == static_cast<double>(v));
        CHECK(h.at(row, column) == static_cast<double>(to_f32(ocellus::to_f16(v))));
        CHECK(b.at(row, column) == static_cast<double>(to_f32(ocellus::to_bf16(v))));
      }
    }
  }
}
