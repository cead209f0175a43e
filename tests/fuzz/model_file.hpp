// Model files of any configuration, made in memory: names and shapes from the walk over the weights, values from a
// function. Without doctest, unlike support/tiny_model.hpp, and small enough to be mutated.
#ifndef OCELLUS_TESTS_FUZZ_MODEL_FILE_HPP
#define OCELLUS_TESTS_FUZZ_MODEL_FILE_HPP

#include "fuzz/fuzz.hpp"
#include "ocellus/io/json_writer.hpp"
#include "ocellus/io/safetensors_writer.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/text/tokenizer.hpp"
#include "support/append_to.hpp"

namespace ocellus_fuzz {

/// The tokenizer of 256 bytes, two merges and the end-of-text token, as a model file's arrays.
class byte_tokenizer {
 public:
  static constexpr std::uint32_t ids = 259;

  byte_tokenizer() {
    for (int b = 0; b < 256; ++b) add(std::string(1, static_cast<char>(b)));
    add("##"), add("###"), add("<|endoftext|>");
  }
  [[nodiscard]] ocellus::tokenizer_data data() const {
    const auto of = [](const auto& numbers) { return std::as_bytes(std::span(numbers)); };
    return {bytes_of(bytes_), of(offsets_), of(merges_), of(added_), of(special_)};
  }

 private:
  void add(const std::string& token) {
    bytes_ += token;
    offsets_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }

  std::string bytes_;
  std::vector<std::uint32_t> offsets_{0};
  std::uint32_t merges_[4] = {'#', '#', 256, '#'};
  std::uint32_t added_[2] = {258, ocellus::added_special | ocellus::added_raw};
  std::uint32_t special_[1] = {258};
};

struct model_file_options {
  ocellus::model_config config;
  ocellus::weight_format format = ocellus::weight_format::f32;
  std::string_view template_name = "micro";
  bool tokenizer = false;
  std::size_t most_bytes = SIZE_MAX;    ///< of all tensors; a larger model is not made
  std::size_t wrong_tensor = SIZE_MAX;  ///< one whose last dimension is by one too large, modulo their number
};

namespace detail {

struct file_tensor {
  std::string name;
  ocellus::dtype type;
  ocellus::shape dims;
};

/// Collects what the walk over the weights asks for.
struct file_tensors {
  ocellus::weight_format format;
  std::vector<file_tensor> tensors = {};
  ocellus::json_writer matrices = ocellus::json_writer();

