// inspect: tells what a file is by its first bytes and the names of its tensors, then asks the readers of that kind.
#ifndef OCELLUS_MODEL_INSPECT_IPP
#define OCELLUS_MODEL_INSPECT_IPP

#include <algorithm>

#include "ocellus/io/json.hpp"
#include "ocellus/model/checkpoint.ipp"
#include "ocellus/model/convert_shapes.ipp"
#include "ocellus/model/inspect.hpp"
#include "ocellus/model/inspect_names.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/model/phi_folder.hpp"
#include "ocellus/model/weight_rules.hpp"
#include "ocellus/slice.hpp"

namespace ocellus::inline OCELLUS_ABI {

std::string_view name_of(file_kind kind) noexcept {
  constexpr std::string_view names[] = {"other", "model", "vit", "qformer", "phi", "stage", "tokenizer"};
  return names[static_cast<std::size_t>(kind)];
}

std::string_view name_of(file_container container) noexcept {
  constexpr std::string_view names[] = {"json", "safetensors", "torch"};
  return names[static_cast<std::size_t>(container)];
}

std::string_view name_of(qkv_layout layout) noexcept {
  constexpr std::string_view names[] = {"unknown", "Wqkv", "query_key_value", "q_proj"};
  return names[static_cast<std::size_t>(layout)];
}

std::string_view name_of(tensor_use use) noexcept {
  constexpr std::string_view names[] = {"unknown", "weight", "lora", "scales", "tokenizer", "surplus"};
  return names[static_cast<std::size_t>(use)];
}

namespace detail {

result<std::string_view> text_pool::keep(std::string_view words) noexcept {
  const bool fits = !blocks_.empty() && words.size() <= blocks_.back().capacity() - blocks_.back().size();
  if (!fits) {
    text block(blocks_.memory());
    if (!block.reserve((std::max)(words.size(), block_bytes)) || !blocks_.push_back(std::move(block)))
      return no_memory("the names of tensors");
  }
  text& block = blocks_.back();
  const std::size_t begin = block.size();
  if (!block.append(words)) return no_memory("the names of tensors");
  return slice(block.view(), begin);
}

/// Does a file begin as a JSON object? A safetensors file can begin with the same byte, but then with zeros behind it.
[[nodiscard]] inline bool seems_json(std::string_view file) noexcept {
  const std::size_t begin = file.find_first_not_of(" \t\r\n");
  return begin != std::string_view::npos && file[begin] == '{' &&
         slice(file, 0, (std::min)(file.size(), std::size_t{8})).find('\0') == std::string_view::npos;
}

/// One run of inspect.
struct file_inspector {
  std::string_view path;
  const host& hooks;
  const inspect_options& options;
  file_description out = file_description(hooks.memory);

  [[nodiscard]] result<void> run() noexcept {
    auto opened = byte_source::open(path, hooks.memory);
    if (!opened && opened.error().code() == error_code::not_regular) return read_folder();
    if (!opened) return opened.error();
    const std::span<const std::byte> bytes = opened->bytes();
    const bool plain = seems_safetensors(bytes);
    if (!plain && seems_json(opened->chars())) return read_json(*opened);
    if (plain) {
      const auto contents = safetensors::parse(bytes, hooks.memory);
      if (contents && contents->metadata("ocellus.format")) return in_path(read_model(*contents, bytes));
    }
    checkpoint from(hooks);
    OCELLUS_TRY(in_path(from.add_bytes(source_role::stage, path, std::move(*opened))));
    return read_checkpoint(from);
  }

  /// Sorts what was found and points to text of its own.
  [[nodiscard]] result<void> finish() noexcept {
    for (inspected_tensor& t : out.tensors_) out.tensor_bytes += t.bytes;
    std::sort(out.tensors_.begin(), out.tensors_.end(),
              [](const inspected_tensor& a, const inspected_tensor& b) noexcept {
                return natural_less(a.name, b.name);
              });
    return {};
  }

 private:
  [[nodiscard]] result<void> in_path(const result<void>& done) const noexcept {
    if (!done) return done.error().in(quoted{path});
    return {};
  }
  [[nodiscard]] result<void> keep(std::string_view& words) noexcept {
    OCELLUS_ASSIGN(words, out.text_.keep(words));
    return {};
  }
  /// Copies the text that a tensor's views point to.
  [[nodiscard]] result<void> add(inspected_tensor t) noexcept {
    OCELLUS_TRY(keep(t.name));
    OCELLUS_TRY(keep(t.canonical));
    OCELLUS_TRY(keep(t.target));
    OCELLUS_TRY(keep(t.surplus));
    OCELLUS_TRY(keep(t.format));
    if (!out.tensors_.push_back(t)) return no_memory("the list of tensors");
    return {};
  }

