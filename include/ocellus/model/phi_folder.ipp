// config.json of the two forms that Phi-2 has had, and the tokenizer's files.
#ifndef OCELLUS_MODEL_PHI_FOLDER_IPP
#define OCELLUS_MODEL_PHI_FOLDER_IPP

#include "ocellus/io/file.hpp"
#include "ocellus/io/json.hpp"
#include "ocellus/model/checkpoint.hpp"
#include "ocellus/model/phi_folder.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

inline constexpr std::uint64_t max_config_bytes = 1u << 20;

/// Looks up fields of config.json and says what is wrong with them. Ranges are closed later, by validate().
struct phi_config_reader {
  json::value root;

  template <class... Parts>
  [[nodiscard]] static error bad(std::string_view name, const Parts&... what) noexcept {
    return error(error_code::config_field, "config.json: \"", name, "\" ", what...);
  }
  [[nodiscard]] result<std::uint32_t> integer(std::string_view name) const noexcept {
    const json::value found = root.find(name);
    if (!found) return bad(name, "is missing");
    const auto number = found.as_uint64();
    if (!number) return bad(name, "is no unsigned integer");
    if (*number == 0 || *number > UINT32_MAX) {
      return error(error_code::config_range, "config.json: \"", name, "\" is ", *number);
    }
    return static_cast<std::uint32_t>(*number);
  }
  [[nodiscard]] static result<double> real(const json::value& found, std::string_view name,
                                           double highest) noexcept {
    const auto number = found.as_double();
    if (!found) return bad(name, "is missing");
    if (!number) return bad(name, "is no number");
    if (!(*number > 0 && *number <= highest)) {
      return error(error_code::config_range, "config.json: \"", name, "\" is not in its range");
    }
    return *number;
  }
  /// A field that, if it is there, must be absent in effect: null, or false where that says the same.
  [[nodiscard]] result<void> unused(std::string_view name) const noexcept {
    const json::value found = root.find(name);
    if (!found || found.is_null() || found.as_bool() == false) return {};
    return error(error_code::unsupported, "config.json: \"", name, "\" is set, which is not implemented");
  }
  /// A field that must have one of two values.
  [[nodiscard]] result<void> one_of(std::string_view name, std::string_view a,
                                    std::string_view b) const noexcept {
    const json::value found = root.find(name);
    if (!found) return bad(name, "is missing");
    const auto word = found.as_string_view();
    if (!word) return bad(name, "is no string");
    if (*word == a || *word == b) return {};
    return error(error_code::unsupported, "config.json: \"", name, "\" is ", quoted{*word}, ", only ",
                 quoted{a}, " is implemented");
  }

  /// What both forms have.
  [[nodiscard]] result<void> check_common(bool with_stage) const noexcept {
    OCELLUS_TRY(unused("quantization_config"));
    OCELLUS_TRY(unused("rope_scaling"));
    OCELLUS_TRY(unused("tie_word_embeddings"));
    if (!with_stage) OCELLUS_TRY(unused("qk_layernorm"));
    return {};
  }
  [[nodiscard]] result<phi_config> today() const noexcept {
    phi_config c;
    OCELLUS_TRY(one_of("hidden_act", "gelu_new", "gelu_pytorch_tanh"));
    OCELLUS_ASSIGN(c.vocabulary, integer("vocab_size"));
    OCELLUS_ASSIGN(c.width, integer("hidden_size"));
    OCELLUS_ASSIGN(c.layers, integer("num_hidden_layers"));
    OCELLUS_ASSIGN(c.heads, integer("num_attention_heads"));
    OCELLUS_ASSIGN(c.mlp_width, integer("intermediate_size"));
    OCELLUS_ASSIGN(c.max_positions, integer("max_position_embeddings"));
    OCELLUS_ASSIGN(const double eps, real(root.find("layer_norm_eps"), "layer_norm_eps", 1.0));
    c.eps = static_cast<float>(eps);
    const json::value kv_heads = root.find("num_key_value_heads");
    if (kv_heads && !kv_heads.is_null()) {
      OCELLUS_ASSIGN(const std::uint32_t heads, integer("num_key_value_heads"));
      if (heads != c.heads) {
        return error(error_code::unsupported, "config.json: ", heads, " heads of keys and values for ",
                     c.heads, " heads: grouped attention is not implemented");
      }
    }
    // Newer files keep the rotary parameters in an object of their own.
    const json::value rope = root.find("rope_parameters");
    if (const json::value type = rope.find("rope_type"); type && type.as_string_view() != "default") {
      return error(error_code::unsupported, "config.json: this \"rope_type\" is not implemented");
    }
    const auto rotary = [&](std::string_view name) noexcept {
      const json::value inner = rope.find(name);
      return inner ? inner : root.find(name);
    };
    if (const json::value theta = rotary("rope_theta")) {
      OCELLUS_ASSIGN(const double value, real(theta, "rope_theta", 1e12));
      c.rope_theta = static_cast<float>(value);
    }
    OCELLUS_ASSIGN(const double factor, real(rotary("partial_rotary_factor"), "partial_rotary_factor", 1.0));
    c.rotary_size = static_cast<std::uint32_t>(factor * (c.width / c.heads));
    return c;
  }
  [[nodiscard]] result<phi_config> first_form() const noexcept {
    phi_config c;
    OCELLUS_TRY(one_of("activation_function", "gelu_new", "gelu_pytorch_tanh"));
    OCELLUS_ASSIGN(c.vocabulary, integer("vocab_size"));
    OCELLUS_ASSIGN(c.width, integer("n_embd"));
    OCELLUS_ASSIGN(c.layers, integer("n_layer"));
    OCELLUS_ASSIGN(c.heads, integer("n_head"));
    OCELLUS_ASSIGN(c.max_positions, integer("n_positions"));
    OCELLUS_ASSIGN(c.rotary_size, integer("rotary_dim"));
    OCELLUS_ASSIGN(const double eps, real(root.find("layer_norm_epsilon"), "layer_norm_epsilon", 1.0));
    c.eps = static_cast<float>(eps);
    if (const json::value heads = root.find("n_head_kv");
        heads && !heads.is_null() && heads.as_uint64() != c.heads) {
      return error(error_code::unsupported,
                   "config.json: \"n_head_kv\": grouped attention is not implemented");
    }
    if (const json::value inner = root.find("n_inner"); inner && !inner.is_null()) {
      OCELLUS_ASSIGN(c.mlp_width, integer("n_inner"));
    } else {
      const std::uint64_t width = std::uint64_t{4} * c.width;
      if (width > UINT32_MAX) return error(error_code::config_range, "config.json: \"n_embd\" is ", c.width);
      c.mlp_width = static_cast<std::uint32_t>(width);
    }
    return c;
  }
};

