// linear() of the fast tables. What they compute is exact but for their input: int8 with a scale for each 32 values, or bf16.
// So the scalar reference gets the input rounded in the same way, and then only roundings of f32 may differ.
#include <doctest/doctest.h>

#include <bit>
#include <iostream>

#include "ocellus/kernels/fast_rows.hpp"
#include "ocellus/kernels/packed.hpp"
#include "ocellus/thread_pool.hpp"
#include "support/kernel_fixtures.hpp"
#include "support/skip.hpp"

using namespace ocellus_tests;
using ocellus::activation;
using ocellus::precision;
using ocellus::weight_format;

namespace {

/// x as int8_rows say it: scale * code for groups of 32.
rows as_int8(const rows& x) {
  std::vector<float> values;
  for (std::uint32_t r = 0; r < x.count(); ++r) {
    for (std::uint32_t k = 0; k < x.cols(); k += 32) {
      float largest = 0;
      for (std::uint32_t i = k; i < k + 32; ++i) largest = (std::max)(largest, std::abs(x.row(r)[i]));
      const bool zero = largest < 1e-30f;
      const float scale = zero ? 0 : largest * (1.0f / 127), inverse = zero ? 0 : 127 / largest;
      for (std::uint32_t i = k; i < k + 32 && i < x.cols(); ++i)
        values.push_back(std::nearbyint(x.row(r)[i] * inverse) * scale);
    }
  }
  return rows::of(x.count(), x.cols(), values);
}

float as_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u);
}

rows as_bf16(const rows& x) {
  std::vector<float> values;
  for (std::uint32_t r = 0; r < x.count(); ++r) {
    for (std::uint32_t k = 0; k < x.cols(); ++k) values.push_back(as_bf16(x.row(r)[k]));
  }
  return rows::of(x.count(), x.cols(), values);
}

/// As tiles get their weights: ties are rounded away from zero.
float as_tile_bf16(float x) {
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + 0x8000u) & 0xffff0000u);
}

/// What a table makes of the input of a product with weights of a format. tiles: bf16, and the weights too.
enum class input { f32, int8, bf16, tiles };

input input_of(const ocellus::kernels& table, weight_format format, std::uint32_t t) {
  const std::string_view name = table.name;
  const bool amx = name.ends_with("_AMX");
  if (t >= 16 && (amx || name.ends_with("_MODEL_TILES"))) return input::tiles;
  const bool has_dots = table.scratch_bytes_per_value != 0;
  if (is_quantized(format)) return has_dots ? input::int8 : input::f32;
  const bool has_bf16 = amx || name.ends_with("_BF16");
  return has_bf16 && (format == weight_format::bf16 || t >= 16) ? input::bf16 : input::f32;
}

struct test_case {
  std::uint32_t t, n, k;
  bool bias, residual;
  activation act = activation::none;
  std::size_t misalign = 0;
};

enum class tables { all, with_tiles };

