// Resizing of a ViT's position table to another grid of patches.
#ifndef OCELLUS_MODEL_POSITION_TABLE_HPP
#define OCELLUS_MODEL_POSITION_TABLE_HPP

#include "ocellus/config.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// The four taps of one output position along one axis: torch's bicubic with a = -0.75, half-pixel centres, no
/// antialiasing; taps beyond the edge repeat it. All in f32, as torch computes it.
struct cubic_taps {
  std::uint32_t index[4];
  float weight[4];
};

/// The taps of output position `at` of `to` positions, made from `from` positions.
[[nodiscard]] cubic_taps cubic_taps_at(std::uint32_t at, std::uint32_t from, std::uint32_t to) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_POSITION_TABLE_HPP
