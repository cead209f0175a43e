// The weights of a model by name: the structs that the forward passes read, and one walk over them that gives every
// tensor its name, kind and shape. Opening a file, converting one and listing one are all this walk.
#ifndef OCELLUS_MODEL_WEIGHTS_HPP
#define OCELLUS_MODEL_WEIGHTS_HPP

#include "ocellus/kernels/kernels.hpp"
#include "ocellus/model/config.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// A linear layer: y = x W^T + bias.
struct linear_weights {
  packed_matrix weight;
  matrix bias;
};

/// A layer norm; an RMS norm has no bias.
struct norm_weights {
  matrix weight;
  matrix bias;
};

struct vit_block_weights {
  norm_weights norm1;
  linear_weights qkv;  ///< [3 W, W], rows q of all heads, k, v; the key's part of the bias is 0
  linear_weights proj;
  norm_weights norm2;
  linear_weights fc1, fc2;
};

struct vit_weights {
  linear_weights patch;  ///< [W, 3 * patch * patch]: the patch convolution, columns (channel, y, x)
  matrix class_token;    ///< [1, W]
  matrix positions;      ///< [tokens, W], already at the model's picture size
  array<vit_block_weights> blocks;
  norm_weights norm;  ///< ln_vision
};

struct qformer_layer_weights {
  linear_weights self_qkv;  ///< [3 W, W]
  linear_weights self_out;
  norm_weights self_norm;
  linear_weights cross_q;   ///< [W, W]; the cross parts are empty in a layer without cross attention
  linear_weights cross_kv;  ///< [2 W, ViT width], rows k, v
  linear_weights cross_out;
  norm_weights cross_norm;
  linear_weights fc1, fc2;
  norm_weights norm;
};

struct qformer_weights {
  matrix queries;  ///< [queries, W]
  norm_weights norm;
  array<qformer_layer_weights> layers;
};

struct phi_layer_weights {
  norm_weights norm;
  linear_weights qkv;  ///< [3 W, W], rows q of all heads, k, v
  norm_weights q_norm, k_norm;
  linear_weights dense;
  norm_weights post_norm;  ///< RMS: weight only
  linear_weights fc1, fc2;
};

struct phi_weights {
  gathered_table embedding;  ///< [vocabulary, W]
  array<phi_layer_weights> layers;
  norm_weights norm;
  linear_weights head;  ///< [vocabulary, W]
};

struct model_weights {
  vit_weights vit;
  qformer_weights qformer;
  linear_weights projection[2];  ///< Q-Former -> projection_width -> Phi
  phi_weights phi;
};

/// "vision.blocks.12.qkv.weight": a tensor's name, built without allocation.
class tensor_name {
 public:
  tensor_name() noexcept = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  tensor_name(std::string_view root) noexcept { append(root); }
  [[nodiscard]] tensor_name operator/(std::string_view part) const noexcept {
    tensor_name longer = *this;
    if (longer.length_ != 0) longer.append(".");
    longer.append(part);
    return longer;
  }
  [[nodiscard]] tensor_name operator/(std::uint32_t index) const noexcept {
    char digits[10];
    std::size_t first = sizeof digits;
    do digits[--first] = static_cast<char>('0' + index % 10);
    while ((index /= 10) != 0);
    return *this / std::string_view(digits + first, sizeof digits - first);
  }
  [[nodiscard]] std::string_view view() const noexcept { return {text_, length_}; }

 private:
  void append(std::string_view part) noexcept {
    for (char c : part) {
      if (length_ < sizeof text_) text_[length_++] = c;
    }
  }
  char text_[64];
  std::size_t length_ = 0;
};

/// Visits every weight of a model in a fixed order. The visitor has, each returning result<void>:
///   matrix_of(name, packed_matrix&, n, k)         a packed matrix
///   table_of(name, gathered_table&, rows, cols)   rows that are gathered: the token embedding
///   rows_of(name, matrix&, rows, cols)            f32 rows: position table, queries, class token
///   vector_of(name, matrix&, size)                f32
/// The arrays of blocks and layers are sized here; the error is the visitor's first, or out_of_memory.
template <class Visitor>
[[nodiscard]] result<void> visit_weights(const model_config& c, model_weights& w, Visitor& visit) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#include "ocellus/model/weights_visit.hpp"

#endif  // OCELLUS_MODEL_WEIGHTS_HPP
