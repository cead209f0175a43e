// All files of tests/data/corpora/safetensors_corpus_gen.py: exact verdict and code, bounded memory, no leak.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>

#include "ocellus/io/file.hpp"
#include "ocellus/io/safetensors.hpp"
#include "support/counting_memory.hpp"
#include "support/skip.hpp"
#include "support/temporary_folder.hpp"

using namespace ocellus;

namespace {

const std::map<std::string, error_code> codes = {{"E_EMPTY_FILE", error_code::empty_file},
                                                 {"E_TRUNCATED_LENGTH", error_code::truncated_length},
                                                 {"E_HEADER_TOO_SMALL", error_code::header_too_small},
                                                 {"E_HEADER_PAST_EOF", error_code::header_past_eof},
                                                 {"E_HEADER_TOO_LARGE", error_code::header_too_large},
                                                 {"E_JSON_SYNTAX", error_code::json_syntax},
                                                 {"E_JSON_DEPTH", error_code::json_depth},
                                                 {"E_JSON_STRING", error_code::json_string},
                                                 {"E_UTF8", error_code::utf8},
                                                 {"E_ROOT_NOT_OBJECT", error_code::root_not_object},
                                                 {"E_DUPLICATE_KEY", error_code::duplicate_key},
                                                 {"E_INT_RANGE", error_code::int_range},
                                                 {"E_NAME", error_code::bad_name},
                                                 {"E_LIMIT_NAME", error_code::limit_name},
                                                 {"E_LIMIT_TENSORS", error_code::limit_tensors},
                                                 {"E_FIELD_MISSING", error_code::field_missing},
                                                 {"E_FIELD_TYPE", error_code::field_type},
                                                 {"E_FIELD_UNKNOWN", error_code::field_unknown},
                                                 {"E_DTYPE_UNKNOWN", error_code::dtype_unknown},
                                                 {"E_NOT_UINT", error_code::not_uint},
                                                 {"E_RANK", error_code::rank},
                                                 {"E_OVERFLOW", error_code::overflow},
                                                 {"E_OFFSET_ORDER", error_code::offset_order},
                                                 {"E_SIZE_MISMATCH", error_code::size_mismatch},
                                                 {"E_SUBBYTE", error_code::subbyte},
                                                 {"E_HOLE", error_code::hole},
                                                 {"E_OVERLAP", error_code::overlap},
                                                 {"E_TRUNCATED_DATA", error_code::truncated_data},
                                                 {"E_TRAILING_DATA", error_code::trailing_data},
                                                 {"E_METADATA", error_code::metadata}};

/// The folder with the files: OCELLUS_CORPUS, or one made for the occasion; empty if there is no python3.
std::string corpus_folder(const ocellus_tests::temporary_folder& scratch) {
  if (const char* given = std::getenv("OCELLUS_CORPUS")) return given;
  const std::string command = std::string("python3 '") + OCELLUS_TEST_DATA +
                              "/corpora/safetensors_corpus_gen.py' '" + scratch.path() + "' > /dev/null";
  return std::system(command.c_str()) == 0 ? scratch.path() : "";
}

}  // namespace

TEST_CASE("safetensors: every file of the corpus gets its verdict within its memory") {
  const ocellus_tests::temporary_folder scratch;
  const std::string folder = corpus_folder(scratch);
  if (folder.empty()) OCELLUS_SKIP("no python3 to make the corpus with, and no OCELLUS_CORPUS");
  std::ifstream table(std::string(OCELLUS_TEST_DATA) + "/corpora/safetensors_corpus_results.tsv");
  REQUIRE(table);
  std::string line;
  std::getline(table, line);
  int files = 0;
  std::set<error_code> seen;
  while (std::getline(table, line)) {
    std::istringstream columns(line);
    std::string name, expected, code;
    std::getline(columns, name, '\t');
    std::getline(columns, expected, '\t');
    std::getline(columns, code, '\t');
    code = code.substr(0, code.find_first_of(" ;"));
    CAPTURE(name);
    ++files;

    const std::string content = ocellus_tests::read_text(folder + "/" + name + ".safetensors");
    const auto exact = std::make_unique<std::byte[]>(content.size());
    std::memcpy(exact.get(), content.data(), content.size());
    const std::span<const std::byte> bytes(exact.get(), content.size());
    ocellus_tests::counting_memory memory;
    const auto begin = std::chrono::steady_clock::now();
    {
      const auto made = safetensors::parse(bytes, memory.hooks());
      CHECK(made.has_value() == (expected == "accept"));
      if (made) {
        CHECK(code == "ok");
      } else {
        REQUIRE(codes.count(code) == 1);
        CHECK(name_of(made.error().code()) == name_of(codes.at(code)));
        seen.insert(made.error().code());
        for (char c : made.error().message()) CHECK((c >= 0x20 && c < 0x7f));
      }
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    CHECK(taken.count() < 5);  // generous: sanitizers; without them the slowest takes about 0.1 s
    CHECK(memory.live() == 0);
    CHECK(memory.peak() <= content.size() + (std::size_t{32} << 20));

    // The same from the file, where an empty one is found before anything is parsed.
    const auto source = byte_source::open(folder + "/" + name + ".safetensors");
    CHECK(source.has_value() == !content.empty());
    if (!source) CHECK(source.error().code() == error_code::empty_file);

    if (expected == "accept" && content.size() < 65'536) {
      ocellus_tests::fail_every_allocation(
          [&](const memory_hooks& hooks) { return safetensors::parse(bytes, hooks); });
    }
  }
  CHECK(files == 157);
  CHECK(seen.size() == codes.size());  // one to one: every code of the table was met
}
