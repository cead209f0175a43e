// torch_file: the tensors of a checkpoint and the proof that they lie in their storages.
#include "ocellus/io/torch_file.hpp"

#include <doctest/doctest.h>

#include "support/counting_memory.hpp"
#include "support/torch_archive.hpp"

using namespace ocellus;
using namespace ocellus_tests;

namespace {

const std::string twelve = floats({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});

std::string verdict(const std::string& content) {
  const exact_bytes bytes(content);
  auto file = torch_file::open(bytes.span());
  if (!file) return std::string(name_of(file.error().code()));
  for (const torch_tensor& t : file->tensors()) {
    if (auto right = file->verify(t.storage_index); !right) return std::string(name_of(right.error().code()));
  }
  return "ok";
}
std::string verdict_of_program(const std::string& body, const std::vector<std::string>& storages = {twelve}) {
  return verdict(make_torch_file(py_program(body), storages));
}
std::string verdict_of_tensor(const std::string& tensor) {
  return verdict_of_program(py_dict({{"w", tensor}}));
}
std::string whole(std::int64_t offset, const std::vector<std::int64_t>& dims,
                  const std::vector<std::int64_t>& strides) {
  return py_tensor(py_storage("0", 12), offset, dims, strides);
}

}  // namespace

TEST_CASE("torch_file: tensors have their names, shapes, strides and bytes") {
  const std::string program =
      py_program(py_dict({{"b", whole(5, {2, 2}, {4, 1})}, {"a", whole(0, {4, 3}, {1, 4})}}));
  const exact_bytes bytes(make_torch_file(program, {twelve}));
  auto file = torch_file::open(bytes.span());
  REQUIRE(file);
  REQUIRE(file->tensors().size() == 2);
  const torch_tensor* a = file->find("a");
  const torch_tensor* b = file->find("b");
  REQUIRE(a != nullptr);
  REQUIRE(b != nullptr);
  CHECK(file->find("c") == nullptr);
  CHECK(a->type == dtype::f32);
  CHECK(a->dims == shape{4, 3});
  CHECK(a->strides == shape{1, 4});
  CHECK(b->offset == 5);
  CHECK(b->storage_index == a->storage_index);
  REQUIRE(b->storage.size() == 48);
  float value = 0;
  std::memcpy(&value, b->storage.data() + 4 * (b->offset + 1 * 4 + 1), 4);
  CHECK(value == 10);
  CHECK(file->verify(b->storage_index));
}

TEST_CASE("torch_file: the dictionary under model or state_dict is taken, all else is left alone") {
  const std::string weights = py_dict({{"w", whole(0, {12}, {1})}});
  const std::string optimizer =
      "}" + py_int(0) + py_dict({{"step", py_int(7)}, {"lr", "G" + std::string(8, '\1')}}) + "s";
  for (const char* wrapper : {"model", "state_dict"}) {
    const std::string root = py_dict({{"epoch", py_int(3)},
                                      {wrapper, weights},
                                      {"optimizer", optimizer},
                                      {"none", "N"},
                                      {"list", "](" + py_int(1) + py_int(2) + "e"}});
    const exact_bytes bytes(make_torch_file(py_program(root), {twelve}));
    const auto file = torch_file::open(bytes.span());
    REQUIRE(file);
    REQUIRE(file->tensors().size() == 1);
    CHECK(file->tensors()[0].name == "w");
  }
  // A tensor that is called so is no wrapper.
  CHECK(verdict_of_program(py_dict({{"model", whole(0, {12}, {1})}})) == "ok");
  // An ordered state dict with its version table as an attribute.
  const std::string ordered = py_no_hooks + "(" + py_string("w") + whole(0, {12}, {1}) + "u" +
                              py_dict({{"_metadata", py_no_hooks}}) + "b";
  CHECK(verdict_of_program(ordered) == "ok");
}

