// inspect: every file around the model is recognised, told apart from others, and described as a conversion uses it.
#include "ocellus/model/inspect.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "ocellus/model/convert.hpp"
#include "ocellus/model/inspect_names.hpp"
#include "ocellus/model/weight_rules.hpp"
#include "support/counting_memory.hpp"
#include "support/published_files.hpp"
#include "support/small_tokenizer.hpp"

using namespace ocellus;
using namespace ocellus_tests;

namespace {

using form = published_files::phi_form;

const std::string micro = std::string(OCELLUS_EXAMPLE_DATA) + "/micro.safetensors";

file_description inspected(const std::string& path) {
  auto made = inspect(path);
  INFO(path);
  REQUIRE_MESSAGE(made, (made ? "" : std::string(made.error().message())));
  return std::move(*made);
}
std::string code_of(const std::string& path, const inspect_options& options = {}) {
  const auto made = inspect(path, {}, options);
  return std::string(made ? "ok" : name_of(made.error().code()));
}
const inspected_tensor& at(const file_description& file, std::string_view name) {
  for (const inspected_tensor& t : file.tensors()) {
    if (t.name == name) return t;
  }
  FAIL("no tensor " << std::string(name));
  return file.tensors()[0];
}
std::size_t count(const file_description& file, tensor_use use) {
  return static_cast<std::size_t>(std::count_if(file.tensors().begin(), file.tensors().end(),
                                                [use](const inspected_tensor& t) { return t.use == use; }));
}
std::string target(std::string_view tensor) {
  const weight_target made = weight_target_of(tensor);
  return (made.lora ? "LoRA of " : "") + std::string(made.weight.view());
}

}  // namespace

TEST_CASE("inspect: the four published files") {
  const temporary_folder folder;
  const auto paths = published_files().write(folder);

  const file_description vit = inspected(paths.vit);
  CHECK(vit.kind == file_kind::vit);
  CHECK(vit.container == file_container::torch);
  CHECK(vit.files == 1);
  CHECK(vit.file_bytes == read_text(paths.vit).size());
  CHECK(vit.vit_blocks == 3);
  CHECK(vit.config.vit.layers == 2);
  CHECK(vit.config.vit.image_size == 4);
  CHECK(vit.config.vit.heads == 1);
  CHECK(at(vit, "blocks.1.attn.v_bias").target == "vision.blocks.1.qkv.bias");
  CHECK(at(vit, "blocks.1.attn.v_bias").canonical == "visual_encoder.blocks.1.attn.v_bias");
  CHECK(at(vit, "patch_embed.proj.weight").dims == shape{88, 3, 2, 2});
  CHECK(at(vit, "patch_embed.proj.weight").bytes == 88 * 12 * 4);
  CHECK(at(vit, "blocks.2.norm1.bias").use == tensor_use::surplus);
  CHECK(at(vit, "blocks.2.norm1.bias").surplus == "last block of the ViT");
  CHECK(at(vit, "head.bias").surplus == "head of the ViT");
  CHECK(count(vit, tensor_use::unknown) == 0);

  const file_description qformer = inspected(paths.qformer);
  CHECK(qformer.kind == file_kind::qformer);
  CHECK(qformer.config.qformer.layers == 2);
  CHECK(qformer.config.qformer.queries == 3);
  CHECK(qformer.config.qformer.cross_layers == 1);
  CHECK(at(qformer, "ln_vision.weight").target == "vision.norm.weight");
  CHECK(at(qformer, "t5_proj.weight").use == tensor_use::surplus);
  CHECK(at(qformer, "Qformer.bert.encoder.layer.1.output.dense.bias").surplus ==
        "text branch of the Q-Former");

  const file_description stage = inspected(paths.stage);
  CHECK(stage.kind == file_kind::stage);
  CHECK(stage.stage.lora_rank == 4);
  CHECK(stage.stage.lora_count == 4);
  CHECK(stage.stage.qk_norms);
  CHECK(stage.stage.post_norms);
  CHECK_FALSE(stage.stage.qformer);
  CHECK(stage.stage.number == 0);
  const std::string dense = "llama_model.base_model.model.model.layers.1.self_attn.dense.";
  CHECK(at(stage, dense + "lora_B.weight").use == tensor_use::lora);
  CHECK(at(stage, dense + "lora_B.weight").target == "phi.layers.1.dense.weight");

  const file_description phi = inspected(paths.phi);
  CHECK(phi.kind == file_kind::phi);
  CHECK(phi.config.phi.heads == 2);
  CHECK(phi.layout == qkv_layout::query_key_value);
  CHECK(phi.tokenizer_ids == 0);
  CHECK(at(phi, "model.layers.1.self_attn.rotary_emb.inv_freq").surplus == "computed anew");
}

