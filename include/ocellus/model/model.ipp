// Opening a model file: configuration, then every weight by the walk of weights.hpp, then the tokenizer.
#ifndef OCELLUS_MODEL_MODEL_IPP
#define OCELLUS_MODEL_MODEL_IPP

#include <algorithm>
#include <iterator>
#include <optional>

#include "ocellus/io/json.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/model/workspace.hpp"
#include "ocellus/slice.hpp"
#include "ocellus/text/tokenizer.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

struct model_state {
  explicit model_state(const host& hooks) noexcept : ctx(hooks) {}
  model_state(model_state&&) noexcept = default;
  ~model_state() {
    // A moved-from state holds neither; release leaves empty buffers alone.
    reference_kernels().release(ctx, file);
    reference_kernels().release(ctx, vectors);
  }

  context ctx;
  byte_source source;
  std::optional<safetensors> contents;
  buffer file;     // the whole file, wrapped
  buffer vectors;  // copies of the f32 rows and vectors that need a zero tail or are not aligned
  model_config config;
  model_weights weights;
  std::optional<tokenizer> words;
  std::string_view template_name;
  text stop_bytes;
  array<std::string_view> stops;
  bool aligned = true;
};

/// Points every weight to its tensor in the file, or to a copy of it; the first tensor that is not as expected is an
/// error.
/// Walks twice: without memory for the copies it checks everything and adds up what they need, so that no size is
/// believed that the file does not fill; with memory it copies.
struct weight_binder {
  model_state& state;
  json::value matrices;  // ocellus.matrices
  workspace space;
  array<bool> used;  // by index in contents.tensors()

  [[nodiscard]] result<const tensor_info*> take(std::string_view name) noexcept {
    const tensor_info* t = state.contents->find(name);
    if (t == nullptr) return error(error_code::tensor_missing, "the model has no tensor ", quoted{name});
    used[static_cast<std::size_t>(t - state.contents->tensors().data())] = true;
    return t;
  }
  [[nodiscard]] result<const tensor_info*> take(std::string_view name, dtype type,
                                                const shape& dims) noexcept {
    OCELLUS_ASSIGN(const tensor_info* t, take(name));
    if (t->type != type || !(t->dims == dims)) {
      return error(error_code::tensor_shape, "tensor ", quoted{name}, " is ", name_of(t->type), " ",
                   shape_text{t->dims.dims()}, ", expected ", name_of(type), " ", shape_text{dims.dims()});
    }
    return t;
  }
  /// What ocellus.matrices says of a matrix; its logical size must be what the configuration asks for.
  [[nodiscard]] result<weight_format> format_of(std::string_view name, std::uint32_t n,
                                                std::uint32_t k) noexcept {
    const json::value entry = matrices.find(name);
    const auto written = entry.find("format").as_string_view();
    weight_format format{};
    if (!written || !parse_weight_format(*written, format)) {
      return error(error_code::tensor_shape, "ocellus.matrices gives no known format for tensor ",
                   quoted{name});
    }
    if (entry.find("n").as_uint64() != n || entry.find("k").as_uint64() != k) {
      return error(error_code::tensor_shape, "ocellus.matrices gives another size than [", n, ", ", k,
                   "] for tensor ", quoted{name});
    }
    return format;
  }
  [[nodiscard]] std::uint64_t offset_of(const tensor_info& t) const noexcept {
    return static_cast<std::uint64_t>(t.bytes.data() - state.source.bytes().data());
  }
  /// The same of a matrix, and whether it starts at a line.
  [[nodiscard]] std::uint64_t matrix_offset_of(const tensor_info& t) noexcept {
    if ((reinterpret_cast<std::uintptr_t>(t.bytes.data()) & (line_bytes - 1)) != 0) state.aligned = false;
    return offset_of(t);
  }

  /// The scales of a matrix that has some: their offset.
  [[nodiscard]] result<std::uint64_t> scales_of(std::string_view name, weight_format format,
                                                const shape& dims) noexcept {
    if (!is_quantized(format)) return std::uint64_t{0};
    OCELLUS_ASSIGN(const tensor_info* t, take((tensor_name(name) / "scales").view(), dtype::f16, dims));
    return offset_of(*t);
  }

