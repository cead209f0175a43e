// The names of published checkpoints come to one form, and surplus ones are known.
#include "ocellus/model/checkpoint_names.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace ocellus;

namespace {

std::string form(source_role role, std::string_view given) {
  const canonical_name made = canonical_name_of(role, given);
  CHECK(made.name.valid());
  return std::string(made.name.view()) + (made.renamed ? " (renamed)" : "");
}

}  // namespace

TEST_CASE("checkpoint names: the three layouts of Phi-2") {
  const auto phi = [](std::string_view given) { return form(source_role::phi, given); };
  const std::string layer = "llama_model.model.layers.7.";
  CHECK(phi("model.layers.7.self_attn.q_proj.weight") == layer + "self_attn.q_proj.weight");
  CHECK(phi("model.layers.7.self_attn.query_key_value.bias") == layer + "self_attn.query_key_value.bias");
  CHECK(phi("transformer.h.7.mixer.Wqkv.weight") == layer + "self_attn.Wqkv.weight (renamed)");
  CHECK(phi("transformer.h.7.mixer.out_proj.bias") == layer + "self_attn.dense.bias (renamed)");
  CHECK(phi("transformer.h.7.ln.weight") == layer + "input_layernorm.weight (renamed)");
  CHECK(phi("transformer.h.7.mlp.fc1.weight") == layer + "mlp.fc1.weight (renamed)");
  CHECK(phi("transformer.h.7.mixer.rotary_emb.inv_freq") ==
        layer + "self_attn.rotary_emb.inv_freq (renamed)");
  CHECK(phi("transformer.embd.wte.weight") == "llama_model.model.embed_tokens.weight (renamed)");
  CHECK(phi("lm_head.ln.weight") == "llama_model.model.final_layernorm.weight (renamed)");
  CHECK(phi("lm_head.linear.bias") == "llama_model.lm_head.bias (renamed)");
  CHECK(phi("lm_head.bias") == "llama_model.lm_head.bias");
  CHECK(phi("llama_model.model.embed_tokens.weight") == "llama_model.model.embed_tokens.weight");
}

TEST_CASE("checkpoint names: what training wrappers put around them") {
  const auto stage = [](std::string_view given) { return form(source_role::stage, given); };
  const std::string dense = "llama_model.model.layers.0.self_attn.dense.";
  CHECK(stage("llama_model.base_model.model.model.layers.0.self_attn.dense.lora_A.weight") ==
        dense + "lora_A.weight");
  CHECK(stage("llama_model.model.layers.0.self_attn.dense.lora_A.weight") == dense + "lora_A.weight");
  CHECK(stage("llama_model.base_model.model.model.layers.0.self_attn.dense.lora_B.default.weight") ==
        dense + "lora_B.weight (renamed)");
  CHECK(stage("llama_model.base_model.model.model.layers.0.self_attn.dense.base_layer.weight") ==
        dense + "weight (renamed)");
  CHECK(stage("module.llama_model.base_model.model.lm_head.weight") ==
        "llama_model.lm_head.weight (renamed)");
  CHECK(stage("module.module.llama_proj.weight") == "llama_proj.weight (renamed)");
  CHECK(stage("Qformer.bert.embeddings.LayerNorm.weight") == "Qformer.bert.embeddings.LayerNorm.weight");
  CHECK(form(source_role::vit, "blocks.0.norm1.weight") == "visual_encoder.blocks.0.norm1.weight");
  CHECK(form(source_role::vit, "visual_encoder.cls_token") == "visual_encoder.cls_token");
  CHECK(form(source_role::stage, "visual_encoder.cls_token") == "visual_encoder.cls_token");
}

TEST_CASE("checkpoint names: overlong ones are invalid, not cut") {
  CHECK_FALSE(canonical_name_of(source_role::stage, std::string(256, 'a')).name.valid());
  CHECK_FALSE(canonical_name_of(source_role::phi, std::string(255, 'a')).name.valid());
  CHECK_FALSE(
      canonical_name_of(source_role::phi, "transformer.h.0.ln." + std::string(250, 'a')).name.valid());
  CHECK(canonical_name_of(source_role::stage, std::string(255, 'a')).name.valid());
}

TEST_CASE("checkpoint names: surplus tensors are known, others are not") {
  for (const char* name :
       {"visual_encoder.norm.weight", "visual_encoder.head.bias", "t5_proj.weight",
        "Qformer.bert.embeddings.position_ids", "Qformer.bert.embeddings.word_embeddings.weight",
        "Qformer.bert.encoder.layer.11.intermediate.dense.bias",
        "Qformer.bert.encoder.layer.0.output.LayerNorm.weight", "Qformer.cls.predictions.bias",
        "llama_model.model.layers.3.self_attn.rotary_emb.inv_freq",
        "llama_model.model.rotary_emb.inv_freq"}) {
    CAPTURE(name);
    CHECK(is_surplus_name(name));
  }
  for (const char* name :
       {"visual_encoder.norm1.weight", "visual_encoder.blocks.0.norm1.weight", "t5_project", "temperature",
        "Qformer.bert.encoder.layer.0.output_query.dense.weight",
        "Qformer.bert.encoder.layer.0.attention.output.dense.weight", "inv_freq",
        "llama_model.model.layers.3.self_attn.dense.weight", ""}) {
    CAPTURE(name);
    CHECK_FALSE(is_surplus_name(name));
  }
}

TEST_CASE("checkpoint names: layers are numbered in one way only") {
  std::uint32_t layer = 99;
  std::string_view rest;
  CHECK(split_layer_name("a.12.b.c", "a.", layer, rest));
  CHECK(layer == 12);
  CHECK(rest == "b.c");
  CHECK(split_layer_name("a.0.b", "a.", layer, rest));
  for (const char* name : {"a.012.b", "a..b", "a.12", "a.-1.b", "a.1234567.b", "b.1.b", "a.1b.c", "a."}) {
    CAPTURE(name);
    CHECK_FALSE(split_layer_name(name, "a.", layer, rest));
  }
}
