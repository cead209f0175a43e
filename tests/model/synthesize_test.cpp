// synthesize: the published sizes, numbers like a model's, the same bytes for the same seed.
#include "ocellus/model/synthesize.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "ocellus/ocellus.hpp"
#include "support/counting_memory.hpp"
#include "support/read_file.hpp"
#include "support/small_tokenizer.hpp"
#include "support/temporary_folder.hpp"

using namespace ocellus;
using namespace ocellus_tests;

namespace {

std::string synthesized(const synthesize_options& options, const host& hooks = {}) {
  const temporary_folder folder;
  const std::string path = folder / "model.safetensors";
  synthesize_options o = options;
  o.output = path;
  const auto made = synthesize(o, hooks);
  INFO((made ? std::string_view() : made.error().message()));
  REQUIRE(made);
  CHECK(made->matrix_weights > 4'000'000);
  return read_file(path);
}

synthesize_options micro(weight_format format) {
  synthesize_options o;
  o.size = synthetic_size::micro;
  o.format = format;
  return o;
}

}  // namespace

TEST_CASE("synthesize: both sizes are those of real models") {
  const model_config full = synthetic_config(synthetic_size::full);
  CHECK(validate(full));
  CHECK(full.vit.image_size == 448);
  CHECK(synthetic_config(synthetic_size::full, 224).vit.tokens() == 257);
  // 986 M, 105 M + 13.6 M, 2780 M.
  model_writer writer({});
  REQUIRE(writer.plan(full, weight_format::q4, weight_format::q4));
  double parts[3] = {}, matrices = 0, bits = 0;
  for (const planned_weight& w : writer.weights()) {
    const std::string_view name = w.name.view();
    const double count = static_cast<double>(w.n) * w.k;
    parts[name.starts_with("phi.") ? 2 : name.starts_with("vision.") ? 0 : 1] += count;
    if (w.kind != weight_kind::matrix && w.kind != weight_kind::table) continue;
    matrices += count;
    const checked codes = w.kind == weight_kind::matrix ? packed_bytes(w.format, w.n, w.k)
                                                        : table_row_bytes(w.format, w.k) * w.n;
    const checked scales = w.kind == weight_kind::matrix ? panel_scale_bytes(w.k) * ((w.n + 15) / 16)
                                                         : table_row_scale_bytes(w.k) * w.n;
    bits += 8.0 * static_cast<double>(codes.value() + scales.value());
  }
  CHECK(parts[0] == doctest::Approx(986e6).epsilon(0.002));
  CHECK(parts[1] == doctest::Approx(118.6e6).epsilon(0.01));
  CHECK(parts[2] == doctest::Approx(2780e6).epsilon(0.002));
  // All of a full-size q4 model: below 4.75 bits a weight.
  CHECK(bits / matrices < 4.65);

  const auto real = model::open(std::string(OCELLUS_EXAMPLE_DATA) + "/micro.safetensors");
  REQUIRE(real);
  const auto ours = to_json(synthetic_config(synthetic_size::micro), {}),
             theirs = to_json(real->config(), {});
  REQUIRE(ours);
  REQUIRE(theirs);
  CHECK(ours->view() == theirs->view());
}

TEST_CASE("synthesize: a model opens in every format, answers, and its numbers stay finite") {
  for (const weight_format format : weight_formats) {
    CAPTURE(std::string(name_of(format)));
    const std::string file = synthesized(micro(format));
    const auto made = model::open(std::as_bytes(std::span(file)));
    REQUIRE(made);
    auto talk = chat::open(*made);
    REQUIRE(talk);
    std::vector<std::uint8_t> pixels(50 * 40 * 3, 90);
    REQUIRE(talk->show(image_view{pixels.data(), 50, 40, 0, pixel_format::rgb}));
    REQUIRE(talk->ask("what?"));
    double squares = 0;
    for (const float logit : talk->inner().logits())
      squares += static_cast<double>(logit) * static_cast<double>(logit);
    const double size = std::sqrt(squares / made->config().phi.vocabulary);
    CHECK(size > 0.05);
    CHECK(size < 50);
  }
}

TEST_CASE("synthesize: seed and place alone decide a weight") {
  auto pool = thread_pool::make(3);
  REQUIRE(pool);
  host hooks;
  hooks.tasks = pool->hooks();
  const std::string alone = synthesized(micro(weight_format::q8));
  CHECK(synthesized(micro(weight_format::q8), hooks) == alone);
  synthesize_options other = micro(weight_format::q8);
  other.seed = 2;
  CHECK(synthesized(other) != alone);
}

TEST_CASE("synthesize: weights are near normal, of mean 0") {
  const std::string file = synthesized(micro(weight_format::f32));
  const auto made = model::open(std::as_bytes(std::span(file)));
  REQUIRE(made);
  const tensor_info* t = made->contents().find("phi.embedding");  // [512, 160 padded to 192], deviation 0.02
  REQUIRE(t != nullptr);
  double sum = 0, squares = 0, fourths = 0;
  for (std::size_t i = 0; i < t->count(); ++i) {
    const double x = static_cast<double>(t->load<float>(i)) / 0.02;
    sum += x, squares += x * x, fourths += x * x * x * x;
  }
  const double n = 512 * 160;
  CHECK(std::abs(sum / n) < 0.02);
  CHECK(squares / n == doctest::Approx(1).epsilon(0.02));
  CHECK(fourths / n == doctest::Approx(2.7).epsilon(0.03));  // of four uniform numbers; 3 if it were normal
}

TEST_CASE("synthesize: what cannot be made is an error and leaves nothing") {
  const temporary_folder folder;
  const std::string path = folder / "model.safetensors";
  synthesize_options o = micro(weight_format::q8);
  CHECK(synthesize(o).error().code() == error_code::invalid_argument);
  o.output = path;
  o.image_size = 15;
  CHECK(synthesize(o).error().code() == error_code::config_mismatch);
  o.image_size = 0;
  const std::string nowhere = folder / "nowhere";
  o.tokenizer_folder = nowhere;
  CHECK(synthesize(o).error().code() == error_code::not_found);
  o.tokenizer_folder = {};
  host nobody;
  nobody.tasks.workers = 0;
  CHECK(synthesize(o, nobody).error().code() == error_code::invalid_argument);
  host hooks;
  hooks.stop.should_stop = [](void*) { return true; };
  CHECK(synthesize(o, hooks).error().code() == error_code::cancelled);
  CHECK(folder.size() == 0);
}
