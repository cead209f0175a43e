// checkpoint: opening files, the lookup, and reading elements as f32. Shards are in checkpoint_shards.ipp.
#ifndef OCELLUS_MODEL_CHECKPOINT_IPP
#define OCELLUS_MODEL_CHECKPOINT_IPP

#include <algorithm>
#include <cstring>

#include "ocellus/model/checkpoint.hpp"
#include "ocellus/slice.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// What a file that is no checkpoint seems to be.
[[nodiscard]] inline std::string_view guess_format(std::string_view file) noexcept {
  if (file.starts_with("GGUF")) return ": it is a GGUF file";
  if (file.starts_with("\x1f\x8b")) return ": it is compressed with gzip";
  if (file.starts_with("version https://git-lfs"))
    return ": it is a Git LFS pointer; the file itself was not downloaded";
  if (file.starts_with("<")) return ": it is a web page";
  return "";
}

/// Is it a safetensors file by its first nine bytes: a length that fits and an object?
[[nodiscard]] inline bool seems_safetensors(std::span<const std::byte> file) noexcept {
  if (file.size() < 9 || file[8] != std::byte{'{'}) return false;
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  return length <= file.size() - 8;
}

[[nodiscard]] inline shape row_major_strides(const shape& dims) noexcept {
  shape strides = dims;
  std::uint64_t step = 1;
  for (std::size_t i = dims.rank(); i-- > 0;) {
    strides[i] = step;
    step *= dims[i];
  }
  return strides;
}

/// Strides of dimensions of one element do not matter.
[[nodiscard]] inline bool is_row_major(const shape& dims, const shape& strides) noexcept {
  const shape dense = row_major_strides(dims);
  for (std::size_t i = 0; i < dims.rank(); ++i) {
    if (dims[i] != 1 && strides[i] != dense[i]) return false;
  }
  return true;
}

}  // namespace detail

result<text> join_path(std::string_view folder, std::string_view name, const memory_hooks& memory) noexcept {
  text path(memory);
  const bool slash = !folder.empty() && folder.back() != '/';
  if (!path.append(folder) || (slash && !path.append("/")) || !path.append(name)) return no_memory("a path");
  return path;
}

std::string_view folder_of(std::string_view path) noexcept {
#if defined(_WIN32)
  constexpr std::string_view separators = "/\\";
#else
  constexpr std::string_view separators = "/";
#endif
  const std::size_t last = path.find_last_of(separators);
  return last == std::string_view::npos ? std::string_view() : detail::slice(path, 0, last + 1);
}

result<void> checkpoint::add_file(source_role role, std::string_view path) noexcept {
  OCELLUS_ASSIGN(byte_source bytes, byte_source::open(path, hooks_.memory));
  auto added = add_bytes(role, path, std::move(bytes));
  if (!added) return added.error().in(quoted{path});
  return {};
}

result<void> checkpoint::add_bytes(source_role role, std::string_view path, byte_source&& bytes) noexcept {
  OCELLUS_ASSIGN(text copy, copy_text(path, hooks_.memory));
  source made{std::move(copy), std::move(bytes), std::nullopt, std::nullopt};
  const std::span<const std::byte> file = made.bytes.bytes();
  const auto index = static_cast<std::uint32_t>(files_.size());
  if (torch_file::is_torch_file(file)) {
    OCELLUS_ASSIGN(auto opened, torch_file::open(file, hooks_.memory));
    made.torch.emplace(std::move(opened));
    for (const torch_tensor& t : made.torch->tensors()) {
      checkpoint_tensor added;
      added.given = t.name;
      added.role = role;
      added.type = t.type;
      added.file = index;
      added.storage_index = t.storage_index;
      added.dims = t.dims;
      added.strides = t.strides;
      added.offset = t.offset;
      added.storage = t.storage;
      added.row_major = detail::is_row_major(t.dims, t.strides);
      if (!tensors_.push_back(added)) return no_memory("the list of tensors");
    }
  } else if (detail::seems_safetensors(file) ||
             (path.ends_with(".safetensors") && detail::guess_format(made.bytes.chars()).empty())) {
    OCELLUS_ASSIGN(auto opened, safetensors::parse(file, hooks_.memory));
    made.plain.emplace(std::move(opened));
    for (const tensor_info& t : made.plain->tensors()) {
      checkpoint_tensor added;
      added.given = t.name;
      added.role = role;
      added.type = t.type;
      added.file = index;
      added.dims = t.dims;
      added.strides = detail::row_major_strides(t.dims);
      added.storage = t.bytes;
      if (!tensors_.push_back(added)) return no_memory("the list of tensors");
    }
  } else {
    return error(error_code::not_this_format, "neither a checkpoint of torch.save nor a safetensors file",
                 detail::guess_format(made.bytes.chars()));
  }
  if (!files_.push_back(std::move(made))) return no_memory("the list of checkpoint files");
  return {};
}

