// model_writer: writes a model file. It knows the file's layout and packs; the rows come from whoever makes the model.
#ifndef OCELLUS_MODEL_MODEL_WRITER_HPP
#define OCELLUS_MODEL_MODEL_WRITER_HPP

#include "ocellus/io/safetensors_writer.hpp"
#include "ocellus/kernels/context.hpp"
#include "ocellus/model/weights.hpp"
#include "ocellus/text/tokenizer.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// matrix and table: see packed.hpp; rows and vector: f32.
enum class weight_kind : std::uint8_t { matrix, table, rows, vector };

namespace detail {
struct writer_units;
}

/// One weight of a model file, [n, k]; a vector is [n, 1].
struct planned_weight {
  tensor_name name;
  weight_kind kind = weight_kind::matrix;
  weight_format format = weight_format::f32;
  std::uint32_t n = 0;
  std::uint32_t k = 0;
};

/// The format of a matrix or table in a model that is asked for in one format, its picture side (vision, qformer,
/// projection) in another. q4 is not taken for lm_head, whose errors fall on the logits unmixed: that is q8.
[[nodiscard]] weight_format choose_format(std::string_view name, weight_format format,
                                          weight_format vision_format) noexcept;

/// Where the values come from. read() is called by several workers at once.
struct row_source {
  void* context = nullptr;
  /// The rows of planned weight `index` are asked for next.
  result<void> (*begin)(void* context, std::size_t index) noexcept = nullptr;
  /// Row `row` of it. out: [k]
  void (*read)(void* context, std::uint32_t row, std::uint32_t worker,
               std::span<float> out) noexcept = nullptr;
};

/// What a model file holds beside its weights.
struct model_parts {
  const tokenizer* words = nullptr;         ///< or none
  std::string_view template_name;           ///< of prompt_templates()
  std::span<const std::string_view> stops;  ///< strings that end an answer
  std::string_view origin;                  ///< which program made it
};

/// What was written.
struct model_file_size {
  std::uint64_t bytes = 0;           ///< of all tensors
  std::uint64_t matrix_weights = 0;  ///< numbers in matrices and tables, padding not counted
  std::uint64_t matrix_bytes = 0;    ///< what they take, padding and scales included

  [[nodiscard]] double bits_per_weight() const noexcept {
    return matrix_weights == 0
               ? 0
               : 8.0 * static_cast<double>(matrix_bytes) / static_cast<double>(matrix_weights);
  }
};

/// Use: plan(), then write(), once; after an error the writer is of no use. Move-only.
class model_writer {
 public:
  /// The hooks' workers pack.
  explicit model_writer(const host& hooks) noexcept
      : ctx_(hooks),
        plan_(hooks.memory),
        writer_(hooks.memory),
        values_(hooks.memory),
        packed_(hooks.memory),
        scales_(hooks.memory) {}

  /// Lists all weights of a model, in the order of visit_weights. Errors: those of validate, out_of_memory.
  [[nodiscard]] result<void> plan(const model_config& config, weight_format format,
                                  weight_format vision_format) noexcept;
  [[nodiscard]] std::span<const planned_weight> weights() const noexcept { return plan_.span(); }

  /// Writes the file. Needs memory for some panels and for the scales of one matrix.
  /// Errors: weight_range (naming the weight), invalid_argument (a host without workers), config_mismatch (more token ids
  /// than rows), stop_string, cancelled, out_of_memory, those of safetensors_writer, rows.begin and the sink.
  [[nodiscard]] result<void> write(const byte_sink& sink, const model_parts& parts, const row_source& rows,
                                   const progress_hooks& progress = {}) noexcept;

  [[nodiscard]] const model_file_size& size() const noexcept { return size_; }

 private:
  [[nodiscard]] result<void> check(const model_parts& parts) const noexcept;
  [[nodiscard]] result<void> announce(const model_parts& parts) noexcept;
  [[nodiscard]] result<void> announce_weight(const planned_weight& w) noexcept;
  [[nodiscard]] result<void> announce_metadata(const model_parts& parts) noexcept;
  [[nodiscard]] result<void> put(std::span<const std::byte> bytes, const progress_hooks& progress) noexcept;
  [[nodiscard]] result<void> write_weight(const planned_weight& w, const row_source& rows,
                                          const progress_hooks& progress) noexcept;
  [[nodiscard]] result<void> pack_units(const planned_weight& w, const detail::writer_units& u,
                                        const row_source& rows, std::uint32_t first,
                                        std::uint32_t count) noexcept;
  [[nodiscard]] error cannot_pack(const planned_weight& w, std::uint32_t first, std::uint32_t count,
                                  const row_source& rows) noexcept;

  context ctx_;
  model_config config_;
  array<planned_weight> plan_;
  safetensors_writer writer_;
  array<float> values_;      // rows of one unit for each worker
  array<std::byte> packed_;  // a run of panels
  array<std::byte> scales_;  // of one weight
  std::uint64_t written_ = 0;
  model_file_size size_;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_MODEL_WRITER_HPP
