// Writing safetensors files.
#ifndef OCELLUS_IO_SAFETENSORS_WRITER_IPP
#define OCELLUS_IO_SAFETENSORS_WRITER_IPP

#include "ocellus/io/safetensors_writer.hpp"

#include <algorithm>

#include "ocellus/io/json_writer.hpp"
#include "ocellus/io/utf8.hpp"

namespace ocellus::inline OCELLUS_ABI {

result<safetensors_writer::piece> safetensors_writer::keep(std::string_view from) noexcept {
  if (!is_utf8(from)) return error(error_code::utf8, "not UTF-8: ", quoted{from});
  const piece kept{names_.size(), from.size()};
  if (!names_.append(from)) return no_memory("names of tensors");
  return kept;
}

result<void> safetensors_writer::add_metadata(std::string_view key, std::string_view value) noexcept {
  if (begun_) return error(error_code::invalid_argument, "metadata after the header was written");
  if (metadata_.size() == safetensors::max_metadata) {
    return error(error_code::metadata, "more than ", safetensors::max_metadata, " entries in __metadata__");
  }
  pair added;
  OCELLUS_ASSIGN(added.key, keep(key));
  OCELLUS_ASSIGN(added.value, keep(value));
  if (!metadata_.push_back(added)) return no_memory("__metadata__");
  return {};
}

result<void> safetensors_writer::add(std::string_view name, dtype type, const shape& dims) noexcept {
  if (begun_) {
    return error(error_code::invalid_argument, "tensor ", quoted{name}, " after the header was written");
  }
  if (name == safetensors::metadata_name || name.find('\0') != std::string_view::npos) {
    return error(error_code::bad_name, "no tensor may be called ", quoted{name});
  }
  if (name.size() > safetensors::max_name_bytes) {
    return error(error_code::limit_name, "a tensor name of ", name.size(), " bytes: ", quoted{name});
  }
  if (entries_.size() == safetensors::max_tensors) {
    return error(error_code::limit_tensors, "more than ", safetensors::max_tensors, " tensors");
  }
  checked bits(bits_of(type));  // zeros left out, as the reader does
  bool none = false;
  for (std::uint64_t dim : dims.dims()) {
    if (dim == 0) none = true;
    if (dim != 0) bits = bits * dim;
  }
  const std::uint64_t whole = none ? 0 : bits.value();
  const checked end = checked(data_bytes_) + whole / 8;
  if (!bits.valid() || !end.valid()) {
    return error(error_code::overflow, "tensor ", quoted{name}, ": ", name_of(type), " of shape ",
                 shape_text{dims.dims()}, " is too large");
  }
  if (whole % 8 != 0) {
    return error(error_code::subbyte, "tensor ", quoted{name}, ": ", name_of(type), " of shape ",
                 shape_text{dims.dims()}, " does not end on a byte");
  }
  OCELLUS_ASSIGN(const piece kept, keep(name));
  if (!entries_.push_back({kept, type, dims, data_bytes_, end.value()})) {
    return no_memory("the table of tensors");
  }
  data_bytes_ = end.value();
  return {};
}

result<void> safetensors_writer::check_unique() const noexcept {
  array<std::string_view> sorted(memory_);
  const auto find_twin = [&sorted]() noexcept {
    std::sort(sorted.begin(), sorted.end());
    return std::adjacent_find(sorted.begin(), sorted.end());
  };
  if (!sorted.reserve((std::max)(entries_.size(), metadata_.size()))) return no_memory("the order of names");
  for (const entry& tensor : entries_) {
    if (!sorted.push_back(text_of(tensor.name))) return no_memory("the order of names");
  }
  if (const auto twin = find_twin(); twin != sorted.end()) {
    return error(error_code::duplicate_key, "the tensor name ", quoted{*twin}, " was added twice");
  }
  sorted.clear();
  for (const pair& both : metadata_) {
    if (!sorted.push_back(text_of(both.key))) return no_memory("the order of names");
  }
  if (const auto twin = find_twin(); twin != sorted.end()) {
    return error(error_code::duplicate_key, "the metadata key ", quoted{*twin}, " was added twice");
  }
  return {};
}

// The length, the JSON text and the spaces that bring the data to an aligned offset.
result<text> safetensors_writer::header() const noexcept {
  json_writer writer(memory_);
  writer.begin_object();
  if (!metadata_.empty()) {
    writer.key(safetensors::metadata_name).begin_object();
    for (const pair& both : metadata_) writer.key(text_of(both.key)).string(text_of(both.value));
    writer.end_object();
  }
  for (const entry& tensor : entries_) {
    writer.key(text_of(tensor.name)).begin_object().key("dtype").string(name_of(tensor.type));
    writer.key("shape").begin_array();
    for (std::uint64_t dim : tensor.dims.dims()) writer.integer(dim);
    writer.end_array()
        .key("data_offsets")
        .begin_array()
        .integer(tensor.begin)
        .integer(tensor.end)
        .end_array();
    writer.end_object();
  }
  writer.end_object();
  OCELLUS_ASSIGN(const text body, writer.finish());
  const std::size_t all = round_up(8 + body.size(), data_alignment);
  const std::uint64_t length = all - 8;
  if (length > safetensors::max_header_bytes) {
    return error(error_code::header_too_large, "the header has ", length, " bytes, more than ",
                 safetensors::max_header_bytes);
  }
  text made(memory_);
  if (!made.reserve(all)) return no_memory("a safetensors header of ", all, " bytes");
  bool fits = true;
  for (unsigned i = 0; i < 8; ++i) fits = made.push_back(static_cast<char>(length >> (8 * i) & 0xff)) && fits;
  fits = made.append(body.view()) && fits;
  while (made.size() < all) fits = made.push_back(' ') && fits;
  if (!fits) return no_memory("a safetensors header of ", all, " bytes");
  return made;
}

result<void> safetensors_writer::begin(const byte_sink& sink) noexcept {
  if (begun_ || sink.write == nullptr) {
    return error(error_code::invalid_argument,
                 begun_ ? "the header was written already" : "a sink without write");
  }
  OCELLUS_TRY(check_unique());
  OCELLUS_ASSIGN(const text head, header());
  OCELLUS_TRY(sink.write(sink.context, std::as_bytes(head.span())));
  sink_ = sink;
  begun_ = true;
  skip_complete();
  return {};
}

void safetensors_writer::skip_complete() noexcept {
  while (current_ < entries_.size() && written_ == entries_[current_].end) ++current_;
}

result<void> safetensors_writer::write(std::span<const std::byte> bytes) noexcept {
  if (!begun_) return error(error_code::invalid_argument, "tensor bytes before the header");
  if (bytes.empty()) return {};
  if (current_ == entries_.size()) {
    return error(error_code::size_mismatch, bytes.size(), " bytes more than all tensors have");
  }
  const entry& tensor = entries_[current_];
  if (bytes.size() > tensor.end - written_) {
    return error(error_code::size_mismatch, "tensor ", quoted{text_of(tensor.name)}, ": ", bytes.size(),
                 " bytes, but only ", tensor.end - written_, " are left to write");
  }
  OCELLUS_TRY(sink_.write(sink_.context, bytes));
  written_ += bytes.size();
  skip_complete();
  return {};
}

result<void> safetensors_writer::finish() noexcept {
  if (!begun_) return error(error_code::invalid_argument, "no header was written");
  if (current_ != entries_.size()) {
    const entry& tensor = entries_[current_];
    return error(error_code::size_mismatch, "tensor ", quoted{text_of(tensor.name)}, ": ",
                 tensor.end - written_, " bytes were not written");
  }
  return {};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_SAFETENSORS_WRITER_IPP
