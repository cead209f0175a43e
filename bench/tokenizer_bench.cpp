// How fast text is turned into tokens: tokenizer_bench FOLDER TEXT-FILE
// FOLDER holds vocab.json, merges.txt and added_tokens.json. Prints the median of five runs on one core, after a check
// that the tokens give the text back. Loading is not part of the time. Use 5 MB or more of text that does not repeat.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "ocellus/text/tokenizer.hpp"

namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: tokenizer_bench FOLDER TEXT-FILE\n", stderr);
    return 2;
  }
  const std::string folder = argv[1], text = read_file(argv[2]);
  const std::string vocabulary = read_file(folder + "/vocab.json"),
                    merges = read_file(folder + "/merges.txt");
  const std::string added = read_file(folder + "/added_tokens.json");
  auto words = ocellus::tokenizer::from_files({vocabulary, merges, added});
  if (!words) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(words.error().message().size()),
                 words.error().message().data());
    return 1;
  }
  ocellus::array<std::uint32_t> ids;
  ocellus::text back;
  if (!words->encode(text, ids) || !words->decode(ids.span(), back) || back.view() != text) {
    std::fputs("decode(encode(text)) is not the text\n", stderr);
    return 1;
  }
  double seconds[5];
  for (double& run : seconds) {
    ids.clear();
    bool good = false;
    run = seconds_of([&] { good = words->encode(text, ids).has_value(); });
    if (!good) return 1;
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
  return 0;
}
