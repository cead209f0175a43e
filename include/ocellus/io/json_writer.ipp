// Building a JSON text.
#ifndef OCELLUS_IO_JSON_WRITER_IPP
#define OCELLUS_IO_JSON_WRITER_IPP

#include "ocellus/io/json_writer.hpp"

#include <charconv>

#include "ocellus/io/utf8.hpp"

namespace ocellus::inline OCELLUS_ABI {

json_writer& json_writer::fail(error_code code) noexcept {
  if (!failed_) why_ = code;
  failed_ = true;
  return *this;
}

void json_writer::put(std::string_view piece) noexcept {
  if (!failed_ && !out_.append(piece)) fail(error_code::out_of_memory);
}

// A value may stand at the root once, in an array, or in an object after a key.
bool json_writer::begin_value() noexcept {
  const bool allowed = depth_ == 0 ? out_.empty() : in_object() == keyed_;
  if (!allowed) fail(error_code::invalid_argument);
  if (failed_) return false;
  if (comma_ && !keyed_) put(",");
  comma_ = true;
  keyed_ = false;
  return true;
}

json_writer& json_writer::open(char bracket, bool object) noexcept {
  if (depth_ == max_depth) return fail(error_code::invalid_argument);
  if (!begin_value()) return *this;
  put({&bracket, 1});
  const std::uint64_t bit = std::uint64_t{1} << depth_;
  objects_ = object ? objects_ | bit : objects_ & ~bit;
  ++depth_;
  comma_ = false;
  return *this;
}

json_writer& json_writer::close(char bracket, bool object) noexcept {
  if (depth_ == 0 || in_object() != object || keyed_) return fail(error_code::invalid_argument);
  put({&bracket, 1});
  --depth_;
  comma_ = true;
  return *this;
}

json_writer& json_writer::key(std::string_view name) noexcept {
  if (!in_object() || keyed_) return fail(error_code::invalid_argument);
  if (comma_) put(",");
  put_string(name);
  put(":");
  keyed_ = true;
  return *this;
}

json_writer& json_writer::string(std::string_view value) noexcept {
  if (begin_value()) put_string(value);
  return *this;
}

json_writer& json_writer::literal(std::string_view word) noexcept {
  if (begin_value()) put(word);
  return *this;
}

json_writer& json_writer::signed_number(std::int64_t value) noexcept {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  return literal({digits, static_cast<std::size_t>(end - digits)});
}

json_writer& json_writer::unsigned_number(std::uint64_t value) noexcept {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  return literal({digits, static_cast<std::size_t>(end - digits)});
}

json_writer& json_writer::number(double value) noexcept {
  if (!(value - value == 0)) return fail(error_code::invalid_argument);  // infinite or NaN
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  return literal({digits, static_cast<std::size_t>(end - digits)});
}

void json_writer::put_string(std::string_view value) noexcept {
  if (!is_utf8(value)) {
    fail(error_code::utf8);
    return;
  }
  put("\"");
  std::size_t plain = 0;  // where the bytes begin that need no escape
  for (std::size_t i = 0; i < value.size(); ++i) {
    const auto c = static_cast<unsigned char>(value[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    put({value.data() + plain, i - plain});
    plain = i + 1;
    const std::string_view short_form = c == '"'    ? "\\\""
                                        : c == '\\' ? "\\\\"
                                        : c == '\n' ? "\\n"
                                        : c == '\r' ? "\\r"
                                        : c == '\t' ? "\\t"
                                                    : "";
    if (!short_form.empty()) {
      put(short_form);
    } else {
      const char escape[] = {'\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};
      put({escape, sizeof(escape)});
    }
  }
  put({value.data() + plain, value.size() - plain});
  put("\"");
}

result<text> json_writer::finish() noexcept {
  if (depth_ != 0 || out_.empty()) fail(error_code::invalid_argument);
  if (failed_) {
    if (why_ == error_code::out_of_memory) return no_memory("a JSON text");
    if (why_ == error_code::utf8) return error(why_, "a string for a JSON text is not UTF-8");
    return error(why_, "a JSON text was written in a wrong order, or with a number that is not finite");
  }
  comma_ = false;
  return std::move(out_);
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_JSON_WRITER_IPP
