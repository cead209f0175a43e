// torch_file: the tensors of a checkpoint that torch.save wrote (.pth, .pt, pytorch_model.bin), proven to be in bounds.
#ifndef OCELLUS_IO_TORCH_FILE_HPP
#define OCELLUS_IO_TORCH_FILE_HPP

#include "ocellus/io/zip.hpp"
#include "ocellus/tensor.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// One tensor: a strided view of a storage. Element (i, j, ...) is element offset + i * strides[0] + j * strides[1] + ...
/// of `storage`, and every one of them lies inside it. `storage` may begin at any address.
struct torch_tensor {
  std::string_view name;
  dtype type = dtype::f32;
  shape dims;
  shape strides;             ///< elements
  std::uint64_t offset = 0;  ///< elements
  std::span<const std::byte> storage;
  std::uint32_t storage_index = 0;  ///< the same for tensors that share one
};

/// The names, shapes and bytes of a checkpoint's tensors: those of the dictionary under "model" or "state_dict" if the
/// root holds one (training checkpoints), else those of the root itself. All else in the file, such as the state of an
/// optimizer, is neither built nor read. Move-only; names and bytes point into the file.
class torch_file {
 public:
  static constexpr std::size_t max_name_bytes = 4'096;
  static constexpr std::uint64_t max_elements = std::uint64_t{1}
                                                << 32;  ///< of one tensor, repeated ones counted

  /// Reads the file's directory and its pickle. The caller keeps the file in memory, unchanged.
  /// Errors: those of zip_archive::open and pickle::parse; legacy_tar, legacy_pickle, torchscript, no_data_pkl,
  /// byte_order, torch_version, zip_missing, storage_size, storage_conflict, no_state_dict, tensor_key, duplicate_key,
  /// view_range, overflow, limit_elements.
  [[nodiscard]] static result<torch_file> open(std::span<const std::byte> file,
                                               const memory_hooks& memory = {}) noexcept;

  /// Does the file begin as one of torch.save's, of any age?
  [[nodiscard]] static bool is_torch_file(std::span<const std::byte> file) noexcept;

  /// Sorted by name.
  [[nodiscard]] std::span<const torch_tensor> tensors() const noexcept { return tensors_.span(); }
  /// Null if there is none of that name. Logarithmic.
  [[nodiscard]] const torch_tensor* find(std::string_view name) const noexcept;

  /// Compares a storage's bytes with their checksum, once for each storage. Errors: zip_crc.
  [[nodiscard]] result<void> verify(std::uint32_t storage_index) noexcept;

 private:
  struct storage {
    std::uint64_t key;
    const zip_entry* entry;  // of archive_, whose entries stay in place
    bool verified;
  };

  explicit torch_file(zip_archive&& archive, const memory_hooks& memory) noexcept
      : archive_(std::move(archive)), storages_(memory), tensors_(memory) {}

  zip_archive archive_;
  array<storage> storages_;
  array<torch_tensor> tensors_;

  friend struct torch_file_reader;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_TORCH_FILE_HPP
