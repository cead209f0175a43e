// Configurations: the bytes are the JSON of a model file's metadata, or Phi-2's config.json. What is accepted is valid and
// survives being written and read again.
#include "ocellus/model/config.hpp"

#include "fuzz/fuzz.hpp"
#include "ocellus/chat/session.hpp"
#include "ocellus/model/phi_folder.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

/// Writes it, reads that, and writes the same again. (There is no field that is not written.)
void check_written(const model_config& config) {
  limited_memory memory(kib(64));
  const auto written = to_json(config, memory.hooks());
  OCELLUS_HOLDS(written);
  const auto read = parse_model_config(written->view(), memory.hooks());
  OCELLUS_HOLDS(read);
  const auto again = to_json(*read, memory.hooks());
  OCELLUS_HOLDS(again && again->view() == written->view());
}

/// The memory of a session is known from the configuration alone, without overflow or memory of its own.
void check_estimate(const model_config& config) {
  const auto whole = session::estimate(config);
  OCELLUS_HOLDS(whole && *whole > 0);
  session_options one;
  one.context = 1;
  one.vision = false;
  const auto least = session::estimate(config, one);
  OCELLUS_HOLDS(least && *least <= *whole);
}

}  // namespace

bool run(std::span<const std::byte> bytes) {
  bool accepted = false;
  limited_memory memory(kib(4) + 64 * bytes.size());
  if (const auto config = parse_model_config(chars(bytes), memory.hooks())) {
    OCELLUS_HOLDS(validate(*config));
    check_written(*config);
    check_estimate(*config);
    accepted = true;
  }
  for (const bool with_stage : {false, true}) {
    const auto phi = parse_phi_config(chars(bytes), with_stage, memory.hooks());
    if (!phi) continue;
    model_config config;
    config.phi = *phi;
    OCELLUS_HOLDS(validate(config));
    check_written(config);
    check_estimate(config);
    accepted = true;
  }
  return accepted;
}

}  // namespace ocellus_fuzz
