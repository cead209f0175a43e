// Names of tensors and files, as an inspection reads them.
#ifndef OCELLUS_MODEL_INSPECT_NAMES_IPP
#define OCELLUS_MODEL_INSPECT_NAMES_IPP

#include <algorithm>

#include "ocellus/model/inspect_names.hpp"
#include "ocellus/model/weight_rules.hpp"
#include "ocellus/slice.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

bool natural_less(std::string_view a, std::string_view b) noexcept {
  const auto number = [](std::string_view& text) noexcept {
    std::size_t end = 0;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
    std::string_view digits = slice(text, 0, end);
    text.remove_prefix(end);
    while (digits.size() > 1 && digits[0] == '0') digits.remove_prefix(1);
    return digits;
  };
  std::string_view left = a, right = b;
  while (!left.empty() && !right.empty()) {
    const std::string_view m = number(left), n = number(right);
    if (!m.empty() && !n.empty()) {
      if (m.size() != n.size()) return m.size() < n.size();
      if (m != n) return m < n;
      continue;
    }
    const char x = m.empty() ? left[0] : m[0], y = n.empty() ? right[0] : n[0];
    if (x != y) return static_cast<unsigned char>(x) < static_cast<unsigned char>(y);
    left.remove_prefix(1);
    right.remove_prefix(1);
  }
  if (left.empty() != right.empty()) return left.empty();
  return a < b;  // they differ in leading zeros at most
}

std::optional<source_role> role_by_names(std::span<const checkpoint_tensor> tensors) noexcept {
  const auto tells = [](source_role role, const weight_target& target) noexcept {
    const std::string_view weight = target.weight.view();
    switch (role) {
      case source_role::stage:
        return target.lora || weight == "projection.0.weight";
      case source_role::qformer:
        return weight.starts_with("qformer.layers.") && weight.ends_with(".self.qkv.weight");
      case source_role::vit:  // other ViTs have the same names but one bias for q, k and v
        return weight.starts_with("vision.blocks.") && weight.ends_with(".qkv.bias");
      case source_role::phi:
        return weight.starts_with("phi.layers.") && weight.ends_with(".fc1.weight");
    }
    return false;
  };
  for (const source_role role :
       {source_role::stage, source_role::qformer, source_role::vit, source_role::phi}) {
    for (const checkpoint_tensor& t : tensors) {
      const canonical_name canonical = canonical_name_of(role, t.given);
      if (canonical.name.valid() && tells(role, weight_target_of(canonical.name.view()))) return role;
    }
  }
  return std::nullopt;
}

std::uint32_t stage_in_path(std::string_view path) noexcept {
  const std::string_view name = slice(path, folder_of(path).size());
  for (std::string_view word : {"Stage", "stage"}) {
    const std::size_t at = name.find(word);
    if (at == std::string_view::npos) continue;
    std::string_view rest = slice(name, at + word.size());
    if (rest.starts_with('_') || rest.starts_with('-')) rest.remove_prefix(1);
    const bool one_digit = rest.size() == 1 || (rest.size() > 1 && !(rest[1] >= '0' && rest[1] <= '9'));
    if (one_digit && rest[0] >= '1' && rest[0] <= '4') return static_cast<std::uint32_t>(rest[0] - '0');
  }
  return 0;
}

inspected_tensor describe_model_tensor(const tensor_info& t, const json::value& matrices) noexcept {
  constexpr std::string_view scales = ".scales";
  inspected_tensor d;
  d.name = d.canonical = t.name;
  d.type = t.type;
  d.dims = d.stored = t.dims;
  d.bytes = t.bytes.size();
  if (t.name.starts_with("tokenizer.")) {
    d.use = tensor_use::tokenizer;
    return d;
  }
  if (t.name.ends_with(scales)) {
    const std::string_view weight = slice(t.name, 0, t.name.size() - scales.size());
    if (matrices.find(weight)) {
      d.use = tensor_use::scales;
      d.target = weight;
      return d;
    }
  }
  d.use = tensor_use::weight;
  d.target = t.name;
  if (const json::value entry = matrices.find(t.name)) {
    d.format = entry.find("format").as_string_view().value_or("");
    d.dims = {entry.find("n").as_uint64().value_or(0), entry.find("k").as_uint64().value_or(0)};
  }
  return d;
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_INSPECT_NAMES_IPP
