// linear() of every target against the scalar reference.
#include <doctest/doctest.h>

#include "support/kernel_fixtures.hpp"

using namespace ocellus_tests;
using ocellus::activation;
using ocellus::weight_format;

namespace {

struct test_case {
  std::uint32_t t, n, k;
  bool bias, residual;
  activation act = activation::none;
  std::size_t misalign = 0;
};

/// A sum of K products in f32 is off by at most about sqrt(K) roundings of its largest partial sum, for which the sum of
/// magnitudes stands here; activations have slopes below 1.13.
void check(weight_format format, const test_case& c) {
  CAPTURE(std::string(name_of(format)));
  CAPTURE(c.t);
  CAPTURE(c.n);
  CAPTURE(c.k);
  CAPTURE(static_cast<int>(c.act));
  const packed_weight w(format, c.n, c.k, random_values(std::size_t{c.n} * c.k, 1, 1 / std::sqrt(float(c.k))),
                        c.misalign);
  const rows x = rows::random(c.t, c.k, 2, 64);
  const rows bias = rows::random(1, c.n, 3), residual = rows::random(c.t, c.n, 4);
  ocellus::linear_output output;
  output.weight = w.matrix();
  if (c.bias) output.bias = bias.matrix();
  if (c.residual) output.residual = residual.matrix();
  output.act = c.act;

  rows expected(c.t, c.n);
  output.out = expected.matrix();
  kernel_run reference(ocellus::reference_kernels());
  ocellus::reference_kernels().linear(reference.context, x.matrix(), &output, 1);
  REQUIRE(expected.tails_are_zero());

  for_each_target([&](const ocellus::kernels& table) {
    rows out(c.t, c.n, 128);
    output.out = out.matrix();
    kernel_run run(table);
    table.linear(run.context, x.matrix(), &output, 1);
    CHECK(!run.context.failed());
    CHECK(out.tails_are_zero());
    const double worst = worst_ratio(out, expected, [&](std::uint32_t r, std::uint32_t n) {
      double magnitude = 0;
      for (std::uint32_t k = 0; k < c.k; ++k)
        magnitude += std::abs(static_cast<double>(x.row(r)[k]) * w.at(n, k));
      if (c.bias) magnitude += std::abs(static_cast<double>(bias.row(0)[n]));
      if (c.residual) magnitude += std::abs(static_cast<double>(residual.row(r)[n]));
      return f32_ulp * (4 + 0.25 * std::sqrt(c.k)) * magnitude;
    });
    CHECK(worst <= 1.0);
  });
}

void check_formats(const test_case& c) {
  for (weight_format format : ocellus::weight_formats) check(format, c);
}

}  // namespace

TEST_CASE("kernels: linear of one row is exact at every awkward size") {
  for (std::uint32_t n : {1u, 15u, 16u, 17u, 63u, 64u, 65u}) check_formats({1, n, 64, true, true});
  for (std::uint32_t k : {1u, 2u, 63u, 65u, 129u, 256u, 257u, 320u}) check_formats({1, 20, k, true, false});
  check_formats({1, 16, 300, false, false});
  check_formats({1, 48, 88, true, true, activation::none, 1});
}

TEST_CASE("kernels: linear of many rows is exact at every awkward size") {
  for (std::uint32_t t : {2u, 3u, 4u, 5u, 6u, 7u, 11u, 12u, 13u, 25u}) check_formats({t, 33, 70, true, true});
  for (std::uint32_t n : {1u, 15u, 16u, 17u, 31u, 32u, 47u, 48u, 49u, 63u, 64u, 65u, 130u}) {
    check_formats({7, n, 66, true, true});
  }
  for (std::uint32_t k : {1u, 2u, 63u, 65u, 257u, 513u}) check_formats({5, 40, k, false, true});
  check_formats({13, 80, 100, true, true, activation::none, 1});
}

TEST_CASE("kernels: linear takes the model's real widths") {
  for (std::uint32_t k : {88u, 160u, 176u, 768u, 1408u, 2560u, 6144u}) {
    check(weight_format::f32, {3, 17, k, true, false});
    check(weight_format::bf16, {3, 17, k, true, false});
    check(weight_format::f16, {1, 17, k, true, false});
    check(weight_format::bf16, {1, 17, k, true, false});
    for (weight_format format : {weight_format::q8, weight_format::q4}) {
      check(format, {3, 17, k, true, false});
      check(format, {1, 17, k, true, false});
    }
  }
  check(weight_format::bf16, {1, 768, 176, true, true, activation::gelu});
  check(weight_format::f32, {300, 16, 64, true, true, activation::gelu});  // more rows than one task takes
}