TEST_CASE("inspect: Phi-2 in every layout and container, as a folder, an index or a file") {
  const std::map<qkv_layout, std::string> names = {{qkv_layout::wqkv, "Wqkv"},
                                                   {qkv_layout::query_key_value, "query_key_value"},
                                                   {qkv_layout::separate, "q_proj"}};
  const auto forms = {form::safetensors, form::shards, form::bin, form::bin_shards};
  for (const auto given : {phi_layout::first, phi_layout::fused, phi_layout::separate}) {
    const auto layout = static_cast<qkv_layout>(static_cast<int>(given) + 1);
    const published_files files(given);
    for (const form f : forms) {
      const temporary_folder folder;
      const std::string phi = files.write(folder, f).phi;
      const bool bin = f == form::bin || f == form::bin_shards;
      const bool shards = f == form::shards || f == form::bin_shards;
      const std::string name = bin ? "/pytorch_model.bin" : "/model.safetensors";
      const std::string alone = phi + name + (shards ? ".index.json" : "");
      CAPTURE(alone);
      for (const std::string& path : {phi, alone}) {
        const file_description made = inspected(path);
        CHECK(made.kind == file_kind::phi);
        CHECK(name_of(made.layout) == names.at(layout));
        CHECK(made.container == (bin ? file_container::torch : file_container::safetensors));
        CHECK(made.files == (shards ? 2 : 1));
        CHECK(made.config.phi.layers == 2);
        CHECK(made.config.phi.width == 16);
        CHECK(made.config.phi.vocabulary == 20);
        CHECK(made.config.phi.mlp_width == 12);
        CHECK(made.config.phi.heads == (path == phi ? 2 : 0));  // of config.json
        CHECK(made.tensors().size() == files.phi_file.size());
        CHECK(count(made, tensor_use::unknown) == 0);
      }
    }
  }
}

TEST_CASE("inspect: says of every tensor what a conversion does with it") {
  for (const auto layout : {phi_layout::first, phi_layout::fused, phi_layout::separate}) {
    published_files files(layout);
    published_files::add(files.stage_file, "query_tokens", {1, 3, 64});
    const temporary_folder folder;
    const auto paths = files.write(folder);
    convert_options options;
    options.vit = paths.vit;
    options.qformer = paths.qformer;
    options.phi = paths.phi;
    options.stage = paths.stage;
    const std::string output = folder / "model.safetensors";
    options.output = output;
    const auto report = convert(options);
    REQUIRE(report);
    // "weight <- "tensor" "tensor"", "weight += 16 / 4 * "tensor" "tensor"", "file: "tensor"".
    std::set<std::string> converted, told;
    for (std::size_t i = 0; i < report->size(); ++i) {
      const std::string words((*report)[i].words);
      const convert_note note = (*report)[i].note;
      const bool merged = note == convert_note::merged;
      const bool dropped = note == convert_note::ignored || note == convert_note::overlaid;
      if (!merged && !dropped && note != convert_note::loaded && note != convert_note::renamed) continue;
      const std::string weight =
          dropped ? "-" : (merged ? "LoRA of " : "") + words.substr(0, words.find(' '));
      for (std::size_t begin = 0; (begin = words.find('"', begin)) != std::string::npos;) {
        const std::size_t end = words.find('"', begin + 1);
        const std::string name = words.substr(begin + 1, end - begin - 1);
        converted.insert(weight + " " + name);
        // An overlaid tensor of a base file and the one over it have the same use.
        if (note == convert_note::overlaid) told.insert("- " + name);
        begin = end + 1;
      }
    }
    for (const std::string& path : {paths.vit, paths.qformer, paths.phi, paths.stage}) {
      const file_description file = inspected(path);
      for (const inspected_tensor& t : file.tensors()) {
        const std::string name(t.name);
        CAPTURE(name);
        CHECK(t.use != tensor_use::unknown);
        const std::string weight = t.use == tensor_use::surplus ? "-"
                                   : t.use == tensor_use::lora  ? "LoRA of " + std::string(t.target)
                                                                : std::string(t.target);
        const std::string said = weight + " " + name;
        CHECK((converted.count(said) == 1 || told.count("- " + name) == 1));
        told.insert(said);
      }
    }
    for (const std::string& line : converted) {
      CAPTURE(line);
      CHECK(told.count(line) == 1);
    }
  }
}

