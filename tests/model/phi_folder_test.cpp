// config.json of Phi-2 in its two forms: what matters is read, what would change the computation unnoticed is refused.
#include "ocellus/model/phi_folder.hpp"

#include <doctest/doctest.h>

#include <string>

#include "support/temporary_folder.hpp"

using namespace ocellus;

namespace {

const std::string today = R"({"model_type": "phi", "hidden_act": "gelu_new", "hidden_size": 2560,
  "intermediate_size": 10240, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": null,
  "partial_rotary_factor": 0.4, "rope_theta": 10000.0, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048,
  "vocab_size": 51200, "tie_word_embeddings": false, "rope_scaling": null, "qk_layernorm": false, "auto_map": {"x": "y"}})";
const std::string first =
    R"({"model_type": "phi-msft", "activation_function": "gelu_new", "n_embd": 2560, "n_head": 32,
  "n_layer": 32, "n_inner": null, "n_positions": 2048, "rotary_dim": 32, "layer_norm_epsilon": 1e-05,
  "vocab_size": 51200, "n_head_kv": null, "flash_attn": false})";

std::string with(std::string json, const std::string& from, const std::string& to, bool stage = false) {
  const std::size_t at = json.find(from);
  REQUIRE(at != std::string::npos);
  json.replace(at, from.size(), to);
  const auto parsed = parse_phi_config(json, stage);
  return std::string(parsed ? "ok" : name_of(parsed.error().code()));
}

}  // namespace

TEST_CASE("phi folder: both forms of config.json say the same") {
  for (const std::string& json : {today, first}) {
    const auto c = parse_phi_config(json, false);
    REQUIRE(c);
    CHECK(c->vocabulary == 51200);
    CHECK(c->width == 2560);
    CHECK(c->layers == 32);
    CHECK(c->heads == 32);
    CHECK(c->mlp_width == 10240);
    CHECK(c->rotary_size == 32);
    CHECK(c->max_positions == 2048);
    CHECK(c->rope_theta == 10000.0f);
    CHECK(c->eps == 1e-5f);
    CHECK_FALSE(c->qk_norm);
    CHECK_FALSE(c->post_norm);
  }
}

TEST_CASE("phi folder: rotary parameters may stand in an object of their own") {
  const std::string from = "\"partial_rotary_factor\": 0.4, \"rope_theta\": 10000.0,";
  CHECK(
      with(
          today, from,
          R"("rope_parameters": {"partial_rotary_factor": 0.4, "rope_theta": 5000, "rope_type": "default"},)") ==
      "ok");
  CHECK(with(today, from, R"("rope_parameters": {"partial_rotary_factor": 0.4, "rope_type": "yarn"},)") ==
        "unsupported");
  CHECK(with(today, from, "\"partial_rotary_factor\": 0.4,") == "ok");
  CHECK(with(today, from, "") == "config_field");
}

TEST_CASE("phi folder: what is not implemented is refused, what does not matter is not") {
  CHECK(with(today, "\"phi\"", "\"llama\"") == "unsupported");
  CHECK(with(today, "\"model_type\": \"phi\",", "") == "config_field");
  CHECK(with(today, "gelu_new", "silu") == "unsupported");
  CHECK(with(today, "\"num_key_value_heads\": null", "\"num_key_value_heads\": 8") == "unsupported");
  CHECK(with(today, "\"num_key_value_heads\": null", "\"num_key_value_heads\": 32") == "ok");
  CHECK(with(today, "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true") == "unsupported");
  CHECK(with(today, "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"linear\"}") == "unsupported");
  CHECK(with(today, "\"auto_map\"", "\"quantization_config\"") == "unsupported");
  CHECK(with(today, "\"qk_layernorm\": false", "\"qk_layernorm\": true") == "unsupported");
  CHECK(with(today, "\"qk_layernorm\": false", "\"qk_layernorm\": true", true) ==
        "ok");  // the stage file has them
  CHECK(with(first, "\"n_head_kv\": null", "\"n_head_kv\": 8") == "unsupported");
  CHECK(with(first, "\"n_inner\": null", "\"n_inner\": 77") == "ok");
}

TEST_CASE("phi folder: fields are integers and numbers in their ranges") {
  for (const char* bad : {"null", "\"32\"", "32.0", "-1", "1e2", "99999999999999999999"}) {
    CAPTURE(bad);
    CHECK(with(today, "\"num_attention_heads\": 32", std::string("\"num_attention_heads\": ") + bad) ==
          "config_field");
  }
  CHECK(with(today, "\"num_attention_heads\": 32", "\"num_attention_heads\": 0") == "config_range");
  CHECK(with(today, "\"num_attention_heads\": 32", "\"num_attention_heads\": 4294967328") == "config_range");
  CHECK(with(today, "\"num_attention_heads\": 32", "\"num_attention_heads\": 33") == "config_mismatch");
  CHECK(with(today, "\"hidden_size\": 2560", "\"hidden_size\": 1073741824") == "config_range");
  CHECK(with(first, "\"n_embd\": 2560", "\"n_embd\": 4294967295") == "config_range");
  for (const char* bad : {"0", "-0.5", "1.5", "1e400"}) {
    CAPTURE(bad);
    CHECK(with(today, "0.4", bad) != "ok");
  }
  CHECK(with(today, "\"layer_norm_eps\": 1e-05", "\"layer_norm_eps\": NaN") == "json_syntax");
  CHECK(with(today, "\"layer_norm_eps\": 1e-05,", "") == "config_field");
  CHECK(with(today, "\"vocab_size\": 51200", "\"vocab_size\": 51200, \"vocab_size\": 51200") ==
        "duplicate_key");
  for (const char* json : {"", "[]", "{}", "{"}) CHECK_FALSE(parse_phi_config(json, false));
}

TEST_CASE("phi folder: a folder without tokenizer has none, half a tokenizer is an error") {
  const ocellus_tests::temporary_folder folder;
  auto words = read_tokenizer_folder(folder.path());
  REQUIRE(words);
  CHECK_FALSE(*words);
  ocellus_tests::write_text(folder / "vocab.json", "{}");
  words = read_tokenizer_folder(folder.path());
  REQUIRE_FALSE(words);
  CHECK(words.error().code() == error_code::not_found);
  const auto config = read_phi_config(folder.path(), false);
  REQUIRE_FALSE(config);
  CHECK(config.error().code() == error_code::not_found);
}
