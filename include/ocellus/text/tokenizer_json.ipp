// tokenizer::from_json: Hugging Face's tokenizer.json, as far as it describes a byte-level BPE with GPT-2's
// pattern.
#ifndef OCELLUS_TEXT_TOKENIZER_JSON_IPP
#define OCELLUS_TEXT_TOKENIZER_JSON_IPP

#include "ocellus/slice.hpp"
#include "ocellus/text/tokenizer_builder.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

// The one pattern that piece_end() implements, as files spell it. A pattern of a file is compared, never run.
inline constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

inline bool absent_or_null(json::value value) noexcept { return !value || value.is_null(); }

inline bool is_type(json::value value, std::string_view type) noexcept {
  return value.find("type").as_string_view() == type;
}

inline bool is_false_or_absent(json::value value) noexcept { return !value || value.as_bool() == false; }

template <class... Parts>
error tokenizer_json_unsupported(const Parts&... parts) noexcept {
  return error(error_code::tokenizer_unsupported, "tokenizer.json: ", parts...);
}

inline result<void> check_field(json::value value, std::string_view name, json_kind kind) noexcept {
  if (!value) return error(error_code::field_missing, "tokenizer.json has no ", name);
  if (value.kind() == kind) return {};
  return error(error_code::field_type, "tokenizer.json: ", name, " is ", name_of(value.kind()), ", not ",
               name_of(kind));
}

// ByteLevel, or Split by the pattern followed by a ByteLevel that does not split again: the same pieces.
inline result<void> check_pre_tokenizer(json::value whole) noexcept {
  OCELLUS_TRY(check_field(whole, "pre_tokenizer", json_kind::object));
  json::value byte_level = whole;
  bool pattern_in_split = false;
  if (is_type(whole, "Sequence")) {
    const json::value steps = whole.find("pretokenizers");
    const json::value split = steps.at(0);
    if (steps.size() != 2 || !is_type(split, "Split")) {
      return tokenizer_json_unsupported("pre_tokenizer is a sequence other than Split, ByteLevel");
    }
    if (split.find("pattern").find("Regex").as_string_view() != gpt2_pattern) {
      return tokenizer_json_unsupported("pre_tokenizer splits by a pattern other than GPT-2's");
    }
    if (split.find("behavior").as_string_view() != "Isolated" || !is_false_or_absent(split.find("invert"))) {
      return tokenizer_json_unsupported("pre_tokenizer's Split is inverted or not \"Isolated\"");
    }
    byte_level = steps.at(1);
    pattern_in_split = true;
  }
  if (!is_type(byte_level, "ByteLevel")) return tokenizer_json_unsupported("pre_tokenizer is not ByteLevel");
  OCELLUS_TRY(
      check_field(byte_level.find("add_prefix_space"), "pre_tokenizer.add_prefix_space", json_kind::boolean));
  if (byte_level.find("add_prefix_space").as_bool() != false) {
    return tokenizer_json_unsupported("pre_tokenizer.add_prefix_space is true");
  }
  const json::value use_regex = byte_level.find("use_regex");
  if (use_regex) OCELLUS_TRY(check_field(use_regex, "pre_tokenizer.use_regex", json_kind::boolean));
  if (use_regex.as_bool().value_or(true) == pattern_in_split) {
    return tokenizer_json_unsupported("pre_tokenizer.use_regex is not what the pattern needs");
  }
  return {};
}

inline result<void> check_model(json::value model) noexcept {
  OCELLUS_TRY(check_field(model, "model", json_kind::object));
  if (model.find("type") && !is_type(model, "BPE"))
    return tokenizer_json_unsupported("model.type is not BPE");
  OCELLUS_TRY(check_field(model.find("vocab"), "model.vocab", json_kind::object));
  OCELLUS_TRY(check_field(model.find("merges"), "model.merges", json_kind::array));
  for (const json::member option : model.members()) {
    const std::string_view name = option.key;
    const json::value value = option.value;
    bool accepted = false;
    if (name == "type" || name == "vocab" || name == "merges") {
      accepted = true;
    } else if (name == "dropout") {
      accepted = value.is_null() || value.as_double() == 0.0;
    } else if (name == "unk_token") {  // never used: every byte has a token
      accepted = value.is_null() || value.kind() == json_kind::string;
    } else if (name == "fuse_unk") {
      accepted = value.kind() == json_kind::boolean;
    } else if (name == "continuing_subword_prefix" || name == "end_of_word_suffix") {
      accepted = value.is_null() || value.as_string_view() == "";
    } else if (name == "byte_fallback" || name == "ignore_merges") {
      accepted = value.as_bool() == false;
    }
    if (!accepted) {
      return tokenizer_json_unsupported("model.", quoted{name},
                                        " is unknown or has a value that is not implemented");
    }
  }
  return {};
}

