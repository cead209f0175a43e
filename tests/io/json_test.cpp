// The strict JSON reader: what it accepts, refuses, holds and bounds.
#include "ocellus/io/json.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "support/counting_memory.hpp"

using namespace ocellus;
using namespace std::string_literals;

namespace {

std::string verdict(const std::string& source, const json_limits& limits = {}) {
  // An exact-size copy on the heap, so that a sanitizer sees a read beyond the end.
  const auto exact = std::make_unique<char[]>(source.size());
  source.copy(exact.get(), source.size());
  const auto made = json::parse({exact.get(), source.size()}, {}, limits);
  return made ? "ok" : std::string(name_of(made.error().code()));
}

json good(std::string_view source) {
  auto made = json::parse(source);
  if (!made) FAIL(std::string(made.error().message()));
  return std::move(*made);
}

std::string repeat(const std::string& what, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += what;
  return all;
}

}  // namespace

TEST_CASE("json: valid texts are accepted") {
  for (const auto& text : std::vector<std::string>{
           "{}", "[]", " [ ] ", "0", "-0", "1.5e-3", "1E+2", "\"\"", "true", "false", "null", "\t\r\n {}\n",
           R"({"a":[1,{"b":null},"c"]})", R"(["\"\\\/\b\f\n\r\t\u0000\uD83D\uDE00"])", "\"\x7f\"",
           "[[[[]]],[]]", "{\"\":1}", "\"\xf4\x8f\xbf\xbf\""}) {
    CAPTURE(text);
    CHECK(verdict(text) == "ok");
  }
}

TEST_CASE("json: texts outside RFC 8259 are refused, each with its code") {
  const std::vector<std::pair<std::string, std::string>> cases = {{"", "json_syntax"},
                                                                  {" ", "json_syntax"},
                                                                  {"{", "json_syntax"},
                                                                  {"[", "json_syntax"},
                                                                  {"]", "json_syntax"},
                                                                  {"{]", "json_syntax"},
                                                                  {"[}", "json_syntax"},
                                                                  {"[1,]", "json_syntax"},
                                                                  {"[,1]", "json_syntax"},
                                                                  {"[1 2]", "json_syntax"},
                                                                  {"{\"a\":1,}", "json_syntax"},
                                                                  {"{\"a\"}", "json_syntax"},
                                                                  {"{\"a\" 1}", "json_syntax"},
                                                                  {"{\"a\":}", "json_syntax"},
                                                                  {"{1:2}", "json_syntax"},
                                                                  {"{a:1}", "json_syntax"},
                                                                  {"{,}", "json_syntax"},
                                                                  {"{\"a\":1 \"b\":2}", "json_syntax"},
                                                                  {"{} {}", "json_syntax"},
                                                                  {"1 2", "json_syntax"},
                                                                  {"[1],", "json_syntax"},
                                                                  {"01", "json_syntax"},
                                                                  {"-", "json_syntax"},
                                                                  {"+1", "json_syntax"},
                                                                  {".5", "json_syntax"},
                                                                  {"1.", "json_syntax"},
                                                                  {"1.e1", "json_syntax"},
                                                                  {"1e", "json_syntax"},
                                                                  {"1e+", "json_syntax"},
                                                                  {"0x1", "json_syntax"},
                                                                  {"-01", "json_syntax"},
                                                                  {"NaN", "json_syntax"},
                                                                  {"Infinity", "json_syntax"},
                                                                  {"-Infinity", "json_syntax"},
                                                                  {"tru", "json_syntax"},
                                                                  {"truex", "json_syntax"},
                                                                  {"True", "json_syntax"},
                                                                  {"nul", "json_syntax"},
                                                                  {"'a'", "json_syntax"},
                                                                  {"/**/1", "json_syntax"},
                                                                  {"1//", "json_syntax"},
                                                                  {"\"a", "json_syntax"},
                                                                  {"\"a\\", "json_syntax"},
                                                                  {"\xef\xbb\xbf{}", "json_syntax"},
                                                                  {"{}\0"s, "json_syntax"},
                                                                  {"\xff", "json_syntax"},
                                                                  {"[1\f]", "json_syntax"},
                                                                  {"\"\\x\"", "json_string"},
                                                                  {"\"\\u12\"", "json_string"},
                                                                  {"\"\\u12g4\"", "json_string"},
                                                                  {"\"\\uD800\"", "json_string"},
                                                                  {"\"\\uDC00\"", "json_string"},
                                                                  {"\"\\uD800\\u0041\"", "json_string"},
                                                                  {"\"\\uD800\\n\"", "json_string"},
                                                                  {"\"\\uD800\\uD800\"", "json_string"},
                                                                  {"\"\n\"", "json_string"},
                                                                  {"\"\0\""s, "json_string"},
                                                                  {"\"\x1f\"", "json_string"},
                                                                  {"\"\xff\"", "utf8"},
                                                                  {"\"\xc0\x80\"", "utf8"},
                                                                  {"\"\xed\xa0\x80\"", "utf8"},
                                                                  {"\"\xf5\x80\x80\x80\"", "utf8"},
                                                                  {"\"\xe2\x82\"", "utf8"},
                                                                  {"\"\xe2\x82", "utf8"},
                                                                  {"{\"\xff\":1}", "utf8"}};
  for (const auto& one : cases) {
    CAPTURE(one.first);
    CHECK(verdict(one.first) == one.second);
  }
}

