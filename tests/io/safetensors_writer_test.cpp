// The safetensors writer, read back by our reader.
#include "ocellus/io/safetensors_writer.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "support/counting_memory.hpp"
#include "support/temporary_folder.hpp"

using namespace ocellus;

namespace {

// Collects what is written; refuses from the `room`-th byte on.
struct collector {
  std::string bytes;
  std::size_t room = SIZE_MAX;

  byte_sink sink() {
    return {this, [](void* context, std::span<const std::byte> more) noexcept -> result<void> {
              auto& self = *static_cast<collector*>(context);
              if (self.bytes.size() + more.size() > self.room) return error(error_code::write_failed, "full");
              self.bytes.append(reinterpret_cast<const char*>(more.data()), more.size());
              return {};
            }};
  }
};

std::string verdict(const result<void>& outcome) {
  return outcome ? "ok" : std::string(name_of(outcome.error().code()));
}

}  // namespace

TEST_CASE("safetensors_writer: what is written is read, in its order and aligned") {
  const std::vector<float> numbers = {1, 2, 3, 4, 5, 6};
  const std::vector<std::uint8_t> small_ones = {7, 8, 9};
  for (std::size_t pad = 0; pad < 130; ++pad) {  // headers of every length modulo 64
    collector out;
    safetensors_writer writer;
    REQUIRE(writer.add_metadata("pad", std::string(pad, 'x')));
    REQUIRE(writer.add_metadata("text \"\n", "caf\xc3\xa9"));
    REQUIRE(writer.add("z.weight", dtype::f32, {2, 3}));
    REQUIRE(writer.add("empty", dtype::f16, {0, 4}));
    REQUIRE(writer.add("a", dtype::u8, {3}));
    REQUIRE(writer.add("scalar", dtype::f32, {}));
    REQUIRE(writer.add("nothing", dtype::f32, {0}));
    CHECK(writer.tensors() == 5);
    CHECK(writer.data_bytes() == 31);
    REQUIRE(writer.begin(out.sink()));
    REQUIRE(writer.write_elements(std::span<const float>(numbers).first(1)));  // in pieces
    REQUIRE(writer.write({}));
    REQUIRE(writer.write_elements(std::span<const float>(numbers).subspan(1)));
    REQUIRE(writer.write_elements(std::span<const std::uint8_t>(small_ones)));
    REQUIRE(writer.write_elements(std::span<const float>(numbers).first(1)));
    REQUIRE(writer.finish());

    const auto made = safetensors::parse(std::as_bytes(std::span(out.bytes)));
    REQUIRE(made);
    CHECK(made->data_offset() % 64 == 0);
    CHECK(made->metadata("pad")->size() == pad);
    CHECK(made->metadata("text \"\n") == "caf\xc3\xa9");
    REQUIRE(made->tensors().size() == 5);
    CHECK(made->tensors()[0].name == "z.weight");
    CHECK(made->tensors()[0].dims == shape{2, 3});
    CHECK(made->find("z.weight")->load<float>(5) == 6);
    CHECK(made->find("a")->load<std::uint8_t>(2) == 9);
    CHECK(made->find("scalar")->load<float>(0) == 1);
    CHECK(made->find("empty")->dims == shape{0, 4});
  }
}

TEST_CASE("safetensors_writer: no tensors at all is a file too") {
  collector out;
  safetensors_writer writer;
  REQUIRE(writer.begin(out.sink()));
  REQUIRE(writer.finish());
  CHECK(out.bytes.size() == 64);
  CHECK(safetensors::parse(std::as_bytes(std::span(out.bytes))));
}

