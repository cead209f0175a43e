// cubic_taps_at: the weights that torch's bicubic interpolation gives, measured by resizing unit vectors.
#include "ocellus/model/position_table.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace ocellus;

namespace {

/// One row of the resizing matrix: what each input contributes to output `at`.
std::vector<float> row(std::uint32_t at, std::uint32_t from, std::uint32_t to) {
  std::vector<float> weights(from, 0.0f);
  const cubic_taps taps = cubic_taps_at(at, from, to);
  for (int i = 0; i < 4; ++i) {
    REQUIRE(taps.index[i] < from);
    weights[taps.index[i]] += taps.weight[i];
  }
  return weights;
}

void check(std::uint32_t from, std::uint32_t to, const std::vector<std::vector<float>>& expected) {
  for (std::uint32_t at = 0; at < to; ++at) {
    const std::vector<float> got = row(at, from, to);
    for (std::uint32_t i = 0; i < from; ++i) CHECK(got[i] == doctest::Approx(expected[at][i]).epsilon(2e-6));
  }
}

}  // namespace

TEST_CASE("position table: weights are torch's") {
  // torch.nn.functional.interpolate(..., mode="bicubic", align_corners=False) of the rows of a unit matrix, PyTorch 2.
  check(2, 3, {{1.08680582f, -0.086805582f}, {0.5f, 0.5f}, {-0.0868053436f, 1.08680546f}});
  check(3, 5,
        {{1.09600008f, -0.0959999561f, 0},
         {0.611999691f, 0.460000038f, -0.0719997883f},
         {0, 1, 0},
         {-0.0719997883f, 0.4599998f, 0.612000108f},
         {0, -0.0959999561f, 1.09600019f}});
  check(5, 3,
        {{0.685185134f, 0.370370388f, -0.0555553436f, 0, 0},
         {0, 0, 1, 0, 0},
         {0, 0, -0.0555558205f, 0.370370567f, 0.685184956f}});
  check(1, 3, {{1}, {1}, {1}});
}

TEST_CASE("position table: the published step from 16 to 32 patches") {
  CHECK(row(0, 16, 32)[0] == 1.10546875f);
  CHECK(row(0, 16, 32)[1] == -0.10546875f);
  const std::vector<float> seventh = row(7, 16, 32);
  CHECK(seventh[2] == -0.10546875f);
  CHECK(seventh[3] == 0.87890625f);
  CHECK(seventh[4] == 0.26171875f);
  CHECK(seventh[5] == -0.03515625f);
}

TEST_CASE("position table: its own size is left as it is") {
  for (std::uint32_t n : {1u, 4u, 16u, 33u}) {
    for (std::uint32_t at = 0; at < n; ++at) {
      const std::vector<float> weights = row(at, n, n);
      for (std::uint32_t i = 0; i < n; ++i) CHECK(weights[i] == (i == at ? 1.0f : 0.0f));
    }
  }
}
