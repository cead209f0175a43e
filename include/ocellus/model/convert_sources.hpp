// Where each weight of a model file comes from: which tensors of the checkpoint, in which order of rows, with which LoRA.
#ifndef OCELLUS_MODEL_CONVERT_SOURCES_HPP
#define OCELLUS_MODEL_CONVERT_SOURCES_HPP

#include "ocellus/model/checkpoint.hpp"
#include "ocellus/model/config.hpp"
#include "ocellus/model/convert.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// How the rows of a fused q/k/v projection with H heads of D values are ordered: ours and Phi-2's first files have all of
/// q, k, v after one another, [3][H][D]; transformers 4.36 has them head by head, [H][3][D].
enum class row_order : std::uint8_t { as_is, by_heads };

/// Rows of a weight: a tensor of the checkpoint, or one value everywhere.
struct weight_part {
  checkpoint_tensor* tensor = nullptr;
  float fill = 0;
  std::uint32_t rows = 0;
  row_order order = row_order::as_is;
};

/// A low-rank change of a weight: rows [first, first + rows) += scale * B A.
struct weight_lora {
  checkpoint_tensor* a = nullptr;  ///< [rank, K]
  checkpoint_tensor* b = nullptr;  ///< [rows, rank]
  std::uint32_t first = 0;
  std::uint32_t rows = 0;
  std::uint32_t rank = 0;
  float scale = 0;
  row_order order = row_order::as_is;
};

/// A weight [n, k], put together from parts one below the other. A vector has k = 1.
struct weight_source {
  std::uint32_t n = 0;
  std::uint32_t k = 0;
  std::uint32_t heads = 0;  ///< of a fused projection
  std::uint32_t part_count = 0;
  std::uint32_t lora_count = 0;
  std::uint32_t grid = 0;  ///< not 0: the position table of grid x grid patches, resized from another one
  weight_part parts[3];
  weight_lora loras[5];  // of both fused forms and of q, k, v alone
};

/// Finds the sources of a weight by its name in the model file (see weights_visit.hpp).
class weight_finder {
 public:
  weight_finder(checkpoint& from, const model_config& config, float lora_alpha,
                convert_report& report) noexcept
      : from_(from), config_(config), lora_alpha_(lora_alpha), report_(report) {}

  /// Marks the tensors as used. Errors: tensor_missing, tensor_shape, each with the names in the checkpoint; zip_crc.
  [[nodiscard]] result<weight_source> find(const planned_weight& wanted) noexcept;

 private:
  struct request;  // one call of find

  [[nodiscard]] result<void> add_tensor(request& r, std::string_view tensor, std::uint32_t rows,
                                        row_order order) noexcept;
  [[nodiscard]] result<void> add_lora(request& r, std::string_view tensor, std::uint32_t first,
                                      std::uint32_t rows, row_order order) noexcept;
  [[nodiscard]] result<void> take(checkpoint_tensor& tensor, const shape& expected) noexcept;
  [[nodiscard]] result<void> find_qkv(request& r, std::string_view layer) noexcept;
  [[nodiscard]] result<void> find_vit_qkv_bias(request& r, std::string_view layer) noexcept;
  [[nodiscard]] result<void> find_positions(request& r) noexcept;
  [[nodiscard]] result<void> find_extra_norm(request& r, std::string_view tensor) noexcept;
  [[nodiscard]] result<bool> has_extra_norms() noexcept;
  [[nodiscard]] result<void> note(const request& r) noexcept;

  checkpoint& from_;
  const model_config& config_;
  float lora_alpha_;
  convert_report& report_;
  bool extra_norms_known_ = false;
  bool extra_norms_ = false;
  bool layout_told_ = false;
  std::uint32_t ranks_told_[8] = {};  // 0: free; files have one or two ranks
};

/// Reads rows of a weight as f32, LoRA added, several workers at once. Keeps the LoRA factors of one weight at a time.
class weight_reader {
 public:
  weight_reader(const checkpoint& from, const memory_hooks& memory) noexcept
      : from_(from), factors_(memory), scratch_(memory) {}

  /// Turns to a weight, which must stay alive, for so many workers. The bytes of the one before leave memory, so that one
  /// weight at a time is in it. Errors: out_of_memory.
  [[nodiscard]] result<void> begin(const weight_source& source, std::uint32_t workers) noexcept;
  /// Row i of it. out: [k].
  void read_row(std::uint32_t i, std::uint32_t worker, std::span<float> out) noexcept;

 private:
  void read_position(std::uint32_t i, std::span<float> scratch, std::span<float> out) const noexcept;
  void evict() const noexcept;

  const checkpoint& from_;
  const weight_source* source_ = nullptr;
  array<float> factors_;  // A of all LoRAs, one behind the other
  array<float> scratch_;  // of each worker: two rows of k values, then one of the largest rank
  std::size_t worker_scratch_ = 0;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CONVERT_SOURCES_HPP
