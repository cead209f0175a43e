// model_writer: the order of a model file is matrices, each followed by its scales; tables and theirs; f32 rows and
// vectors; the tokenizer. What precedes a matrix is a multiple of 64 bytes, so that all of them are aligned.
#ifndef OCELLUS_MODEL_MODEL_WRITER_IPP
#define OCELLUS_MODEL_MODEL_WRITER_IPP

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ocellus/io/json_writer.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/model/model_writer.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// Kinds of weights in the order of the file.
inline constexpr weight_kind writer_order[] = {weight_kind::matrix, weight_kind::table, weight_kind::rows,
                                               weight_kind::vector};

/// How a weight is cut into what is packed at once: a panel, 16 rows of a table, or a piece of a vector. Only matrices are
/// padded to whole units; of the others some bytes of the last one are missing.
struct writer_units {
  std::uint32_t rows = 0;
  std::uint32_t count = 0;
  std::size_t values = 0;  // f32 that are read
  std::size_t bytes = 0;
  std::size_t scale_bytes = 0;
  std::size_t missing_bytes = 0;
  std::size_t missing_scale_bytes = 0;

  [[nodiscard]] static result<writer_units> of(const planned_weight& w) noexcept {
    constexpr std::uint32_t vector_piece = 4096;
    writer_units u;
    u.rows = w.kind == weight_kind::vector ? vector_piece : panel_rows;
    u.count = (w.n + u.rows - 1) / u.rows;
    const checked values = checked((std::min)(u.rows, w.n)) * w.k;
    checked bytes = checked(u.rows) * w.k * sizeof(float), scale_bytes = 0;
    if (w.kind == weight_kind::matrix) {
      bytes = panel_bytes(w.format, w.k);
      if (is_quantized(w.format)) scale_bytes = panel_scale_bytes(w.k);
    } else if (w.kind == weight_kind::table) {
      bytes = table_row_bytes(w.format, w.k) * u.rows;
      if (is_quantized(w.format)) scale_bytes = table_row_scale_bytes(w.k) * u.rows;
    }
    if (!values.fits<std::size_t>() || !bytes.fits<std::size_t>() || !scale_bytes.fits<std::size_t>()) {
      return no_memory("rows of ", w.k, " values");
    }
    u.values = static_cast<std::size_t>(values.value());
    u.bytes = static_cast<std::size_t>(bytes.value());
    u.scale_bytes = static_cast<std::size_t>(scale_bytes.value());
    if (w.kind != weight_kind::matrix) {
      const std::uint32_t missing_rows = u.count * u.rows - w.n;
      u.missing_bytes = u.bytes / u.rows * missing_rows;
      u.missing_scale_bytes = u.scale_bytes / u.rows * missing_rows;
    }
    return u;
  }
};

/// Packs `count` rows. values: [count, k]. False if one of them cannot be packed.
[[nodiscard]] inline bool writer_pack(const planned_weight& w, std::span<const float> values,
                                      std::uint32_t count, std::byte* to, std::byte* scales) noexcept {
  switch (w.kind) {
    case weight_kind::matrix:
      return pack_panel(w.format, values.data(), w.k, count, w.k, to, scales);
    case weight_kind::table:
      for (std::uint32_t row = 0; row < count; ++row) {
        if (!pack_row(w.format, values.data() + std::size_t{row} * w.k, w.k, to, scales)) return false;
        to += table_row_bytes(w.format, w.k).value();
        if (scales != nullptr) scales += table_row_scale_bytes(w.k).value();
      }
      return true;
    case weight_kind::rows:
    case weight_kind::vector:
      break;
  }
  std::memcpy(to, values.data(), values.size_bytes());
  return std::all_of(values.begin(), values.end(), [](float v) noexcept { return std::isfinite(v); });
}

/// Visitor of visit_weights: makes the list.
struct weight_lister {
  array<planned_weight>& plan;
  weight_format format;
  weight_format vision_format;

  [[nodiscard]] result<void> add(std::string_view name, weight_kind kind, std::uint32_t n,
                                 std::uint32_t k) noexcept {
    const bool large = kind == weight_kind::matrix || kind == weight_kind::table;
    const weight_format chosen = large ? choose_format(name, format, vision_format) : weight_format::f32;
    if (!plan.push_back({tensor_name(name), kind, chosen, n, k})) return no_memory("the list of weights");
    return {};
  }
  result<void> matrix_of(std::string_view name, packed_matrix&, std::uint32_t n, std::uint32_t k) noexcept {
    return add(name, weight_kind::matrix, n, k);
  }
  result<void> table_of(std::string_view name, gathered_table&, std::uint32_t n, std::uint32_t k) noexcept {
    return add(name, weight_kind::table, n, k);
  }
  result<void> rows_of(std::string_view name, matrix&, std::uint32_t n, std::uint32_t k) noexcept {
    return add(name, weight_kind::rows, n, k);
  }
  result<void> vector_of(std::string_view name, matrix&, std::uint32_t size) noexcept {
    return add(name, weight_kind::vector, size, 1);
  }
};

}  // namespace detail

