// convert: every published form of a model gives the same file, with the values that the formulas say; every file that
// does not fit is refused by name.
#include "ocellus/model/convert.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "ocellus/io/safetensors.hpp"
#include "ocellus/model/convert_sources.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/model/position_table.hpp"
#include "ocellus/text/tokenizer.hpp"
#include "ocellus/thread_pool.hpp"
#include "support/counting_memory.hpp"
#include "support/published_files.hpp"
#include "support/skip.hpp"
#include "support/small_tokenizer.hpp"

#if !defined(_WIN32)
#include <signal.h>
#include <sys/resource.h>
#endif

using namespace ocellus;
using namespace ocellus_tests;

namespace {

using form = published_files::phi_form;

/// One conversion in a folder of its own.
struct attempt {
  temporary_folder folder;
  std::string output = folder / "model.safetensors";
  convert_options options;
  published_files::paths paths;
  host hooks;
  std::string code;
  std::string message;
  convert_report report;

  explicit attempt(const published_files& files, form phi = form::safetensors)
      : paths(files.write(folder, phi)) {
    options.vit = paths.vit;
    options.qformer = paths.qformer;
    options.phi = paths.phi;
    options.stage = paths.stage;
    options.output = output;
    options.format = weight_format::f32;
  }
  attempt& run() {
    auto done = convert(options, hooks);
    code = done ? "ok" : name_of(done.error().code());
    message = done ? "" : done.error().message();
    if (done) report = std::move(*done);
    return *this;
  }
  std::string written() const { return read_text(output); }
};

std::string converted(const published_files& files, form phi = form::safetensors) {
  attempt a(files, phi);
  a.run();
  INFO(a.message);
  REQUIRE(a.code == "ok");
  return a.written();
}
/// The verdict on changed files, and what the message must name.
void refused(const published_files& files, const std::string& code, const std::string& names,
             form phi = form::safetensors) {
  attempt a(files, phi);
  a.run();
  CAPTURE(a.message);
  CHECK(a.code == code);
  CHECK(a.message.find(names) != std::string::npos);
  CHECK(a.written().empty());
}

/// A model file with its packed matrices as rows.
struct opened {
  exact_bytes bytes;
  safetensors file;

  explicit opened(const std::string& content) : bytes(content), file(parse(bytes)) {}
  static safetensors parse(const exact_bytes& b) {
    auto parsed = safetensors::parse(b.span());
    REQUIRE(parsed);
    return std::move(*parsed);
  }
  const tensor_info& at(const std::string& name) const {
    const tensor_info* t = file.find(name);
    REQUIRE_MESSAGE(t != nullptr, name);
    return *t;
  }
  float matrix(const std::string& name, std::uint32_t k, std::uint32_t row, std::uint32_t column,
               weight_format format = weight_format::f32) const {
    const std::byte* scales = is_quantized(format) ? at(name + ".scales").bytes.data() : nullptr;
    return packed_at(format, at(name).bytes.data(), scales, k, row, column);
  }
  float vector(const std::string& name, std::size_t i) const { return at(name).load<float>(i); }
};

float value(const std::string& name, std::size_t i) { return published_value(name, i); }

}  // namespace

