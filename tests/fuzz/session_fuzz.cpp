// Models of every shape: the bytes are a configuration (up to the first byte 0xff), a choice of format and values. The file
// is made to fit the configuration, which a fuzzer of whole files would hardly get right, and used as in model_use.hpp.
#include "fuzz/model_file.hpp"
#include "fuzz/model_use.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

/// The fuzzer's bytes as floats, whatever they are; without any, noise around 0.
weight_values values_of(std::span<const std::byte> bytes) {
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
  const auto config_text = in.take_part();
  const auto config = parse_model_config(chars(config_text), {});
  if (!config) return false;
  const std::uint32_t choice = in.byte();
  model_file_options options;
  options.config = *config;
  const weight_format formats[] = {weight_format::f32, weight_format::f16, weight_format::bf16};
  options.format = formats[choice % 3];
  options.tokenizer = config->phi.vocabulary >= byte_tokenizer::ids;
  options.most_bytes = kib(512);
  const auto file = make_model_file(options, values_of(in.rest()));
  if (file.empty()) return false;
  limited_memory memory(mib(1) + 64 * file.size());
  host hooks;
  hooks.memory = memory.hooks();
  const auto opened = model::open(file, hooks);
  OCELLUS_HOLDS(opened);
  use_model(*opened, choice / 3);
  return true;
}

}  // namespace ocellus_fuzz
