// The model against goldens: what the PyTorch reference computed, stage by stage. One small golden is part of the
// project; the others come with --goldens.
#include "../../examples/support/golden_diff.hpp"

#include <doctest/doctest.h>

#include <filesystem>

#include "ocellus/kernels/kernels.hpp"
#include "ocellus/model/convert.hpp"
#include "support/golden_folder.hpp"
#include "support/skip.hpp"
#include "support/temporary_folder.hpp"

namespace {

namespace fs = std::filesystem;
using namespace ocellus_tests;
using ocellus::weight_format;
using ocellus_examples::golden_difference;
using ocellus_examples::stage_difference;

/// A folder's checkpoints as a model file, made in `to`.
std::string convert(const fs::path& folder, std::uint32_t size, weight_format format,
                    const temporary_folder& to) {
  const std::string vit = (folder / "eva_vit_g.pth").string(),
                    qformer = (folder / "blip2_pretrained_flant5xxl.pth").string(),
                    stage = (folder / "TinyGPT-V_for_Stage4.pth").string(), phi = (folder / "phi-2").string();
  const std::string output = to / ("model_" + std::string(ocellus::name_of(format)) + ".safetensors");
  ocellus::convert_options options;
  options.phi = phi;
  if (fs::exists(vit)) options.vit = vit, options.qformer = qformer, options.stage = stage;
  options.image_size = size;
  options.format = format;
  options.output = output;
  const auto report = ocellus::convert(options);
  REQUIRE_MESSAGE(report, (report ? std::string() : std::string(report.error().message())));
  return output;
}

golden_difference diff(const std::string& model_file, const fs::path& golden_file,
                       std::string_view target = {}, ocellus::precision mode = ocellus::precision::exact) {
  const auto model = ocellus::model::open(model_file);
  REQUIRE_MESSAGE(model, (model ? std::string() : std::string(model.error().message())));
  const auto file = ocellus::byte_source::open(golden_file.string());
  REQUIRE(file);
  const auto golden = ocellus::safetensors::parse(file->bytes());
  REQUIRE(golden);
  ocellus_examples::golden_options options;
  options.session.target = target;
  options.session.mode = mode;
  auto difference = ocellus_examples::diff_with_golden(*model, *golden, options);
  REQUIRE_MESSAGE(difference, (difference ? std::string() : std::string(difference.error().message())));
  return std::move(*difference);
}

/// What fast precision may differ by, on every target: with weights that are (nearly) the golden's own the error of
/// bf16 activations, with q8 that of int8 activations and of the weights.
void check_fast(const std::string& model, const fs::path& golden, weight_format format) {
  for (const ocellus::kernels* table : ocellus::cpu_kernels(ocellus::precision::fast)) {
    const auto d = diff(model, golden, table->name, ocellus::precision::fast);
    INFO(golden.string() << " " << ocellus::name_of(format) << " fast " << table->name);
    CHECK(d.target == table->name);
    CHECK(d.first_wrong() == "");
    CHECK(d.tolerance == (is_quantized(format) ? 4e-2 : 1.5e-2));
    CHECK_FALSE(d.ids_judged);
  }
}

/// All goldens of a folder in all formats; with f32 on all targets too.
void check_folder(const fs::path& folder, const std::vector<fs::path>& goldens, std::uint32_t size) {
  const temporary_folder made;
  for (const auto format : {weight_format::f32, weight_format::bf16, weight_format::f16}) {
    const std::string model = convert(folder, size, format, made);
    for (const fs::path& golden : goldens) {
      for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
        if (format != weight_format::f32 && table != ocellus::cpu_kernels().back()) continue;
        const auto d = diff(model, golden, table->name);
        INFO(golden.string() << " " << ocellus::name_of(format) << " " << table->name);
        CHECK(d.target == table->name);
        CHECK(d.first_wrong() == "");
        CHECK(d.tolerance == (format == weight_format::f32 ? 2e-5 : 1e-2));
        CHECK(d.ids_judged == (format == weight_format::f32));
        CHECK(d.stages.size() > 0);
        CHECK(d.golden_ids.size() > 0);
        CHECK(d.ids.size() == d.golden_ids.size());
      }
      check_fast(model, golden, format);
    }
  }
  const std::string q8 = convert(folder, size, weight_format::q8, made);
  for (const fs::path& golden : goldens) check_fast(q8, golden, weight_format::q8);
}

}  // namespace

TEST_CASE("golden: the committed model computes every stage as the reference does, on every target") {
  const fs::path folder = fs::path(OCELLUS_TEST_DATA) / "golden";
  check_folder(folder, {folder / "golden.safetensors"}, golden_image_size(folder));
}

