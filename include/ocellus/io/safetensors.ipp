// Validating the header of a safetensors file.
#ifndef OCELLUS_IO_SAFETENSORS_IPP
#define OCELLUS_IO_SAFETENSORS_IPP

#include "ocellus/io/safetensors.hpp"

#include <algorithm>
#include <charconv>

#include "ocellus/io/json_reader.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

// Names, for an error message, what a file of another kind seems to be.
inline std::string_view other_format_hint(std::span<const std::byte> file) noexcept {
  const std::string_view head(reinterpret_cast<const char*>(file.data()),
                              (std::min)(file.size(), std::size_t{16}));
  const auto begins = [head](std::string_view with) noexcept { return head.starts_with(with); };
  if (begins("PK\x03\x04")) return " (it looks like a zip archive, such as a PyTorch checkpoint)";
  if (begins("\x1f\x8b")) return " (it looks like a gzip file)";
  if (begins("version https://")) {
    return " (it looks like a git-lfs pointer: fetch the real file with git lfs pull)";
  }
  if (begins("GGUF")) return " (it looks like a GGUF file)";
  if (begins("\x80\x02")) return " (it looks like a Python pickle)";
  if (begins("\x89HDF")) return " (it looks like an HDF5 file)";
  if (begins("<!") || begins("<html") || begins("<HTML") || begins("<?xml")) {
    return " (it looks like a web page)";
  }
  return "";
}

/// The steps of safetensors::parse, and what they share.
struct safetensors_parser {
  using kind = json_event::kind;

  // A tensor with its place among the data bytes, which is not yet known to be within the file.
  struct placed {
    tensor_info info;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint32_t rank = 0;  // among the tensors in order of their bytes
  };

  std::span<const std::byte> file;
  const memory_hooks& memory;
  safetensors& out;
  array<placed> places{memory};

  result<void> run() noexcept {
    OCELLUS_TRY(copy_header());
    OCELLUS_TRY(check_syntax());
    OCELLUS_TRY(read_header());
    OCELLUS_TRY(check_names());
    return lay_out();
  }

  // Invariant: every byte that decides anything is read from the file once, here.
  result<void> copy_header() noexcept {
    if (file.empty()) return error(error_code::empty_file, "the file has no bytes");
    if (file.size() < 8) {
      return error(error_code::truncated_length, "the file has ", file.size(),
                   " bytes, too few for a safetensors header", detail::other_format_hint(file));
    }
    std::uint64_t length = 0;
    for (unsigned i = 0; i < 8; ++i) length |= std::to_integer<std::uint64_t>(file[i]) << (8 * i);
    if (length > safetensors::max_header_bytes) {
      return error(error_code::header_too_large, "the header has ", length, " bytes, more than ",
                   safetensors::max_header_bytes, detail::other_format_hint(file));
    }
    if (length > file.size() - 8) {
      return error(error_code::header_past_eof, "the header has ", length, " bytes, but the file has ",
                   file.size() - 8, " after its length", detail::other_format_hint(file));
    }
    if (length < 2) return error(error_code::header_too_small, "the header has ", length, " bytes");
    const std::string_view source(reinterpret_cast<const char*>(file.data()) + 8,
                                  static_cast<std::size_t>(length));
    out.header_ = text(memory);
    if (!out.header_.reserve(source.size()) || !out.header_.append(source)) {
      return no_memory("a safetensors header of ", source.size(), " bytes");
    }
    out.data_offset_ = 8 + source.size();
    return {};
  }

  static json_limits limits() noexcept {
    json_limits header;
    header.bytes = header.string_bytes = safetensors::max_header_bytes;
    header.depth = 8;  // the format needs three
    return header;
  }

  // Before any meaning is looked for, so that a text that is not JSON is always called that; and so that the
  // number of tensors is known before memory is asked for.
  result<void> check_syntax() noexcept {
    json_reader reader(out.header_.view(), limits());
    std::size_t entries = 0;
    OCELLUS_ASSIGN(const json_event root, reader.next());
    for (;;) {
      OCELLUS_ASSIGN(const json_event event, reader.next());
      if (event.what == kind::end) break;
      if (event.what == kind::key && reader.depth() == 1) ++entries;
    }
    if (root.what != kind::begin_object) {
      return error(error_code::root_not_object, "the header is not a JSON object");
    }
    if (!places.reserve((std::min)(entries, safetensors::max_tensors))) {
      return no_memory("the table of tensors");
    }
    return {};
  }

