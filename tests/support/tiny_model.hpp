// Model files of a few hundred KB made in memory: every part of the architecture at the smallest sizes, with values that
// depend on nothing but the seed. With a script, the model says what the script wants instead of noise.
#ifndef OCELLUS_TESTS_SUPPORT_TINY_MODEL_HPP
#define OCELLUS_TESTS_SUPPORT_TINY_MODEL_HPP

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ocellus/image/view.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/model/model_writer.hpp"
#include "ocellus/text/tokenizer.hpp"
#include "support/append_to.hpp"

namespace ocellus_tests {

struct tiny_options {
  bool vision = true;
  bool tokenizer = true;
  ocellus::weight_format format = ocellus::weight_format::f32;
  std::string template_name = "micro";
  std::vector<std::string> stops = {"###"};
  /// Token -> the token that follows it. With any, the layers of Phi do nothing and the next token depends on the last
  /// one alone; tokens that the script does not name are followed by anything.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> script = {};
  bool letters_only = false;  ///< never says anything but a to z
  std::uint32_t max_positions = 200;
  std::uint32_t seed = 1;
};

/// The vocabulary: 256 bytes, "##", "###", " ###", <|endoftext|>, "ok#", "ok", sixty x and "#"; then ids
/// without a token up to tiny_vocabulary.
namespace tiny_token {
inline constexpr std::uint32_t two_hashes = 256, stop = 257, space_stop = 258, end_of_text = 259,
                               ok_hash = 260, long_hash = 262;
}
inline constexpr std::uint32_t tiny_vocabulary = 270;

inline ocellus::model_config tiny_config(const tiny_options& o) {
  ocellus::model_config c;
  if (o.vision) {
    c.has_vision = true;
    c.vit = {.image_size = 42, .patch_size = 14, .width = 88, .layers = 2, .heads = 1, .mlp_width = 100};
    c.qformer = {.queries = 3, .width = 64, .layers = 2, .heads = 1, .mlp_width = 72, .cross_layers = 1};
    c.projection_width = 40;
  }
  c.phi = {.vocabulary = tiny_vocabulary,
           .width = 160,
           .layers = 2,
           .heads = 2,
           .mlp_width = 200,
           .rotary_size = 32,
           .max_positions = o.max_positions,
           .qk_norm = o.vision,
           .post_norm = o.vision};
  return c;
}

namespace detail {

inline std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// In [-1, 1), the same for the same name, place and seed.
inline float noise(std::string_view name, std::uint64_t i, std::uint32_t seed) {
  std::uint64_t h = 1469598103934665603u + seed;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return static_cast<float>(static_cast<double>(mix(h + i * 0x9e3779b97f4a7c15u) >> 11) * 0x1p-52 - 1.0);
}

/// The values of one weight, [n, k].
inline std::vector<float> tiny_values(const ocellus::planned_weight& t, const tiny_options& o) {
  std::vector<float> values(std::size_t{t.n} * t.k);
  const std::string_view name = t.name.view();
  const bool is_norm = name.find("norm.weight") != std::string_view::npos;
  float scale = 0.3f;
  if (t.kind == ocellus::weight_kind::matrix) scale = 2.5f / std::sqrt(static_cast<float>(t.k));
  if (t.kind == ocellus::weight_kind::table) scale = 1.7f;
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = noise(name, i, o.seed) * scale + (is_norm ? 1.0f : 0.0f);
  if (o.letters_only && name == "phi.head.bias") {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] -= i >= 'a' && i <= 'z' ? 0.0f : 1000.0f;
  }
  if (o.script.empty()) return values;

  const bool silent = name.starts_with("phi.layers.") && (name.find(".dense.") != std::string_view::npos ||
                                                          name.find(".fc2.") != std::string_view::npos);
  if (silent || name == "phi.head.bias" || name == "phi.norm.bias")
    std::fill(values.begin(), values.end(), 0.0f);
  if (name == "phi.norm.weight") std::fill(values.begin(), values.end(), 1.0f);
  if (name == "phi.head.weight") {  // the row of a token is the sum of the embeddings of those it follows
    std::fill(values.begin(), values.end(), 0.0f);
    const ocellus::planned_weight embedding{ocellus::tensor_name("phi.embedding"),
                                            ocellus::weight_kind::table, o.format, tiny_vocabulary, t.k};
    tiny_options plain = o;
    plain.script.clear();
    const auto rows_of_tokens = tiny_values(embedding, plain);
    for (const auto& [from, to] : o.script) {
      for (std::size_t i = 0; i < t.k; ++i) values[to * t.k + i] += rows_of_tokens[from * t.k + i];
    }
  }
  return values;
}

/// Gives a model_writer the values.
struct tiny_source {
  const tiny_options& options;
  const ocellus::model_writer& writer;
  std::vector<float> values = {};

