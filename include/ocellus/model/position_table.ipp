// torch.nn.functional.interpolate(mode="bicubic", align_corners=False), one axis.
#ifndef OCELLUS_MODEL_POSITION_TABLE_IPP
#define OCELLUS_MODEL_POSITION_TABLE_IPP

#include <algorithm>
#include <cmath>

#include "ocellus/model/position_table.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

inline constexpr float cubic_a = -0.75f;

/// Keys' kernel at a distance of at most 1.
[[nodiscard]] inline float cubic_inside(float x) noexcept {
  return ((cubic_a + 2.0f) * x - (cubic_a + 3.0f)) * x * x + 1.0f;
}
/// And at a distance of 1 to 2.
[[nodiscard]] inline float cubic_outside(float x) noexcept {
  return ((cubic_a * x - 5.0f * cubic_a) * x + 8.0f * cubic_a) * x - 4.0f * cubic_a;
}

}  // namespace detail

cubic_taps cubic_taps_at(std::uint32_t at, std::uint32_t from, std::uint32_t to) noexcept {
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  const float position = scale * (static_cast<float>(at) + 0.5f) - 0.5f;
  const float base = std::floor(position);
  const float t = position - base;
  cubic_taps taps{};
  for (int i = 0; i < 4; ++i) {
    const int index = static_cast<int>(base) - 1 + i;
    taps.index[i] = static_cast<std::uint32_t>((std::clamp)(index, 0, static_cast<int>(from) - 1));
  }
  taps.weight[0] = detail::cubic_outside(t + 1.0f);
  taps.weight[1] = detail::cubic_inside(t);
  taps.weight[2] = detail::cubic_inside(1.0f - t);
  taps.weight[3] = detail::cubic_outside(2.0f - t);
  return taps;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_POSITION_TABLE_IPP