  // The reader is past the text already, so it may be unescaped where it stands.
  std::string_view unescape(const json_event& event) noexcept {
    if (!event.escaped) return event.text;
    char* to = out.header_.data() + (event.text.data() - out.header_.data());
    return {to, unescape_json(event.text, to)};
  }

  result<void> read_header() noexcept {
    json_reader reader(out.header_.view(), limits());
    bool metadata_seen = false;
    OCELLUS_TRY(reader.next());
    for (;;) {
      OCELLUS_ASSIGN(const json_event key, reader.next());
      if (key.what != kind::key) return {};
      const std::string_view name = unescape(key);
      if (name == safetensors::metadata_name) {
        if (metadata_seen) return error(error_code::duplicate_key, "__metadata__ stands twice");
        metadata_seen = true;
        OCELLUS_TRY(read_metadata(reader));
        continue;
      }
      if (name.find('\0') != std::string_view::npos) {
        return error(error_code::bad_name, "the tensor name ", quoted{name}, " holds a NUL");
      }
      if (name.size() > safetensors::max_name_bytes) {
        return error(error_code::limit_name, "a tensor name of ", name.size(), " bytes, more than ",
                     safetensors::max_name_bytes, ": ", quoted{name});
      }
      if (places.size() == safetensors::max_tensors) {
        return error(error_code::limit_tensors, "more than ", safetensors::max_tensors, " tensors");
      }
      OCELLUS_ASSIGN(const placed tensor, read_tensor(reader, name));
      if (!places.push_back(tensor)) return no_memory("the table of tensors");
    }
  }

  result<void> read_metadata(json_reader& reader) noexcept {
    out.metadata_ = array<safetensors::metadata_pair>(memory);
    OCELLUS_ASSIGN(const json_event begun, reader.next());
    if (begun.what != kind::begin_object) return error(error_code::metadata, "__metadata__ is not an object");
    for (;;) {
      OCELLUS_ASSIGN(const json_event key, reader.next());
      if (key.what != kind::key) break;
      const std::string_view name = unescape(key);
      OCELLUS_ASSIGN(const json_event value, reader.next());
      if (value.what != kind::string) {
        return error(error_code::metadata, "the value of ", quoted{name}, " in __metadata__ is not a string");
      }
      if (out.metadata_.size() == safetensors::max_metadata) {
        return error(error_code::metadata, "more than ", safetensors::max_metadata,
                     " entries in __metadata__");
      }
      if (!out.metadata_.push_back({name, unescape(value)})) return no_memory("__metadata__");
    }
    std::sort(out.metadata_.begin(), out.metadata_.end(),
              [](const auto& a, const auto& b) noexcept { return a.key < b.key; });
    for (std::size_t i = 1; i < out.metadata_.size(); ++i) {
      if (out.metadata_[i - 1].key == out.metadata_[i].key) {
        return error(error_code::duplicate_key, "the key ", quoted{out.metadata_[i].key},
                     " stands twice in __metadata__");
      }
    }
    return {};
  }

