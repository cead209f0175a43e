// json: a parsed JSON text, strict and bounded, held in three flat arrays. For configuration and tokenizer
// files.
#ifndef OCELLUS_IO_JSON_HPP
#define OCELLUS_IO_JSON_HPP

#include <optional>
#include <string_view>

#include "ocellus/io/json_reader.hpp"
#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// missing is the kind of a value that is not there: it answers every question with nothing, so that lookups
/// chain.
enum class json_kind : std::uint8_t { missing, null, boolean, number, string, array, object };

/// "an object", "a number", ...: for messages.
[[nodiscard]] std::string_view name_of(json_kind kind) noexcept;

namespace detail {

struct json_node {
  std::uint32_t begin;   // string, number: its text; object: its first entry in the sorted order
  std::uint32_t length;  // string, number: bytes of text; object: members; array: elements; boolean: 0 or 1
  std::uint32_t next;    // the node after this one and all inside it (while open: the parent's node)
  json_kind kind;
};

struct json_tape {
  const json_node* nodes = nullptr;
  const char* text = nullptr;
  const std::uint32_t* order = nullptr;  // of each object: the nodes of its keys, sorted by key
};

}  // namespace detail

/// A JSON text and everything in it. Move-only; values stay valid while it lives, also when it is moved.
class json {
 public:
  class value;
  struct member;
  template <class Item>
  class range;

  /// Copies and parses the text. Duplicate keys are refused in every object, compared after unescaping.
  /// Errors: those of json_reader, duplicate_key, out_of_memory.
  [[nodiscard]] static result<json> parse(std::string_view source, const memory_hooks& memory = {},
                                          const json_limits& limits = {}) noexcept;

  [[nodiscard]] value root() const noexcept;

 private:
  json() noexcept = default;
  [[nodiscard]] result<void> build(const json_limits& limits) noexcept;
  [[nodiscard]] result<void> sort_members(std::uint32_t object) noexcept;
  [[nodiscard]] detail::json_tape tape() const noexcept {
    return {nodes_.data(), text_.data(), order_.data()};
  }

  array<detail::json_node> nodes_;  // in the order of the text; each key is a node before its value
  text text_;                       // a copy of the source, its strings unescaped in place
  array<std::uint32_t> order_;
};

/// A handle to one value: cheap to copy, valid while its json lives.
class json::value {
 public:
  value() noexcept = default;

  [[nodiscard]] json_kind kind() const noexcept {
    return tape_.nodes == nullptr ? json_kind::missing : node().kind;
  }
  /// Is there a value at all (null counts)?
  [[nodiscard]] explicit operator bool() const noexcept { return tape_.nodes != nullptr; }
  [[nodiscard]] bool is_null() const noexcept { return kind() == json_kind::null; }
  [[nodiscard]] bool is_object() const noexcept { return kind() == json_kind::object; }
  [[nodiscard]] bool is_array() const noexcept { return kind() == json_kind::array; }

  /// Members of an object or elements of an array; 0 for all else.
  [[nodiscard]] std::size_t size() const noexcept { return is_object() || is_array() ? node().length : 0; }

  /// The member of that name; missing if there is none or this is no object. Logarithmic.
  [[nodiscard]] value find(std::string_view key) const noexcept;
  /// The i-th element of an array; missing if there is none. Linear: walk elements() to see all.
  [[nodiscard]] value at(std::size_t i) const noexcept;
  /// For loops, in the order of the text; empty when this is no object or array.
  [[nodiscard]] range<member> members() const noexcept;
  [[nodiscard]] range<value> elements() const noexcept;

  /// The string, unescaped (it may hold NULs); nothing if this is none.
  [[nodiscard]] std::optional<std::string_view> as_string_view() const noexcept;
  [[nodiscard]] std::optional<bool> as_bool() const noexcept;
  /// An integer written as digits alone that fits: 2, but not 2.0, 2e0 or -0.
  [[nodiscard]] std::optional<std::uint64_t> as_uint64() const noexcept;
  /// The same with an optional minus sign (-0 is 0).
  [[nodiscard]] std::optional<std::int64_t> as_int64() const noexcept;
  /// Any number, rounded to nearest; nothing if it is beyond the range of double, in the large or in the
  /// small.
  [[nodiscard]] std::optional<double> as_double() const noexcept;
  /// A number as it was written; empty if this is none.
  [[nodiscard]] std::string_view number_text() const noexcept;

 private:
  friend class json;
  template <class Item>
  friend class range;
  value(const detail::json_tape& tape, std::uint32_t index) noexcept : tape_(tape), index_(index) {}
  [[nodiscard]] const detail::json_node& node() const noexcept { return tape_.nodes[index_]; }
  [[nodiscard]] std::string_view node_text(std::uint32_t index) const noexcept {
    return {tape_.text + tape_.nodes[index].begin, tape_.nodes[index].length};
  }

  detail::json_tape tape_;
  std::uint32_t index_ = 0;
};

/// One member of an object.
struct json::member {
  std::string_view key;
  json::value value;
};

/// What members() and elements() return.
template <class Item>
class json::range {
 public:
  class iterator {
   public:
    [[nodiscard]] Item operator*() const noexcept {
      if constexpr (std::is_same_v<Item, member>) {
        return {value(tape_, 0).node_text(at_), value(tape_, at_ + 1)};
      } else {
        return value(tape_, at_);
      }
    }
    iterator& operator++() noexcept {
      at_ = tape_.nodes[std::is_same_v<Item, member> ? at_ + 1 : at_].next;
      return *this;
    }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.at_ == b.at_; }

   private:
    friend class range;
    iterator(const detail::json_tape& tape, std::uint32_t at) noexcept : tape_(tape), at_(at) {}
    detail::json_tape tape_;
    std::uint32_t at_;
  };
  [[nodiscard]] iterator begin() const noexcept { return {tape_, first_}; }
  [[nodiscard]] iterator end() const noexcept { return {tape_, last_}; }

 private:
  friend class value;
  range() noexcept = default;
  range(const detail::json_tape& tape, std::uint32_t first, std::uint32_t last) noexcept
      : tape_(tape), first_(first), last_(last) {}
  detail::json_tape tape_;
  std::uint32_t first_ = 0;
  std::uint32_t last_ = 0;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_JSON_HPP
