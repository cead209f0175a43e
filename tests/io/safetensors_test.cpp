// The safetensors reader: what it gives out, and that nothing malformed gets by.
#include "ocellus/io/safetensors.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ocellus/io/file.hpp"
#include "support/counting_memory.hpp"
#include "support/skip.hpp"
#include "support/temporary_folder.hpp"

using namespace ocellus;

namespace {

std::string file_of(const std::string& header, const std::string& data) {
  std::string all;
  for (unsigned i = 0; i < 8; ++i) all += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return all + header + data;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// Three tensors in another order than their bytes, one of them empty, the floats off by one byte.
const std::string example = file_of(
    R"({"b":{"dtype":"F32","shape":[2,3],"data_offsets":[1,25]},"__metadata__":{"z":"last","a":"caf\u00e9"},)"
    R"("a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"e":{"dtype":"F16","shape":[0,7],"data_offsets":[25,25]}})",
    "\x07" + []() {
      const float numbers[] = {1.5f, -2, 3, 4, 5, 6};
      return std::string(reinterpret_cast<const char*>(numbers), sizeof(numbers));
    }());

std::string verdict(const std::string& bytes) {
  const auto exact = std::make_unique<std::byte[]>(bytes.size());  // a sanitizer sees a read beyond its end
  std::memcpy(exact.get(), bytes.data(), bytes.size());
  const auto made = safetensors::parse({exact.get(), bytes.size()});
  if (!made) return std::string(name_of(made.error().code()));
  // What is given out must be true: end to end, of the size that type and shape ask for.
  const std::byte* at = exact.get() + made->data_offset();
  for (const tensor_info& tensor : made->tensors()) {
    if (tensor.bytes.data() != at || tensor.bytes.size() * 8 != tensor.count() * bits_of(tensor.type))
      return "wrong";
    if (made->find(tensor.name) != &tensor) return "wrong";
    at += tensor.bytes.size();
  }
  return at == exact.get() + bytes.size() ? "ok" : "wrong";
}

}  // namespace

TEST_CASE("safetensors: tensors and metadata are found") {
  const auto made = safetensors::parse(bytes_of(example));
  REQUIRE(made);
  REQUIRE(made->tensors().size() == 3);
  CHECK(made->tensors()[0].name == "a");
  CHECK(made->tensors()[1].name == "b");
  CHECK(made->tensors()[2].name == "e");

  const tensor_info* b = made->find("b");
  REQUIRE(b != nullptr);
  CHECK(b->type == dtype::f32);
  CHECK(b->dims == shape{2, 3});
  CHECK(b->count() == 6);
  CHECK(b->bytes.data() == bytes_of(example).data() + made->data_offset() + 1);
  CHECK(b->load<float>(1) == -2);
  float numbers[6];
  CHECK(b->copy_to(std::span<float>(numbers)));
  CHECK(numbers[0] == 1.5f);
  CHECK(numbers[5] == 6);
  const auto few = b->copy_to(std::span<float>(numbers, 5));
  REQUIRE(!few);
  CHECK(few.error().code() == error_code::size_mismatch);
  std::int32_t integers[6];
  const auto wrong = b->copy_to(std::span<std::int32_t>(integers));
  REQUIRE(!wrong);
  CHECK(wrong.error().code() == error_code::dtype_unknown);
  CHECK(std::string(wrong.error().message()) == "tensor \"b\" holds F32, not I32");

  CHECK(made->find("e")->count() == 0);
  CHECK(made->find("e")->dims == shape{0, 7});
  CHECK(made->find("a")->dims.rank() == 0);
  CHECK(made->find("a")->load<std::uint8_t>(0) == 7);
  CHECK(made->find("c") == nullptr);
  CHECK(made->find("__metadata__") == nullptr);
  CHECK(made->at("b"));
  const auto missing = made->at("c\n");
  REQUIRE(!missing);
  CHECK(missing.error().code() == error_code::field_missing);
  CHECK(std::string(missing.error().message()) == "there is no tensor \"c\\x0a\"");

  CHECK(made->metadata().size() == 2);
  CHECK(made->metadata("a") == "caf\xc3\xa9");
  CHECK(made->metadata("z") == "last");
  CHECK(!made->metadata("b"));
}

TEST_CASE("safetensors: names outlive a move and the header's bytes in the file") {
  std::string file = example;
  auto first = safetensors::parse(bytes_of(file));
  REQUIRE(first);
  std::fill(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(first->data_offset()), 'x');
  const safetensors second = std::move(*first);
  REQUIRE(second.find("b") != nullptr);
  CHECK(second.find("b")->load<float>(0) == 1.5f);
  CHECK(second.metadata("z") == "last");
}

TEST_CASE("safetensors: any address will do") {
  for (std::size_t shift = 0; shift < 9; ++shift) {
    const auto block = std::make_unique<std::byte[]>(example.size() + shift);
    std::memcpy(block.get() + shift, example.data(), example.size());
    const auto made = safetensors::parse({block.get() + shift, example.size()});
    REQUIRE(made);
    float numbers[6];
    CHECK(made->find("b")->copy_to(std::span<float>(numbers)));
    CHECK(numbers[5] == 6);
  }
}

