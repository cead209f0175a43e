// Arithmetic on sizes that come from a file: a wrong product is noticed once, at the end.
#ifndef OCELLUS_CHECKED_HPP
#define OCELLUS_CHECKED_HPP

#include <limits>

#include "ocellus/config.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// An unsigned 64-bit number that remembers whether any step on the way to it overflowed.
class checked {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): mixes with plain numbers in formulas.
  constexpr checked(std::uint64_t value) noexcept : value_(value) {}

  friend constexpr checked operator+(checked a, checked b) noexcept {
    checked r(a.value_ + b.value_);
    r.valid_ = a.valid_ && b.valid_ && r.value_ >= a.value_;
    return r;
  }
  friend constexpr checked operator*(checked a, checked b) noexcept {
    checked r(a.value_ * b.value_);
    r.valid_ = a.valid_ && b.valid_ && (a.value_ == 0 || r.value_ / a.value_ == b.value_);
    return r;
  }
  /// The next multiple of a power of two.
  [[nodiscard]] constexpr checked align_up(std::uint64_t power_of_two) const noexcept {
    checked r = *this + (power_of_two - 1);
    r.value_ &= ~(power_of_two - 1);
    return r;
  }

  [[nodiscard]] constexpr bool valid() const noexcept { return valid_; }
  /// The number; meaningless unless valid().
  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }
  /// Valid, and small enough for Size, the type that it will be stored in.
  template <class Size>
  [[nodiscard]] constexpr bool fits() const noexcept {
    return valid_ && value_ <= static_cast<std::uint64_t>((std::numeric_limits<Size>::max)());
  }

 private:
  std::uint64_t value_;
  bool valid_ = true;
};

/// The next multiple of a power of two, for numbers that are known to be far from overflow.
template <class T>
constexpr T round_up(T value, T power_of_two) noexcept {
  return static_cast<T>((value + power_of_two - 1) & ~(power_of_two - 1));
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHECKED_HPP
