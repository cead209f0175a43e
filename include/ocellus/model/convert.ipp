// convert: finds all sources first, so that every complaint comes before the first byte is written; then writes.
#ifndef OCELLUS_MODEL_CONVERT_IPP
#define OCELLUS_MODEL_CONVERT_IPP

#include "ocellus/io/same_file.hpp"
#include "ocellus/model/convert.hpp"
#include "ocellus/model/convert_shapes.hpp"
#include "ocellus/model/convert_sources.hpp"
#include "ocellus/model/model_writer.hpp"
#include "ocellus/model/phi_folder.hpp"
#include "ocellus/text/prompt.hpp"

namespace ocellus::inline OCELLUS_ABI {

std::string_view name_of(convert_note note) noexcept {
  constexpr std::string_view names[] = {"choice",  "loaded",    "renamed",  "merged",
                                        "resized", "defaulted", "overlaid", "ignored"};
  return names[static_cast<std::size_t>(note)];
}

namespace detail {

/// One run of convert.
struct conversion {
  const convert_options& options;
  const host& hooks;
  checkpoint from;
  convert_report report;
  std::optional<tokenizer> words = {};
  const prompt_template* prompt_layout = nullptr;
  model_writer writer = model_writer(hooks);
  array<weight_source> sources = array<weight_source>(hooks.memory);  // of writer.weights()
  weight_reader reader = weight_reader(from, hooks.memory);

  [[nodiscard]] bool has_stage() const noexcept { return !options.stage.empty(); }

  // -- finding

  [[nodiscard]] result<void> check_options() const noexcept {
    const auto wrong = [](std::string_view why) noexcept {
      return error(error_code::invalid_argument, "convert: ", why);
    };
    if (options.phi.empty()) return wrong("the folder of Phi-2 is missing");
    if (options.output.empty()) return wrong("the output is missing");
    if (options.vit.empty() != options.qformer.empty())
      return wrong("the ViT and the Q-Former come together or not at all");
    if (has_stage() && options.vit.empty()) return wrong("a stage file needs the ViT and the Q-Former");
    if (options.image_size != 0 && options.vit.empty()) return wrong("an image size without a ViT");
    if (!(options.lora_alpha > 0 && options.lora_alpha <= 65536.0f))
      return wrong("lora_alpha is not in (0, 65536]");
    return {};
  }
  [[nodiscard]] result<void> open_files() noexcept {
    OCELLUS_TRY(from.add_folder(source_role::phi, options.phi));
    if (!options.vit.empty()) {
      OCELLUS_TRY(from.add_file(source_role::vit, options.vit));
      OCELLUS_TRY(from.add_file(source_role::qformer, options.qformer));
    }
    if (has_stage()) OCELLUS_TRY(from.add_file(source_role::stage, options.stage));
    for (std::size_t i = 0; i < from.file_count(); ++i) {
      OCELLUS_ASSIGN(const bool same, same_file(from.path_of(i), options.output, hooks.memory));
      if (same)
        return error(error_code::output_is_input, "the output ", quoted{options.output},
                     " is one of the inputs");
    }
    return from.seal();
  }
  [[nodiscard]] result<void> read_config() noexcept {
    model_config& c = report.config;
    OCELLUS_ASSIGN(c.phi, read_phi_config(options.phi, has_stage(), hooks.memory));
    c.phi.qk_norm = c.phi.post_norm = has_stage();
    if (!options.vit.empty()) OCELLUS_TRY(read_vision_shapes(from, options.image_size, c, report));
    return validate(c);
  }
  [[nodiscard]] result<void> read_words() noexcept {
    OCELLUS_ASSIGN(words, read_tokenizer_folder(options.phi, hooks.memory));
    if (!words)
      return report.add(convert_note::choice, "the folder holds no tokenizer, so the model has none");
    OCELLUS_TRY(check_vocabulary(words->vocab_size(), report.config.phi));
    return report.add(convert_note::choice, "the tokenizer has ", words->vocab_size(), " ids, the embedding ",
                      report.config.phi.vocabulary, " rows");
  }
  [[nodiscard]] result<void> choose_template() noexcept {
    std::string_view name = options.template_name;
    if (name.empty()) {
      constexpr std::uint32_t stage_4_image = 448;
      name = !has_stage() ? "caption" : report.config.vit.image_size == stage_4_image ? "inst" : "alignment";
    }
    OCELLUS_ASSIGN(prompt_layout, find_template(name));
    return report.add(convert_note::choice, "prompt template ", prompt_layout->name);
  }
  [[nodiscard]] result<void> plan_weights() noexcept {
    const weight_format vision_format = options.vision_format.value_or(options.format);
    OCELLUS_TRY(writer.plan(report.config, options.format, vision_format));
    weight_finder finder(from, report.config, options.lora_alpha, report);
    for (const planned_weight& w : writer.weights()) {
      // Finding a weight reads all its bytes once, for their checksum.
      if (hooks.stop()) return error(error_code::cancelled, "the conversion was stopped");
      OCELLUS_ASSIGN(const weight_source source, finder.find(w));
      if (!sources.push_back(source)) return no_memory("the sources of the weights");
    }
    return account();
  }
  /// Every tensor of every file was used, hidden or is known to be of no use.
  [[nodiscard]] result<void> account() noexcept {
    for (checkpoint_tensor& t : from.tensors()) {
      if (t.fate == tensor_fate::waiting && is_surplus_name(t.name)) t.fate = tensor_fate::ignored;
      if (t.fate == tensor_fate::waiting) {
        return error(error_code::tensor_unknown, quoted{from.path_of(t.file)}, ": tensor ", quoted{t.given},
                     " of shape ", shape_text{t.dims.dims()}, " has no place in the model");
      }
      if (t.fate == tensor_fate::used) continue;
      const convert_note note =
          t.fate == tensor_fate::overlaid ? convert_note::overlaid : convert_note::ignored;
      OCELLUS_TRY(report.add(note, name_of(t.role), ": ", quoted{t.given}));
    }
    for (std::size_t i = 0; i < report.size(); ++i) {
      if (report[i].note == convert_note::choice) hooks.log(log_level::info, report[i].words);
    }
    return {};
  }

