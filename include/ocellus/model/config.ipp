// model_config: its fields are listed once, with their ranges; checking, reading and writing are visits to that list.
#ifndef OCELLUS_MODEL_CONFIG_IPP
#define OCELLUS_MODEL_CONFIG_IPP

#include <algorithm>
#include <charconv>

#include "ocellus/io/json.hpp"
#include "ocellus/io/json_writer.hpp"
#include "ocellus/model/config.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

// The ranges are wide of every model of this family and narrow enough that products of a few of them fit 64 bits.
inline constexpr std::uint32_t config_max_layers = 512;
inline constexpr std::uint32_t config_max_width = 1u << 16;
inline constexpr std::uint32_t config_max_image = 4096;
inline constexpr std::uint32_t config_max_vocabulary = 1'000'000;
inline constexpr std::uint32_t config_max_positions = 1u << 20;
inline constexpr std::uint32_t config_max_head = 256;  // what attention and RoPE are built for

/// Visits all fields. The visitor has, each returning result<void>: begin(group), end(),
/// integer(name, value&, lowest, highest), real(name, value&, highest) for 0 < value <= highest, boolean(name, value&).
/// C is model_config, const or not.
template <class C, class Visitor>
[[nodiscard]] result<void> visit_config(C& c, Visitor& v) noexcept {
  OCELLUS_TRY(v.boolean("has_vision", c.has_vision));
  if (c.has_vision) {
    OCELLUS_TRY(v.begin("vit"));
    OCELLUS_TRY(v.integer("image_size", c.vit.image_size, 1, config_max_image));
    OCELLUS_TRY(v.integer("patch_size", c.vit.patch_size, 1, config_max_image));
    OCELLUS_TRY(v.integer("width", c.vit.width, 1, config_max_width));
    OCELLUS_TRY(v.integer("layers", c.vit.layers, 1, config_max_layers));
    OCELLUS_TRY(v.integer("heads", c.vit.heads, 1, config_max_width));
    OCELLUS_TRY(v.integer("mlp_width", c.vit.mlp_width, 1, config_max_width));
    OCELLUS_TRY(v.real("eps", c.vit.eps, 1.0f));
    OCELLUS_TRY(v.real("final_eps", c.vit.final_eps, 1.0f));
    OCELLUS_TRY(v.end());
    OCELLUS_TRY(v.begin("qformer"));
    OCELLUS_TRY(v.integer("queries", c.qformer.queries, 1, 4096));
    OCELLUS_TRY(v.integer("width", c.qformer.width, 1, config_max_width));
    OCELLUS_TRY(v.integer("layers", c.qformer.layers, 1, 64));  // the bits of cross_layers
    OCELLUS_TRY(v.integer("heads", c.qformer.heads, 1, config_max_width));
    OCELLUS_TRY(v.integer("mlp_width", c.qformer.mlp_width, 1, config_max_width));
    OCELLUS_TRY(v.integer("cross_layers", c.qformer.cross_layers, 1, UINT64_MAX));
    OCELLUS_TRY(v.real("eps", c.qformer.eps, 1.0f));
    OCELLUS_TRY(v.end());
    OCELLUS_TRY(v.integer("projection_width", c.projection_width, 1, config_max_width));
  }
  OCELLUS_TRY(v.begin("phi"));
  OCELLUS_TRY(v.integer("vocabulary", c.phi.vocabulary, 1, config_max_vocabulary));
  OCELLUS_TRY(v.integer("width", c.phi.width, 1, config_max_width));
  OCELLUS_TRY(v.integer("layers", c.phi.layers, 1, config_max_layers));
  OCELLUS_TRY(v.integer("heads", c.phi.heads, 1, config_max_width));
  OCELLUS_TRY(v.integer("mlp_width", c.phi.mlp_width, 1, config_max_width));
  OCELLUS_TRY(v.integer("rotary_size", c.phi.rotary_size, 2, config_max_head));
  OCELLUS_TRY(v.integer("max_positions", c.phi.max_positions, 1, config_max_positions));
  OCELLUS_TRY(v.real("rope_theta", c.phi.rope_theta, 1e12f));
  OCELLUS_TRY(v.real("eps", c.phi.eps, 1.0f));
  OCELLUS_TRY(v.real("rms_eps", c.phi.rms_eps, 1.0f));
  OCELLUS_TRY(v.boolean("qk_norm", c.phi.qk_norm));
  OCELLUS_TRY(v.boolean("post_norm", c.phi.post_norm));
  return v.end();
}

