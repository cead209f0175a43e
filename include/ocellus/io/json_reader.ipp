// The strict JSON pull parser.
#ifndef OCELLUS_IO_JSON_READER_IPP
#define OCELLUS_IO_JSON_READER_IPP

#include "ocellus/io/json_reader.hpp"

#include "ocellus/io/utf8.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

// substr without its exception: position is within the text.
constexpr std::string_view json_slice(std::string_view text, std::size_t position,
                                      std::size_t size) noexcept {
  const std::size_t left = text.size() - position;
  return {text.data() + position, size < left ? size : left};
}

constexpr bool json_is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

constexpr int json_hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr bool json_is_plain(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

}  // namespace detail

json_reader::json_reader(std::string_view text, const json_limits& limits) noexcept
    : text_(text), limits_(limits) {
  if (limits_.depth > max_depth) limits_.depth = max_depth;
}

error json_reader::fail(error_code code, std::string_view what) const noexcept {
  return error(code, what, " at byte ", at_, " of the JSON text");
}

void json_reader::skip_space() noexcept {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
    ++at_;
  }
}

result<json_event> json_reader::next() noexcept {
  if (text_.size() > limits_.bytes) {
    return error(error_code::json_limit, "the JSON text has ", text_.size(), " bytes, more than ",
                 limits_.bytes);
  }
  skip_space();
  if (state_ == state::after_value) {
    if (depth_ == 0) {
      state_ = state::end;
    } else if (at_ == text_.size()) {
      return fail(error_code::json_syntax, "the text ends inside an object or array");
    } else if (text_[at_] == ',') {
      ++at_;
      state_ = in_object() ? state::key : state::value;
      skip_space();
    } else if (in_object()) {
      return close(json_event::kind::end_object);
    } else {
      return close(json_event::kind::end_array);
    }
  }
  if (state_ == state::end) {
    if (at_ != text_.size()) return fail(error_code::json_syntax, "more text after the end");
    return json_event{};
  }
  if (at_ == text_.size()) return fail(error_code::json_syntax, "the text ends too early");
  if (state_ == state::key_or_end && text_[at_] == '}') return close(json_event::kind::end_object);
  if (state_ == state::value_or_end && text_[at_] == ']') return close(json_event::kind::end_array);
  if (state_ == state::key_or_end || state_ == state::key) return read_key();
  return read_value();
}

result<void> json_reader::skip(const json_event& begun) noexcept {
  if (begun.what != json_event::kind::begin_object && begun.what != json_event::kind::begin_array) return {};
  const std::uint32_t outside = depth_ - 1;
  while (depth_ > outside) OCELLUS_TRY(next());
  return {};
}

result<json_event> json_reader::begin(json_event::kind what) noexcept {
  if (depth_ == limits_.depth) return fail(error_code::json_depth, "nested too deeply");
  ++depth_;
  ++at_;
  const std::uint64_t bit = std::uint64_t{1} << (depth_ % 64);
  if (what == json_event::kind::begin_object) {
    objects_[depth_ / 64] |= bit;
    state_ = state::key_or_end;
  } else {
    objects_[depth_ / 64] &= ~bit;
    state_ = state::value_or_end;
  }
  return json_event{what, false, {}};
}

result<json_event> json_reader::close(json_event::kind what) noexcept {
  const char bracket = what == json_event::kind::end_object ? '}' : ']';
  if (text_[at_] != bracket) return fail(error_code::json_syntax, "neither a comma nor the closing bracket");
  ++at_;
  --depth_;
  state_ = state::after_value;
  return json_event{what, false, {}};
}

result<json_event> json_reader::read_value() noexcept {
  const char c = text_[at_];
  if (c == '{') return begin(json_event::kind::begin_object);
  if (c == '[') return begin(json_event::kind::begin_array);
  state_ = state::after_value;
  if (c == '"') return read_string(json_event::kind::string);
  if (c == '-' || detail::json_is_digit(c)) return read_number();
  if (c == 't') return read_word("true", json_event::kind::true_value);
  if (c == 'f') return read_word("false", json_event::kind::false_value);
  if (c == 'n') return read_word("null", json_event::kind::null_value);
  return fail(error_code::json_syntax, "no value");
}

result<json_event> json_reader::read_key() noexcept {
  if (text_[at_] != '"') return fail(error_code::json_syntax, "no member name");
  OCELLUS_ASSIGN(const json_event event, read_string(json_event::kind::key));
  skip_space();
  if (at_ == text_.size() || text_[at_] != ':') {
    return fail(error_code::json_syntax, "no colon after a member name");
  }
  ++at_;
  state_ = state::value;
  return event;
}

