// The row-by-row entries of every target against the scalar reference: norms, add, embed, rotary_append.
#include <doctest/doctest.h>

#include "support/kernel_fixtures.hpp"

using namespace ocellus_tests;

namespace {

const std::uint32_t sizes[] = {1, 2, 7, 15, 16, 17, 63, 64, 65, 88, 160, 176, 768, 1408, 2560, 6144};

/// x, plus an offset that makes the mean large against the deviation.
rows shifted(std::uint32_t t, std::uint32_t k, unsigned seed) {
  rows x = rows::random(t, k, seed, 64);
  for (std::uint32_t r = 0; r < t; ++r) {
    for (std::uint32_t i = 0; i < k; ++i) x.row(r)[i] += 3.0f * static_cast<float>(r);
  }
  return x;
}

}  // namespace

TEST_CASE("kernels: layer norm agrees with the reference at every size") {
  for (std::uint32_t k : sizes) {
    CAPTURE(k);
    const std::uint32_t t = 11;
    const rows x = shifted(t, k, 1), weight = rows::random(1, k, 2), bias = rows::random(1, k, 3);
    rows expected(t, k);
    ocellus::layer_norm_args args{x.matrix(), weight.matrix(), bias.matrix(), 1e-6f, expected.matrix()};
    kernel_run reference(ocellus::reference_kernels());
    ocellus::reference_kernels().layer_norm(reference.context, args);
    CHECK(expected.tails_are_zero());
    for_each_target([&](const ocellus::kernels& table) {
      rows out(t, k, 64);
      args.out = out.matrix();
      kernel_run run(table);
      table.layer_norm(run.context, args);
      CHECK(out.tails_are_zero());
      // The mean is off by roundings of sums as large as |x|, and that is divided by the deviation.
      const double worst = worst_ratio(out, expected, [&](std::uint32_t r, std::uint32_t c) {
        double deviation = 0, mean = 0;
        for (std::uint32_t i = 0; i < k; ++i) mean += static_cast<double>(x.row(r)[i]) / k;
        for (std::uint32_t i = 0; i < k; ++i)
          deviation += std::pow(static_cast<double>(x.row(r)[i]) - mean, 2) / k;
        deviation = std::sqrt(deviation + 1e-6);
        const double y =
            std::abs(static_cast<double>(expected.row(r)[c])) + std::abs(static_cast<double>(bias.row(0)[c]));
        const double w = std::abs(static_cast<double>(weight.row(0)[c]));
        return f32_ulp *
               (4 * y + 4 * w * (std::abs(mean) + std::abs(static_cast<double>(x.row(r)[c]))) / deviation +
                1e-6);
      });
      CHECK(worst <= 1.0);
    });
  }
}

TEST_CASE("kernels: RMS norm agrees with the reference, with and without a residual") {
  for (std::uint32_t k : sizes) {
    CAPTURE(k);
    const std::uint32_t t = 9;
    const rows x = shifted(t, k, 4), weight = rows::random(1, k, 5), residual = rows::random(t, k, 6);
    for (bool with_residual : {false, true}) {
      rows expected(t, k);
      ocellus::rms_norm_args args;
      args.x = x.matrix();
      args.weight = weight.matrix();
      if (with_residual) args.residual = residual.matrix();
      args.eps = 1e-6f;
      args.out = expected.matrix();
      kernel_run reference(ocellus::reference_kernels());
      ocellus::reference_kernels().rms_norm(reference.context, args);
      CHECK(expected.tails_are_zero());
      for_each_target([&](const ocellus::kernels& table) {
        rows out(t, k, 64);
        args.out = out.matrix();
        kernel_run run(table);
        table.rms_norm(run.context, args);
        CHECK(out.tails_are_zero());
        const double worst = worst_ratio(out, expected, [&](std::uint32_t r, std::uint32_t c) {
          const double add = with_residual ? std::abs(static_cast<double>(residual.row(r)[c])) : 0.0;
          return f32_ulp * (4 * (std::abs(static_cast<double>(expected.row(r)[c])) + 2 * add) + 1e-6);
        });
        CHECK(worst <= 1.0);
      });
    }
  }
}

TEST_CASE("kernels: a row of zeros stays finite in both norms") {
  const rows x = rows::of(1, 70, std::vector<float>(70)), weight = rows::random(1, 70, 7),
             bias = rows::random(1, 70, 8);
  for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
    rows out(1, 70);
    kernel_run run(*table);
    table->layer_norm(run.context, {x.matrix(), weight.matrix(), bias.matrix(), 1e-12f, out.matrix()});
    CHECK(out.same_bits(bias));
    table->rms_norm(run.context, {x.matrix(), weight.matrix(), bias.matrix(), 1e-6f, out.matrix()});
    CHECK(out.same_bits(bias));
  }
}

