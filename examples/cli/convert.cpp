// ocellus convert: published checkpoints to one model file.
#include "ocellus/model/convert.hpp"

#include "commands.hpp"
#include "engine.hpp"
#include "writing.hpp"

namespace ocellus_cli {
namespace {

void print_report(const ocellus::convert_report& report, bool all) {
  for (std::size_t i = 0; i < report.size(); ++i) {
    const auto line = report[i];
    const bool shown =
        all || line.note == ocellus::convert_note::choice || line.note == ocellus::convert_note::defaulted;
    if (shown) note(std::string(ocellus::name_of(line.note)) + ": " + std::string(line.words));
  }
  std::string sums;
  for (const auto kind :
       {ocellus::convert_note::loaded, ocellus::convert_note::renamed, ocellus::convert_note::merged,
        ocellus::convert_note::resized, ocellus::convert_note::defaulted, ocellus::convert_note::overlaid,
        ocellus::convert_note::ignored}) {
    const std::size_t count = report.count(kind);
    if (count != 0)
      sums += (sums.empty() ? "" : ", ") + std::to_string(count) + " " + std::string(ocellus::name_of(kind));
  }
  note("tensors: " + sums);
}

}  // namespace

usage declare_convert() {
  return {"convert",
          "--phi DIR ... OUT.safetensors",
          "Makes one model file of TinyGPT-V's or Phi-2's checkpoints.",
          {{"--vit", "FILE", "eva_vit_g.pth"},
           {"--qformer", "FILE", "blip2_pretrained_flant5xxl.pth"},
           {"--phi", "DIR", "Phi-2's folder; alone it makes a plain language model"},
           {"--stage", "FILE", "TinyGPT-V_for_StageN.pth"},
           {"--image-size", "N", "pixels; default: what the ViT's position table is for"},
           {"--lora-alpha", "A", "default 16"},
           {"--format", "F", "of the matrices: f32, f16, bf16 (default), q8 or q4"},
           {"--vision-format", "F", "of the picture side's matrices; default: as --format"},
           {"--template", "NAME", "prompt template that the file names as its own"},
           {"--verbose", "", "list every tensor"},
           threads_option()}};
}

int run_convert(arguments& given) {
  engine runs_on(given);
  ocellus::convert_options options;
  options.vit = given.text("--vit");
  options.qformer = given.text("--qformer");
  options.phi = given.text("--phi");
  options.stage = given.text("--stage");
  options.image_size = given.number<std::uint32_t>("--image-size", 0, 1, 65536);
  options.lora_alpha = given.number<float>("--lora-alpha", 16, -1e6f, 1e6f);
  options.template_name = given.text("--template");
  options.progress.report = report_writing;
  read_formats(given, options.format, options.vision_format);
  if (given.positionals().size() != 1) given.complain("one output file is needed");
  if (options.phi.empty()) given.complain("--phi is needed");
  if (!given.problem().empty()) return exit_usage;
  options.output = given.positionals()[0];

  if (!runs_on.start()) return exit_error;
  const auto report = ocellus::convert(options, runs_on.host());
  progress_done();
  if (!report) return fail(report.error());
  print_report(*report, given.has("--verbose"));
  note_written(options.output, report->file);
  return exit_ok;
}

}  // namespace ocellus_cli