void check(weight_format format, const test_case& c, tables which = tables::all) {
  CAPTURE(std::string(name_of(format)));
  CAPTURE(c.t);
  CAPTURE(c.n);
  CAPTURE(c.k);
  std::vector<float> values = random_values(std::size_t{c.n} * c.k, 1, 1 / std::sqrt(float(c.k)));
  const packed_weight w(format, c.n, c.k, values, c.misalign);
  // Weights that are rounded to bf16 on the way.
  std::vector<float> rounded(values.size()), for_tiles(values.size());
  for (std::uint32_t n = 0; n < c.n; ++n) {
    for (std::uint32_t k = 0; k < c.k; ++k) {
      const auto weight = static_cast<float>(w.at(n, k));
      rounded[std::size_t{n} * c.k + k] = as_bf16(weight);
      for_tiles[std::size_t{n} * c.k + k] = as_tile_bf16(weight);
    }
  }
  const packed_weight w_rounded(weight_format::f32, c.n, c.k, rounded);
  const packed_weight w_tiles(weight_format::f32, c.n, c.k, for_tiles);
  const rows x = rows::random(c.t, c.k, 2, 64), x_int8 = as_int8(x), x_bf16 = as_bf16(x);
  const rows bias = rows::random(1, c.n, 3), residual = rows::random(c.t, c.n, 4);
  ocellus::linear_output output;
  if (c.bias) output.bias = bias.matrix();
  if (c.residual) output.residual = residual.matrix();
  output.act = c.act;

  for_each_target(
      [&](const ocellus::kernels& table) {
        const input kind = input_of(table, format, c.t);
        if (which == tables::with_tiles && kind != input::tiles) return;
        const packed_weight& used = kind == input::bf16 ? w_rounded : kind == input::tiles ? w_tiles : w;
        const rows& in = kind == input::int8 ? x_int8 : kind == input::f32 ? x : x_bf16;
        rows expected(c.t, c.n);
        output.out = expected.matrix();
        output.weight = used.matrix();
        kernel_run reference(ocellus::reference_kernels());
        ocellus::reference_kernels().linear(reference.context, in.matrix(), &output, 1);

        rows out(c.t, c.n, 128);
        output.out = out.matrix();
        output.weight = w.matrix();
        // Tiles take 2 bytes of scratch a value, whatever the table asks for: nothing behind them is to be touched.
        const std::uint64_t input_values = std::uint64_t{c.t} * ocellus::round_up(c.k, 64u);
        const bool all_scratch = kind != input::tiles;
        kernel_run run(table, {},
                       all_scratch ? input_values : input_values * 2 / table.scratch_bytes_per_value);
        table.linear(run.context, x.matrix(), &output, 1);
        CHECK(!run.context.failed());
        CHECK(out.tails_are_zero());
        const double worst = worst_ratio(out, expected, [&](std::uint32_t r, std::uint32_t n) {
          double magnitude = 0;
          for (std::uint32_t k = 0; k < c.k; ++k)
            magnitude += std::abs(static_cast<double>(in.row(r)[k]) * used.at(n, k));
          if (c.bias) magnitude += std::abs(static_cast<double>(bias.row(0)[n]));
          if (c.residual) magnitude += std::abs(static_cast<double>(residual.row(r)[n]));
          return f32_ulp * (4 + 0.25 * std::sqrt(c.k)) * magnitude;
        });
        CHECK(worst <= 1.0);
      },
      precision::fast);
}

void check_formats(const test_case& c, tables which = tables::all) {
  for (weight_format format : ocellus::weight_formats) check(format, c, which);
}

}  // namespace

TEST_CASE("kernels, fast: linear is exact but for its input, at every awkward size") {
  for (std::uint32_t t : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 11u, 12u, 13u, 15u, 16u, 17u, 25u}) {
    check_formats({t, 33, 70, true, true});
  }
  for (std::uint32_t n : {1u, 15u, 16u, 17u, 31u, 32u, 47u, 48u, 49u, 63u, 64u, 65u, 130u}) {
    for (std::uint32_t t : {1u, 7u, 19u}) check_formats({t, n, 66, true, true});
  }
  for (std::uint32_t k : {1u, 2u, 63u, 65u, 257u, 511u, 513u, 1023u, 1025u, 2100u}) {
    for (std::uint32_t t : {1u, 5u, 17u}) check_formats({t, 40, k, false, true});
  }
  for (std::uint32_t t : {1u, 4u, 13u, 20u}) check_formats({t, 80, 100, true, true, activation::none, 1});
}

TEST_CASE(
    "kernels, fast, tiles: linear is exact but for what is rounded, where blocks of rows, panels and columns "
    "end") {
  constexpr tables which = tables::with_tiles;
  for (std::uint32_t t : {16u, 17u, 31u, 32u, 33u, 47u, 48u, 49u, 63u, 64u, 65u}) {
    check_formats({t, 50, 130, true, true}, which);
  }
  for (std::uint32_t n : {1u, 15u, 16u, 17u, 33u, 64u, 79u, 128u, 129u, 257u, 530u}) {
    check_formats({18, n, 320, true, true}, which);
  }
  for (std::uint32_t k : {1u, 64u, 128u, 192u, 256u, 257u, 320u, 512u, 770u}) {
    check_formats({34, 30, k, true, true}, which);
  }
  for (std::uint32_t t : {512u, 513u, 545u}) {  // around the rows of a task
    check_formats({t, 20, 100, false, true, activation::gelu_tanh, 2}, which);
  }
  check(weight_format::q4, {530, 1100, 64, true, false}, which);  // several tasks along both
}