/// Every field within its range.
struct config_checker {
  std::string_view group;

  [[nodiscard]] result<void> begin(std::string_view name) noexcept {
    group = name;
    return {};
  }
  [[nodiscard]] result<void> end() noexcept {
    group = {};
    return {};
  }
  template <class I>
  [[nodiscard]] result<void> integer(std::string_view name, const I& value, std::uint64_t lowest,
                                     std::uint64_t highest) noexcept {
    if (value >= lowest && value <= highest) return {};
    return error(error_code::config_range, "configuration: ", group, group.empty() ? "" : ".", name, " is ",
                 value, ", must be ", lowest, " to ", highest);
  }
  [[nodiscard]] result<void> real(std::string_view name, const float& value, float highest) noexcept {
    if (value > 0 && value <= highest) return {};  // false for NaN
    return error(error_code::config_range, "configuration: ", group, group.empty() ? "" : ".", name,
                 " must be positive and at most ", static_cast<std::uint64_t>(highest));
  }
  [[nodiscard]] result<void> boolean(std::string_view, const bool&) noexcept { return {}; }
};

/// Reads every field out of JSON objects that hold nothing else.
struct config_reader {
  json::value root;
  json::value object = root;
  std::string_view group = {};
  std::size_t fields = 0;       // of the object at hand
  std::size_t root_fields = 0;  // while a group is open

  template <class... Parts>
  [[nodiscard]] error bad(std::string_view name, const Parts&... what) const noexcept {
    return error(error_code::config_field, "configuration: ", group, group.empty() ? "" : ".", name, what...);
  }
  [[nodiscard]] result<json::value> take(std::string_view name) noexcept {
    const json::value found = object.find(name);
    if (!found) return bad(name, " is missing");
    ++fields;
    return found;
  }
  [[nodiscard]] result<void> begin(std::string_view name) noexcept {
    OCELLUS_ASSIGN(const json::value inner, take(name));
    if (!inner.is_object()) return bad(name, " is ", name_of(inner.kind()), ", not an object");
    object = inner;
    group = name;
    root_fields = std::exchange(fields, 0);
    return {};
  }
  [[nodiscard]] result<void> end() noexcept {
    OCELLUS_TRY(check_complete());
    object = root;
    group = {};
    fields = root_fields;
    return {};
  }
  /// Does the object hold more than was asked for? Duplicates were refused by the parser.
  [[nodiscard]] result<void> check_complete() const noexcept {
    if (object.size() == fields) return {};
    return bad("", " holds ", object.size(), " fields, only ", fields, " of them known");
  }
  template <class I>
  [[nodiscard]] result<void> integer(std::string_view name, I& value, std::uint64_t, std::uint64_t) noexcept {
    OCELLUS_ASSIGN(const json::value found, take(name));
    const auto number = found.as_uint64();
    if (!number) return bad(name, " is not an unsigned integer");
    value = static_cast<I>(*number);
    if (value != *number)
      return error(error_code::config_range, "configuration: ", group, ".", name, " is ", *number);
    return {};
  }
  [[nodiscard]] result<void> real(std::string_view name, float& value, float) noexcept {
    OCELLUS_ASSIGN(const json::value found, take(name));
    const auto number = found.as_double();
    if (!number) return bad(name, " is not a number");
    if (!(*number > 0 && *number < 1e30))
      return error(error_code::config_range, "configuration: ", group, ".", name);
    value = static_cast<float>(*number);
    return {};
  }
  [[nodiscard]] result<void> boolean(std::string_view name, bool& value) noexcept {
    OCELLUS_ASSIGN(const json::value found, take(name));
    const auto flag = found.as_bool();
    if (!flag) return bad(name, " is not true or false");
    value = *flag;
    return {};
  }
};

/// Writes every field.
struct config_writer {
  json_writer out;

