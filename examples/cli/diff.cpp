// ocellus diff: compares a model with what a reference computed, stage by stage.
#include "../support/golden_diff.hpp"

#include "commands.hpp"
#include "engine.hpp"

namespace ocellus_cli {
namespace {

using ocellus_examples::golden_difference;
using ocellus_examples::stage_difference;

std::string pad(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

/// "[3, 17]"
std::string index_text(const stage_difference& s) {
  const std::uint64_t cols = s.dims.rank() == 2 ? s.dims[1] : 1;
  return "[" + std::to_string(s.largest_at / cols) + ", " + std::to_string(s.largest_at % cols) + "]";
}

void print_stages(const golden_difference& d) {
  std::size_t widest = 16;
  for (const stage_difference& s : d.stages) widest = (std::max)(widest, s.name.size());
  say(pad("stage", widest + 2) + pad("|d|/|golden|", 14) + pad("largest |d|", 13) + "at\n");
  for (const stage_difference& s : d.stages) {
    const std::string problem = s.problem(d.tolerance);
    std::string line = pad(s.name, widest + 2);
    if (s.seen != 0 && !s.wrong_shape) {
      line += pad(scientific_text(s.relative(), 2), 14) + pad(scientific_text(s.largest, 2), 13) +
              pad(index_text(s), 14);
    }
    say(line + (problem.empty() ? "ok" : "WRONG: " + problem) + "\n");
  }
}

void print_ids(const golden_difference& d) {
  if (!d.has_ids) return;
  std::size_t equal = 0;
  while (equal < d.ids.size() && d.ids[equal] == d.golden_ids[equal]) ++equal;
  const std::size_t all = d.golden_ids.size();
  std::string line = "greedy ids: " + std::to_string(equal) + " of " + std::to_string(all) + " equal";
  if (equal != all) {
    line += " before the first difference: " + std::to_string(d.ids[equal]) + ", golden " +
            std::to_string(d.golden_ids[equal]);
    line += d.ids_judged ? "  WRONG" : "  (not judged: 16-bit weights)";
  }
  say(line + "\n");
}

}  // namespace

usage declare_diff() {
  usage u{"diff", "MODEL GOLDEN.safetensors",
          "Compares every stage with a golden; the first wrong stage is named.", engine_options("exact")};
  u.options.push_back(
      {"--tolerance", "X", "of |difference| / |golden|; default 2e-5, with 16-bit matrices 1e-2"});
  return u;
}

int run_diff(arguments& given) {
  engine runs_on(given, "exact");
  ocellus_examples::golden_options options;
  options.tolerance = given.number<double>("--tolerance", 0, 1e-300, 1e300);
  options.session = runs_on.session();
  const auto& words = given.positionals();
  if (words.size() != 2) given.complain("a model and a golden are needed");
  if (!given.problem().empty()) return exit_usage;
  if (!runs_on.start()) return exit_error;
  options.host = runs_on.host();

  const auto model = ocellus::model::open(words[0], options.host);
  if (!model) return fail(model.error());
  const auto file = ocellus::byte_source::open(words[1]);
  if (!file) return fail(file.error());
  const auto golden = ocellus::safetensors::parse(file->bytes());
  if (!golden) return fail(golden.error().in(ocellus::quoted{words[1]}));
  const auto difference = ocellus_examples::diff_with_golden(*model, *golden, options);
  if (!difference) return fail(difference.error());

  note("kernels: " + difference->target + ", tolerance: " + scientific_text(difference->tolerance, 1));
  print_stages(*difference);
  print_ids(*difference);
  const std::string wrong = difference->first_wrong();
  if (wrong.empty()) return exit_ok;
  return fail("the first wrong stage is " + wrong);
}

}  // namespace ocellus_cli
