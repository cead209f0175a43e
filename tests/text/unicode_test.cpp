// Character classes and UTF-8 steps.
#include "ocellus/text/unicode.hpp"

#include <doctest/doctest.h>

#include <string>

#include "ocellus/io/utf8.hpp"

using ocellus::char_class;
using ocellus::class_of;
using kind = ocellus::utf8_step::kind;

TEST_CASE("unicode: the tables are those of Unicode 16") {
  CHECK(std::string(ocellus::detail::unicode_version) == "16.0.0");
  // How many code points each class has, counted with another program (Python's unicodedata).
  std::size_t counts[4] = {};
  for (std::uint32_t c = 0; c <= 0x10ffff; ++c) ++counts[static_cast<int>(class_of(c))];
  CHECK(counts[static_cast<int>(char_class::letter)] == 141028);
  CHECK(counts[static_cast<int>(char_class::number)] == 1911);
  CHECK(counts[static_cast<int>(char_class::space)] == 25);
}

TEST_CASE("unicode: classes of chosen code points") {
  for (const std::uint32_t c :
       {0x41u, 0x7au, 0xaau, 0xdfu, 0x3b1u, 0x5d0u, 0x65e5u, 0xac00u, 0x1e900u, 0x20000u, 0x323afu}) {
    CHECK(class_of(c) == char_class::letter);
  }
  for (const std::uint32_t c : {0x30u, 0x39u, 0xb2u, 0xbdu, 0x664u, 0x2167u, 0x3007u, 0x1d7ffu}) {
    CHECK(class_of(c) == char_class::number);
  }
  for (const std::uint32_t c : {0x09u, 0x0au, 0x0bu, 0x0cu, 0x0du, 0x20u, 0x85u, 0xa0u, 0x1680u, 0x2003u,
                                0x2028u, 0x2029u, 0x202fu, 0x205fu, 0x3000u}) {
    CHECK(class_of(c) == char_class::space);
  }
  // Neither: controls, zero width space, byte order mark, combining marks, symbols, unassigned, surrogates, beyond.
  for (const std::uint32_t c : {0x00u, 0x1cu, 0x1fu, 0x27u, 0x7fu, 0x200bu, 0xfeffu, 0x301u, 0x1f600u, 0x378u,
                                0xd800u, 0xdfffu, 0x10ffffu, 0x110000u, 0xffffffffu}) {
    CHECK(class_of(c) == char_class::other);
  }
}

TEST_CASE("unicode: every code point is read back as it was written") {
  for (std::uint32_t c = 0; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    char bytes[4];
    const std::size_t n = ocellus::encode_utf8(c, bytes);
    const auto step = ocellus::read_utf8({bytes, n});
    REQUIRE(step.what == kind::code_point);
    REQUIRE(step.code_point == c);
    REQUIRE(step.length == n);
    for (std::size_t cut = 1; cut < n; ++cut) {
      const auto part = ocellus::read_utf8({bytes, cut});
      REQUIRE(part.what == kind::incomplete);
      REQUIRE(part.length == cut);
    }
  }
}

TEST_CASE("unicode: broken sequences end where WHATWG's decoder ends them") {
  const auto invalid = [](std::string_view bytes, std::size_t length) {
    const auto step = ocellus::read_utf8(bytes);
    CHECK(step.what == kind::invalid);
    CHECK(step.length == length);
  };
  invalid("\x80", 1);
  invalid("\xc0\x80", 1);
  invalid("\xc1\xbf", 1);
  invalid("\xc3\x28", 1);
  invalid("\xe0\x80\x80", 1);
  invalid("\xe2\x82\x28", 2);
  invalid("\xed\xa0\x80", 1);  // a surrogate
  invalid("\xf0\x80\x80\x80", 1);
  invalid("\xf0\x9f\x98\x28", 3);
  invalid("\xf4\x90\x80\x80", 1);  // above U+10FFFF
  invalid("\xf5\x80\x80\x80", 1);
  invalid("\xff", 1);
}

TEST_CASE("unicode: two readers agree on all sequences of three bytes") {
  for (unsigned a = 0x7f; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      for (const unsigned c : {0x00u, 0x7fu, 0x80u, 0x8fu, 0x90u, 0x9fu, 0xa0u, 0xbfu, 0xc0u, 0xffu}) {
        const char bytes[] = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c)};
        const std::string_view text(bytes, 3);
        const auto step = ocellus::read_utf8(text);
        const std::size_t length = ocellus::utf8_sequence(text);
        REQUIRE((step.what == kind::code_point) == (length != 0));
        if (length != 0) REQUIRE(step.length == length);
      }
    }
  }
}