TEST_CASE("convert: layouts, wrappers and containers of one model give the same bytes") {
  const std::string expected = converted(published_files());
  CHECK(expected.size() > 100'000);
  CHECK(converted(published_files(phi_layout::first)) == expected);
  CHECK(converted(published_files(phi_layout::separate)) == expected);
  CHECK(converted(published_files(), form::shards) == expected);
  CHECK(converted(published_files(), form::bin) == expected);
  CHECK(converted(published_files(phi_layout::first), form::bin_shards) == expected);
  published_files files;
  published_files::rename(files.stage_file, "lora_A.weight", "lora_A.default.weight");
  published_files::rename(files.stage_file, "lora_B.weight", "lora_B.default.weight");
  CHECK(converted(files) == expected);
  published_files::rename(files.stage_file, "base_model.model.", "");
  CHECK(converted(files) == expected);
  tensor_map wrapped;
  for (const auto& [name, t] : files.stage_file) wrapped["module." + name] = t;
  files.stage_file = wrapped;
  CHECK(converted(files) == expected);
}

TEST_CASE("convert: the model opens, with the sizes of the files") {
  attempt a{published_files()};
  REQUIRE(a.run().code == "ok");
  const auto made = model::open(a.output);
  REQUIRE(made);
  const model_config& c = made->config();
  CHECK(c.has_vision);
  CHECK(c.vit.image_size == 4);
  CHECK(c.vit.patch_size == 2);
  CHECK(c.vit.width == 88);
  CHECK(c.vit.layers == 2);
  CHECK(c.vit.heads == 1);
  CHECK(c.vit.mlp_width == 10);
  CHECK(c.qformer.queries == 3);
  CHECK(c.qformer.layers == 2);
  CHECK(c.qformer.heads == 1);
  CHECK(c.qformer.cross_layers == 1);
  CHECK(c.qformer.mlp_width == 6);
  CHECK(c.projection_width == 5);
  CHECK(c.phi.heads == 2);
  CHECK(c.phi.rotary_size == 4);
  CHECK(c.phi.qk_norm);
  CHECK(c.phi.post_norm);
  CHECK(made->aligned());
  CHECK(made->tokenizer() == nullptr);
  CHECK(made->default_template() == "alignment");
  REQUIRE(made->stops().size() == 1);
  CHECK(made->stops()[0] == "###");
  CHECK(a.report.file.bytes > 0);
  CHECK(a.report.count(convert_note::merged) == 4);
  CHECK(a.report.count(convert_note::overlaid) == 4);  // two input norms, the final norm, position_ids
  CHECK(a.report.count(convert_note::defaulted) == 4);
}

TEST_CASE("convert: values are those of the formulas") {
  const opened f(converted(published_files()));
  const std::string block = "blocks.1.attn.", layer = "Qformer.bert.encoder.layer.0.crossattention.self.";
  CHECK(f.matrix("vision.blocks.1.qkv.weight", 88, 200, 7) == value(block + "qkv.weight", 200 * 88 + 7));
  CHECK(f.vector("vision.blocks.1.qkv.bias", 3) == value(block + "q_bias", 3));
  CHECK(f.vector("vision.blocks.1.qkv.bias", 88 + 3) == 0.0f);
  CHECK(f.vector("vision.blocks.1.qkv.bias", 176 + 3) == value(block + "v_bias", 3));
  CHECK(f.matrix("vision.patch.weight", 12, 5, 11) == value("patch_embed.proj.weight", 5 * 12 + 11));
  CHECK(f.at("vision.class").dims == shape{1, 88});
  CHECK(f.vector("vision.class", 87) == value("cls_token", 87));
  CHECK(f.at("vision.positions").dims == shape{5, 88});
  CHECK(f.vector("vision.positions", 100) == value("pos_embed", 100));
  CHECK(f.vector("qformer.queries", 64) == value("query_tokens", 64));
  CHECK(f.matrix("qformer.layers.0.cross.kv.weight", 88, 63, 9) == value(layer + "key.weight", 63 * 88 + 9));
  CHECK(f.matrix("qformer.layers.0.cross.kv.weight", 88, 64, 9) == value(layer + "value.weight", 9));
  CHECK(f.vector("qformer.layers.0.cross.kv.bias", 65) == value(layer + "value.bias", 1));
  CHECK(f.vector("phi.norm.bias", 2) == value("model.final_layernorm.bias", 2));
  // The stage file's weights win; its biases are Phi-2's.
  const std::string stage = "llama_model.base_model.model.model.";
  CHECK(f.vector("phi.norm.weight", 2) == value(stage + "final_layernorm.weight", 2));
  CHECK(f.vector("phi.layers.1.norm.weight", 2) == value(stage + "layers.1.input_layernorm.weight", 2));
  CHECK(f.vector("phi.layers.1.norm.bias", 2) == value("model.layers.1.input_layernorm.bias", 2));
  CHECK(f.vector("phi.layers.1.q_norm.weight", 2) ==
        value(stage + "layers.1.self_attn.q_layernorm.weight", 2));
  CHECK(f.vector("phi.layers.1.q_norm.bias", 2) == 0.0f);
  // Rows [heads][3][8] become [3][heads][8], and LoRA comes on top: alpha / rank = 16 / 4.
  const std::string attention = "layers.0.self_attn.query_key_value.";
  for (std::uint32_t row = 0; row < 48; ++row) {
    const std::uint32_t part = row / 16, head = row % 16 / 8, d = row % 8, from = (head * 3 + part) * 8 + d;
    CHECK(f.vector("phi.layers.0.qkv.bias", row) == value("model." + attention + "bias", from));
    for (std::uint32_t column = 0; column < 16; ++column) {
      double sum = value("model." + attention + "weight", from * 16 + column);
      for (std::uint32_t r = 0; r < 4; ++r) {
        sum += 4.0 * value(stage + attention + "lora_B.weight", from * 4 + r) *
               value(stage + attention + "lora_A.weight", r * 16 + column);
      }
      CHECK(std::abs(f.matrix("phi.layers.0.qkv.weight", 16, row, column) - sum) < 2e-6);
    }
  }
  double dense = value("model.layers.0.self_attn.dense.weight", 3 * 16 + 5);
  for (std::uint32_t r = 0; r < 4; ++r) {
    dense += 4.0 * value(stage + "layers.0.self_attn.dense.lora_B.weight", 3 * 4 + r) *
             value(stage + "layers.0.self_attn.dense.lora_A.weight", r * 16 + 5);
  }
  CHECK(std::abs(f.matrix("phi.layers.0.dense.weight", 16, 3, 5) - dense) < 2e-6);
  // The table is row-major with rows of 64.
  CHECK(f.at("phi.embedding").dims == shape{20, 64});
  CHECK(f.vector("phi.embedding", 19 * 64 + 15) == value("model.embed_tokens.weight", 19 * 16 + 15));
  CHECK(f.vector("phi.embedding", 19 * 64 + 16) == 0.0f);
  // Padding of packed matrices is 0.
  CHECK(f.at("phi.head.weight").dims == shape{2, 64, 16});
  CHECK(f.matrix("phi.head.weight", 64, 20, 0) == 0.0f);
  CHECK(f.matrix("phi.head.weight", 64, 0, 16) == 0.0f);
}

TEST_CASE("convert: the position table is resized, its class row stays") {
  attempt a{published_files()};
  a.options.image_size = 6;
  REQUIRE(a.run().code == "ok");
  CHECK(a.report.config.vit.image_size == 6);
  CHECK(a.report.count(convert_note::resized) == 1);
  const opened f(a.written());
  CHECK(f.at("vision.positions").dims == shape{10, 88});
  for (std::uint32_t c = 0; c < 88; ++c) {
    REQUIRE(f.vector("vision.positions", c) == value("pos_embed", c));
    for (std::uint32_t at = 0; at < 9; ++at) {
      const cubic_taps y = cubic_taps_at(at / 3, 2, 3), x = cubic_taps_at(at % 3, 2, 3);
      double sum = 0;
      for (int i = 0; i < 16; ++i) {
        const std::uint32_t from = 1 + y.index[i / 4] * 2 + x.index[i % 4];
        sum += double{y.weight[i / 4]} * double{x.weight[i % 4]} * double{value("pos_embed", from * 88 + c)};
      }
      REQUIRE(std::abs(f.vector("vision.positions", (at + 1) * 88 + c) - sum) < 1e-6);
    }
  }
}

TEST_CASE("convert: a stage file may hold a Q-Former and even fused weights of another layout") {
  published_files files(phi_layout::separate);
  const std::string query = "Qformer.bert.encoder.layer.1.attention.self.query.weight";
  published_files::add(files.stage_file, query, {64, 64});
  for (float& v : files.stage_file[query].values) v += 2;
  const std::string fused = "llama_model.base_model.model.model.layers.0.self_attn.query_key_value.";
  published_files::add_linear(files.stage_file, fused.substr(0, fused.size() - 1), 48, 16);
  const opened f(converted(files));
  CHECK(f.matrix("qformer.layers.1.self.qkv.weight", 64, 3, 5) == value(query, 3 * 64 + 5) + 2);
  CHECK(f.vector("phi.layers.0.qkv.bias", 16) ==
        value(fused + "bias", 8));  // k of head 0: the second eight rows
  CHECK(f.vector("phi.layers.1.qkv.bias", 16) == value("model.layers.1.self_attn.query_key_value.bias", 8));
}

TEST_CASE("convert: formats round to nearest, vectors stay f32, everything large is aligned") {
  for (const weight_format format : weight_formats) {
    CAPTURE(std::string(name_of(format)));
    attempt a{published_files()};
    a.options.format = format;
    REQUIRE(a.run().code == "ok");
    const opened f(a.written());
    const float exact = value("blocks.0.mlp.fc1.weight", 3 * 88 + 9);
    const float expected = format == weight_format::f32   ? exact
                           : format == weight_format::f16 ? to_f32(to_f16(exact))
                                                          : to_f32(to_bf16(exact));
    const float found = f.matrix("vision.blocks.0.fc1.weight", 88, 3, 9, format);
    if (is_quantized(format)) {
      CHECK(std::abs(found - exact) < (format == weight_format::q8 ? 0.005f : 0.1f));
      CHECK(f.at("phi.head.weight").type == dtype::i8);
      CHECK(f.at("phi.embedding.scales").dims == shape{20, 2});
    } else {
      CHECK(found == expected);
    }
    CHECK(f.at("phi.embedding").type == dtype_of_format(format));
    CHECK(f.at("phi.norm.weight").type == dtype::f32);
    bool large = true;
    for (const tensor_info& t : f.file.tensors()) {
      std::string name(t.name);
      if (name.ends_with(".scales")) name.resize(name.size() - 7);
      const bool is_large =
          f.file.metadata("ocellus.matrices")->find("\"" + name + "\":{") != std::string_view::npos;
      CHECK((!is_large || large));  // no matrix behind a vector
      large = is_large;
      if (is_large && t.name != "phi.embedding.scales")
        CHECK((t.bytes.data() - f.bytes.span().data()) % 64 == 0);
    }
    CHECK(f.file.metadata("ocellus.format") == "0");
    CHECK(f.file.metadata("ocellus.template") == "alignment");
    CHECK(f.file.metadata("ocellus.stops") == "[\"###\"]");
    CHECK(model::open(a.output));
  }
}

TEST_CASE("convert: the picture side may have a format of its own, and q4 keeps lm_head at q8") {
  attempt a{published_files()};
  a.options.format = weight_format::q4;
  a.options.vision_format = weight_format::bf16;
  REQUIRE(a.run().code == "ok");
  const opened f(a.written());
  CHECK(f.at("vision.blocks.0.fc1.weight").type == dtype::bf16);
  CHECK(f.at("qformer.layers.0.cross.kv.weight").type == dtype::bf16);
  CHECK(f.at("projection.1.weight").type == dtype::bf16);
  CHECK(f.at("phi.layers.0.qkv.weight").type == dtype::u8);
  CHECK(f.at("phi.embedding").type == dtype::u8);
  CHECK(f.at("phi.head.weight").type == dtype::i8);
  CHECK(a.report.file.bytes > a.report.file.matrix_bytes);
  CHECK(a.report.file.bits_per_weight() > 4.5);
  CHECK(model::open(a.output));
}

TEST_CASE("convert: the bytes do not depend on the workers") {
  auto pool = thread_pool::make(3);
  REQUIRE(pool);
  for (const weight_format format : weight_formats) {
    CAPTURE(std::string(name_of(format)));
    attempt alone{published_files()}, together{published_files()};
    alone.options.format = together.options.format = format;
    together.hooks.tasks = pool->hooks();
    REQUIRE(alone.run().code == "ok");
    REQUIRE(together.run().code == "ok");
    CHECK(alone.written() == together.written());
  }
}

TEST_CASE("convert: Phi-2 alone is a model without pictures and without the extra norms") {
  attempt a{published_files()};
  a.options.vit = a.options.qformer = a.options.stage = {};
  REQUIRE(a.run().code == "ok");
  const auto made = model::open(a.output);
  REQUIRE(made);
  CHECK_FALSE(made->config().has_vision);
  CHECK_FALSE(made->config().phi.qk_norm);
  CHECK_FALSE(made->config().phi.post_norm);
  CHECK(made->default_template() == "caption");
  const opened f(a.written());
  CHECK(f.file.find("phi.layers.0.q_norm.weight") == nullptr);
  CHECK(f.matrix("phi.layers.0.dense.weight", 16, 3, 5) ==
        value("model.layers.0.self_attn.dense.weight", 3 * 16 + 5));
}

TEST_CASE("convert: extra norms are all there or all made up") {
  const opened f(converted(published_files(phi_layout::fused, false)));
  CHECK(f.vector("phi.layers.1.q_norm.weight", 3) == 1.0f);
  CHECK(f.vector("phi.layers.1.k_norm.bias", 3) == 0.0f);
  CHECK(f.vector("phi.layers.0.post_norm.weight", 3) == 1.0f);
  published_files files;
  files.stage_file.erase("llama_model.base_model.model.model.layers.1.post_layernorm.weight");
  refused(files, "tensor_missing", "layers.1.post_layernorm.weight\", but 5 of 6");
  files = published_files(phi_layout::fused, false);
  published_files::add(files.stage_file, "llama_model.model.layers.0.self_attn.k_layernorm.weight", {8});
  refused(files, "tensor_missing", "layers.0.self_attn.q_layernorm.weight\", but 1 of 6");
}

TEST_CASE("convert: the tokenizer and the template go into the file") {
  published_files files;
  small_tokenizer words;
  files.other_files = {{"vocab.json", words.vocab_json()},
                       {"merges.txt", words.merges_txt()},
                       {"added_tokens.json", words.added}};
  refused(files, "config_mismatch", "the embedding only 20 rows");
  published_files::add(files.phi_file, "model.embed_tokens.weight", {400, 16});
  published_files::add_linear(files.phi_file, "lm_head", 400, 16);
  files.config.replace(files.config.find("\"vocab_size\": 20"), 16, "\"vocab_size\": 400");
  attempt a(files);
  a.options.template_name = "micro";
  REQUIRE(a.run().code == "ok");
  const auto made = model::open(a.output);
  REQUIRE(made);
  REQUIRE(made->tokenizer() != nullptr);
  CHECK(made->tokenizer()->vocab_size() == 302);
  const auto direct =
      tokenizer::from_files({files.other_files["vocab.json"], files.other_files["merges.txt"], words.added});
  REQUIRE(direct);
  array<std::uint32_t> ids, expected;
  CHECK(made->tokenizer()->encode("abc the   aaaa", ids));
  CHECK(direct->encode("abc the   aaaa", expected));
  CHECK(ids.size() < 10);
  CHECK(std::equal(ids.begin(), ids.end(), expected.begin(), expected.end()));
  CHECK(made->default_template() == "micro");
  a.options.template_name = "nonsense";
  CHECK(a.run().code == "template_unknown");
}

TEST_CASE("convert: a missing, unknown or misshapen tensor is named") {
  published_files files;
  files.vit_file.erase("blocks.1.attn.q_bias");
  refused(files, "tensor_missing", "visual_encoder.blocks.1.attn.q_bias");
  files = published_files();
  files.phi_file.erase("lm_head.bias");
  refused(files, "tensor_missing", "llama_model.lm_head.bias");
  files = published_files();
  files.phi_file.erase("model.layers.1.self_attn.query_key_value.weight");
  refused(files, "tensor_missing", "layers.1.self_attn.query_key_value.weight");
  files = published_files(phi_layout::separate);
  files.phi_file.erase("model.layers.1.self_attn.k_proj.weight");
  refused(files, "tensor_missing", "layers.1.self_attn.k_proj.weight");
  files = published_files();
  files.stage_file.erase("llama_model.base_model.model.model.layers.0.self_attn.dense.lora_B.weight");
  refused(files, "tensor_missing", "dense.lora_B.weight");
  files = published_files();
  files.stage_file.erase("llama_proj.weight");
  refused(files, "tensor_missing", "llama_proj.weight");
  files = published_files();
  files.qformer_file.erase("query_tokens");
  refused(files, "tensor_missing", "query_tokens");
  files = published_files();
  published_files::add(files.stage_file, "llama_model.model.layers.2.self_attn.q_layernorm.weight", {8});
  refused(files, "tensor_unknown", "layers.2.self_attn.q_layernorm.weight");
  files = published_files();
  published_files::add(files.phi_file, "model.layers.0.self_attn.q_proj.weight", {16, 16});
  refused(files, "tensor_unknown", "q_proj");
  files = published_files();
  published_files::add(files.qformer_file, "surprise", {1});
  refused(files, "tensor_unknown", "surprise");
  files = published_files();
  published_files::add(files.phi_file, "model.layers.0.mlp.fc1.weight", {16, 12});  // transposed
  refused(files, "tensor_shape", "[16, 12], expected [12, 16]");
  files = published_files();
  published_files::add(files.phi_file, "lm_head.bias", {1, 20});
  refused(files, "tensor_shape", "[1, 20], expected [20]");
  files = published_files();
  published_files::add(files.vit_file, "pos_embed", {1, 6, 88});
  refused(files, "config_mismatch", "6 rows");
  files = published_files();
  published_files::add(files.stage_file, "module.llama_proj.bias", {5});
  refused(files, "duplicate_key", "llama_proj.bias");
  files = published_files();
  published_files::add(files.stage_file, std::string(300, 'x'), {5});
  refused(files, "tensor_unknown", "xxx");
}

TEST_CASE("convert: a weight that no rule knows is the library's own mistake") {
  checkpoint none{host()};
  REQUIRE(none.seal());
  convert_report report;
  const model_config config;
  weight_finder finder(none, config, 16.0f, report);
  const auto found =
      finder.find({tensor_name("phi.layers.0.surprise.weight"), weight_kind::matrix, {}, 16, 16});
  REQUIRE_FALSE(found);
  CHECK(found.error().code() == error_code::internal);
  CHECK(std::string(found.error().message()).find("phi.layers.0.surprise.weight") != std::string::npos);
}

TEST_CASE("convert: weights that are not finite or too large for the format are named") {
  published_files files;
  files.phi_file["model.layers.1.mlp.fc2.weight"].values[17] = NAN;
  refused(files, "weight_range", "phi.layers.1.fc2.weight");
  files = published_files();
  files.phi_file["model.layers.1.mlp.fc2.bias"].values[3] = -INFINITY;
  refused(files, "weight_range", "phi.layers.1.fc2.bias");
  files = published_files();
  const auto with = [&files](float v, weight_format format) {
    files.phi_file["model.embed_tokens.weight"].values[5] = v;
    attempt a(files);
    a.options.format = format;
    return a.run().code;
  };
  CHECK(with(65519.0f, weight_format::f16) == "ok");
  CHECK(with(65520.0f, weight_format::f16) == "weight_range");
  CHECK(with(65520.0f, weight_format::bf16) == "ok");
  CHECK(with(3.4e38f, weight_format::bf16) == "weight_range");
  CHECK(with(3.4e38f, weight_format::f32) == "ok");
  for (const weight_format format : {weight_format::q8, weight_format::q4}) {
    CHECK(with(-32768.0f, format) == "ok");
    CHECK(with(-32769.0f, format) == "weight_range");
  }
}

TEST_CASE("convert: options are checked before anything is read") {
  const published_files files;
  const auto with = [&files](const std::function<void(convert_options&)>& edit) {
    attempt a(files);
    edit(a.options);
    a.run();
    CHECK(a.written().empty());
    return a.code;
  };
  CHECK(with([](convert_options& o) { o.phi = {}; }) == "invalid_argument");
  CHECK(with([](convert_options& o) { o.output = {}; }) == "invalid_argument");
  CHECK(with([](convert_options& o) { o.vit = {}; }) == "invalid_argument");
  CHECK(with([](convert_options& o) { o.vit = o.qformer = {}; }) == "invalid_argument");
  CHECK(with([](convert_options& o) { o.vit = o.qformer = o.stage = {}, o.image_size = 4; }) ==
        "invalid_argument");
  CHECK(with([](convert_options& o) { o.lora_alpha = 0; }) == "invalid_argument");
  CHECK(with([](convert_options& o) { o.lora_alpha = NAN; }) == "invalid_argument");
  CHECK(with([](convert_options& o) { o.image_size = 5; }) == "config_mismatch");
  CHECK(with([](convert_options& o) { o.image_size = 1u << 20; }) == "config_range");
  CHECK(with([](convert_options& o) { o.stage = {}; }) ==
        "tensor_missing");  // llama_proj is in no other file
  CHECK(with([](convert_options& o) { o.vit = "/nowhere/eva.pth"; }) == "not_found");
}

TEST_CASE("convert: an input is never replaced, an old output only by a whole new one") {
  attempt a{published_files()};
  const std::string stage = read_text(a.paths.stage);
  a.options.output = a.paths.stage;
  CHECK(a.run().code == "output_is_input");
  std::error_code failed;
  std::filesystem::create_hard_link(a.paths.stage, a.folder / "link.safetensors", failed);
  REQUIRE_FALSE(failed);
  const std::string link = a.folder / "link.safetensors";
  a.options.output = link;
  CHECK(a.run().code == "output_is_input");
  CHECK(read_text(a.paths.stage) == stage);
  a.options.output = a.output;
  write_text(a.output, "old");
  const std::size_t things = a.folder.size();
  struct {
    std::uint64_t done = 0, total = 0;
    int calls = 0;
  } seen;
  a.options.progress = {&seen, [](void* context, std::uint64_t done, std::uint64_t total) {
                          auto& s = *static_cast<decltype(seen)*>(context);
                          CHECK(done > s.done);
                          s.done = done;
                          s.total = total;
                          ++s.calls;
                        }};
  a.hooks.stop = {&seen, [](void* context) { return static_cast<decltype(seen)*>(context)->calls == 20; }};
  CHECK(a.run().code == "cancelled");
  CHECK(read_text(a.output) == "old");
  CHECK(a.folder.size() == things);
  a.hooks.stop = {};
  seen = {};
  CHECK(a.run().code == "ok");
  CHECK(a.folder.size() == things);
  CHECK(seen.done == seen.total);
  CHECK(seen.total == a.report.file.bytes);
  CHECK(read_text(a.output) == converted(published_files()));
}

#if !defined(_WIN32)
TEST_CASE("convert: a link to an input is that input, and a full disk leaves the old output") {
  attempt a(published_files(), form::shards);
  for (const std::string& input :
       {a.paths.stage, a.paths.vit, a.paths.phi + "/model-00002-of-00002.safetensors"}) {
    const std::string link = a.folder / "link.safetensors";
    std::filesystem::create_symlink(input, link);
    a.options.output = link;
    CHECK(a.run().code == "output_is_input");
    std::filesystem::remove(link);
  }
  a.options.output = a.output;
  write_text(a.output, "old");
  const std::size_t things = a.folder.size();
  struct rlimit before;
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  struct rlimit little = before;
  little.rlim_cur = 50'000;
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &little) == 0);
  a.run();
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, old_handler);
  CHECK(a.code == "write_failed");
  CHECK(read_text(a.output) == "old");
  CHECK(a.folder.size() == things);
}
#endif

