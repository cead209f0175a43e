// safetensors: the bytes are a file. What is accepted is read whole, and written again it parses to the same.
#include "ocellus/io/safetensors.hpp"

#include "fuzz/fuzz.hpp"
#include "ocellus/io/safetensors_writer.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

std::vector<std::byte> written(const safetensors& file, const memory_hooks& memory) {
  safetensors_writer writer(memory);
  for (const auto& pair : file.metadata()) OCELLUS_HOLDS(writer.add_metadata(pair.key, pair.value));
  for (const tensor_info& t : file.tensors()) OCELLUS_HOLDS(writer.add(t.name, t.type, t.dims));
  std::vector<std::byte> bytes;
  const byte_sink sink{&bytes, [](void* to, std::span<const std::byte> more) noexcept -> result<void> {
                         auto& all = *static_cast<std::vector<std::byte>*>(to);
                         all.insert(all.end(), more.begin(), more.end());
                         return {};
                       }};
  OCELLUS_HOLDS(writer.begin(sink));
  for (const tensor_info& t : file.tensors()) OCELLUS_HOLDS(writer.write(t.bytes));
  OCELLUS_HOLDS(writer.finish());
  return bytes;
}

void check_same(const safetensors& a, const safetensors& b) {
  OCELLUS_HOLDS(a.metadata().size() == b.metadata().size());
  for (std::size_t i = 0; i < a.metadata().size(); ++i) {
    OCELLUS_HOLDS(a.metadata()[i].key == b.metadata()[i].key);
    OCELLUS_HOLDS(a.metadata()[i].value == b.metadata()[i].value);
  }
  OCELLUS_HOLDS(a.tensors().size() == b.tensors().size());
  for (const tensor_info& t : a.tensors()) {
    const auto other = b.at(t.name);
    OCELLUS_HOLDS(other);
    OCELLUS_HOLDS(other->type == t.type && other->dims == t.dims && same_bytes(other->bytes, t.bytes));
  }
}

void use(const safetensors& file, std::span<const std::byte> bytes) {
  // Tensors lie end to end, from the first byte behind the header to the last of the file.
  std::size_t at = file.data_offset();
  for (const tensor_info& t : file.tensors()) {
    OCELLUS_HOLDS(t.bytes.data() == bytes.data() + at);
    OCELLUS_HOLDS(t.bytes.size() * 8 == t.count() * bits_of(t.type));
    OCELLUS_HOLDS(file.find(t.name) == &t);
    touch(t.bytes);
    at += t.bytes.size();
  }
  OCELLUS_HOLDS(at == bytes.size());
  for (const auto& pair : file.metadata()) OCELLUS_HOLDS(file.metadata(pair.key) == pair.value);
}

}  // namespace

bool run(std::span<const std::byte> bytes) {
  limited_memory memory(kib(4) + 16 * bytes.size());
  const auto file = safetensors::parse(bytes, memory.hooks());
  if (!file) return false;
  use(*file, bytes);
  limited_memory more(SIZE_MAX);
  const std::vector<std::byte> copy = written(*file, more.hooks());
  const auto again = safetensors::parse(copy, more.hooks());
  OCELLUS_HOLDS(again);
  use(*again, copy);
  check_same(*file, *again);
  return true;
}

}  // namespace ocellus_fuzz
