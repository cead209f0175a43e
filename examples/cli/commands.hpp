// The commands: each takes the words behind its name and returns the exit code.
#ifndef OCELLUS_CLI_COMMANDS_HPP
#define OCELLUS_CLI_COMMANDS_HPP

#include <string_view>
#include <vector>

#include "arguments.hpp"

namespace ocellus_cli {

struct command {
  usage (*declare)();
  int (*run)(arguments& given);
};

[[nodiscard]] usage declare_ask();
int run_ask(arguments& given);
[[nodiscard]] usage declare_chat();
int run_chat(arguments& given);
[[nodiscard]] usage declare_tokenize();
int run_tokenize(arguments& given);
[[nodiscard]] usage declare_info();
int run_info(arguments& given);
[[nodiscard]] usage declare_convert();
int run_convert(arguments& given);
[[nodiscard]] usage declare_inspect();
int run_inspect(arguments& given);
[[nodiscard]] usage declare_diff();
int run_diff(arguments& given);
[[nodiscard]] usage declare_synth();
int run_synth(arguments& given);

/// Says what is wrong with a command line; returns exit_usage.
int usage_error(const usage& declared, std::string_view problem);

}  // namespace ocellus_cli

#endif  // OCELLUS_CLI_COMMANDS_HPP
