// crc32: the checksum of zip archives (polynomial 0x04c11db7, reflected).
#ifndef OCELLUS_IO_CRC32_HPP
#define OCELLUS_IO_CRC32_HPP

#include <span>

#include "ocellus/config.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// The checksum of all bytes; pass what it returned for the bytes before to go on where they ended.
[[nodiscard]] std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_CRC32_HPP
