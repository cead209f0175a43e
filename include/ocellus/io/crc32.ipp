// crc32, eight bytes a step: one table for each position of a byte within the step.
#ifndef OCELLUS_IO_CRC32_IPP
#define OCELLUS_IO_CRC32_IPP

#include <cstring>

#include "ocellus/io/crc32.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

struct crc32_tables {
  /// of[d][b]: what byte b does to the checksum when d bytes of the step follow it.
  std::uint32_t of[8][256];
};

consteval crc32_tables make_crc32_tables() noexcept {
  crc32_tables t{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t r = b;
    for (int bit = 0; bit < 8; ++bit) r = (r >> 1) ^ ((r & 1) != 0 ? 0xedb88320u : 0u);
    t.of[0][b] = r;
  }
  for (std::size_t d = 1; d < 8; ++d) {
    for (std::size_t b = 0; b < 256; ++b) t.of[d][b] = (t.of[d - 1][b] >> 8) ^ t.of[0][t.of[d - 1][b] & 255];
  }
  return t;
}

inline constexpr crc32_tables crc32_table = make_crc32_tables();

}  // namespace detail

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before) noexcept {
  const auto& of = detail::crc32_table.of;
  std::uint32_t r = ~before;
  while (bytes.size() >= 8) {
    std::uint32_t low = 0, high = 0;
    std::memcpy(&low, bytes.data(), 4);
    std::memcpy(&high, bytes.data() + 4, 4);
    low ^= r;
    r = of[7][low & 255] ^ of[6][low >> 8 & 255] ^ of[5][low >> 16 & 255] ^ of[4][low >> 24] ^
        of[3][high & 255] ^ of[2][high >> 8 & 255] ^ of[1][high >> 16 & 255] ^ of[0][high >> 24];
    bytes = bytes.subspan(8);
  }
  for (std::byte b : bytes) r = (r >> 8) ^ of[0][(r ^ static_cast<std::uint32_t>(b)) & 255];
  return ~r;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_CRC32_IPP
