// Writes the inputs that fuzzing begins with: fuzz_seeds FOLDER makes FOLDER/<target>/* for every target, out of what the
// other tests use. Each is accepted by its target, or wrong in one interesting place.
#define DOCTEST_CONFIG_IMPLEMENT  // support/small_tokenizer.hpp has assertions; none of them is used here
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz/model_file.hpp"
#include "support/picture_files.hpp"
#include "support/small_tokenizer.hpp"
#include "support/torch_archive.hpp"

using namespace ocellus;
using namespace ocellus_fuzz;
using namespace ocellus_tests;
namespace fs = std::filesystem;

namespace {

const fs::path test_data = OCELLUS_TEST_DATA;

class seed_folder {
 public:
  seed_folder(const fs::path& all, const char* target) : folder_(all / target) {
    fs::create_directories(folder_);
  }
  void add(const std::string& name, std::string_view bytes) const {
    std::ofstream file(folder_ / name, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    OCELLUS_HOLDS(file.good());
  }
  void add(const std::string& name, std::span<const std::byte> bytes) const { add(name, chars(bytes)); }
  /// The files of a folder that are not large.
  void copy(const fs::path& from, std::size_t most_bytes = 16384) const {
    for (const auto& entry : fs::directory_iterator(from)) {
      if (!entry.is_regular_file() || entry.file_size() > most_bytes) continue;
      fs::copy_file(entry.path(), folder_ / entry.path().filename(), fs::copy_options::overwrite_existing);
    }
  }

 private:
  fs::path folder_;
};

std::string file_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  OCELLUS_HOLDS(file.good());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// --- configurations and models ------------------------------------------------------------------------------------

/// Every part of the architecture at the smallest sizes that exercise it.
model_config small_config() {
  model_config c;
  c.has_vision = true;
  c.vit = {.image_size = 6, .patch_size = 2, .width = 12, .layers = 1, .heads = 2, .mlp_width = 20};
  c.qformer = {.queries = 2, .width = 8, .layers = 2, .heads = 1, .mlp_width = 12, .cross_layers = 1};
  c.projection_width = 10;
  c.phi = {.vocabulary = 20,
           .width = 16,
           .layers = 1,
           .heads = 2,
           .mlp_width = 24,
           .rotary_size = 4,
           .max_positions = 40,
           .qk_norm = true,
           .post_norm = true};
  return c;
}

struct named_config {
  const char* name;
  model_config config;
};

std::vector<named_config> configs() {
  model_config c = small_config();
  std::vector<named_config> all{{"picture", c}};
  c.vit.width = c.vit.heads = 1;
  c.vit.image_size = c.vit.patch_size = 1;
  c.qformer.cross_layers = 3;
  all.push_back({"least_picture", c});
  c = small_config();
  c.vit.width = 176;
  c.qformer.width = 130;
  c.phi.width = 160;
  c.phi.rotary_size = 80;
  all.push_back({"wide_heads", c});
  c = small_config();
  c.phi.vocabulary = byte_tokenizer::ids + 2;
  c.phi.max_positions = 200;
  all.push_back({"words", c});
  c.has_vision = c.phi.qk_norm = c.phi.post_norm = false;
  all.push_back({"text", c});
  c.phi = {.vocabulary = 1,
           .width = 2,
           .layers = 3,
           .heads = 1,
           .mlp_width = 1,
           .rotary_size = 2,
           .max_positions = 1,
           .rope_theta = 1e6f};
  all.push_back({"least", c});
  return all;
}

std::string config_text(const model_config& config) {
  const auto written = to_json(config, {});
  OCELLUS_HOLDS(written);
  return std::string(written->view());
}

float noise(std::string_view tensor, std::size_t i) {
  const bool is_norm = tensor.find("norm.weight") != std::string_view::npos;
  const auto bits = static_cast<std::uint32_t>((i + tensor.size() * 131) * 2654435761u) >> 16;
  return static_cast<float>(bits) / 65536.0f - 0.5f + (is_norm ? 1.0f : 0.0f);
}

/// Any bytes make a model there, small ones (mostly below 128: see size_from) a small one; those behind are values.
void write_sessions(const fs::path& all) {
  const seed_folder session(all, "session");
  const std::string values = floats({0.5f, -1.25f, 3e-3f, INFINITY, -NAN, 1e-40f});
  std::uint32_t state = 1;
  for (int i = 0; i < 24; ++i) {
    std::string bytes;
    for (int b = 0; b < 32; ++b)
      bytes += static_cast<char>(((state = state * 1664525 + 1013904223) >> 24) % 140);
    session.add("sizes_" + std::to_string(i), i % 2 == 0 ? bytes : bytes + values);
  }
}

/// The three layouts of Phi as they are, in every format, and each kind of change to each file: see checkpoint_fuzz.cpp.
void write_checkpoints(const fs::path& all) {
  const seed_folder checkpoint(all, "checkpoint");
  const auto add = [&](const std::string& name, std::initializer_list<int> numbers) {
    std::string bytes;
    for (const int n : numbers) bytes += static_cast<char>(n);
    checkpoint.add(name, bytes);
  };
  for (int layout = 0; layout < 3; ++layout) {
    for (int format = 0; format < 9; ++format)
      add("whole_" + std::to_string(layout) + std::to_string(format), {layout, format, 0x38});
  }
  for (int what = 0; what < 8; ++what) {
    for (int file = 0; file < 4; ++file)
      add("change_" + std::to_string(what) + std::to_string(file),
          {1, 9, 0x38, what, file, 7 * what + file, 0, 88, 0, 11 * file});
  }
}

void write_models(const fs::path& all) {
  const seed_folder config(all, "config"), model(all, "model");
  config.add("phi_today", file_text(test_data / "golden/phi-2/config.json"));
  config.add("phi_first", R"({"model_type": "phi-msft", "activation_function": "gelu_new", "vocab_size": 101,
    "n_embd": 80, "n_layer": 2, "n_head": 1, "n_head_kv": null, "n_inner": null, "n_positions": 128,
    "rotary_dim": 32, "layer_norm_epsilon": 1e-05, "tie_word_embeddings": false})");
  config.add("phi_rope", R"({"model_type": "phi", "hidden_act": "gelu_pytorch_tanh", "vocab_size": 101,
    "hidden_size": 80, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 160,
    "max_position_embeddings": 64, "layer_norm_eps": 1e-5, "qk_layernorm": true, "rope_scaling": null,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}})");
  std::size_t choice = 0;
  for (const auto& [name, sizes] : configs()) {
    config.add(name, config_text(sizes));
    for (const weight_format format : weight_formats) {
      const std::string which = std::string(name) + "_" + std::string(name_of(format));
      model_file_options options{.config = sizes, .format = format};
      if (choice++ % 3 == 0) options.template_name = "chat_v0";
      options.tokenizer = sizes.phi.vocabulary >= byte_tokenizer::ids;
      const auto file = make_model_file(options, noise);
      if (file.size() < 200'000) model.add(which, file);
    }
  }
}