TEST_CASE("json: every cut of a valid text is refused") {
  const std::string text = R"({"a":[1,-2.5e3,true,null,"x\u00e9\ud83d\ude00"],"b":{"c":{}}})";
  CHECK(verdict(text) == "ok");
  for (std::size_t size = 0; size < text.size(); ++size) {
    CAPTURE(size);
    CHECK(verdict(text.substr(0, size)) != "ok");
  }
}

TEST_CASE("json: one changed byte never breaks the reader") {
  const std::string text = R"({"a":[1,-2.5e3,true,null,"x\u00e9\ud83d\ude00"],"b":{"c":{}}})";
  int refused = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = text;
      changed[i] = static_cast<char>(byte);
      if (verdict(changed) != "ok") ++refused;
    }
  }
  CHECK(refused > 10'000);
}

TEST_CASE("json: a key may not stand twice in one object, however it is written") {
  CHECK(verdict(R"({"a":1,"a":1})") == "duplicate_key");
  CHECK(verdict(R"({"t":1,"\u0074":1})") == "duplicate_key");
  CHECK(verdict(R"([{"x":{"k":1,"l":2,"k":3}}])") == "duplicate_key");
  CHECK(verdict(R"({"":1,"":1})") == "duplicate_key");
  CHECK(verdict(R"({"a":{"a":{"a":1}},"b":{"a":1}})") == "ok");
  CHECK(verdict(R"({"a":1,"a\u0000":1,"aa":1})") == "ok");
}

TEST_CASE("json: limits hold exactly") {
  json_limits limits;
  limits.depth = 3;
  CHECK(verdict("[[[]]]", limits) == "ok");
  CHECK(verdict("[[[[]]]]", limits) == "json_depth");
  CHECK(verdict(R"({"a":{"b":{"c":{}}}})", limits) == "json_depth");
  limits = {};
  limits.depth = 1'000'000;
  CHECK(verdict(repeat("[", 256) + repeat("]", 256), limits) == "ok");
  CHECK(verdict(repeat("[", 257) + repeat("]", 257), limits) == "json_depth");
  CHECK(verdict(repeat("[", 100'000) + repeat("]", 100'000)) == "json_depth");
  CHECK(verdict(repeat("{\"a\":", 100'000) + "1" + repeat("}", 100'000)) == "json_depth");
  CHECK(verdict("[" + repeat("[{}],", 1000) + "[]]") == "ok");  // wide is not deep
  limits = {};
  limits.nodes = 5;
  CHECK(verdict(R"({"a":1,"b":2})", limits) == "ok");
  CHECK(verdict(R"({"a":1,"b":[]})", limits) == "ok");
  CHECK(verdict(R"({"a":1,"b":[2]})", limits) == "json_limit");
  limits = {};
  limits.string_bytes = 4;
  CHECK(verdict(R"(["abcd"])", limits) == "ok");
  CHECK(verdict(R"(["abcde"])", limits) == "json_limit");
  CHECK(verdict(R"({"abcde":1})", limits) == "json_limit");
  limits = {};
  limits.bytes = 4;
  CHECK(verdict("[12]", limits) == "ok");
  CHECK(verdict("[123]", limits) == "json_limit");
  CHECK(verdict(repeat("1", 400)) == "ok");
  CHECK(verdict(repeat("1", 401)) == "int_range");
}

TEST_CASE("json: values are found and read") {
  const json text = good(
      R"( {"z":[10,"s",null,[true,false],{}], "name":"caf\u00e9 \ud83d\ude00\n\u0000!", "a":{"b":{"c":7}}, "":0} )");
  const json::value root = text.root();
  CHECK(root.kind() == json_kind::object);
  CHECK(root.size() == 4);
  CHECK(root.find("z").size() == 5);
  CHECK(root.find("z").at(0).as_uint64() == 10u);
  CHECK(root.find("z").at(1).as_string_view() == "s");
  CHECK(root.find("z").at(2).is_null());
  CHECK(root.find("z").at(3).at(0).as_bool() == true);
  CHECK(root.find("z").at(3).at(1).as_bool() == false);
  CHECK(root.find("z").at(4).is_object());
  CHECK(!root.find("z").at(5));
  CHECK(root.find("name").as_string_view() == "caf\xc3\xa9 \xf0\x9f\x98\x80\n\0!"s);
  CHECK(root.find("a").find("b").find("c").as_int64() == 7);
  CHECK(root.find("").as_uint64() == 0u);
  CHECK(!root.find("b"));
  CHECK(root.find("b").kind() == json_kind::missing);
  CHECK(!root.find("b").find("c").at(3).as_double());  // nothing, all the way
  CHECK(!root.find("name").find("x"));
  CHECK(!root.find("name").as_uint64());
  CHECK(!root.as_string_view());

  std::string keys;
  for (const auto& [key, value] : root.members())
    keys += std::string(key) + std::to_string(value.size()) + ";";
  CHECK(keys == "z5;name0;a1;0;");
  std::string kinds;
  for (const json::value element : root.find("z").elements())
    kinds += std::string(name_of(element.kind())) + ";";
  CHECK(kinds == "a number;a string;null;an array;an object;");
  for (const auto& member : root.find("z").members()) FAIL(member.key);
  for (const auto& element : root.elements()) FAIL(element.size());
}