void checkpoint::assume(source_role role) noexcept {
  for (checkpoint_tensor& t : tensors_) t.role = role;
}

result<void> checkpoint::seal() noexcept {
  array<std::size_t> ends(hooks_.memory);
  for (checkpoint_tensor& t : tensors_) {
    const canonical_name canonical = canonical_name_of(t.role, t.given);
    t.renamed = canonical.renamed;
    if (!names_.append(canonical.name.valid() ? canonical.name.view() : t.given) ||
        !ends.push_back(names_.size())) {
      return no_memory("the names of tensors");
    }
  }
  for (std::size_t i = 0, begin = 0; i < tensors_.size(); begin = ends[i++]) {
    tensors_[i].name = detail::slice(names_.view(), begin, ends[i] - begin);
  }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const checkpoint_tensor& a, const checkpoint_tensor& b) noexcept {
              if (const int order = a.name.compare(b.name); order != 0) return order < 0;
              return a.role < b.role;
            });
  for (std::size_t i = 1; i < tensors_.size(); ++i) {
    if (tensors_[i].name != tensors_[i - 1].name) continue;
    if (tensors_[i].role == tensors_[i - 1].role) {
      return error(error_code::duplicate_key, quoted{tensors_[i - 1].given}, " and ",
                   quoted{tensors_[i].given}, " of ", quoted{path_of(tensors_[i].file)},
                   " are the same tensor");
    }
    tensors_[i - 1].fate = tensor_fate::overlaid;
  }
  sealed_ = true;
  return {};
}

checkpoint_tensor* checkpoint::find(std::string_view name) noexcept {
  if (!sealed_) return nullptr;
  checkpoint_tensor* last = std::upper_bound(
      tensors_.begin(), tensors_.end(), name,
      [](std::string_view wanted, const checkpoint_tensor& t) noexcept { return wanted < t.name; });
  if (last == tensors_.begin() || (last - 1)->name != name) return nullptr;
  return last - 1;
}

result<void> checkpoint::use(checkpoint_tensor& tensor) noexcept {
  switch (tensor.type) {
    case dtype::f32:
    case dtype::f16:
    case dtype::bf16:
    case dtype::f64:
      break;
    default:
      return error(error_code::tensor_shape, quoted{path_of(tensor.file)}, ": tensor ", quoted{tensor.given},
                   " is ", name_of(tensor.type), ", expected F32, F16, BF16 or F64");
  }
  tensor.fate = tensor_fate::used;
  return verify(tensor);
}

result<void> checkpoint::verify(const checkpoint_tensor& tensor) noexcept {
  source& from = files_[tensor.file];
  if (!from.torch) return {};
  auto intact = from.torch->verify(tensor.storage_index);
  evict(tensor);  // verifying read it all
  if (!intact) return intact.error().in(quoted{from.path.view()}, ": tensor ", quoted{tensor.given});
  return {};
}

void checkpoint::read(const checkpoint_tensor& tensor, std::uint64_t first,
                      std::span<float> out) const noexcept {
  if (tensor.row_major) {
    const std::uint64_t begin = tensor.offset + first;
    if (tensor.type == dtype::f32) {
      if (!out.empty())
        std::memcpy(out.data(), tensor.storage.data() + begin * sizeof(float), out.size_bytes());
      return;
    }
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = load_as_f32(tensor.type, tensor.storage.data(), begin + i);
    return;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint64_t rest = first + i;
    std::uint64_t at = tensor.offset;
    for (std::size_t d = tensor.dims.rank(); d-- > 0;) {
      at += rest % tensor.dims[d] * tensor.strides[d];
      rest /= tensor.dims[d];
    }
    out[i] = load_as_f32(tensor.type, tensor.storage.data(), at);
  }
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CHECKPOINT_IPP
