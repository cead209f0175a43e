// Streaming bytes to text: the same result wherever the bytes are cut, and never a broken code point.
#include "ocellus/text/stream_decoder.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "ocellus/io/utf8.hpp"
#include "support/counting_memory.hpp"

namespace {

// The text of bytes that come in chunks of at most `chunk` bytes.
std::string decoded(std::string_view bytes, std::size_t chunk) {
  ocellus::stream_decoder decoder;
  ocellus::text out;
  for (std::size_t at = 0; at < bytes.size(); at += chunk) {
    REQUIRE(decoder.push(bytes.substr(at, chunk), out));
    if (bytes.size() < 100) REQUIRE(ocellus::is_utf8(out.view()));
    REQUIRE(decoder.held() <= 3);
  }
  REQUIRE(decoder.finish(out));
  CHECK(decoder.held() == 0);
  return std::string(out.view());
}

}  // namespace

TEST_CASE("stream decoder: code points come whole, at once when they are complete") {
  ocellus::stream_decoder decoder;
  ocellus::text out;
  for (const char* byte : {"a", "\xf0", "\x9f", "\x98"}) REQUIRE(decoder.push(byte, out));
  CHECK(out.view() == "a");
  CHECK(decoder.held() == 3);
  REQUIRE(decoder.push("\x80z\xe2\x82", out));
  CHECK(out.view() == "a\U0001f600z");
  REQUIRE(decoder.push("\xac", out));
  CHECK(out.view() == "a\U0001f600z\u20ac");
  CHECK(decoder.held() == 0);
}

TEST_CASE("stream decoder: bytes that become no code point are replaced as WHATWG does") {
  const auto check = [](std::string_view bytes, std::string_view text) {
    for (std::size_t chunk = 1; chunk <= bytes.size(); ++chunk) CHECK(decoded(bytes, chunk) == text);
  };
  check("\x80", "\ufffd");
  check("\xc3(", "\ufffd(");
  check("\xe2\x82(", "\ufffd(");
  check("\xe2\x82", "\ufffd");  // only the end shows that it is broken
  check("\xf0\x9f\x98", "\ufffd");
  check("\xf0\x9f\xf0\x9f\x98\x80", "\ufffd\U0001f600");
  check("\xe2\xe2\x82\xac", "\ufffd\u20ac");
  check("\xc0\x80", "\ufffd\ufffd");
  check("\xed\xa0\x80", "\ufffd\ufffd\ufffd");
  check("\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd");
  check("\xff\xfe", "\ufffd\ufffd");
  check(std::string_view("a\0b", 3), std::string_view("a\0b", 3));
  // The example of the Unicode Standard, table 3-11.
  check("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", "\ufffd\ufffd\ufffd\ufffd\x41");
}

TEST_CASE("stream decoder: the outcome does not depend on the cuts") {
  std::mt19937 random(2);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (std::size_t n = random() % 40; n != 0; --n) {
      const unsigned lead[] = {0x41, 0x80, 0xbf, 0xc3, 0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0xff, 0x9f, 0xa0};
      bytes += static_cast<char>(lead[random() % 12]);
    }
    const std::string whole = decoded(bytes, bytes.size() + 1);
    CHECK(ocellus::is_utf8(whole));
    for (const std::size_t chunk : {1u, 2u, 3u, 7u}) REQUIRE(decoded(bytes, chunk) == whole);
  }
}

TEST_CASE("stream decoder: well-formed text passes unchanged") {
  std::string text;
  for (std::uint32_t c = 0; c <= 0x10ffff; c += 37) {
    if (c >= 0xd800 && c < 0xe000) continue;
    char bytes[4];
    text.append(bytes, ocellus::encode_utf8(c, bytes));
  }
  CHECK(decoded(text, 1) == text);
  CHECK(decoded(text, text.size()) == text);
}

TEST_CASE("stream decoder: out of memory changes nothing") {
  ocellus_tests::fail_every_allocation([](const ocellus::memory_hooks& memory) -> ocellus::result<void> {
    ocellus::stream_decoder decoder;
    ocellus::text out(memory);
    for (const std::string_view chunk : {"abc\xe2", "\x82",
                                         "\xac\xff"
                                         "abcdefghijklmnopqrstuvwxyz\xf0"}) {
      const std::size_t size = out.size(), held = decoder.held();
      const auto done = decoder.push(chunk, out);
      if (done) continue;
      CHECK(out.size() == size);
      CHECK(decoder.held() == held);
      return done.error();
    }
    return decoder.finish(out);
  });
}