  result<placed> read_tensor(json_reader& reader, std::string_view name) noexcept {
    const auto fail = [name](error_code code, auto... parts) noexcept {
      return error(code, "tensor ", quoted{name}, ": ", parts...);
    };
    placed tensor;
    tensor.info.name = name;
    bool has_type = false, has_shape = false, has_offsets = false, has_other = false;
    OCELLUS_ASSIGN(const json_event begun, reader.next());
    if (begun.what != kind::begin_object) {
      return fail(error_code::field_type, "its description is not an object");
    }
    for (;;) {
      OCELLUS_ASSIGN(const json_event key, reader.next());
      if (key.what != kind::key) break;
      const std::string_view field = unescape(key);
      bool* seen = field == "dtype"          ? &has_type
                   : field == "shape"        ? &has_shape
                   : field == "data_offsets" ? &has_offsets
                                             : nullptr;
      OCELLUS_ASSIGN(const json_event value, reader.next());
      if (seen == nullptr) {  // told below, after what is missing
        has_other = true;
        OCELLUS_TRY(reader.skip(value));
        continue;
      }
      if (*seen) return fail(error_code::duplicate_key, field, " stands twice");
      *seen = true;
      if (seen == &has_type) {
        if (value.what != kind::string) return fail(error_code::field_type, "dtype is not a string");
        const std::string_view type = unescape(value);
        if (!parse_dtype(type, tensor.info.type)) {
          return fail(error_code::dtype_unknown, "unknown dtype ", quoted{type});
        }
      } else {
        if (value.what != kind::begin_array) return fail(error_code::field_type, field, " is not an array");
        if (seen == &has_shape) {
          OCELLUS_TRY(read_shape(reader, tensor.info));
        } else {
          OCELLUS_TRY(read_offsets(reader, tensor));
        }
      }
    }
    if (!has_type) return fail(error_code::field_missing, "dtype is missing");
    if (!has_shape) return fail(error_code::field_missing, "shape is missing");
    if (!has_offsets) return fail(error_code::field_missing, "data_offsets is missing");
    if (has_other) {
      return fail(error_code::field_unknown, "it has a field besides dtype, shape and data_offsets");
    }
    if (tensor.end < tensor.begin) {
      return fail(error_code::offset_order, "it begins at ", tensor.begin, " and ends at ", tensor.end);
    }
    return tensor;
  }

  // An element of shape or data_offsets. The text must be digits alone: 2.0, 2e0 and -0 are no sizes.
  static result<std::uint64_t> read_size(const json_event& event, std::string_view name,
                                         std::string_view field) noexcept {
    if (event.what != kind::number) {
      return error(error_code::field_type, "tensor ", quoted{name}, ": ", field, " holds what is no number");
    }
    std::uint64_t size = 0;
    const char* last = event.text.data() + event.text.size();
    const auto [end, problem] = std::from_chars(event.text.data(), last, size);
    if (problem != std::errc() || end != last) {
      return error(error_code::not_uint, "tensor ", quoted{name}, ": ", field, " holds ", quoted{event.text},
                   ", no unsigned 64-bit integer");
    }
    return size;
  }

  result<void> read_shape(json_reader& reader, tensor_info& info) noexcept {
    for (;;) {
      OCELLUS_ASSIGN(const json_event event, reader.next());
      if (event.what == kind::end_array) return {};
      OCELLUS_ASSIGN(const std::uint64_t dim, read_size(event, info.name, "shape"));
      if (!info.dims.push_back(dim)) {
        return error(error_code::rank, "tensor ", quoted{info.name}, ": more than ", shape::max_rank,
                     " dimensions");
      }
    }
  }

  result<void> read_offsets(json_reader& reader, placed& tensor) noexcept {
    for (std::size_t i = 0;; ++i) {
      OCELLUS_ASSIGN(const json_event event, reader.next());
      if (event.what == kind::end_array) {
        if (i == 2) return {};
        return error(error_code::field_type, "tensor ", quoted{tensor.info.name}, ": data_offsets holds ", i,
                     " instead of 2 numbers");
      }
      OCELLUS_ASSIGN(const std::uint64_t offset, read_size(event, tensor.info.name, "data_offsets"));
      if (i == 0) tensor.begin = offset;
      if (i == 1) tensor.end = offset;
    }
  }

