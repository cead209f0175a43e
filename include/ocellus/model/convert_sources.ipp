// weight_finder: the names of the model file against those of the checkpoints.
#ifndef OCELLUS_MODEL_CONVERT_SOURCES_IPP
#define OCELLUS_MODEL_CONVERT_SOURCES_IPP

#include <algorithm>
#include <charconv>

#include "ocellus/model/convert_sources.hpp"
#include "ocellus/model/weight_rules.hpp"
#include "ocellus/slice.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// The shortest decimal that reads back as the same float, for a report.
struct decimal_text {
  char digits[32];
  std::size_t length;

  explicit decimal_text(float value) noexcept
      : length(static_cast<std::size_t>(std::to_chars(digits, digits + sizeof digits, value).ptr - digits)) {}
  [[nodiscard]] std::string_view view() const noexcept { return {digits, length}; }
};

}  // namespace detail

namespace detail {

/// A name taken apart: "vision.blocks.12.qkv.weight" is "vision.blocks.#.qkv", "12" and ".weight".
struct weight_name {
  checkpoint_name pattern;
  std::string_view layer;
  std::string_view suffix;

  explicit weight_name(std::string_view name) noexcept {
    for (std::string_view ending : {".weight", ".bias"}) {
      if (name.ends_with(ending)) {
        suffix = slice(name, name.size() - ending.size());
        name.remove_suffix(ending.size());
        break;
      }
    }
    for (std::string_view list : {"vision.blocks.", "qformer.layers.", "phi.layers."}) {
      if (!name.starts_with(list)) continue;
      const std::string_view rest = slice(name, list.size());
      layer = slice(rest, 0, (std::min)(rest.find('.'), rest.size()));
      pattern.append(list).append("#").append(slice(rest, layer.size()));
      return;
    }
    pattern.append(name);
  }
  /// A name of the other side for the same layer and with the same ending.
  [[nodiscard]] checkpoint_name fill(std::string_view theirs) const noexcept {
    const std::size_t hash = theirs.find('#');
    checkpoint_name out(slice(theirs, 0, (std::min)(hash, theirs.size())));
    if (hash != std::string_view::npos) out.append(layer).append(slice(theirs, hash + 1));
    return out;
  }
};

}  // namespace detail

struct weight_finder::request {
  std::string_view name;
  detail::weight_name parsed;
  weight_kind what;
  weight_source source;
  bool renamed = false;
  bool defaulted = false;

  /// The shape that a tensor of so many rows must have.
  [[nodiscard]] shape expected(std::uint32_t rows, std::uint32_t patch_size) const noexcept {
    switch (what) {
      case weight_kind::vector:
        return {rows};
      case weight_kind::rows:
        return {1, rows, source.k};
      case weight_kind::matrix:
      case weight_kind::table:
        break;
    }
    if (name == "vision.patch.weight") return {rows, 3, patch_size, patch_size};
    return {rows, source.k};
  }
};

result<weight_source> weight_finder::find(const planned_weight& wanted) noexcept {
  const std::string_view name = wanted.name.view();
  const std::uint32_t n = wanted.n;
  request r{name, detail::weight_name(name), wanted.kind, {}};
  r.source.n = n;
  r.source.k = wanted.k;
  const std::string_view pattern = r.parsed.pattern.view();
  const std::string_view suffix = r.parsed.suffix;
  if (pattern == "vision.positions") {
    OCELLUS_TRY(find_positions(r));
  } else if (pattern == "vision.blocks.#.qkv" && suffix == ".bias") {
    OCELLUS_TRY(find_vit_qkv_bias(r, r.parsed.fill("visual_encoder.blocks.#.attn.").view()));
  } else if (pattern == "phi.layers.#.qkv") {
    OCELLUS_TRY(find_qkv(r, r.parsed.fill("llama_model.model.layers.#.self_attn.").view()));
  } else {
    const detail::weight_rule* rule = nullptr;
    for (const detail::weight_rule& known : detail::weight_rules) {
      if (known.ours == pattern && rule == nullptr) rule = &known;
    }
    if (rule == nullptr) return error(error_code::internal, "no rule for the weight ", quoted{name});
    std::uint32_t count = 0;
    while (count < 3 && !rule->theirs[count].empty()) ++count;
    for (std::uint32_t i = 0; i < count; ++i) {
      checkpoint_name tensor = r.parsed.fill(rule->theirs[i]);
      const bool extra =
          pattern.ends_with(".q_norm") || pattern.ends_with(".k_norm") || pattern.ends_with(".post_norm");
      tensor.append(suffix);
      if (extra) {
        OCELLUS_TRY(find_extra_norm(r, tensor.view()));
        continue;
      }
      OCELLUS_TRY(add_tensor(r, tensor.view(), n / count, row_order::as_is));
      if (wanted.kind == weight_kind::matrix && pattern.starts_with("phi.")) {
        OCELLUS_TRY(add_lora(r, tensor.view(), n / count * i, n / count, row_order::as_is));
      }
    }
  }
  OCELLUS_TRY(note(r));
  return r.source;
}

