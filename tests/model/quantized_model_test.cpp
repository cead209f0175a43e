// Models in q8 and q4 compute what a model in f32 with the same weights does; their files hold what HACKING.md says.
#include <doctest/doctest.h>

#include <cmath>

#include "support/session_fixture.hpp"

using namespace ocellus_tests;
using ocellus::weight_format;
using ocellus::weight_kind;

namespace {

constexpr weight_format quantized[] = {weight_format::q8, weight_format::q4};

/// Reads the rows of a model as f32.
struct widened_rows {
  const ocellus::model& from;
  const ocellus::model_writer& writer;
  const ocellus::planned_weight* weight = nullptr;
  weight_format format = weight_format::f32;
  const std::byte* bytes = nullptr;
  const std::byte* scales = nullptr;

  ocellus::row_source source() {
    return {this,
            [](void* self, std::size_t index) noexcept -> ocellus::result<void> {
              static_cast<widened_rows*>(self)->begin(index);
              return {};
            },
            [](void* self, std::uint32_t row, std::uint32_t, std::span<float> out) noexcept {
              static_cast<widened_rows*>(self)->read(row, out);
            }};
  }
  void begin(std::size_t index) {
    weight = &writer.weights()[index];
    const std::string name(weight->name.view());
    const auto* t = from.contents().find(name);
    REQUIRE(t != nullptr);
    bytes = t->bytes.data();
    const auto* s = from.contents().find(name + ".scales");
    scales = s != nullptr ? s->bytes.data() : nullptr;
    format = t->type == ocellus::dtype::u8   ? weight_format::q4
             : t->type == ocellus::dtype::i8 ? weight_format::q8
                                             : weight_format::f32;
    CHECK((scales != nullptr) == is_quantized(format));
  }
  void read(std::uint32_t row, std::span<float> out) const {
    const std::uint32_t k = weight->k;
    if (weight->kind == weight_kind::matrix) {
      for (std::uint32_t c = 0; c < k; ++c) out[c] = packed_at(format, bytes, scales, k, row, c);
    } else if (weight->kind == weight_kind::table) {
      const std::byte* row_scales = scales + row * ocellus::table_row_scale_bytes(k).value();
      unpack_row(format, bytes + row * ocellus::table_row_bytes(format, k).value(), row_scales, k,
                 out.data());
    } else {
      std::memcpy(out.data(), bytes + row * out.size_bytes(), out.size_bytes());
    }
  }
};

/// The file of a model in f32 with the same weights.
std::vector<std::byte> widened(const ocellus::model& from) {
  ocellus::model_writer writer({});
  REQUIRE(writer.plan(from.config(), weight_format::f32, weight_format::f32));
  widened_rows rows{from, writer};
  std::vector<std::byte> file;
  REQUIRE(writer.write(append_to(file), {from.tokenizer(), from.default_template(), from.stops(), "tests"},
                       rows.source()));
  return file;
}

/// A picture's embedding, and the logits behind a prompt of many rows and behind single tokens.
std::vector<float> numbers_of(const ocellus::model& model, std::string_view target,
                              ocellus::precision mode = ocellus::precision::exact) {
  ocellus::session_options options;
  options.target = target;
  options.mode = mode;
  auto session = open_session(model, options);
  const tiny_picture picture;
  ocellus::image_embedding embedding;
  REQUIRE(session.encode(picture.view, embedding));
  std::vector<float> all(embedding.values.span().begin(), embedding.values.span().end());
  REQUIRE(session.append(some_tokens(30)));
  REQUIRE(session.append(embedding));
  for (std::uint32_t next = 7; next < 10; ++next) {
    REQUIRE(session.step());
    all.insert(all.end(), session.logits().begin(), session.logits().end());
    const std::uint32_t token[] = {next};
    REQUIRE(session.append(token));
  }
  return all;
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

}  // namespace

TEST_CASE("quantized model: every target computes what an f32 model with the same weights does") {
  for (const weight_format format : quantized) {
    CAPTURE(std::string(name_of(format)));
    tiny_options options;
    options.format = format;
    const tiny_model model(options);
    const auto twin_file = widened(model.get());
    const auto twin = ocellus::model::open(twin_file);
    REQUIRE(twin);
    const auto right = numbers_of(*twin, "reference");
    for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
      CAPTURE(std::string(table->name));
      CHECK(relative_difference(numbers_of(model.get(), table->name), right) < 2e-5);
    }
    for (const ocellus::kernels* table : ocellus::cpu_kernels(ocellus::precision::fast)) {
      CAPTURE(std::string(table->name));
      CHECK(relative_difference(numbers_of(model.get(), table->name, table->mode), right) < 4e-2);
    }
    // And it is not the model that it was made of: by how much is the formats' affair.
    const auto exact = numbers_of(tiny_model().get(), "reference");
    const double off = relative_difference(right, exact);
    CHECK(off > 1e-4);
    CHECK(off < (format == weight_format::q8 ? 0.05 : 0.5));
  }
}

TEST_CASE("quantized model: q4 leaves lm_head at q8, and the picture side may have its own format") {
  for (const weight_format format : ocellus::weight_formats) {
    const weight_format head = format == weight_format::q4 ? weight_format::q8 : format;
    CHECK(ocellus::choose_format("phi.head.weight", format, weight_format::bf16) == head);
    CHECK(ocellus::choose_format("phi.embedding", format, weight_format::bf16) == format);
    CHECK(ocellus::choose_format("phi.layers.3.fc1.weight", format, weight_format::bf16) == format);
    for (const char* name :
         {"vision.patch.weight", "qformer.layers.0.self.q.weight", "projection.0.weight"}) {
      CHECK(ocellus::choose_format(name, weight_format::q4, format) == format);
    }
  }
}

TEST_CASE("quantized model: matrices and their scales are aligned, tables and their scales follow") {
  for (const weight_format format : quantized) {
    tiny_options options;
    options.format = format;
    const tiny_model model(options);
    const auto offset = [&](const ocellus::tensor_info& t) { return t.bytes.data() - model.file.data(); };
    const auto tensors = model.get().contents().tensors();
    std::size_t scales = 0;
    for (std::size_t i = 0; i + 1 < tensors.size(); ++i) {
      const std::string_view name = tensors[i].name;
      const bool is_code = tensors[i].type == ocellus::dtype::i8 ||
                           (tensors[i].type == ocellus::dtype::u8 && !name.starts_with("tokenizer."));
      if (!is_code) continue;
      ++scales;
      CHECK(offset(tensors[i]) % 64 == 0);
      if (name != "phi.embedding") CHECK(offset(tensors[i + 1]) % 64 == 0);
      CHECK(tensors[i + 1].name == std::string(name) + ".scales");
      CHECK(tensors[i + 1].type == ocellus::dtype::f16);
      if (name == "phi.embedding") CHECK(tensors[i + 2].type == ocellus::dtype::f32);
    }
    CHECK(scales > 20);
  }
}
