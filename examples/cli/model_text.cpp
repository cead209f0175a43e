#include "model_text.hpp"

#include <bit>

#include "console.hpp"

namespace ocellus_cli {
namespace {

std::string number(std::uint64_t n) { return std::to_string(n); }
std::string count(std::uint64_t n, std::string_view one) {
  return number(n) + " " + std::string(one) + (n == 1 ? "" : "s");
}

std::string layers_text(std::uint32_t layers, std::uint32_t width, std::uint32_t heads, std::uint32_t mlp) {
  std::string words = count(layers, "layer");
  if (width != 0) words += ", width " + number(width);
  if (heads != 0) words += ", " + count(heads, "head") + " of " + number(width / heads);
  if (mlp != 0) words += ", MLP " + number(mlp);
  return words;
}

}  // namespace

void line(std::string_view name, const std::string& value) {
  say(std::string(name) + std::string(name.size() < 14 ? 14 - name.size() : 1, ' ') + value + "\n");
}

void print_vit(const ocellus::vit_config& vit) {
  line("pictures", number(vit.image_size) + " x " + number(vit.image_size) + " pixels, patches of " +
                       number(vit.patch_size));
  line("ViT", layers_text(vit.layers, vit.width, vit.heads, vit.mlp_width));
}

void print_qformer(const ocellus::qformer_config& qformer) {
  line("Q-Former", layers_text(qformer.layers, qformer.width, qformer.heads, qformer.mlp_width) + ", " +
                       number(qformer.queries) + " queries, cross attention in " +
                       count(static_cast<std::uint64_t>(std::popcount(qformer.cross_layers)), "layer"));
}

void print_projection(const ocellus::model_config& config) {
  line("projection", number(config.qformer.width) + " -> " + number(config.projection_width) + " -> " +
                         number(config.phi.width));
}

void print_phi(const ocellus::phi_config& phi) {
  line("Phi", layers_text(phi.layers, phi.width, phi.heads, phi.mlp_width) +
                  (phi.qk_norm ? ", q/k norms" : "") + (phi.post_norm ? ", post norm" : ""));
  if (phi.heads != 0) {
    line("context", number(phi.max_positions) + " positions, RoPE on " + number(phi.rotary_size) + " of " +
                        number(phi.head_size()));
  }
}

void print_config(const ocellus::model_config& config) {
  if (config.has_vision) {
    print_vit(config.vit);
    print_qformer(config.qformer);
    print_projection(config);
  } else {
    line("pictures", "none: a language model alone");
  }
  print_phi(config.phi);
}

}  // namespace ocellus_cli
