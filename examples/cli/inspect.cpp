// ocellus inspect: what files are and which tensors are in them.
#include "ocellus/model/inspect.hpp"

#include <algorithm>
#include <map>

#include "commands.hpp"
#include "console.hpp"
#include "inspect_json.hpp"
#include "inspect_table.hpp"
#include "model_text.hpp"

namespace ocellus_cli {
namespace {

using ocellus::file_kind;
using ocellus::tensor_use;

std::string count_text(std::uint64_t n, const std::string& one) {
  return std::to_string(n) + " " + one + (n == 1 ? "" : "s");
}

std::string stage_text(const ocellus::file_description::stage_contents& stage) {
  if (stage.number == 0) return "";
  return ", stage " + std::to_string(stage.number) +
         (stage.number_by_name ? " by its name" : " by its tensors");
}

std::string layout_text(ocellus::qkv_layout layout) {
  switch (layout) {
    case ocellus::qkv_layout::unknown:
      return "unknown";
    case ocellus::qkv_layout::wqkv:
      return "Wqkv, rows [3][heads][head size]";
    case ocellus::qkv_layout::query_key_value:
      return "query_key_value, rows [heads][3][head size]";
    case ocellus::qkv_layout::separate:
      return "q_proj, k_proj, v_proj";
  }
  return "";
}

std::string kind_text(const ocellus::file_description& file) {
  switch (file.kind) {
    case file_kind::other:
      return "no file that ocellus knows";
    case file_kind::model:
      return "model of format " + printable(file.model.format);
    case file_kind::vit:
      return "ViT, as eva_vit_g.pth (convert --vit)";
    case file_kind::qformer:
      return "Q-Former, as blip2_pretrained_flant5xxl.pth (convert --qformer)";
    case file_kind::phi:
      return "Phi-2 (convert --phi takes its folder)";
    case file_kind::stage:
      return "TinyGPT-V stage file" + stage_text(file.stage) + " (convert --stage)";
    case file_kind::tokenizer:
      return "tokenizer";
  }
  return "";
}

std::string container_text(const ocellus::file_description& file) {
  const std::string of = file.files == 1 ? "" : count_text(file.files, "file") + " of ";
  switch (file.container) {
    case ocellus::file_container::json:
      return "JSON";
    case ocellus::file_container::safetensors:
      return of + "safetensors";
    case ocellus::file_container::torch:
      return of + "torch.save";
  }
  return "";
}

void print_stage(const ocellus::file_description::stage_contents& stage) {
  line("LoRA", stage.lora_count == 0 ? "none"
                                     : "rank " + std::to_string(stage.lora_rank) + ", changes " +
                                           count_text(stage.lora_count, "weight"));
  line("norms", std::string(stage.qk_norms ? "q/k norms" : "no q/k norms") +
                    (stage.post_norms ? ", post norms" : ", no post norms"));
  line("Q-Former", stage.qformer ? "its own, in place of BLIP-2's" : "none");
}

void print_model(const ocellus::file_description& file) {
  line("template", printable(file.model.template_name));
  std::string stops;
  for (const std::string_view stop : file.model.stops) {
    stops += (stops.empty() ? "" : ", ") + (stop == "\n" ? "newline" : printable(stop));
  }
  line("stops", stops.empty() ? "none" : stops);
  if (!file.model.origin.empty()) line("origin", printable(file.model.origin));
  if (!file.model.aligned) line("warning", "matrices do not begin at multiples of 64 bytes: slower to read");
}

void print_parts(const ocellus::file_description& file) {
  switch (file.kind) {
    case file_kind::model:
      print_config(file.config);
      break;
    case file_kind::vit:
      print_vit(file.config.vit);
      line("blocks", std::to_string(file.config.vit.layers) + " of the file's " +
                         std::to_string(file.vit_blocks) + " are used");
      break;
    case file_kind::qformer:
      print_qformer(file.config.qformer);
      break;
    case file_kind::phi:
      print_phi(file.config.phi);
      line("layout", layout_text(file.layout));
      break;
    case file_kind::stage:
      print_stage(file.stage);
      break;
    case file_kind::other:
    case file_kind::tokenizer:
      break;
  }
  const bool phi_folder = file.kind == file_kind::phi && file.config.phi.heads != 0;
  if (file.tokenizer_ids != 0) {
    line("tokenizer", std::to_string(file.tokenizer_ids) + " ids");
  } else if (phi_folder || file.kind == file_kind::model) {
    line("tokenizer", "none");
  }
  if (file.kind == file_kind::model) print_model(file);
}

struct sum {
  std::uint64_t count = 0, bytes = 0;
  void add(std::uint64_t more) {
    ++count;
    bytes += more;
  }
  std::string text() const { return count_text(count, "tensor") + ", " + bytes_text(bytes); }
};

void print_sums(const ocellus::file_description& file) {
  std::map<std::string_view, sum> types;
  sum all, unused, unknown;
  for (const ocellus::inspected_tensor& t : file.tensors()) {
    types[name_of(t.type)].add(t.bytes);
    all.add(t.bytes);
    if (t.use == tensor_use::surplus) unused.add(t.bytes);
    if (t.use == tensor_use::unknown) unknown.add(t.bytes);
  }
  for (const auto& [type, s] : types) line(type, s.text());
  if (types.size() != 1) line("total", all.text());
  // Names and types take some room in every file; an optimizer takes more than the tensors.
  const std::uint64_t rest = file.file_bytes - (std::min)(file.file_bytes, file.tensor_bytes);
  if (file.container == ocellus::file_container::torch && rest > 1'000'000 && rest > file.tensor_bytes) {
    line("not read", bytes_text(rest) + " beside the tensors, such as the state of an optimizer");
  }
  if (file.kind == file_kind::other) return;
  if (unused.count != 0) line("not used", unused.text());
  if (unknown.count != 0) line("unknown", unknown.text() + ": a conversion refuses them");
}

void print_file(std::string_view path, const ocellus::file_description& file, bool every) {
  constexpr std::size_t longest_path = 4096;
  say(printable(path, longest_path) + "\n");
  line("what", kind_text(file));
  line("file", container_text(file) + (file.file_bytes == 0 ? "" : ", " + bytes_text(file.file_bytes)));
  print_parts(file);
  if (file.tensors().empty()) return;
  print_sums(file);
  say("\n");
  print_tensor_table(file, every);
}

}  // namespace

usage declare_inspect() {
  return {"inspect",
          "FILE...",
          "What files are and hold: checkpoints, folders or indexes of shards, models.",
          {{"--json", "", "one JSON object, for several files an array of them"},
           {"--verbose", "", "list every tensor; by default those of all layers share a row"},
           {"--checksums", "", "compare the bytes of torch's checkpoints with their checksums"}}};
}

int run_inspect(arguments& given) {
  const auto& paths = given.positionals();
  if (paths.empty()) given.complain("a file is needed");
  if (!given.problem().empty()) return exit_usage;
  ocellus::host host;
  host.stop = catch_interrupts();
  ocellus::inspect_options options;
  options.checksums = given.has("--checksums");

  int code = exit_ok;
  bool first = true;
  ocellus::json_writer json;
  if (paths.size() > 1) json.begin_array();
  for (const std::string_view path : paths) {
    const auto file = ocellus::inspect(path, host, options);
    if (!file) code = exit_error;
    if (given.has("--json")) {
      write_description(json, path, file);
      continue;
    }
    if (!file) {
      fail(file.error());
      continue;
    }
    if (!first) say("\n");
    first = false;
    print_file(path, *file, given.has("--verbose"));
  }
  if (!given.has("--json")) return code;
  if (paths.size() > 1) json.end_array();
  const auto text = json.finish();
  if (!text) return fail(text.error());
  say(ascii_json(text->view()) + "\n");
  return code;
}

}  // namespace ocellus_cli