inline result<void> check_top_level(json::value root) noexcept {
  if (const json::value version = root.find("version"); version && version.as_string_view() != "1.0") {
    return tokenizer_json_unsupported("version is not \"1.0\"");
  }
  for (const std::string_view name : {"truncation", "padding", "normalizer"}) {
    if (!absent_or_null(root.find(name))) return tokenizer_json_unsupported(name, " is not null");
  }
  const json::value post = root.find("post_processor");  // ByteLevel changes offsets only
  if (!absent_or_null(post) && !is_type(post, "ByteLevel")) {
    return tokenizer_json_unsupported("post_processor is not ByteLevel");
  }
  if (!is_type(root.find("decoder"), "ByteLevel"))
    return tokenizer_json_unsupported("decoder is not ByteLevel");
  OCELLUS_TRY(check_pre_tokenizer(root.find("pre_tokenizer")));
  return check_model(root.find("model"));
}

inline result<void> read_added_token(json::value token, tokenizer_builder& builder) noexcept {
  OCELLUS_TRY(check_field(token, "an added token", json_kind::object));
  const json::value content = token.find("content"), special = token.find("special");
  OCELLUS_TRY(check_field(content, "an added token's content", json_kind::string));
  OCELLUS_TRY(check_field(token.find("id"), "an added token's id", json_kind::number));
  OCELLUS_TRY(check_field(special, "an added token's special", json_kind::boolean));
  const std::string_view text = *content.as_string_view();
  OCELLUS_ASSIGN(const std::uint32_t id, read_token_id(text, token.find("id")));
  bool raw = *special.as_bool();  // the default of "normalized" is its opposite
  for (const json::member field : token.members()) {
    const std::string_view name = field.key;
    if (name == "id" || name == "content" || name == "special") continue;
    OCELLUS_TRY(check_field(field.value, "an option of an added token", json_kind::boolean));
    const bool on = *field.value.as_bool();
    if (name == "normalized") {
      raw = !on;
    } else if (name != "single_word" && name != "lstrip" && name != "rstrip") {
      return error(error_code::field_unknown, "tokenizer.json: added token ", quoted{text}, " has ",
                   quoted{name});
    } else if (on) {
      return tokenizer_json_unsupported("added token ", quoted{text}, " asks for ", name);
    }
  }
  const std::uint32_t flags =
      (*special.as_bool() ? std::uint32_t{added_special} : 0u) | (raw ? std::uint32_t{added_raw} : 0u);
  return builder.add_added(text, id, flags);
}

// Merges are strings ("a b") or pairs (["a", "b"]), all of them the same.
inline result<void> read_merge(json::value merge, json_kind kind, std::size_t number,
                               tokenizer_builder& builder) noexcept {
  constexpr std::string_view where = "tokenizer.json, merge ";
  if (merge.kind() != kind) {
    return error(error_code::merge_syntax, where, number, ": ", name_of(merge.kind()), " among ",
                 name_of(kind), "s");
  }
  if (const auto line = merge.as_string_view()) {
    const std::size_t space = line->find(' ');
    if (space == std::string_view::npos || line->find(' ', space + 1) != std::string_view::npos) {
      return error(error_code::merge_syntax, where, number, ": not two tokens and a space: ", quoted{*line});
    }
    return builder.add_merge(slice(*line, 0, space), slice(*line, space + 1), where, number);
  }
  const auto left = merge.at(0).as_string_view(), right = merge.at(1).as_string_view();
  if (merge.size() != 2 || !left || !right) {
    return error(error_code::merge_syntax, where, number, ": not a pair of strings");
  }
  return builder.add_merge(*left, *right, where, number);
}

}  // namespace detail

result<tokenizer> tokenizer::from_json(std::string_view tokenizer_json, const memory_hooks& memory) noexcept {
  OCELLUS_TRY(detail::check_tokenizer_file("tokenizer.json", tokenizer_json));
  auto parsed = json::parse(tokenizer_json, memory);
  if (!parsed) return parsed.error().in("tokenizer.json");
  const json::value root = parsed->root();
  if (!root.is_object()) {
    return error(error_code::root_not_object, "tokenizer.json holds ", name_of(root.kind()));
  }
  OCELLUS_TRY(detail::check_top_level(root));

  detail::tokenizer_builder builder(memory);
  const json::value added = root.find("added_tokens");
  if (added) OCELLUS_TRY(detail::check_field(added, "added_tokens", json_kind::array));
  for (const json::value token : added.elements()) OCELLUS_TRY(detail::read_added_token(token, builder));
  const json::value model = root.find("model");
  if (auto done = builder.add_vocabulary(model.find("vocab")); !done)
    return done.error().in("tokenizer.json");
  if (auto done = builder.finish_tokens(); !done) return done.error().in("tokenizer.json");
  const json::value merges = model.find("merges");
  const json_kind kind = merges.at(0).kind() == json_kind::string ? json_kind::string : json_kind::array;
  std::size_t number = 0;
  for (const json::value merge : merges.elements())
    OCELLUS_TRY(detail::read_merge(merge, kind, number++, builder));
  return builder.finish();
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_TOKENIZER_JSON_IPP