TEST_CASE("kernels, fast: linear takes the model's real widths, more rows than a task, and activations") {
  for (std::uint32_t k : {88u, 176u, 768u, 1408u, 2560u, 6144u, 10240u}) {
    for (std::uint32_t t : {1u, 3u, 18u}) {
      for (weight_format format : {weight_format::bf16, weight_format::q8, weight_format::q4})
        check(format, {t, 17, k, true, false});
    }
  }
  for (weight_format format : {weight_format::bf16, weight_format::q8, weight_format::q4}) {
    check(format, {1100, 16, 64, true, true, activation::gelu});
    check(format, {1, 700, 1100, true, true, activation::gelu_tanh});
    check(format, {3, 300, 2000, true, false, activation::gelu});
  }
}

TEST_CASE("kernels, fast: a row has the same bits in a call of any number of rows") {
  const std::uint32_t n = 70, k = 1200, most = 40;
  const rows x = rows::random(most, k, 5);
  for (const weight_format format : ocellus::weight_formats) {
    CAPTURE(std::string(name_of(format)));
    const packed_weight w(format, n, k, random_values(std::size_t{n} * k, 6, 0.03f));
    for_each_target(
        [&](const ocellus::kernels& table) {
          const auto compute = [&](std::uint32_t first, std::uint32_t count) {
            rows out(count, n);
            ocellus::linear_output output;
            output.weight = w.matrix();
            output.out = out.matrix();
            kernel_run run(table, {}, std::uint64_t{count} * ocellus::round_up(k, 64u));
            table.linear(run.context, x.matrix().slice(first, count), &output, 1);
            return out;
          };
          const rows all = compute(0, most);
          const input kind = input_of(table, format, most);
          const bool few_differ = kind == input::f32 || kind == input::tiles || !is_quantized(format);
          for (std::uint32_t count : {1u, 2u, 4u, 5u, 15u, 16u, 17u, 31u}) {
            if (few_differ && count < 16) continue;
            const rows part = compute(3, count);
            for (std::uint32_t r = 0; r < count; ++r)
              CHECK(std::memcmp(part.row(r), all.row(r + 3), n * sizeof(float)) == 0);
          }
        },
        precision::fast);
  }
}

#if defined(OCELLUS_MODEL_TILES)
TEST_CASE("kernels, fast, tiles: this processor's and the model's are compared, if it has any") {
  const ocellus::kernels* modelled = ocellus::detail::model_tiles_kernels();
  const ocellus::kernels* real = ocellus::cpu_kernels(precision::fast).back();
  if (modelled == nullptr || !std::string_view(real->name).ends_with("_AMX")) OCELLUS_SKIP("no tiles here");
  const std::uint32_t t = 50, n = 70, k = 600;
  for (const weight_format format : ocellus::weight_formats) {
    const packed_weight w(format, n, k, random_values(std::size_t{n} * k, 30));
    const rows x = rows::random(t, k, 31);
    rows out[2] = {rows(t, n), rows(t, n)};
    for (int i = 0; i < 2; ++i) {
      const ocellus::kernels& table = i == 0 ? *real : *modelled;
      ocellus::linear_output output;
      output.weight = w.matrix();
      output.out = out[i].matrix();
      kernel_run run(table, {}, std::uint64_t{t} * ocellus::round_up(k, 64u));
      table.linear(run.context, x.matrix(), &output, 1);
    }
    std::cout << "tiles and their model, " << name_of(format) << ": "
              << (out[0].same_bits(out[1]) ? "the same bits" : "other bits") << std::endl;
  }
}
#endif

