// convert: published TinyGPT-V or Phi-2 checkpoints to one model file of this library.
#ifndef OCELLUS_MODEL_CONVERT_HPP
#define OCELLUS_MODEL_CONVERT_HPP

#include <optional>

#include "ocellus/model/model_writer.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Paths are UTF-8. `phi` and `output` are needed; `vit` and `qformer` come together and give the model its picture side;
/// `stage` needs both. Views must stay valid during the call.
struct convert_options {
  std::string_view vit;      ///< eva_vit_g.pth
  std::string_view qformer;  ///< blip2_pretrained_flant5xxl.pth
  std::string_view phi;      ///< folder with config.json and weights
  std::string_view stage;    ///< TinyGPT-V_for_StageN.pth; overlays the others
  std::string_view output;   ///< a .safetensors file, replaced when it is complete
  std::uint32_t image_size =
      0;                     ///< pixels, a multiple of the patch size; 0: that of the ViT's position table
  float lora_alpha = 16.0f;  ///< LoRA's weights are scaled by lora_alpha / rank
  weight_format format =
      weight_format::bf16;  ///< of the matrices; q4 leaves lm_head at q8, see choose_format
  std::optional<weight_format> vision_format;  ///< of the picture side, if it is to be another
  std::string_view
      template_name;  ///< of prompt_templates(); empty: "inst" for a stage file at 448 pixels, "alignment"
                      ///< for one at another size, "caption" without stage file
  progress_hooks progress;  ///< while the file is written
};

/// What a line of the report is about.
enum class convert_note : std::uint8_t {
  choice,     ///< something that no file says was decided: layers, layout, template
  loaded,     ///< a tensor of the model file and where it came from
  renamed,    ///< the same, and its name was of an older or wrapped form
  merged,     ///< LoRA was added to it
  resized,    ///< the position table
  defaulted,  ///< made up, as the files lack it
  overlaid,   ///< hidden by the stage file
  ignored     ///< known to be of no use
};

[[nodiscard]] std::string_view name_of(convert_note note) noexcept;

/// The configuration that was found and an inventory in lines, in the order of the work. Move-only.
class convert_report {
 public:
  explicit convert_report(const memory_hooks& memory = {}) noexcept : text_(memory), lines_(memory) {}

  struct line {
    convert_note note;
    std::string_view words;
  };
  [[nodiscard]] std::size_t size() const noexcept { return lines_.size(); }
  /// Valid while the report lives.
  [[nodiscard]] line operator[](std::size_t i) const noexcept {
    const std::size_t begin = i == 0 ? 0 : lines_[i - 1].end;
    return {lines_[i].note, std::string_view(text_.data() + begin, lines_[i].end - begin)};
  }
  [[nodiscard]] std::size_t count(convert_note note) const noexcept {
    std::size_t n = 0;
    for (const entry& e : lines_) n += e.note == note ? 1 : 0;
    return n;
  }
  /// Adds a line of the parts that message_text takes, which cuts it.
  template <class... Parts>
  [[nodiscard]] result<void> add(convert_note note, const Parts&... parts) noexcept {
    const message_text words(parts...);
    if (!text_.append(words.view()) || !lines_.push_back({note, text_.size()}))
      return no_memory("the report");
    return {};
  }

  model_config config;
  model_file_size file;  ///< what was written

 private:
  struct entry {
    convert_note note;
    std::size_t end;  // in text_
  };
  text text_;
  array<entry> lines_;
};

/// Reads the checkpoints, checks that every tensor of the model is there with its shape and that every tensor of the files
/// is used or known to be surplus, merges LoRA, resizes the position table, packs and writes. Files are mapped, and one
/// weight of them at a time stays in memory, beside some panels, the scales and the LoRA factors of one matrix. The host's
/// workers pack; the bytes do not depend on their number. A stop asked for by the host, or any error, leaves an existing
/// output untouched.
/// Choices are also logged. Errors: invalid_argument, output_is_input, template_unknown, cancelled, tensor_missing,
/// tensor_shape, tensor_unknown, weight_range, config_*, and those of checkpoint, parse_phi_config,
/// read_tokenizer_folder and output_file.
[[nodiscard]] result<convert_report> convert(const convert_options& options, const host& hooks = {}) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CONVERT_HPP
