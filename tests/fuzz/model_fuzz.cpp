// model::open: the bytes are a whole model file. One that is accepted is used: see model_use.hpp.
#include "fuzz/model_use.hpp"

using namespace ocellus;

namespace ocellus_fuzz {

bool run(std::span<const std::byte> bytes) {
  limited_memory memory(mib(1) + 64 * bytes.size());
  host hooks;
  hooks.memory = memory.hooks();
  const auto opened = model::open(bytes, hooks);
  if (!opened) return false;
  use_model(*opened, static_cast<std::uint32_t>(bytes.size() / 64));
  return true;
}

}  // namespace ocellus_fuzz
