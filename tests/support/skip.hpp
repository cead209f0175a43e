// A visible way to leave out a test that needs what is not here: data that only --goldens brings, a CPU feature.
#ifndef OCELLUS_TESTS_SUPPORT_SKIP_HPP
#define OCELLUS_TESTS_SUPPORT_SKIP_HPP

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

// OCELLUS_SKIP("no goldens (OCELLUS_GOLDENS)"); leaves the test case. tests/run.sh counts these lines and reports the
// case as skipped, not passed: the line stands at the beginning of a line of standard output.
#define OCELLUS_SKIP(reason)                                                                       \
  do {                                                                                             \
    std::printf("\nSKIPPED: %s: %s\n", doctest::getContextOptions()->currentTest->m_name, reason); \
    std::fflush(stdout);                                                                           \
    return;                                                                                        \
  } while (false)

namespace ocellus_tests {

/// The folder of optional test data (it holds goldens/, models/, corpora/), or nullptr when none was given.
inline const char* goldens_folder() {
  const char* folder = std::getenv("OCELLUS_GOLDENS");
  return folder != nullptr && *folder != '\0' ? folder : nullptr;
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_SKIP_HPP