  result<void> matrix_of(std::string_view name, packed_matrix& m, std::uint32_t n, std::uint32_t k) noexcept {
    OCELLUS_ASSIGN(const weight_format format, format_of(name, n, k));
    OCELLUS_ASSIGN(const tensor_info* t, take(name, dtype_of_format(format), packed_shape(format, n, k)));
    m = {state.file.handle, matrix_offset_of(*t), format, n, k};
    OCELLUS_ASSIGN(m.scales, scales_of(name, format, packed_scale_shape(n, k)));
    return {};
  }
  result<void> table_of(std::string_view name, gathered_table& m, std::uint32_t rows,
                        std::uint32_t cols) noexcept {
    OCELLUS_ASSIGN(const weight_format format, format_of(name, rows, cols));
    OCELLUS_ASSIGN(const tensor_info* t,
                   take(name, dtype_of_format(format), table_shape(format, rows, cols)));
    m = {state.file.handle, matrix_offset_of(*t), format, rows, cols};
    OCELLUS_ASSIGN(m.scales, scales_of(name, format, table_scale_shape(rows, cols)));
    return {};
  }
  result<void> rows_of(std::string_view name, matrix& m, std::uint32_t rows, std::uint32_t cols) noexcept {
    OCELLUS_ASSIGN(const tensor_info* t, take(name, dtype::f32, {rows, cols}));
    return place(*t, m, rows, cols);
  }
  result<void> vector_of(std::string_view name, matrix& m, std::uint32_t size) noexcept {
    OCELLUS_ASSIGN(const tensor_info* t, take(name, dtype::f32, {size}));
    return place(*t, m, 1, size);
  }
  /// f32 rows are read where they stand in the file if they are as the kernels need them, or else copied.
  [[nodiscard]] result<void> place(const tensor_info& t, matrix& m, std::uint32_t rows,
                                   std::uint32_t cols) noexcept {
    const bool aligned = (reinterpret_cast<std::uintptr_t>(t.bytes.data()) & (line_bytes - 1)) == 0;
    if (aligned && cols % column_pad == 0) {
      m = {state.file.handle, offset_of(t), dtype::f32, rows, cols, cols};
      return {};
    }
    m = space.activations(rows, cols);
    if (m) reference_kernels().upload(state.ctx, t.bytes.data(), m);
    return {};
  }
};

[[nodiscard]] inline result<std::string_view> model_metadata(const safetensors& file,
                                                             std::string_view key) noexcept {
  if (const auto value = file.metadata(key)) return *value;
  return error(error_code::not_a_model, "the file's metadata has no ", quoted{key},
               ": not an ocellus model (make one with `ocellus convert`)");
}

/// All of them, or none.
inline constexpr std::string_view tokenizer_tensors[] = {
    "tokenizer.bytes", "tokenizer.offsets", "tokenizer.merges", "tokenizer.added", "tokenizer.special"};

[[nodiscard]] inline result<void> bind_weights(model_state& state) noexcept {
  const memory_hooks& memory = state.ctx.hooks().memory;
  OCELLUS_ASSIGN(const std::string_view table, model_metadata(*state.contents, "ocellus.matrices"));
  auto parsed = json::parse(table, memory);
  if (!parsed) return parsed.error().in("ocellus.matrices");
  weight_binder bind{state, parsed->root(), workspace(), array<bool>(memory)};
  if (!bind.used.resize(state.contents->tensors().size())) return no_memory("the list of tensors");
  state.file = reference_kernels().wrap(state.ctx, state.source.bytes().data(), state.source.bytes().size());
  OCELLUS_TRY(visit_weights(state.config, state.weights, bind));
  for (std::size_t i = 0; i < bind.used.size(); ++i) {
    const std::string_view name = state.contents->tensors()[i].name;
    if (!bind.used[i] && std::find(std::begin(tokenizer_tensors), std::end(tokenizer_tensors), name) ==
                             std::end(tokenizer_tensors)) {
      return error(error_code::tensor_unknown, "the model does not use tensor ", quoted{name});
    }
  }
  const checked bytes = bind.space.bytes();
  if (!bytes.fits<std::size_t>()) return error(error_code::overflow, "the model's vectors");
  state.vectors = reference_kernels().allocate(state.ctx, bytes.value());
  if (state.ctx.failed()) return no_memory("the model's vectors, ", bytes.value(), " bytes");
  bind.space = workspace(state.vectors);
  return visit_weights(state.config, state.weights, bind);
}

[[nodiscard]] inline result<std::span<const std::byte>> tokenizer_bytes(const model_state& state,
                                                                        std::string_view name,
                                                                        dtype type) noexcept {
  const tensor_info* t = state.contents->find(name);
  if (t == nullptr) return error(error_code::tensor_missing, "the model has no tensor ", quoted{name});
  if (t->type != type) {
    return error(error_code::tensor_shape, "tensor ", quoted{name}, " is ", name_of(t->type), ", expected ",
                 name_of(type));
  }
  return t->bytes;
}

