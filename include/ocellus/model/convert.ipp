// convert: finds all sources first, so that every complaint comes before the first byte is written; then writes.
#ifndef OCELLUS_MODEL_CONVERT_IPP
#define OCELLUS_MODEL_CONVERT_IPP

#include <cmath>

#include "ocellus/io/json_writer.hpp"
#include "ocellus/io/safetensors_writer.hpp"
#include "ocellus/io/same_file.hpp"
#include "ocellus/model/convert.hpp"
#include "ocellus/model/convert_shapes.hpp"
#include "ocellus/model/convert_sources.hpp"
#include "ocellus/model/phi_folder.hpp"
#include "ocellus/model/weights.hpp"
#include "ocellus/text/prompt.hpp"

namespace ocellus::inline OCELLUS_ABI {

std::string_view name_of(convert_note note) noexcept {
  constexpr std::string_view names[] = {"choice",  "loaded",    "renamed",  "merged",
                                        "resized", "defaulted", "overlaid", "ignored"};
  return names[static_cast<std::size_t>(note)];
}

namespace detail {

enum class planned_kind : std::uint8_t { matrix, table, rows, vector };

/// One tensor of the model file.
struct planned_weight {
  tensor_name name;
  planned_kind kind;
  weight_source source;
};

/// Collects the walk over the weights; see visit_weights.
struct weight_planner {
  weight_finder& finder;
  array<planned_weight>& plan;
  const host& hooks;

  [[nodiscard]] result<void> add(std::string_view name, planned_kind kind, weight_shape what, std::uint32_t n,
                                 std::uint32_t k) noexcept {
    // Finding a weight reads all its bytes once, for their checksum.
    if (hooks.stop()) return error(error_code::cancelled, "the conversion was stopped");
    OCELLUS_ASSIGN(const weight_source source, finder.find(name, what, n, k));
    if (!plan.push_back({tensor_name(name), kind, source})) return no_memory("the list of weights");
    return {};
  }
  result<void> matrix_of(std::string_view name, packed_matrix&, std::uint32_t n, std::uint32_t k) noexcept {
    return add(name, planned_kind::matrix, weight_shape::matrix, n, k);
  }
  result<void> table_of(std::string_view name, matrix&, std::uint32_t rows, std::uint32_t cols) noexcept {
    return add(name, planned_kind::table, weight_shape::matrix, rows, cols);
  }
  result<void> rows_of(std::string_view name, matrix&, std::uint32_t rows, std::uint32_t cols) noexcept {
    return add(name, planned_kind::rows, weight_shape::rows, rows, cols);
  }
  result<void> vector_of(std::string_view name, matrix&, std::uint32_t size) noexcept {
    return add(name, planned_kind::vector, weight_shape::vector, size, 1);
  }
};

/// One run of convert.
struct conversion {
  const convert_options& options;
  const host& hooks;
  checkpoint from;
  convert_report report;
  std::optional<tokenizer> words = {};
  const prompt_template* prompt_layout = nullptr;
  array<planned_weight> plan = array<planned_weight>(hooks.memory);
  safetensors_writer writer = safetensors_writer(hooks.memory);
  std::uint64_t written = 0;

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
    if (words->vocab_size() > report.config.phi.vocabulary) {
      return error(error_code::config_mismatch, "the tokenizer has ", words->vocab_size(),
                   " ids, the embedding only ", report.config.phi.vocabulary, " rows");
    }
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
    weight_finder finder(from, report.config, options.lora_alpha, report);
    weight_planner planner{finder, plan, hooks};
    model_weights unused;
    OCELLUS_TRY(visit_weights(report.config, unused, planner));
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

  // -- announcing

