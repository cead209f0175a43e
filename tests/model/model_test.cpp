// Opening a model file: what is right opens, whatever is not is an error that names the tensor or the field.
#include "ocellus/model/model.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "support/counting_memory.hpp"
#include "support/session_fixture.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace ocellus;
using namespace ocellus_tests;

struct tensor_copy {
  std::string name;
  dtype type;
  shape dims;
  std::vector<std::byte> bytes;
};

/// A model file taken apart, to be changed and put together again.
struct parts {
  std::vector<tensor_copy> tensors;
  std::map<std::string, std::string> metadata;

  explicit parts(const std::vector<std::byte>& file) {
    const auto contents = safetensors::parse(file);
    REQUIRE(contents);
    for (const tensor_info& t : contents->tensors()) {
      tensors.push_back({std::string(t.name), t.type, t.dims, {t.bytes.begin(), t.bytes.end()}});
    }
    for (const auto& pair : contents->metadata()) metadata[std::string(pair.key)] = pair.value;
  }
  tensor_copy& at(std::string_view name) {
    for (tensor_copy& t : tensors) {
      if (t.name == name) return t;
    }
    FAIL("no tensor ", name);
    return tensors[0];
  }
  [[nodiscard]] std::vector<std::byte> join() const {
    safetensors_writer writer;
    for (const auto& [key, value] : metadata) REQUIRE(writer.add_metadata(key, value));
    for (const tensor_copy& t : tensors) REQUIRE(writer.add(t.name, t.type, t.dims));
    std::vector<std::byte> file;
    REQUIRE(writer.begin(append_to(file)));
    for (const tensor_copy& t : tensors) REQUIRE(writer.write(t.bytes));
    REQUIRE(writer.finish());
    return file;
  }
};

/// The error of a tiny model after a change.
error error_after(const std::function<void(parts&)>& change, const tiny_options& options = {}) {
  parts p(tiny_model_file(options));
  change(p);
  const auto file = p.join();
  const auto opened = model::open(file);
  REQUIRE_FALSE(opened);
  return opened.error();
}

void replace(std::string& text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
}

bool names(const error& e, std::string_view what) { return e.message().find(what) != std::string_view::npos; }

}  // namespace

TEST_CASE("model: a file opens from a path, from memory and from a host's reader, with the same contents") {
  const auto file = tiny_model_file();
  const temporary_folder folder;
  const std::string path = folder / "model.safetensors";
  write_text(path, {reinterpret_cast<const char*>(file.data()), file.size()});
  const file_reader reader{const_cast<std::byte*>(file.data()), file.size(),
                           [](void* from, std::uint64_t offset, void* to, std::size_t bytes) {
                             std::memcpy(to, static_cast<const std::byte*>(from) + offset, bytes);
                             return true;
                           }};
  for (const auto& opened : {model::open(path), model::open(file), model::open(reader)}) {
    REQUIRE(opened);
    CHECK(opened->config().vit.width == 88);
    CHECK(opened->weights().phi.layers.size() == 2);
    CHECK(opened->default_template() == "micro");
    REQUIRE(opened->stops().size() == 1);
    CHECK(opened->stops()[0] == "###");
    REQUIRE(opened->tokenizer() != nullptr);
    CHECK(opened->file_bytes() == file.size());
  }
}

TEST_CASE("model: handles are copies of one thing, which lives as long as any of them") {
  counting_memory memory;
  host hooks;
  hooks.memory = memory.hooks();
  {
    const auto file = tiny_model_file();
    std::optional<model> kept;
    {
      auto opened = model::open(file, hooks);
      REQUIRE(opened);
      kept = *opened;
    }
    CHECK(memory.live() > 0);
    CHECK(kept->config().phi.width == 160);
    CHECK(kept->weights().phi.embedding.rows == tiny_vocabulary);
  }
  CHECK(memory.live() == 0);
}

TEST_CASE("model: several threads open one file, a thousand times one after another leaves nothing") {
  const auto file = tiny_model_file();
  const temporary_folder folder;
  const std::string path = folder / "model.safetensors";
  write_text(path, {reinterpret_cast<const char*>(file.data()), file.size()});
  std::atomic<int> fine = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 10; ++round) {
        const auto opened = model::open(path);
        if (opened && opened->weights().phi.layers.size() == 2) fine.fetch_add(1);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(fine == 40);
  counting_memory memory;
  host hooks;
  hooks.memory = memory.hooks();
  for (int round = 0; round < 1000; ++round) {
    const auto opened = model::open(path, hooks);
    if (!opened) FAIL("round ", round, ": ", std::string(opened.error().message()));
  }
  CHECK(memory.live() == 0);
}

