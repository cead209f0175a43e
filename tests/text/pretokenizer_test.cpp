// The word pattern, against pieces written down by hand and against a slow reading of the pattern.
#include "ocellus/text/pretokenizer.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

namespace {

std::vector<std::string> pieces_of(std::string_view text) {
  std::vector<std::string> pieces;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = ocellus::piece_end(text, at);
    REQUIRE(end > at);
    REQUIRE(end <= text.size());
    pieces.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return pieces;
}

using list = std::vector<std::string>;

// The pattern, alternative by alternative, on characters that are one byte each.
std::size_t slow_piece_end(const std::string& s, std::size_t at) {
  const auto is = [&](std::size_t i, ocellus::char_class what) {
    return i < s.size() && ocellus::class_of(static_cast<unsigned char>(s[i])) == what;
  };
  for (const std::string word : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (s.compare(at, word.size(), word) == 0) return at + word.size();
  }
  using ocellus::char_class;
  for (const auto what : {char_class::letter, char_class::number, char_class::other}) {
    for (const std::size_t skip : {1u, 0u}) {  // " ?" is greedy
      if (skip == 1 && s[at] != ' ') continue;
      std::size_t end = at + skip;
      while (is(end, what)) ++end;
      if (end > at + skip) return end;
    }
  }
  std::size_t end = at;
  while (is(end, char_class::space)) ++end;
  for (std::size_t shorter = end; shorter > at;
       --shorter) {  // \s+(?!\S) gives back until nothing but space follows
    if (shorter == s.size() || is(shorter, char_class::space)) return shorter;
  }
  return end;
}

}  // namespace

TEST_CASE("pretokenizer: words take one space, contractions stand alone") {
  CHECK(pieces_of("Hello world") == list{"Hello", " world"});
  CHECK(pieces_of("I'm what they've said, isn't it?") ==
        list{"I", "'m", " what", " they", "'ve", " said", ",", " isn", "'t", " it", "?"});
  CHECK(pieces_of("we'll'd's're") == list{"we", "'ll", "'d", "'s", "'re"});
  CHECK(pieces_of("'sword 'sword") == list{"'s", "word", " '", "sword"});
  CHECK(pieces_of("IT'S 'l 'v '") == list{"IT", "'", "S", " '", "l", " '", "v", " '"});
  CHECK(pieces_of("!'s") == list{"!'", "s"});
}

TEST_CASE("pretokenizer: numbers, letters and the rest part") {
  CHECK(pieces_of("abc123!?x 4.5") == list{"abc", "123", "!?", "x", " 4", ".", "5"});
  CHECK(pieces_of("{<12><3>}") == list{"{<", "12", "><", "3", ">}"});
  CHECK(pieces_of("na\u00efve \u65e5\u672c\u8a9e2") == list{"na\u00efve", " \u65e5\u672c\u8a9e", "2"});
  CHECK(pieces_of("e\u0301a") == list{"e", "\u0301", "a"});
  CHECK(pieces_of("\u0664\u00bd\u2167") == list{"\u0664\u00bd\u2167"});
}

TEST_CASE("pretokenizer: white space leaves its last character to what follows") {
  CHECK(pieces_of("a   b") == list{"a", "  ", " b"});
  CHECK(pieces_of("a   ") == list{"a", "   "});
  CHECK(pieces_of("a\n\nb") == list{"a", "\n", "\n", "b"});
  CHECK(pieces_of("a \n b") == list{"a", " \n", " b"});
  CHECK(pieces_of("a\tb") == list{"a", "\t", "b"});
  CHECK(pieces_of("a\u3000 b") == list{"a", "\u3000", " b"});
  CHECK(pieces_of("a \u3000b") == list{"a", " ", "\u3000", "b"});
  CHECK(pieces_of(" ") == list{" "});
  CHECK(pieces_of("").empty());
}

TEST_CASE("pretokenizer: bytes that are no UTF-8 are neither letters nor space") {
  CHECK(pieces_of("a\xff\xfe b") == list{"a", "\xff\xfe", " b"});
  CHECK(pieces_of("a\xe2\x82z") == list{"a", "\xe2\x82", "z"});
  CHECK(pieces_of(" \xc3") == list{" \xc3"});
  CHECK(pieces_of(std::string_view("a\0b", 3)) == list{"a", std::string(1, '\0'), "b"});
}

TEST_CASE("pretokenizer: the same pieces as the pattern read slowly") {
  std::mt19937 random(1);
  const std::string alphabet = "  \n\t'''stremvldSab12!.";
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (std::size_t n = random() % 24; n != 0; --n) text += alphabet[random() % alphabet.size()];
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = ocellus::piece_end(text, at);
      REQUIRE_MESSAGE(end == slow_piece_end(text, at), text, " at ", at);
      at = end;
    }
  }
}
