// One version: NAME is the namespace that tells of it.
#include <ocellus/implementation.hpp>

namespace NAME {
const char* version() {
  const auto model = ocellus::model::open("no such file.safetensors");
  return !model && model.error().code() == ocellus::error_code::not_found ? ocellus::version : "";
}
}  // namespace NAME