TEST_CASE("json: values survive the move of their text") {
  json first = good(R"({"a":["b"]})");
  const json::value element = first.root().find("a").at(0);
  const json second = std::move(first);
  CHECK(element.as_string_view() == "b");
  CHECK(second.root().find("a").at(0).as_string_view() == "b");
}

TEST_CASE("json: integers are exact, and floats are no integers") {
  const json text =
      good(R"([18446744073709551615, 18446744073709551616, -9223372036854775808, -9223372036854775809,
                             2, 2.0, 2e0, -0, 9007199254740993, -2, 1e400, 0.1, 1e-400])");
  const auto at = [&](std::size_t i) { return text.root().at(i); };
  CHECK(at(0).as_uint64() == UINT64_MAX);
  CHECK(!at(0).as_int64());
  CHECK(!at(1).as_uint64());
  CHECK(at(1).as_double() == 18446744073709551616.0);
  CHECK(at(2).as_int64() == INT64_MIN);
  CHECK(!at(3).as_int64());
  CHECK(at(4).as_uint64() == 2u);
  CHECK(at(4).as_double() == 2.0);
  for (std::size_t i : {std::size_t{5}, std::size_t{6}}) {
    CHECK(!at(i).as_uint64());
    CHECK(!at(i).as_int64());
    CHECK(at(i).as_double() == 2.0);
  }
  CHECK(!at(7).as_uint64());
  CHECK(at(7).as_int64() == 0);
  CHECK(at(7).number_text() == "-0");
  CHECK(at(8).as_uint64() == 9007199254740993u);
  CHECK(at(9).as_int64() == -2);
  CHECK(!at(9).as_uint64());
  CHECK(!at(10).as_double());
  CHECK(at(11).as_double() == 0.1);
  CHECK(!at(12).as_double());
  CHECK(at(6).number_text() == "2e0");
}

TEST_CASE("json: a large object is read and searched quickly") {
  std::string source = "{";
  for (int i = 0; i < 50'000; ++i)
    source += (i != 0 ? ",\"t" : "\"t") + std::to_string(i * 7919 % 50'000) + "\":" + std::to_string(i);
  source += "}";
  const auto begin = std::chrono::steady_clock::now();
  const json text = good(source);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  MESSAGE("50,000 members: ", taken.count() * 1e3, " ms");
  CHECK(text.root().size() == 50'000);
  for (int i = 0; i < 50'000; i += 97) {
    const auto number = static_cast<std::uint64_t>(i);
    CHECK(text.root().find("t" + std::to_string(i * 7919 % 50'000)).as_uint64() == number);
  }
}

TEST_CASE("json: every allocation may fail") {
  const std::string source =
      R"({"a":[1,2,3,{"b":"\u0041"}],"c":{"d":null,"e":{},"f":[[],[]]},"g":0,"h":0,"i":0,"j":0,"k":1})";
  ocellus_tests::fail_every_allocation(
      [&](const memory_hooks& memory) { return json::parse(source, memory); });
}

TEST_CASE("json_reader: events come in order, skip passes over a value") {
  json_reader reader(R"({"a":{"x":[1,{"y":[]}]},"b":[2,"\n"]})");
  using kind = json_event::kind;
  const auto next = [&]() {
    auto event = reader.next();
    REQUIRE(event);
    return *event;
  };
  CHECK(next().what == kind::begin_object);
  CHECK(next().text == "a");
  const json_event inner = next();
  CHECK(inner.what == kind::begin_object);
  CHECK(reader.depth() == 2);
  CHECK(reader.skip(inner));
  CHECK(reader.depth() == 1);
  CHECK(next().text == "b");
  CHECK(next().what == kind::begin_array);
  const json_event number = next();
  CHECK(number.what == kind::number);
  CHECK(reader.skip(number));
  CHECK(number.text == "2");
  const json_event string = next();
  CHECK(string.escaped);
  CHECK(string.text == "\\n");
  CHECK(next().what == kind::end_array);
  CHECK(next().what == kind::end_object);
  CHECK(next().what == kind::end);
  CHECK(next().what == kind::end);
}
