// A tiny TinyGPT-V as the four published files that hold it, in every form that they come in: layouts of Phi-2, names of
// LoRA, shards. Values depend on the tensor and the element alone, so all forms of one model say the same.
#ifndef OCELLUS_TESTS_SUPPORT_PUBLISHED_FILES_HPP
#define OCELLUS_TESTS_SUPPORT_PUBLISHED_FILES_HPP

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "support/temporary_folder.hpp"
#include "support/torch_archive.hpp"

namespace ocellus_tests {

/// Element i of a tensor: between -1 and 1, never the same twice in a row.
inline float published_value(const std::string& name, std::size_t i) {
  std::uint64_t z = i + 1;
  for (char c : name) z = (z ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return static_cast<float>(static_cast<std::int64_t>((z ^ z >> 31) >> 40)) / static_cast<float>(1 << 23) -
         1.0f;
}

struct tensor_values {
  std::vector<std::int64_t> dims;
  std::vector<float> values;
};
using tensor_map = std::map<std::string, tensor_values>;

/// A safetensors file of f32 tensors.
inline std::string make_safetensors(const tensor_map& tensors) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}", data;
  for (const auto& [name, t] : tensors) {
    header += ",\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[";
    for (std::size_t i = 0; i < t.dims.size(); ++i) header += (i == 0 ? "" : ",") + std::to_string(t.dims[i]);
    header += "],\"data_offsets\":[" + std::to_string(data.size()) + ",";
    data += floats(t.values);
    header += std::to_string(data.size()) + "]}";
  }
  header += "}";
  return little(header.size(), 8) + header + data;
}
inline std::string make_torch_file(const tensor_map& tensors, bool inside_model) {
  std::vector<torch_weight> weights;
  for (const auto& [name, t] : tensors) weights.push_back({name, t.dims, t.values});
  return make_checkpoint(weights, inside_model);
}

enum class phi_layout { first, fused, separate };

/// The tensors of the four files. Change them before writing.
struct published_files {
  // Sizes: heads of 88, 64 and 8.
  static constexpr std::int64_t vit = 88, vit_mlp = 10, patch = 2, grid = 2, q = 64, q_mlp = 6, queries = 3,
                                proj = 5, phi = 16, heads = 2, phi_mlp = 12, vocabulary = 20, rank = 4;

  tensor_map vit_file, qformer_file, phi_file, stage_file;
  std::string config;
  std::map<std::string, std::string> other_files;  // of the Phi folder: the tokenizer

  explicit published_files(phi_layout layout = phi_layout::fused, bool with_norms = true) {
    add_vit();
    add_qformer();
    add_phi();
    add_stage(with_norms);
    set_layout(layout);
  }

  static void add(tensor_map& to, const std::string& name, std::vector<std::int64_t> dims) {
    std::size_t count = 1;
    for (std::int64_t d : dims) count *= static_cast<std::size_t>(d);
    tensor_values t{std::move(dims), std::vector<float>(count)};
    for (std::size_t i = 0; i < count; ++i) t.values[i] = published_value(name, i);
    to[name] = std::move(t);
  }
  static void add_linear(tensor_map& to, const std::string& name, std::int64_t n, std::int64_t k) {
    add(to, name + ".weight", {n, k});
    add(to, name + ".bias", {n});
  }
  static void add_norm(tensor_map& to, const std::string& name, std::int64_t n) {
    add(to, name + ".weight", {n});
    add(to, name + ".bias", {n});
  }
  static void rename(tensor_map& in, const std::string& from, const std::string& to) {
    tensor_map renamed;
    for (auto& [name, t] : in) {
      const std::size_t at = name.find(from);
      renamed[at == std::string::npos ? name : name.substr(0, at) + to + name.substr(at + from.size())] =
          std::move(t);
    }
    in = std::move(renamed);
  }

  /// Rows [heads][3][D] to [3][heads][D].
  static tensor_values by_parts(const tensor_values& t) {
    tensor_values out = t;
    const std::size_t cols = t.values.size() / static_cast<std::size_t>(3 * phi), d = phi / heads;
    for (std::size_t part = 0; part < 3; ++part) {
      for (std::size_t h = 0; h < heads; ++h) {
        for (std::size_t i = 0; i < d * cols; ++i) {
          out.values[(part * heads + h) * d * cols + i] = t.values[(h * 3 + part) * d * cols + i];
        }
      }
    }
    return out;
  }