/// A file of a folder, read if it is there.
[[nodiscard]] inline result<std::optional<byte_source>> open_if_there(std::string_view folder,
                                                                      std::string_view name,
                                                                      std::uint64_t max_bytes,
                                                                      const memory_hooks& memory) noexcept {
  OCELLUS_ASSIGN(const text path, join_path(folder, name, memory));
  load_options options;
  options.max_bytes = max_bytes;
  auto opened = byte_source::open(path.view(), memory, options);
  if (opened) return std::optional<byte_source>(std::move(*opened));
  if (opened.error().code() == error_code::not_found) return std::optional<byte_source>();
  return opened.error();
}

}  // namespace detail

result<phi_config> parse_phi_config(std::string_view json_text, bool with_stage,
                                    const memory_hooks& memory) noexcept {
  auto parsed = json::parse(json_text, memory);
  if (!parsed) return parsed.error().in("config.json");
  const detail::phi_config_reader reader{parsed->root()};
  if (!reader.root.is_object()) return error(error_code::root_not_object, "config.json: not a JSON object");
  const auto type = reader.root.find("model_type").as_string_view();
  if (!type) return detail::phi_config_reader::bad("model_type", "is missing or no string");
  if (*type != "phi" && *type != "phi-msft") {
    return error(error_code::unsupported, "config.json: \"model_type\" is ", quoted{*type},
                 ", not \"phi\" or \"phi-msft\"");
  }
  OCELLUS_TRY(reader.check_common(with_stage));
  OCELLUS_ASSIGN(const phi_config c, *type == "phi" ? reader.today() : reader.first_form());
  model_config whole;  // text alone
  whole.phi = c;
  OCELLUS_TRY(validate(whole));
  return c;
}

result<phi_config> read_phi_config(std::string_view folder, bool with_stage,
                                   const memory_hooks& memory) noexcept {
  OCELLUS_ASSIGN(const auto file,
                 detail::open_if_there(folder, "config.json", detail::max_config_bytes, memory));
  if (!file) return error(error_code::not_found, quoted{folder}, " holds no config.json");
  auto parsed = parse_phi_config(file->chars(), with_stage, memory);
  if (!parsed) return parsed.error().in(quoted{folder});
  return parsed;
}

result<std::optional<tokenizer>> read_tokenizer_folder(std::string_view folder,
                                                       const memory_hooks& memory) noexcept {
  constexpr std::uint64_t most = tokenizer::max_file_bytes;
  OCELLUS_ASSIGN(const auto vocabulary, detail::open_if_there(folder, "vocab.json", most, memory));
  if (vocabulary) {
    OCELLUS_ASSIGN(const auto merges, detail::open_if_there(folder, "merges.txt", most, memory));
    if (!merges) return error(error_code::not_found, quoted{folder}, " holds vocab.json but no merges.txt");
    OCELLUS_ASSIGN(const auto added, detail::open_if_there(folder, "added_tokens.json", most, memory));
    auto made = tokenizer::from_files(
        {vocabulary->chars(), merges->chars(), added ? added->chars() : std::string_view()}, memory);
    if (!made) return made.error().in("the tokenizer in ", quoted{folder});
    return std::optional<tokenizer>(std::move(*made));
  }
  OCELLUS_ASSIGN(const auto whole, detail::open_if_there(folder, "tokenizer.json", most, memory));
  if (!whole) return std::optional<tokenizer>();
  auto made = tokenizer::from_json(whole->chars(), memory);
  if (!made) return made.error().in(quoted{folder}, ", tokenizer.json");
  return std::optional<tokenizer>(std::move(*made));
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_PHI_FOLDER_IPP