TEST_CASE(
    "kernels, fast: linear carries NaN and infinity to the outputs that they belong to, and to no other") {
  const std::uint32_t n = 20, k = 70;
  for (const weight_format format : ocellus::weight_formats) {
    const packed_weight w(format, n, k, random_values(n * k, 20));
    for (const float bad : {poison, std::numeric_limits<float>::infinity()}) {
      for (std::uint32_t t : {1u, 8u, 20u}) {
        rows x = rows::random(t, k, 21);
        x.row(t - 1)[k - 1] = bad;
        for_each_target(
            [&](const ocellus::kernels& table) {
              rows out(t, n);
              ocellus::linear_output output;
              output.weight = w.matrix();
              output.out = out.matrix();
              kernel_run run(table, {}, std::uint64_t{t} * 128);
              table.linear(run.context, x.matrix(), &output, 1);
              for (std::uint32_t r = 0; r < t; ++r) {
                for (std::uint32_t c = 0; c < n; ++c) CHECK(std::isfinite(out.row(r)[c]) == (r + 1 != t));
              }
              CHECK(out.tails_are_zero());
            },
            precision::fast);
      }
    }
  }
}

TEST_CASE("kernels, fast: rows of zeros and of numbers too small for a scale give zeros") {
  const std::uint32_t n = 20, k = 70;
  for (const weight_format format : {weight_format::q8, weight_format::q4}) {
    const packed_weight w(format, n, k, random_values(n * k, 22));
    for (std::uint32_t t : {1u, 9u}) {
      const rows x = rows::of(t, k, std::vector<float>(std::size_t{t} * k, 1e-40f));
      for_each_target(
          [&](const ocellus::kernels& table) {
            rows out(t, n);
            ocellus::linear_output output;
            output.weight = w.matrix();
            output.out = out.matrix();
            kernel_run run(table, {}, std::uint64_t{t} * 128);
            table.linear(run.context, x.matrix(), &output, 1);
            for (std::uint32_t r = 0; r < t; ++r) {
              for (std::uint32_t c = 0; c < n; ++c) CHECK(std::abs(out.row(r)[c]) < 1e-37f);
            }
          },
          precision::fast);
    }
  }
}

TEST_CASE("kernels, fast: linear applies weights of all formats to one input, with any workers") {
  const std::uint32_t k = 1100;
  auto pool = ocellus::thread_pool::make(3);
  REQUIRE(pool);
  ocellus::host shared;
  shared.tasks = pool->hooks();
  for (std::uint32_t t : {1u, 14u, 70u}) {
    CAPTURE(t);
    const rows x = rows::random(t, k, 9);
    std::vector<packed_weight> weights;
    for (std::uint32_t i = 0; i < 5; ++i) {
      const std::uint32_t n = std::uint32_t{17} << i;
      weights.emplace_back(static_cast<weight_format>(i), n, k, random_values(std::size_t{n} * k, 10 + i));
    }
    for_each_target(
        [&](const ocellus::kernels& table) {
          std::vector<rows> together, alone;
          std::vector<ocellus::linear_output> outputs(5);
          for (std::size_t i = 0; i < 5; ++i) {
            outputs[i].weight = weights[i].matrix();
            together.emplace_back(t, outputs[i].weight.n);
            outputs[i].out = together[i].matrix();
          }
          const std::uint64_t values = std::uint64_t{t} * ocellus::round_up(k, 64u);
          kernel_run run(table, shared, values);
          table.linear(run.context, x.matrix(), outputs.data(), 5);
          for (std::size_t i = 0; i < 5; ++i) {
            alone.emplace_back(t, outputs[i].weight.n);
            outputs[i].out = alone[i].matrix();
            kernel_run single(table, {}, values);
            table.linear(single.context, x.matrix(), &outputs[i], 1);
            CHECK(together[i].tails_are_zero());
            CHECK(together[i].same_bits(alone[i]));
          }
        },
        precision::fast);
  }
}