  // -- writing

  [[nodiscard]] result<void> write() noexcept {
    const model_parts parts{words ? &*words : nullptr,
                            prompt_layout->name,
                            {&prompt_layout->stop, 1},
                            "ocellus convert " OCELLUS_VERSION_STRING};
    const row_source rows{
        this,
        [](void* self, std::size_t index) noexcept {
          auto& c = *static_cast<conversion*>(self);
          return c.reader.begin(c.sources[index], c.hooks.tasks.workers);
        },
        [](void* self, std::uint32_t row, std::uint32_t worker, std::span<float> out) noexcept {
          static_cast<conversion*>(self)->reader.read_row(row, worker, out);
        }};
    OCELLUS_ASSIGN(output_file file, output_file::create(options.output, hooks.memory));
    OCELLUS_TRY(writer.write(file.sink(), parts, rows, options.progress));
    OCELLUS_TRY(file.commit());
    report.file = writer.size();
    return {};
  }
};

}  // namespace detail

result<convert_report> convert(const convert_options& options, const host& hooks) noexcept {
  detail::conversion run{options, hooks, checkpoint(hooks), convert_report(hooks.memory)};
  OCELLUS_TRY(run.check_options());
  OCELLUS_TRY(run.open_files());
  OCELLUS_TRY(run.read_config());
  OCELLUS_TRY(run.read_words());
  OCELLUS_TRY(run.choose_template());
  OCELLUS_TRY(run.plan_weights());
  OCELLUS_TRY(run.write());
  return std::move(run.report);
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CONVERT_IPP
