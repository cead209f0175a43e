// synthesize: a model file of random weights, to measure speed and memory with before anything was downloaded.
#ifndef OCELLUS_MODEL_SYNTHESIZE_HPP
#define OCELLUS_MODEL_SYNTHESIZE_HPP

#include <optional>

#include "ocellus/model/model_writer.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// full: TinyGPT-V as published, 3.9 billion weights. micro: the model that comes with the source, 4.4 million.
enum class synthetic_size : std::uint8_t { full, micro };

/// Views must stay valid during the call.
struct synthesize_options {
  synthetic_size size = synthetic_size::full;
  std::string_view output;                     ///< a .safetensors file, replaced when it is complete
  weight_format format = weight_format::q4;    ///< as in convert_options
  std::optional<weight_format> vision_format;  ///< as in convert_options
  std::uint32_t image_size = 0;                ///< pixels, a multiple of 14; 0: 448 for full, 112 for micro
  std::string_view
      tokenizer_folder;  ///< with vocab.json and merges.txt or tokenizer.json; empty: a token a byte
  std::uint64_t seed = 1;
  progress_hooks progress;
};

/// The sizes of a synthetic model's parts.
[[nodiscard]] model_config synthetic_config(synthetic_size size, std::uint32_t image_size = 0) noexcept;

/// Writes a model whose weights are random, near normal, and as large as keeps activations in a usual range; it says
/// nothing sensible. The same options and seed give the same bytes in the same build, whatever the number of workers.
/// Errors: invalid_argument (no output, a host without workers), config_range and config_mismatch (the image size, more
/// ids than the embedding has rows), not_found (of a tokenizer in its folder), cancelled, out_of_memory, those of
/// read_tokenizer_folder and output_file.
[[nodiscard]] result<model_file_size> synthesize(const synthesize_options& options,
                                                 const host& hooks = {}) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_SYNTHESIZE_HPP
