// inspect: what a file is and what is in it, be it a published checkpoint, a folder of one, or a model file.
#ifndef OCELLUS_MODEL_INSPECT_HPP
#define OCELLUS_MODEL_INSPECT_HPP

#include "ocellus/host.hpp"
#include "ocellus/model/config.hpp"
#include "ocellus/tensor.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Which of the files around TinyGPT-V it is, told by the names of its tensors.
enum class file_kind : std::uint8_t {
  other,      ///< tensors, but not of a file that a conversion takes
  model,      ///< a model file of this library
  vit,        ///< eva_vit_g.pth
  qformer,    ///< blip2_pretrained_flant5xxl.pth
  phi,        ///< Phi-2: its folder, its index, or one file of weights
  stage,      ///< TinyGPT-V_for_StageN.pth
  tokenizer,  ///< a tokenizer.json, or a folder with a tokenizer and no weights
};

/// "other", "model", "vit", "qformer", "phi", "stage", "tokenizer"
[[nodiscard]] std::string_view name_of(file_kind kind) noexcept;

enum class file_container : std::uint8_t { json, safetensors, torch };

/// "json", "safetensors", "torch"
[[nodiscard]] std::string_view name_of(file_container container) noexcept;

/// The names and the order of rows of the attention weights in Phi-2's three published forms.
enum class qkv_layout : std::uint8_t {
  unknown,
  wqkv,             ///< Wqkv, rows [3][heads][head size]
  query_key_value,  ///< query_key_value, rows [heads][3][head size]
  separate,         ///< q_proj, k_proj, v_proj
};

/// "unknown", "Wqkv", "query_key_value", "q_proj"
[[nodiscard]] std::string_view name_of(qkv_layout layout) noexcept;

/// What the model uses a tensor for.
enum class tensor_use : std::uint8_t {
  unknown,    ///< no place in the model: a conversion refuses it
  weight,     ///< it is, or becomes part of, a weight of the model file
  lora,       ///< a factor of a change of a weight
  scales,     ///< of the groups of a quantized weight
  tokenizer,  ///< the tokenizer of a model file
  surplus,    ///< published files hold it, the model does without
};

/// "unknown", "weight", "lora", "scales", "tokenizer", "surplus"
[[nodiscard]] std::string_view name_of(tensor_use use) noexcept;

struct inspected_tensor {
  std::string_view name;  ///< as in its file
  std::string_view
      canonical;            ///< as conversions call it; of a model file, and where nothing is known, the name
  std::string_view target;  ///< weight, lora, scales: the name of that weight in a model file
  std::string_view surplus;  ///< surplus: what it belongs to
  std::string_view format;   ///< of a packed matrix: "bf16"; else empty
  tensor_use use = tensor_use::unknown;
  dtype type = dtype::f32;
  shape dims;    ///< of a packed matrix [n, k] as it is computed with, without padding
  shape stored;  ///< as in the file
  std::uint64_t bytes = 0;
};

struct inspect_options {
  /// Compare the bytes of torch's checkpoints with their checksums. Reads all tensors, which else are not touched.
  bool checksums = false;
};

namespace detail {

struct file_inspector;

/// Copies of text that stay where they are while more is added, and when the pool is moved.
class text_pool {
 public:
  explicit text_pool(const memory_hooks& memory) noexcept : blocks_(memory) {}
  [[nodiscard]] result<std::string_view> keep(std::string_view words) noexcept;

 private:
  static constexpr std::size_t block_bytes = 16'384;
  array<text> blocks_;
};

}  // namespace detail

/// What inspect found. Owns its text: no file is open any more. Move-only. Sizes that the files do not tell are 0.
class file_description {
 public:
  explicit file_description(const memory_hooks& memory = {}) noexcept
      : tensors_(memory), stops_(memory), text_(memory) {}

  file_kind kind = file_kind::other;
  file_container container = file_container::safetensors;
  std::uint32_t files = 1;       ///< more than one: shards
  std::uint64_t file_bytes = 0;  ///< of all of them
  std::uint64_t tensor_bytes =
      0;  ///< the sum of all tensors; torch's files often hold an optimizer beside them

  model_config config;                      ///< of the parts that the file holds
  std::uint32_t vit_blocks = 0;             ///< vit: in the file; the model uses config.vit.layers of them
  qkv_layout layout = qkv_layout::unknown;  ///< phi
  std::uint32_t tokenizer_ids = 0;          ///< 0: there is no tokenizer

  struct stage_contents {
    std::uint32_t number = 0;      ///< 1 to 4; 0: nothing tells
    bool number_by_name = false;   ///< told by the name of the file, not by its tensors
    std::uint32_t lora_rank = 0;   ///< the largest; 0: there is no LoRA
    std::uint32_t lora_count = 0;  ///< weights that it changes
    bool qk_norms = false;
    bool post_norms = false;
    bool qformer = false;  ///< a Q-Former that was trained on, which takes the place of BLIP-2's
  };
  stage_contents stage;  ///< stage

  struct model_contents {
    std::string_view format;  ///< the version, "0"
    std::string_view template_name;
    std::span<const std::string_view> stops;
    std::string_view origin;
    bool aligned = true;  ///< see model::aligned
  };
  model_contents model;  ///< model

  /// By name, numbers in names by their value.
  [[nodiscard]] std::span<const inspected_tensor> tensors() const noexcept { return tensors_.span(); }

 private:
  friend struct detail::file_inspector;
  array<inspected_tensor> tensors_;
  array<std::string_view> stops_;
  detail::text_pool text_;  // what all views point into
};

/// Opens a file by its contents (a checkpoint of torch.save, safetensors, an index of shards, tokenizer.json), or a folder
/// as Hugging Face lays it out. Of tensors only names, types and shapes are read. A file that is recognised must have what
/// tells the sizes of its part; model files are checked as model::open does it.
/// Errors name the path: not_found, not_this_format, cancelled, and those of checkpoint, read_vision_shapes,
/// read_phi_config, read_tokenizer_folder and model::open.
[[nodiscard]] result<file_description> inspect(std::string_view path, const host& hooks = {},
                                               const inspect_options& options = {}) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_INSPECT_HPP