TEST_CASE("kernels: linear applies its activation before the residual") {
  for (activation act : {activation::none, activation::gelu, activation::gelu_tanh}) {
    check(weight_format::f32, {1, 50, 64, true, true, act});
    check(weight_format::bf16, {9, 50, 64, true, true, act});
    check(weight_format::f16, {9, 50, 64, false, false, act});
  }
}

TEST_CASE("kernels: linear applies several weights of different formats and sizes to one input") {
  const std::uint32_t k = 100;
  for (std::uint32_t t : {1u, 14u}) {
    CAPTURE(t);
    const rows x = rows::random(t, k, 9);
    std::vector<packed_weight> weights;
    for (std::uint32_t i = 0; i < 5; ++i) {
      const std::uint32_t n = std::uint32_t{17} << i;
      weights.emplace_back(static_cast<weight_format>(i), n, k, random_values(std::size_t{n} * k, 10 + i));
    }
    for_each_target([&](const ocellus::kernels& table) {
      kernel_run run(table);
      std::vector<rows> together, alone;
      std::vector<ocellus::linear_output> outputs(5);
      for (std::size_t i = 0; i < 5; ++i) {
        outputs[i].weight = weights[i].matrix();
        together.emplace_back(t, outputs[i].weight.n);
        outputs[i].out = together[i].matrix();
      }
      table.linear(run.context, x.matrix(), outputs.data(), 5);
      for (std::size_t i = 0; i < 5; ++i) {
        alone.emplace_back(t, outputs[i].weight.n);
        outputs[i].out = alone[i].matrix();
        table.linear(run.context, x.matrix(), &outputs[i], 1);
        CHECK(together[i].tails_are_zero());
        CHECK(together[i].same_bits(alone[i]));
      }
    });
  }
}

TEST_CASE("kernels: linear of no rows does nothing") {
  const packed_weight w(weight_format::f32, 16, 64, std::vector<float>(16 * 64));
  for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
    ocellus::linear_output output;
    output.weight = w.matrix();
    kernel_run run(*table);
    table->linear(run.context, ocellus::matrix{}, &output, 1);
    CHECK(!run.context.failed());
  }
}

TEST_CASE("kernels: linear carries NaN and infinity to the outputs that they belong to, and to no other") {
  const std::uint32_t n = 20, k = 70;
  const packed_weight w(weight_format::f32, n, k, random_values(n * k, 20));
  for (std::uint32_t t : {1u, 8u}) {
    rows x = rows::random(t, k, 21);
    x.row(t - 1)[k - 1] = poison;
    for_each_target([&](const ocellus::kernels& table) {
      rows out(t, n);
      ocellus::linear_output output;
      output.weight = w.matrix();
      output.out = out.matrix();
      kernel_run run(table);
      table.linear(run.context, x.matrix(), &output, 1);
      for (std::uint32_t r = 0; r < t; ++r) {
        for (std::uint32_t c = 0; c < n; ++c) CHECK(std::isnan(out.row(r)[c]) == (r + 1 == t));
      }
      CHECK(out.tails_are_zero());
    });
  }
}

TEST_CASE("kernels: both GELUs are good to a few units in the last place, far into their tails") {
  // One input column with weight 1 turns linear() into the activation alone.
  const std::uint32_t t = 4001;
  std::vector<float> values(t);
  for (std::uint32_t i = 0; i < t; ++i) values[i] = (static_cast<float>(i) - 2000.0f) / 2000.0f * 12.0f;
  const rows x = rows::of(t, 1, values);
  const packed_weight one(weight_format::f32, 1, 1, {1.0f});
  for (activation act : {activation::gelu, activation::gelu_tanh}) {
    CAPTURE(static_cast<int>(act));
    for_each_target([&](const ocellus::kernels& table) {
      rows out(t, 1);
      ocellus::linear_output output;
      output.weight = one.matrix();
      output.act = act;
      output.out = out.matrix();
      kernel_run run(table);
      table.linear(run.context, x.matrix(), &output, 1);
      double worst = 0;
      for (std::uint32_t i = 0; i < t; ++i) {
        const double v = static_cast<double>(values[i]);
        double right = v / 2 * std::erfc(-v / std::sqrt(2.0));
        // e^y is as wrong as y, which is known to half a unit of its size: v^2 / 2, or 2 u of tanh(u).
        double exponent = v * v / 2;
        if (act == activation::gelu_tanh) {
          exponent = std::abs(2 * std::sqrt(2 / 3.14159265358979323846) * (v + 0.044715 * v * v * v));
          right =
              v >= 0 ? v / (1 + std::exp(-exponent)) : v * std::exp(-exponent) / (1 + std::exp(-exponent));
        }
        const double off = std::abs(static_cast<double>(out.row(i)[0]) - right);
        worst =
            (std::max)(worst, off / (f32_ulp * (4 + (v < 0 ? 2 * exponent : 0)) * std::abs(right) + 1e-36));
      }
      CHECK(worst <= 1.0);
    });
  }
}