TEST_CASE("inspect: names close to those of the model are unknown") {
  CHECK(target("visual_encoder.blocks.7.attn.qkv.weight") == "vision.blocks.7.qkv.weight");
  CHECK(target("visual_encoder.pos_embed") == "vision.positions");
  CHECK(target("llama_model.model.embed_tokens.weight") == "phi.embedding");
  CHECK(target("llama_model.model.layers.0.self_attn.k_proj.lora_A.weight") ==
        "LoRA of phi.layers.0.qkv.weight");
  for (const char* name :
       {"", "visual_encoder", "visual_encoder.cls_token.weight", "visual_encoder.blocks.7.attn.qkv.bias",
        "visual_encoder.blocks.7.attn.k_bias", "visual_encoder.blocks.07.norm1.weight",
        "visual_encoder.blocks.7.norm1", "visual_encoder.blocks.7.norm1.weight.x", "query_tokens.bias",
        "llama_model.model.embed_tokens", "llama_model.model.embed_tokens.bias",
        "llama_model.model.embed_tokens.lora_B.weight", "llama_model.model.layers.0.post_layernorm.bias",
        "llama_model.model.layers.#.mlp.fc1.weight",
        "llama_model.model.layers.0.input_layernorm.lora_A.weight", "llama_proj.lora_A.weight",
        "llama_model.model.layers.0.mlp.fc1.lora_A.bias",
        "llama_model.model.layers.0.mlp.fc1.lora_C.weight"}) {
    CAPTURE(name);
    CHECK(target(name) == "");
  }
}