TEST_CASE("kernels: add is exact and writes its tail") {
  for (std::uint32_t k : sizes) {
    const std::uint32_t t = 10;
    const rows a = rows::random(t, k, 9, 64), b = rows::random(t, k, 10);
    rows expected(t, k);
    for (std::uint32_t r = 0; r < t; ++r) {
      for (std::uint32_t c = 0; c < k; ++c) expected.row(r)[c] = a.row(r)[c] + b.row(r)[c];
    }
    for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
      CAPTURE(std::string(table->name));
      rows out(t, k, 128);
      kernel_run run(*table);
      table->add(run.context, a.matrix(), b.matrix(), out.matrix());
      CHECK(out.same_bits(expected));
      CHECK(out.tails_are_zero());
    }
  }
}

namespace {

/// Column c of a row as packed.hpp and quantize.hpp describe it.
float table_value(ocellus::weight_format format, float value, const std::byte* row, const std::byte* scales,
                  std::uint32_t c) {
  if (format == ocellus::weight_format::f32) return value;
  if (format == ocellus::weight_format::f16) return to_f32(ocellus::to_f16(value));
  if (format == ocellus::weight_format::bf16) return to_f32(ocellus::to_bf16(value));
  ocellus::f16 scale;
  std::memcpy(&scale, scales + c / 32 * 2, 2);
  constexpr int levels[16] = {-45, -33, -26, -20, -15, -10, -6, -2, 2, 6, 10, 15, 20, 26, 33, 45};
  const int code = format == ocellus::weight_format::q8
                       ? static_cast<std::int8_t>(row[c])
                       : levels[static_cast<int>(row[c / 2]) >> (c % 2 * 4) & 15] + scale.bits % 16;
  return to_f32(scale) * static_cast<float>(code) / 64;
}

}  // namespace

TEST_CASE("kernels: embed widens rows of any format, misaligned, in the order of the ids") {
  const std::uint32_t vocabulary = 5;
  for (std::uint32_t k : {1u, 15u, 64u, 65u, 160u}) {
    const std::vector<float> values = random_values(std::size_t{vocabulary} * k, 11);
    const std::uint32_t ids[] = {4, 0, 3, 3, 1, 2, 4, 0, 1};
    for (ocellus::weight_format format : ocellus::weight_formats) {
      CAPTURE(std::string(name_of(format)));
      const std::size_t row_bytes = ocellus::table_row_bytes(format, k).value(),
                        scale_bytes = is_quantized(format) ? ocellus::table_row_scale_bytes(k).value() : 0,
                        scales_at = 1 + vocabulary * row_bytes;
      std::vector<std::byte> bytes(scales_at + vocabulary * scale_bytes);
      rows expected(std::size(ids), k);
      for (std::uint32_t r = 0; r < vocabulary; ++r) {
        const float* row = values.data() + std::size_t{r} * k;
        std::byte* scales = bytes.data() + scales_at + r * scale_bytes;
        REQUIRE(ocellus::pack_row(format, row, k, bytes.data() + 1 + r * row_bytes, scales));
        for (std::uint32_t c = 0; c < k; ++c) {
          const float rounded = table_value(format, row[c], bytes.data() + 1 + r * row_bytes, scales, c);
          for (std::uint32_t i = 0; i < std::size(ids); ++i) {
            if (ids[i] == r) expected.row(i)[c] = rounded;
          }
        }
      }
      for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
        CAPTURE(std::string(table->name));
        rows out(std::size(ids), k);
        kernel_run run(*table);
        table->embed(run.context, {{bytes.data(), 1, format, vocabulary, k, scales_at}, ids, out.matrix()});
        CHECK(out.tails_are_zero());
        CHECK(out.same_bits(expected));
      }
    }
  }
}

namespace {

struct rotary_case {
  std::uint32_t heads, size, rotary;
  bool norm, bias;
};

/// Two sequences in one call: the first all in its own tail, the second behind a shared prefix.
struct rotary_fixture {
  explicit rotary_fixture(const rotary_case& which)
      : c(which),
        width(c.heads * c.size),
        qkv(rows::random(t, 3 * width, 1, 64)),
        weights(rows::random(4, c.size, 2)) {
    std::vector<float> angles = random_values(positions * (std::max)(c.rotary / 2, 1u), 3);
    const std::uint32_t half = (std::max)(c.rotary / 2, 1u);
    cosines = rows::of(positions, half, angles);
    sines = rows::of(positions, half, angles);
    for (std::uint32_t p = 0; p < positions; ++p) {
      for (std::uint32_t i = 0; i < half; ++i) {
        cosines.row(p)[i] = std::cos(cosines.row(p)[i]);
        sines.row(p)[i] = std::sin(sines.row(p)[i]);
      }
    }
  }

