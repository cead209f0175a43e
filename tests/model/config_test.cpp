// model_config: ranges are closed, and what is written is read back.
#include "ocellus/model/config.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>

#include "support/counting_memory.hpp"

using namespace ocellus;

namespace {

model_config whole() {
  model_config c;
  c.has_vision = true;
  c.vit = {448, 14, 1408, 39, 16, 6144};
  c.qformer = {32, 768, 12, 12, 3072, 0x555};
  c.projection_width = 4096;
  c.phi = {51200, 2560, 32, 32, 10240, 32, 2048};
  c.phi.qk_norm = c.phi.post_norm = true;
  return c;
}
std::string code_with(const std::function<void(model_config&)>& edit) {
  model_config c = whole();
  edit(c);
  const auto verdict = validate(c);
  return std::string(verdict ? "ok" : name_of(verdict.error().code()));
}
std::string json_of(const model_config& c) {
  const auto text = to_json(c, {});
  REQUIRE(text);
  return std::string(text->view());
}
/// The verdict on the written configuration with one piece of it replaced.
std::string parsed_with(const std::string& from, const std::string& to) {
  std::string json = json_of(whole());
  const std::size_t at = json.find(from);
  REQUIRE(at != std::string::npos);
  json.replace(at, from.size(), to);
  const auto parsed = parse_model_config(json, {});
  return std::string(parsed ? "ok" : name_of(parsed.error().code()));
}

}  // namespace

TEST_CASE("config: the published sizes are valid and come back as they were written") {
  const model_config c = whole();
  const std::string json = json_of(c);
  CHECK(json.find("\"eps\":1e-12") != std::string::npos);
  const auto read = parse_model_config(json, {});
  REQUIRE(read);
  CHECK(json_of(*read) == json);
  CHECK(read->vit.tokens() == 1025);
  CHECK(read->vit.eps == c.vit.eps);
  CHECK(read->qformer.eps == c.qformer.eps);
  CHECK(read->qformer.cross_layers == 0x555);
  CHECK(read->phi.post_norm);
  model_config text_only;
  text_only.phi = c.phi;
  const std::string shorter = json_of(text_only);
  CHECK(shorter.find("vit") == std::string::npos);
  const auto again = parse_model_config(shorter, {});
  REQUIRE(again);
  CHECK_FALSE(again->has_vision);
  CHECK(again->phi.vocabulary == 51200);
}

TEST_CASE("config: every float survives") {
  model_config c = whole();
  for (float eps : {1e-5f, 0.1f, 1.0f, 1.17549435e-38f, 3.4028236e-7f, 0.99999994f}) {
    c.phi.eps = eps;
    const auto read = parse_model_config(json_of(c), {});
    REQUIRE(read);
    CHECK(read->phi.eps == eps);
  }
}

TEST_CASE("config: every field has a closed range") {
  CHECK(code_with([](model_config&) {}) == "ok");
  const std::pair<const char*, std::uint32_t& (*)(model_config&)> fields[] = {
      {"image_size", [](model_config& c) -> std::uint32_t& { return c.vit.image_size; }},
      {"patch_size", [](model_config& c) -> std::uint32_t& { return c.vit.patch_size; }},
      {"vit.width", [](model_config& c) -> std::uint32_t& { return c.vit.width; }},
      {"vit.layers", [](model_config& c) -> std::uint32_t& { return c.vit.layers; }},
      {"vit.heads", [](model_config& c) -> std::uint32_t& { return c.vit.heads; }},
      {"vit.mlp_width", [](model_config& c) -> std::uint32_t& { return c.vit.mlp_width; }},
      {"queries", [](model_config& c) -> std::uint32_t& { return c.qformer.queries; }},
      {"qformer.width", [](model_config& c) -> std::uint32_t& { return c.qformer.width; }},
      {"qformer.layers", [](model_config& c) -> std::uint32_t& { return c.qformer.layers; }},
      {"qformer.heads", [](model_config& c) -> std::uint32_t& { return c.qformer.heads; }},
      {"qformer.mlp_width", [](model_config& c) -> std::uint32_t& { return c.qformer.mlp_width; }},
      {"projection_width", [](model_config& c) -> std::uint32_t& { return c.projection_width; }},
      {"vocabulary", [](model_config& c) -> std::uint32_t& { return c.phi.vocabulary; }},
      {"phi.width", [](model_config& c) -> std::uint32_t& { return c.phi.width; }},
      {"phi.layers", [](model_config& c) -> std::uint32_t& { return c.phi.layers; }},
      {"phi.heads", [](model_config& c) -> std::uint32_t& { return c.phi.heads; }},
      {"phi.mlp_width", [](model_config& c) -> std::uint32_t& { return c.phi.mlp_width; }},
      {"rotary_size", [](model_config& c) -> std::uint32_t& { return c.phi.rotary_size; }},
      {"max_positions", [](model_config& c) -> std::uint32_t& { return c.phi.max_positions; }}};
  for (const auto& entry : fields) {
    const std::string name = entry.first;
    const auto field = entry.second;
    CAPTURE(name);
    for (std::uint32_t bad : {0u, 1u << 31, 0xffffffffu}) {
      CHECK(code_with([&](model_config& c) { field(c) = bad; }) == "config_range");
    }
  }
  for (float bad : {0.0f, -1e-5f, 2.0f, INFINITY, NAN}) {
    CHECK(code_with([&](model_config& c) { c.vit.eps = bad; }) == "config_range");
    CHECK(code_with([&](model_config& c) { c.vit.final_eps = bad; }) == "config_range");
    CHECK(code_with([&](model_config& c) { c.qformer.eps = bad; }) == "config_range");
    CHECK(code_with([&](model_config& c) { c.phi.eps = bad; }) == "config_range");
    CHECK(code_with([&](model_config& c) { c.phi.rms_eps = bad; }) == "config_range");
    if (!(bad > 1)) CHECK(code_with([&](model_config& c) { c.phi.rope_theta = bad; }) == "config_range");
  }
  CHECK(code_with([](model_config& c) { c.phi.rope_theta = 1e30f; }) == "config_range");
}