// --- files of tensors ---------------------------------------------------------------------------------------------

// (The corpora of tests/data/corpora are inputs of these two as well.)
void write_tensor_files(const fs::path& all) {
  const seed_folder safetensors(all, "safetensors"), torch(all, "torch");
  safetensors.add("model", make_model_file({.config = configs().back().config}, noise));

  const std::string storage = py_storage("0", 12), tensor = py_tensor(storage, 0, {3, 4}, {4, 1});
  torch.add("dict", py_program(py_dict({{"a", tensor}, {"b", py_tensor(storage, 2, {2, 2}, {1, 4})}})));
  torch.add("model", py_program(py_dict({{"model", py_dict({{"w", tensor}})}, {"epoch", py_int(3)}})));
  torch.add("half", py_program(py_dict({{"h", py_tensor(py_storage("1", 48, "HalfStorage"), 1, {5}, {9})}})));
  torch.add("empty", py_program(py_dict({{"e", py_tensor(py_storage("2", 0), 0, {0, 3}, {3, 1})}})));
  torch.add("numbers", std::string("\0\0\0\1\2\2\4\3\1"
                                   "\1\1\0\5\3\2\12\2\5\1\1",
                                   20));
  torch.add("archive",
            make_checkpoint({{"w", {2, 2}, {1, 2, 3, 4}}, {"v", {3}, {5, 6, 7}}, {"s", {}, {8}}}, true));
}

// --- text ---------------------------------------------------------------------------------------------------------