  // -- files and folders

  [[nodiscard]] result<void> read_folder() noexcept {
    checkpoint from(hooks);
    const auto added = from.add_folder(source_role::stage, path);
    if (!added && added.error().code() != error_code::not_found) return added.error();
    if (added) {
      OCELLUS_TRY(read_checkpoint(from));
      if (out.kind != file_kind::phi) return {};
      OCELLUS_ASSIGN(out.config.phi, read_phi_config(path, true, hooks.memory));
    }
    OCELLUS_ASSIGN(const auto words, read_tokenizer_folder(path, hooks.memory));
    if (words) out.tokenizer_ids = words->vocab_size();
    if (added) return {};
    if (!words) {
      return error(error_code::not_found, quoted{path},
                   " is neither a file nor a folder with weights (model.safetensors, pytorch_model.bin, an "
                   "index of shards) or a tokenizer");
    }
    out.kind = file_kind::tokenizer;
    out.container = file_container::json;
    return {};
  }
  [[nodiscard]] result<void> read_json(const byte_source& file) noexcept {
    auto parsed = json::parse(file.chars(), hooks.memory);
    if (!parsed) return parsed.error().in(quoted{path});
    if (parsed->root().find("weight_map")) {
      checkpoint from(hooks);
      OCELLUS_TRY(from.add_index(source_role::stage, path));
      return read_checkpoint(from);
    }
    if (!parsed->root().find("model").is_object() || !parsed->root().find("pre_tokenizer")) {
      return error(error_code::not_this_format, quoted{path},
                   ": a JSON file, but neither an index of shards nor a tokenizer.json");
    }
    auto words = tokenizer::from_json(file.chars(), hooks.memory);
    if (!words) return words.error().in(quoted{path});
    out.kind = file_kind::tokenizer;
    out.container = file_container::json;
    out.file_bytes = file.bytes().size();
    out.tokenizer_ids = words->vocab_size();
    return {};
  }

  // -- model files

  [[nodiscard]] result<void> read_model(const safetensors& contents,
                                        std::span<const std::byte> bytes) noexcept {
    OCELLUS_ASSIGN(const model opened, model::open(bytes, hooks));
    out.kind = file_kind::model;
    out.file_bytes = bytes.size();
    out.config = opened.config();
    if (opened.tokenizer() != nullptr) out.tokenizer_ids = opened.tokenizer()->vocab_size();
    out.model = {model::format_version,
                 opened.default_template(),
                 {},
                 contents.metadata("ocellus.origin").value_or(""),
                 opened.aligned()};
    OCELLUS_TRY(keep(out.model.template_name));
    OCELLUS_TRY(keep(out.model.origin));
    for (std::string_view stop : opened.stops()) {
      OCELLUS_TRY(keep(stop));
      if (!out.stops_.push_back(stop)) return no_memory("stop strings");
    }
    out.model.stops = out.stops_.span();
    OCELLUS_ASSIGN(const json matrices, json::parse(*contents.metadata("ocellus.matrices"), hooks.memory));
    for (const tensor_info& t : contents.tensors())
      OCELLUS_TRY(add(describe_model_tensor(t, matrices.root())));
    return {};
  }

  // -- checkpoints

  [[nodiscard]] result<void> read_checkpoint(checkpoint& from) noexcept {
    out.files = static_cast<std::uint32_t>(from.file_count());
    out.container = from.is_torch(0) ? file_container::torch : file_container::safetensors;
    for (std::size_t i = 0; i < from.file_count(); ++i) out.file_bytes += from.bytes_of(i);
    const std::optional<source_role> role = role_by_names(from.tensors());
    if (role) {
      from.assume(*role);
      OCELLUS_TRY(from.seal());
      const auto sizes = read_sizes(*role, from);
      // A wrong shape is told with the path of its file.
      if (!sizes && sizes.error().code() == error_code::tensor_shape) return sizes.error();
      OCELLUS_TRY(in_path(sizes));
    }
    for (const checkpoint_tensor& t : from.tensors()) {
      if (options.checksums && hooks.stop())
        return error(error_code::cancelled, "the inspection was stopped");
      if (options.checksums) OCELLUS_TRY(from.verify(t));
      inspected_tensor d;
      d.name = t.given;
      d.canonical = role ? t.name : t.given;
      d.type = t.type;
      d.dims = d.stored = t.dims;
      d.bytes = (t.dims.count() * bits_of(t.type)).value() / 8;
      weight_target target;
      if (role) {
        target = weight_target_of(t.name);
        d.target = target.weight.view();
        d.surplus = t.fate == tensor_fate::ignored ? "last block of the ViT" : surplus_of(t.name);
        if (!d.surplus.empty()) d.target = {};
      }
      if (!d.target.empty()) d.use = target.lora ? tensor_use::lora : tensor_use::weight;
      if (!d.surplus.empty()) d.use = tensor_use::surplus;
      if (out.kind == file_kind::stage) note_stage(d);
      if (out.kind == file_kind::phi) note_layout(d);
      OCELLUS_TRY(add(d));
    }
    if (out.kind == file_kind::stage) number_stage();
    return {};
  }