/// Marks a tensor as used; its shape must be the expected one.
result<void> weight_finder::take(checkpoint_tensor& tensor, const shape& expected) noexcept {
  if (!(tensor.dims == expected)) {
    return error(error_code::tensor_shape, quoted{from_.path_of(tensor.file)}, ": tensor ",
                 quoted{tensor.given}, " has shape ", shape_text{tensor.dims.dims()}, ", expected ",
                 shape_text{expected.dims()});
  }
  return from_.use(tensor);
}

result<void> weight_finder::add_tensor(request& r, std::string_view tensor, std::uint32_t rows,
                                       row_order order) noexcept {
  checkpoint_tensor* found = from_.find(tensor);
  const shape expected = r.expected(rows, config_.vit.patch_size);
  if (found == nullptr) {
    return error(error_code::tensor_missing, "no file holds tensor ", quoted{tensor}, " of shape ",
                 shape_text{expected.dims()}, ", which ", quoted{r.name}, " is made of");
  }
  OCELLUS_TRY(take(*found, expected));
  r.renamed = r.renamed || found->renamed;
  r.source.parts[r.source.part_count++] = {found, 0.0f, rows, order};
  return {};
}

/// Adds the LoRA of a tensor named "....weight", if there is one.
result<void> weight_finder::add_lora(request& r, std::string_view tensor, std::uint32_t first,
                                     std::uint32_t rows, row_order order) noexcept {
  const std::string_view stem = detail::slice(tensor, 0, tensor.size() - std::string_view("weight").size());
  checkpoint_name name_a(stem), name_b(stem);
  name_a.append("lora_A.weight");
  name_b.append("lora_B.weight");
  checkpoint_tensor* a = from_.find(name_a.view());
  checkpoint_tensor* b = from_.find(name_b.view());
  if (a == nullptr && b == nullptr) return {};
  if (a == nullptr || b == nullptr) {
    return error(error_code::tensor_missing, "no file holds tensor ",
                 quoted{a == nullptr ? name_a.view() : name_b.view()}, ", but its counterpart is there");
  }
  constexpr std::uint64_t highest_rank = 1024;
  if (a->dims.rank() != 2 || a->dims[0] == 0 || a->dims[0] > highest_rank) {
    return error(error_code::tensor_shape, quoted{from_.path_of(a->file)}, ": tensor ", quoted{a->given},
                 " has shape ", shape_text{a->dims.dims()}, ", expected [rank, ", r.source.k, "]");
  }
  const auto rank = static_cast<std::uint32_t>(a->dims[0]);
  OCELLUS_TRY(take(*a, {rank, r.source.k}));
  OCELLUS_TRY(take(*b, {rows, rank}));
  const float scale = lora_alpha_ / static_cast<float>(rank);
  r.source.loras[r.source.lora_count++] = {a, b, first, rows, rank, scale, order};
  const detail::decimal_text alpha(lora_alpha_);
  std::uint32_t* told =
      std::find_if(std::begin(ranks_told_), std::end(ranks_told_),
                   [rank](std::uint32_t known) noexcept { return known == rank || known == 0; });
  if (told != std::end(ranks_told_) && *told == 0) {
    OCELLUS_TRY(report_.add(convert_note::choice, "LoRA of rank ", rank, " is added with a scale of ",
                            alpha.view(), " / ", rank, " = ", detail::decimal_text(scale).view()));
    *told = rank;
  }
  return report_.add(convert_note::merged, r.name, " += ", alpha.view(), " / ", rank, " * ", quoted{b->given},
                     " ", quoted{a->given});
}