weight_format choose_format(std::string_view name, weight_format format,
                            weight_format vision_format) noexcept {
  if (name == "phi.head.weight" && format == weight_format::q4) return weight_format::q8;
  return name.starts_with("phi.") ? format : vision_format;
}

result<void> model_writer::plan(const model_config& config, weight_format format,
                                weight_format vision_format) noexcept {
  OCELLUS_TRY(validate(config));
  config_ = config;
  plan_.clear();
  detail::weight_lister lister{plan_, format, vision_format};
  model_weights unused;
  return visit_weights(config, unused, lister);
}

// -- announcing

/// What a reader of the file will ask for.
result<void> model_writer::check(const model_parts& parts) const noexcept {
  if (!ctx_.hooks().tasks.has_workers()) return error(error_code::invalid_argument, "a host without workers");
  if (parts.words != nullptr) OCELLUS_TRY(check_vocabulary(parts.words->vocab_size(), config_.phi));
  const auto wrong = [](std::string_view stop) noexcept {
    return stop.empty() || stop.size() > model::max_stop_bytes;
  };
  if (parts.stops.size() > model::max_stops || std::any_of(parts.stops.begin(), parts.stops.end(), wrong)) {
    return error(error_code::stop_string, "a model file holds at most ", model::max_stops,
                 " stop strings of 1 to ", model::max_stop_bytes, " bytes");
  }
  return {};
}

result<void> model_writer::announce_weight(const planned_weight& w) noexcept {
  const std::uint64_t before = writer_.data_bytes();
  switch (w.kind) {
    case weight_kind::rows:
      return writer_.add(w.name.view(), dtype::f32, {w.n, w.k});
    case weight_kind::vector:
      return writer_.add(w.name.view(), dtype::f32, {w.n});
    case weight_kind::matrix:
      OCELLUS_TRY(writer_.add(w.name.view(), dtype_of_format(w.format), packed_shape(w.format, w.n, w.k)));
      break;
    case weight_kind::table:
      OCELLUS_TRY(writer_.add(w.name.view(), dtype_of_format(w.format), table_shape(w.format, w.n, w.k)));
      break;
  }
  if (is_quantized(w.format)) {
    const shape scales =
        w.kind == weight_kind::matrix ? packed_scale_shape(w.n, w.k) : table_scale_shape(w.n, w.k);
    OCELLUS_TRY(writer_.add((w.name / "scales").view(), dtype::f16, scales));
  }
  size_.matrix_weights += std::uint64_t{w.n} * w.k;
  size_.matrix_bytes += writer_.data_bytes() - before;
  return {};
}

result<void> model_writer::announce_metadata(const model_parts& parts) noexcept {
  const memory_hooks& memory = ctx_.hooks().memory;
  OCELLUS_ASSIGN(const text config, to_json(config_, memory));
  json_writer matrices(memory);
  matrices.begin_object();
  for (const planned_weight& w : plan_) {
    if (w.kind != weight_kind::matrix && w.kind != weight_kind::table) continue;
    matrices.key(w.name.view()).begin_object();
    matrices.key("format").string(name_of(w.format));
    matrices.key("n").integer(w.n).key("k").integer(w.k).end_object();
  }
  OCELLUS_ASSIGN(const text table, matrices.end_object().finish());
  json_writer stops(memory);
  stops.begin_array();
  for (std::string_view stop : parts.stops) stops.string(stop);
  OCELLUS_ASSIGN(const text stop_list, stops.end_array().finish());
  OCELLUS_TRY(writer_.add_metadata("ocellus.format", model::format_version));
  OCELLUS_TRY(writer_.add_metadata("ocellus.config", config.view()));
  OCELLUS_TRY(writer_.add_metadata("ocellus.matrices", table.view()));
  OCELLUS_TRY(writer_.add_metadata("ocellus.template", parts.template_name));
  OCELLUS_TRY(writer_.add_metadata("ocellus.stops", stop_list.view()));
  return writer_.add_metadata("ocellus.origin", parts.origin);
}

result<void> model_writer::announce(const model_parts& parts) noexcept {
  for (const weight_kind kind : detail::writer_order) {
    for (const planned_weight& w : plan_) {
      if (w.kind == kind) OCELLUS_TRY(announce_weight(w));
    }
  }
  if (parts.words != nullptr) {
    const tokenizer_data data = parts.words->data();
    OCELLUS_TRY(writer_.add("tokenizer.offsets", dtype::u32, {data.offsets.size() / 4}));
    OCELLUS_TRY(writer_.add("tokenizer.merges", dtype::u32, {data.merges.size() / 8, 2}));
    OCELLUS_TRY(writer_.add("tokenizer.added", dtype::u32, {data.added.size() / 8, 2}));
    OCELLUS_TRY(writer_.add("tokenizer.special", dtype::u32, {data.special.size() / 4}));
    OCELLUS_TRY(writer_.add("tokenizer.bytes", dtype::u8, {data.bytes.size()}));
  }
  return announce_metadata(parts);
}

