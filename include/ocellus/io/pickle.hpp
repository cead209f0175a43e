// pickle: the tensors' descriptions in a checkpoint's data.pkl, read by a machine that can build nothing else.
#ifndef OCELLUS_IO_PICKLE_HPP
#define OCELLUS_IO_PICKLE_HPP

#include <optional>

#include "ocellus/tensor.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// mark and global live on the machine's stack and in tuples; list is what is left of a list: nobody asks what is in it.
enum class pickle_kind : std::uint8_t {
  unset,
  mark,
  none,
  boolean,
  integer,
  real,
  string,
  tuple,
  list,
  dict,
  global,
  storage,
  tensor
};

/// "an integer", "a tensor", ...: for messages.
[[nodiscard]] std::string_view name_of(pickle_kind kind) noexcept;

/// A handle to one value: 16 bytes, copied freely, owning nothing. Values that hold others are places in the pickle's
/// arrays, so however often a value is repeated, it exists once, and nothing is ever walked recursively.
struct pickle_value {
  pickle_kind kind = pickle_kind::unset;
  std::uint8_t depth = 0;  // tuple: levels of tuples, lists and dicts inside
  std::uint32_t index =
      0;  // string: bytes; tuple: elements; list, dict, storage, tensor: which; global: which
  std::uint64_t number =
      0;  // integer: two's complement; string: offset; tuple: first element; dtype global: the type
};

/// What a reference to a storage said of it: a file of the archive under "data/", seen as `count` elements.
struct pickle_storage {
  std::string_view key;       ///< decimal digits
  std::optional<dtype> type;  ///< nothing: untyped, counted in bytes
  std::uint64_t count = 0;
};

/// A tensor as the pickle describes it. Nothing is proven yet but that the numbers are not negative and the ranks agree.
struct pickle_tensor {
  std::uint32_t storage = 0;  ///< index in storages()
  dtype type = dtype::f32;
  std::uint64_t offset = 0;  ///< elements
  shape dims;
  shape strides;  ///< elements
};

/// A pickle of protocol 2 to 5, restricted to what torch.save writes for tensors in dictionaries, lists and tuples of
/// plain data. Anything that could name code is refused: the functions and classes that are known are OrderedDict, the
/// three that rebuild tensors and parameters, the storages and the element types. Strings point into the source.
class pickle {
 public:
  static constexpr std::uint64_t max_operations = 8'000'000;
  static constexpr std::size_t max_stack = std::size_t{1} << 20;
  static constexpr std::size_t max_memo = 1'000'000;
  static constexpr std::size_t max_items = std::size_t{1}
                                           << 20;     ///< elements of all tuples, members of all dicts
  static constexpr std::size_t max_tensors = 65'536;  ///< and storages
  static constexpr std::uint8_t max_depth = 64;
  static constexpr std::size_t max_global_bytes = 128;

  struct member {
    pickle_value key;
    pickle_value value;
  };

  /// Reads all of it. Time and memory grow with the source and are bounded by the limits above (at most 150 MB; the
  /// published checkpoints take less than one). Errors: pickle_*, persistent_id, storage_key, storage_type, negative,
  /// rank, rank_mismatch, int_range, utf8, limit_tensors, out_of_memory, most with the byte where they happened.
  [[nodiscard]] static result<pickle> parse(std::span<const std::byte> source,
                                            const memory_hooks& memory = {}) noexcept;

  [[nodiscard]] const pickle_value& root() const noexcept { return root_; }
  /// The first value of a dictionary under that key; nothing if there is none, or if it is no dictionary.
  [[nodiscard]] std::optional<pickle_value> find(const pickle_value& dict,
                                                 std::string_view key) const noexcept;
  /// Calls each(member) in the order of the pickle until it returns an error.
  template <class Each>
  [[nodiscard]] result<void> for_members(const pickle_value& dict, Each&& each) const noexcept {
    for (std::uint32_t i = dict.kind == pickle_kind::dict ? containers_[dict.index].first : nil; i != nil;
         i = entries_[i].next) {
      OCELLUS_TRY(each(entries_[i].what));
    }
    return {};
  }
  [[nodiscard]] std::string_view string(const pickle_value& value) const noexcept {
    return value.kind == pickle_kind::string ? std::string_view(source_.data() + value.number, value.index)
                                             : std::string_view();
  }
  [[nodiscard]] const pickle_tensor& tensor(const pickle_value& value) const noexcept {
    return tensors_[value.index];
  }
  /// One for every reference, so a storage may stand here several times.
  [[nodiscard]] std::span<const pickle_storage> storages() const noexcept { return storages_.span(); }

 private:
  static constexpr std::uint32_t nil = 0xffffffff;
  struct container {  // a list or a dict
    std::uint32_t first = nil;
    std::uint32_t last = nil;
    std::uint8_t depth = 1;
    bool ordered = false;
  };
  struct entry {
    member what;
    std::uint32_t next;
  };

  explicit pickle(const memory_hooks& memory) noexcept
      : items_(memory), containers_(memory), entries_(memory), tensors_(memory), storages_(memory) {}

  std::string_view source_;
  pickle_value root_;
  array<pickle_value> items_;  // of all tuples
  array<container> containers_;
  array<entry> entries_;
  array<pickle_tensor> tensors_;
  array<pickle_storage> storages_;

  friend struct pickle_builder;
  friend struct pickle_machine;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_PICKLE_HPP
