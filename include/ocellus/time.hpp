// Time budgets and a clock. <chrono> stays out of the public headers: it brings streams and strings along, and half a
// second of compile time to every file.
#ifndef OCELLUS_TIME_HPP
#define OCELLUS_TIME_HPP

#include "ocellus/config.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// How long a call may take before it returns with work left; it always does at least one unit of work.
/// time_budget() has no limit; a std::chrono::duration is one: session.step(std::chrono::milliseconds(4)).
class time_budget {
 public:
  constexpr time_budget() noexcept = default;
  /// From any std::chrono::duration. A negative one (a deadline that has passed) is no time at all.
  template <class Duration>
  requires requires(const Duration& d) {
    d.count();
    Duration::period::num;
    Duration::period::den;
  }
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr time_budget(const Duration& time) noexcept {
    const double n = static_cast<double>(time.count()) * static_cast<double>(Duration::period::num) * 1e9 /
                     static_cast<double>(Duration::period::den);
    nanoseconds_ = n > 0 ? n < 9e18 ? static_cast<std::int64_t>(n) : unlimited : 0;
  }

  [[nodiscard]] constexpr bool limited() const noexcept { return nanoseconds_ != unlimited; }
  /// Is a call over that has taken so long?
  [[nodiscard]] constexpr bool used_up_by(std::int64_t elapsed) const noexcept {
    return limited() && elapsed >= nanoseconds_;
  }
  /// What is left of it.
  [[nodiscard]] constexpr time_budget minus(std::int64_t elapsed) const noexcept {
    time_budget rest = *this;
    if (limited()) rest.nanoseconds_ = elapsed < nanoseconds_ ? nanoseconds_ - elapsed : 0;
    return rest;
  }

 private:
  static constexpr std::int64_t unlimited = INT64_MAX;
  std::int64_t nanoseconds_ = unlimited;
};

/// Nanoseconds of a clock that only runs forward, from a beginning that means nothing.
[[nodiscard]] std::int64_t steady_nanoseconds() noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TIME_HPP
