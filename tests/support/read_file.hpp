// Whole files as strings, for tests.
#ifndef OCELLUS_TESTS_SUPPORT_READ_FILE_HPP
#define OCELLUS_TESTS_SUPPORT_READ_FILE_HPP

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace ocellus_tests {

/// The bytes of a file that must be there.
inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_READ_FILE_HPP
