// torch_file: the archive's small entries, then the pickle, then the proof that every tensor lies in its storage.
#ifndef OCELLUS_IO_TORCH_FILE_IPP
#define OCELLUS_IO_TORCH_FILE_IPP

#include <algorithm>

#include "ocellus/io/pickle.hpp"
#include "ocellus/io/torch_file.hpp"

namespace ocellus::inline OCELLUS_ABI {

struct torch_file_reader {
  /// A storage as one reference describes it.
  struct reference {
    std::uint64_t key;
    std::uint32_t index;  // in the pickle's storages()
  };

  const memory_hooks& memory;
  const pickle& from;
  torch_file& to;
  array<std::uint32_t> storage_of;  // by index in the pickle's storages(): index in to.storages_

  // Signatures of what came before the zip archives: a tar, and a pickle of a magic number.
  [[nodiscard]] static bool is_tar(std::string_view file) noexcept {
    return file.size() >= 262 && std::string_view(file.data() + 257, 5) == "ustar";
  }
  [[nodiscard]] static bool is_legacy_pickle(std::string_view file) noexcept {
    return file.starts_with(std::string_view("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14));
  }

  /// A small entry that says something about the others, its checksum compared; missing ones are empty.
  [[nodiscard]] static result<std::string_view> small_entry(const zip_archive& archive,
                                                            std::string_view name) noexcept {
    const zip_entry* entry = archive.find(name);
    if (entry == nullptr) return std::string_view();
    OCELLUS_TRY(zip_archive::verify(*entry));
    return std::string_view(reinterpret_cast<const char*>(entry->bytes.data()), entry->bytes.size());
  }

  [[nodiscard]] static result<void> check_format(const zip_archive& archive) noexcept {
    if (archive.find("constants.pkl") != nullptr) {
      return error(error_code::torchscript, "the file is a TorchScript program, not a checkpoint");
    }
    OCELLUS_ASSIGN(const std::string_view order, small_entry(archive, "byteorder"));
    if (!order.empty() && order != "little") {
      return error(error_code::byte_order, "the checkpoint's byte order is ", quoted{order},
                   ", not \"little\"");
    }
    if (archive.find("version") == nullptr)
      return error(error_code::zip_missing, "the checkpoint has no entry \"version\"");
    OCELLUS_ASSIGN(std::string_view number, small_entry(archive, "version"));
    if (number.ends_with('\n')) number.remove_suffix(1);
    // 3 is what torch.save writes since it writes zip archives; PyTorch itself reads 1 to 10.
    const bool known = (number.size() == 1 && number[0] >= '1' && number[0] <= '9') || number == "10";
    if (!known)
      return error(error_code::torch_version, "the checkpoint is of the unknown version ", quoted{number});
    return {};
  }

  /// Finds the file of every storage and checks that all references to it agree with it and with each other.
  [[nodiscard]] result<void> read_storages() noexcept {
    const std::span<const pickle_storage> all = from.storages();
    array<reference> sorted(memory);
    if (!sorted.reserve(all.size()) || !storage_of.resize(all.size()))
      return no_memory("the checkpoint's storages");
    for (std::uint32_t i = 0; i < all.size(); ++i) {
      std::uint64_t key = 0;  // at most ten digits; leading zeros stay distinct by their number
      for (char c : all[i].key) key = key * 10 + static_cast<std::uint64_t>(c - '0');
      if (!sorted.push_back({key | std::uint64_t{all[i].key.size()} << 40, i})) return no_memory("storages");
    }
    std::sort(sorted.begin(), sorted.end(), [](const reference& a, const reference& b) noexcept {
      return a.key != b.key ? a.key < b.key : a.index < b.index;
    });
    const pickle_storage* first = nullptr;  // of the storage at hand
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      const pickle_storage& s = all[sorted[i].index];
      if (i == 0 || sorted[i].key != sorted[i - 1].key) {
        OCELLUS_TRY(add_storage(sorted[i].key, s.key));
        first = &s;
      } else if (s.type != first->type || s.count != first->count) {
        return error(error_code::storage_conflict, "storage ", s.key, " is described in two ways");
      }
      storage_of[sorted[i].index] = static_cast<std::uint32_t>(to.storages_.size() - 1);
    }
    for (std::uint32_t i = 0; i < all.size(); ++i)
      OCELLUS_TRY(check_size(all[i], to.storages_[storage_of[i]]));
    return {};
  }
  [[nodiscard]] result<void> add_storage(std::uint64_t id, std::string_view key) noexcept {
    char path[16] = "data/";
    std::copy(key.begin(), key.end(), path + 5);
    const zip_entry* entry = to.archive_.find({path, 5 + key.size()});
    if (entry == nullptr)
      return error(error_code::zip_missing, "storage ", key, " has no entry in the archive");
    if (!to.storages_.push_back({id, entry, false})) return no_memory("the checkpoint's storages");
    return {};
  }
  [[nodiscard]] static result<void> check_size(const pickle_storage& s,
                                               const torch_file::storage& found) noexcept {
    const checked bytes = checked(s.count) * (s.type ? bits_of(*s.type) / 8 : 1);
    if (bytes.valid() && bytes.value() == found.entry->bytes.size()) return {};
    return error(error_code::storage_size, "storage ", s.key, " of ", s.count, " elements has ",
                 found.entry->bytes.size(), " bytes");
  }

  /// The dictionary that the weights are in.
  [[nodiscard]] result<pickle_value> state_dict() const noexcept {
    const pickle_value root = from.root();
    if (root.kind != pickle_kind::dict) {
      return error(error_code::no_state_dict, "the checkpoint is ", name_of(root.kind),
                   ", not a dictionary of tensors");
    }
    for (std::string_view wrapper : {"model", "state_dict"}) {
      const auto inner = from.find(root, wrapper);
      if (inner && inner->kind == pickle_kind::dict) return *inner;
    }
    return root;
  }

  [[nodiscard]] result<void> read_tensors() noexcept {
    OCELLUS_ASSIGN(const pickle_value dict, state_dict());
    OCELLUS_TRY(from.for_members(dict, [this](const pickle::member& m) noexcept { return read_member(m); }));
    array<torch_tensor>& tensors = to.tensors_;
    if (tensors.empty()) return error(error_code::no_state_dict, "the checkpoint holds no tensors");
    std::sort(tensors.begin(), tensors.end(),
              [](const torch_tensor& a, const torch_tensor& b) noexcept { return a.name < b.name; });
    for (std::size_t i = 1; i < tensors.size(); ++i) {
      if (tensors[i].name == tensors[i - 1].name) {
        return error(error_code::duplicate_key, "two tensors are named ", quoted{tensors[i].name});
      }
    }
    return {};
  }
  [[nodiscard]] result<void> read_member(const pickle::member& m) noexcept {
    if (m.key.kind != pickle_kind::string) {
      return error(error_code::tensor_key, "a key of the checkpoint is ", name_of(m.key.kind),
                   ", not a string");
    }
    const std::string_view name = from.string(m.key);
    if (name.empty() || name.size() > torch_file::max_name_bytes ||
        name.find('\0') != std::string_view::npos) {
      return error(error_code::tensor_key, "a tensor cannot be named ", quoted{name});
    }
    if (m.value.kind != pickle_kind::tensor) {
      return error(error_code::no_state_dict, "the checkpoint's ", quoted{name}, " is ",
                   name_of(m.value.kind), ", not a tensor");
    }
    const pickle_tensor& t = from.tensor(m.value);
    const std::uint32_t storage = storage_of[t.storage];
    const torch_tensor made{name,   t.type, t.dims, t.strides, t.offset, to.storages_[storage].entry->bytes,
                            storage};
    auto proof = check_view(made);
    if (!proof) return proof.error().in("tensor ", quoted{name});
    if (!to.tensors_.push_back(made)) return no_memory("the checkpoint's tensors");
    return {};
  }
  /// The last element lies inside the storage; no sum or product on the way overflows.
  [[nodiscard]] static result<void> check_view(const torch_tensor& t) noexcept {
    const auto dims = shape_text{t.dims.dims()};
    const checked count = t.dims.count();
    if (!count.valid()) return error(error_code::overflow, "shape ", dims, " has more than 2^64 elements");
    if (count.value() > torch_file::max_elements)
      return error(error_code::limit_elements, "shape ", dims, " is too large");
    if (count.value() == 0) return {};
    checked end = checked(t.offset) + 1;
    for (std::size_t i = 0; i < t.dims.rank(); ++i) end = end + checked(t.dims[i] - 1) * t.strides[i];
    end = end * (bits_of(t.type) / 8);
    if (!end.valid())
      return error(error_code::overflow, "shape ", dims, " with strides ", shape_text{t.strides.dims()});
    if (end.value() > t.storage.size()) {
      return error(error_code::view_range, "shape ", dims, " with strides ", shape_text{t.strides.dims()},
                   " from element ", t.offset, " on reaches beyond a storage of ", t.storage.size(),
                   " bytes");
    }
    return {};
  }
};

bool torch_file::is_torch_file(std::span<const std::byte> file) noexcept {
  const std::string_view chars(reinterpret_cast<const char*>(file.data()), file.size());
  return chars.starts_with("PK\x03\x04") || torch_file_reader::is_tar(chars) ||
         torch_file_reader::is_legacy_pickle(chars);
}

result<torch_file> torch_file::open(std::span<const std::byte> file, const memory_hooks& memory) noexcept {
  const std::string_view chars(reinterpret_cast<const char*>(file.data()), file.size());
  if (torch_file_reader::is_tar(chars)) {
    return error(error_code::legacy_tar,
                 "the checkpoint is a tar of PyTorch before 0.1.10; load and save it with a "
                 "PyTorch of today");
  }
  if (torch_file_reader::is_legacy_pickle(chars)) {
    return error(error_code::legacy_pickle,
                 "the checkpoint is of PyTorch before 1.6 (not a zip archive); load and save "
                 "it with a PyTorch of today");
  }
  OCELLUS_ASSIGN(auto archive, zip_archive::open(file, memory));
  OCELLUS_TRY(torch_file_reader::check_format(archive));
  const zip_entry* program = archive.find("data.pkl");
  if (program == nullptr)
    return error(error_code::no_data_pkl, "the zip archive holds no data.pkl: not of torch.save");
  OCELLUS_TRY(zip_archive::verify(*program));
  OCELLUS_ASSIGN(const pickle parsed, pickle::parse(program->bytes, memory));
  torch_file made(std::move(archive), memory);
  torch_file_reader reader{memory, parsed, made, array<std::uint32_t>(memory)};
  OCELLUS_TRY(reader.read_storages());
  OCELLUS_TRY(reader.read_tensors());
  return made;
}

const torch_tensor* torch_file::find(std::string_view name) const noexcept {
  const torch_tensor* first = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const torch_tensor& t, std::string_view wanted) noexcept { return t.name < wanted; });
  return first != tensors_.end() && first->name == name ? first : nullptr;
}

result<void> torch_file::verify(std::uint32_t storage_index) noexcept {
  storage& s = storages_[storage_index];
  if (s.verified) return {};
  OCELLUS_TRY(zip_archive::verify(*s.entry));
  s.verified = true;
  return {};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_TORCH_FILE_IPP
