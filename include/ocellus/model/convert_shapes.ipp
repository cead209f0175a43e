// Sizes out of shapes; see convert_shapes.hpp. That all other tensors fit these sizes is checked when they are used.
#ifndef OCELLUS_MODEL_CONVERT_SHAPES_IPP
#define OCELLUS_MODEL_CONVERT_SHAPES_IPP

#include <bit>

#include "ocellus/model/convert_shapes.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

struct vision_shapes {
  static constexpr std::uint32_t vit_head = 88;
  static constexpr std::uint32_t qformer_head = 64;
  static constexpr std::uint32_t published_blocks = 40;
  static constexpr std::uint64_t largest = 1u
                                           << 20;  // of any dimension here; validate() knows the real limits

  checkpoint& from;
  model_config& config;
  convert_report& report;

  /// Dimension d of a tensor that must be there with that rank.
  [[nodiscard]] result<std::uint32_t> dim(std::string_view name, std::size_t rank, std::size_t d) noexcept {
    const checkpoint_tensor* t = from.find(name);
    if (t == nullptr) {
      return error(error_code::tensor_missing, "no file holds tensor ", quoted{name}, " of ", rank,
                   " dimensions");
    }
    if (t->dims.rank() != rank || t->dims[d] == 0 || t->dims[d] > largest) {
      return error(error_code::tensor_shape, quoted{from.path_of(t->file)}, ": tensor ", quoted{t->given},
                   " has shape ", shape_text{t->dims.dims()}, ", expected ", rank, " dimensions");
    }
    return static_cast<std::uint32_t>(t->dims[d]);
  }
  /// One more than the largest N of the names "prefix.N.rest".
  [[nodiscard]] std::uint32_t count_layers(std::string_view prefix) noexcept {
    std::uint32_t count = 0;
    for (const checkpoint_tensor& t : from.tensors()) {
      std::uint32_t layer = 0;
      std::string_view rest;
      if (split_layer_name(t.name, prefix, layer, rest) && layer >= count) count = layer + 1;
    }
    return count;
  }

  [[nodiscard]] result<void> vit(std::uint32_t image_size) noexcept {
    vit_config& c = config.vit;
    OCELLUS_ASSIGN(c.width, dim("visual_encoder.cls_token", 3, 2));
    OCELLUS_ASSIGN(c.patch_size, dim("visual_encoder.patch_embed.proj.weight", 4, 3));
    OCELLUS_ASSIGN(c.mlp_width, dim("visual_encoder.blocks.0.mlp.fc1.weight", 2, 0));
    if (c.width % vit_head != 0) {
      return error(error_code::config_mismatch, "the ViT's width ", c.width,
                   " is no multiple of its head size ", vit_head);
    }
    c.heads = c.width / vit_head;
    OCELLUS_TRY(choose_blocks());

    OCELLUS_ASSIGN(const std::uint32_t positions, dim("visual_encoder.pos_embed", 3, 1));
    std::uint32_t grid = 0;
    while ((grid + 1) * (grid + 1) < positions) ++grid;
    if (grid == 0 || grid * grid + 1 != positions) {
      return error(error_code::config_mismatch, "the ViT's position table has ", positions,
                   " rows: not 1 and a square");
    }
    if (image_size != 0 && image_size % c.patch_size != 0) {
      return error(error_code::config_mismatch, "the image size ", image_size,
                   " is no multiple of the patch size ", c.patch_size);
    }
    const std::uint64_t own_size = std::uint64_t{grid} * c.patch_size;
    if (own_size > largest)
      return error(error_code::config_mismatch, "the ViT's pictures would be ", own_size, " wide");
    c.image_size = image_size != 0 ? image_size : static_cast<std::uint32_t>(own_size);
    return report.add(convert_note::choice, "pictures of ", c.image_size, " x ", c.image_size, " pixels, ",
                      c.grid(), " x ", c.grid(), " patches; the ViT's file was made for ", grid, " x ", grid);
  }
  /// The published file has 40 blocks and the model uses 39; smaller models of its kind have one surplus block, too.
  [[nodiscard]] result<void> choose_blocks() noexcept {
    constexpr std::string_view prefix = "visual_encoder.blocks.";
    const std::uint32_t blocks = count_layers(prefix);
    const bool published = blocks == published_blocks || blocks == published_blocks - 1;
    config.vit.layers = published ? published_blocks - 1 : blocks - 1;
    if (config.vit.layers == 0) {
      return error(error_code::config_mismatch,
                   "the ViT's file holds a single block; its last block is not used");
    }
    for (checkpoint_tensor& t : from.tensors()) {
      std::uint32_t block = 0;
      std::string_view rest;
      if (split_layer_name(t.name, prefix, block, rest) && block >= config.vit.layers)
        t.fate = tensor_fate::ignored;
    }
    return report.add(convert_note::choice, "ViT: ", config.vit.layers, " of the file's ", blocks,
                      " blocks are used");
  }

  [[nodiscard]] result<void> qformer() noexcept {
    constexpr std::string_view prefix = "Qformer.bert.encoder.layer.";
    qformer_config& c = config.qformer;
    OCELLUS_ASSIGN(c.queries, dim("query_tokens", 3, 1));
    OCELLUS_ASSIGN(c.width, dim("query_tokens", 3, 2));
    OCELLUS_ASSIGN(c.mlp_width, dim("Qformer.bert.encoder.layer.0.intermediate_query.dense.weight", 2, 0));
    if (c.width % qformer_head != 0) {
      return error(error_code::config_mismatch, "the Q-Former's width ", c.width,
                   " is no multiple of its head size ", qformer_head);
    }
    c.heads = c.width / qformer_head;
    c.layers = count_layers(prefix);
    if (c.layers > 64)
      return error(error_code::config_range, "the Q-Former has ", c.layers, " layers, at most 64");
    for (const checkpoint_tensor& t : from.tensors()) {
      std::uint32_t layer = 0;
      std::string_view rest;
      if (split_layer_name(t.name, prefix, layer, rest) && rest.starts_with("crossattention.")) {
        c.cross_layers |= std::uint64_t{1} << layer;
      }
    }
    return report.add(convert_note::choice, "Q-Former: ", c.layers, " layers, ", c.queries,
                      " queries, cross attention in ", std::popcount(c.cross_layers), " layers");
  }
};

}  // namespace detail

result<void> read_vision_shapes(checkpoint& from, std::uint32_t image_size, model_config& config,
                                convert_report& report) noexcept {
  detail::vision_shapes shapes{from, config, report};
  config.has_vision = true;
  OCELLUS_TRY(shapes.vit(image_size));
  OCELLUS_TRY(shapes.qformer());
  OCELLUS_ASSIGN(config.projection_width, shapes.dim("llama_proj.weight", 2, 0));
  return {};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CONVERT_SHAPES_IPP
