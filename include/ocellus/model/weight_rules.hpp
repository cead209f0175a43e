// Which tensors of the checkpoints make up which weight of a model file: a table that a conversion reads from the weight's
// side and an inspection from the tensor's.
#ifndef OCELLUS_MODEL_WEIGHT_RULES_HPP
#define OCELLUS_MODEL_WEIGHT_RULES_HPP

#include "ocellus/model/checkpoint_names.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// The weight that a tensor is for.
struct weight_target {
  checkpoint_name weight;  ///< in the model file, "phi.layers.3.qkv.weight"; empty: none
  bool lora = false;       ///< the tensor is a factor of a change of it, not a part of it
};

/// By the tensor's canonical name.
[[nodiscard]] weight_target weight_target_of(std::string_view tensor) noexcept;

namespace detail {

/// What may follow the names of a rule, on both sides alike.
enum class rule_ending : std::uint8_t { none, weight, weight_or_bias };

/// A name of the model file, '#' for a layer's number, and the tensors that make it up, one below the other.
struct weight_rule {
  std::string_view ours;
  std::string_view theirs[3];
  rule_ending ending = rule_ending::weight_or_bias;
};

// A conversion finds the positions, the bias of the ViT's qkv and Phi's qkv by rules of their own (see weight_finder);
// their rows here are for the other direction.
inline constexpr weight_rule weight_rules[] = {
    {"vision.class", {"visual_encoder.cls_token"}, rule_ending::none},
    {"vision.positions", {"visual_encoder.pos_embed"}, rule_ending::none},
    {"vision.patch", {"visual_encoder.patch_embed.proj"}},
    {"vision.blocks.#.norm1", {"visual_encoder.blocks.#.norm1"}},
    {"vision.blocks.#.qkv", {"visual_encoder.blocks.#.attn.qkv"}, rule_ending::weight},
    {"vision.blocks.#.qkv.bias",
     {"visual_encoder.blocks.#.attn.q_bias", "visual_encoder.blocks.#.attn.v_bias"},
     rule_ending::none},
    {"vision.blocks.#.proj", {"visual_encoder.blocks.#.attn.proj"}},
    {"vision.blocks.#.norm2", {"visual_encoder.blocks.#.norm2"}},
    {"vision.blocks.#.fc1", {"visual_encoder.blocks.#.mlp.fc1"}},
    {"vision.blocks.#.fc2", {"visual_encoder.blocks.#.mlp.fc2"}},
    {"vision.norm", {"ln_vision"}},
    {"qformer.queries", {"query_tokens"}, rule_ending::none},
    {"qformer.norm", {"Qformer.bert.embeddings.LayerNorm"}},
    {"qformer.layers.#.self.qkv",
     {"Qformer.bert.encoder.layer.#.attention.self.query", "Qformer.bert.encoder.layer.#.attention.self.key",
      "Qformer.bert.encoder.layer.#.attention.self.value"}},
    {"qformer.layers.#.self.out", {"Qformer.bert.encoder.layer.#.attention.output.dense"}},
    {"qformer.layers.#.self.norm", {"Qformer.bert.encoder.layer.#.attention.output.LayerNorm"}},
    {"qformer.layers.#.cross.q", {"Qformer.bert.encoder.layer.#.crossattention.self.query"}},
    {"qformer.layers.#.cross.kv",
     {"Qformer.bert.encoder.layer.#.crossattention.self.key",
      "Qformer.bert.encoder.layer.#.crossattention.self.value"}},
    {"qformer.layers.#.cross.out", {"Qformer.bert.encoder.layer.#.crossattention.output.dense"}},
    {"qformer.layers.#.cross.norm", {"Qformer.bert.encoder.layer.#.crossattention.output.LayerNorm"}},
    {"qformer.layers.#.fc1", {"Qformer.bert.encoder.layer.#.intermediate_query.dense"}},
    {"qformer.layers.#.fc2", {"Qformer.bert.encoder.layer.#.output_query.dense"}},
    {"qformer.layers.#.norm", {"Qformer.bert.encoder.layer.#.output_query.LayerNorm"}},
    {"projection.0", {"llama_proj"}},
    {"projection.1", {"llama_proj2"}},
    {"phi.embedding", {"llama_model.model.embed_tokens.weight"}, rule_ending::none},
    {"phi.layers.#.norm", {"llama_model.model.layers.#.input_layernorm"}},
    {"phi.layers.#.qkv", {"llama_model.model.layers.#.self_attn.query_key_value"}},
    {"phi.layers.#.qkv", {"llama_model.model.layers.#.self_attn.Wqkv"}},
    {"phi.layers.#.qkv",
     {"llama_model.model.layers.#.self_attn.q_proj", "llama_model.model.layers.#.self_attn.k_proj",
      "llama_model.model.layers.#.self_attn.v_proj"}},
    {"phi.layers.#.q_norm", {"llama_model.model.layers.#.self_attn.q_layernorm"}},
    {"phi.layers.#.k_norm", {"llama_model.model.layers.#.self_attn.k_layernorm"}},
    {"phi.layers.#.dense", {"llama_model.model.layers.#.self_attn.dense"}},
    {"phi.layers.#.post_norm", {"llama_model.model.layers.#.post_layernorm"}, rule_ending::weight},
    {"phi.layers.#.fc1", {"llama_model.model.layers.#.mlp.fc1"}},
    {"phi.layers.#.fc2", {"llama_model.model.layers.#.mlp.fc2"}},
    {"phi.norm", {"llama_model.model.final_layernorm"}},
    {"phi.head", {"llama_model.lm_head"}},
};

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_WEIGHT_RULES_HPP