  struct outputs {
    rows q;
    std::vector<std::byte> k,
        v;  ///< [segments * heads * 8 positions, D], of all bits where nothing was stored
    ocellus::attention_sequence sequences[2];
  };
  /// Head-major caches of 8 positions each; exactly D values behind each other.
  outputs run(const ocellus::kernels& table, ocellus::dtype type) const {
    const std::size_t element = ocellus::bits_of(type) / 8, bytes = 3 * c.heads * 8 * c.size * element;
    outputs o{rows(t, width, 64),
              std::vector<std::byte>(bytes, std::byte{255}),
              std::vector<std::byte>(bytes, std::byte{255}),
              {}};
    const auto segment = [&](std::uint32_t index, std::uint32_t count) {
      ocellus::kv_segment s;
      const std::uint64_t offset = std::uint64_t{index} * c.heads * 8 * c.size * element;
      s.k = {o.k.data(), offset, type, count, c.size, c.size};
      s.v = {o.v.data(), offset, type, count, c.size, c.size};
      s.head_stride = std::uint64_t{8} * c.size;
      return s;
    };
    o.sequences[0] = {0, 3, 2, {segment(0, 5), {}}, 1};
    o.sequences[1] = {3, 2, 7, {segment(1, 6), segment(2, 3)}, 2};
    ocellus::rotary_append_args args;
    args.qkv = qkv.matrix();
    args.heads = c.heads;
    args.head_size = c.size;
    args.rotary_size = c.rotary;
    const auto vector = [&](std::uint32_t i) { return weights.matrix().slice(i, 1); };
    if (c.norm) args.q_weight = vector(0), args.k_weight = vector(1);
    if (c.norm && c.bias) args.q_bias = vector(2), args.k_bias = vector(3);
    args.eps = 1e-5f;
    args.cosines = cosines.matrix();
    args.sines = sines.matrix();
    args.q_out = o.q.matrix();
    args.sequences = o.sequences;
    args.sequence_count = 2;
    kernel_run context(table);
    table.rotary_append(context.context, args);
    return o;
  }

  static constexpr std::uint32_t t = 5, positions = 10;
  rotary_case c;
  std::uint32_t width;
  rows qkv, weights, cosines, sines;
};

/// A cache as f32.
rows cached_values(ocellus::dtype type, const std::vector<std::byte>& bytes) {
  const auto count = static_cast<std::uint32_t>(bytes.size() / (ocellus::bits_of(type) / 8));
  rows values(1, count);
  for (std::uint32_t i = 0; i < count; ++i) values.row(0)[i] = ocellus::load_as_f32(type, bytes.data(), i);
  return values;
}

/// Equal up to a few units of the largest value, and written in the same places.
void check_same(const rows& a, const rows& b, double tolerance = 3e-6) {
  std::size_t places = 0;
  double worst = 0;
  for (std::uint32_t r = 0; r < a.count(); ++r) {
    for (std::uint32_t c = 0; c < a.cols(); ++c) {
      places += std::isnan(a.row(r)[c]) != std::isnan(b.row(r)[c]);
      if (!std::isnan(a.row(r)[c]))
        worst = (std::max)(worst, std::abs(static_cast<double>(a.row(r)[c] - b.row(r)[c])));
    }
  }
  CHECK(places == 0);
  CHECK(worst <= tolerance);
}

}  // namespace

TEST_CASE("kernels: rotary_append norms, rotates and stores like the reference, and nothing else") {
  for (const rotary_case& c : {rotary_case{3, 80, 32, true, true},
                               {2, 80, 32, true, false},
                               {9, 80, 32, false, false},
                               {2, 16, 8, true, true},
                               {1, 7, 4, true, true},
                               {2, 20, 20, false, false},
                               {2, 64, 0, true, true},
                               {1, 256, 66, true, true}}) {
    CAPTURE(c.size);
    CAPTURE(c.rotary);
    const rotary_fixture fixture(c);
    for (const auto mode : {ocellus::precision::exact, ocellus::precision::fast}) {
      const ocellus::dtype type = ocellus::cache_type_of(mode);
      CHECK(ocellus::reference_kernels(mode).cache_type == type);
      const auto expected = fixture.run(ocellus::reference_kernels(mode), type);
      CHECK(expected.q.tails_are_zero());
      for_each_target(
          [&](const ocellus::kernels& table) {
            CHECK(table.cache_type == type);
            const auto got = fixture.run(table, type);
            CHECK(got.q.tails_are_zero());
            check_same(got.q, expected.q);
            // A key whose f32 differs in its last bits may be rounded to the next f16: values up to 8 have steps of 2^-8.
            check_same(cached_values(type, got.k), cached_values(type, expected.k),
                       mode == ocellus::precision::exact ? 3e-6 : 0x1p-8);
            CHECK(got.v == expected.v);
          },
          mode);
    }
  }
}

