// ocellus info: what a model file holds and what it takes to run it; without a model, which kernels there are.
#include <map>

#include "commands.hpp"
#include "console.hpp"
#include "model_text.hpp"
#include "ocellus/kernels/kernels.hpp"
#include "ocellus/ocellus.hpp"

namespace ocellus_cli {
namespace {

std::string number(std::uint64_t n) { return std::to_string(n); }

std::string kernel_names(ocellus::precision mode) {
  std::string names;
  for (const ocellus::kernels* table : ocellus::cpu_kernels(mode))
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  return names;
}

void print_kernels() {
  line("fast kernels",
       kernel_names(ocellus::precision::fast) + " (the last is used unless --target says otherwise)");
  line("exact kernels", kernel_names(ocellus::precision::exact));
}

void print_tensors(const ocellus::model& model) {
  std::map<std::string_view, std::pair<std::size_t, std::uint64_t>> types;
  for (const ocellus::tensor_info& t : model.contents().tensors()) {
    auto& [count, bytes] = types[ocellus::name_of(t.type)];
    ++count;
    bytes += t.bytes.size();
  }
  for (const auto& [type, sum] : types) line(type, number(sum.first) + " tensors, " + bytes_text(sum.second));
}

void print_text_side(const ocellus::model& model) {
  const ocellus::tokenizer* words = model.tokenizer();
  line("vocabulary",
       number(model.config().phi.vocabulary) + " rows, " +
           (words == nullptr ? "no tokenizer" : number(words->vocab_size()) + " ids with a tokenizer"));
  line("template", printable(model.default_template()));
  std::string stops;
  for (const std::string_view stop : model.stops()) {
    stops += (stops.empty() ? "" : ", ") + (stop == "\n" ? "newline" : printable(stop));
  }
  line("stops", stops.empty() ? "none" : stops);
}

}  // namespace

usage declare_info() {
  return {
      "info", "[MODEL]", "What a model is and needs; without one, which kernels this processor can run.", {}};
}

int run_info(arguments& given) {
  if (given.positionals().size() > 1) given.complain("one model at most");
  if (!given.problem().empty()) return exit_usage;
  if (given.positionals().empty()) {
    line("ocellus", ocellus::version);
    print_kernels();
    return exit_ok;
  }
  const auto model = ocellus::model::open(given.positionals()[0]);
  if (!model) return fail(model.error());
  line("file", bytes_text(model->file_bytes()) + ", format " + std::string(ocellus::model::format_version));
  print_config(model->config());
  print_tensors(*model);
  print_text_side(*model);
  const auto memory = ocellus::session::estimate(model->config());
  if (!memory) return fail(memory.error());
  line("a session", bytes_text(*memory) + " beside the file, for a conversation of " +
                        number((std::min)(model->config().phi.max_positions, 2048u)) +
                        " positions on one thread");
  if (!model->aligned()) {
    line("warning",
         "matrices do not begin at multiples of 64 bytes: slower to read (another tool saved the file?)");
  }
  print_kernels();
  return exit_ok;
}

}  // namespace ocellus_cli
