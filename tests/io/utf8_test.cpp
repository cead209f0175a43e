// Well-formed UTF-8, against a decoder written the slow way.
#include "ocellus/io/utf8.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace ocellus;

namespace {

// Decodes by the bit patterns, then refuses what the standard refuses.
std::size_t slow_sequence(const std::string& text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
  const std::size_t length = byte(0) < 0x80              ? 1
                             : (byte(0) >> 5) == 0b110   ? 2
                             : (byte(0) >> 4) == 0b1110  ? 3
                             : (byte(0) >> 3) == 0b11110 ? 4
                                                         : 0;
  if (length == 0 || text.size() < length) return 0;
  if (length == 1) return 1;
  unsigned long code = byte(0) & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) >> 6) != 0b10) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return 0;
  return length;
}

}  // namespace

TEST_CASE("utf8: every two bytes are judged as a slow decoder judges them") {
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      const std::string text{static_cast<char>(a), static_cast<char>(b)};
      if (utf8_sequence(text) != slow_sequence(text)) FAIL("bytes ", a, " ", b);
    }
  }
}

TEST_CASE("utf8: every lead byte with every second byte and border tails") {
  for (unsigned a = 0xc0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      for (unsigned c : {0x00u, 0x7fu, 0x80u, 0xbfu, 0xc0u}) {
        for (unsigned d : {0x7fu, 0x80u, 0xbfu, 0xc0u}) {
          const std::string text{static_cast<char>(a), static_cast<char>(b), static_cast<char>(c),
                                 static_cast<char>(d)};
          if (utf8_sequence(text) != slow_sequence(text)) FAIL("bytes ", a, " ", b, " ", c, " ", d);
          const std::string cut = text.substr(0, 3);
          if (utf8_sequence(cut) != slow_sequence(cut)) FAIL("bytes ", a, " ", b, " ", c);
        }
      }
    }
  }
}

TEST_CASE("utf8: every code point is written as it is read") {
  for (std::uint32_t code = 0; code <= 0x10ffff; ++code) {
    if (code == 0xd800) code = 0xe000;
    char bytes[4];
    const std::size_t size = encode_utf8(code, bytes);
    if (slow_sequence({bytes, size}) != size) FAIL("code point ", code);
  }
  CHECK(is_utf8(""));
  CHECK(is_utf8("gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x91\x8b"));
  CHECK(!is_utf8("gr\xc3\xbc\xc3"));
}