TEST_CASE("golden: fast stays within its tolerance, on every target") {
  const fs::path folder = fs::path(OCELLUS_TEST_DATA) / "golden";
  std::vector<fs::path> folders{folder};
  if (goldens_folder() != nullptr) {
    for (const auto& entry : fs::directory_iterator(fs::path(goldens_folder()) / "goldens")) {
      if (fs::exists(entry.path() / "golden.safetensors")) folders.push_back(entry.path());
    }
  }
  for (const fs::path& f : folders) {
    const temporary_folder made;
    const std::string model = convert(f, golden_image_size(f), weight_format::f32, made);
    for (const ocellus::kernels* table : ocellus::cpu_kernels(ocellus::precision::fast)) {
      const auto d = diff(model, f / "golden.safetensors", table->name, ocellus::precision::fast);
      INFO(f.string() << " " << table->name);
      CHECK(d.target == table->name);
      CHECK(d.stages.size() > 0);
      for (const stage_difference& s : d.stages) {
        INFO(s.name << ": " << s.relative());
        CHECK(s.problem(1.5e-2) == "");
      }
    }
  }
}

TEST_CASE("golden: random models and plain Phi-2 compute every stage as the reference does") {
  if (goldens_folder() == nullptr) OCELLUS_SKIP("no goldens (OCELLUS_GOLDENS)");
  int folders = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(goldens_folder()) / "goldens")) {
    if (!fs::exists(entry.path() / "golden.safetensors")) continue;
    check_folder(entry.path(), {entry.path() / "golden.safetensors"}, golden_image_size(entry.path()));
    ++folders;
  }
  CHECK(folders >= 6);
}

TEST_CASE("golden: the micro model computes every stage as the reference does") {
  if (goldens_folder() == nullptr) OCELLUS_SKIP("no goldens (OCELLUS_GOLDENS)");
  const fs::path folder = fs::path(goldens_folder()) / "models" / "micro";
  std::vector<fs::path> goldens;
  for (const auto& entry : fs::directory_iterator(folder / "goldens")) {
    if (entry.path().extension() == ".safetensors") goldens.push_back(entry.path());
  }
  CHECK(goldens.size() == 3);
  check_folder(folder, goldens, 112);
}

TEST_CASE("golden: a wrong weight, a wrong stage and a missing one are noticed and named") {
  const fs::path folder = fs::path(OCELLUS_TEST_DATA) / "golden";
  const temporary_folder made;
  const std::string path = convert(folder, golden_image_size(folder), weight_format::f32, made);
  const std::string golden_bytes = read_file((folder / "golden.safetensors").string());
  const std::string model_bytes = read_file(path);
  const auto run = [](const std::string& model_file, const std::string& golden_file) {
    const auto model = ocellus::model::open(std::as_bytes(std::span(model_file)));
    REQUIRE(model);
    const auto golden = ocellus::safetensors::parse(std::as_bytes(std::span(golden_file)));
    REQUIRE(golden);
    auto d = ocellus_examples::diff_with_golden(*model, *golden);
    REQUIRE(d);
    return std::move(*d);
  };
  const auto offset_in = [](const std::string& file, std::string_view tensor) {
    const auto contents = ocellus::safetensors::parse(std::as_bytes(std::span(file)));
    REQUIRE(contents);
    const auto* t = contents->find(tensor);
    REQUIRE(t != nullptr);
    return static_cast<std::size_t>(reinterpret_cast<const char*>(t->bytes.data()) - file.data());
  };
  const auto with_float = [](std::string file, std::size_t at, float value) {
    std::memcpy(file.data() + at, &value, sizeof(value));
    return file;
  };
  const float nan_value = std::nanf("");
  CHECK(run(model_bytes, golden_bytes).first_wrong() == "");
  CHECK(run(with_float(model_bytes, offset_in(model_bytes, "vision.blocks.0.fc1.bias"), 9), golden_bytes)
            .first_wrong() == "vit.block.0");
  CHECK(run(with_float(model_bytes, offset_in(model_bytes, "phi.head.bias"), nan_value), golden_bytes)
            .first_wrong() == "logits");
  const auto wrong =
      run(model_bytes, with_float(golden_bytes, offset_in(golden_bytes, "ln_vision") + 4 * 5, nan_value));
  CHECK(wrong.first_wrong() == "ln_vision");

  // A name that no stage has: the golden's tensor keeps its place in the file under another name.
  std::string renamed = golden_bytes;
  const std::size_t name = renamed.find("\"image_embeds\"");
  REQUIRE(name != std::string::npos);
  renamed.replace(name, 14, "\"image_embedz\"");
  const auto unknown = run(model_bytes, renamed);
  CHECK(unknown.first_wrong() == "image_embedz");
  CHECK(unknown.stages.back().problem(1) == "not a stage of this model");

  // One id of the golden's answer changed: the ids differ, and what follows is not computed from ours.
  std::string other_ids = golden_bytes;
  std::size_t id_at = offset_in(golden_bytes, "greedy") + 8;
  other_ids[id_at] = static_cast<char>(other_ids[id_at] ^ 1);
  const auto ids = run(model_bytes, other_ids);
  CHECK(!ids.ids_equal());
  CHECK(ids.first_wrong() == "answer_logits");
}
