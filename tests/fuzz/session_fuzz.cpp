// Models of every shape: the bytes are the sizes of one, then values for its weights. The file is made to fit, which a
// fuzzer of whole files would hardly get right, and used as in model_use.hpp. Now and then a tensor is larger than it
// should be, which must be noticed.
#include "fuzz/model_file.hpp"
#include "fuzz/model_use.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

/// One of the sizes of a model: small ones more often.
std::uint32_t size_from(input& in, std::uint32_t most) {
  const std::uint32_t b = in.byte();
  return 1 + (b < 128 ? b % 16 : b * most / 256) % most;
}

/// Up to four heads of up to 256 values.
template <class Part>
void heads_from(input& in, Part& part, std::uint32_t multiple = 1) {
  part.heads = size_from(in, 4);
  part.width = part.heads * multiple * size_from(in, 256 / multiple);
}

model_config config_from(input& in) {
  model_config c;
  c.has_vision = in.byte() % 2 != 0;
  if (c.has_vision) {
    heads_from(in, c.vit);
    c.vit.patch_size = size_from(in, 20);
    c.vit.image_size = c.vit.patch_size * size_from(in, 12);
    c.vit.layers = size_from(in, 3);
    c.vit.mlp_width = size_from(in, 300);
    heads_from(in, c.qformer);
    c.qformer.queries = size_from(in, 70);
    c.qformer.layers = size_from(in, 3);
    c.qformer.mlp_width = size_from(in, 300);
    c.qformer.cross_layers = 1 + in.byte() % ((1u << c.qformer.layers) - 1);
    c.projection_width = size_from(in, 300);
  }
  heads_from(in, c.phi, 2);
  c.phi.vocabulary = size_from(in, 600);
  c.phi.layers = size_from(in, 3);
  c.phi.mlp_width = size_from(in, 300);
  c.phi.rotary_size = 2 * (1 + in.byte() % (c.phi.head_size() / 2));
  c.phi.max_positions = size_from(in, 200);
  c.phi.qk_norm = in.byte() % 2 != 0;
  c.phi.post_norm = in.byte() % 2 != 0;
  return c;
}

/// The fuzzer's bytes as floats, whatever they are; without any, noise around 0.
auto values_from(std::span<const std::byte> bytes) {
  return [bytes](std::string_view, std::size_t i) {
    if (bytes.size() < sizeof(float)) {
      const auto noise = static_cast<std::uint32_t>(i * 2654435761u) >> 16;
      return static_cast<float>(noise) / 65536.0f - 0.5f;
    }
    float value;
    std::memcpy(&value, bytes.data() + i * sizeof(float) % (bytes.size() - sizeof(float) + 1), sizeof(float));
    return value;
  };
}

}  // namespace

bool run(std::span<const std::byte> bytes) {
  input in(bytes);
  const std::uint32_t format = in.byte() % std::size(weight_formats), seed = in.byte(), wrong = in.byte();
  model_file_options options{.config = config_from(in), .format = weight_formats[format]};
  OCELLUS_HOLDS(validate(options.config));
  if (!is_small(options.config)) return false;
  options.tokenizer = options.config.phi.vocabulary >= byte_tokenizer::ids;
  options.most_bytes = kib(512);
  if (wrong >= 0xe0) options.wrong_tensor = wrong - 0xe0 + seed;
  const auto file = make_model_file(options, values_from(in.rest()));
  if (file.empty()) return false;
  limited_memory memory(mib(1) + 64 * file.size());
  host hooks;
  hooks.memory = memory.hooks();
  const auto opened = model::open(file, hooks);
  OCELLUS_HOLDS(opened.has_value() == (options.wrong_tensor == SIZE_MAX));
  if (!opened) return false;
  use_model(*opened, seed);
  return true;
}

}  // namespace ocellus_fuzz
