// How much a pass of a model must read and compute at the least: what its time is compared with.
#ifndef OCELLUS_BENCH_MODEL_WORK_HPP
#define OCELLUS_BENCH_MODEL_WORK_HPP

#include "ocellus/model/model.hpp"

namespace ocellus_bench {

struct work {
  double bytes = 0;       ///< weights with their scales, keys and values, each once
  double operations = 0;  ///< a multiplication and an addition are two
  ocellus::weight_format format = ocellus::weight_format::f32;  ///< of most of the weights
};

/// A picture, from patches to embeddings.
[[nodiscard]] work picture_work(const ocellus::model& model);

/// `rows` tokens behind `position` others, and the logits of the last.
[[nodiscard]] work tokens_work(const ocellus::model& model, std::uint32_t position, std::uint32_t rows,
                               ocellus::dtype cache_type);

}  // namespace ocellus_bench

#endif  // OCELLUS_BENCH_MODEL_WORK_HPP
