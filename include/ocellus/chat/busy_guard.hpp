// busy_guard, busy_guards: sets a flag for the time of a call, so that a second thread in the same object gets an error and no race.
#ifndef OCELLUS_CHAT_BUSY_GUARD_HPP
#define OCELLUS_CHAT_BUSY_GUARD_HPP

#include <atomic>

#include "ocellus/config.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

class busy_guard {
 public:
  explicit busy_guard(std::atomic<bool>& busy) noexcept
      : busy_(busy), entered_(!busy.exchange(true, std::memory_order_acquire)) {}
  ~busy_guard() {
    if (entered_) busy_.store(false, std::memory_order_release);
  }
  busy_guard(const busy_guard&) = delete;
  busy_guard& operator=(const busy_guard&) = delete;
  /// False: somebody else is inside.
  [[nodiscard]] bool entered() const noexcept { return entered_; }

 private:
  std::atomic<bool>& busy_;
  bool entered_;
};

/// The same for a list, of which at(i).busy is the flag of the i-th: enters them in order, up to one that is in use.
template <class At>
class busy_guards {
 public:
  busy_guards(std::size_t count, const At& at) noexcept : at_(at) {
    while (entered_ < count && !at_(entered_).busy.exchange(true, std::memory_order_acquire)) ++entered_;
  }
  ~busy_guards() {
    while (entered_ > 0) at_(--entered_).busy.store(false, std::memory_order_release);
  }
  busy_guards(const busy_guards&) = delete;
  busy_guards& operator=(const busy_guards&) = delete;
  /// How many; the one behind them, if there is one, is in use.
  [[nodiscard]] std::size_t entered() const noexcept { return entered_; }

 private:
  const At& at_;
  std::size_t entered_ = 0;
};

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_BUSY_GUARD_HPP