TEST_CASE("safetensors_writer: names, shapes and steps are checked") {
  safetensors_writer writer;
  const std::byte bytes[8] = {};
  CHECK(verdict(writer.write(bytes)) == "invalid_argument");
  CHECK(verdict(writer.finish()) == "invalid_argument");
  CHECK(verdict(writer.add("__metadata__", dtype::f32, {1})) == "bad_name");
  CHECK(verdict(writer.add(std::string_view("a\0b", 3), dtype::f32, {1})) == "bad_name");
  CHECK(verdict(writer.add("\xff", dtype::f32, {1})) == "utf8");
  CHECK(verdict(writer.add(std::string(safetensors::max_name_bytes + 1, 'n'), dtype::f32, {1})) ==
        "limit_name");
  CHECK(verdict(writer.add("a", dtype::f32, {UINT64_MAX, 2})) == "overflow");
  CHECK(verdict(writer.add("a", dtype::f32, {0, UINT64_MAX, 2})) == "overflow");
  CHECK(verdict(writer.add("a", dtype::f4, {3})) == "subbyte");
  CHECK(verdict(writer.add_metadata("k", "\xc3")) == "utf8");
  CHECK(verdict(writer.add("a", dtype::f32, {1})) == "ok");
  collector out;
  CHECK(verdict(writer.begin({})) == "invalid_argument");
  CHECK(verdict(writer.begin(out.sink())) == "ok");
  CHECK(verdict(writer.begin(out.sink())) == "invalid_argument");
  CHECK(verdict(writer.add("b", dtype::f32, {1})) == "invalid_argument");
  CHECK(verdict(writer.add_metadata("k", "v")) == "invalid_argument");
  CHECK(verdict(writer.finish()) == "size_mismatch");
  CHECK(verdict(writer.write(bytes)) == "size_mismatch");  // 8 bytes for 4
  CHECK(verdict(writer.write(std::span(bytes).first(3))) == "ok");
  CHECK(verdict(writer.finish()) == "size_mismatch");
  CHECK(verdict(writer.write(std::span(bytes).first(1))) == "ok");
  CHECK(verdict(writer.finish()) == "ok");
  CHECK(verdict(writer.write(std::span(bytes).first(1))) == "size_mismatch");
  CHECK(safetensors::parse(std::as_bytes(std::span(out.bytes))));
}

TEST_CASE("safetensors_writer: nothing may be added twice") {
  collector out;
  safetensors_writer tensors;
  REQUIRE(tensors.add("a", dtype::f32, {1}));
  REQUIRE(tensors.add("b", dtype::f32, {1}));
  REQUIRE(tensors.add("a", dtype::u8, {2}));
  CHECK(verdict(tensors.begin(out.sink())) == "duplicate_key");
  safetensors_writer metadata;
  REQUIRE(metadata.add_metadata("k", "1"));
  REQUIRE(metadata.add_metadata("k", "2"));
  CHECK(verdict(metadata.begin(out.sink())) == "duplicate_key");
  CHECK(out.bytes.empty());
}

TEST_CASE("safetensors_writer: what the sink refuses is told") {
  const float numbers[4] = {};
  for (std::size_t room : {std::size_t{0}, std::size_t{100}}) {
    collector out;
    out.room = room;
    safetensors_writer writer;
    REQUIRE(writer.add("a", dtype::f32, {4}));
    const auto begun = writer.begin(out.sink());
    if (room == 0) {
      CHECK(verdict(begun) == "write_failed");
    } else {
      out.room = out.bytes.size() + 8;
      CHECK(verdict(writer.write_elements(std::span<const float>(numbers))) == "write_failed");
      CHECK(verdict(writer.finish()) == "size_mismatch");
    }
  }
}

TEST_CASE("safetensors_writer: to a file, whole or not at all") {
  const ocellus_tests::temporary_folder folder;
  const std::string path = folder / "model.safetensors";
  auto file = output_file::create(path);
  REQUIRE(file);
  safetensors_writer writer;
  REQUIRE(writer.add("a", dtype::i64, {2}));
  REQUIRE(writer.begin(file->sink()));
  const std::int64_t numbers[2] = {-1, 2};
  REQUIRE(writer.write_elements(std::span<const std::int64_t>(numbers)));
  REQUIRE(writer.finish());
  CHECK(ocellus_tests::read_text(path).empty());
  REQUIRE(file->commit());
  const auto source = byte_source::open(path);
  REQUIRE(source);
  const auto made = safetensors::parse(source->bytes());
  REQUIRE(made);
  CHECK(made->find("a")->load<std::int64_t>(0) == -1);
  CHECK(reinterpret_cast<std::uintptr_t>(made->find("a")->bytes.data()) % 64 == 0);
}

TEST_CASE("safetensors_writer: every allocation may fail") {
  ocellus_tests::fail_every_allocation([](const memory_hooks& memory) -> result<void> {
    collector out;
    safetensors_writer writer(memory);
    for (int i = 0; i < 20; ++i) {
      OCELLUS_TRY(writer.add_metadata("key " + std::to_string(i), "value"));
      OCELLUS_TRY(writer.add("tensor " + std::to_string(i), dtype::f32, {0}));
    }
    OCELLUS_TRY(writer.begin(out.sink()));
    return writer.finish();
  });
}
