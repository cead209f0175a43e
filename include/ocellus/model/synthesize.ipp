// synthesize: random rows for a model_writer.
#ifndef OCELLUS_MODEL_SYNTHESIZE_IPP
#define OCELLUS_MODEL_SYNTHESIZE_IPP

#include <cmath>

#include "ocellus/io/file.hpp"
#include "ocellus/model/phi_folder.hpp"
#include "ocellus/model/synthesize.hpp"
#include "ocellus/text/prompt.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// Gives a model_writer its rows. A value depends on the seed, the weight and its place alone.
struct synthetic_rows {
  const model_writer& writer;
  std::uint64_t seed;
  std::uint64_t weight = 0;  // a number for the weight whose rows are read
  float mean = 0;
  float deviation = 0;

  /// Steele, Lea and Flood's SplitMix64: the output function.
  [[nodiscard]] static std::uint64_t mix(std::uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// Mean 0, deviation 1: the sum of four uniform numbers, which is near enough to a normal distribution.
  [[nodiscard]] static float normal(std::uint64_t random) noexcept {
    const auto part = [random](int shift) noexcept {
      return static_cast<std::int32_t>(random >> shift & 0xffff);
    };
    constexpr std::int32_t middle = 4 * 0xffff / 2;
    constexpr float one = 37837.23f;  // 65536 * sqrt(4 / 12)
    return static_cast<float>(part(0) + part(16) + part(32) + part(48) - middle) * (1 / one);
  }

  void begin(std::size_t index) noexcept {
    const planned_weight& w = writer.weights()[index];
    weight = mix(seed + index * 0x9e3779b97f4a7c15u);
    mean = 0;
    deviation = 0.02f;
    switch (w.kind) {
      case weight_kind::matrix:  // a product of unit inputs has half their size
        deviation = 0.5f / std::sqrt(static_cast<float>(w.k));
        break;
      case weight_kind::vector:
        if (w.name.view().ends_with(".weight")) mean = 1, deviation = 0.1f;  // a norm
        break;
      case weight_kind::table:
      case weight_kind::rows:
        break;
    }
  }
  void read(std::uint32_t row, std::span<float> out) const noexcept {
    std::uint64_t place = weight + std::uint64_t{row} * out.size();
    for (float& value : out) value = mean + deviation * normal(mix(place++ * 0x9e3779b97f4a7c15u));
  }
};

/// A tokenizer that knows nothing but bytes.
[[nodiscard]] inline result<tokenizer> byte_tokenizer(const memory_hooks& memory) noexcept {
  constexpr std::uint32_t end_of_text = 256;
  constexpr std::string_view words = tokenizer::end_of_text_token;
  std::byte bytes[256 + words.size()];
  std::uint32_t offsets[256 + 2];
  for (std::uint32_t i = 0; i < 256; ++i) bytes[i] = static_cast<std::byte>(i);
  std::memcpy(bytes + 256, words.data(), words.size());
  for (std::uint32_t i = 0; i <= 256; ++i) offsets[i] = i;
  offsets[257] = sizeof bytes;
  const std::uint32_t added[2] = {end_of_text, added_special | added_raw}, special[1] = {end_of_text};
  return tokenizer::from_data({bytes,
                               std::as_bytes(std::span(offsets)),
                               {},
                               std::as_bytes(std::span(added)),
                               std::as_bytes(std::span(special))},
                              memory);
}

}  // namespace detail

model_config synthetic_config(synthetic_size size, std::uint32_t image_size) noexcept {
  model_config c;
  c.has_vision = true;
  if (size == synthetic_size::full) {
    c.vit = {
        .image_size = 448, .patch_size = 14, .width = 1408, .layers = 39, .heads = 16, .mlp_width = 6144};
    c.qformer = {
        .queries = 32, .width = 768, .layers = 12, .heads = 12, .mlp_width = 3072, .cross_layers = 0x555};
    c.projection_width = 4096;
    c.phi = {.vocabulary = 51200,
             .width = 2560,
             .layers = 32,
             .heads = 32,
             .mlp_width = 10240,
             .rotary_size = 32,
             .max_positions = 2048};
  } else {
    c.vit = {.image_size = 112, .patch_size = 14, .width = 176, .layers = 4, .heads = 2, .mlp_width = 768};
    c.qformer = {.queries = 16, .width = 128, .layers = 4, .heads = 2, .mlp_width = 512, .cross_layers = 0x5};
    c.projection_width = 256;
    c.phi = {.vocabulary = 512,
             .width = 160,
             .layers = 4,
             .heads = 2,
             .mlp_width = 640,
             .rotary_size = 32,
             .max_positions = 512};
  }
  c.phi.qk_norm = c.phi.post_norm = true;
  if (image_size != 0) c.vit.image_size = image_size;
  return c;
}

result<model_file_size> synthesize(const synthesize_options& options, const host& hooks) noexcept {
  if (options.output.empty()) return error(error_code::invalid_argument, "synthesize: the output is missing");
  const model_config config = synthetic_config(options.size, options.image_size);
  std::optional<tokenizer> words;
  if (!options.tokenizer_folder.empty()) {
    OCELLUS_ASSIGN(words, read_tokenizer_folder(options.tokenizer_folder, hooks.memory));
    if (!words) {
      return error(error_code::not_found, quoted{options.tokenizer_folder}, " holds no tokenizer");
    }
  } else {
    OCELLUS_ASSIGN(words, detail::byte_tokenizer(hooks.memory));
  }

  model_writer writer(hooks);
  OCELLUS_TRY(writer.plan(config, options.format, options.vision_format.value_or(options.format)));
  detail::synthetic_rows values{writer, options.seed};
  const row_source rows{&values,
                        [](void* self, std::size_t index) noexcept -> result<void> {
                          static_cast<detail::synthetic_rows*>(self)->begin(index);
                          return {};
                        },
                        [](void* self, std::uint32_t row, std::uint32_t, std::span<float> out) noexcept {
                          static_cast<detail::synthetic_rows*>(self)->read(row, out);
                        }};
  OCELLUS_ASSIGN(const prompt_template* layout, find_template("eval"));
  OCELLUS_ASSIGN(output_file file, output_file::create(options.output, hooks.memory));
  OCELLUS_TRY(writer.write(
      file.sink(), {&*words, layout->name, {&layout->stop, 1}, "ocellus synth " OCELLUS_VERSION_STRING}, rows,
      options.progress));
  OCELLUS_TRY(file.commit());
  return writer.size();
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_SYNTHESIZE_IPP
