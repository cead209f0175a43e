// convert: namings and cases that the committed golden's files do not have, derived from them. Whatever says the same in
// another way must convert to the same bytes as the golden's own files, whose stages are the reference's.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "../../examples/support/golden_diff.hpp"
#include "ocellus/io/safetensors_writer.hpp"
#include "ocellus/model/convert.hpp"
#include "support/golden_folder.hpp"
#include "support/skip.hpp"

using namespace ocellus_tests;
using ocellus::weight_format;

namespace {

namespace fs = std::filesystem;
using form = published_files::phi_form;

const std::string stage_root = "llama_model.base_model.model.model.";

/// A golden with the layout q_proj, k_proj, v_proj, and the model file that its own files make.
struct golden_model {
  fs::path folder;
  std::uint32_t image_size;
  std::size_t heads = 0;
  published_files files;
  std::string own;

  explicit golden_model(const fs::path& from)
      : folder(from), image_size(golden_image_size(from)), files(read_golden_files(from)) {
    const auto config = ocellus::json::parse(files.config);
    REQUIRE(config);
    heads = static_cast<std::size_t>(config->root().find("num_attention_heads").as_uint64().value_or(0));
    REQUIRE(heads > 0);
    const auto path = [this](const char* name) { return (folder / name).string(); };
    own = run({path("eva_vit_g.pth"), path("blip2_pretrained_flant5xxl.pth"), path("phi-2"),
               path("TinyGPT-V_for_Stage4.pth")});
  }

  std::string run(const published_files::paths& paths) const {
    const temporary_folder made;
    const std::string output = made / "model.safetensors";
    ocellus::convert_options options;
    options.vit = paths.vit;
    options.qformer = paths.qformer;
    options.phi = paths.phi;
    options.stage = paths.stage;
    options.output = output;
    options.image_size = image_size;
    options.format = weight_format::f32;
    const auto done = ocellus::convert(options);
    REQUIRE_MESSAGE(done, (done ? std::string() : std::string(done.error().message())));
    return read_file(output);
  }
  std::string run(const published_files& changed, form phi = form::safetensors) const {
    const temporary_folder made;
    return run(changed.write(made, phi));
  }

