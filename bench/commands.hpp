// The commands of ocellus-bench: each measures one thing and returns the exit code.
#ifndef OCELLUS_BENCH_COMMANDS_HPP
#define OCELLUS_BENCH_COMMANDS_HPP

#include "arguments.hpp"

namespace ocellus_bench {

using ocellus_cli::arguments;
using ocellus_cli::usage;

inline constexpr int exit_ok = 0, exit_error = 1, exit_usage = 2;

struct command {
  usage (*declare)();
  int (*run)(arguments& given);
};

[[nodiscard]] usage declare_kernels();
int run_kernels(arguments& given);
[[nodiscard]] usage declare_model();
int run_model(arguments& given);
[[nodiscard]] usage declare_batch();
int run_batch(arguments& given);
[[nodiscard]] usage declare_quantize();
int run_quantize(arguments& given);
[[nodiscard]] usage declare_tokenizer();
int run_tokenizer(arguments& given);

}  // namespace ocellus_bench

#endif  // OCELLUS_BENCH_COMMANDS_HPP
