// Checkpoints with wrong tensors: the bytes are changes to the four files of a small TinyGPT-V (names, shapes, types,
// files that tensors are in), which are then read as a conversion does. Of what is accepted some rows are read or, as that
// takes its time, now and then a model is written, which must open. Without a change it must be accepted.
#include <array>

#include "fuzz/fuzz.hpp"
#include "ocellus/io/safetensors_writer.hpp"
#include "ocellus/model/convert_shapes.hpp"
#include "ocellus/model/convert_sources.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/model/phi_folder.hpp"
#include "support/append_to.hpp"
#include "support/published_files.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

struct tensor {
  std::string name;
  dtype type = dtype::f32;
  std::vector<std::uint64_t> dims;
};
/// The tensors of the four files, by source_role.
using files = std::array<std::vector<tensor>, 4>;

files published(ocellus_tests::phi_layout layout) {
  const ocellus_tests::published_files from(layout);
  files to;
  std::size_t role = 0;
  for (const auto* file : {&from.phi_file, &from.vit_file, &from.qformer_file, &from.stage_file}) {
    for (const auto& [name, t] : *file)
      to[role].push_back({name, dtype::f16, {t.dims.begin(), t.dims.end()}});
    ++role;
  }
  return to;
}

/// One change, as the bytes say.
void change(files& all, input& in) {
  constexpr std::string_view pieces[] = {"module.",     "base_model.model.",
                                         ".base_layer", ".default",
                                         "model.",      "lora_A",
                                         "lora_B",      "bias",
                                         "weight",      "9"};
  constexpr dtype types[] = {dtype::f32, dtype::f16, dtype::bf16, dtype::f64, dtype::i64, dtype::u8};
  const std::uint32_t what = in.byte() % 8;
  auto& file = all[in.byte() % all.size()];
  if (file.empty()) return;
  const std::size_t index = in.number(2) % file.size();
  tensor& t = file[index];
  const std::uint32_t number = in.number(2), place = in.byte();
  const auto spot = static_cast<std::ptrdiff_t>(place % (t.name.size() + 1));
  switch (what) {
    case 0:  // a dimension
      if (!t.dims.empty()) t.dims[place % t.dims.size()] = number;
      break;
    case 1:  // one more, or one less
      if (number % 2 == 0) {
        t.dims.push_back(1);
      } else if (!t.dims.empty()) {
        t.dims.pop_back();
      }
      break;
    case 2:
      t.type = types[number % std::size(types)];
      break;
    case 3:
      file.erase(file.begin() + static_cast<std::ptrdiff_t>(index));
      break;
    case 4:  // to another file, under the same name
      all[number % all.size()].push_back(t);
      break;
    case 5:
      t.name.insert(t.name.begin() + spot, static_cast<char>(' ' + number % 95));
      break;
    case 6:
      t.name.insert(static_cast<std::size_t>(spot), pieces[number % std::size(pieces)]);
      break;
    case 7:  // under the name of another one
      t.name = file[number % file.size()].name;
      break;
  }
}

/// A file of these tensors, their values `fill` throughout; empty if they are too many bytes, or two have one name.
std::vector<std::byte> written(const std::vector<tensor>& tensors, std::byte fill) {
  safetensors_writer writer;
  for (const tensor& t : tensors) {
    shape dims;
    for (const std::uint64_t d : t.dims) {
      if (!dims.push_back(d)) return {};
    }
    if (!writer.add(t.name, t.type, dims) || writer.data_bytes() > mib(4)) return {};
  }
  std::vector<std::byte> file;
  if (!writer.begin(ocellus_tests::append_to(file))) return {};
  const std::vector<std::byte> data(static_cast<std::size_t>(writer.data_bytes()), fill);
  std::size_t done = 0;
  for (const tensor& t : tensors) {
    std::uint64_t bytes = bits_of(t.type) / 8;
    for (const std::uint64_t d : t.dims) bytes *= d;
    OCELLUS_HOLDS(writer.write(std::span(data).subspan(done, static_cast<std::size_t>(bytes))));
    done += static_cast<std::size_t>(bytes);
  }
  OCELLUS_HOLDS(writer.finish());
  return file;
}

