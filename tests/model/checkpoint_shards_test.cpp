// checkpoint: the index of a Hugging Face folder's shards, case by case; and what a folder may hold beside it.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "ocellus/model/checkpoint.hpp"
#include "support/published_files.hpp"

using namespace ocellus;
using namespace ocellus_tests;

namespace {

std::string shard(const std::vector<std::string>& names, std::int64_t size = 4) {
  tensor_map tensors;
  for (const std::string& name : names) published_files::add(tensors, name, {size});
  return make_safetensors(tensors);
}

/// A folder with shards a (x, y) and b (z), and their index.
struct sharded_folder {
  temporary_folder folder;
  std::string index =
      R"({"metadata": {"total_size": 48}, "weight_map": {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}})";
  std::string warnings;

  sharded_folder() {
    put("a.safetensors", shard({"x", "y"}));
    put("b.safetensors", shard({"z"}));
  }
  void put(const std::string& name, const std::string& content) const { write_text(folder / name, content); }
  void replace(const std::string& from, const std::string& to) {
    const std::size_t at = index.find(from);
    REQUIRE(at != std::string::npos);
    index.replace(at, from.size(), to);
  }
  /// The code, or how many tensors were found.
  std::string open() {
    put("model.safetensors.index.json", index);
    host hooks;
    hooks.log = {this, [](void* self, log_level level, std::string_view words) {
                   if (level == log_level::warning) static_cast<sharded_folder*>(self)->warnings += words;
                 }};
    checkpoint made(hooks);
    const auto added = made.add_folder(source_role::phi, folder.path());
    if (!added) return std::string(name_of(added.error().code()));
    const auto sealed = made.seal();
    if (!sealed) return std::string(name_of(sealed.error().code()));
    return std::to_string(made.tensors().size());
  }
};

}  // namespace

TEST_CASE("checkpoint shards: what an index may say") {
  using folder = sharded_folder;
  struct row {
    std::string what;
    std::function<void(folder&)> edit;
    std::string verdict;
  };
  const auto replace = [](const std::string& from, const std::string& to) {
    return [from, to](folder& f) { f.replace(from, to); };
  };
  const auto whole = [](const std::string& text) { return [text](folder& f) { f.index = text; }; };
  const row rows[] = {
      {"the truth", [](folder&) {}, "3"},
      {"no JSON", whole("weights"), "json_syntax"},                                           // i01
      {"nothing", whole(""), "empty_file"},                                                   // i01
      {"an array", whole("[]"), "root_not_object"},                                           // i02
      {"no map", whole("{}"), "field_missing"},                                               // i03
      {"an empty map", whole(R"({"weight_map": {}})"), "field_type"},                         // i03
      {"a map that is a string", whole(R"({"weight_map": "a.safetensors"})"), "field_type"},  // i03
      {"a shard that is null", replace("\"b.safetensors\"", "null"), "field_type"},           // i04
      {"a shard with a tab in its name", replace("b.safe", "b\\t.safe"), "index_path"},       // i10
      {"a shard in another alphabet", replace("b.safe", "\xc3\xa9.safe"), "index_path"},      // i11
      {"a name of 255 bytes that is not there", replace("\"b.", "\"" + std::string(243, 'b') + "."),
       "shard_missing"},  // i14
      {"a name of 256 bytes", replace("\"b.", "\"" + std::string(244, 'b') + "."), "index_path"},
      {"a shard that is a folder",
       [](folder& f) {
         f.replace("b.safe", "c.safe");
         std::filesystem::create_directory(f.folder / "c.safetensors");
       },
       "not_regular"},
      {"a shard that is no safetensors file", [](folder& f) { f.put("b.safetensors", "version https://"); },
       "header_too_large"},
      {"a tensor that its shard does not hold", replace("\"z\": ", "\"w\": \"b.safetensors\", \"z\": "),
       "index_mismatch"},  // i16
      {"a tensor of a shard that it does not list", replace(", \"y\": \"a.safetensors\"", ""),
       "index_mismatch"},  // i17
      {"a tensor in two shards",
       [](folder& f) {
         f.put("b.safetensors", shard({"z", "x"}));
       },
       "index_mismatch"},  // i18
      {"two shards that are one file",
       [](folder& f) {
         std::filesystem::remove(f.folder / "b.safetensors");
         std::filesystem::create_hard_link(f.folder / "a.safetensors", f.folder / "b.safetensors");
         f.replace("\"z\": ", "\"y\": ");
         f.replace("\"y\": \"a.safetensors\", ", "");
       },
       "index_mismatch"},                                                  // x30
      {"a tensor twice", replace("\"y\": ", "\"x\": "), "duplicate_key"},  // i19
      {"a total that is negative", replace("48", "-48"), "field_type"},    // i20
      {"a total that is a fraction", replace("48", "48.0"), "field_type"},
      {"no total", replace("{\"total_size\": 48}", "{}"), "3"},
      {"more shards than there may be",
       [](folder& f) {
         std::string more;
         for (int i = 0; i < 1023; ++i)
           more += "\"t" + std::to_string(i) + "\": \"s" + std::to_string(i) + ".safetensors\", ";
         f.replace("\"x\": ", more + "\"x\": ");
       },
       "limit_tensors"},  // i21
      {"more bytes than an index may have", [](folder& f) { f.index += std::string(16u << 20, ' '); },
       "too_large"},  // i22
      {"a shard beside the index that it does not name",
       [](folder& f) { f.put("stray.safetensors", shard({"z"})); }, "3"},
      {"tensors of another size in the second shard",
       [](folder& f) { f.put("b.safetensors", shard({"z"}, 9)); }, "3"},
  };
  for (const row& r : rows) {
    CAPTURE(r.what);
    folder f;
    r.edit(f);
    CHECK(f.open() == r.verdict);
  }
}

TEST_CASE("checkpoint shards: a wrong total is a warning") {  // i20
  sharded_folder f;
  CHECK(f.open() == "3");
  CHECK(f.warnings.empty());
  f.replace("48", "49");
  CHECK(f.open() == "3");
  CHECK(f.warnings.find("total_size") != std::string::npos);
}

TEST_CASE("checkpoint shards: one file goes before an index, safetensors before torch's") {  // i24
  sharded_folder f;
  CHECK(f.open() == "3");
  f.put("pytorch_model.bin", "nonsense");
  CHECK(f.open() == "3");
  f.put("model.safetensors", shard({"alone"}));
  CHECK(f.open() == "1");
  f.put("model.safetensors", "nonsense");  // and is not passed over when it is wrong
  CHECK(f.open() == "header_too_large");
}

#if !defined(_WIN32)
TEST_CASE(
    "checkpoint shards: links are followed, as the cache of Hugging Face is made of them") {  // i15, x22
  sharded_folder f;
  std::filesystem::create_directory(f.folder / "blobs");
  std::filesystem::rename(f.folder / "b.safetensors", f.folder / "blobs/0123");
  std::filesystem::create_symlink("blobs/0123", f.folder / "b.safetensors");
  CHECK(f.open() == "3");
  std::filesystem::remove(f.folder / "b.safetensors");
  std::filesystem::create_symlink("b.safetensors", f.folder / "b.safetensors");
  CHECK(f.open() == "bad_path");
}
#endif
