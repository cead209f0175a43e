// The parts of a Hugging Face folder of Phi-2 beside its weights: config.json and the tokenizer's files.
#ifndef OCELLUS_MODEL_PHI_FOLDER_HPP
#define OCELLUS_MODEL_PHI_FOLDER_HPP

#include <optional>

#include "ocellus/model/config.hpp"
#include "ocellus/text/tokenizer.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Reads config.json of a Phi-2, today's form (model_type "phi") or the first one ("phi-msft": n_embd, n_head, ...).
/// What changes the computation and is not implemented is an error; what does not matter is passed over. qk_norm and
/// post_norm are left off: no config.json speaks of them. `qk_layernorm` must be false unless `with_stage`.
/// Errors: those of json::parse, root_not_object, config_field (missing, wrong type), config_range, unsupported.
[[nodiscard]] result<phi_config> parse_phi_config(std::string_view json_text, bool with_stage,
                                                  const memory_hooks& memory = {}) noexcept;

/// The same from folder/config.json.
[[nodiscard]] result<phi_config> read_phi_config(std::string_view folder, bool with_stage,
                                                 const memory_hooks& memory = {}) noexcept;

/// The folder's tokenizer: vocab.json with merges.txt and, if there, added_tokens.json; else tokenizer.json; else none.
/// Errors: those of tokenizer::from_files and from_json, naming the folder or file.
[[nodiscard]] result<std::optional<tokenizer>> read_tokenizer_folder(
    std::string_view folder, const memory_hooks& memory = {}) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_PHI_FOLDER_HPP
