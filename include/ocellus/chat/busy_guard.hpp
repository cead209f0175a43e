// busy_guard: sets a flag for the time of a call, so that a second thread in the same object gets an error and no race.
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

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_BUSY_GUARD_HPP