TEST_CASE("torch_file: a view is proven to lie in its storage") {
  CHECK(verdict_of_tensor(whole(3, {}, {})) == "ok");
  CHECK(verdict_of_tensor(whole(12, {}, {})) == "view_range");
  CHECK(verdict_of_tensor(whole(0, {12}, {1})) == "ok");
  CHECK(verdict_of_tensor(whole(1, {12}, {1})) == "view_range");
  CHECK(verdict_of_tensor(whole(0, {13}, {1})) == "view_range");
  CHECK(verdict_of_tensor(whole(1, {12}, {0})) == "ok");
  CHECK(verdict_of_tensor(whole(99, {0, 5}, {5, 1})) == "ok");  // no element, no place
  CHECK(verdict_of_tensor(whole(0, {11, 2}, {1, 1})) == "ok");
  CHECK(verdict_of_tensor(whole(0, {12, 2}, {1, 1})) == "view_range");
  const std::int64_t huge = std::int64_t{1} << 62;
  CHECK(verdict_of_tensor(whole(huge, {3}, {1})) == "overflow");
  CHECK(verdict_of_tensor(whole(0, {2, 2}, {huge, 1})) == "overflow");
  CHECK(verdict_of_tensor(whole(0, {5}, {huge})) == "overflow");
  CHECK(verdict_of_tensor(whole(0, {huge, huge}, {0, 0})) == "overflow");
  CHECK(verdict_of_tensor(whole(0, {std::int64_t{1} << 40}, {0})) == "limit_elements");
  CHECK(verdict_of_tensor(whole(-1, {3}, {1})) == "negative");
  CHECK(verdict_of_tensor(whole(0, {-3}, {1})) == "negative");
  CHECK(verdict_of_tensor(whole(11, {3}, {-1})) == "negative");
  CHECK(verdict_of_tensor(whole(0, {3, 4}, {1})) == "rank_mismatch");
  CHECK(verdict_of_tensor(whole(0, std::vector<std::int64_t>(9, 1), std::vector<std::int64_t>(9, 1))) ==
        "rank");
}

TEST_CASE("torch_file: storages have the size, type and name that is said of them") {
  const auto with = [](const std::string& storage) {
    return verdict_of_tensor(py_tensor(storage, 0, {2}, {1}));
  };
  CHECK(with(py_storage("0", 12)) == "ok");
  CHECK(with(py_storage("0", 24, "HalfStorage")) == "ok");
  CHECK(with(py_storage("0", 24, "BFloat16Storage")) == "ok");
  CHECK(with(py_storage("0", 6, "DoubleStorage")) == "ok");
  CHECK(with(py_storage("0", 48, "BoolStorage")) == "ok");
  CHECK(with(py_storage("0", 12, "DoubleStorage")) == "storage_size");
  CHECK(with(py_storage("0", 11)) == "storage_size");
  CHECK(with(py_storage("0", std::int64_t{1} << 62)) == "storage_size");
  CHECK(with(py_storage("0", -1)) == "negative");
  CHECK(with(py_storage("1", 12)) == "zip_missing");
  CHECK(with(py_storage("00", 12)) == "zip_missing");
  CHECK(with(py_storage("", 12)) == "storage_key");
  CHECK(with(py_storage("../data.pkl", 12)) == "storage_key");
  CHECK(with(py_storage("0", 12, "QUInt8Storage")) == "storage_type");
  CHECK(with(py_storage("0", 12, "system", "os")) == "pickle_global");
  CHECK(with(py_storage("0", 12, "float32")) == "persistent_id");
  const auto two = [](const std::string& other) {
    return verdict_of_program(py_dict({{"a", whole(0, {12}, {1})}, {"b", py_tensor(other, 0, {2}, {1})}}));
  };
  CHECK(two(py_storage("0", 12)) == "ok");
  CHECK(two(py_storage("0", 4)) == "storage_conflict");
  CHECK(two(py_storage("0", 12, "IntStorage")) == "storage_conflict");
}

