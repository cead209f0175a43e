// A sink that collects what is written.
#ifndef OCELLUS_TESTS_SUPPORT_APPEND_TO_HPP
#define OCELLUS_TESTS_SUPPORT_APPEND_TO_HPP

#include <vector>

#include "ocellus/io/file.hpp"

namespace ocellus_tests {

/// Writes to the end of a vector, which must stay where it is.
inline ocellus::byte_sink append_to(std::vector<std::byte>& file) {
  return {&file, [](void* to, std::span<const std::byte> bytes) noexcept -> ocellus::result<void> {
            auto& f = *static_cast<std::vector<std::byte>*>(to);
            f.insert(f.end(), bytes.begin(), bytes.end());
            return {};
          }};
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_APPEND_TO_HPP
