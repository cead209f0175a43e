// ocellus synth: a model of random weights, for measurements.
#include "ocellus/model/synthesize.hpp"

#include "commands.hpp"
#include "engine.hpp"
#include "writing.hpp"

namespace ocellus_cli {

usage declare_synth() {
  return {"synth",
          "--size full|micro OUT.safetensors",
          "Makes a model of random weights, to measure speed and memory with.",
          {{"--size", "S", "full: TinyGPT-V as published; micro: as the built-in model"},
           {"--format", "F", "of the matrices: f32, f16, bf16, q8 or q4 (default)"},
           {"--vision-format", "F", "of the picture side's matrices; default: as --format"},
           {"--image-size", "N", "pixels; default: 448 for full, 112 for micro"},
           {"--tokenizer", "DIR", "a folder with vocab.json and merges.txt; default: a token for each byte"},
           {"--seed", "S", "of the random numbers; default 1"},
           threads_option()}};
}

int run_synth(arguments& given) {
  engine runs_on(given);
  ocellus::synthesize_options options;
  const std::string_view size = given.text("--size");
  if (size == "micro") {
    options.size = ocellus::synthetic_size::micro;
  } else if (size != "full") {
    given.complain("--size full or --size micro is needed");
  }
  read_formats(given, options.format, options.vision_format);
  options.image_size = given.number<std::uint32_t>("--image-size", 0, 1, 65536);
  options.tokenizer_folder = given.text("--tokenizer");
  options.seed = given.number<std::uint64_t>("--seed", 1, 0, UINT64_MAX);
  options.progress.report = report_writing;
  if (given.positionals().size() != 1) given.complain("one output file is needed");
  if (!given.problem().empty()) return exit_usage;
  options.output = given.positionals()[0];
  if (!runs_on.start()) return exit_error;

  const auto written = ocellus::synthesize(options, runs_on.host());
  progress_done();
  if (!written) return fail(written.error());
  note_written(options.output, *written);
  return exit_ok;
}

}  // namespace ocellus_cli