TEST_CASE("model: matrices stay where they are in the file, at any alignment") {
  const auto file = tiny_model_file();
  std::vector<std::byte> shifted(file.size() + 1);
  std::memcpy(shifted.data() + 1, file.data(), file.size());
  const auto a = model::open(file);
  const auto b = model::open(std::span<const std::byte>(shifted).subspan(1));
  REQUIRE(a);
  REQUIRE(b);
  CHECK(a->weights().phi.head.weight.handle == file.data());
  CHECK(b->weights().phi.head.weight.handle == shifted.data() + 1);
  CHECK_FALSE((a->aligned() && b->aligned()));
}

TEST_CASE(
    "model: vectors are used in the file where they need no padding and are aligned, or copied, with the "
    "same result") {
  const auto file = tiny_model_file();
  std::vector<std::byte> memory(file.size() + 2 * 64);
  std::vector<float> logits[2];
  for (const std::size_t shift : {0u, 4u}) {
    auto* line =
        reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
    std::memcpy(line + shift, file.data(), file.size());
    const auto opened = model::open(std::span<const std::byte>(line + shift, file.size()));
    REQUIRE(opened);
    CHECK(opened->aligned() == (shift == 0));
    const model_weights& w = opened->weights();
    const auto in_file = [&](const matrix& m) { return m.handle == line + shift; };
    CHECK_FALSE(in_file(w.phi.layers[0].norm.weight));  // 160 values: a tail of zeros is missing
    int in_place = 0, vectors = 0;
    for (const qformer_layer_weights& l : w.qformer.layers) {  // 64 and 192 values
      for (const matrix* m : {&l.norm.weight, &l.norm.bias, &l.self_qkv.bias}) {
        const bool on_a_line = m->offset % 64 == 0 && shift == 0;
        CHECK((!in_file(*m) || on_a_line));
        in_place += in_file(*m);
        ++vectors;
      }
    }
    INFO(in_place, " of ", vectors);
    CHECK((in_place > 0) == (shift == 0));
    session_options few;
    few.context = 8;
    auto talk = session::open(*opened, few);
    REQUIRE(talk);
    std::vector<float> pixels(std::size_t{3} * 42 * 42, 0.25f);
    image_embedding seen;
    REQUIRE(talk->encode(pixels, seen));
    REQUIRE(talk->append(seen));
    REQUIRE(talk->step());
    logits[shift != 0].assign(talk->logits().begin(), talk->logits().end());
  }
  CHECK(same_bits(logits[0], logits[1]));
}

TEST_CASE("model: every tensor is needed, and its absence is named") {
  const parts whole(tiny_model_file());
  for (std::size_t i = 0; i < whole.tensors.size(); ++i) {
    const std::string name = whole.tensors[i].name;
    CAPTURE(name);
    const error e =
        error_after([&](parts& p) { p.tensors.erase(p.tensors.begin() + static_cast<std::ptrdiff_t>(i)); });
    CHECK(e.code() == error_code::tensor_missing);
    CHECK(names(e, name));
  }
}

TEST_CASE("model: a tensor that nothing uses is an error that names it") {
  const error e = error_after([](parts& p) {
    p.tensors.push_back({"phi.layers.2.norm.weight", dtype::f32, {0}, {}});
  });
  CHECK(e.code() == error_code::tensor_unknown);
  CHECK(names(e, "phi.layers.2.norm.weight"));
  CHECK(error_after([](parts& p) {
          p.tensors.push_back({"tokenizer.more", dtype::u8, {0}, {}});
        }).code() == error_code::tensor_unknown);
}

TEST_CASE("model: another type, another shape, a transposed or flattened one are errors that give both") {
  for (const char* name :
       {"vision.blocks.1.qkv.weight", "phi.head.bias", "qformer.queries", "phi.embedding"}) {
    CAPTURE(name);
    error e = error_after([&](parts& p) { p.at(name).type = dtype::i32; });
    CHECK(e.code() == error_code::tensor_shape);
    CHECK(names(e, name));
    CHECK(names(e, "I32"));
    CHECK(names(e, "F32"));
    e = error_after([&](parts& p) {
      tensor_copy& t = p.at(name);
      shape more{1};
      for (const std::uint64_t d : t.dims.dims()) REQUIRE(more.push_back(d));
      t.dims = more;
    });
    CHECK(e.code() == error_code::tensor_shape);
    CHECK(names(e, "[1, "));
  }
}

