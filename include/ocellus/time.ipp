// The clock.
#ifndef OCELLUS_TIME_IPP
#define OCELLUS_TIME_IPP

#include <chrono>

#include "ocellus/time.hpp"

namespace ocellus::inline OCELLUS_ABI {

std::int64_t steady_nanoseconds() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TIME_IPP
