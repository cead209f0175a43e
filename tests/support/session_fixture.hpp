// What the tests of session share.
#ifndef OCELLUS_TESTS_SUPPORT_SESSION_FIXTURE_HPP
#define OCELLUS_TESTS_SUPPORT_SESSION_FIXTURE_HPP

#include <cstring>
#include <vector>

#include "ocellus/chat/session.hpp"
#include "support/tiny_model.hpp"

namespace ocellus_tests {

inline ocellus::session open_session(const ocellus::model& model,
                                     const ocellus::session_options& options = {},
                                     const ocellus::host& hooks = {}) {
  auto opened = ocellus::session::open(model, options, hooks);
  INFO((opened ? std::string_view() : opened.error().message()));
  REQUIRE(opened);
  return std::move(*opened);
}

/// In exact precision, for what is compared with something computed in another way.
inline ocellus::session open_exact(const ocellus::model& model, ocellus::session_options options = {},
                                   const ocellus::host& hooks = {}) {
  options.mode = ocellus::precision::exact;
  return open_session(model, options, hooks);
}

inline std::vector<std::uint32_t> some_tokens(std::size_t n, std::uint32_t seed = 3) {
  std::vector<std::uint32_t> tokens(n);
  for (std::size_t i = 0; i < n; ++i)
    tokens[i] = static_cast<std::uint32_t>(detail::mix(i + seed * 1000) % tiny_vocabulary);
  return tokens;
}

/// Not only equal: -0 is not 0 here, and NaN is itself.
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_SESSION_FIXTURE_HPP