  ocellus::result<void> large(std::string_view name, std::uint32_t n, std::uint32_t k,
                              const ocellus::shape& dims, const ocellus::shape& scales) noexcept {
    matrices.key(name).begin_object();
    matrices.key("format").string(ocellus::name_of(format)).key("n").integer(n).key("k").integer(k);
    matrices.end_object();
    OCELLUS_TRY(add(name, ocellus::dtype_of_format(format), dims));
    return is_quantized(format) ? add(std::string(name) + ".scales", ocellus::dtype::f16, scales)
                                : ocellus::result<void>();
  }
  ocellus::result<void> add(std::string_view name, ocellus::dtype type, const ocellus::shape& dims) noexcept {
    tensors.push_back({std::string(name), type, dims});
    return {};
  }
  ocellus::result<void> matrix_of(std::string_view name, ocellus::packed_matrix&, std::uint32_t n,
                                  std::uint32_t k) noexcept {
    return large(name, n, k, ocellus::packed_shape(format, n, k), ocellus::packed_scale_shape(n, k));
  }
  ocellus::result<void> table_of(std::string_view name, ocellus::gathered_table&, std::uint32_t n,
                                 std::uint32_t k) noexcept {
    return large(name, n, k, ocellus::table_shape(format, n, k), ocellus::table_scale_shape(n, k));
  }
  ocellus::result<void> rows_of(std::string_view name, ocellus::matrix&, std::uint32_t n,
                                std::uint32_t k) noexcept {
    return add(name, ocellus::dtype::f32, {n, k});
  }
  ocellus::result<void> vector_of(std::string_view name, ocellus::matrix&, std::uint32_t size) noexcept {
    return add(name, ocellus::dtype::f32, {size});
  }
};

template <class Values>
std::vector<std::byte> tensor_bytes(const file_tensor& t, const Values& value) {
  const auto count = static_cast<std::size_t>(t.dims.count().value());
  const std::size_t size = ocellus::bits_of(t.type) / 8;
  std::vector<std::byte> bytes(count * size);
  for (std::size_t i = 0; i < count; ++i) {
    const float v = value(t.name, i);
    const std::uint16_t narrow =
        t.type == ocellus::dtype::f16 ? ocellus::to_f16(v).bits : ocellus::to_bf16(v).bits;
    if (size == 4) {
      std::memcpy(bytes.data() + i * size, &v, size);
    } else if (size == 1) {  // codes of q8 or q4: any bits will do
      bytes[i] = static_cast<std::byte>(narrow >> 4);
    } else {
      std::memcpy(bytes.data() + i * size, &narrow, size);
    }
  }
  return bytes;
}

}  // namespace detail

/// A model file that is as it should be, but for wrong_tensor; empty if it would be too large. The configuration must be valid.
/// value(tensor's name, i): element i of a tensor, before it is rounded to the tensor's type.
template <class Values>
std::vector<std::byte> make_model_file(const model_file_options& o, const Values& value) {
  using ocellus::dtype;
  detail::file_tensors list{o.format};
  list.matrices.begin_object();
  ocellus::model_weights unused;
  OCELLUS_HOLDS(ocellus::visit_weights(o.config, unused, list));
  list.matrices.end_object();

  if (o.wrong_tensor != SIZE_MAX) {
    ocellus::shape& dims = list.tensors[o.wrong_tensor % list.tensors.size()].dims;
    ++dims[dims.rank() - 1];
  }

  ocellus::safetensors_writer writer;
  OCELLUS_HOLDS(writer.add_metadata("ocellus.format", ocellus::model::format_version));
  OCELLUS_HOLDS(writer.add_metadata("ocellus.config", ocellus::to_json(o.config, {})->view()));
  OCELLUS_HOLDS(writer.add_metadata("ocellus.matrices", list.matrices.finish()->view()));
  OCELLUS_HOLDS(writer.add_metadata("ocellus.template", o.template_name));
  OCELLUS_HOLDS(writer.add_metadata("ocellus.stops", R"(["###"])"));
  for (const auto& t : list.tensors) OCELLUS_HOLDS(writer.add(t.name, t.type, t.dims));
  const byte_tokenizer words;
  const ocellus::tokenizer_data data = words.data();
  if (o.tokenizer) {
    OCELLUS_HOLDS(writer.add("tokenizer.offsets", dtype::u32, {data.offsets.size() / 4}));
    OCELLUS_HOLDS(writer.add("tokenizer.merges", dtype::u32, {data.merges.size() / 8, 2}));
    OCELLUS_HOLDS(writer.add("tokenizer.added", dtype::u32, {data.added.size() / 8, 2}));
    OCELLUS_HOLDS(writer.add("tokenizer.special", dtype::u32, {1}));
    OCELLUS_HOLDS(writer.add("tokenizer.bytes", dtype::u8, {data.bytes.size()}));
  }
  if (writer.data_bytes() > o.most_bytes) return {};

  std::vector<std::byte> file;
  OCELLUS_HOLDS(writer.begin(ocellus_tests::append_to(file)));
  for (const auto& t : list.tensors) OCELLUS_HOLDS(writer.write(detail::tensor_bytes(t, value)));
  if (o.tokenizer) {
    for (const auto part : {data.offsets, data.merges, data.added, data.special, data.bytes})
      OCELLUS_HOLDS(writer.write(part));
  }
  OCELLUS_HOLDS(writer.finish());
  file.shrink_to_fit();
  return file;
}

}  // namespace ocellus_fuzz

#endif  // OCELLUS_TESTS_FUZZ_MODEL_FILE_HPP