result<json_event> json_reader::read_string(json_event::kind what) noexcept {
  const std::size_t begin = ++at_;
  bool escaped = false;
  for (;;) {
    while (at_ < text_.size() && detail::json_is_plain(text_[at_])) ++at_;
    if (at_ == text_.size()) return fail(error_code::json_syntax, "the text ends inside a string");
    const auto c = static_cast<unsigned char>(text_[at_]);
    if (c == '"') break;
    if (c == '\\') {
      escaped = true;
      OCELLUS_TRY(read_escape());
    } else if (c < 0x20) {
      return fail(error_code::json_string, "a control byte in a string");
    } else {
      const std::size_t length = utf8_sequence(detail::json_slice(text_, at_, 4));
      if (length == 0) return fail(error_code::utf8, "a string is not UTF-8");
      at_ += length;
    }
  }
  const std::size_t size = at_ - begin;
  if (size > limits_.string_bytes) return fail(error_code::json_limit, "a string is too long");
  ++at_;
  return json_event{what, escaped, detail::json_slice(text_, begin, size)};
}

bool json_reader::read_hex(std::uint32_t& unit) noexcept {
  unit = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const int digit = at_ < text_.size() ? detail::json_hex_digit(text_[at_]) : -1;
    if (digit < 0) return false;
    unit = unit * 16 + static_cast<std::uint32_t>(digit);
  }
  return true;
}

// From the backslash to behind the escape, or behind the pair of them that spells one code point.
result<void> json_reader::read_escape() noexcept {
  ++at_;
  if (at_ == text_.size()) return fail(error_code::json_syntax, "the text ends inside a string");
  const char c = text_[at_];
  if (std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos) {
    ++at_;
    return {};
  }
  if (c != 'u') return fail(error_code::json_string, "an unknown escape");
  ++at_;
  std::uint32_t unit = 0, low = 0;
  if (!read_hex(unit)) return fail(error_code::json_string, "an escape without four hexadecimal digits");
  if (unit < 0xd800 || unit > 0xdfff) return {};
  if (unit > 0xdbff || detail::json_slice(text_, at_, 2) != "\\u") {
    return fail(error_code::json_string, "a lone surrogate");
  }
  at_ += 2;
  if (!read_hex(low) || low < 0xdc00 || low > 0xdfff) {
    return fail(error_code::json_string, "a lone surrogate");
  }
  return {};
}

result<json_event> json_reader::read_number() noexcept {
  const std::size_t begin = at_;
  const auto digits = [this]() noexcept {
    const std::size_t from = at_;
    while (at_ < text_.size() && detail::json_is_digit(text_[at_])) ++at_;
    return at_ > from;
  };
  const auto here = [this]() noexcept { return at_ < text_.size() ? text_[at_] : '\0'; };
  if (here() == '-') ++at_;
  if (here() == '0') {
    ++at_;
    if (detail::json_is_digit(here())) return fail(error_code::json_syntax, "a number with a leading zero");
  } else if (!digits()) {
    return fail(error_code::json_syntax, "a number without digits");
  }
  if (here() == '.') {
    ++at_;
    if (!digits()) return fail(error_code::json_syntax, "a number without digits after the point");
  }
  if (here() == 'e' || here() == 'E') {
    ++at_;
    if (here() == '+' || here() == '-') ++at_;
    if (!digits()) return fail(error_code::json_syntax, "a number without digits in its exponent");
  }
  if (at_ - begin > limits_.number_bytes) return fail(error_code::int_range, "a number has too many digits");
  return json_event{json_event::kind::number, false, detail::json_slice(text_, begin, at_ - begin)};
}

result<json_event> json_reader::read_word(std::string_view word, json_event::kind what) noexcept {
  if (detail::json_slice(text_, at_, word.size()) != word) return fail(error_code::json_syntax, "no value");
  at_ += word.size();
  return json_event{what, false, {}};
}

std::size_t unescape_json(std::string_view escaped, char* to) noexcept {
  const auto hex = [&](std::size_t at) noexcept {
    std::uint32_t unit = 0;
    for (std::size_t i = at; i < at + 4; ++i) {
      unit = unit * 16 + static_cast<std::uint32_t>(detail::json_hex_digit(escaped[i]));
    }
    return unit;
  };
  std::size_t size = 0;
  for (std::size_t i = 0; i < escaped.size();) {
    if (escaped[i] != '\\') {
      to[size++] = escaped[i++];
      continue;
    }
    const char c = escaped[i + 1];
    i += 2;
    if (c != 'u') {
      to[size++] = c == 'b'   ? '\b'
                   : c == 'f' ? '\f'
                   : c == 'n' ? '\n'
                   : c == 'r' ? '\r'
                   : c == 't' ? '\t'
                              : c;
      continue;
    }
    std::uint32_t code = hex(i);
    i += 4;
    if (code >= 0xd800 && code <= 0xdbff) {
      code = 0x10000 + ((code - 0xd800) << 10) + (hex(i + 2) - 0xdc00);
      i += 6;
    }
    size += encode_utf8(code, to + size);  // at most 3 bytes for 6 read, or 4 for 12
  }
  return size;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_JSON_READER_IPP