TEST_CASE("inspect: unknown tensors of a known file, and names of any length") {
  published_files files;
  const std::string longest(4096, 'n'), control = "t\\n\\u001b[31m", over = "t\xe2\x80\xaegpj";
  for (const std::string& name : {longest, control, over, std::string("model.layers.0.mlp.fc3.weight")})
    published_files::add(files.phi_file, name, {2});
  const temporary_folder folder;
  const auto paths = files.write(folder);
  const file_description phi = inspected(paths.phi);
  CHECK(phi.kind == file_kind::phi);
  CHECK(count(phi, tensor_use::unknown) == 4);
  CHECK(at(phi, longest).use == tensor_use::unknown);
  CHECK(at(phi, longest).canonical == longest);
  CHECK(at(phi, "t\n\x1b[31m").use == tensor_use::unknown);
  CHECK(at(phi, over).canonical == "llama_model." + over);

  // A conversion refuses what is unknown here, by name.
  convert_options options;
  options.phi = paths.phi;
  const std::string output = folder / "model.safetensors";
  options.output = output;
  for (const std::string& name : {longest, std::string("model.layers.0.mlp.fc3.weight")}) {
    published_files one;
    published_files::add(one.phi_file, name, {2});
    (void)one.write(folder);
    const auto made = convert(options);
    REQUIRE_FALSE(made);
    CHECK(name_of(made.error().code()) == "tensor_unknown");
    CHECK(std::string(made.error().message()).find(name.substr(0, 20)) != std::string::npos);
  }
  const std::string too_long = folder / "long.safetensors";
  write_text(too_long, make_safetensors({{std::string(65'536, 'n'), {{1}, {1.0f}}}}));
  CHECK(code_of(too_long) == "limit_name");
}

TEST_CASE("inspect: which stage") {
  using detail::stage_in_path;
  CHECK(stage_in_path("TinyGPT-V_for_Stage4.pth") == 4);
  CHECK(stage_in_path("/stage2/TinyGPT-V_for_Stage1.pth") == 1);
  CHECK(stage_in_path("stage_3") == 3);
  CHECK(stage_in_path("stage-2.pth") == 2);
  for (const char* none : {"", "checkpoint_9.pth", "stage2/checkpoint.pth", "stage5.pth", "Stage0",
                           "Stage12.pth", "stage", "stage_"}) {
    CAPTURE(none);
    CHECK(stage_in_path(none) == 0);
  }

  const temporary_folder folder;
  published_files files;
  write_text(folder / "my_stage3.pth", make_torch_file(files.stage_file, true));
  file_description made = inspected(folder / "my_stage3.pth");
  CHECK(made.stage.number == 3);
  CHECK(made.stage.number_by_name);

  published_files::add(files.stage_file, "Qformer.bert.encoder.layer.0.attention.self.query.weight",
                       {64, 64});
  made = inspected(files.write(folder).stage);
  CHECK(made.kind == file_kind::stage);
  CHECK(made.stage.qformer);
  CHECK(made.stage.number == 4);
  CHECK_FALSE(made.stage.number_by_name);

  std::erase_if(files.stage_file, [](const auto& t) {
    return t.first.find("lora") != std::string::npos || t.first.starts_with("Qformer") ||
           t.first.find("q_layernorm") != std::string::npos || t.first.find("post") != std::string::npos;
  });
  made = inspected(files.write(folder).stage);
  CHECK(made.kind == file_kind::stage);
  CHECK(made.stage.number == 1);
  CHECK(made.stage.lora_rank == 0);
  CHECK_FALSE(made.stage.qk_norms);
  CHECK_FALSE(made.stage.post_norms);
}

TEST_CASE("inspect: files of other models and of none") {
  const temporary_folder folder;
  const auto written = [&folder](const std::string& name, const std::string& content) {
    write_text(folder / name, content);
    return folder / name;
  };
  tensor_map t;
  published_files::add(t, "model.layers.0.self_attn.q_proj.weight", {4, 4});
  published_files::add(t, "model.layers.0.mlp.gate_proj.weight", {4, 4});
  const file_description llama = inspected(written("llama.safetensors", make_safetensors(t)));
  CHECK(llama.kind == file_kind::other);
  CHECK(llama.tensors().size() == 2);
  CHECK(count(llama, tensor_use::unknown) == 2);
  CHECK(llama.tensors()[0].name == "model.layers.0.mlp.gate_proj.weight");

  t.clear();  // one bias for q, k and v: a ViT, but not EVA's
  published_files::add(t, "cls_token", {1, 1, 88});
  published_files::add(t, "blocks.0.attn.qkv.weight", {264, 88});
  published_files::add(t, "blocks.0.attn.qkv.bias", {264});
  CHECK(inspected(written("timm.pth", make_torch_file(t, false))).kind == file_kind::other);

  CHECK(inspected(std::string(OCELLUS_TEST_DATA) + "/golden/golden.safetensors").kind == file_kind::other);

  CHECK(code_of(written("empty", "")) == "empty_file");
  CHECK(code_of(written("words.txt", "no model at all")) == "not_this_format");
  CHECK(code_of(written("config.json", "{\"model_type\": \"phi\"}")) == "not_this_format");
  CHECK(code_of(written("broken.json", "{\"model_type\": ")) == "json_syntax");
  CHECK(code_of(written("list.json", "[1]")) == "not_this_format");
  CHECK(code_of(written("pointer.safetensors", "version https://git-lfs.github.com/spec/v1\n")) ==
        "not_this_format");
  CHECK(code_of(written("short.safetensors", make_safetensors(t).substr(0, 40))) == "header_past_eof");
  CHECK(code_of(written("cut.safetensors", make_safetensors(t).substr(0, 900))) == "truncated_data");
  CHECK(code_of(written("cut.pth", make_torch_file(t, false).substr(0, 900))) == "zip_end");
  CHECK(code_of(folder / "nothing") == "not_found");
  CHECK(code_of("") == "bad_path");
}

TEST_CASE("inspect: a recognised file without what tells its sizes is refused") {
  published_files files;
  files.vit_file.erase("cls_token");
  files.qformer_file["query_tokens"].dims = {1, 192};
  files.phi_file["model.layers.0.mlp.fc2.weight"].dims = {192};  // any shape will do here
  const temporary_folder folder;
  const auto paths = files.write(folder);
  const auto vit = inspect(paths.vit);
  REQUIRE_FALSE(vit);
  CHECK(name_of(vit.error().code()) == "tensor_missing");
  CHECK(std::string(vit.error().message()).find(paths.vit) != std::string::npos);
  CHECK(std::string(vit.error().message()).find("visual_encoder.cls_token") != std::string::npos);
  const auto qformer = inspect(paths.qformer);
  REQUIRE_FALSE(qformer);
  CHECK(std::string(qformer.error().message())
            .ends_with(": tensor \"query_tokens\" has shape [1, 192], expected 3 dimensions"));
  CHECK(code_of(paths.phi) == "ok");
}

TEST_CASE("inspect: folders") {
  const temporary_folder folder;
  published_files files;
  small_tokenizer words;
  files.other_files = {{"vocab.json", words.vocab_json()},
                       {"merges.txt", words.merges_txt()},
                       {"added_tokens.json", words.added}};
  const std::string phi = files.write(folder, form::shards).phi;
  CHECK(inspected(phi).tokenizer_ids == 302);
  CHECK(inspected(phi + "/").tokenizer_ids == 302);

  CHECK(std::filesystem::remove(phi + "/model-00002-of-00002.safetensors"));
  CHECK(code_of(phi) == "shard_missing");
  CHECK(code_of(phi + "/model.safetensors.index.json") == "shard_missing");
  CHECK(inspected(phi + "/model-00001-of-00002.safetensors").kind == file_kind::phi);
  CHECK(std::filesystem::remove(phi + "/model.safetensors.index.json"));
  const file_description words_alone = inspected(phi);
  CHECK(words_alone.kind == file_kind::tokenizer);
  CHECK(words_alone.container == file_container::json);
  CHECK(words_alone.tokenizer_ids == 302);
  CHECK(words_alone.tensors().empty());
  write_text(phi + "/merges.txt", "no merges");
  CHECK(code_of(phi) == "merge_unknown");
  CHECK(std::filesystem::remove(phi + "/vocab.json"));
  CHECK(code_of(phi) == "not_found");

  write_text(phi + "/any name", words.tokenizer_json());
  const file_description json = inspected(phi + "/any name");
  CHECK(json.kind == file_kind::tokenizer);
  CHECK(json.tokenizer_ids == 301);
  CHECK(json.file_bytes == words.tokenizer_json().size());

  (void)files.write(folder);
  CHECK(std::filesystem::remove(phi + "/config.json"));
  CHECK(code_of(phi) == "not_found");
  write_text(phi + "/config.json", "{\"model_type\": \"llama\"}");
  CHECK(code_of(phi) == "unsupported");
}

TEST_CASE("inspect: a model file") {
  const file_description made = inspected(micro);
  CHECK(made.kind == file_kind::model);
  CHECK(made.model.format == "0");
  CHECK(made.model.template_name == "micro");
  REQUIRE(made.model.stops.size() == 1);
  CHECK(made.model.stops[0] == "###");
  CHECK(made.model.origin.starts_with("ocellus convert "));
  CHECK(made.model.aligned);
  CHECK(made.tokenizer_ids == 504);
  CHECK(made.config.vit.layers == 4);
  CHECK(made.config.phi.qk_norm);
  CHECK(made.tensors().size() == 195);
  CHECK(count(made, tensor_use::tokenizer) == 5);
  CHECK(count(made, tensor_use::weight) == 190);
  // Logical sizes: the file has [176 / 16][640 / 2][16][2], K padded from 588.
  const inspected_tensor& patch = at(made, "vision.patch.weight");
  CHECK(patch.dims == shape{176, 588});
  CHECK(patch.stored == shape{11, 320, 16, 2});
  CHECK(patch.format == "bf16");
  CHECK(patch.type == dtype::bf16);
  CHECK(at(made, "phi.embedding").dims == shape{512, 160});
  CHECK(at(made, "phi.embedding").stored == shape{512, 192});
  CHECK(at(made, "vision.patch.bias").dims == shape{176});
  CHECK(at(made, "vision.patch.bias").format == "");

  const temporary_folder folder;
  std::string file = read_text(micro);
  const std::size_t at_version = file.find("\"ocellus.format\":\"0\"");
  REQUIRE(at_version != std::string::npos);
  file[at_version + 18] = '7';
  write_text(folder / "newer.safetensors", file);
  CHECK(code_of(folder / "newer.safetensors") == "model_version");
}

TEST_CASE("inspect: scales belong to the matrix before their name's ending") {
  const auto matrices = json::parse(R"({"phi.head.weight": {"format": "q8", "n": 20, "k": 70}})");
  REQUIRE(matrices);
  tensor_info t;
  t.name = "phi.head.weight.scales";
  t.type = dtype::f16;
  t.dims = {2, 4, 16};
  inspected_tensor d = detail::describe_model_tensor(t, matrices->root());
  CHECK(d.use == tensor_use::scales);
  CHECK(d.target == "phi.head.weight");
  CHECK(d.dims == shape{2, 4, 16});
  t.name = "phi.head.weight";
  d = detail::describe_model_tensor(t, matrices->root());
  CHECK(d.use == tensor_use::weight);
  CHECK(d.format == "q8");
  CHECK(d.dims == shape{20, 70});
  t.name = "phi.other.weight.scales";
  CHECK(detail::describe_model_tensor(t, matrices->root()).use == tensor_use::weight);
}

TEST_CASE("inspect: tensors are sorted by name, numbers by their value") {
  const char* sorted[] = {"",      "a",      "a.0.b",  "a.1.b", "a.01.b", "a.2",
                          "a.2.b", "a.10.b", "a.10.c", "a10",   "b.9"};
  for (std::size_t i = 0; i < std::size(sorted); ++i) {
    for (std::size_t j = 0; j < std::size(sorted); ++j) {
      // "01" is 1, too; the bytes decide.
      const bool less = std::string(sorted[i]) == "a.01.b" && std::string(sorted[j]) == "a.1.b"   ? true
                        : std::string(sorted[i]) == "a.1.b" && std::string(sorted[j]) == "a.01.b" ? false
                                                                                                  : i < j;
      CAPTURE(sorted[i]);
      CAPTURE(sorted[j]);
      CHECK(detail::natural_less(sorted[i], sorted[j]) == less);
    }
  }
  const file_description made = inspected(micro);
  for (std::size_t i = 1; i < made.tensors().size(); ++i)
    CHECK(detail::natural_less(made.tensors()[i - 1].name, made.tensors()[i].name));
}

TEST_CASE("inspect: checksums are compared when asked for, and that can be stopped") {
  const temporary_folder folder;
  const std::string path = published_files().write(folder).stage;
  std::string file = read_text(path);
  const std::size_t byte = file.find(floats({published_value("llama_proj.weight", 0)}));
  REQUIRE(byte != std::string::npos);
  inspect_options options;
  options.checksums = true;
  CHECK(code_of(path, options) == "ok");
  file[byte] = static_cast<char>(file[byte] ^ 1);
  write_text(path, file);
  CHECK(code_of(path) == "ok");
  CHECK(code_of(path, options) == "zip_crc");
  host stopping;
  stopping.stop.should_stop = [](void*) { return true; };
  const auto stopped = inspect(path, stopping, options);
  REQUIRE_FALSE(stopped);
  CHECK(name_of(stopped.error().code()) == "cancelled");
  CHECK(inspect(path, stopping));
}

TEST_CASE("inspect: little memory, and none left when it is short") {
  const temporary_folder folder;
  published_files files;
  files.other_files = {{"tokenizer.json", small_tokenizer().tokenizer_json()}};
  const auto paths = files.write(folder, form::shards);
  for (const std::string& path : {micro, paths.vit, paths.stage}) {
    counting_memory memory;
    host hooks;
    hooks.memory = memory.hooks();
    {
      const auto made = inspect(path, hooks);
      CHECK(made);
    }
    CHECK(memory.live() == 0);
    CHECK(memory.peak() < 1'000'000);
  }
  for (const std::string& path :
       {paths.vit, paths.qformer, paths.phi, paths.stage, paths.phi + "/tokenizer.json",
        paths.phi + "/model.safetensors.index.json"}) {
    CAPTURE(path);
    fail_every_allocation([&path](const memory_hooks& memory) {
      host hooks;
      hooks.memory = memory;
      return inspect(path, hooks);
    });
  }
}
