// The JSON writer, against literal texts and our own reader.
#include "ocellus/io/json_writer.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <random>
#include <string>

#include "ocellus/io/json.hpp"
#include "support/counting_memory.hpp"

using namespace ocellus;

namespace {

std::string finished(json_writer& writer) {
  auto text = writer.finish();
  return text ? std::string(text->view()) : std::string(name_of(text.error().code()));
}

}  // namespace

TEST_CASE("json_writer: a text is written compactly, in order") {
  json_writer writer;
  writer.begin_object().key("z").begin_array().integer(1).integer(-2).string("x").null().end_array();
  writer.key("a").begin_object().end_object().key("b").boolean(true).key("c").boolean(false);
  writer.key("n").number(0.1).key("big").integer(UINT64_MAX).key("low").integer(INT64_MIN);
  writer.key("e").begin_array().begin_array().end_array().begin_array().end_array().end_array().end_object();
  CHECK(finished(writer) ==
        R"({"z":[1,-2,"x",null],"a":{},"b":true,"c":false,"n":0.1,"big":18446744073709551615,)"
        R"("low":-9223372036854775808,"e":[[],[]]})");
  writer.begin_array().integer(1).end_array();  // empty again
  CHECK(finished(writer) == "[1]");
  writer.string("alone");
  CHECK(finished(writer) == "\"alone\"");
}

TEST_CASE("json_writer: strings come back as they were") {
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  all += "\xc3\xa9\xf0\x9f\x98\x80\\u0041";
  json_writer writer;
  writer.begin_object().key(all).string(all).end_object();
  const std::string source = finished(writer);
  for (char c : source) CHECK(static_cast<unsigned char>(c) >= 0x20);
  const auto text = json::parse(source);
  REQUIRE(text);
  CHECK(text->root().find(all).as_string_view() == all);
}

TEST_CASE("json_writer: doubles come back to the last bit") {
  std::mt19937_64 random(7);
  json_writer writer;
  std::string expected;
  writer.begin_array();
  double numbers[1000];
  for (double& number : numbers) {
    do {
      const std::uint64_t bits = random();
      std::memcpy(&number, &bits, sizeof(number));
    } while (!(number - number == 0) || (number != 0 && number < 1e-300 && number > -1e-300));
    writer.number(number);
  }
  writer.end_array();
  const auto text = json::parse(finished(writer));
  REQUIRE(text);
  std::size_t i = 0;
  for (const json::value element : text->root().elements()) CHECK(element.as_double() == numbers[i++]);
  CHECK(i == 1000);
}

TEST_CASE("json_writer: wrong steps, strings and numbers are told at the end") {
  const auto verdict = [](auto&& steps) {
    json_writer writer;
    steps(writer);
    return finished(writer);
  };
  CHECK(verdict([](json_writer&) {}) == "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.begin_object(); }) == "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.begin_object().integer(1).end_object(); }) == "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.begin_object().key("a").end_object(); }) == "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.begin_object().key("a").key("b"); }) == "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.begin_array().key("a").end_array(); }) == "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.begin_array().end_object(); }) == "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.end_array(); }) == "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.integer(1).integer(2); }) == "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.number(std::numeric_limits<double>::infinity()); }) ==
        "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.number(std::numeric_limits<double>::quiet_NaN()); }) ==
        "invalid_argument");
  CHECK(verdict([](json_writer& w) { w.string("\xff"); }) == "utf8");
  CHECK(verdict([](json_writer& w) { w.begin_object().key("\xc3").integer(1).end_object(); }) == "utf8");
  CHECK(verdict([](json_writer& w) {
          for (int i = 0; i < 64; ++i) w.begin_array();
          for (int i = 0; i < 64; ++i) w.end_array();
        }).size() == 128);
  CHECK(verdict([](json_writer& w) {
          for (int i = 0; i < 65; ++i) w.begin_array();
          for (int i = 0; i < 65; ++i) w.end_array();
        }) == "invalid_argument");
}

TEST_CASE("json_writer: every allocation may fail") {
  ocellus_tests::fail_every_allocation([](const memory_hooks& memory) {
    json_writer writer(memory);
    writer.begin_array();
    for (int i = 0; i < 100; ++i) writer.string("some text").integer(i);
    writer.end_array();
    return writer.finish();
  });
}
