// What the library makes of safetensors files, for tests/tools/safetensors_differential.py. Standard input is a row of
// files, each behind its length in 8 bytes. For each one line of standard output: "refused CODE", or "accepted", then as
// JSON the metadata and for each tensor the name, type, shape and where its bytes begin and end in the file.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "ocellus/io/json_writer.hpp"
#include "ocellus/io/safetensors.hpp"

namespace {

bool read_all(void* to, std::size_t bytes) { return std::fread(to, 1, bytes, stdin) == bytes; }

ocellus::result<void> print(const ocellus::safetensors& file, const std::byte* begin) {
  ocellus::json_writer out;
  out.begin_object().key("metadata").begin_object();
  for (const auto& [key, value] : file.metadata()) out.key(key).string(value);
  out.end_object().key("tensors").begin_array();
  for (const ocellus::tensor_info& t : file.tensors()) {
    const auto at = static_cast<std::uint64_t>(t.bytes.data() - begin);
    out.begin_array().string(t.name).string(name_of(t.type)).begin_array();
    for (std::uint64_t dim : t.dims.dims()) out.integer(dim);
    out.end_array().integer(at).integer(at + t.bytes.size()).end_array();
  }
  OCELLUS_ASSIGN(const ocellus::text words, out.end_array().end_object().finish());
  std::printf("accepted %.*s\n", static_cast<int>(words.size()), words.data());
  return {};
}

}  // namespace

int main() {
  unsigned char length[8];
  while (read_all(length, sizeof length)) {
    std::uint64_t size = 0;
    for (unsigned i = 0; i < 8; ++i) size |= std::uint64_t{length[i]} << (8 * i);
    // A block of exactly that size, so that a sanitizer sees a read beyond it.
    const std::unique_ptr<std::byte[]> bytes(new std::byte[static_cast<std::size_t>(size)]);
    if (!read_all(bytes.get(), static_cast<std::size_t>(size))) return 2;
    const auto file = ocellus::safetensors::parse({bytes.get(), static_cast<std::size_t>(size)});
    if (!file) {
      const std::string_view code = name_of(file.error().code());
      std::printf("refused %.*s\n", static_cast<int>(code.size()), code.data());
    } else if (!print(*file, bytes.get())) {
      return 3;
    }
  }
  return 0;
}