TEST_CASE("config: fields fit each other") {
  CHECK(code_with([](model_config& c) { c.vit.heads = 15; }) == "config_mismatch");
  CHECK(code_with([](model_config& c) { c.vit.heads = 4; }) == "config_mismatch");  // heads of 352
  CHECK(code_with([](model_config& c) { c.vit.image_size = 449; }) == "config_mismatch");
  CHECK(code_with([](model_config& c) { c.vit.patch_size = 1; }) == "config_mismatch");
  CHECK(code_with([](model_config& c) { c.qformer.cross_layers = 1u << 12; }) == "config_mismatch");
  CHECK(code_with([](model_config& c) { c.qformer.cross_layers = 0; }) == "config_range");
  CHECK(code_with([](model_config& c) { c.phi.rotary_size = 31; }) == "config_mismatch");
  CHECK(code_with([](model_config& c) { c.phi.rotary_size = 82; }) == "config_mismatch");
  CHECK(code_with([](model_config& c) { c.phi.rotary_size = 80; }) == "ok");
  // Sizes that are possible one by one, but not together in any memory.
  CHECK(code_with([](model_config& c) { c.vit.image_size = 2800; }) == "ok");
  CHECK(code_with([](model_config& c) { c.vit.image_size = 3500; }) == "config_mismatch");
  CHECK(code_with([](model_config& c) { c.qformer.queries = 4096, c.qformer.mlp_width = 65536; }) == "ok");
  CHECK(code_with([](model_config& c) { c.vit.image_size = 2800, c.vit.mlp_width = 7000; }) ==
        "config_mismatch");
}

TEST_CASE("config: the written form is read strictly") {
  CHECK(parsed_with("{\"has_vision\"", "{\"has_vision\"") == "ok");
  CHECK(parsed_with("\"width\":1408", "\"width\":1408.0") == "config_field");
  CHECK(parsed_with("\"width\":1408", "\"width\":-1408") == "config_field");
  CHECK(parsed_with("\"width\":1408", "\"width\":\"1408\"") == "config_field");
  CHECK(parsed_with("\"width\":1408", "\"width\":null") == "config_field");
  CHECK(parsed_with("\"width\":1408", "\"width\":4294968704") == "config_range");  // 1408 + 2^32
  CHECK(parsed_with("\"width\":1408", "\"width\":99999999999999999999") == "config_field");
  CHECK(parsed_with("\"width\":1408,", "") == "config_field");
  CHECK(parsed_with("\"width\":1408,", "\"width\":1408,\"depth\":3,") == "config_field");
  CHECK(parsed_with("\"width\":1408,", "\"width\":1408,\"width\":1408,") == "duplicate_key");
  CHECK(parsed_with("\"has_vision\":true", "\"has_vision\":1") == "config_field");
  CHECK(parsed_with("\"has_vision\":true", "\"has_vision\":false") == "config_field");  // and yet a vit
  CHECK(parsed_with("{\"has_vision\"", "{\"more\":1,\"has_vision\"") == "config_field");
  CHECK(parsed_with("\"rope_theta\":10000", "\"rope_theta\":1e400") == "config_field");
  CHECK(parsed_with("\"rope_theta\":10000", "\"rope_theta\":-1") == "config_range");
  CHECK(parsed_with("\"phi\":{", "\"phi\":[{") == "json_syntax");
  for (const char* text : {"", "[]", "7", "{", "null"}) CHECK_FALSE(parse_model_config(text, {}));
}

TEST_CASE("config: every integer of the written form is an unsigned integer in its range") {
  const std::string json = json_of(whole());
  std::size_t integers = 0;
  for (std::size_t at = json.find("\":"); at != std::string::npos; at = json.find("\":", at + 1)) {
    const std::size_t value = at + 2, end = json.find_first_of(",}", value);
    const std::string old = json.substr(value, end - value);
    if (old.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::size_t name = json.rfind('"', at - 1) + 1;
    const std::string field = json.substr(name, at - name);
    if (field == "rope_theta") continue;  // a number that happens to be whole
    ++integers;
    CAPTURE(field);
    for (const char* bad :
         {"null", "\"7\"", "2.0", "2.5", "-1", "true", "[1]", "1e400", "18446744073709551616"}) {
      const auto parsed = parse_model_config(json.substr(0, value) + bad + json.substr(end), {});
      REQUIRE_FALSE(parsed);
      CHECK(parsed.error().code() == error_code::config_field);
    }
    for (const char* bad : {"0", "2147483648", "9007199254740993", "18446744073709551615"}) {
      const auto parsed = parse_model_config(json.substr(0, value) + bad + json.substr(end), {});
      REQUIRE_FALSE(parsed);
      const bool mask = field == "cross_layers";  // whose bits name layers
      CHECK((parsed.error().code() == error_code::config_range ||
             (mask && parsed.error().code() == error_code::config_mismatch)));
    }
  }
  CHECK(integers == 20);
}

TEST_CASE("config: out of memory is an error") {
  const std::string json = json_of(whole());
  ocellus_tests::fail_every_allocation([&](const memory_hooks& m) { return parse_model_config(json, m); });
  ocellus_tests::fail_every_allocation([&](const memory_hooks& m) { return to_json(whole(), m); });
}