TEST_CASE("kernels: f16 caches hold the nearest f16, ties to even, and read it back, infinity and NaN too") {
  // Every f16, every midpoint between two and its neighbours, what lies beyond them, and NaN.
  std::vector<float> values;
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float low = to_f32(ocellus::f16{static_cast<std::uint16_t>(bits)});
    const float high = bits == 0x7bff ? 65536.0f : to_f32(ocellus::f16{static_cast<std::uint16_t>(bits + 1)});
    const float middle = (low + high) / 2;
    for (float v : {low, std::nextafter(low, high), std::nextafter(middle, low), middle,
                    std::nextafter(middle, high)}) {
      values.push_back(bits % 2 == 0 ? v : -v);
    }
  }
  for (float v : {65536.0f, 1e30f, std::numeric_limits<float>::infinity(), 1e-30f, 0.0f}) {
    values.push_back(v);
    values.push_back(-v);
  }
  const std::uint32_t size = 40, heads = 3, width = heads * size;
  while (values.size() % width != 0) values.push_back(poison);
  const auto count = static_cast<std::uint32_t>(values.size() / width);
  rows qkv(count, 3 * width);
  for (std::uint32_t r = 0; r < count; ++r) {
    std::fill_n(qkv.row(r), ocellus::round_up(3 * width, 64u), 0.0f);
    for (std::uint32_t part : {1u, 2u}) {
      std::copy_n(values.data() + std::size_t{r} * width, width, qkv.row(r) + part * width);
    }
  }
  for (const ocellus::kernels* table : ocellus::cpu_kernels(ocellus::precision::fast)) {
    CAPTURE(std::string(table->name));
    std::vector<ocellus::f16> k(std::size_t{count} * width), v(k.size());
    rows q_out(count, width);
    ocellus::attention_sequence s;
    s.rows = count;
    s.segments[0] = {{k.data(), 0, ocellus::dtype::f16, count, size, size},
                     {v.data(), 0, ocellus::dtype::f16, count, size, size},
                     std::uint64_t{count} * size};
    s.segment_count = 1;
    ocellus::rotary_append_args args;
    args.qkv = qkv.matrix();
    args.heads = heads;
    args.head_size = size;
    args.q_out = q_out.matrix();
    args.sequences = &s;
    args.sequence_count = 1;
    kernel_run run(*table);
    table->rotary_append(run.context, args);
    std::size_t wrong = 0;
    for (std::uint32_t r = 0; r < count; ++r) {
      for (std::uint32_t c = 0; c < width; ++c) {
        const float value = values[std::size_t{r} * width + c];
        const std::size_t at = c / size * count * size + r * size + c % size;
        for (const ocellus::f16 got : {k[at], v[at]}) {
          wrong += std::isnan(value) ? !std::isnan(to_f32(got)) : got.bits != ocellus::to_f16(value).bits;
        }
      }
    }
    CHECK(wrong == 0);
    // One query, one key: the value itself comes back.
    rows q = rows::of(1, width, std::vector<float>(width)), out(1, width);
    std::vector<ocellus::f16> zeros(k.size());
    s.rows = 1;
    wrong = 0;
    for (std::uint32_t r = 0; r < count; ++r) {
      for (ocellus::matrix* m : {&s.segments[0].k, &s.segments[0].v}) {
        m->rows = 1;
        m->offset = std::uint64_t{r} * size * sizeof(ocellus::f16);
      }
      s.segments[0].k.handle = zeros.data();
      table->attention(run.context, {q.matrix(), out.matrix(), heads, size, 1.0f, false, &s, 1});
      for (std::uint32_t c = 0; c < width; ++c) {
        const float right = to_f32(ocellus::to_f16(values[std::size_t{r} * width + c])), got = out.row(0)[c];
        wrong += std::isnan(right) ? !std::isnan(got) : got != right;
      }
    }
    CHECK(wrong == 0);
  }
}