TEST_CASE("convert: integers are no weights") {
  attempt a{published_files()};
  const std::string path = a.paths.phi + "/model.safetensors";
  std::string file = read_text(path);
  const std::size_t at = file.find("F32", file.find("\"model.layers.1.mlp.fc2.bias\""));
  REQUIRE(at != std::string::npos);
  write_text(path, file.replace(at, 3, "I32"));
  CHECK(a.run().code == "tensor_shape");
  CHECK(a.message.find("layers.1.mlp.fc2.bias\" is I32") != std::string::npos);
}

TEST_CASE("convert: the shards' index must say the truth") {
  const published_files files;
  const auto with = [&files](const std::string& from, const std::string& to) {
    attempt a(files, form::shards);
    const std::string path = a.paths.phi + "/model.safetensors.index.json";
    std::string index = read_text(path);
    const std::size_t at = index.find(from);
    REQUIRE(at != std::string::npos);
    index.replace(at, from.size(), to);
    write_text(path, index);
    return a.run().code;
  };
  const std::string second = "\"model-00002-of-00002.safetensors\"";
  CHECK(with("{", "{") == "ok");
  CHECK(with("{", "") == "json_syntax");
  CHECK(with("\"weight_map\"", "\"weights\"") == "field_missing");
  CHECK(with("\"weight_map\":{", "\"weight_map\":[],\"x\":{") == "field_type");
  CHECK(with("\"total_size\":1", "\"total_size\":\"1\"") == "field_type");
  CHECK(with(second, "7") == "field_type");
  for (const char* bad :
       {"", "../x.safetensors", "/x.safetensors", "C:x.safetensors", "a\\\\x.safetensors", "a/x.safetensors",
        "x.bin", ".safetensors", "x\\u0000.safetensors", "x.safetensors ", "x.safetensors.",
        "CON.safetensors", "nul.safetensors", "lpt1.a.safetensors"}) {
    CAPTURE(bad);
    CHECK(with(second, "\"" + std::string(bad) + "\"") == "index_path");
  }
  attempt incomplete(files, form::shards);
  std::filesystem::remove(incomplete.paths.phi + "/model-00002-of-00002.safetensors");
  CHECK(incomplete.run().code == "shard_missing");
  CHECK(with(second, "\"model-00001-of-00002.safetensors\"") == "index_mismatch");
  CHECK(with("\"lm_head.bias\"", "\"lm_head.bia\"") == "index_mismatch");
  CHECK(with("\"lm_head.bias\"", "\"more\":" + second + ",\"lm_head.bias\"") == "index_mismatch");
  CHECK(with("\"lm_head.bias\"", "\"lm_head.bias\":" + second + ",\"lm_head.bias\"") == "duplicate_key");
}