TEST_CASE("safetensors: every cut of a file is refused") {
  CHECK(verdict(example) == "ok");
  for (std::size_t size = 0; size < example.size(); ++size) {
    CAPTURE(size);
    CHECK(verdict(example.substr(0, size)) != "ok");
    CHECK(verdict(example.substr(0, size)) != "wrong");
  }
}

TEST_CASE("safetensors: changed bytes give an error or a file that is true") {
  std::mt19937 random(1);
  const std::string bytes = "0123456789{}[],:\"\\ \x80u";
  int refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string changed = example;
    for (int n = 0; n < 1 + i % 3; ++n)
      changed[random() % (example.size() - 25)] = bytes[random() % bytes.size()];
    const std::string outcome = verdict(changed);
    if (outcome == "wrong") FAIL(changed);
    if (outcome != "ok") ++refused;
  }
  CHECK(refused > 10'000);
}

TEST_CASE("safetensors: limits hold exactly") {
  const auto named = [](const std::string& name) {
    return file_of("{\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", "");
  };
  CHECK(verdict(named(std::string(safetensors::max_name_bytes, 'n'))) == "ok");
  CHECK(verdict(named(std::string(safetensors::max_name_bytes + 1, 'n'))) == "limit_name");
  const auto many = [](std::size_t count) {
    std::string header = "{";
    for (std::size_t i = 0; i < count; ++i) {
      header += (i == 0 ? "\"" : ",\"") + std::to_string(i) +
                R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    }
    return file_of(header + "}", "");
  };
  CHECK(verdict(many(safetensors::max_tensors)) == "ok");
  CHECK(verdict(many(safetensors::max_tensors + 1)) == "limit_tensors");
  const auto pairs = [](std::size_t count) {
    std::string header = R"({"__metadata__":{)";
    for (std::size_t i = 0; i < count; ++i) header += (i == 0 ? "\"" : ",\"") + std::to_string(i) + R"(":"")";
    return file_of(header + "}}", "");
  };
  CHECK(verdict(pairs(safetensors::max_metadata)) == "ok");
  CHECK(verdict(pairs(safetensors::max_metadata + 1)) == "metadata");
  CHECK(verdict(file_of(R"({"t":[[[[[[[]]]]]]]})", "")) == "field_type");  // eight deep
  CHECK(verdict(file_of(R"({"t":[[[[[[[[]]]]]]]]})", "")) == "json_depth");
}

TEST_CASE("safetensors: memory is bounded by the header, even where the table is full") {
  std::string header = R"({"__metadata__":{)";
  for (std::size_t i = 0; i < safetensors::max_metadata; ++i)
    header += (i == 0 ? "\"" : ",\"") + std::to_string(i) + R"(":"")";
  header += "}";
  for (std::size_t i = 0; i < safetensors::max_tensors; ++i) {
    header += ",\"" + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  const std::string file = file_of(header + "}", "");
  ocellus_tests::counting_memory memory;
  {
    const auto made = safetensors::parse(bytes_of(file), memory.hooks());
    CHECK(made);
    MESSAGE("file ", file.size(), " bytes, peak ", memory.peak(), " bytes");
    CHECK(memory.peak() <= file.size() + (std::size_t{32} << 20));
  }
  CHECK(memory.live() == 0);
}

TEST_CASE("safetensors: tensors beyond 4 GiB are where they are") {
  const ocellus_tests::temporary_folder folder;
  const std::string path = folder / "large.safetensors";
  constexpr std::uint64_t large = 5'000'000'000;
  const std::string header = R"({"a":{"dtype":"U8","shape":[5000000000],"data_offsets":[0,5000000000]},)"
                             R"("b":{"dtype":"U8","shape":[3],"data_offsets":[5000000000,5000000003]}})";
  ocellus_tests::write_text(path, file_of(header, ""));
  std::error_code failed;
  std::filesystem::resize_file(path, 8 + header.size() + large, failed);  // a hole
  if (failed) OCELLUS_SKIP("the file system has no sparse files");
  std::ofstream(path, std::ios::binary | std::ios::app) << "xyz";
  const auto made = byte_source::open(path, {}, {load_mode::map});
  if (!made) OCELLUS_SKIP("no room to map 5 GB");
  const auto file = safetensors::parse(made->bytes());
  REQUIRE(file);
  CHECK(file->at("a")->bytes.size() == large);
  CHECK(file->at("a")->load<char>(large - 1) == '\0');
  CHECK(file->at("b")->load<char>(0) == 'x');
  CHECK(file->at("b")->load<char>(2) == 'z');
}

TEST_CASE("safetensors: files of other formats are named in the message") {
  const auto message = [](std::string bytes) {
    bytes.resize(64, 'a');
    const auto made = safetensors::parse(bytes_of(bytes));
    return made ? std::string() : std::string(made.error().message());
  };
  CHECK(message("PK\x03\x04").find("zip archive") != std::string::npos);
  CHECK(message("\x1f\x8b").find("gzip") != std::string::npos);
  CHECK(message("version https://git-lfs").find("git-lfs") != std::string::npos);
  CHECK(message("GGUF").find("GGUF") != std::string::npos);
  CHECK(message("<!DOCTYPE html>").find("web page") != std::string::npos);
  CHECK(message("\x80\x02").find("pickle") != std::string::npos);
}

TEST_CASE("safetensors: every allocation may fail") {
  ocellus_tests::fail_every_allocation(
      [](const memory_hooks& memory) { return safetensors::parse(bytes_of(example), memory); });
}
