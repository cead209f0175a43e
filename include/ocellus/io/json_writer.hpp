// json_writer: builds a JSON text piece by piece. Failures are remembered and told once, by finish().
#ifndef OCELLUS_IO_JSON_WRITER_HPP
#define OCELLUS_IO_JSON_WRITER_HPP

#include <concepts>

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// json_writer w; w.begin_object().key("size").integer(224).end_object(); auto text = w.finish();
/// Compact (no spaces), members in the order written. Strings must be UTF-8, doubles finite.
class json_writer {
 public:
  explicit json_writer(const memory_hooks& memory = {}) noexcept : out_(memory) {}

  json_writer& begin_object() noexcept { return open('{', true); }
  json_writer& end_object() noexcept { return close('}', true); }
  json_writer& begin_array() noexcept { return open('[', false); }
  json_writer& end_array() noexcept { return close(']', false); }
  /// The name of the member that the next value belongs to. That it stands once is the caller's care.
  json_writer& key(std::string_view name) noexcept;

  json_writer& string(std::string_view value) noexcept;
  template <std::integral I>
  requires(!std::same_as<I, bool> && !std::same_as<I, char>) json_writer& integer(I value) noexcept {
    if constexpr (std::is_signed_v<I>) {
      return signed_number(value);
    } else {
      return unsigned_number(value);
    }
  }
  /// The shortest text that reads back as the same double.
  json_writer& number(double value) noexcept;
  json_writer& boolean(bool value) noexcept { return literal(value ? "true" : "false"); }
  json_writer& null() noexcept { return literal("null"); }

  /// The text, if every step fitted and everything that was opened is closed; the writer is empty afterwards.
  /// Errors: out_of_memory, utf8, invalid_argument (a double that is not finite, steps in a wrong order).
  [[nodiscard]] result<text> finish() noexcept;

 private:
  static constexpr std::uint32_t max_depth = 64;

  json_writer& open(char bracket, bool object) noexcept;
  json_writer& close(char bracket, bool object) noexcept;
  json_writer& signed_number(std::int64_t value) noexcept;
  json_writer& unsigned_number(std::uint64_t value) noexcept;
  json_writer& literal(std::string_view word) noexcept;
  json_writer& fail(error_code code) noexcept;
  [[nodiscard]] bool begin_value() noexcept;
  void put(std::string_view piece) noexcept;
  void put_string(std::string_view value) noexcept;
  [[nodiscard]] bool in_object() const noexcept { return depth_ > 0 && (objects_ >> (depth_ - 1) & 1) != 0; }

  text out_;
  std::uint64_t objects_ = 0;  // bit d: is the container at depth d + 1 an object?
  std::uint32_t depth_ = 0;
  bool comma_ = false;  // does a value or key need a comma before it?
  bool keyed_ = false;  // was a key written whose value is still to come?
  bool failed_ = false;
  error_code why_ = error_code::internal;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_JSON_WRITER_HPP
