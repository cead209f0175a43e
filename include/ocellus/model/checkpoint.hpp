// checkpoint: the tensors of all files that a model is put together from, under one lookup by canonical name.
#ifndef OCELLUS_MODEL_CHECKPOINT_HPP
#define OCELLUS_MODEL_CHECKPOINT_HPP

#include <optional>

#include "ocellus/io/file.hpp"
#include "ocellus/io/safetensors.hpp"
#include "ocellus/io/torch_file.hpp"
#include "ocellus/model/checkpoint_names.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// What became of a tensor: waiting until somebody asks for it, used, hidden by one of a later file, or known to be of
/// no use.
enum class tensor_fate : std::uint8_t { waiting, used, overlaid, ignored };

/// One tensor of one file.
struct checkpoint_tensor {
  std::string_view name;   ///< canonical
  std::string_view given;  ///< as in its file
  source_role role = source_role::phi;
  bool renamed = false;
  bool row_major = true;  ///< without gaps, so that `count` elements from `offset` on are the tensor
  tensor_fate fate = tensor_fate::waiting;
  dtype type = dtype::f32;
  std::uint32_t file = 0;
  std::uint32_t storage_index = 0;  ///< of a torch file
  shape dims;
  shape strides;             ///< elements
  std::uint64_t offset = 0;  ///< elements
  std::span<const std::byte> storage;
};

/// Files are opened and checked by add_*; then seal() names the tensors and makes the lookup. Move-only.
class checkpoint {
 public:
  static constexpr std::size_t max_shards = 1024;
  static constexpr std::uint64_t max_index_bytes = 16u << 20;

  explicit checkpoint(const host& hooks) noexcept
      : hooks_(hooks), files_(hooks.memory), tensors_(hooks.memory), names_(hooks.memory) {}

  /// One file, .pth or .safetensors by its contents. Errors name the path: those of byte_source::open, torch_file::open and
  /// safetensors::parse; not_this_format.
  [[nodiscard]] result<void> add_file(source_role role, std::string_view path) noexcept;
  /// The same of a file that is open already; the path is for messages, which do not begin with it.
  [[nodiscard]] result<void> add_bytes(source_role role, std::string_view path, byte_source&& bytes) noexcept;
  /// The weights of a Hugging Face folder: the first that exists of model.safetensors, model.safetensors.index.json with
  /// its shards, pytorch_model.bin, pytorch_model.bin.index.json with its shards. Shards and index must agree exactly.
  /// Errors: not_found, index_path, shard_missing, index_mismatch, field_missing, field_type, json errors, and as above.
  [[nodiscard]] result<void> add_folder(source_role role, std::string_view folder) noexcept;
  /// The shards of an index, *.safetensors.index.json or *.bin.index.json; they lie beside it. Errors: as above.
  [[nodiscard]] result<void> add_index(source_role role, std::string_view index_path) noexcept;
  /// All files are of this role: for who can only tell by the names in them. Before seal().
  void assume(source_role role) noexcept;
  /// Gives all tensors their canonical names and sorts them; of those with the same name the one of the last role stays,
  /// the others are overlaid. A name too long for any tensor of the model stays as it is in the file.
  /// Errors: duplicate_key (twice within a role), out_of_memory.
  [[nodiscard]] result<void> seal() noexcept;

  /// All tensors, sorted by name, then role; before seal() in the order of their files and without names.
  [[nodiscard]] std::span<checkpoint_tensor> tensors() noexcept { return tensors_.span(); }
  [[nodiscard]] std::span<const checkpoint_tensor> tensors() const noexcept { return tensors_.span(); }
  /// The one of that name that counts; null if there is none.
  [[nodiscard]] checkpoint_tensor* find(std::string_view name) noexcept;
  [[nodiscard]] std::size_t file_count() const noexcept { return files_.size(); }
  [[nodiscard]] std::string_view path_of(std::size_t file) const noexcept { return files_[file].path.view(); }
  [[nodiscard]] std::uint64_t bytes_of(std::size_t file) const noexcept {
    return files_[file].bytes.bytes().size();
  }
  /// Of torch.save, else safetensors.
  [[nodiscard]] bool is_torch(std::size_t file) const noexcept { return files_[file].torch.has_value(); }

  /// Marks it as used and, once for each storage, compares its bytes with their checksum. Its type must be one of
  /// f32, f16, bf16, f64. Errors: tensor_shape, zip_crc.
  [[nodiscard]] result<void> use(checkpoint_tensor& tensor) noexcept;
  /// The checksum alone, whatever the tensor's type. Errors: zip_crc.
  [[nodiscard]] result<void> verify(const checkpoint_tensor& tensor) noexcept;
  /// Elements [first, first + out.size()) in row-major order, which must exist, as f32.
  void read(const checkpoint_tensor& tensor, std::uint64_t first, std::span<float> out) const noexcept;
  /// Its bytes leave memory until they are read again; see byte_source::evict.
  void evict(const checkpoint_tensor& tensor) const noexcept {
    files_[tensor.file].bytes.evict(tensor.storage);
  }

 private:
  struct source {
    text path;
    byte_source bytes;
    std::optional<torch_file> torch;
    std::optional<safetensors> plain;
  };

  host hooks_;
  array<source> files_;
  array<checkpoint_tensor> tensors_;
  text names_;  // canonical names, one behind the other, which the tensors have views of
  bool sealed_ = false;
};

/// folder + '/' + name.
[[nodiscard]] result<text> join_path(std::string_view folder, std::string_view name,
                                     const memory_hooks& memory) noexcept;
/// The folder that a path's last name lies in, "" if the path has only one name.
[[nodiscard]] std::string_view folder_of(std::string_view path) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CHECKPOINT_HPP
