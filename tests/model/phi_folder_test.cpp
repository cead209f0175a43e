// config.json of Phi-2 in its two forms: what matters is read, what would change the computation unnoticed is refused.
#include "ocellus/model/phi_folder.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/small_tokenizer.hpp"
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

TEST_CASE("phi folder: every integer of both forms is checked") {
  struct form {
    std::string json;
    std::vector<std::string> fields;
  };
  for (const form& f :
       {form{today,
             {"hidden_size\": 2560", "intermediate_size\": 10240", "num_hidden_layers\": 32",
              "num_attention_heads\": 32", "max_position_embeddings\": 2048", "vocab_size\": 51200"}},
        form{first,
             {"n_embd\": 2560", "n_layer\": 32", "n_head\": 32", "n_positions\": 2048", "rotary_dim\": 32",
              "vocab_size\": 51200"}}}) {
    for (const std::string& field : f.fields) {
      CAPTURE(field);
      const std::string name = "\"" + field.substr(0, field.find(' ') + 1);
      struct row {
        const char* value;
        const char* verdict;
      };
      for (const row& r :
           {row{"null", "config_field"}, row{"\"7\"", "config_field"}, row{"2.0", "config_field"},
            row{"2.5", "config_field"}, row{"-1", "config_field"}, row{"true", "config_field"},
            row{"[32]", "config_field"}, row{"1e400", "config_field"},
            row{"18446744073709551616", "config_field"}, row{"0", "config_range"},
            row{"2147483648", "config_range"}, row{"9007199254740993", "config_range"}}) {
        const std::string value = r.value;
        CAPTURE(value);
        CHECK(with(f.json, "\"" + field, name + value) == r.verdict);
      }
      CHECK(with(f.json, "\"" + field, "\"not " + field) == "config_field");  // missing
    }
  }
}

TEST_CASE("phi folder: config.json is strict JSON of bounded size") {
  struct row {
    std::string what, from, to, verdict;
  };
  const std::string deep(100'000, '[');
  const row rows[] = {
      {"a byte order mark", "{\"model_type\"", "\xef\xbb\xbf{\"model_type\"", "json_syntax"},
      {"a comment", "\"model_type\"", "/* Phi-2 */ \"model_type\"", "json_syntax"},
      {"a comment at a line's end", "\"model_type\"", "// Phi-2\n\"model_type\"", "json_syntax"},
      {"infinity, as Python writes it", "10000.0", "Infinity", "json_syntax"},
      {"no number, as Python writes it", "\"auto_map\": {\"x\": \"y\"}", "\"x\": NaN", "json_syntax"},
      {"a comma too many", "{\"x\": \"y\"}}", "{\"x\": \"y\"},}", "json_syntax"},
      {"arrays in arrays", "{\"x\": \"y\"}", deep + std::string(100'000, ']'), "json_depth"},
      {"an end too early", "{\"x\": \"y\"}}", deep, "json_depth"},
      {"a key twice in an object that does not matter", "{\"x\": \"y\"}", "{\"x\": 1, \"x\": 2}",
       "duplicate_key"},
      {"an unknown type of elements: the tensors say theirs", "\"qk_layernorm\"",
       "\"torch_dtype\": \"int3\", \"qk_layernorm\"", "ok"},
      {"ids outside the vocabulary: the tokenizer says its own", "\"qk_layernorm\"",
       "\"eos_token_id\": -7, \"bos_token_id\": [1, 2], \"qk_layernorm\"", "ok"},
      {"a program of its own, which nobody runs", "{\"x\": \"y\"}", "{\"AutoModel\": \"evil.Model\"}", "ok"},
      {"another list of architectures", "\"qk_layernorm\"",
       "\"architectures\": [\"Other\"], \"qk_layernorm\"", "ok"},
      {"a rotary part of an odd size", "\"partial_rotary_factor\": 0.4", "\"partial_rotary_factor\": 0.3875",
       "config_mismatch"},
      {"no rotary part", "\"partial_rotary_factor\": 0.4", "\"partial_rotary_factor\": 0.001",
       "config_range"},
      {"a rotary part with NaN", "\"partial_rotary_factor\": 0.4", "\"partial_rotary_factor\": NaN",
       "json_syntax"},
      {"rope_theta 0", "10000.0", "0", "config_range"},
      {"rope_theta below 0", "10000.0", "-10000.0", "config_range"},
      {"an eps of 0", "1e-05", "0.0", "config_range"},
      {"an eps below 0", "1e-05", "-1e-05", "config_range"},
      {"an eps that is huge", "1e-05", "1e30", "config_range"},
      {"positions for a cache without bound", "\"max_position_embeddings\": 2048",
       "\"max_position_embeddings\": 1073741824", "config_range"},
  };
  for (const row& r : rows) {
    CAPTURE(r.what);
    CHECK(with(today, r.from, r.to) == r.verdict);
  }
  const ocellus_tests::temporary_folder folder;
  ocellus_tests::write_text(folder / "config.json", today + std::string(1u << 20, ' '));
  const auto large = read_phi_config(folder.path(), false);
  REQUIRE_FALSE(large);
  CHECK(large.error().code() == error_code::too_large);
  ocellus_tests::write_text(folder / "config.json", today);
  CHECK(read_phi_config(folder.path(), false));
}

TEST_CASE("phi folder: vocab.json goes before tokenizer.json") {
  const ocellus_tests::temporary_folder folder;
  const ocellus_tests::small_tokenizer words;
  ocellus_tests::write_text(folder / "tokenizer.json", words.tokenizer_json());
  const auto size = [&folder] {
    const auto made = read_tokenizer_folder(folder.path());
    REQUIRE(made);
    REQUIRE(*made);
    return (*made)->vocab_size();
  };
  CHECK(size() == 301);
  ocellus_tests::write_text(folder / "vocab.json", words.vocab_json());
  ocellus_tests::write_text(folder / "merges.txt", words.merges_txt());
  CHECK(size() == 265);
  ocellus_tests::write_text(folder / "added_tokens.json", words.added);
  CHECK(size() == 302);
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
