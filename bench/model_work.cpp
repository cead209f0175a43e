#include "model_work.hpp"

#include "ocellus/kernels/packed.hpp"

namespace ocellus_bench {
namespace {

void add(work& w, const ocellus::linear_weights& layer, double rows) {
  const ocellus::packed_matrix& m = layer.weight;
  if (m.handle == nullptr) return;
  w.bytes += static_cast<double>(ocellus::packed_bytes(m.format, m.n, m.k).value());
  if (is_quantized(m.format))
    w.bytes += static_cast<double>(ocellus::panel_scale_bytes(m.k).value() * ((m.n + 15) / 16));
  w.operations += 2.0 * rows * m.n * m.k;
}

/// Each row with so many keys: two products.
void add_attention(work& w, double rows, double keys, double width) {
  w.operations += 4 * rows * keys * width;
}

}  // namespace

work picture_work(const ocellus::model& model) {
  const ocellus::model_config& c = model.config();
  const ocellus::model_weights& weights = model.weights();
  const double tokens = c.vit.tokens(), queries = c.qformer.queries;
  work w;
  w.format = weights.vit.blocks[0].fc1.weight.format;
  add(w, weights.vit.patch, c.vit.patches());
  for (const ocellus::vit_block_weights& b : weights.vit.blocks) {
    for (const ocellus::linear_weights* l : {&b.qkv, &b.proj, &b.fc1, &b.fc2}) add(w, *l, tokens);
    add_attention(w, tokens, tokens, c.vit.width);
  }
  for (const ocellus::qformer_layer_weights& l : weights.qformer.layers) {
    for (const ocellus::linear_weights* m :
         {&l.self_qkv, &l.self_out, &l.cross_q, &l.cross_out, &l.fc1, &l.fc2})
      add(w, *m, queries);
    add_attention(w, queries, queries, c.qformer.width);
    add(w, l.cross_kv, tokens);
    if (l.cross_kv.weight.handle != nullptr) add_attention(w, queries, tokens, c.qformer.width);
  }
  for (const ocellus::linear_weights& l : weights.projection) add(w, l, queries);
  return w;
}

work tokens_work(const ocellus::model& model, std::uint32_t position, std::uint32_t rows,
                 ocellus::dtype cache_type) {
  const ocellus::phi_config& c = model.config().phi;
  const ocellus::phi_weights& weights = model.weights().phi;
  work w;
  w.format = weights.layers[0].fc1.weight.format;
  for (const ocellus::phi_layer_weights& l : weights.layers) {
    for (const ocellus::linear_weights* m : {&l.qkv, &l.dense, &l.fc1, &l.fc2}) add(w, *m, rows);
    add_attention(w, rows, position + (rows + 1) / 2.0, c.width);
    w.bytes += 2.0 * (position + rows) * c.width * static_cast<double>(bits_of(cache_type)) / 8;
  }
  add(w, weights.head, 1);
  return w;
}

}  // namespace ocellus_bench
