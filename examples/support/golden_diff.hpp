// Compares a model with a golden: a safetensors file that holds an input and what a reference computed from it, stage by
// stage. Used by `ocellus diff` and by the golden tests. Header only.
//
// A golden holds `pixels` [3, S, S], `prompt.before` and `prompt.after` (token ids around the picture; -1 alone: none), or
// `prompt` for a model without pictures; `greedy`, the ids that the likeliest token each time gives; and stages under
// the names that sessions observe, f32: vit.patches, vit.block.N, ln_vision, qformer.layer.N, image_embeds,
// prompt_embeds, phi.layer.N, logits; answer_logits are those behind the prompt and behind each id of `greedy`.
#ifndef OCELLUS_EXAMPLES_GOLDEN_DIFF_HPP
#define OCELLUS_EXAMPLES_GOLDEN_DIFF_HPP

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "ocellus/chat/session.hpp"
#include "ocellus/io/safetensors.hpp"

namespace ocellus_examples {

/// The difference of one stage, or what is wrong with it.
struct stage_difference {
  std::string name;
  ocellus::shape dims;
  double difference2 = 0, golden2 = 0;  // sums of squares over the elements seen
  double largest = 0;                   // absolute difference
  std::uint64_t largest_at = 0;         // flat index
  std::uint64_t seen = 0;               // elements
  bool wrong_shape = false;

  [[nodiscard]] std::uint64_t count() const { return dims.count().value(); }
  /// |difference| / |golden|; NaN or infinite when they are not comparable.
  [[nodiscard]] double relative() const {
    if (golden2 == 0 && difference2 == 0) return 0;
    return std::sqrt(difference2) / std::sqrt(golden2);
  }
  /// Empty when the stage is within the tolerance.
  [[nodiscard]] std::string problem(double tolerance) const {
    if (wrong_shape) return "another shape";
    if (seen == 0) return "not a stage of this model";
    if (seen != count()) return "seen in part";
    return relative() <= tolerance ? "" : "beyond the tolerance";  // NaN is beyond
  }
};

struct golden_difference {
  std::vector<stage_difference> stages;  // in the order of computing; those that were not seen last
  std::vector<std::uint32_t> golden_ids, ids;
  bool has_ids = false, ids_judged = false;
  double tolerance = 0;
  std::string target;

  [[nodiscard]] bool ids_equal() const { return golden_ids == ids; }
  /// The first stage that is wrong, "greedy" for the ids; empty if all is well.
  [[nodiscard]] std::string first_wrong() const {
    for (const stage_difference& s : stages) {
      if (!s.problem(tolerance).empty()) return s.name;
    }
    return has_ids && ids_judged && !ids_equal() ? "greedy" : "";
  }
};

struct golden_options {
  /// 0: 2e-5, or 1e-2 when a matrix is f16 or bf16; in fast precision 1.5e-2, or 4e-2 when matrices are quantized
  double tolerance = 0;
  ocellus::session_options session{.mode = ocellus::precision::exact};
  ocellus::host host;
};

/// Does the file hold 16-bit matrices?
inline bool has_half_precision(const ocellus::model& model) {
  const auto tensors = model.contents().tensors();
  return std::any_of(tensors.begin(), tensors.end(), [](const ocellus::tensor_info& t) {
    return t.type == ocellus::dtype::bf16 || t.type == ocellus::dtype::f16;
  });
}

/// Does it hold quantized ones?
inline bool is_quantized(const ocellus::model& model) {
  const auto tensors = model.contents().tensors();
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const ocellus::tensor_info& t) { return t.name.ends_with(".weight.scales"); });
}

namespace detail {

class golden_run {
 public:
  golden_run(const ocellus::safetensors& golden, golden_difference& to) : golden_(golden), to_(to) {}

  /// Ids of the golden; -1 alone is none.
  ocellus::result<std::vector<std::uint32_t>> ids(std::string_view name) const {
    OCELLUS_ASSIGN(const ocellus::tensor_info t, golden_.at(name));
    if (t.type != ocellus::dtype::i64 || t.dims.rank() != 1) {
      return ocellus::error(ocellus::error_code::dtype_unknown, "tensor ", ocellus::quoted{name},
                            " is no list of I64");
    }
    std::vector<std::uint32_t> list;
    if (t.count() == 1 && t.load<std::int64_t>(0) == -1) return list;
    for (std::size_t i = 0; i < t.count(); ++i) {
      const auto id = t.load<std::int64_t>(i);
      if (id < 0 || id > UINT32_MAX) {
        return ocellus::error(ocellus::error_code::token_unknown, "tensor ", ocellus::quoted{name},
                              " holds id ", id);
      }
      list.push_back(static_cast<std::uint32_t>(id));
    }
    return list;
  }

  /// Rows of a stage, from first_row on. Stages that the golden does not hold are passed over.
  void judge(std::string_view name, std::uint64_t first_row, const float* values, std::uint64_t rows,
             std::uint64_t cols) {
    const ocellus::tensor_info* t = golden_.find(name);
    if (t == nullptr) return;
    auto s = std::find_if(to_.stages.begin(), to_.stages.end(),
                          [&](const auto& known) { return known.name == name; });
    if (s == to_.stages.end()) s = to_.stages.insert(s, stage_difference{std::string(name), t->dims});
    const bool fits = t->type == ocellus::dtype::f32 && t->dims.rank() == 2 && t->dims[1] == cols &&
                      rows <= t->dims[0] && first_row <= t->dims[0] - rows;
    if (!fits) {
      s->wrong_shape = true;
      return;
    }
    for (std::uint64_t i = 0; i < rows * cols; ++i) {
      const std::uint64_t at = first_row * cols + i;
      const double expected = t->load<float>(static_cast<std::size_t>(at));
      const double difference = double{values[i]} - expected;
      s->difference2 += difference * difference;
      s->golden2 += expected * expected;
      if (!(std::abs(difference) <= s->largest) && !std::isnan(s->largest)) {
        s->largest = std::abs(difference);
        s->largest_at = at;
      }
    }
    s->seen += rows * cols;
  }

