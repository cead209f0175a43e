// ocellus-bench: how fast the library is. `ocellus-bench --help` lists the commands, `ocellus-bench COMMAND --help` one.
#include <cstdio>

#include "commands.hpp"

namespace {

using namespace ocellus_bench;

constexpr command commands[] = {{declare_kernels, run_kernels},
                                {declare_model, run_model},
                                {declare_batch, run_batch},
                                {declare_quantize, run_quantize},
                                {declare_tokenizer, run_tokenizer}};
constexpr std::string_view program = "ocellus-bench";

int complain(const std::string& problem) {
  std::fprintf(stderr, "ocellus-bench: %s; see ocellus-bench --help\n", problem.c_str());
  return exit_usage;
}

int run(const command& chosen, const std::vector<std::string_view>& words) {
  const usage declared = chosen.declare();
  if (!words.empty() && (words[0] == "--help" || words[0] == "-h")) {
    std::fputs(help_of(declared, program).c_str(), stdout);
    return exit_ok;
  }
  arguments given(declared, words);
  const int code = given.problem().empty() ? chosen.run(given) : exit_usage;
  return given.problem().empty() ? code : complain(given.problem());
}

}  // namespace

int main(int count, char** given) {
  const std::vector<std::string_view> words(given + 1, given + count);
  if (words.empty() || words[0] == "--help" || words[0] == "-h") {
    for (const command& c : commands) std::fputs(help_of(c.declare(), program).c_str(), stdout);
    return words.empty() ? exit_usage : exit_ok;
  }
  for (const command& c : commands) {
    if (words[0] == c.declare().command) return run(c, {words.begin() + 1, words.end()});
  }
  return complain("there is no command " + std::string(words[0]));
}