  [[nodiscard]] result<void> announce() noexcept {
    const dtype type = dtype_of_format(options.format);
    for (const bool large : {true, false}) {
      for (const planned_weight& w : plan) {
        const std::uint32_t n = w.source.n, k = w.source.k;
        const bool is_large = w.kind == planned_kind::matrix || w.kind == planned_kind::table;
        if (is_large != large) continue;
        const std::uint64_t stride = round_up<std::uint64_t>(k, column_pad);
        const shape dims = w.kind == planned_kind::matrix  ? packed_shape(options.format, n, k)
                           : w.kind == planned_kind::table ? shape{n, stride}
                           : w.kind == planned_kind::rows  ? shape{n, k}
                                                           : shape{n};
        OCELLUS_TRY(writer.add(w.name.view(), is_large ? type : dtype::f32, dims));
      }
    }
    if (words) {
      const tokenizer_data data = words->data();
      OCELLUS_TRY(writer.add("tokenizer.offsets", dtype::u32, {data.offsets.size() / 4}));
      OCELLUS_TRY(writer.add("tokenizer.merges", dtype::u32, {data.merges.size() / 8, 2}));
      OCELLUS_TRY(writer.add("tokenizer.added", dtype::u32, {data.added.size() / 8, 2}));
      OCELLUS_TRY(writer.add("tokenizer.special", dtype::u32, {data.special.size() / 4}));
      OCELLUS_TRY(writer.add("tokenizer.bytes", dtype::u8, {data.bytes.size()}));
    }
    return announce_metadata();
  }
  [[nodiscard]] result<void> announce_metadata() noexcept {
    OCELLUS_ASSIGN(const text config, to_json(report.config, hooks.memory));
    json_writer matrices(hooks.memory);
    matrices.begin_object();
    for (const planned_weight& w : plan) {
      if (w.kind != planned_kind::matrix && w.kind != planned_kind::table) continue;
      matrices.key(w.name.view()).begin_object();
      matrices.key("format").string(name_of(options.format));
      matrices.key("n").integer(w.source.n).key("k").integer(w.source.k).end_object();
    }
    OCELLUS_ASSIGN(const text table, matrices.end_object().finish());
    json_writer stops(hooks.memory);
    stops.begin_array().string(prompt_layout->stop).end_array();
    OCELLUS_ASSIGN(const text stop_list, stops.finish());
    OCELLUS_TRY(writer.add_metadata("ocellus.format", "0"));
    OCELLUS_TRY(writer.add_metadata("ocellus.config", config.view()));
    OCELLUS_TRY(writer.add_metadata("ocellus.matrices", table.view()));
    OCELLUS_TRY(writer.add_metadata("ocellus.template", prompt_layout->name));
    OCELLUS_TRY(writer.add_metadata("ocellus.stops", stop_list.view()));
    return writer.add_metadata("ocellus.origin", "ocellus convert " OCELLUS_VERSION_STRING);
  }

  // -- writing