  [[nodiscard]] ocellus::row_source rows() {
    return {this,
            [](void* self, std::size_t index) noexcept -> ocellus::result<void> {
              auto& s = *static_cast<tiny_source*>(self);
              s.values = tiny_values(s.writer.weights()[index], s.options);
              return {};
            },
            [](void* self, std::uint32_t row, std::uint32_t, std::span<float> out) noexcept {
              const auto& all = static_cast<tiny_source*>(self)->values;
              std::copy_n(all.data() + row * out.size(), out.size(), out.data());
            }};
  }
};

}  // namespace detail

/// The tiny tokenizer as arrays.
struct tiny_words {
  std::string bytes;
  std::vector<std::uint32_t> offsets{0}, merges, added, special;

  tiny_words() {
    const auto add = [&](std::string_view token) {
      bytes += token;
      offsets.push_back(static_cast<std::uint32_t>(bytes.size()));
      return static_cast<std::uint32_t>(offsets.size() - 2);
    };
    for (int b = 0; b < 256; ++b) add(std::string(1, static_cast<char>(b)));
    add("##"), add("###"), add(" ###"), add("<|endoftext|>");
    add("ok#");
    const auto ok = add("ok");
    add(std::string(60, 'x') + "#");
    merges = {'#', '#', tiny_token::two_hashes, '#', ' ', tiny_token::stop, 'o', 'k', ok, '#'};
    added = {tiny_token::end_of_text, ocellus::added_special | ocellus::added_raw};
    special = {tiny_token::end_of_text};
  }
  [[nodiscard]] ocellus::tokenizer_data data() const {
    const auto of = [](const std::vector<std::uint32_t>& v) { return std::as_bytes(std::span(v)); };
    return {std::as_bytes(std::span(bytes)), of(offsets), of(merges), of(added), of(special)};
  }
};

/// The model file's bytes.
inline std::vector<std::byte> tiny_model_file(const tiny_options& o = {}) {
  const ocellus::model_config config = tiny_config(o);
  ocellus::model_writer writer({});
  REQUIRE(writer.plan(config, o.format, o.format));
  const auto words = ocellus::tokenizer::from_data(tiny_words().data());
  REQUIRE(words);
  const std::vector<std::string_view> stops(o.stops.begin(), o.stops.end());
  detail::tiny_source source{o, writer};

  std::vector<std::byte> file;
  REQUIRE(writer.write(append_to(file), {o.tokenizer ? &*words : nullptr, o.template_name, stops, "tests"},
                       source.rows()));
  return file;
}

/// A model with the memory that it is read from.
struct tiny_model {
  explicit tiny_model(const tiny_options& o = {})
      : file(tiny_model_file(o)), opened(ocellus::model::open(file)) {
    INFO((opened ? std::string_view() : opened.error().message()));
    REQUIRE(opened);
  }
  [[nodiscard]] const ocellus::model& get() const { return *opened; }

  std::vector<std::byte> file;
  ocellus::result<ocellus::model> opened;
};

/// The bytes of a text as a script: each byte is followed by the next, the first one by `from`.
inline std::vector<std::pair<std::uint32_t, std::uint32_t>> script_of(
    std::uint32_t from, const std::vector<std::uint32_t>& tokens) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> script;
  for (const std::uint32_t to : tokens) {
    script.emplace_back(from, to);
    from = to;
  }
  return script;
}

/// A picture of noise, RGB without gaps.
struct tiny_picture {
  explicit tiny_picture(std::uint32_t seed = 1, std::uint32_t width = 37, std::uint32_t height = 21)
      : pixels(std::size_t{width} * height * 3) {
    for (std::size_t i = 0; i < pixels.size(); ++i)
      pixels[i] = static_cast<std::uint8_t>(detail::mix(i + seed * 977));
    view = {pixels.data(), width, height, 0, ocellus::pixel_format::rgb};
  }
  std::vector<std::uint8_t> pixels;
  ocellus::image_view view;
};

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_TINY_MODEL_HPP