// -- writing

result<void> model_writer::write(const byte_sink& sink, const model_parts& parts, const row_source& rows,
                                 const progress_hooks& progress) noexcept {
  OCELLUS_TRY(check(parts));
  OCELLUS_TRY(announce(parts));
  size_.bytes = writer_.data_bytes();
  OCELLUS_TRY(writer_.begin(sink));
  for (const weight_kind kind : detail::writer_order) {
    for (std::size_t i = 0; i < plan_.size(); ++i) {
      if (plan_[i].kind != kind) continue;
      OCELLUS_TRY(rows.begin(rows.context, i));
      OCELLUS_TRY(write_weight(plan_[i], rows, progress));
    }
  }
  if (parts.words != nullptr) {
    const tokenizer_data data = parts.words->data();
    for (std::span<const std::byte> part :
         {data.offsets, data.merges, data.added, data.special, data.bytes}) {
      OCELLUS_TRY(put(part, progress));
    }
  }
  return writer_.finish();
}

result<void> model_writer::put(std::span<const std::byte> bytes, const progress_hooks& progress) noexcept {
  if (bytes.empty()) return {};
  if (ctx_.stopped()) return error(error_code::cancelled, "writing the model was stopped");
  OCELLUS_TRY(writer_.write(bytes));
  written_ += bytes.size();
  if (progress.report != nullptr) progress.report(progress.context, written_, writer_.data_bytes());
  return {};
}

/// Runs of units are packed side by side, then written in order; the scales follow when all of them are known.
result<void> model_writer::write_weight(const planned_weight& w, const row_source& rows,
                                        const progress_hooks& progress) noexcept {
  constexpr std::size_t run_bytes = std::size_t{2} << 20;
  OCELLUS_ASSIGN(const detail::writer_units u, detail::writer_units::of(w));
  const auto run = static_cast<std::uint32_t>(
      (std::min)(std::size_t{u.count}, (std::max)(run_bytes / u.bytes, std::size_t{2} * ctx_.workers())));
  if (!values_.resize_times(ctx_.workers(), u.values) || !packed_.resize_times(run, u.bytes) ||
      !scales_.resize_times(u.count, u.scale_bytes)) {
    return no_memory("some panels of a matrix");
  }
  for (std::uint32_t first = 0; first < u.count; first += run) {
    const std::uint32_t count = (std::min)(run, u.count - first);
    OCELLUS_TRY(pack_units(w, u, rows, first, count));
    const bool ends = first + count == u.count;
    OCELLUS_TRY(put(packed_.span().first(count * u.bytes - (ends ? u.missing_bytes : 0)), progress));
  }
  return put(scales_.span().first(u.count * u.scale_bytes - u.missing_scale_bytes), progress);
}

/// Units [first, first + count) into packed_ and scales_.
result<void> model_writer::pack_units(const planned_weight& w, const detail::writer_units& u,
                                      const row_source& rows, std::uint32_t first,
                                      std::uint32_t count) noexcept {
  constexpr std::uint32_t none = 0xffffffffu;
  std::atomic<std::uint32_t> bad{none};  // the first unit that cannot be packed
  ctx_.parallel(count, [&](std::uint32_t task, std::uint32_t worker) {
    const std::uint32_t row = (first + task) * u.rows, height = (std::min)(u.rows, w.n - row);
    const std::span<float> values = values_.span().subspan(worker * u.values, std::size_t{height} * w.k);
    for (std::uint32_t i = 0; i < height; ++i) {
      rows.read(rows.context, row + i, worker, values.subspan(std::size_t{i} * w.k, w.k));
    }
    std::byte* scales = u.scale_bytes == 0 ? nullptr : scales_.data() + (first + task) * u.scale_bytes;
    if (detail::writer_pack(w, values, height, packed_.data() + task * u.bytes, scales)) return;
    std::uint32_t known = bad.load(std::memory_order_relaxed);
    while (first + task < known && !bad.compare_exchange_weak(known, first + task)) {
    }
  });
  if (ctx_.stopped()) return error(error_code::cancelled, "writing the model was stopped");
  const std::uint32_t unit = bad.load();
  if (unit == none) return {};
  return cannot_pack(w, unit * u.rows, (std::min)(u.rows, w.n - unit * u.rows), rows);
}

/// Reads rows again to say what is wrong with them.
error model_writer::cannot_pack(const planned_weight& w, std::uint32_t first, std::uint32_t count,
                                const row_source& rows) noexcept {
  bool finite = true;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::span<float> values = values_.span().first(w.k);
    rows.read(rows.context, first + i, 0, values);
    finite = finite &&
             std::all_of(values.begin(), values.end(), [](float v) noexcept { return std::isfinite(v); });
  }
  return error(error_code::weight_range, "weight ", quoted{w.name.view()}, " holds a value that is ",
               finite ? "too large for the format" : "not finite", ", format ", name_of(w.format));
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_MODEL_WRITER_IPP
