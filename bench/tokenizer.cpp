// ocellus-bench tokenizer: how fast text is turned into tokens, on one core, after a check that the tokens give the text
// back.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "commands.hpp"
#include "measure.hpp"
#include "ocellus/text/tokenizer.hpp"

namespace ocellus_bench {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

usage declare_tokenizer() {
  return {"tokenizer",
          "FOLDER TEXT-FILE",
          "Speed of the tokenizer in a folder with vocab.json, merges.txt and added_tokens.json. The text "
          "should be 5 MB "
          "or more that do not repeat.",
          {}};
}

int run_tokenizer(arguments& given) {
  if (given.positionals().size() != 2) given.complain("tokenizer takes a folder and a text file");
  if (!given.problem().empty()) return exit_usage;
  const std::string folder(given.positionals()[0]), text = read_file(std::string(given.positionals()[1]));
  const std::string vocabulary = read_file(folder + "/vocab.json"),
                    merges = read_file(folder + "/merges.txt");
  const std::string added = read_file(folder + "/added_tokens.json");
  auto words = ocellus::tokenizer::from_files({vocabulary, merges, added});
  if (!words) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(words.error().message().size()),
                 words.error().message().data());
    return exit_error;
  }
  ocellus::array<std::uint32_t> ids;
  ocellus::text back;
  if (!words->encode(text, ids) || !words->decode(ids.span(), back) || back.view() != text) {
    std::fputs("decode(encode(text)) is not the text\n", stderr);
    return exit_error;
  }
  double seconds[5];
  for (double& run : seconds) {
    ids.clear();
    bool good = false;
    run = seconds_of([&] { good = words->encode(text, ids).has_value(); });
    if (!good) return exit_error;
  }
  std::sort(std::begin(seconds), std::end(seconds));
  const double load = seconds_of([&] { (void)ocellus::tokenizer::from_data(words->data()).has_value(); });
  std::printf(
      "encode: %.1f MB/s (median of 5, %.1f to %.1f), %.1f MB of text, %zu tokens, text comes back exactly\n",
      static_cast<double>(text.size()) / seconds[2] * 1e-6,
      static_cast<double>(text.size()) / seconds[4] * 1e-6,
      static_cast<double>(text.size()) / seconds[0] * 1e-6, static_cast<double>(text.size()) * 1e-6,
      ids.size());
  std::printf("load from a model file's arrays: %.1f ms\n", load * 1e3);
  return exit_ok;
}

}  // namespace ocellus_bench
