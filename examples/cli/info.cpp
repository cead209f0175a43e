// ocellus info: what a model file holds and what it takes to run it; without a model, which kernels there are.
#include <map>

#include "commands.hpp"
#include "console.hpp"
#include "ocellus/kernels/kernels.hpp"
#include "ocellus/ocellus.hpp"

namespace ocellus_cli {
namespace {

void line(std::string_view name, const std::string& value) {
  say(std::string(name) + std::string(name.size() < 14 ? 14 - name.size() : 1, ' ') + value + "\n");
}

std::string number(std::uint64_t n) { return std::to_string(n); }

std::string layers_text(std::uint32_t layers, std::uint32_t width, std::uint32_t heads, std::uint32_t mlp) {
  return number(layers) + " layers, width " + number(width) + ", " + number(heads) + " heads of " +
         number(width / heads) + ", MLP " + number(mlp);
}

void print_kernels() {
  std::string names;
  for (const ocellus::kernels* table : ocellus::cpu_kernels())
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  line("kernels", names + " (the last is used unless --target says otherwise)");
}

void print_config(const ocellus::model_config& c) {
  if (c.has_vision) {
    line("pictures", number(c.vit.image_size) + " x " + number(c.vit.image_size) + " pixels, patches of " +
                         number(c.vit.patch_size) + ", " + number(c.qformer.queries) + " embeddings each");
    line("ViT", layers_text(c.vit.layers, c.vit.width, c.vit.heads, c.vit.mlp_width));
    line("Q-Former", layers_text(c.qformer.layers, c.qformer.width, c.qformer.heads, c.qformer.mlp_width));
    line("projection",
         number(c.qformer.width) + " -> " + number(c.projection_width) + " -> " + number(c.phi.width));
  } else {
    line("pictures", "none: a language model alone");
  }
  line("Phi", layers_text(c.phi.layers, c.phi.width, c.phi.heads, c.phi.mlp_width) +
                  (c.phi.qk_norm ? ", q/k norms" : "") + (c.phi.post_norm ? ", post norm" : ""));
  line("context", number(c.phi.max_positions) + " positions, RoPE on " + number(c.phi.rotary_size) + " of " +
                      number(c.phi.head_size()));
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
  line("template", std::string(model.default_template()));
  std::string stops;
  for (const std::string_view stop : model.stops()) {
    stops += (stops.empty() ? "" : ", ") + std::string(stop == "\n" ? "newline" : stop);
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
