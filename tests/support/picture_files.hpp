// PNG files made in memory for tests, right ones and wrong ones. Stored (not compressed) data, so that a test sees
// what it writes.
#ifndef OCELLUS_TESTS_SUPPORT_PICTURE_FILES_HPP
#define OCELLUS_TESTS_SUPPORT_PICTURE_FILES_HPP

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ocellus_tests {

inline std::span<const std::byte> as_file(const std::string& bytes) {
  return std::as_bytes(std::span<const char>(bytes.data(), bytes.size()));
}

inline std::string big_endian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

inline std::uint32_t crc32(std::string_view bytes) {
  std::uint32_t crc = 0xffffffff;
  for (char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1)));
  }
  return ~crc;
}

inline std::string png_chunk(const std::string& type, const std::string& payload) {
  return big_endian(static_cast<std::uint32_t>(payload.size())) + type + payload +
         big_endian(crc32(type + payload));
}

/// A zlib stream of stored blocks.
inline std::string zlib_stored(std::string_view bytes) {
  std::string to = "\x78\x01";
  std::uint32_t a = 1, b = 0;
  for (char c : bytes) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  do {
    const std::size_t n = bytes.size() < 65535 ? bytes.size() : 65535;
    to += static_cast<char>(n == bytes.size() ? 1 : 0);
    to += static_cast<char>(n & 255);
    to += static_cast<char>(n >> 8);
    to += static_cast<char>(~n & 255);
    to += static_cast<char>(~n >> 8 & 255);
    to += bytes.substr(0, n);
    bytes.remove_prefix(n);
  } while (!bytes.empty());
  return to + big_endian(b << 16 | a);
}

/// A zlib stream of so many zeros: dynamic-free deflate of runs of 258, one bit a code and a run.
inline std::string zlib_zeros(std::size_t count) {
  std::string bits = "\x78\x01";
  std::uint32_t hold = 0;
  int held = 0;
  const auto put = [&](std::uint32_t value, int length) {
    hold |= value << held;
    held += length;
    while (held >= 8) {
      bits += static_cast<char>(hold & 255);
      hold >>= 8;
      held -= 8;
    }
  };
  put(1, 1);     // last block
  put(1, 2);     // fixed codes
  put(0x0c, 8);  // literal 0: 00110000, first bit first
  for (std::size_t i = 1; i + 258 <= count; i += 258) {
    put(0xa3, 8);  // length 258: 11000101
    put(0, 5);     // distance 1
  }
  put(0, 7);  // end of block
  put(0, 16);
  return bits + std::string(4, '\0');  // a wrong checksum, which nobody looks at
}

struct png_parts {
  std::uint32_t width = 1, height = 1;
  int bits = 8, color = 2, compression = 0, filter = 0, interlace = 0;
  std::string before_data;  ///< whole chunks
  std::string rows;         ///< each with its filter byte; or
  std::string stream;       ///< the IDAT payload as it stands
};

inline const std::string png_signature("\x89PNG\r\n\x1a\n", 8);

inline std::string png_ihdr(const png_parts& p) {
  std::string payload = big_endian(p.width) + big_endian(p.height);
  for (int byte : {p.bits, p.color, p.compression, p.filter, p.interlace}) payload += static_cast<char>(byte);
  return png_chunk("IHDR", payload);
}

inline std::string png(const png_parts& p) {
  return png_signature + png_ihdr(p) + p.before_data +
         png_chunk("IDAT", p.stream.empty() ? zlib_stored(p.rows) : p.stream) + png_chunk("IEND", "");
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_PICTURE_FILES_HPP
