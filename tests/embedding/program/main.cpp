// A program of several files: each includes the library, one of them (implementation.cpp) its code. Exit code 0: works.
#include <ocellus/ocellus.hpp>

std::string_view message_of_other_file(char* memory, std::size_t bytes);

int main() {
  const auto model = ocellus::model::open("no such file.safetensors");
  if (model || model.error().code() != ocellus::error_code::not_found) return 1;
  char memory[512];
  if (message_of_other_file(memory, sizeof(memory)) != model.error().message()) return 2;
  const auto pool = ocellus::thread_pool::make(2);
  return pool && pool->workers() == 2 ? 0 : 3;
}
