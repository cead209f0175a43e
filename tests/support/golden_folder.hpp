// A golden's folder: the published files of one model, beside what the reference computed with it.
#ifndef OCELLUS_TESTS_SUPPORT_GOLDEN_FOLDER_HPP
#define OCELLUS_TESTS_SUPPORT_GOLDEN_FOLDER_HPP

#include <doctest/doctest.h>

#include <filesystem>

#include "ocellus/io/json.hpp"
#include "ocellus/model/checkpoint.hpp"
#include "support/published_files.hpp"
#include "support/read_file.hpp"

namespace ocellus_tests {

/// The pictures' size that a golden's folder tells, 0 if it has none.
inline std::uint32_t golden_image_size(const std::filesystem::path& folder) {
  for (const char* name : {"convert.json", "reference_config.json"}) {
    if (!std::filesystem::exists(folder / name)) continue;
    const std::string words = read_file((folder / name).string());
    const auto parsed = ocellus::json::parse(words, {});
    REQUIRE(parsed);
    return static_cast<std::uint32_t>(parsed->root().find("image_size").as_uint64().value_or(0));
  }
  return 0;
}

/// All tensors of a checkpoint under their own names, as f32; integers, of which a model has none, as zeros.
inline tensor_map tensors_of(const ocellus::checkpoint& from) {
  tensor_map out;
  for (const ocellus::checkpoint_tensor& t : from.tensors()) {
    tensor_values made;
    for (std::uint64_t d : t.dims.dims()) made.dims.push_back(static_cast<std::int64_t>(d));
    made.values.resize(static_cast<std::size_t>(t.dims.count().value()));
    if (t.type != ocellus::dtype::i64) from.read(t, 0, made.values);
    out[std::string(t.given)] = std::move(made);
  }
  return out;
}

/// The model of a golden's folder, in memory and to be changed.
inline published_files read_golden_files(const std::filesystem::path& folder) {
  const auto read = [](ocellus::source_role role, const std::filesystem::path& path) {
    ocellus::checkpoint from{ocellus::host()};
    const std::string name = path.string();
    const bool is_folder = std::filesystem::is_directory(path);
    const auto added = is_folder ? from.add_folder(role, name) : from.add_file(role, name);
    REQUIRE(added);
    const auto sealed = from.seal();
    REQUIRE(sealed);
    return tensors_of(from);
  };
  published_files files;
  files.phi_file = read(ocellus::source_role::phi, folder / "phi-2");
  files.vit_file = read(ocellus::source_role::vit, folder / "eva_vit_g.pth");
  files.qformer_file = read(ocellus::source_role::qformer, folder / "blip2_pretrained_flant5xxl.pth");
  files.stage_file = read(ocellus::source_role::stage, folder / "TinyGPT-V_for_Stage4.pth");
  files.config = read_file((folder / "phi-2" / "config.json").string());
  return files;
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_GOLDEN_FOLDER_HPP
