// Stop strings: found wherever the text is cut, and nothing of them is ever released.
#include "ocellus/text/stop_matcher.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "support/counting_memory.hpp"

namespace {

using strings = std::vector<std::string_view>;

struct outcome {
  std::string text;
  bool stopped;
  friend bool operator==(const outcome&, const outcome&) = default;
};

outcome run(const strings& stops, std::string_view text, std::size_t chunk) {
  auto matcher = ocellus::stop_matcher::make(stops);
  REQUIRE(matcher);
  ocellus::text out;
  for (std::size_t at = 0; at < text.size(); at += chunk) {
    const auto stopped = matcher->push(text.substr(at, chunk), out);
    REQUIRE(stopped);
    CHECK(*stopped == matcher->stopped());
  }
  const bool stopped = matcher->stopped();
  REQUIRE(matcher->finish(out));
  return {std::string(out.view()), stopped};
}

// The definition: the shortest beginning of the text that ends in a stop string, without the longest of those.
outcome run_slowly(const strings& stops, std::string_view text) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string_view stop : stops) {
      if (text.substr(0, end).ends_with(stop)) longest = stop.size() > longest ? stop.size() : longest;
    }
    if (longest != 0) return {std::string(text.substr(0, end - longest)), true};
  }
  return {std::string(text), false};
}

void check_all_cuts(const strings& stops, std::string_view text, std::string_view expected, bool stopped) {
  for (std::size_t chunk = 1; chunk <= text.size(); ++chunk) {
    CHECK(run(stops, text, chunk) == outcome{std::string(expected), stopped});
  }
}

}  // namespace

TEST_CASE("stop matcher: a stop string is found wherever the text is cut") {
  check_all_cuts({"###"}, "a red square###Human: more", "a red square", true);
  check_all_cuts({"###"}, "a ## b # c", "a ## b # c", false);
  check_all_cuts({"###"}, "#####", "", true);
  check_all_cuts({"###"}, "a##", "a##", false);
  check_all_cuts({"\n"}, "one\ntwo", "one", true);
  check_all_cuts({"aab"}, "aaaab!", "aa", true);
  check_all_cuts({"abab", "ac"}, "ababx", "", true);
  check_all_cuts({"abcd", "bc"}, "xabcd", "xa", true);  // the one that is complete first
  check_all_cuts({"b", "ab"}, "xab", "x", true);        // of two complete at once the longest
  check_all_cuts({"ab", "b"}, "xab", "x", true);
  check_all_cuts({}, "anything", "anything", false);
  check_all_cuts({"\xe2\x82\xac"}, "5 \xe2\x82\xac", "5 ", true);
}

TEST_CASE("stop matcher: text is released as soon as it is certain, and not before") {
  auto matcher = ocellus::stop_matcher::make(strings{"###", "<end>"});
  REQUIRE(matcher);
  ocellus::text out;
  const auto push = [&](std::string_view chunk) {
    const auto stopped = matcher->push(chunk, out);
    REQUIRE(stopped);
    return *stopped;
  };
  CHECK_FALSE(push("ab#"));
  CHECK(out.view() == "ab");
  CHECK(matcher->held() == 1);
  CHECK_FALSE(push("#<e"));
  CHECK(out.view() == "ab##");
  CHECK(matcher->held() == 2);
  CHECK(push("nd>tail"));
  CHECK(out.view() == "ab##");
  CHECK(push("more"));
  CHECK(out.view() == "ab##");
  matcher->reset();
  CHECK_FALSE(push("#"));
  REQUIRE(matcher->finish(out));
  CHECK(out.view() == "ab###");
  CHECK_FALSE(push("##x"));  // the "#" before finish does not count
  CHECK(out.view() == "ab#####x");
}

TEST_CASE("stop matcher: the same as the definition on random texts") {
  std::mt19937 random(4);
  for (int round = 0; round < 5000; ++round) {
    const auto word = [&](std::size_t longest) {
      std::string made(1 + random() % longest, ' ');
      for (char& c : made) c = "ab#"[random() % 3];
      return made;
    };
    std::vector<std::string> stops;
    for (std::size_t n = random() % 4; n != 0; --n) stops.push_back(word(5));
    const strings views(stops.begin(), stops.end());
    const std::string text = word(30);
    const outcome expected = run_slowly(views, text);
    for (const std::size_t chunk : {1u, 2u, 3u, 30u}) REQUIRE(run(views, text, chunk) == expected);
  }
}

TEST_CASE("stop matcher: empty, long and many stop strings are refused") {
  using ocellus::error_code;
  using ocellus::stop_matcher;
  CHECK(stop_matcher::make(strings{""}).error().code() == error_code::stop_string);
  CHECK(stop_matcher::make(strings{"ok", ""}).error().code() == error_code::stop_string);
  const std::string longest(stop_matcher::max_bytes, 'x'), longer = longest + "x";
  CHECK(stop_matcher::make(strings{longest}));
  CHECK(stop_matcher::make(strings{longer}).error().code() == error_code::stop_string);
  CHECK(stop_matcher::make(strings(16, "x")));
  CHECK(stop_matcher::make(strings(17, "x")).error().code() == error_code::stop_string);
}

TEST_CASE("stop matcher: may be moved in the middle of a text; out of memory changes nothing") {
  auto matcher = ocellus::stop_matcher::make(strings{"###"});
  REQUIRE(matcher);
  ocellus::text out;
  REQUIRE(matcher->push("a##", out));
  ocellus::stop_matcher moved = std::move(*matcher);
  CHECK(*moved.push("#b", out));
  CHECK(out.view() == "a");

  ocellus_tests::fail_every_allocation([](const ocellus::memory_hooks& memory) -> ocellus::result<void> {
    auto made = ocellus::stop_matcher::make(strings{"###", "stop"}, memory);
    if (!made) return made.error();
    ocellus::text answer(memory);
    for (const std::string_view chunk :
         {"some text #", "#", "and then quite a lot more of it so that it must grow"}) {
      const std::size_t size = answer.size(), held = made->held();
      const auto stopped = made->push(chunk, answer);
      if (stopped) continue;
      CHECK(answer.size() == size);
      CHECK(made->held() == held);
      return stopped.error();
    }
    return made->finish(answer);
  });
}