  ocellus::observer watch() {
    return {this, [](void* self, std::string_view stage, std::uint32_t first_row,
                     ocellus::tensor_view<const float> v) {
              auto& run = *static_cast<golden_run*>(self);
              if (run.watching_) run.judge(stage, first_row, v.data(), v.dim(0), v.dim(1));
            }};
  }

  ocellus::result<void> encode(ocellus::session& s, ocellus::image_embedding& picture) {
    OCELLUS_ASSIGN(const ocellus::tensor_info t, golden_.at("pixels"));
    std::vector<float> pixels(t.count());
    OCELLUS_TRY(t.copy_to(std::span<float>(pixels)));
    OCELLUS_TRY(s.encode(std::span<const float>(pixels), picture));
    return {};
  }

  /// The prompt: stages and logits of all its positions.
  ocellus::result<void> prompt(ocellus::session& s, const std::vector<std::uint32_t>& before,
                               const ocellus::image_embedding* picture,
                               const std::vector<std::uint32_t>& after) {
    OCELLUS_TRY(s.append(before));
    if (picture != nullptr) OCELLUS_TRY(s.append(*picture));
    OCELLUS_TRY(s.append(after));
    OCELLUS_TRY(s.step());
    return {};
  }

  /// As many ids as the golden holds, the largest of all logits each time, then the golden's own ids for answer_logits.
  ocellus::result<void> answer(ocellus::session& s) {
    watching_ = false;
    const std::uint32_t start = s.position();
    const std::vector<float> prompt_logits(s.logits().begin(), s.logits().end());
    while (to_.ids.size() < to_.golden_ids.size()) {
      const auto largest = std::max_element(s.logits().begin(), s.logits().end());  // the first of equal ones
      const auto id = static_cast<std::uint32_t>(largest - s.logits().begin());
      to_.ids.push_back(id);
      OCELLUS_TRY(s.append(std::span<const std::uint32_t>(&id, 1)));
      OCELLUS_TRY(s.step());
    }
    OCELLUS_TRY(s.rewind(start));
    judge("answer_logits", 0, prompt_logits.data(), 1, prompt_logits.size());
    for (std::size_t i = 0; i < to_.golden_ids.size(); ++i) {
      OCELLUS_TRY(s.append(std::span<const std::uint32_t>(&to_.golden_ids[i], 1)));
      OCELLUS_TRY(s.step());
      judge("answer_logits", i + 1, s.logits().data(), 1, s.logits().size());
    }
    return {};
  }

 private:
  const ocellus::safetensors& golden_;
  golden_difference& to_;
  bool watching_ = true;
};

}  // namespace detail

/// Runs the golden's input through the model. Errors are about files and inputs; differences are in the result.
inline ocellus::result<golden_difference> diff_with_golden(const ocellus::model& model,
                                                           const ocellus::safetensors& golden,
                                                           const golden_options& options = {}) {
  golden_difference to;
  const bool half = has_half_precision(model);
  const bool fast = options.session.mode == ocellus::precision::fast;
  to.tolerance = options.tolerance > 0 ? options.tolerance
                 : fast                ? (is_quantized(model) ? 4e-2 : 1.5e-2)
                                       : (half ? 1e-2 : 2e-5);
  to.ids_judged = !half && !fast;
  detail::golden_run run(golden, to);

  const bool pictures = golden.find("prompt") == nullptr;
  std::vector<std::uint32_t> before, after;
  if (pictures) {
    OCELLUS_ASSIGN(before, run.ids("prompt.before"));
    OCELLUS_ASSIGN(after, run.ids("prompt.after"));
  } else {
    OCELLUS_ASSIGN(before, run.ids("prompt"));
  }
  to.has_ids = golden.find("greedy") != nullptr;
  if (to.has_ids) {
    OCELLUS_ASSIGN(to.golden_ids, run.ids("greedy"));
  }
  ocellus::session_options session_options = options.session;
  session_options.watch = run.watch();
  session_options.vision = pictures;
  const std::size_t positions =
      before.size() + after.size() + to.golden_ids.size() + (pictures ? model.config().qformer.queries : 0);
  if (positions > model.config().phi.max_positions) {
    return ocellus::error(ocellus::error_code::context_full, "the golden takes ", positions,
                          " positions, the model has ", model.config().phi.max_positions);
  }
  session_options.context = static_cast<std::uint32_t>((std::max)(positions, std::size_t{1}));
  OCELLUS_ASSIGN(auto session, ocellus::session::open(model, session_options, options.host));
  to.target = session.target();

  ocellus::image_embedding picture;
  if (pictures) OCELLUS_TRY(run.encode(session, picture));
  OCELLUS_TRY(run.prompt(session, before, pictures ? &picture : nullptr, after));
  OCELLUS_TRY(run.answer(session));

  for (const ocellus::tensor_info& t : golden.tensors()) {
    const bool input =
        t.name == "pixels" || t.name == "greedy" || t.name == "prompt" || t.name.starts_with("prompt.");
    const bool known =
        std::any_of(to.stages.begin(), to.stages.end(), [&](const auto& s) { return s.name == t.name; });
    if (!input && !known) to.stages.push_back({std::string(t.name), t.dims});
  }
  return to;
}

}  // namespace ocellus_examples

#endif  // OCELLUS_EXAMPLES_GOLDEN_DIFF_HPP
