// json_reader: a strict RFC 8259 pull parser. It allocates nothing, does not recurse and changes nothing;
// json and safetensors are built on it.
#ifndef OCELLUS_IO_JSON_READER_HPP
#define OCELLUS_IO_JSON_READER_HPP

#include <string_view>

#include "ocellus/error.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// What a JSON text may ask of its reader. A text beyond a limit is an error, never work or memory.
struct json_limits {
  std::size_t bytes = std::size_t{64} << 20;         ///< of the whole text, at most 2^32 - 1: json_limit
  std::size_t string_bytes = std::size_t{16} << 20;  ///< of one string or key, as written: json_limit
  std::size_t number_bytes = 400;                    ///< of one number, as written: int_range
  std::uint32_t depth = 64;        ///< of nested objects and arrays, at most 256: json_depth
  std::uint32_t nodes = 4u << 20;  ///< values and keys of one `json`: json_limit
};

/// One step through a JSON text.
struct json_event {
  enum class kind : std::uint8_t {
    begin_object,
    end_object,
    begin_array,
    end_array,
    key,
    string,
    number,
    true_value,
    false_value,
    null_value,
    end,  ///< the text is over; also the answer to every later call
  };
  kind what = kind::end;
  bool escaped = false;   ///< key, string: text holds escapes, see unescape_json
  std::string_view text;  ///< key, string: between the quotes, as written; number: all of it, as written
};

/// Walks a JSON text that the caller keeps alive. Every event that it gives out is part of a valid text so
/// far; strings are well-formed UTF-8 with well-formed escapes. Duplicate keys are for the caller to find.
/// Errors: json_syntax, json_depth, json_string, utf8, int_range, json_limit, each with the byte where it is.
class json_reader {
 public:
  static constexpr std::uint32_t max_depth = 256;

  explicit json_reader(std::string_view text, const json_limits& limits = {}) noexcept;

  /// The next event. After an error the reader must not be used again.
  [[nodiscard]] result<json_event> next() noexcept;
  /// Passes over the rest of the value whose begin_object or begin_array was given out last; nothing to do
  /// for others.
  [[nodiscard]] result<void> skip(const json_event& begun) noexcept;

  /// How many objects and arrays are open after the last event.
  [[nodiscard]] std::uint32_t depth() const noexcept { return depth_; }
  /// The byte that the next event is looked for from.
  [[nodiscard]] std::size_t offset() const noexcept { return at_; }

 private:
  enum class state : std::uint8_t { value, value_or_end, key_or_end, key, after_value, end };

  [[nodiscard]] error fail(error_code code, std::string_view what) const noexcept;
  void skip_space() noexcept;
  [[nodiscard]] result<json_event> begin(json_event::kind what) noexcept;
  [[nodiscard]] result<json_event> close(json_event::kind what) noexcept;
  [[nodiscard]] result<json_event> read_value() noexcept;
  [[nodiscard]] result<json_event> read_key() noexcept;
  [[nodiscard]] result<json_event> read_string(json_event::kind what) noexcept;
  [[nodiscard]] result<void> read_escape() noexcept;
  [[nodiscard]] bool read_hex(std::uint32_t& unit) noexcept;
  [[nodiscard]] result<json_event> read_number() noexcept;
  [[nodiscard]] result<json_event> read_word(std::string_view word, json_event::kind what) noexcept;
  [[nodiscard]] bool in_object() const noexcept { return (objects_[depth_ / 64] >> (depth_ % 64) & 1) != 0; }

  std::string_view text_;
  json_limits limits_;
  std::size_t at_ = 0;
  std::uint32_t depth_ = 0;
  state state_ = state::value;
  std::uint64_t objects_[max_depth / 64 + 1] = {};  // bit d: is the container at depth d an object?
};

/// Writes the text that an event's escaped text stands for; it is never longer, and `to` may be
/// escaped.data() itself. Returns the number of bytes. The text must come from a json_reader.
[[nodiscard]] std::size_t unescape_json(std::string_view escaped, char* to) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_JSON_READER_HPP