  [[nodiscard]] result<void> begin(std::string_view name) noexcept {
    out.key(name).begin_object();
    return {};
  }
  [[nodiscard]] result<void> end() noexcept {
    out.end_object();
    return {};
  }
  template <class I>
  [[nodiscard]] result<void> integer(std::string_view name, const I& value, std::uint64_t,
                                     std::uint64_t) noexcept {
    out.key(name).integer(value);
    return {};
  }
  /// As the shortest decimal that reads back as the same float: 1e-06 and not 9.999999974752427e-07.
  [[nodiscard]] result<void> real(std::string_view name, const float& value, float) noexcept {
    char digits[32];
    double close = static_cast<double>(value);
    const auto written = std::to_chars(digits, digits + sizeof digits, value);
    double read = 0;
    if (written.ec == std::errc() && std::from_chars(digits, written.ptr, read).ec == std::errc() &&
        static_cast<float>(read) == value) {
      close = read;
    }
    out.key(name).number(close);
    return {};
  }
  [[nodiscard]] result<void> boolean(std::string_view name, const bool& value) noexcept {
    out.key(name).boolean(value);
    return {};
  }
};

/// Heads divide the width into sizes that the kernels can do.
[[nodiscard]] inline result<void> check_heads(std::string_view group, std::uint32_t width,
                                              std::uint32_t heads) noexcept {
  if (width % heads != 0 || width / heads > config_max_head) {
    return error(error_code::config_mismatch, "configuration: ", group, ".width ", width,
                 " cannot be divided into ", group, ".heads ", heads, " of at most ", config_max_head);
  }
  return {};
}

}  // namespace detail

result<void> validate(const model_config& config) noexcept {
  detail::config_checker check{};
  OCELLUS_TRY(detail::visit_config(config, check));
  if (config.has_vision) {
    const vit_config& vit = config.vit;
    OCELLUS_TRY(detail::check_heads("vit", vit.width, vit.heads));
    if (vit.image_size % vit.patch_size != 0 || vit.grid() > 256) {
      return error(error_code::config_mismatch, "configuration: vit.image_size ", vit.image_size,
                   " is not a multiple of vit.patch_size ", vit.patch_size, " or more than 256 patches wide");
    }
    const qformer_config& qformer = config.qformer;
    OCELLUS_TRY(detail::check_heads("qformer", qformer.width, qformer.heads));
    if (qformer.layers < 64 && qformer.cross_layers >> qformer.layers != 0) {
      return error(error_code::config_mismatch,
                   "configuration: qformer.cross_layers names layers beyond the ", qformer.layers,
                   " of qformer.layers");
    }
    // Each factor may be large, a session's activations may not: the full-size model has 6.3 million in its largest.
    constexpr std::uint64_t most = std::uint64_t{1} << 28;
    const std::uint64_t widest =
        (std::max)({vit.mlp_width, 3 * vit.width, 2 * qformer.width, vit.patch_values()});
    const std::uint64_t query_widest =
        (std::max)({qformer.mlp_width, 3 * qformer.width, config.projection_width});
    if (vit.tokens() * widest > most || qformer.queries * query_widest > most) {
      return error(error_code::config_mismatch, "configuration: ", vit.tokens(), " image tokens of up to ",
                   widest, " values, or ", qformer.queries, " queries of up to ", query_widest,
                   ", are more than ", most);
    }
  }
  const phi_config& phi = config.phi;
  OCELLUS_TRY(detail::check_heads("phi", phi.width, phi.heads));
  if (phi.rotary_size % 2 != 0 || phi.rotary_size > phi.head_size()) {
    return error(error_code::config_mismatch, "configuration: phi.rotary_size ", phi.rotary_size,
                 " is odd or larger than a head, ", phi.head_size());
  }
  return {};
}

result<void> check_vocabulary(std::uint32_t ids, const phi_config& config) noexcept {
  if (ids <= config.vocabulary) return {};
  return error(error_code::config_mismatch, "the tokenizer has ", ids, " ids, the embedding only ",
               config.vocabulary, " rows");
}

result<model_config> parse_model_config(std::string_view text, const memory_hooks& memory) noexcept {
  auto parsed = json::parse(text, memory);
  if (!parsed) return parsed.error().in("configuration");
  if (!parsed->root().is_object())
    return error(error_code::root_not_object, "configuration: not a JSON object");
  detail::config_reader reader{parsed->root()};
  model_config config;
  OCELLUS_TRY(detail::visit_config(config, reader));
  OCELLUS_TRY(reader.check_complete());
  OCELLUS_TRY(validate(config));
  return config;
}

result<text> to_json(const model_config& config, const memory_hooks& memory) noexcept {
  OCELLUS_TRY(validate(config));
  detail::config_writer writer{json_writer(memory)};
  writer.out.begin_object();
  OCELLUS_TRY(detail::visit_config(config, writer));
  writer.out.end_object();
  return writer.out.finish();
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CONFIG_IPP
