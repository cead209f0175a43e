// ocellus: the library on the command line. `ocellus --help` lists the commands, `ocellus COMMAND --help` one of them.
#include "commands.hpp"
#include "console.hpp"
#include "ocellus/config.hpp"

namespace ocellus_cli {
namespace {

constexpr command commands[] = {{declare_ask, run_ask},           {declare_chat, run_chat},
                                {declare_tokenize, run_tokenize}, {declare_info, run_info},
                                {declare_inspect, run_inspect},   {declare_convert, run_convert},
                                {declare_synth, run_synth},       {declare_diff, run_diff}};

std::string general_help() {
  std::string help =
      "ocellus runs TinyGPT-V: it looks at a picture and talks about it.\n\n"
      "usage: ocellus COMMAND ...\n";
  for (const command& c : commands) {
    const usage declared = c.declare();
    const std::string left = std::string(declared.command) + " " + std::string(declared.positionals);
    help += "  " + left + std::string(left.size() < 39 ? 39 - left.size() : 1, ' ') +
            std::string(declared.summary) + "\n";
  }
  return help +
         "`ocellus COMMAND --help` lists a command's options. Answers go to standard output, everything else "
         "to\n"
         "standard error. Exit code: 0, 1 for an error, 2 for a command line that makes no sense.\n";
}

}  // namespace

int usage_error(const usage& declared, std::string_view problem) {
  note("ocellus " + std::string(declared.command) + ": " + std::string(problem));
  note("usage: ocellus " + std::string(declared.command) + " " + std::string(declared.positionals) +
       "; more with `ocellus " + std::string(declared.command) + " --help`");
  return exit_usage;
}

int run(const std::vector<std::string_view>& words) {
  if (words.empty()) {
    note(general_help());
    return exit_usage;
  }
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    say(general_help());
    return exit_ok;
  }
  if (words[0] == "--version") {
    say(std::string("ocellus ") + ocellus::version + "\n");
    return exit_ok;
  }
  for (const command& c : commands) {
    const usage declared = c.declare();
    if (words[0] != declared.command) continue;
    if (words.size() > 1 && (words[1] == "--help" || words[1] == "-h")) {
      say(help_of(declared));
      return exit_ok;
    }
    arguments given(declared, {words.begin() + 1, words.end()});
    if (!given.problem().empty()) return usage_error(declared, given.problem());
    const int code = c.run(given);
    return given.problem().empty() ? code : usage_error(declared, given.problem());
  }
  note("ocellus: there is no command " + std::string(words[0]) + "; `ocellus --help` lists them");
  return exit_usage;
}

}  // namespace ocellus_cli

int main(int count, char** words) {
  ocellus_cli::make_streams_binary();
  return ocellus_cli::run({words + 1, words + count});
}