TEST_CASE("convert: files of other kinds are named as what they are") {
  const auto with = [](const std::string& content) {
    attempt a{published_files()};
    write_text(a.paths.stage, content);
    a.run();
    return a.code + " " + a.message;
  };
  CHECK(with("GGUF\3").find("not_this_format") == 0);
  CHECK(with("GGUF\3").find("GGUF file") != std::string::npos);
  CHECK(with("version https://git-lfs.github.com/spec/v1").find("Git LFS pointer") != std::string::npos);
  CHECK(with("\x1f\x8b...").find("gzip") != std::string::npos);
  CHECK(with("").find("empty_file") == 0);
  published_files files;
  attempt a(files);
  write_text(a.paths.stage, make_safetensors(files.stage_file));  // by its contents, not by its name
  CHECK(a.run().code == "ok");
  CHECK(a.written() == converted(files));
}

TEST_CASE("convert: corrupt bytes of a used tensor are found, those of an unused one are not looked at") {
  const published_files files;
  const auto with = [&files](const std::string& tensor) {
    attempt a(files);
    std::string content = read_text(a.paths.vit);
    const std::string bytes = floats(files.vit_file.at(tensor).values);
    const std::size_t at = content.find(bytes);
    REQUIRE(at != std::string::npos);
    content[at] = static_cast<char>(content[at] ^ 1);
    write_text(a.paths.vit, content);
    a.run();
    return a.code;
  };
  CHECK(with("blocks.1.mlp.fc1.weight") == "zip_crc");
  CHECK(with("blocks.2.mlp.fc1.weight") == "ok");
}