void write_texts(const fs::path& all) {
  const seed_folder json(all, "json"), tokenizer(all, "tokenizer"), text(all, "text");
  json.add("config", config_text(small_config()));
  json.add("added_tokens", file_text(test_data / "tokenizer/added_tokens.json"));
  json.add("values", R"([null, true, false, 0, -0, 1.5e-3, -12345678901234567890, 1e400, 18446744073709551615,
    "a\u00e4\ud83d\ude00\n\"\\\/", {"": {}, "k": [[], [[{}]]]}, 9007199254740993, 5e-324])");
  json.add("nested", std::string(60, '[') + "1" + std::string(60, ']'));

  const small_tokenizer words;
  tokenizer.add("files", std::string(1, '\0') + words.vocab_json() + "\xff" + words.merges_txt() + "\xff" +
                             words.added);
  tokenizer.add("no_added", std::string(1, '\0') + words.vocab_json() + "\xff" + words.merges_txt());
  tokenizer.add("json", "\x01" + words.tokenizer_json());
  small_tokenizer pairs = words;
  pairs.json_merges = words.merge_pairs();
  tokenizer.add("json_pairs", "\x01" + pairs.tokenizer_json());
  const byte_tokenizer arrays;
  const tokenizer_data data = arrays.data();
  std::string parts = "\x05";
  for (const auto part : {data.bytes, data.offsets, data.merges, data.added, data.special})
    parts += little(part.size(), 2) + std::string(chars(part));
  tokenizer.add("arrays", parts);
  tokenizer.add("more_files", "\x02,\"ab\": 257, \"abc\": 300\xff#version\na b\nab c\n\xff{\"  \": 301}");
  const std::string added = R"("added_tokens":[{"id": 256, "content": "<|endoftext|>", "single_word": false,
    "lstrip": false, "rstrip": false, "normalized": false, "special": true}])";
  tokenizer.add("more_json",
                "\x03,\"ab\":257,\"bc\":258,\"abc\":259\xff,\"merges\":[\"b c\",\"a bc\"]\xff"
                "," +
                    added);
  // Tokens, the end of them, the special one's id, two merges, two added tokens with their flags.
  const auto number = [](unsigned n) { return little(n, 2); };
  tokenizer.add("more_arrays", std::string("\x04\x03"
                                           "ab"
                                           "\x04"
                                           "abc"
                                           "\x01\x04"
                                           "end"
                                           "\x04"
                                           "two") +
                                   '\0' + number(259) + '\2' + number('a') + number('b') + number(256) +
                                   number('c') + '\2' + number(259) + '\3' + number(260) + '\2');

  text.add("box",
           "\x01\x02\x03\x04<p>a red car</p> {<10><20><55><60>}<delim>{<1><2><3><100>} {<9><8><7><6>}");
  text.add("stops",
           "seed###Human: <Img></Img> [vqa] is this \xe2\x82\xac 5?  ###Assistant:   it's they'll###");
  text.add("spaces", std::string("\0\1\0\1 \n\n  a   \t\xc2\xa0\xe3\x80\x80  b <|endoftext|> ", 32));
  text.add("long_word", "long" + std::string(90, 'a') + "bcd" + std::string(60, '='));
  text.add("broken", "\x09\x08\x07\x06\xf0\x9f\x98 \xc3\xe4\xf0\x9f\x98\x80\xed\xa0\x80\xff\x80");
  std::ifstream cases(test_data / "tokenizer/cases.jsonl");
  int line = 0;
  for (std::string one; std::getline(cases, one); ++line) {
    if (line % 25 == 0 && one.size() < 600) text.add("case_" + std::to_string(line), one);
  }
}

// --- pictures -----------------------------------------------------------------------------------------------------

/// Rows for png(): filter bytes 0 to 4 in turn, then bytes that count.
std::string png_rows(std::size_t row_bytes, std::size_t rows) {
  std::string all;
  for (std::size_t y = 0; y < rows; ++y) {
    all += static_cast<char>(y % 5);
    for (std::size_t x = 0; x < row_bytes; ++x) all += static_cast<char>(x * 37 + y * 11);
  }
  return all;
}

void write_pictures(const fs::path& all) {
  const seed_folder image(all, "image");
  image.copy(test_data / "image", 2048);
  image.copy(test_data / "resize", 8192);
  const auto add = [&](const char* name, const png_parts& parts) { image.add(name, png(parts)); };
  const std::string palette = png_chunk("PLTE", "\x10\x20\x30\x40\x50\x60\x70\x80\x90");
  const std::string exif("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 26);
  add("rgb.png", {.width = 3, .height = 5, .rows = png_rows(9, 5)});
  add("rgb16.png", {.width = 2, .height = 5, .bits = 16, .rows = png_rows(12, 5)});
  add("gray1.png", {.width = 9, .height = 6, .bits = 1, .color = 0, .rows = png_rows(2, 6)});
  add("gray16.png", {.width = 2, .height = 2, .bits = 16, .color = 0, .rows = png_rows(4, 2)});
  add("gray_alpha.png", {.width = 2, .height = 3, .color = 4, .rows = png_rows(4, 3)});
  add("rgba.png",
      {.width = 2, .height = 3, .color = 6, .before_data = png_chunk("eXIf", exif), .rows = png_rows(8, 3)});
  add("palette2.png",
      {.width = 5, .height = 2, .bits = 2, .color = 3, .before_data = palette, .rows = png_rows(2, 2)});
  add("interlaced.png", {.width = 1, .height = 1, .interlace = 1, .rows = png_rows(3, 1)});
  add("zeros.png", {.width = 100, .height = 50, .stream = zlib_zeros(50 * 301 + 258)});
  image.add("exif", exif);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "fuzz_seeds FOLDER\n");
    return 2;
  }
  const fs::path all = arguments[1];
  write_models(all);
  write_sessions(all);
  write_checkpoints(all);
  write_tensor_files(all);
  write_texts(all);
  write_pictures(all);
  return 0;
}
