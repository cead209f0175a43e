// The table of weights read from the side of the checkpoints.
#ifndef OCELLUS_MODEL_WEIGHT_RULES_IPP
#define OCELLUS_MODEL_WEIGHT_RULES_IPP

#include <algorithm>

#include "ocellus/model/weight_rules.hpp"
#include "ocellus/slice.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// A tensor's name as one side of a rule says it: the layer's number, and what follows the rule's name.
struct tensor_match {
  bool fits = false;
  std::uint32_t layer = 0;
  std::string_view ending;
};

[[nodiscard]] inline tensor_match match_tensor(std::string_view theirs, std::string_view tensor) noexcept {
  tensor_match match;
  std::string_view rest = tensor;
  if (const std::size_t hash = theirs.find('#'); hash != std::string_view::npos) {
    if (!split_layer_name(tensor, slice(theirs, 0, hash), match.layer, rest)) return match;
    theirs = slice(theirs, hash + std::string_view("#.").size());
  }
  if (theirs.empty() || !rest.starts_with(theirs)) return match;
  match.ending = slice(rest, theirs.size());
  match.fits = true;
  return match;
}

[[nodiscard]] inline bool is_ending(rule_ending allowed, std::string_view ending) noexcept {
  switch (allowed) {
    case rule_ending::none:
      return ending.empty();
    case rule_ending::weight:
      return ending == ".weight";
    case rule_ending::weight_or_bias:
      return ending == ".weight" || ending == ".bias";
  }
  return false;
}

/// The weight that a tensor is a part of, "" if there is none.
[[nodiscard]] inline checkpoint_name weight_with_part(std::string_view tensor) noexcept {
  for (const weight_rule& rule : weight_rules) {
    for (std::string_view theirs : rule.theirs) {
      const tensor_match match = match_tensor(theirs, tensor);
      if (!match.fits || !is_ending(rule.ending, match.ending)) continue;
      const std::size_t hash = (std::min)(rule.ours.find('#'), rule.ours.size());
      checkpoint_name weight(slice(rule.ours, 0, hash));
      if (hash != rule.ours.size()) weight.append_number(match.layer).append(slice(rule.ours, hash + 1));
      weight.append(match.ending);
      return weight;
    }
  }
  return {};
}

/// Phi's packed matrices are what LoRA changes; see weight_finder.
[[nodiscard]] inline bool takes_lora(std::string_view weight) noexcept {
  return weight.starts_with("phi.") && weight.ends_with(".weight") && !weight.ends_with("norm.weight");
}

}  // namespace detail

weight_target weight_target_of(std::string_view tensor) noexcept {
  for (std::string_view factor : {".lora_A.weight", ".lora_B.weight"}) {
    if (!tensor.ends_with(factor)) continue;
    checkpoint_name changed(detail::slice(tensor, 0, tensor.size() - factor.size()));
    const checkpoint_name weight = detail::weight_with_part(changed.append(".weight").view());
    return detail::takes_lora(weight.view()) ? weight_target{weight, true} : weight_target{};
  }
  return {detail::weight_with_part(tensor), false};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_WEIGHT_RULES_IPP
