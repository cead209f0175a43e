// Bounded big- and little-endian reading of picture files, and the orientation from EXIF data.
#ifndef OCELLUS_IMAGE_EXIF_IPP
#define OCELLUS_IMAGE_EXIF_IPP

#include "ocellus/image/header.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

/// The bytes of a picture file with an end that no read goes beyond: missing bytes read as 0.
struct picture_bytes {
  std::span<const std::byte> bytes;

  [[nodiscard]] std::size_t size() const noexcept { return bytes.size(); }
  [[nodiscard]] std::uint32_t u8(std::size_t at) const noexcept {
    return at < bytes.size() ? static_cast<std::uint32_t>(bytes[at]) : 0;
  }
  [[nodiscard]] std::uint32_t u16(std::size_t at) const noexcept { return u8(at) << 8 | u8(at + 1); }
  [[nodiscard]] std::uint32_t u32(std::size_t at) const noexcept { return u16(at) << 16 | u16(at + 2); }
  [[nodiscard]] std::uint32_t u16_little(std::size_t at) const noexcept { return u8(at + 1) << 8 | u8(at); }
  [[nodiscard]] std::uint32_t u32_little(std::size_t at) const noexcept {
    return u16_little(at + 2) << 16 | u16_little(at);
  }
};

/// The orientation tag of the first directory of a TIFF structure; 1 when there is none or it makes no sense.
std::uint8_t read_exif_orientation(std::span<const std::byte> tiff) noexcept {
  constexpr std::uint32_t orientation_tag = 0x0112, type_short = 3;
  const picture_bytes in{tiff};
  const bool little = in.u16(0) == 0x4949;
  if (!little && in.u16(0) != 0x4d4d) return 1;
  const auto u16 = [&](std::size_t at) { return little ? in.u16_little(at) : in.u16(at); };
  const auto u32 = [&](std::size_t at) { return little ? in.u32_little(at) : in.u32(at); };
  if (u16(2) != 42) return 1;
  const std::size_t directory = u32(4);
  if (directory >= in.size()) return 1;
  const std::uint32_t entries = u16(directory);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + std::size_t{i} * 12;
    if (entry + 12 > in.size()) return 1;
    if (u16(entry) != orientation_tag) continue;
    const std::uint32_t value = u16(entry + 8);
    const bool valid = u16(entry + 2) == type_short && u32(entry + 4) == 1 && value >= 1 && value <= 8;
    return valid ? static_cast<std::uint8_t>(value) : std::uint8_t{1};
  }
  return 1;
}

}  // namespace detail

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_EXIF_IPP
