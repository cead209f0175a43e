// model_writer: what it refuses before it writes. What it writes is tested by all that opens models.
#include "ocellus/model/model_writer.hpp"

#include <doctest/doctest.h>

#include "support/tiny_model.hpp"

using namespace ocellus;
using namespace ocellus_tests;

namespace {

/// The verdict on a tiny model with these parts, written by a host.
std::string verdict(const model_parts& parts, const host& hooks = {}) {
  tiny_options options;
  options.vision = false;
  model_writer writer(hooks);
  REQUIRE(writer.plan(tiny_config(options), weight_format::f32, weight_format::f32));
  ocellus_tests::detail::tiny_source source{options, writer};
  std::vector<std::byte> file;
  const auto done = writer.write(append_to(file), parts, source.rows());
  if (done) {
    CHECK(model::open(file));
    return "ok";
  }
  CHECK(file.empty());
  return std::string(name_of(done.error().code()));
}

}  // namespace

TEST_CASE("model_writer: a configuration that is none is refused before it is walked") {
  for (const auto& spoil : std::vector<void (*)(model_config&)>{
           [](model_config& c) { c.phi.heads = 0; }, [](model_config& c) { c.vit.patch_size = 0; },
           [](model_config& c) { c.phi.layers = 0xffffffffu; }}) {
    model_config config = tiny_config({});
    spoil(config);
    model_writer writer({});
    const auto planned = writer.plan(config, weight_format::f32, weight_format::f32);
    REQUIRE_FALSE(planned);
    CHECK(planned.error().code() == error_code::config_range);
    CHECK(writer.weights().empty());
  }
}

TEST_CASE("model_writer: what no reader would take is not written") {
  const std::string_view stop[] = {"###"}, empty[] = {"#", ""};
  const std::string long_stop(257, '#');
  const std::string_view too_long[] = {long_stop};
  const std::vector<std::string_view> many(17, "#");
  CHECK(verdict({nullptr, "micro", stop, "tests"}) == "ok");
  CHECK(verdict({nullptr, "micro", std::span(many).first(16), "tests"}) == "ok");
  CHECK(verdict({nullptr, "micro", many, "tests"}) == "stop_string");
  CHECK(verdict({nullptr, "micro", empty, "tests"}) == "stop_string");
  CHECK(verdict({nullptr, "micro", too_long, "tests"}) == "stop_string");

  tiny_words words;
  const auto fits = tokenizer::from_data(words.data());
  REQUIRE(fits);
  CHECK(verdict({&*fits, "micro", stop, "tests"}) == "ok");
  while (words.offsets.size() <= tiny_vocabulary + 1) words.offsets.push_back(words.offsets.back());
  const auto too_many = tokenizer::from_data(words.data());
  REQUIRE(too_many);
  CHECK(verdict({&*too_many, "micro", stop, "tests"}) == "config_mismatch");
}

TEST_CASE("model_writer: a host without workers is refused") {
  const std::string_view stop[] = {"###"};
  host nobody, nothing;
  nobody.tasks.workers = 0;
  nothing.tasks.parallel_for = nullptr;
  CHECK(verdict({nullptr, "micro", stop, "tests"}, nobody) == "invalid_argument");
  CHECK(verdict({nullptr, "micro", stop, "tests"}, nothing) == "invalid_argument");
}
