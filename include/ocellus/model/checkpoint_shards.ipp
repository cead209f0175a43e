// checkpoint: Hugging Face folders, whose weights may be spread over shards that an index lists.
#ifndef OCELLUS_MODEL_CHECKPOINT_SHARDS_IPP
#define OCELLUS_MODEL_CHECKPOINT_SHARDS_IPP

#include <algorithm>

#include "ocellus/io/json.hpp"
#include "ocellus/model/checkpoint.hpp"
#include "ocellus/slice.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// A plain file name that means the same on every system: nothing that could lead out of the folder or to a device.
[[nodiscard]] inline bool is_shard_name(std::string_view name, std::string_view suffix) noexcept {
  constexpr std::string_view allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  if (name.size() > 255 || !name.ends_with(suffix) || name.size() == suffix.size()) return false;
  if (name.find_first_not_of(allowed) != std::string_view::npos) return false;
  // Windows takes these for devices, whatever follows the first dot.
  const std::string_view stem = slice(name, 0, name.find('.'));  // the suffix has one
  const auto is = [stem](std::string_view word) noexcept {
    return stem.size() == word.size() &&
           std::equal(stem.begin(), stem.end(), word.begin(), [](char a, char b) noexcept {
             return (a >= 'a' && a <= 'z' ? a - 'a' + 'A' : a) == b;
           });
  };
  for (std::string_view device : {"CON", "PRN", "AUX", "NUL"}) {
    if (is(device)) return false;
  }
  for (std::string_view port :
       {"COM0", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
        "LPT0", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9"}) {
    if (is(port)) return false;
  }
  return true;
}

/// The distinct shards of an index, sorted.
[[nodiscard]] inline result<array<std::string_view>> list_shards(const json::value& map,
                                                                 std::string_view suffix,
                                                                 const memory_hooks& memory) noexcept {
  array<std::string_view> shards(memory);
  for (const json::member& m : map.members()) {
    const auto name = m.value.as_string_view();
    if (!name) return error(error_code::field_type, "the shard of ", quoted{m.key}, " is no string");
    if (!is_shard_name(*name, suffix)) {
      return error(error_code::index_path, "the shard ", quoted{*name}, " of ", quoted{m.key},
                   " is not a plain name of a ", suffix, " file");
    }
    if (!shards.push_back(*name)) return no_memory("the list of shards");
  }
  std::sort(shards.begin(), shards.end());
  shards.truncate(static_cast<std::size_t>(std::unique(shards.begin(), shards.end()) - shards.begin()));
  return shards;
}

}  // namespace detail

result<void> checkpoint::add_folder(source_role role, std::string_view folder) noexcept {
  for (std::string_view name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                "pytorch_model.bin.index.json"}) {
    OCELLUS_ASSIGN(const text path, join_path(folder, name, hooks_.memory));
    auto added = name.ends_with(".json") ? add_index(role, path.view()) : add_file(role, path.view());
    if (!added && added.error().code() == error_code::not_found) continue;
    return added;
  }
  return error(error_code::not_found, quoted{folder},
               " holds neither model.safetensors nor pytorch_model.bin, nor an index");
}

result<void> checkpoint::add_index(source_role role, std::string_view index_path) noexcept {
  const std::string_view folder = folder_of(index_path);
  const std::string_view suffix = index_path.ends_with(".bin.index.json") ? ".bin" : ".safetensors";
  load_options small_file;
  small_file.max_bytes = max_index_bytes;
  OCELLUS_ASSIGN(const byte_source bytes, byte_source::open(index_path, hooks_.memory, small_file));
  auto parsed = json::parse(bytes.chars(), hooks_.memory);
  if (!parsed) return parsed.error().in(quoted{index_path});
  const json::value root = parsed->root();
  if (!root.is_object()) return error(error_code::root_not_object, quoted{index_path}, ": not a JSON object");
  const json::value map = root.find("weight_map");
  if (!map) return error(error_code::field_missing, quoted{index_path}, ": \"weight_map\" is missing");
  if (!map.is_object() || map.size() == 0) {
    return error(error_code::field_type, quoted{index_path}, ": \"weight_map\" is no object or empty");
  }
  const json::value total = root.find("metadata").find("total_size");
  if (total && !total.as_uint64()) {
    return error(error_code::field_type, quoted{index_path}, ": \"total_size\" is no unsigned integer");
  }
  auto shards = detail::list_shards(map, suffix, hooks_.memory);
  if (!shards) return shards.error().in(quoted{index_path});
  if (shards->size() > max_shards) {
    return error(error_code::limit_tensors, quoted{index_path}, ": ", shards->size(), " shards, at most ",
                 max_shards);
  }

  const std::size_t first = tensors_.size();
  std::uint64_t bytes_found = 0;
  for (std::string_view shard : *shards) {
    OCELLUS_ASSIGN(const text path, join_path(folder, shard, hooks_.memory));
    const std::size_t shard_first = tensors_.size();
    auto added = add_file(role, path.view());
    if (!added && added.error().code() == error_code::not_found) {
      return error(error_code::shard_missing, "the shard ", quoted{path.view()},
                   " that the index names is missing");
    }
    if (!added) return added;
    for (std::size_t i = shard_first; i < tensors_.size(); ++i) {
      const auto listed = map.find(tensors_[i].given).as_string_view();
      if (!listed || *listed != shard) {
        return error(error_code::index_mismatch, quoted{path.view()}, ": the index does not place tensor ",
                     quoted{tensors_[i].given}, " there");
      }
      bytes_found += tensors_[i].storage.size();
    }
  }
  // Each tensor found was listed, and none twice within a shard: if the numbers agree, so do the sets.
  if (tensors_.size() - first != map.size()) {
    array<std::string_view> found(hooks_.memory);
    for (const checkpoint_tensor& t : tensors_.span().subspan(first)) {
      if (!found.push_back(t.given)) return no_memory("the list of tensors");
    }
    std::sort(found.begin(), found.end());
    for (const json::member& m : map.members()) {
      if (!std::binary_search(found.begin(), found.end(), m.key)) {
        return error(error_code::index_mismatch, quoted{index_path}, ": tensor ", quoted{m.key},
                     " is in no shard");
      }
    }
    return error(error_code::index_mismatch, quoted{index_path},
                 ": lists other tensors than the shards hold");
  }
  if (total && suffix == ".safetensors" && *total.as_uint64() != bytes_found) {
    hooks_.log(log_level::warning, "the index of the shards gives a wrong total_size");
  }
  return {};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CHECKPOINT_SHARDS_IPP
