// The names of published checkpoints: prefixes that training wrappers add, and the layouts of Phi-2's files.
#ifndef OCELLUS_MODEL_CHECKPOINT_NAMES_IPP
#define OCELLUS_MODEL_CHECKPOINT_NAMES_IPP

#include "ocellus/model/checkpoint_names.hpp"
#include "ocellus/slice.hpp"

namespace ocellus::inline OCELLUS_ABI {

std::string_view name_of(source_role role) noexcept {
  switch (role) {
    case source_role::phi:
      return "Phi-2";
    case source_role::vit:
      return "ViT";
    case source_role::qformer:
      return "Q-Former";
    case source_role::stage:
      return "stage";
  }
  return "?";
}

bool split_layer_name(std::string_view name, std::string_view prefix, std::uint32_t& layer,
                      std::string_view& rest) noexcept {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  std::size_t digits = 0;
  std::uint32_t n = 0;
  while (digits < name.size() && digits < 6 && name[digits] >= '0' && name[digits] <= '9') {
    n = n * 10 + static_cast<std::uint32_t>(name[digits++] - '0');
  }
  // "007" is a name of its own, not a way to write 7.
  if (digits == 0 || (digits > 1 && name[0] == '0') || digits == name.size() || name[digits] != '.')
    return false;
  layer = n;
  rest = detail::slice(name, digits + 1);
  return true;
}

namespace detail {

struct name_pair {
  std::string_view from;
  std::string_view to;
};

// Phi-2 as first published (December 2023), outside and inside a layer.
inline constexpr name_pair phi_old_names[] = {
    {"transformer.embd.wte.", "model.embed_tokens."},
    {"lm_head.ln.", "model.final_layernorm."},
    {"lm_head.linear.", "lm_head."},
};
inline constexpr name_pair phi_old_layer_names[] = {
    {"ln.", "input_layernorm."},
    {"mixer.out_proj.", "self_attn.dense."},
    {"mixer.", "self_attn."},  // Wqkv keeps its name: its rows have an order of their own
};

/// Appends `name` with its first part replaced; true if it had one of those.
[[nodiscard]] inline bool append_replaced(checkpoint_name& out, std::string_view name,
                                          std::span<const name_pair> pairs) noexcept {
  for (const name_pair& p : pairs) {
    if (name.starts_with(p.from)) {
      out.append(p.to).append(slice(name, p.from.size()));
      return true;
    }
  }
  out.append(name);
  return false;
}

/// What peft puts into the names of wrapped layers.
inline constexpr name_pair peft_infixes[] = {
    {".base_layer.", "."}, {".lora_A.default.", ".lora_A."}, {".lora_B.default.", ".lora_B."}};

/// A name inside the language model, behind "llama_model.".
inline bool append_phi_name(checkpoint_name& out, std::string_view name) noexcept {
  std::uint32_t layer = 0;
  std::string_view rest;
  checkpoint_name modern;
  bool renamed = false;
  if (split_layer_name(name, "transformer.h.", layer, rest)) {
    modern.append("model.layers.").append_number(layer).append(".");
    (void)append_replaced(modern, rest, phi_old_layer_names);
    renamed = true;
  } else {
    renamed = append_replaced(modern, name, phi_old_names);
  }
  if (!modern.valid()) {
    out.append(name);  // too long for any tensor of ours, and here as well
    return false;
  }
  for (const name_pair& infix : peft_infixes) {
    const std::string_view text = modern.view();
    const std::size_t at = text.find(infix.from);
    if (at == std::string_view::npos) continue;
    checkpoint_name shorter(slice(text, 0, at));
    shorter.append(infix.to).append(slice(text, at + infix.from.size()));
    modern = shorter;
    renamed = true;
  }
  out.append(modern.view());
  return renamed;
}

[[nodiscard]] inline bool strip_prefix(std::string_view& name, std::string_view prefix) noexcept {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  return true;
}

}  // namespace detail

canonical_name canonical_name_of(source_role role, std::string_view given) noexcept {
  canonical_name out;
  std::string_view name = given;
  while (detail::strip_prefix(name, "module.")) out.renamed = true;
  if (role == source_role::vit) {
    if (!name.starts_with("visual_encoder.")) out.name.append("visual_encoder.");
    out.name.append(name);
    return out;
  }
  bool phi = detail::strip_prefix(name, "llama_model.");
  if (role == source_role::phi) phi = true;
  if (!phi) {
    out.name.append(name);
    return out;
  }
  (void)detail::strip_prefix(name, "base_model.model.");
  out.name.append("llama_model.");
  if (detail::append_phi_name(out.name, name)) out.renamed = true;
  return out;
}

bool is_surplus_name(std::string_view name) noexcept {
  constexpr std::string_view prefixes[] = {"visual_encoder.norm.",
                                           "visual_encoder.fc_norm.",
                                           "visual_encoder.head.",
                                           "t5_proj.",
                                           "opt_proj.",
                                           "vision_proj.",
                                           "text_proj.",
                                           "itm_head.",
                                           "Qformer.cls.",
                                           "Qformer.bert.pooler.",
                                           "Qformer.bert.embeddings.word_embeddings.",
                                           "Qformer.bert.embeddings.position_embeddings.",
                                           "Qformer.bert.embeddings.token_type_embeddings."};
  for (std::string_view prefix : prefixes) {
    if (name.starts_with(prefix)) return true;
  }
  if (name == "temp" || name == "Qformer.bert.embeddings.position_ids" ||
      name == "llama_model.model.rotary_emb.inv_freq") {
    return true;
  }
  std::uint32_t layer = 0;
  std::string_view rest;
  if (split_layer_name(name, "Qformer.bert.encoder.layer.", layer, rest)) {
    return rest.starts_with("intermediate.") || rest.starts_with("output.");
  }
  return split_layer_name(name, "llama_model.model.layers.", layer, rest) &&
         rest.ends_with(".rotary_emb.inv_freq");
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CHECKPOINT_NAMES_IPP