/// What convert does, without its files.
result<void> converted(const std::array<std::vector<std::byte>, 4>& contents, weight_format format,
                       bool write, const host& hooks) {
  checkpoint from(hooks);
  for (std::size_t role = 0; role < contents.size(); ++role) {
    if (contents[role].empty()) continue;
    OCELLUS_TRY(from.add_bytes(static_cast<source_role>(role), "file", byte_source::borrow(contents[role])));
  }
  OCELLUS_TRY(from.seal());
  convert_report report(hooks.memory);
  model_config& config = report.config;
  static const std::string phi = ocellus_tests::published_files().config;
  OCELLUS_ASSIGN(config.phi, parse_phi_config(phi, true, hooks.memory));
  config.phi.qk_norm = config.phi.post_norm = true;
  OCELLUS_TRY(read_vision_shapes(from, 0, config, report));
  model_writer writer(hooks);
  OCELLUS_TRY(writer.plan(config, format, format));
  weight_finder finder(from, config, 16, report);
  std::vector<weight_source> sources;
  for (const planned_weight& w : writer.weights()) {
    OCELLUS_ASSIGN(const weight_source source, finder.find(w));
    sources.push_back(source);
  }

  struct state {
    std::vector<weight_source>& sources;
    weight_reader reader;
  } rows{sources, weight_reader(from, hooks.memory)};
  if (!write) {
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const planned_weight& w = writer.weights()[i];
      OCELLUS_TRY(rows.reader.begin(sources[i], 1));
      std::vector<float> row(w.k);
      for (const std::uint32_t at : {0u, w.n / 2, w.n - 1}) rows.reader.read_row(at, 0, row);
    }
    return {};
  }
  const row_source source{
      &rows,
      [](void* s, std::size_t index) noexcept {
        auto& self = *static_cast<state*>(s);
        return self.reader.begin(self.sources[index], 1);
      },
      [](void* s, std::uint32_t row, std::uint32_t worker, std::span<float> out) noexcept {
        static_cast<state*>(s)->reader.read_row(row, worker, out);
      }};
  std::vector<std::byte> file;
  const std::string_view stop[] = {"###"};
  OCELLUS_TRY(writer.write(ocellus_tests::append_to(file), {nullptr, "micro", stop, "fuzz"}, source));
  OCELLUS_HOLDS(model::open(file));
  return {};
}

}  // namespace

bool run(std::span<const std::byte> bytes) {
  input in(bytes);
  static const files models[] = {published(ocellus_tests::phi_layout::first),
                                 published(ocellus_tests::phi_layout::fused),
                                 published(ocellus_tests::phi_layout::separate)};
  files all = models[in.byte() % std::size(models)];
  const std::uint32_t choice =
      in.byte() % 32;  // q8 and q4 now and then: with sanitizers they take their time
  const weight_format format = choice < 2 ? weight_formats[3 + choice] : weight_formats[choice % 3];
  const std::uint32_t fill = in.byte();
  // (Above 0x40 sums of products may be too large for a format.)
  const bool changed = !in.rest().empty() || fill > 0x40;
  for (int changes = 0; changes < 6 && !in.rest().empty(); ++changes) change(all, in);
  std::array<std::vector<std::byte>, 4> contents;
  for (std::size_t role = 0; role < contents.size(); ++role)
    contents[role] = written(all[role], static_cast<std::byte>(fill));
  std::size_t size = 0;
  for (const auto& c : contents) size += c.size();
  limited_memory memory(mib(16) + 16 * size);
  host hooks;
  hooks.memory = memory.hooks();
  const auto done = converted(contents, format, choice < 6, hooks);
  OCELLUS_HOLDS(done || changed);
  return done.has_value();
}

}  // namespace ocellus_fuzz