/// q, k and v of all heads, from whichever of the three layouts there is. A stage file trained on one layout may overlay
/// a base of another.
result<void> weight_finder::find_qkv(request& r, std::string_view layer) noexcept {
  const bool weight = r.parsed.suffix == ".weight";
  const auto named = [&](std::string_view part, std::string_view suffix) noexcept {
    checkpoint_name name(layer);
    return name.append(part).append(suffix);
  };
  constexpr std::string_view separate[] = {"q_proj", "k_proj", "v_proj"};
  checkpoint_tensor* fused = from_.find(named("query_key_value", r.parsed.suffix).view());
  checkpoint_tensor* first = from_.find(named("Wqkv", r.parsed.suffix).view());
  checkpoint_tensor* split = from_.find(named("q_proj", r.parsed.suffix).view());
  const auto rank_of = [](const checkpoint_tensor* t) noexcept {
    return t == nullptr ? -1 : static_cast<int>(t->role);
  };
  const int best = (std::max)({rank_of(fused), rank_of(first), rank_of(split)});
  r.source.heads = config_.phi.heads;
  if (best < 0) {
    return error(error_code::tensor_missing, "no file holds tensor ",
                 quoted{named("query_key_value", r.parsed.suffix).view()},
                 " (or Wqkv, or q_proj, k_proj and v_proj)");
  }
  std::string_view told;
  if (rank_of(fused) == best) {
    OCELLUS_TRY(add_tensor(r, fused->name, r.source.n, row_order::by_heads));
    told = "query_key_value, rows [heads][3][head size]";
  } else if (rank_of(first) == best) {
    OCELLUS_TRY(add_tensor(r, first->name, r.source.n, row_order::as_is));
    told = "Wqkv, rows [3][heads][head size]";
  } else {
    for (std::string_view part : separate) {
      OCELLUS_TRY(add_tensor(r, named(part, r.parsed.suffix).view(), r.source.n / 3, row_order::as_is));
    }
    told = "q_proj, k_proj, v_proj";
  }
  // What the chosen one hides came from earlier files; two of one file are an error when nothing asks for the second.
  for (std::string_view part : {"query_key_value", "Wqkv", "q_proj", "k_proj", "v_proj"}) {
    checkpoint_tensor* other = from_.find(named(part, r.parsed.suffix).view());
    if (other != nullptr && other->fate == tensor_fate::waiting && rank_of(other) < best)
      other->fate = tensor_fate::overlaid;
  }
  if (!layout_told_)
    OCELLUS_TRY(report_.add(convert_note::choice, "Phi-2's attention weights are laid out as ", told));
  layout_told_ = true;
  if (!weight) return {};
  OCELLUS_TRY(add_lora(r, named("query_key_value", ".weight").view(), 0, r.source.n, row_order::by_heads));
  OCELLUS_TRY(add_lora(r, named("Wqkv", ".weight").view(), 0, r.source.n, row_order::as_is));
  const std::uint32_t third = r.source.n / 3;
  for (std::uint32_t i = 0; i < 3; ++i) {
    OCELLUS_TRY(add_lora(r, named(separate[i], ".weight").view(), third * i, third, row_order::as_is));
  }
  return {};
}

/// (q_bias, 0, v_bias): the key has none.
result<void> weight_finder::find_vit_qkv_bias(request& r, std::string_view layer) noexcept {
  const std::uint32_t third = r.source.n / 3;
  checkpoint_name q(layer), v(layer);
  OCELLUS_TRY(add_tensor(r, q.append("q_bias").view(), third, row_order::as_is));
  r.source.parts[r.source.part_count++] = {nullptr, 0.0f, third, row_order::as_is};
  return add_tensor(r, v.append("v_bias").view(), third, row_order::as_is);
}