  void set_layout(phi_layout layout) {
    config = R"({"model_type": "phi", "hidden_act": "gelu_new", "hidden_size": 16, "intermediate_size": 12,
      "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "partial_rotary_factor": 0.5,
      "rope_theta": 10000.0, "layer_norm_eps": 1e-05, "max_position_embeddings": 64, "vocab_size": 20,
      "tie_word_embeddings": false, "architectures": ["PhiForCausalLM"]})";
    if (layout == phi_layout::fused) return;
    tensor_map changed;
    for (auto& [name, t] : phi_file) {
      const std::size_t at = name.find("query_key_value");
      if (at == std::string::npos) {
        changed[name] = t;
        continue;
      }
      const tensor_values parts = by_parts(t);
      const std::string before = name.substr(0, at), after = name.substr(at + 15);
      if (layout == phi_layout::first) {
        changed[before + "Wqkv" + after] = parts;
        continue;
      }
      const std::size_t third = parts.values.size() / 3;
      for (std::size_t i = 0; i < 3; ++i) {
        tensor_values one{parts.dims, {}};
        one.dims[0] = phi;
        one.values.assign(parts.values.begin() + static_cast<std::ptrdiff_t>(i * third),
                          parts.values.begin() + static_cast<std::ptrdiff_t>((i + 1) * third));
        changed[before + std::string(1, "qkv"[i]) + "_proj" + after] = one;
      }
    }
    phi_file = std::move(changed);
    if (layout == phi_layout::separate) return;
    rename(phi_file, "model.layers.", "transformer.h.");
    rename(phi_file, "model.embed_tokens", "transformer.embd.wte");
    rename(phi_file, ".input_layernorm", ".ln");
    rename(phi_file, ".self_attn.dense", ".mixer.out_proj");
    rename(phi_file, ".self_attn.Wqkv", ".mixer.Wqkv");
    rename(phi_file, "lm_head.", "lm_head.linear.");
    rename(phi_file, "model.final_layernorm", "lm_head.ln");
    config =
        R"({"model_type": "phi-msft", "activation_function": "gelu_new", "n_embd": 16, "n_head": 2, "n_layer": 2,
      "n_inner": 12, "n_positions": 64, "rotary_dim": 4, "layer_norm_epsilon": 1e-05, "vocab_size": 20})";
  }

  /// Writes everything below a folder.
  struct paths {
    std::string vit, qformer, phi, stage;
  };
  enum class phi_form { safetensors, shards, bin, bin_shards };
  paths write(const temporary_folder& to, phi_form form = phi_form::safetensors) const {
    const paths p{to / "vit.pth", to / "qformer.pth", to / "phi", to / "stage.pth"};
    std::filesystem::remove_all(p.phi);
    std::filesystem::create_directory(p.phi);
    write_text(p.vit, make_torch_file(vit_file, false));
    write_text(p.qformer, make_torch_file(qformer_file, true));
    write_text(p.stage, make_torch_file(stage_file, true));
    write_text(p.phi + "/config.json", config);
    for (const auto& [name, content] : other_files) write_text(p.phi + "/" + name, content);
    const bool bin = form == phi_form::bin || form == phi_form::bin_shards;
    const auto content = [bin](const tensor_map& t) {
      return bin ? make_torch_file(t, false) : make_safetensors(t);
    };
    const std::string stem = bin ? "pytorch_model" : "model", ending = bin ? ".bin" : ".safetensors";
    if (form == phi_form::safetensors || form == phi_form::bin) {
      write_text(p.phi + "/" + stem + ending, content(phi_file));
      return p;
    }
    tensor_map parts[2];
    std::string map;
    std::size_t i = 0;
    for (const auto& [name, t] : phi_file) {
      const std::size_t part = i++ * 2 / phi_file.size();
      parts[part][name] = t;
      map += (map.empty() ? "\"" : ",\"") + name + "\":\"" + stem + "-0000" + std::to_string(part + 1) +
             "-of-00002" + ending + "\"";
    }
    for (std::size_t part = 0; part < 2; ++part) {
      write_text(p.phi + "/" + stem + "-0000" + std::to_string(part + 1) + "-of-00002" + ending,
                 content(parts[part]));
    }
    write_text(p.phi + "/" + stem + ending + ".index.json",
               "{\"metadata\":{\"total_size\":1},\"weight_map\":{" + map + "}}");
    return p;
  }

 private:
  void add_vit() {
    add(vit_file, "cls_token", {1, 1, vit});
    add(vit_file, "pos_embed", {1, grid * grid + 1, vit});
    add(vit_file, "patch_embed.proj.weight", {vit, 3, patch, patch});
    add(vit_file, "patch_embed.proj.bias", {vit});
    for (int i = 0; i < 3; ++i) {  // the last is not used
      const std::string at = "blocks." + std::to_string(i) + ".";
      add_norm(vit_file, at + "norm1", vit);
      add(vit_file, at + "attn.qkv.weight", {3 * vit, vit});
      add(vit_file, at + "attn.q_bias", {vit});
      add(vit_file, at + "attn.v_bias", {vit});
      add_linear(vit_file, at + "attn.proj", vit, vit);
      add_norm(vit_file, at + "norm2", vit);
      add_linear(vit_file, at + "mlp.fc1", vit_mlp, vit);
      add_linear(vit_file, at + "mlp.fc2", vit, vit_mlp);
    }
    add_norm(vit_file, "norm", vit);
    add_linear(vit_file, "head", 7, vit);
  }
  void add_qformer() {
    add_norm(qformer_file, "ln_vision", vit);
    add(qformer_file, "query_tokens", {1, queries, q});
    add_norm(qformer_file, "Qformer.bert.embeddings.LayerNorm", q);
    add(qformer_file, "Qformer.bert.embeddings.position_ids", {1, 4});
    add_linear(qformer_file, "t5_proj", 4, q);
    for (int i = 0; i < 2; ++i) {
      const std::string at = "Qformer.bert.encoder.layer." + std::to_string(i) + ".";
      for (const char* part : {"attention", "crossattention"}) {
        if (part[0] == 'c' && i == 1) continue;
        const std::int64_t keys = part[0] == 'c' ? vit : q;
        add_linear(qformer_file, at + part + ".self.query", q, q);
        add_linear(qformer_file, at + part + ".self.key", q, keys);
        add_linear(qformer_file, at + part + ".self.value", q, keys);
        add_linear(qformer_file, at + part + ".output.dense", q, q);
        add_norm(qformer_file, at + part + ".output.LayerNorm", q);
      }
      add_linear(qformer_file, at + "intermediate_query.dense", q_mlp, q);
      add_linear(qformer_file, at + "output_query.dense", q, q_mlp);
      add_norm(qformer_file, at + "output_query.LayerNorm", q);
      add_linear(qformer_file, at + "intermediate.dense", q_mlp, q);  // the text branch
      add_linear(qformer_file, at + "output.dense", q, q_mlp);
      add_norm(qformer_file, at + "output.LayerNorm", q);
    }
  }
  void add_phi() {
    add(phi_file, "model.embed_tokens.weight", {vocabulary, phi});
    for (int i = 0; i < 2; ++i) {
      const std::string at = "model.layers." + std::to_string(i) + ".";
      add_norm(phi_file, at + "input_layernorm", phi);
      add_linear(phi_file, at + "self_attn.query_key_value", 3 * phi, phi);
      add_linear(phi_file, at + "self_attn.dense", phi, phi);
      add_linear(phi_file, at + "mlp.fc1", phi_mlp, phi);
      add_linear(phi_file, at + "mlp.fc2", phi, phi_mlp);
      add(phi_file, at + "self_attn.rotary_emb.inv_freq", {2});
    }
    add_norm(phi_file, "model.final_layernorm", phi);
    add_linear(phi_file, "lm_head", vocabulary, phi);
  }
  void add_stage(bool with_norms) {
    add_linear(stage_file, "llama_proj", proj, q);
    add_linear(stage_file, "llama_proj2", phi, proj);
    add(stage_file, "Qformer.bert.embeddings.position_ids", {1, 4});
    const std::string root = "llama_model.base_model.model.model.";
    for (int i = 0; i < 2; ++i) {
      const std::string at = root + "layers." + std::to_string(i) + ".";
      add(stage_file, at + "self_attn.query_key_value.lora_A.weight", {rank, phi});
      add(stage_file, at + "self_attn.query_key_value.lora_B.weight", {3 * phi, rank});
      add(stage_file, at + "self_attn.dense.lora_A.weight", {rank, phi});
      add(stage_file, at + "self_attn.dense.lora_B.weight", {phi, rank});
      if (with_norms) {
        add(stage_file, at + "self_attn.q_layernorm.weight", {phi / heads});
        add(stage_file, at + "self_attn.k_layernorm.weight", {phi / heads});
        add(stage_file, at + "post_layernorm.weight", {phi});
      }
      add(stage_file, at + "input_layernorm.weight", {phi});
    }
    add(stage_file, root + "final_layernorm.weight", {phi});
  }
};

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_PUBLISHED_FILES_HPP
