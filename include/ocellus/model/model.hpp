// model: one opened model file. Immutable, cheap to copy (a counted handle), shared by any number of sessions.
#ifndef OCELLUS_MODEL_MODEL_HPP
#define OCELLUS_MODEL_MODEL_HPP

#include "ocellus/io/file.hpp"
#include "ocellus/io/safetensors.hpp"
#include "ocellus/model/weights.hpp"

namespace ocellus::inline OCELLUS_ABI {

class tokenizer;

namespace detail {
struct model_state;
}

class model {
 public:
  /// The value of `ocellus.format` in files that this version reads and writes.
  static constexpr std::string_view format_version = "0";
  static constexpr std::size_t max_stops = 16, max_stop_bytes = 256;  ///< of the strings that end an answer

  /// Opens a model file by path. Matrices are used where they lie in the mapped file, and so are vectors unless they
  /// need padding.
  /// Errors name the file and the tensor or field: those of byte_source::open and safetensors::parse, not_a_model,
  /// model_version, config_*, tensor_missing, tensor_shape, tensor_unknown, tokenizer_*, out_of_memory.
  [[nodiscard]] static result<model> open(std::string_view path, const host& hooks = {},
                                          const load_options& options = {}) noexcept;
  /// The same from memory that the caller keeps alive and unchanged for as long as any handle to the model.
  [[nodiscard]] static result<model> open(std::span<const std::byte> file, const host& hooks = {}) noexcept;
  /// The same from a virtual file of the host, read into memory once.
  [[nodiscard]] static result<model> open(const file_reader& file, const host& hooks = {},
                                          const load_options& options = {}) noexcept;

  [[nodiscard]] const model_config& config() const noexcept;
  [[nodiscard]] const model_weights& weights() const noexcept;
  /// Null when the file holds none; text can then not be asked, only ids.
  [[nodiscard]] const class tokenizer* tokenizer() const noexcept;
  /// The name of the prompt template that the file was made for; see find_template.
  [[nodiscard]] std::string_view default_template() const noexcept;
  /// Strings that end an answer, whatever the template.
  [[nodiscard]] std::span<const std::string_view> stops() const noexcept;
  /// The file's table of contents.
  [[nodiscard]] const safetensors& contents() const noexcept;
  /// The file's size in bytes.
  [[nodiscard]] std::uint64_t file_bytes() const noexcept;
  /// Do all matrices start at a multiple of 64 bytes, as converted files do? If not, they are read more slowly.
  [[nodiscard]] bool aligned() const noexcept;

 private:
  explicit model(shared<detail::model_state> state) noexcept : state_(std::move(state)) {}
  [[nodiscard]] static result<model> open(byte_source source, const host& hooks) noexcept;
  shared<detail::model_state> state_;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_MODEL_HPP
