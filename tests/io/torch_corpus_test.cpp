// All files of tests/data/corpora/pth_corpus_gen.py: exact verdict and code, bounded memory and time, no leak.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "ocellus/io/file.hpp"
#include "ocellus/io/torch_file.hpp"
#include "support/counting_memory.hpp"
#include "support/skip.hpp"
#include "support/temporary_folder.hpp"
#include "support/torch_archive.hpp"

using namespace ocellus;

namespace {

const std::map<std::string, error_code> codes = {{"E_BYTEORDER", error_code::byte_order},
                                                 {"E_DTYPE", error_code::storage_type},
                                                 {"E_DUPLICATE_KEY", error_code::duplicate_key},
                                                 {"E_EMPTY_FILE", error_code::empty_file},
                                                 {"E_INT_RANGE", error_code::int_range},
                                                 {"E_KEY", error_code::tensor_key},
                                                 {"E_LEGACY_PICKLE", error_code::legacy_pickle},
                                                 {"E_LEGACY_TAR", error_code::legacy_tar},
                                                 {"E_LIMIT_DEPTH", error_code::pickle_limit_depth},
                                                 {"E_LIMIT_MEMO", error_code::pickle_limit_memo},
                                                 {"E_LIMIT_NUMEL", error_code::limit_elements},
                                                 {"E_LIMIT_OPS", error_code::pickle_limit},
                                                 {"E_NEGATIVE", error_code::negative},
                                                 {"E_NO_DATA_PKL", error_code::no_data_pkl},
                                                 {"E_NO_STATE_DICT", error_code::no_state_dict},
                                                 {"E_OVERFLOW", error_code::overflow},
                                                 {"E_PERSID", error_code::persistent_id},
                                                 {"E_PKL_ARGS", error_code::pickle_arguments},
                                                 {"E_PKL_GLOBAL", error_code::pickle_global},
                                                 {"E_PKL_HOOKS", error_code::pickle_hooks},
                                                 {"E_PKL_MARK", error_code::pickle_mark},
                                                 {"E_PKL_MEMO", error_code::pickle_memo},
                                                 {"E_PKL_ODD_ITEMS", error_code::pickle_odd_items},
                                                 {"E_PKL_OPCODE", error_code::pickle_opcode},
                                                 {"E_PKL_PROTO", error_code::pickle_protocol},
                                                 {"E_PKL_TRAILING", error_code::pickle_trailing},
                                                 {"E_PKL_TRUNCATED", error_code::pickle_truncated},
                                                 {"E_PKL_TYPE", error_code::pickle_type},
                                                 {"E_PKL_UNDERFLOW", error_code::pickle_underflow},
                                                 {"E_RANK", error_code::rank},
                                                 {"E_RANK_MISMATCH", error_code::rank_mismatch},
                                                 {"E_STORAGE_CONFLICT", error_code::storage_conflict},
                                                 {"E_STORAGE_KEY", error_code::storage_key},
                                                 {"E_STORAGE_SIZE", error_code::storage_size},
                                                 {"E_TORCHSCRIPT", error_code::torchscript},
                                                 {"E_UTF8", error_code::utf8},
                                                 {"E_VERSION", error_code::torch_version},
                                                 {"E_VIEW_RANGE", error_code::view_range},
                                                 {"E_ZIP64_EXTRA", error_code::zip64_extra},
                                                 {"E_ZIP64_RANGE", error_code::zip64_range},
                                                 {"E_ZIP_AMBIGUOUS", error_code::zip_ambiguous},
                                                 {"E_ZIP_CD_RANGE", error_code::zip_directory_range},
                                                 {"E_ZIP_COMPRESSED", error_code::zip_compressed},
                                                 {"E_ZIP_COUNT", error_code::zip_count},
                                                 {"E_ZIP_CRC", error_code::zip_crc},
                                                 {"E_ZIP_DATA_RANGE", error_code::zip_data_range},
                                                 {"E_ZIP_DUPLICATE", error_code::zip_duplicate},
                                                 {"E_ZIP_ENCRYPTED", error_code::zip_encrypted},
                                                 {"E_ZIP_EOCD", error_code::zip_end},
                                                 {"E_ZIP_LAYOUT", error_code::zip_layout},
                                                 {"E_ZIP_LEADING", error_code::zip_leading},
                                                 {"E_ZIP_LFH_RANGE", error_code::zip_header_range},
                                                 {"E_ZIP_LFH_SIG", error_code::zip_header},
                                                 {"E_ZIP_METHOD", error_code::zip_method},
                                                 {"E_ZIP_MISSING", error_code::zip_missing},
                                                 {"E_ZIP_MULTIDISK", error_code::zip_multi_disk},
                                                 {"E_ZIP_NAME_MISMATCH", error_code::zip_name_mismatch},
                                                 {"E_ZIP_OVERLAP", error_code::zip_overlap},
                                                 {"E_ZIP_SIZE_MISMATCH", error_code::zip_size_mismatch},
                                                 {"E_ZIP_TRAILING", error_code::zip_trailing}};

}  // namespace

TEST_CASE("torch_file: every file of the corpus gets its verdict within its memory") {
  const ocellus_tests::temporary_folder scratch;
  const std::string command = std::string("python3 '") + OCELLUS_TEST_DATA + "/corpora/pth_corpus_gen.py' '" +
                              scratch.path() + "' > /dev/null";
  if (std::system(command.c_str()) != 0) OCELLUS_SKIP("no python3 to make the corpus with");
  std::ifstream table(std::string(OCELLUS_TEST_DATA) + "/corpora/pth_corpus_results.tsv");
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
    code = code.substr(0, code.find(' '));
    CAPTURE(name);
    ++files;

    const std::string content = ocellus_tests::read_text(scratch / (name + ".pth"));
    const ocellus_tests::exact_bytes bytes(content);
    ocellus_tests::counting_memory memory;
    const auto begin = std::chrono::steady_clock::now();
    {
      // What a conversion does: open, then compare the checksums of the tensors that it uses.
      auto made = torch_file::open(bytes.span(), memory.hooks());
      result<void> verdict;
      if (!made) {
        verdict = result<void>(made.error());
      } else {
        for (const torch_tensor& t : made->tensors()) {
          auto intact = made->verify(t.storage_index);
          if (!intact) verdict = result<void>(intact.error());
        }
      }
      CHECK(verdict.has_value() == (expected == "accept"));
      if (!verdict) {
        REQUIRE(codes.count(code) == 1);
        CHECK(name_of(verdict.error().code()) == name_of(codes.at(code)));
        seen.insert(verdict.error().code());
        for (char c : verdict.error().message()) CHECK((c >= 0x20 && c < 0x7f));
      }
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    CHECK(taken.count() < 5);  // generous: sanitizers
    CHECK(memory.live() == 0);
    CHECK(memory.peak() <= content.size() + (std::size_t{64} << 20));
    if (content.size() < 65'536 && expected == "accept") {
      ocellus_tests::fail_every_allocation(
          [&](const memory_hooks& hooks) { return torch_file::open(bytes.span(), hooks); });
    }
  }
  CHECK(files == 146);
  CHECK(seen.size() == codes.size());  // one to one: every code of the table was met
}
