// torch_file, zip_archive and pickle: the bytes are a checkpoint, or a pickle that is put into an archive with the right
// checksums, which the fuzzer would never find, or the numbers of some tensors. Of what is accepted, every element of
// every tensor is read.
#include "ocellus/io/torch_file.hpp"

#include "fuzz/fuzz.hpp"
#include "ocellus/io/pickle.hpp"
#include "support/torch_archive.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

// Of a larger tensor (a storage may be repeated up to 2^32 times) the first elements and the last are read.
constexpr std::uint64_t most_elements = 4096;

void touch_element(const torch_tensor& t, std::uint64_t i) {
  std::uint64_t at = t.offset;
  for (std::size_t d = t.dims.rank(); d-- > 0;) {
    at += i % t.dims[d] * t.strides[d];
    i /= t.dims[d];
  }
  const std::size_t size = bits_of(t.type) / 8;
  OCELLUS_HOLDS((at + 1) * size <= t.storage.size());
  touch(t.storage.subspan(at * size, size));
}

void use(torch_file& file, std::span<const std::byte> bytes) {
  OCELLUS_HOLDS(!file.tensors().empty());
  const torch_tensor* before = nullptr;
  for (const torch_tensor& t : file.tensors()) {
    OCELLUS_HOLDS(before == nullptr || before->name < t.name);
    OCELLUS_HOLDS(file.find(t.name) == &t);
    OCELLUS_HOLDS(t.dims.rank() == t.strides.rank());
    OCELLUS_HOLDS(t.storage.empty() || (t.storage.data() >= bytes.data() &&
                                        t.storage.data() + t.storage.size() <= bytes.data() + bytes.size()));
    touch(t.name);
    touch(t.storage);
    const std::uint64_t count = t.dims.count().value();
    OCELLUS_HOLDS(count <= torch_file::max_elements);
    for (std::uint64_t i = 0; i < std::min(count, most_elements); ++i) {
      touch_element(t, i);
      touch_element(t, count - 1 - i);
    }
    const bool intact = file.verify(t.storage_index).has_value();
    OCELLUS_HOLDS(file.verify(t.storage_index).has_value() == intact);
    before = &t;
  }
}

void use_archive(std::span<const std::byte> bytes) {
  limited_memory memory(kib(4) + 16 * bytes.size());
  const auto archive = zip_archive::open(bytes, memory.hooks());
  if (!archive) return;
  for (const zip_entry& entry : archive->entries()) {
    touch(entry.name);
    touch(entry.bytes);
    static_cast<void>(zip_archive::verify(entry));
    OCELLUS_HOLDS(archive->find(entry.name.substr(archive->folder().size() + 1)) == &entry);
  }
}

bool use_checkpoint(std::span<const std::byte> bytes) {
  limited_memory memory(kib(64) + 64 * bytes.size());
  auto file = torch_file::open(bytes, memory.hooks());
  if (!file) return false;
  OCELLUS_HOLDS(torch_file::is_torch_file(bytes));
  use(*file, bytes);
  return true;
}

bool use_pickle(std::span<const std::byte> bytes) {
  limited_memory memory(kib(64) + 64 * bytes.size());
  const auto parsed = pickle::parse(bytes, memory.hooks());
  if (!parsed) return false;
  std::size_t members = 0;
  const auto each = [&](const pickle::member& m) noexcept -> result<void> {
    touch(parsed->string(m.key));
    if (m.value.kind == pickle_kind::tensor) {
      const pickle_tensor& t = parsed->tensor(m.value);
      OCELLUS_HOLDS(t.dims.rank() == t.strides.rank() && t.storage < parsed->storages().size());
    }
    if (m.key.kind == pickle_kind::string) {
      OCELLUS_HOLDS(parsed->find(parsed->root(), parsed->string(m.key)).has_value());
    }
    ++members;
    return {};
  };
  OCELLUS_HOLDS(parsed->for_members(parsed->root(), each));
  OCELLUS_HOLDS(members <= bytes.size());
  for (const pickle_storage& s : parsed->storages()) touch(s.key);
  return true;
}

/// The storages of archives that are made here: bytes of any type.
const std::vector<std::string> storages = {std::string(48, 's'), std::string(96, 't'), ""};

bool use_program(const std::string& program) {
  const ocellus_tests::exact_bytes file(ocellus_tests::make_torch_file(program, storages));
  return use_checkpoint(file.span());
}

/// Up to four tensors of the fuzzer's sizes, strides and offsets: mostly small numbers, of which some fit.
std::string program_from(input in) {
  using namespace ocellus_tests;
  const auto number = [&]() -> std::int64_t {
    const std::uint32_t b = in.byte();
    if (b < 0xf0) return b % 16;
    const std::uint64_t high = in.number(4);
    return static_cast<std::int64_t>(high << 32 | in.number(4));
  };
  struct type {
    const char* name;
    std::size_t bytes;
  };
  constexpr type types[] = {
      {"FloatStorage", 4}, {"HalfStorage", 2}, {"DoubleStorage", 8}, {"ByteStorage", 1}, {"BoolStorage", 1}};
  std::vector<std::pair<std::string, std::string>> members;
  while (!in.rest().empty() && members.size() < 4) {
    const std::size_t storage = in.byte() % storages.size();
    const type& of = types[in.byte() % std::size(types)];
    const std::int64_t count =
        in.byte() % 8 == 7 ? number() : static_cast<std::int64_t>(storages[storage].size() / of.bytes);
    const std::int64_t offset = number();
    std::vector<std::int64_t> dims, strides;
    for (std::uint32_t rank = in.byte() % 10; rank != 0; --rank)
      dims.push_back(number()), strides.push_back(number());
    members.emplace_back(
        std::string(1, static_cast<char>('a' + members.size())),
        py_tensor(py_storage(std::to_string(storage), count, of.name), offset, dims, strides));
  }
  return py_program(py_dict(members));
}

}  // namespace

bool run(std::span<const std::byte> bytes) {
  use_archive(bytes);
  bool accepted = use_checkpoint(bytes);
  if (use_pickle(bytes)) accepted = use_program(std::string(chars(bytes))) || accepted;
  accepted = use_program(program_from(input(bytes))) || accepted;
  return accepted;
}

}  // namespace ocellus_fuzz