  /// What the shapes say of the part.
  [[nodiscard]] result<void> read_sizes(source_role role, checkpoint& from) noexcept {
    convert_report unused(hooks.memory);
    vision_shapes shapes{from, out.config, unused};
    switch (role) {
      case source_role::vit:
        out.kind = file_kind::vit;
        out.vit_blocks = shapes.count_layers("visual_encoder.blocks.");
        return shapes.vit(0);
      case source_role::qformer:
        out.kind = file_kind::qformer;
        return shapes.qformer();
      case source_role::phi:
        out.kind = file_kind::phi;
        read_phi_sizes(from, shapes.count_layers("llama_model.model.layers."));
        return {};
      case source_role::stage:
        out.kind = file_kind::stage;
        return {};
    }
    return {};
  }
  /// Of one file or shard: not all of it need be there, and only config.json knows the heads.
  void read_phi_sizes(checkpoint& from, std::uint32_t layers) noexcept {
    const auto dim = [&from](std::string_view name, std::size_t d) noexcept {
      const checkpoint_tensor* t = from.find(name);
      const bool known = t != nullptr && t->dims.rank() == 2 && t->dims[d] <= UINT32_MAX;
      return known ? static_cast<std::uint32_t>(t->dims[d]) : 0;
    };
    out.config.phi.layers = layers;
    out.config.phi.vocabulary = dim("llama_model.model.embed_tokens.weight", 0);
    out.config.phi.width = dim("llama_model.model.embed_tokens.weight", 1);
    out.config.phi.mlp_width = dim("llama_model.model.layers.0.mlp.fc1.weight", 0);
  }
  void note_layout(const inspected_tensor& t) noexcept {
    const auto is = [&t](std::string_view part) noexcept {
      return t.canonical.find(part) != std::string_view::npos;
    };
    if (t.use != tensor_use::weight) return;
    if (is(".self_attn.Wqkv.")) out.layout = qkv_layout::wqkv;
    if (is(".self_attn.query_key_value.")) out.layout = qkv_layout::query_key_value;
    if (is(".self_attn.q_proj.")) out.layout = qkv_layout::separate;
  }
  void note_stage(const inspected_tensor& t) noexcept {
    file_description::stage_contents& stage = out.stage;
    if (t.use == tensor_use::lora && t.canonical.ends_with(".lora_A.weight")) {
      ++stage.lora_count;
      if (t.dims.rank() == 2 && t.dims[0] <= UINT32_MAX)
        stage.lora_rank = (std::max)(stage.lora_rank, static_cast<std::uint32_t>(t.dims[0]));
    }
    if (t.target.ends_with(".q_norm.weight")) stage.qk_norms = true;
    if (t.target.ends_with(".post_norm.weight")) stage.post_norms = true;
    if (t.target.starts_with("qformer.layers.")) stage.qformer = true;
  }
  /// Published names say it; else only the first stage trains no LoRA and only the last one trains the Q-Former.
  void number_stage() noexcept {
    file_description::stage_contents& stage = out.stage;
    stage.number = stage_in_path(path);
    stage.number_by_name = stage.number != 0;
    if (stage.number != 0) return;
    if (stage.qformer) stage.number = 4;
    if (!stage.qformer && stage.lora_count == 0) stage.number = 1;
  }
};

}  // namespace detail

result<file_description> inspect(std::string_view path, const host& hooks,
                                 const inspect_options& options) noexcept {
  detail::file_inspector run{path, hooks, options};
  OCELLUS_TRY(run.run());
  OCELLUS_TRY(run.finish());
  return std::move(run.out);
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_INSPECT_IPP