/// [1, 1 + grid * grid, W] of any grid; its own size is used as it is.
result<void> weight_finder::find_positions(request& r) noexcept {
  constexpr std::string_view name = "visual_encoder.pos_embed";
  checkpoint_tensor* found = from_.find(name);
  if (found == nullptr) return error(error_code::tensor_missing, "no file holds tensor ", quoted{name});
  if (found->dims.rank() != 3) return take(*found, {1, r.source.n, r.source.k});
  std::uint32_t grid = 0;
  while (std::uint64_t{grid + 1} * (grid + 1) < found->dims[1]) ++grid;
  OCELLUS_TRY(take(*found, {1, std::uint64_t{grid} * grid + 1, r.source.k}));
  if (grid * grid + 1 != r.source.n) {
    r.source.grid = grid;
    OCELLUS_TRY(report_.add(convert_note::resized, r.name, " from ", grid, " x ", grid, " to ",
                            config_.vit.grid(), " x ", config_.vit.grid(), " patches"));
  }
  r.source.parts[r.source.part_count++] = {found, 0.0f, r.source.n, row_order::as_is};
  return {};
}

/// Are the weights of q/k norms and post norms there? All of them or none must be.
result<bool> weight_finder::has_extra_norms() noexcept {
  if (extra_norms_known_) return extra_norms_;
  std::uint32_t there = 0;
  checkpoint_name missing;
  for (std::uint32_t layer = 0; layer < config_.phi.layers; ++layer) {
    for (std::string_view norm :
         {".self_attn.q_layernorm.weight", ".self_attn.k_layernorm.weight", ".post_layernorm.weight"}) {
      checkpoint_name name("llama_model.model.layers.");
      name.append_number(layer).append(norm);
      if (from_.find(name.view()) != nullptr) {
        ++there;
      } else if (missing.view().empty()) {
        missing = name;
      }
    }
  }
  if (there != 0 && there != 3 * config_.phi.layers) {
    return error(error_code::tensor_missing, "no file holds tensor ", quoted{missing.view()}, ", but ", there,
                 " of ", 3 * config_.phi.layers, " q, k and post norms are there");
  }
  extra_norms_known_ = true;
  extra_norms_ = there != 0;
  return extra_norms_;
}

/// A norm that TinyGPT-V adds to Phi-2: weight 1 if no file has any of them; bias 0 unless there is one.
result<void> weight_finder::find_extra_norm(request& r, std::string_view tensor) noexcept {
  OCELLUS_ASSIGN(const bool there, has_extra_norms());
  const bool weight = r.parsed.suffix == ".weight";
  if ((weight && there) || (!weight && from_.find(tensor) != nullptr)) {
    return add_tensor(r, tensor, r.source.n, row_order::as_is);
  }
  r.defaulted = true;
  r.source.parts[r.source.part_count++] = {nullptr, weight ? 1.0f : 0.0f, r.source.n, row_order::as_is};
  return {};
}

result<void> weight_finder::note(const request& r) noexcept {
  if (r.defaulted) {
    return report_.add(convert_note::defaulted, r.name, " = ", r.parsed.suffix == ".weight" ? "1" : "0");
  }
  std::string_view given[3];
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < r.source.part_count; ++i) {
    if (r.source.parts[i].tensor != nullptr) given[count++] = r.source.parts[i].tensor->given;
  }
  const convert_note what = r.renamed ? convert_note::renamed : convert_note::loaded;
  if (count == 1) return report_.add(what, r.name, " <- ", quoted{given[0]});
  if (count == 2) return report_.add(what, r.name, " <- ", quoted{given[0]}, " ", quoted{given[1]});
  return report_.add(what, r.name, " <- ", quoted{given[0]}, " ", quoted{given[1]}, " ", quoted{given[2]});
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CONVERT_SOURCES_IPP
