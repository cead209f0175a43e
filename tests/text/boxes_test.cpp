// Boxes in answers: well-formed ones are read, broken ones passed over.
#include "ocellus/text/boxes.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "support/counting_memory.hpp"

namespace {

using ocellus::answer_box;
using boxes = std::vector<answer_box>;

boxes parsed(std::string_view answer) {
  ocellus::array<answer_box> out;
  REQUIRE(ocellus::parse_boxes(answer, out));
  return {out.begin(), out.end()};
}

}  // namespace

TEST_CASE("boxes: with and without phrases") {
  CHECK(parsed("{<12><34><56><78>}") == boxes{{"", 12, 34, 56, 78, true}});
  CHECK(parsed("<p>a red car</p> {<0><0><100><100>}") == boxes{{"a red car", 0, 0, 100, 100, true}});
  CHECK(parsed("<p>cats</p> {<1><2><3><4>}<delim>{<5><6><7><8>} on <p>a mat</p> {<9><10><11><12>}") ==
        boxes{{"cats", 1, 2, 3, 4, true}, {"cats", 5, 6, 7, 8, true}, {"a mat", 9, 10, 11, 12, true}});
  CHECK(parsed("<p>cat</p> {<1><2><3><4>} and {<5><6><7><8>}") ==
        boxes{{"cat", 1, 2, 3, 4, true}, {"", 5, 6, 7, 8, true}});
  CHECK(parsed("<p></p>{<1><2><3><4>}") == boxes{{"", 1, 2, 3, 4, true}});
  CHECK(parsed("no boxes here, 5 < 6").empty());
  CHECK(parsed("").empty());
  const std::string answer = "look: <p>dog</p>{<1><1><2><2>}";
  const boxes found = parsed(answer);
  REQUIRE(found.size() == 1);
  CHECK(found[0].phrase.data() == answer.data() + 9);  // a part of the answer
}

TEST_CASE("boxes: numbers out of range or in the wrong order are marked") {
  CHECK(parsed("{<0><0><101><5>}") == boxes{{"", 0, 0, 101, 5, false}});
  CHECK(parsed("{<9><0><5><5>}") == boxes{{"", 9, 0, 5, 5, false}});
  CHECK(parsed("{<0><9><5><5>}") == boxes{{"", 0, 9, 5, 5, false}});
  CHECK(parsed("{<5><5><5><5>}") == boxes{{"", 5, 5, 5, 5, true}});
  CHECK(parsed("{<999999999><0><0><0>}") == boxes{{"", 999999999, 0, 0, 0, false}});
  CHECK(parsed("{<4294967297><0><0><0>}").empty());  // too many digits to be meant
  CHECK(parsed("{<007><1><8><9>}") == boxes{{"", 7, 1, 8, 9, true}});
}

TEST_CASE("boxes: what a weak model writes is passed over or forgiven") {
  CHECK(parsed("{<1><2><3>} {<1><2><3><4>").size() == 1);  // the second lacks its brace
  CHECK(parsed("<1><2><3><4>") == boxes{{"", 1, 2, 3, 4, true}});
  CHECK(parsed("{ <1> <2> <3> <4> }") == boxes{{"", 1, 2, 3, 4, true}});
  CHECK(parsed("{<1><2><3><4><5>}").size() == 1);
  CHECK(parsed("{<-1><2><3><4>}").empty());
  CHECK(parsed("{<1.5><2><3><4>}").empty());
  CHECK(parsed("{<a><b><c><d>}").empty());
  CHECK(parsed("{<><><><>}").empty());
  CHECK(parsed("{{{<1><2><3><4>}}}").size() == 1);
  CHECK(parsed("<p>open {<1><2><3><4>}") == boxes{{"", 1, 2, 3, 4, true}});
  CHECK(parsed("<p>one<p>two</p>{<1><2><3><4>}") == boxes{{"two", 1, 2, 3, 4, true}});
  CHECK(parsed("one</p>{<1><2><3><4>}") == boxes{{"", 1, 2, 3, 4, true}});
  CHECK(parsed("<p>a{<1><2><3><4>}</p>{<5><6><7><8>}") ==
        boxes{{"", 1, 2, 3, 4, true}, {"", 5, 6, 7, 8, true}});
  CHECK(parsed("<delim><delim>{<1><2><3><4>}<delim>").size() == 1);
  // No quadratic time, no recursion.
  for (const std::string unit : {"<p>", "{", "{<1>", "<1> ", " ", "{ ", "<p>x</p>", "<delim>"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    CHECK(parsed(text).size() <= text.size() / 16);
  }
}

TEST_CASE("boxes: random bytes never fail") {
  std::mt19937 random(6);
  const std::string alphabet = "<>{}p/0123456789 delim\xff";
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (std::size_t n = random() % 80; n != 0; --n) text += alphabet[random() % alphabet.size()];
    for (const answer_box& box : parsed(text)) {
      CHECK((box.phrase.empty() || (box.phrase.data() >= text.data() &&
                                    box.phrase.data() + box.phrase.size() <= text.data() + text.size())));
    }
  }
}

TEST_CASE("boxes: written as [identify] wants them, and read back") {
  const auto written = [](const answer_box& box) {
    ocellus::text out;
    REQUIRE(ocellus::append_box(box, out));
    return std::string(out.view());
  };
  CHECK(written({"", 12, 34, 56, 78, true}) == "{<12><34><56><78>}");
  CHECK(written({"", 100, 100, 100, 100, true}) == "{<100><100><100><100>}");
  CHECK(parsed(written({"", 0, 7, 99, 100, true})) == boxes{{"", 0, 7, 99, 100, true}});
  ocellus::text out;
  for (const answer_box& bad :
       boxes{{"", 0, 0, 101, 0, true}, {"", 5, 0, 4, 0, true}, {"", 0, 0xffffffff, 1, 1, true}}) {
    CHECK(ocellus::append_box(bad, out).error().code() == ocellus::error_code::invalid_argument);
  }
  CHECK(out.empty());
}

TEST_CASE("boxes: out of memory is an error and the output stays as it was") {
  ocellus_tests::fail_every_allocation([](const ocellus::memory_hooks& memory) -> ocellus::result<void> {
    ocellus::array<answer_box> out(memory);
    std::string answer;
    for (int i = 0; i < 40; ++i) answer += "{<1><2><3><4>}";
    auto done = ocellus::parse_boxes(answer, out);
    CHECK(out.size() == (done ? 40 : 0));
    if (!done) return done.error();
    ocellus::text text(memory);
    return ocellus::append_box(out[0], text);
  });
}
