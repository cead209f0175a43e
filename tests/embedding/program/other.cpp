// The second file of the program: the same call, the same words.
#include <ocellus/ocellus.hpp>

std::string_view message_of_other_file(char* memory, std::size_t bytes) {
  const auto model = ocellus::model::open("no such file.safetensors");
  if (model) return {};
  const std::string_view message = model.error().message();
  const std::size_t length = message.size() < bytes ? message.size() : bytes;
  std::memcpy(memory, message.data(), length);
  return {memory, length};
}
