// safetensors_writer: writes a .safetensors file in one pass, its header first, tensors in the order they
// were added.
#ifndef OCELLUS_IO_SAFETENSORS_WRITER_HPP
#define OCELLUS_IO_SAFETENSORS_WRITER_HPP

#include "ocellus/io/file.hpp"
#include "ocellus/io/safetensors.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Use: add_metadata() and add() for everything; begin(sink); write() the bytes of each tensor in the order
/// of the add() calls, a tensor in as many pieces as is handy; finish(). The header is padded with spaces so
/// that the first tensor begins at a multiple of 64 bytes of the file; tensors follow one another without
/// holes, as the format asks.
class safetensors_writer {
 public:
  static constexpr std::size_t data_alignment = 64;

  explicit safetensors_writer(const memory_hooks& memory = {}) noexcept
      : memory_(memory), names_(memory), entries_(memory), metadata_(memory) {}

  /// Both strings are copied. Errors: invalid_argument (after begin), metadata (too many), out_of_memory.
  [[nodiscard]] result<void> add_metadata(std::string_view key, std::string_view value) noexcept;
  /// Announces a tensor; the name is copied. Errors: invalid_argument (after begin), bad_name, limit_name,
  /// limit_tensors, overflow, subbyte, utf8, out_of_memory.
  [[nodiscard]] result<void> add(std::string_view name, dtype type, const shape& dims) noexcept;

  /// Writes the header. Errors: duplicate_key, header_too_large, utf8, out_of_memory, what the sink returns.
  [[nodiscard]] result<void> begin(const byte_sink& sink) noexcept;
  /// The next bytes of the tensor that is not yet complete. Errors: invalid_argument (before begin),
  /// size_mismatch (more than is left of the tensor, or no tensor is left), what the sink returns.
  [[nodiscard]] result<void> write(std::span<const std::byte> bytes) noexcept;
  /// All of a tensor, or a piece of it.
  template <class T>
  [[nodiscard]] result<void> write_elements(std::span<const T> elements) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    return write(std::as_bytes(elements));
  }
  /// Errors: size_mismatch, naming the first tensor that lacks bytes.
  [[nodiscard]] result<void> finish() noexcept;

  [[nodiscard]] std::size_t tensors() const noexcept { return entries_.size(); }
  /// Bytes of all tensors together.
  [[nodiscard]] std::uint64_t data_bytes() const noexcept { return data_bytes_; }

 private:
  struct piece {  // of names_
    std::size_t begin;
    std::size_t size;
  };
  struct entry {
    piece name;
    dtype type;
    shape dims;
    std::uint64_t begin;
    std::uint64_t end;
  };
  struct pair {
    piece key;
    piece value;
  };

  [[nodiscard]] std::string_view text_of(piece p) const noexcept { return {names_.data() + p.begin, p.size}; }
  [[nodiscard]] result<piece> keep(std::string_view from) noexcept;
  [[nodiscard]] result<void> check_unique() const noexcept;
  [[nodiscard]] result<text> header() const noexcept;
  void skip_complete() noexcept;

  memory_hooks memory_;
  text names_;
  array<entry> entries_;
  array<pair> metadata_;
  byte_sink sink_;
  std::uint64_t data_bytes_ = 0;
  std::uint64_t written_ = 0;
  std::size_t current_ = 0;
  bool begun_ = false;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_SAFETENSORS_WRITER_HPP