TEST_CASE("convert: out of memory is an error at every allocation, nothing leaks and no file stays") {
  const published_files files;
  attempt a(files);
  a.options.vit = a.options.qformer = a.options.stage = {};
  fail_every_allocation([&a](const memory_hooks& memory) {
    std::filesystem::remove(a.output);
    host hooks;
    hooks.memory = memory;
    auto done = convert(a.options, hooks);
    CHECK(std::filesystem::exists(a.output) == done.has_value());
    return done;
  });
}

TEST_CASE("convert: the goldens and the micro model convert and open") {
  const char* goldens = goldens_folder();
  if (goldens == nullptr) OCELLUS_SKIP("no goldens (OCELLUS_GOLDENS)");
  struct one {
    std::string name;
    std::uint32_t image_size;
  };
  for (const one& m : {one{"goldens/random1", 70}, one{"goldens/random2", 56}, one{"goldens/random3", 70},
                       one{"goldens/random4", 70}, one{"goldens/random5", 224}, one{"models/micro", 112},
                       one{"goldens/plain_phi", 0}}) {
    CAPTURE(m.name);
    const temporary_folder folder;
    const std::string root = std::string(goldens) + "/" + m.name + "/", output = folder / "model.safetensors";
    const std::string vit = root + "eva_vit_g.pth", qformer = root + "blip2_pretrained_flant5xxl.pth",
                      phi = root + "phi-2", stage = root + "TinyGPT-V_for_Stage4.pth";
    convert_options options;
    if (m.image_size != 0) options.vit = vit, options.qformer = qformer, options.stage = stage;
    options.phi = phi;
    options.output = output;
    options.image_size = m.image_size;
    const auto done = convert(options);
    REQUIRE_MESSAGE(done, std::string(done ? "" : done.error().message()));
    const auto made = model::open(output);
    REQUIRE_MESSAGE(made, std::string(made ? "" : made.error().message()));
    CHECK(made->config().has_vision == (m.image_size != 0));
    CHECK((made->tokenizer() != nullptr) == (m.name == "models/micro"));
    CHECK(made->aligned());
  }
}
