// A shared library whose inside is ocellus and whose outside is one C function.
#include <ocellus/implementation.hpp>

extern "C" __attribute__((visibility("default"))) int library_answer() {
  const auto model = ocellus::model::open("no such file.safetensors");
  return !model && model.error().code() == ocellus::error_code::not_found ? 42 : 0;
}