  /// The first stage that is not the reference's, empty if there is none.
  std::string first_wrong(const std::string& model_file) const {
    const auto model = ocellus::model::open(std::as_bytes(std::span(model_file)));
    REQUIRE(model);
    const std::string bytes = read_file((folder / "golden.safetensors").string());
    const auto golden = ocellus::safetensors::parse(std::as_bytes(std::span(bytes)));
    REQUIRE(golden);
    const auto difference = ocellus_examples::diff_with_golden(*model, *golden);
    REQUIRE(difference);
    CHECK(difference->stages.size() > 10);
    CHECK(difference->ids_judged);
    return difference->first_wrong();
  }
};

/// q, k and v of a layer in one tensor, rows [3][heads][D] or, by_heads, [heads][3][D].
tensor_values fused(const tensor_map& phi, const std::string& layer, const std::string& suffix,
                    std::size_t heads, bool by_heads) {
  const tensor_values* parts[3];
  for (std::size_t i = 0; i < 3; ++i)
    parts[i] = &phi.at(layer + "self_attn." + std::string(1, "qkv"[i]) + "_proj" + suffix);
  tensor_values out{parts[0]->dims, {}};
  out.dims[0] *= 3;
  const std::size_t piece = parts[0]->values.size() / heads;
  for (std::size_t i = 0; i < 3 * heads; ++i) {
    const std::size_t part = by_heads ? i % 3 : i / heads, head = by_heads ? i / 3 : i % heads;
    const auto begin = parts[part]->values.begin() + static_cast<std::ptrdiff_t>(head * piece);
    out.values.insert(out.values.end(), begin, begin + static_cast<std::ptrdiff_t>(piece));
  }
  return out;
}

std::string layer_name(std::size_t layer) { return "model.layers." + std::to_string(layer) + "."; }
std::size_t layers_of(const tensor_map& phi) {
  std::size_t n = 0;
  while (phi.count(layer_name(n) + "input_layernorm.weight") != 0) ++n;
  REQUIRE(n > 0);
  return n;
}

/// Phi-2's fused projections under a name, its separate ones gone.
void fuse(published_files& files, std::size_t heads, const std::string& name, bool by_heads) {
  tensor_map& phi = files.phi_file;
  for (std::size_t i = 0; i < layers_of(phi); ++i) {
    for (const std::string suffix : {".weight", ".bias"}) {
      phi[layer_name(i) + "self_attn." + name + suffix] = fused(phi, layer_name(i), suffix, heads, by_heads);
      for (const char* part : {"q_proj", "k_proj", "v_proj"})
        REQUIRE(phi.erase(layer_name(i) + "self_attn." + part + suffix) == 1);
    }
  }
}

/// Layout A, its config.json with it.
void make_first_layout(published_files& files, std::size_t heads) {
  fuse(files, heads, "Wqkv", false);
  published_files::rename(files.phi_file, "model.layers.", "transformer.h.");
  published_files::rename(files.phi_file, "model.embed_tokens", "transformer.embd.wte");
  published_files::rename(files.phi_file, ".input_layernorm", ".ln");
  published_files::rename(files.phi_file, ".self_attn.dense", ".mixer.out_proj");
  published_files::rename(files.phi_file, ".self_attn.Wqkv", ".mixer.Wqkv");
  published_files::rename(files.phi_file, "lm_head.", "lm_head.linear.");
  published_files::rename(files.phi_file, "model.final_layernorm", "lm_head.ln");
  const auto parsed = ocellus::json::parse(files.config);
  REQUIRE(parsed);
  const auto number = [&parsed](const char* key) {
    return std::string(parsed->root().find(key).number_text());
  };
  const auto width = parsed->root().find("hidden_size").as_uint64().value_or(0);
  const double part = parsed->root().find("partial_rotary_factor").as_double().value_or(0);
  const auto rotary = static_cast<int>(part * static_cast<double>(width / heads));
  files.config = R"({"model_type": "phi-msft", "activation_function": "gelu_new", "n_embd": )" +
                 std::to_string(width) + ", \"n_head\": " + std::to_string(heads) +
                 ", \"n_layer\": " + number("num_hidden_layers") +
                 ", \"n_inner\": " + number("intermediate_size") +
                 ", \"n_positions\": " + number("max_position_embeddings") +
                 ", \"rotary_dim\": " + std::to_string(rotary) +
                 ", \"layer_norm_epsilon\": " + number("layer_norm_eps") +
                 ", \"vocab_size\": " + number("vocab_size") + "}";
}

void add_inv_freq(published_files& files, const std::string& prefix, const std::string& suffix) {
  for (int i = 0; i < 2; ++i)
    published_files::add(files.phi_file, prefix + std::to_string(i) + suffix + "rotary_emb.inv_freq", {16});
}

/// The stage file as peft 0.7 and later writes it: the base weights beside LoRA's, in the layout that was trained.
void add_base_layers(published_files& files, std::size_t heads) {
  const tensor_map& phi = files.phi_file;
  for (std::size_t i = 0; i < layers_of(phi); ++i) {
    for (const std::string suffix : {".weight", ".bias"}) {
      const std::string attention = stage_root + layer_name(i).substr(6) + "self_attn.";
      files.stage_file[attention + "query_key_value.base_layer" + suffix] =
          fused(phi, layer_name(i), suffix, heads, true);
      files.stage_file[attention + "dense.base_layer" + suffix] =
          phi.at(layer_name(i) + "self_attn.dense" + suffix);
    }
  }
}

void zero(tensor_map& in, const std::string& part) {
  std::size_t found = 0;
  for (auto& [name, t] : in) {
    if (name.find(part) == std::string::npos) continue;
    std::fill(t.values.begin(), t.values.end(), 0.0f);
    ++found;
  }
  REQUIRE(found > 0);
}
void erase(tensor_map& in, const std::string& part) {
  REQUIRE(std::erase_if(in, [&](const auto& t) { return t.first.find(part) != std::string::npos; }) > 0);
}

/// LoRA added to Phi-2's weights by the formula, in double, and gone from the stage file.
void merge_lora(published_files& files, std::size_t heads) {
  fuse(files, heads, "query_key_value", true);
  for (std::size_t i = 0; i < layers_of(files.phi_file); ++i) {
    for (const std::string name : {"query_key_value", "dense"}) {
      const std::string at = stage_root + layer_name(i).substr(6) + "self_attn." + name;
      const tensor_values &a = files.stage_file.at(at + ".lora_A.default.weight"),
                          &b = files.stage_file.at(at + ".lora_B.default.weight");
      tensor_values& w = files.phi_file.at(layer_name(i) + "self_attn." + name + ".weight");
      const auto rank = static_cast<std::size_t>(a.dims[0]), columns = static_cast<std::size_t>(a.dims[1]);
      const double scale = 16.0 / static_cast<double>(rank);
      for (std::size_t e = 0; e < w.values.size(); ++e) {
        double sum = 0;
        for (std::size_t r = 0; r < rank; ++r) {
          sum += double{b.values[e / columns * rank + r]} * double{a.values[r * columns + e % columns]};
        }
        w.values[e] = static_cast<float>(w.values[e] + scale * sum);
      }
    }
  }
  erase(files.stage_file, ".lora_");
}

/// A safetensors file of the tensors rounded to f16.
std::string in_f16(const tensor_map& tensors) {
  ocellus::safetensors_writer writer;
  for (const auto& [name, t] : tensors) {
    ocellus::shape dims;
    for (std::int64_t d : t.dims) REQUIRE(dims.push_back(static_cast<std::uint64_t>(d)));
    REQUIRE(writer.add(name, ocellus::dtype::f16, dims));
  }
  std::string file;
  REQUIRE(writer.begin(
      {&file, [](void* to, std::span<const std::byte> bytes) noexcept -> ocellus::result<void> {
         static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
         return {};
       }}));
  for (const auto& [name, t] : tensors) {
    std::vector<ocellus::f16> rounded;
    for (const float value : t.values) rounded.push_back(ocellus::to_f16(value));
    REQUIRE(writer.write(std::as_bytes(std::span(rounded))));
  }
  REQUIRE(writer.finish());
  return file;
}

/// The same tensors, values within a rounding or two of f32.
void check_close(const std::string& one, const std::string& other) {
  const auto a = ocellus::safetensors::parse(std::as_bytes(std::span(one)));
  const auto b = ocellus::safetensors::parse(std::as_bytes(std::span(other)));
  REQUIRE(a);
  REQUIRE(b);
  REQUIRE(a->tensors().size() == b->tensors().size());
  std::size_t different = 0;
  for (std::size_t i = 0; i < a->tensors().size(); ++i) {
    const ocellus::tensor_info &x = a->tensors()[i], &y = b->tensors()[i];
    REQUIRE(x.name == y.name);
    REQUIRE(x.dims == y.dims);
    if (x.type != ocellus::dtype::f32) continue;
    for (std::size_t e = 0; e < x.count(); ++e) {
      const float p = x.load<float>(e), q = y.load<float>(e);
      if (p != q) ++different;
      if (!(std::abs(p - q) <= 2e-6f)) FAIL_CHECK(x.name << " element " << e << ": " << p << ", " << q);
    }
  }
  MESSAGE(different << " values differ in their last bits");
}

/// Every derived form of one golden.
void check_golden(const fs::path& folder) {
  CAPTURE(folder.string());
  const golden_model golden(folder);
  const std::size_t heads = golden.heads;
  REQUIRE(golden.own.size() > 100'000);
  REQUIRE(golden.first_wrong(golden.own) == "");
  CHECK(golden.run(golden.files) == golden.own);

  struct row {
    std::string what;
    std::function<void(published_files&)> edit;
    form phi = form::safetensors;
  };
  const auto fuse_by_heads = [&](published_files& f) { fuse(f, heads, "query_key_value", true); };
  const auto first = [&](published_files& f) { make_first_layout(f, heads); };
  const auto module = [](published_files& f) {
    tensor_map wrapped;
    for (const auto& [name, t] : f.stage_file) wrapped["module." + name] = t;
    f.stage_file = wrapped;
  };
  const auto no_peft = [](published_files& f) {
    published_files::rename(f.stage_file, "base_model.model.", "");
  };
  const row same[] = {
      {"Phi-2 in shards", [](published_files&) {}, form::shards},
      {"Phi-2 as pytorch_model.bin", [](published_files&) {}, form::bin},
      {"Phi-2 as shards of pytorch_model.bin", [](published_files&) {}, form::bin_shards},
      {"layout of transformers 4.36", fuse_by_heads},
      {"the same in shards of pytorch_model.bin", fuse_by_heads, form::bin_shards},
      {"layout of December 2023", first},
      {"the same as pytorch_model.bin", first, form::bin},
      {"rotary_emb.inv_freq in each layer",
       [](published_files& f) { add_inv_freq(f, "model.layers.", ".self_attn."); }},
      {"rotary_emb.inv_freq in the layout of December 2023",
       [&](published_files& f) {
         first(f);
         add_inv_freq(f, "transformer.h.", ".mixer.");
       }},
      {"rotary_emb.inv_freq of the whole model",
       [](published_files& f) { published_files::add(f.phi_file, "model.rotary_emb.inv_freq", {16}); }},
      {"LoRA as peft before 0.3 names it",
       [](published_files& f) {
         published_files::rename(f.stage_file, "lora_A.default.", "lora_A.");
         published_files::rename(f.stage_file, "lora_B.default.", "lora_B.");
       }},
      {"LoRA beside base_layer, as peft 0.7 names it",
       [&](published_files& f) { add_base_layers(f, heads); }},
      {"base_layer wins over Phi-2's own weights",
       [&](published_files& f) {
         add_base_layers(f, heads);
         zero(f.phi_file, "_proj.");
         zero(f.phi_file, ".dense.");
       }},
      {"base_layer alone, Phi-2 without them",
       [&](published_files& f) {
         add_base_layers(f, heads);
         erase(f.phi_file, "_proj.");
         erase(f.phi_file, ".dense.");
       }},
      {"base_layer over the layout of December 2023",
       [&](published_files& f) {
         add_base_layers(f, heads);
         first(f);
         zero(f.phi_file, ".Wqkv.");
       }},
      {"no base_model.model. in the names", no_peft},
      {"module. before the names", module},
      {"module. and base_layer, no base_model.model.",
       [&](published_files& f) {
         add_base_layers(f, heads);
         no_peft(f);
         module(f);
       }},
      {"a classification head in the ViT's file",
       [](published_files& f) {
         published_files::add_linear(f.vit_file, "head", 7, f.vit_file.at("cls_token").dims[2]);
         published_files::add_norm(f.vit_file, "fc_norm", f.vit_file.at("cls_token").dims[2]);
       }},
      {"the ViT under visual_encoder.",
       [](published_files& f) {
         tensor_map wrapped;
         for (const auto& [name, t] : f.vit_file) wrapped["visual_encoder." + name] = t;
         f.vit_file = wrapped;
       }},
      {"a trained Q-Former in the stage file hides the Q-Former file's",
       [](published_files& f) {
         for (auto& [name, t] : f.qformer_file) {
           if (!name.starts_with("Qformer.") && !name.starts_with("query_tokens")) continue;
           f.stage_file.emplace(name, t);  // one that is there already stays
           for (float& value : t.values) value += 1;
         }
       }},
  };
  for (const row& r : same) {
    CAPTURE(r.what);
    published_files changed = golden.files;
    r.edit(changed);
    CHECK(golden.run(changed, r.phi) == golden.own);
  }

  // One shard in f16, as the golden has Phi-2, the other in f32.
  const temporary_folder mixed;
  const published_files::paths paths = golden.files.write(mixed, form::shards);
  ocellus::checkpoint shard{ocellus::host()};
  const std::string first_shard = paths.phi + "/model-00001-of-00002.safetensors";
  const auto added = shard.add_file(ocellus::source_role::phi, first_shard);
  REQUIRE(added);
  const std::string halves = in_f16(tensors_of(shard));
  shard = ocellus::checkpoint{ocellus::host()};
  write_text(first_shard, halves);
  CHECK(golden.run(paths) == golden.own);

  // Where the values must differ: LoRA that was merged before, and none at all.
  published_files merged = golden.files, zeros = golden.files, none = golden.files;
  merge_lora(merged, heads);
  const std::string by_hand = golden.run(merged);
  check_close(by_hand, golden.own);
  CHECK(golden.first_wrong(by_hand) == "");
  zero(zeros.stage_file, ".lora_B.");
  erase(none.stage_file, ".lora_");
  const std::string without = golden.run(none);
  CHECK(without != golden.own);
  CHECK(golden.run(zeros) == without);
  CHECK(golden.first_wrong(without) == "phi.layer.0");
}

}  // namespace

TEST_CASE("convert: other namings and layouts of the committed golden give its bytes") {
  check_golden(fs::path(OCELLUS_TEST_DATA) / "golden");
}

TEST_CASE("convert: other namings and layouts of goldens with several heads give their bytes") {
  if (goldens_folder() == nullptr) OCELLUS_SKIP("no goldens (OCELLUS_GOLDENS)");
  for (const char* name : {"random1", "random4"}) check_golden(fs::path(goldens_folder()) / "goldens" / name);
}