  result<void> check_names() noexcept {
    array<std::uint32_t> order(memory);
    if (!order.resize(places.size())) return no_memory("the order of tensor names");
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto name = [this](std::uint32_t i) noexcept { return places[i].info.name; };
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) noexcept { return name(a) < name(b); });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (name(order[i - 1]) == name(order[i])) {
        return error(error_code::duplicate_key, "the tensor name ", quoted{name(order[i])}, " stands twice");
      }
    }
    out.by_name_ = std::move(order);
    return {};
  }

  // The bytes that type and shape ask for.
  static result<std::uint64_t> bytes_needed(const tensor_info& info) noexcept {
    // Zeros are left out of the product: [0, 2^63, 4] overflows whatever the order of its factors.
    checked bits(bits_of(info.type));
    bool none = false;
    for (std::uint64_t dim : info.dims.dims()) {
      if (dim == 0) none = true;
      if (dim != 0) bits = bits * dim;
    }
    if (!bits.valid()) {
      return error(error_code::overflow, "tensor ", quoted{info.name}, ": ", name_of(info.type), " of shape ",
                   shape_text{info.dims.dims()}, " has more than 2^64 bits");
    }
    if (none) return std::uint64_t{0};
    if (bits.value() % 8 != 0) {
      return error(error_code::subbyte, "tensor ", quoted{info.name}, ": ", name_of(info.type), " of shape ",
                   shape_text{info.dims.dims()}, " does not end on a byte");
    }
    return bits.value() / 8;
  }

  // Tensors in order of their bytes must follow one another from the first data byte to the last.
  result<void> lay_out() noexcept {
    for (const placed& tensor : places) OCELLUS_TRY(bytes_needed(tensor.info));
    array<std::uint32_t> order(memory);
    if (!order.resize(places.size())) return no_memory("the order of tensors");
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) noexcept {
      const placed &left = places[a], &right = places[b];
      if (left.begin != right.begin) return left.begin < right.begin;
      return left.end != right.end ? left.end < right.end : a < b;
    });
    std::uint64_t at = 0;
    for (std::uint32_t index : order) {
      const placed& tensor = places[index];
      const tensor_info& info = tensor.info;
      if (tensor.begin != at) {
        const bool hole = tensor.begin > at;
        return error(hole ? error_code::hole : error_code::overlap, "tensor ", quoted{info.name},
                     " begins at ", tensor.begin,
                     hole ? ", but the bytes before it end at " : ", inside bytes that end at ", at);
      }
      OCELLUS_ASSIGN(const std::uint64_t bytes, bytes_needed(info));
      if (tensor.end - tensor.begin != bytes) {
        return error(error_code::size_mismatch, "tensor ", quoted{info.name}, ": ", name_of(info.type),
                     " of shape ", shape_text{info.dims.dims()}, " needs ", bytes, " bytes, but has ",
                     tensor.end - tensor.begin);
      }
      at = tensor.end;
    }
    const std::uint64_t data = file.size() - out.data_offset_;
    if (at != data) {
      if (at < data) return error(error_code::trailing_data, "bytes follow the last tensor: ", data - at);
      const placed* past = first_past(order, data);
      return error(error_code::truncated_data, "tensor ", quoted{past->info.name}, " ends at ", past->end,
                   ", but the file has only ", data, " data bytes");
    }
    out.tensors_ = array<tensor_info>(memory);
    if (!out.tensors_.reserve(places.size())) return no_memory("the table of tensors");
    for (std::uint32_t index : order) {
      placed& tensor = places[index];
      tensor.info.bytes = file.subspan(out.data_offset_ + static_cast<std::size_t>(tensor.begin),
                                       static_cast<std::size_t>(tensor.end - tensor.begin));
      tensor.rank = static_cast<std::uint32_t>(out.tensors_.size());
      if (!out.tensors_.push_back(tensor.info)) return no_memory("the table of tensors");
    }
    for (std::uint32_t& index : out.by_name_) index = places[index].rank;
    return {};
  }

  const placed* first_past(const array<std::uint32_t>& order, std::uint64_t data) const noexcept {
    for (std::uint32_t index : order) {
      if (places[index].end > data) return &places[index];
    }
    return &places[order.back()];
  }
};

}  // namespace detail

result<safetensors> safetensors::parse(std::span<const std::byte> file, const memory_hooks& memory) noexcept {
  safetensors made;
  detail::safetensors_parser parser{file, memory, made};
  OCELLUS_TRY(parser.run());
  return made;
}

const tensor_info* safetensors::find(std::string_view name) const noexcept {
  const std::uint32_t* found = std::lower_bound(
      by_name_.begin(), by_name_.end(), name,
      [this](std::uint32_t index, std::string_view wanted) { return tensors_[index].name < wanted; });
  return found == by_name_.end() || tensors_[*found].name != name ? nullptr : &tensors_[*found];
}

result<tensor_info> safetensors::at(std::string_view name) const noexcept {
  const tensor_info* found = find(name);
  if (found == nullptr) return error(error_code::field_missing, "there is no tensor ", quoted{name});
  return *found;
}

std::optional<std::string_view> safetensors::metadata(std::string_view key) const noexcept {
  const metadata_pair* found =
      std::lower_bound(metadata_.begin(), metadata_.end(), key,
                       [](const metadata_pair& pair, std::string_view wanted) { return pair.key < wanted; });
  if (found == metadata_.end() || found->key != key) return std::nullopt;
  return found->value;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_SAFETENSORS_IPP
