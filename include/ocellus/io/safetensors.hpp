// safetensors: the names, types, shapes and bytes of a .safetensors file in memory, all of it validated.
#ifndef OCELLUS_IO_SAFETENSORS_HPP
#define OCELLUS_IO_SAFETENSORS_HPP

#include <cstring>
#include <optional>

#include "ocellus/tensor.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// One tensor of a file. `bytes` may begin at any address: read elements with load() or copy_to().
struct tensor_info {
  std::string_view name;
  dtype type = dtype::f32;
  shape dims;
  std::span<const std::byte> bytes;

  [[nodiscard]] std::size_t count() const noexcept { return static_cast<std::size_t>(dims.count().value()); }
  /// Element i, which must exist, of a tensor whose elements are as large as T.
  template <class T>
  [[nodiscard]] T load(std::size_t i) const noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    return value;
  }
  /// Copies all elements. Errors, naming the tensor: dtype_unknown (it does not hold T), size_mismatch.
  template <class T>
  [[nodiscard]] result<void> copy_to(std::span<T> to) const noexcept {
    if (type != dtype_of<T>) {
      return error(error_code::dtype_unknown, "tensor ", quoted{name}, " holds ", name_of(type), ", not ",
                   name_of(dtype_of<T>));
    }
    if (to.size_bytes() != bytes.size()) {
      return error(error_code::size_mismatch, "tensor ", quoted{name}, " of shape ", shape_text{dims.dims()},
                   " does not have ", to.size(), " elements");
    }
    if (!bytes.empty()) std::memcpy(to.data(), bytes.data(), bytes.size());
    return {};
  }
};

namespace detail {
struct safetensors_parser;
}

/// The table of contents of a safetensors file. Names and metadata are owned; `bytes` of the tensors point
/// into the file's memory, which must outlive them. Move-only, immutable.
class safetensors {
 public:
  static constexpr std::size_t max_header_bytes = 100'000'000;  ///< the format's own limit
  static constexpr std::size_t max_tensors = 65'536;
  static constexpr std::size_t max_name_bytes = 4'096;
  static constexpr std::size_t max_metadata = 65'536;
  static constexpr std::string_view metadata_name = "__metadata__";

  struct metadata_pair {
    std::string_view key;
    std::string_view value;
  };

  /// Reads the header out of a copy of its own, once. What it returns is proven: tensors lie end to end from
  /// the first data byte to the last, each as large as its type and shape say, at most eight dimensions, no
  /// name twice. Errors name the tensor: codes 200 to 228 of error_code.hpp, empty_file, out_of_memory.
  [[nodiscard]] static result<safetensors> parse(std::span<const std::byte> file,
                                                 const memory_hooks& memory = {}) noexcept;

  /// In the order of their bytes in the file.
  [[nodiscard]] std::span<const tensor_info> tensors() const noexcept { return tensors_.span(); }
  /// Null if there is none of that name. Logarithmic.
  [[nodiscard]] const tensor_info* find(std::string_view name) const noexcept;
  /// The same as an error: field_missing, naming the tensor.
  [[nodiscard]] result<tensor_info> at(std::string_view name) const noexcept;

  /// All of `__metadata__`, sorted by key.
  [[nodiscard]] std::span<const metadata_pair> metadata() const noexcept { return metadata_.span(); }
  [[nodiscard]] std::optional<std::string_view> metadata(std::string_view key) const noexcept;

  /// Where the tensors' bytes begin in the file.
  [[nodiscard]] std::size_t data_offset() const noexcept { return data_offset_; }

 private:
  safetensors() noexcept = default;

  text header_;  // the file's header, its strings unescaped in place: names and metadata point into it
  array<tensor_info> tensors_;
  array<std::uint32_t> by_name_;
  array<metadata_pair> metadata_;
  std::size_t data_offset_ = 0;

  friend struct detail::safetensors_parser;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_SAFETENSORS_HPP