[[nodiscard]] inline result<void> read_tokenizer(model_state& state) noexcept {
  const bool none =
      std::none_of(std::begin(tokenizer_tensors), std::end(tokenizer_tensors),
                   [&](std::string_view name) { return state.contents->find(name) != nullptr; });
  if (none) return {};
  tokenizer_data data;
  OCELLUS_ASSIGN(data.bytes, tokenizer_bytes(state, "tokenizer.bytes", dtype::u8));
  OCELLUS_ASSIGN(data.offsets, tokenizer_bytes(state, "tokenizer.offsets", dtype::u32));
  OCELLUS_ASSIGN(data.merges, tokenizer_bytes(state, "tokenizer.merges", dtype::u32));
  OCELLUS_ASSIGN(data.added, tokenizer_bytes(state, "tokenizer.added", dtype::u32));
  OCELLUS_ASSIGN(data.special, tokenizer_bytes(state, "tokenizer.special", dtype::u32));
  auto words = tokenizer::from_data(data, state.ctx.hooks().memory);
  if (!words) return words.error().in("the model's tokenizer");
  OCELLUS_TRY(check_vocabulary(words->vocab_size(), state.config.phi));
  state.words.emplace(std::move(*words));
  return {};
}

/// The default template's name and the stop strings.
[[nodiscard]] inline result<void> read_chat_defaults(model_state& state) noexcept {
  const memory_hooks& memory = state.ctx.hooks().memory;
  OCELLUS_ASSIGN(state.template_name, model_metadata(*state.contents, "ocellus.template"));
  OCELLUS_ASSIGN(const std::string_view list, model_metadata(*state.contents, "ocellus.stops"));
  auto parsed = json::parse(list, memory);
  if (!parsed) return parsed.error().in("ocellus.stops");
  constexpr std::size_t most = model::max_stops, longest = model::max_stop_bytes;
  if (!parsed->root().is_array() || parsed->root().size() > most) {
    return error(error_code::not_a_model, "ocellus.stops is not a list of at most ", most, " strings");
  }
  state.stop_bytes = text(memory);
  state.stops = array<std::string_view>(memory);
  if (!state.stop_bytes.reserve(most * longest)) return no_memory("stop strings");
  for (const json::value stop : parsed->root().elements()) {
    const auto words = stop.as_string_view();
    if (!words || words->empty() || words->size() > longest) {
      return error(error_code::not_a_model, "ocellus.stops holds something that is no string of 1 to ",
                   longest, " bytes");
    }
    const std::size_t at = state.stop_bytes.size();
    if (!state.stop_bytes.append(*words) || !state.stops.push_back(slice(state.stop_bytes.view(), at))) {
      return no_memory("stop strings");
    }
  }
  return {};
}

[[nodiscard]] inline result<void> read_model(model_state& state) noexcept {
  const memory_hooks& memory = state.ctx.hooks().memory;
  OCELLUS_ASSIGN(auto contents, safetensors::parse(state.source.bytes(), memory));
  state.contents.emplace(std::move(contents));
  OCELLUS_ASSIGN(const std::string_view version, model_metadata(*state.contents, "ocellus.format"));
  if (version != model::format_version) {
    return error(error_code::model_version, "the model is of format ", quoted{version},
                 ", this library reads format ", model::format_version);
  }
  OCELLUS_ASSIGN(const std::string_view config, model_metadata(*state.contents, "ocellus.config"));
  OCELLUS_ASSIGN(state.config, parse_model_config(config, memory));
  OCELLUS_TRY(bind_weights(state));
  OCELLUS_TRY(read_chat_defaults(state));
  OCELLUS_TRY(read_tokenizer(state));
  if (!state.aligned) {
    state.ctx.hooks().log(log_level::warning, "the model's matrices are not 64-byte aligned: slower to read");
  }
  return {};
}

}  // namespace detail

result<model> model::open(std::string_view path, const host& hooks, const load_options& options) noexcept {
  OCELLUS_ASSIGN(auto source, byte_source::open(path, hooks.memory, options));
  auto opened = open(std::move(source), hooks);
  if (!opened) return opened.error().in(quoted{path});
  return opened;
}

result<model> model::open(std::span<const std::byte> file, const host& hooks) noexcept {
  return open(byte_source::borrow(file), hooks);
}

result<model> model::open(const file_reader& file, const host& hooks, const load_options& options) noexcept {
  OCELLUS_ASSIGN(auto source, byte_source::load(file, hooks.memory, options));
  return open(std::move(source), hooks);
}

result<model> model::open(byte_source source, const host& hooks) noexcept {
  auto state = shared<detail::model_state>::make(hooks.memory, hooks);
  if (!state) return no_memory("a model");
  state->source = std::move(source);
  OCELLUS_TRY(detail::read_model(*state));
  return model(std::move(state));
}

const model_config& model::config() const noexcept { return state_->config; }
const model_weights& model::weights() const noexcept { return state_->weights; }
const tokenizer* model::tokenizer() const noexcept { return state_->words ? &*state_->words : nullptr; }
std::string_view model::default_template() const noexcept { return state_->template_name; }
std::span<const std::string_view> model::stops() const noexcept { return state_->stops.span(); }
const safetensors& model::contents() const noexcept { return *state_->contents; }
std::uint64_t model::file_bytes() const noexcept { return state_->source.bytes().size(); }
bool model::aligned() const noexcept { return state_->aligned; }

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_MODEL_IPP
