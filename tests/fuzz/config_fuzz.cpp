// Configurations: the bytes are the JSON of a model file's metadata, or Phi-2's config.json. What is accepted is valid and
// survives being written and read again.
#include "ocellus/model/config.hpp"

#include "fuzz/fuzz.hpp"
#include "ocellus/chat/session.hpp"
#include "ocellus/io/json.hpp"
#include "ocellus/model/phi_folder.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

text written(const model_config& config, const memory_hooks& memory) {
  auto text = to_json(config, memory);
  OCELLUS_HOLDS(text);
  return std::move(*text);
}

/// Writes it, reads that, and writes the same again.
void check_written(const model_config& config) {
  limited_memory memory(kib(64));
  const text first = written(config, memory.hooks());
  const auto read = parse_model_config(first.view(), memory.hooks());
  OCELLUS_HOLDS(read);
  OCELLUS_HOLDS(written(*read, memory.hooks()).view() == first.view());
}

/// Every field of `b` is in `a` with the same value, real numbers as floats.
void check_fields(json::value a, json::value b) {
  OCELLUS_HOLDS(a.size() == b.size());
  for (const json::member m : b.members()) {
    const json::value other = a.find(m.key);
    OCELLUS_HOLDS(other.kind() == m.value.kind());
    OCELLUS_HOLDS(other.as_bool() == m.value.as_bool());
    if (m.value.is_object()) check_fields(other, m.value);
    if (other.as_uint64() && m.value.as_uint64()) {
      OCELLUS_HOLDS(other.as_uint64() == m.value.as_uint64());
    } else if (m.value.as_double()) {
      OCELLUS_HOLDS(static_cast<float>(*other.as_double()) == static_cast<float>(*m.value.as_double()));
    }
  }
}

void check_as_given(std::string_view given, const model_config& config) {
  const auto before = json::parse(given);
  const text text = written(config, {});
  const auto after = json::parse(text.view());
  OCELLUS_HOLDS(before && after);
  check_fields(before->root(), after->root());
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
    check_as_given(chars(bytes), *config);
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
