// error: a code and a message in a fixed inline buffer. message_text: such a message alone. result<T>: a value or an error.
// Nothing here allocates.
#ifndef OCELLUS_ERROR_HPP
#define OCELLUS_ERROR_HPP

#include <concepts>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "ocellus/error_code.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Marks text that came from a file or a user: control bytes, quotes and bytes outside ASCII are escaped and long
/// text is cut, so that a message never carries a newline or a terminal sequence of somebody else's making.
struct quoted {
  std::string_view text;
};

/// Marks a shape, written as "[3, 224, 224]".
struct shape_text {
  std::span<const std::uint64_t> dims;
};

/// One line of text in a fixed inline buffer; what does not fit is cut.
class message_text {
 public:
  static constexpr std::size_t capacity = 252;

  /// Joins the parts: string_view, integers, quoted, shape_text.
  template <class... Parts>
  explicit message_text(const Parts&... parts) noexcept {
    (append(parts), ...);
  }
  [[nodiscard]] std::string_view view() const noexcept { return {text_, length_}; }

 private:
  void append(char c) noexcept {
    if (length_ < capacity) text_[length_++] = c;
  }
  void append(std::string_view s) noexcept {
    for (char c : s) append(c);
  }
  void append(const char* s) noexcept { append(std::string_view(s)); }
  void append(quoted q) noexcept {
    constexpr std::size_t longest = 96;
    append('"');
    for (std::size_t i = 0; i < q.text.size() && i < longest; ++i) {
      const auto c = static_cast<unsigned char>(q.text[i]);
      if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
        append(static_cast<char>(c));
      } else {
        append("\\x");
        append("0123456789abcdef"[c >> 4]);
        append("0123456789abcdef"[c & 15]);
      }
    }
    append(q.text.size() > longest ? std::string_view("...\"") : std::string_view("\""));
  }
  template <std::integral I>
  requires(!std::same_as<I, char> && !std::same_as<I, bool>) void append(I number) noexcept {
    if (number < 0) append('-');
    auto rest = static_cast<std::uint64_t>(number);
    if (number < 0) rest = 0 - rest;
    char digits[20];
    int n = 0;
    do digits[n++] = static_cast<char>('0' + rest % 10);
    while ((rest /= 10) != 0);
    while (n > 0) append(digits[--n]);
  }
  void append(shape_text s) noexcept {
    append('[');
    for (std::size_t i = 0; i < s.dims.size(); ++i) {
      if (i != 0) append(", ");
      append(s.dims[i]);
    }
    append(']');
  }

  std::uint8_t length_ = 0;
  char text_[capacity];
  static_assert(capacity < 256);
};

namespace detail {
#if defined(OCELLUS_OBSERVE_ERRORS)
void observe_error(error_code code) noexcept;  // the program's
#else
constexpr void observe_error(error_code) noexcept {}
#endif
}  // namespace detail

/// What went wrong: a stable code and a message that names the thing. Copyable, 256 bytes, never allocates.
class error {
 public:
  /// The parts are those of a message.
  template <class... Parts>
  explicit error(error_code code, const Parts&... parts) noexcept : code_(code), message_(parts...) {
    detail::observe_error(code);
  }

  [[nodiscard]] error_code code() const noexcept { return code_; }
  [[nodiscard]] std::string_view message() const noexcept { return message_.view(); }

  /// Puts where it happened before the message: "model.safetensors: header is longer than the file".
  template <class... Parts>
  [[nodiscard]] error in(const Parts&... parts) const noexcept {
    return error(code_, parts..., ": ", message());
  }

 private:
  error_code code_;
  message_text message_;
};

/// A value of type T, or the error that stands in its place. Reading the wrong one is undefined: test first.
template <class T>
class [[nodiscard]] result {
 public:
  using value_type = T;

  // NOLINTNEXTLINE(google-explicit-constructor): `return value;` and `return error(...);` are the point.
  template <class U = T>
  requires(std::constructible_from<T, U&&> && !std::same_as<std::remove_cvref_t<U>, result> &&
           !std::same_as<std::remove_cvref_t<U>, error>) result(U&& value)
  noexcept : value_(std::forward<U>(value)), ok_(true) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  result(const error& e) noexcept : error_(e), ok_(false) {}

  result(result&& other) noexcept : ok_(other.ok_) { take(other); }
  result& operator=(result&& other) noexcept {
    if (this != &other) {
      clear();
      ok_ = other.ok_;
      take(other);
    }
    return *this;
  }
  ~result() { clear(); }

  [[nodiscard]] bool has_value() const noexcept { return ok_; }
  [[nodiscard]] explicit operator bool() const noexcept { return ok_; }

  [[nodiscard]] T& value() & noexcept { return value_; }
  [[nodiscard]] const T& value() const& noexcept { return value_; }
  [[nodiscard]] T&& value() && noexcept { return std::move(value_); }
  [[nodiscard]] T& operator*() & noexcept { return value_; }
  [[nodiscard]] const T& operator*() const& noexcept { return value_; }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(value_); }
  [[nodiscard]] T* operator->() noexcept { return &value_; }
  [[nodiscard]] const T* operator->() const noexcept { return &value_; }

  [[nodiscard]] const class error& error() const noexcept { return error_; }

 private:
  void take(result& other) noexcept {
    if (ok_) {
      ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
    } else {
      ::new (static_cast<void*>(&error_)) class error(other.error_);
    }
  }
  void clear() noexcept {
    if (ok_) value_.~T();
  }

  union {
    T value_;
    class error error_;
  };
  bool ok_;
};

/// Success, or an error.
template <>
class [[nodiscard]] result<void> {
 public:
  using value_type = void;
  result() noexcept : none_(), ok_(true) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  result(const class error& e) noexcept : error_(e), ok_(false) {}

  [[nodiscard]] bool has_value() const noexcept { return ok_; }
  [[nodiscard]] explicit operator bool() const noexcept { return ok_; }
  [[nodiscard]] const class error& error() const noexcept { return error_; }

 private:
  struct none {};
  union {
    none none_;
    class error error_;
  };
  bool ok_;
};

}  // namespace ocellus::inline OCELLUS_ABI

#define OCELLUS_JOIN_(a, b) a##b
#define OCELLUS_JOIN(a, b) OCELLUS_JOIN_(a, b)

/// OCELLUS_TRY(expression): returns the expression's error from the enclosing function, or goes on.
#define OCELLUS_TRY(...)                                                                                \
  if (auto OCELLUS_JOIN(ocellus_try_, __LINE__) = (__VA_ARGS__); !OCELLUS_JOIN(ocellus_try_, __LINE__)) \
      [[unlikely]]                                                                                      \
  return OCELLUS_JOIN(ocellus_try_, __LINE__).error()

/// OCELLUS_ASSIGN(auto x, expression): the same, and x becomes the value.
#define OCELLUS_ASSIGN(target, ...)                          \
  auto OCELLUS_JOIN(ocellus_try_, __LINE__) = (__VA_ARGS__); \
  if (!OCELLUS_JOIN(ocellus_try_, __LINE__)) [[unlikely]]    \
    return OCELLUS_JOIN(ocellus_try_, __LINE__).error();     \
  target = std::move(*OCELLUS_JOIN(ocellus_try_, __LINE__))

#endif  // OCELLUS_ERROR_HPP