TEST_CASE("torch_file: untyped storages take the type of the tensor") {
  const auto tensor = [](const std::string& type) {
    return py_global("torch._utils", "_rebuild_tensor_v3") +
           py_tuple({py_storage("0", 48, "UntypedStorage", "torch.storage"), py_int(0), py_ints({3, 4}),
                     py_ints({4, 1}), "\x89", py_no_hooks, py_global("torch", type)}) +
           "R";
  };
  CHECK(verdict_of_tensor(tensor("float32")) == "ok");
  CHECK(verdict_of_tensor(tensor("int64")) == "view_range");
  CHECK(verdict_of_tensor(tensor("FloatStorage")) == "pickle_type");
}

TEST_CASE("torch_file: the state dict holds tensors under proper names, each once") {
  const std::string t = whole(0, {12}, {1});
  CHECK(verdict_of_program(py_int(1)) == "no_state_dict");
  CHECK(verdict_of_program(t) == "no_state_dict");
  CHECK(verdict_of_program("}") == "no_state_dict");
  CHECK(verdict_of_program(py_dict({{"w", py_int(3)}})) == "no_state_dict");
  CHECK(verdict_of_program(py_dict({{"w", t}, {"v", py_dict({{"x", t}})}})) == "no_state_dict");
  CHECK(verdict_of_program(py_dict({{"w", t}, {"w", t}})) == "duplicate_key");
  CHECK(verdict_of_program(py_dict({{"", t}})) == "tensor_key");
  CHECK(verdict_of_program(py_dict({{std::string("a\0b", 3), t}})) == "tensor_key");
  CHECK(verdict_of_program(py_dict({{std::string(5000, 'a'), t}})) == "tensor_key");
  CHECK(verdict_of_program("}" + py_int(1) + t + "s") == "tensor_key");
}

TEST_CASE("torch_file: what is no checkpoint of today's PyTorch is named") {
  const std::string program = py_program(py_dict({{"w", whole(0, {12}, {1})}}));
  auto members = torch_members(program, {twelve});
  const auto edited = [&](std::size_t i, const std::string& name, const std::string& data) {
    auto copy = members;
    copy[i] = {name, data};
    return verdict(make_zip(copy));
  };
  CHECK(verdict(make_zip(members)) == "ok");
  CHECK(edited(0, "archive/program", program) == "no_data_pkl");
  CHECK(edited(1, "archive/byteorder", "big") == "byte_order");
  CHECK(edited(1, "archive/other", "big") == "ok");
  CHECK(edited(1, "archive/constants.pkl", "") == "torchscript");
  CHECK(edited(3, "archive/version", "9999\n") == "torch_version");
  CHECK(edited(3, "archive/version", "") == "torch_version");
  CHECK(edited(3, "archive/no_version", "3\n") == "zip_missing");
  auto corrupt = members;
  corrupt[2].crc ^= 1;
  CHECK(verdict(make_zip(corrupt)) == "zip_crc");
  corrupt = members;
  corrupt[0].crc ^= 1;
  CHECK(verdict(make_zip(corrupt)) == "zip_crc");
  std::string tar(512, '\0');
  tar.replace(257, 5, "ustar");
  CHECK(verdict(tar) == "legacy_tar");
  const std::string legacy("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  CHECK(verdict(legacy) == "legacy_pickle");
  CHECK(verdict("GGUF") == "zip_end");
  CHECK(torch_file::is_torch_file(exact_bytes(legacy).span()));
  CHECK(torch_file::is_torch_file(exact_bytes(make_zip(members)).span()));
  CHECK_FALSE(torch_file::is_torch_file(exact_bytes("GGUF").span()));
  CHECK_FALSE(torch_file::is_torch_file({}));
}

TEST_CASE("torch_file: out of memory is an error, and nothing leaks") {
  const exact_bytes bytes(
      make_checkpoint({{"a", {2, 2}, {1, 2, 3, 4}}, {"b", {1}, {5}}, {"c", {1}, {6}}}, true));
  fail_every_allocation([&](const memory_hooks& memory) { return torch_file::open(bytes.span(), memory); });
}