TEST_CASE("model: metadata that is missing or wrong is named") {
  for (const char* key :
       {"ocellus.format", "ocellus.config", "ocellus.matrices", "ocellus.template", "ocellus.stops"}) {
    CAPTURE(key);
    const error e = error_after([&](parts& p) { p.metadata.erase(key); });
    CHECK(e.code() == error_code::not_a_model);
    CHECK(names(e, key));
  }
  CHECK(error_after([](parts& p) { p.metadata["ocellus.format"] = "1"; }).code() ==
        error_code::model_version);
  CHECK(error_after([](parts& p) { p.metadata["ocellus.matrices"] = "{"; }).code() ==
        error_code::json_syntax);
  CHECK(error_after([](parts& p) { p.metadata["ocellus.stops"] = "[\"\"]"; }).code() ==
        error_code::not_a_model);
  CHECK(error_after([](parts& p) { p.metadata["ocellus.stops"] = "\"###\""; }).code() ==
        error_code::not_a_model);
  const error format =
      error_after([](parts& p) { replace(p.metadata["ocellus.matrices"], "\"f32\"", "\"q9\""); });
  CHECK(format.code() == error_code::tensor_shape);
  const error width =
      error_after([](parts& p) { replace(p.metadata["ocellus.config"], "\"width\":88", "\"width\":89"); });
  CHECK(width.code() == error_code::tensor_shape);
}

TEST_CASE("model: scales must be there, of their type and shape, and only where a format has some") {
  tiny_options q4;
  q4.format = weight_format::q4;
  for (const char* name :
       {"vision.blocks.1.qkv.weight.scales", "phi.head.weight.scales", "phi.embedding.scales"}) {
    CAPTURE(name);
    error e = error_after(
        [&](parts& p) { std::erase_if(p.tensors, [&](const tensor_copy& t) { return t.name == name; }); },
        q4);
    CHECK(e.code() == error_code::tensor_missing);
    CHECK(names(e, name));
    e = error_after([&](parts& p) { p.at(name).type = dtype::bf16; }, q4);
    CHECK(e.code() == error_code::tensor_shape);
    CHECK(names(e, name));
    e = error_after([&](parts& p) { p.at(name).dims = {p.at(name).bytes.size() / 2}; }, q4);
    CHECK(e.code() == error_code::tensor_shape);
    CHECK(names(e, name));
  }
  const error surplus = error_after([](parts& p) {
    p.tensors.push_back({"phi.head.weight.scales", dtype::f16, {0}, {}});
  });
  CHECK(surplus.code() == error_code::tensor_unknown);
  const error called_q8 = error_after(
      [](parts& p) { replace(p.metadata["ocellus.matrices"], "\"format\":\"q4\"", "\"format\":\"q8\""); },
      q4);
  CHECK(called_q8.code() == error_code::tensor_shape);
}

TEST_CASE("model: a size that the file does not fill is not believed") {
  counting_memory memory;
  host hooks;
  hooks.memory = memory.hooks();
  parts p(tiny_model_file());
  replace(p.metadata["ocellus.config"], "\"image_size\":42", "\"image_size\":448");
  const auto file = p.join();
  const auto opened = model::open(file, hooks);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code() == error_code::tensor_shape);
  CHECK(names(opened.error(), "vision.positions"));
  CHECK(memory.peak() < 4 * file.size());
}

TEST_CASE("model: a tokenizer with more ids than the embedding has rows is refused") {
  const error e = error_after([](parts& p) {
    tensor_copy& offsets = p.at("tokenizer.offsets");
    const std::uint64_t ids = tiny_vocabulary + 5;
    std::uint32_t last;
    std::memcpy(&last, offsets.bytes.data() + offsets.bytes.size() - 4, 4);
    std::vector<std::byte> longer = offsets.bytes;
    while (longer.size() < (ids + 1) * 4) {
      const auto* bytes = reinterpret_cast<const std::byte*>(&last);
      longer.insert(longer.end(), bytes, bytes + 4);
    }
    offsets.bytes = longer;
    offsets.dims = {ids + 1};
  });
  CHECK(e.code() == error_code::config_mismatch);
}

TEST_CASE("model: a file cut short anywhere is refused") {
  const auto file = tiny_model_file();
  for (std::size_t size = 0; size < file.size(); size += size < 400 ? 1 : 4099) {
    CAPTURE(size);
    const std::vector<std::byte> exact(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_FALSE(model::open(exact));
  }
}

TEST_CASE("model: opening survives any failing allocation") {
  const auto file = tiny_model_file();
  fail_every_allocation([&](const memory_hooks& memory) {
    host hooks;
    hooks.memory = memory;
    return model::open(file, hooks);
  });
}