  [[nodiscard]] result<void> write() noexcept {
    OCELLUS_ASSIGN(output_file file, output_file::create(options.output, hooks.memory));
    OCELLUS_TRY(writer.begin(file.sink()));
    report.bytes = writer.data_bytes();
    for (const bool large : {true, false}) {
      for (const planned_weight& w : plan) {
        if ((w.kind == planned_kind::matrix || w.kind == planned_kind::table) != large) continue;
        OCELLUS_TRY(write_weight(w));
      }
    }
    if (words) {
      const tokenizer_data data = words->data();
      for (std::span<const std::byte> part :
           {data.offsets, data.merges, data.added, data.special, data.bytes}) {
        OCELLUS_TRY(put(part));
      }
    }
    OCELLUS_TRY(writer.finish());
    return file.commit();
  }
  [[nodiscard]] result<void> put(std::span<const std::byte> bytes) noexcept {
    if (hooks.stop()) return error(error_code::cancelled, "the conversion was stopped");
    OCELLUS_TRY(writer.write(bytes));
    written += bytes.size();
    if (options.progress.report != nullptr) {
      options.progress.report(options.progress.context, written, writer.data_bytes());
    }
    return {};
  }
  /// In pieces of 16 rows, or of as many values of a vector as make a good piece.
  [[nodiscard]] result<void> write_weight(const planned_weight& w) noexcept {
    constexpr std::uint32_t vector_piece = 4096;
    const std::uint32_t n = w.source.n, k = w.source.k;
    const std::uint32_t step = w.kind == planned_kind::vector ? vector_piece : panel_rows;
    weight_reader reader(from, hooks.memory);
    OCELLUS_TRY(reader.begin(w.source));
    array<float> rows(hooks.memory);
    array<std::byte> packed(hooks.memory);
    // A row of the table is as long as a row of a panel: K rounded up.
    const checked room = panel_bytes(options.format, k);
    if (!rows.resize(std::size_t{step} * k) || !packed.resize(static_cast<std::size_t>(room.value()))) {
      return no_memory("one panel of a matrix");
    }
    for (std::uint32_t first = 0; first < n; first += step) {
      const std::uint32_t count = (std::min)(step, n - first);
      for (std::uint32_t i = 0; i < count; ++i) {
        const std::span<float> row = rows.span().subspan(std::size_t{i} * k, k);
        reader.read_row(first + i, row);
        OCELLUS_TRY(check_values(w, row));
      }
      const std::span<const float> values = rows.span().first(std::size_t{count} * k);
      if (w.kind == planned_kind::matrix) {
        pack_panel(options.format, values.data(), k, count, k, packed.data());
        OCELLUS_TRY(put(packed.span()));
      } else if (w.kind == planned_kind::table) {
        OCELLUS_TRY(put(pack_rows(values, count, k, packed)));
      } else {
        OCELLUS_TRY(put(std::as_bytes(values)));
      }
    }
    reader.end();
    return {};
  }
  /// Rows of the table: the format's elements, each row padded with zeros to a multiple of 64.
  [[nodiscard]] std::span<const std::byte> pack_rows(std::span<const float> values, std::uint32_t count,
                                                     std::uint32_t k,
                                                     array<std::byte>& packed) const noexcept {
    std::byte* to = packed.data();
    const std::uint32_t stride = round_up(k, column_pad);
    for (std::uint32_t row = 0; row < count; ++row) {
      for (std::uint32_t c = 0; c < stride; ++c) {
        const float value = c < k ? values[std::size_t{row} * k + c] : 0.0f;
        const auto store = [&to](auto element) noexcept {
          std::memcpy(to, &element, sizeof element);
          to += sizeof element;
        };
        switch (options.format) {
          case weight_format::f32:
            store(value);
            break;
          case weight_format::f16:
            store(to_f16(value));
            break;
          case weight_format::bf16:
            store(to_bf16(value));
            break;
        }
      }
    }
    return packed.span().first(static_cast<std::size_t>(to - packed.data()));
  }
  /// No weight is infinite or no number, nor becomes so by rounding to the format.
  [[nodiscard]] result<void> check_values(const planned_weight& w,
                                          std::span<const float> row) const noexcept {
    float largest = (std::numeric_limits<float>::max)();
    if (w.kind == planned_kind::matrix || w.kind == planned_kind::table) {
      // The first values that round to infinity lie half a step above the largest ones.
      if (options.format == weight_format::f16) largest = 65519.996f;
      if (options.format == weight_format::bf16) largest = std::bit_cast<float>(0x7f7f7fffu);
    }
    for (float value : row) {
      if (std::fabs(value) <= largest) continue;  // false for NaN
      return error(error_code::weight_range, "weight ", quoted{w.name.view()},
                   std::isfinite(value) ? " holds a value that is too large for the format "
                                        : " holds a value that is "
                                          "not finite, format ",
                   name_of(options.format));
    }
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
  OCELLUS_TRY(run.announce());
  OCELLUS_TRY(run.write());
  return std::move(run.report);
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CONVERT_IPP
