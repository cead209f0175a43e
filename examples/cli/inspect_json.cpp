#include "inspect_json.hpp"

#include <map>

#include "ocellus/io/utf8.hpp"

namespace ocellus_cli {
namespace {

using ocellus::file_kind;
using ocellus::json_writer;

/// A path may be any bytes; JSON may not.
std::string as_utf8(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const std::size_t length = ocellus::utf8_sequence(bytes);
    out += length == 0 ? std::string_view("\xef\xbf\xbd") : bytes.substr(0, length);
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

void write_shape(json_writer& out, std::string_view key, const ocellus::shape& dims) {
  out.key(key).begin_array();
  for (const std::uint64_t d : dims.dims()) out.integer(d);
  out.end_array();
}

void write_tensor(json_writer& out, const ocellus::inspected_tensor& t) {
  out.begin_object().key("name").string(t.name);
  out.key("canonical").string(t.canonical);
  out.key("dtype").string(name_of(t.type));
  write_shape(out, "shape", t.dims);
  if (!t.format.empty()) {
    out.key("format").string(t.format);
    write_shape(out, "stored_shape", t.stored);
  }
  out.key("bytes").integer(t.bytes);
  out.key("use").string(name_of(t.use));
  if (!t.target.empty()) out.key("target").string(t.target);
  if (!t.surplus.empty()) out.key("surplus").string(t.surplus);
  out.end_object();
}

// Members have the names of the model file's configuration. What is not known is left out.

void write_number(json_writer& out, std::string_view key, std::uint64_t value) {
  if (value != 0) out.key(key).integer(value);
}

void write_vit(json_writer& out, const ocellus::file_description& file) {
  const ocellus::vit_config& vit = file.config.vit;
  out.key("vit").begin_object();
  write_number(out, "blocks_in_file", file.vit_blocks);
  write_number(out, "image_size", vit.image_size);
  write_number(out, "patch_size", vit.patch_size);
  write_number(out, "width", vit.width);
  write_number(out, "layers", vit.layers);
  write_number(out, "heads", vit.heads);
  write_number(out, "mlp_width", vit.mlp_width);
  out.end_object();
}

void write_qformer(json_writer& out, const ocellus::qformer_config& qformer) {
  out.key("qformer").begin_object();
  write_number(out, "queries", qformer.queries);
  write_number(out, "width", qformer.width);
  write_number(out, "layers", qformer.layers);
  write_number(out, "heads", qformer.heads);
  write_number(out, "mlp_width", qformer.mlp_width);
  out.key("cross_layers").begin_array();
  for (std::uint32_t i = 0; i < qformer.layers && i < 64; ++i) {
    if (qformer.has_cross(i)) out.integer(i);
  }
  out.end_array().end_object();
}

void write_phi(json_writer& out, const ocellus::file_description& file) {
  const ocellus::phi_config& phi = file.config.phi;
  out.key("phi").begin_object();
  if (file.layout != ocellus::qkv_layout::unknown) out.key("layout").string(name_of(file.layout));
  write_number(out, "vocabulary", phi.vocabulary);
  write_number(out, "width", phi.width);
  write_number(out, "layers", phi.layers);
  write_number(out, "heads", phi.heads);
  write_number(out, "mlp_width", phi.mlp_width);
  write_number(out, "rotary_size", phi.rotary_size);
  write_number(out, "max_positions", phi.max_positions);
  if (file.kind == file_kind::model) {
    out.key("qk_norm").boolean(phi.qk_norm).key("post_norm").boolean(phi.post_norm);
  }
  out.end_object();
}

void write_stage(json_writer& out, const ocellus::file_description::stage_contents& stage) {
  out.key("stage").begin_object();
  if (stage.number != 0) {
    out.key("number").integer(stage.number);
    out.key("told_by").string(stage.number_by_name ? "name" : "tensors");
  }
  out.key("lora_rank").integer(stage.lora_rank).key("lora_weights").integer(stage.lora_count);
  out.key("qk_norms").boolean(stage.qk_norms).key("post_norms").boolean(stage.post_norms);
  out.key("qformer").boolean(stage.qformer).end_object();
}

void write_model(json_writer& out, const ocellus::file_description::model_contents& model) {
  out.key("model").begin_object().key("format").string(model.format);
  out.key("template").string(model.template_name).key("stops").begin_array();
  for (const std::string_view stop : model.stops) out.string(stop);
  out.end_array().key("origin").string(model.origin).key("aligned").boolean(model.aligned).end_object();
}

void write_parts(json_writer& out, const ocellus::file_description& file) {
  const bool model = file.kind == file_kind::model, vision = model && file.config.has_vision;
  if (model) write_model(out, file.model);
  if (vision || file.kind == file_kind::vit) write_vit(out, file);
  if (vision || file.kind == file_kind::qformer) write_qformer(out, file.config.qformer);
  if (vision) out.key("projection_width").integer(file.config.projection_width);
  if (model || file.kind == file_kind::phi) write_phi(out, file);
  if (file.kind == file_kind::stage) write_stage(out, file.stage);
  write_number(out, "tokenizer_ids", file.tokenizer_ids);
}

void write_sums(json_writer& out, const ocellus::file_description& file) {
  struct sum {
    std::uint64_t count = 0, bytes = 0;
  };
  std::map<std::string_view, sum> types, uses;
  for (const ocellus::inspected_tensor& t : file.tensors()) {
    for (sum* s : {&types[name_of(t.type)], &uses[name_of(t.use)]}) {
      ++s->count;
      s->bytes += t.bytes;
    }
  }
  const auto write = [&out](std::string_view key, const std::map<std::string_view, sum>& sums) {
    out.key(key).begin_object();
    for (const auto& [name, s] : sums) {
      out.key(name).begin_object().key("tensors").integer(s.count).key("bytes").integer(s.bytes).end_object();
    }
    out.end_object();
  };
  write("dtypes", types);
  write("uses", uses);
}

}  // namespace

void write_description(json_writer& out, std::string_view path,
                       const ocellus::result<ocellus::file_description>& file) {
  out.begin_object().key("path").string(as_utf8(path));
  if (!file) {
    const ocellus::error& why = file.error();
    out.key("error").begin_object().key("code").string(name_of(why.code()));
    out.key("number").integer(static_cast<std::uint32_t>(why.code()));
    out.key("message").string(why.message()).end_object().end_object();
    return;
  }
  out.key("kind").string(name_of(file->kind)).key("container").string(name_of(file->container));
  out.key("files").integer(file->files).key("file_bytes").integer(file->file_bytes);
  out.key("tensor_bytes").integer(file->tensor_bytes);
  write_parts(out, *file);
  write_sums(out, *file);
  out.key("tensors").begin_array();
  for (const ocellus::inspected_tensor& t : file->tensors()) write_tensor(out, t);
  out.end_array().end_object();
}

std::string ascii_json(std::string_view json) {
  std::string out;
  const auto escape = [&out](std::uint32_t unit) {
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += "0123456789abcdef"[unit >> shift & 15];
  };
  while (!json.empty()) {
    const std::size_t length = ocellus::utf8_sequence(json);
    const auto lead = static_cast<unsigned char>(json[0]);
    // Bytes outside ASCII stand in strings alone, where an escape means the same.
    if (lead < 0x7f || length == 0) {
      out += json[0];
      json.remove_prefix(1);
      continue;
    }
    std::uint32_t code = length == 1 ? lead : lead & (0xffu >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) code = code << 6 | (static_cast<unsigned char>(json[i]) & 0x3fu);
    if (code >= 0x10000) {
      escape(0xd800 + ((code - 0x10000) >> 10));
      escape(0xdc00 + ((code - 0x10000) & 0x3ff));
    } else {
      escape(code);
    }
    json.remove_prefix(length);
  }
  return out;
}

}  // namespace ocellus_cli
