// Matrices for tests of kernels: each in a heap block of exactly the size that the contract allows to be touched, at an
// odd address where that is allowed, with NaN where nothing may be read.
#ifndef OCELLUS_TESTS_SUPPORT_KERNEL_FIXTURES_HPP
#define OCELLUS_TESTS_SUPPORT_KERNEL_FIXTURES_HPP

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "ocellus/kernels/kernels.hpp"

namespace ocellus_tests {

inline constexpr float poison = std::numeric_limits<float>::quiet_NaN();

/// Numbers of a normal distribution; the same for the same seed.
inline std::vector<float> random_values(std::size_t count, unsigned seed, float deviation = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(count);
  for (float& v : values) v = normal(generator);
  return values;
}

/// Rows of f32 as activations are: a stride that is a multiple of 64, a zero tail behind each row up to a multiple of
/// 64, NaN in what is left of the stride, and the block ends with the last row's tail.
class rows {
 public:
  rows() = default;
  rows(std::uint32_t count, std::uint32_t cols, std::uint32_t more_stride = 0)
      : count_(count), cols_(cols), padded_(ocellus::round_up(cols, 64u)), stride_(padded_ + more_stride) {
    elements_ = count == 0 ? 0 : std::size_t{count - 1} * stride_ + padded_;
    block_.reset(static_cast<float*>(::operator new((elements_ + 1) * sizeof(float), std::align_val_t(64))));
    std::fill(block_.get(), block_.get() + elements_ + 1, poison);
  }
  /// With values and a zero tail.
  static rows of(std::uint32_t count, std::uint32_t cols, const std::vector<float>& values,
                 std::uint32_t more_stride = 0) {
    rows made(count, cols, more_stride);
    for (std::uint32_t r = 0; r < count; ++r) {
      std::fill_n(made.row(r), made.padded_, 0.0f);
      std::copy_n(values.data() + std::size_t{r} * cols, cols, made.row(r));
    }
    return made;
  }
  static rows random(std::uint32_t count, std::uint32_t cols, unsigned seed, std::uint32_t more_stride = 0) {
    return of(count, cols, random_values(std::size_t{count} * cols, seed), more_stride);
  }

  float* row(std::uint32_t r) const { return block_.get() + std::size_t{r} * stride_; }
  std::uint32_t count() const { return count_; }
  std::uint32_t cols() const { return cols_; }
  ocellus::matrix matrix() const { return {block_.get(), 0, ocellus::dtype::f32, count_, cols_, stride_}; }

  /// Are all tails zero, and is what lies between rows untouched?
  bool tails_are_zero() const {
    for (std::uint32_t r = 0; r < count_; ++r) {
      for (std::uint32_t c = cols_; c < padded_; ++c) {
        if (row(r)[c] != 0.0f) return false;
      }
      for (std::uint32_t c = padded_; c < stride_ && r + 1 < count_; ++c) {
        if (!std::isnan(row(r)[c])) return false;
      }
    }
    return std::isnan(block_.get()[elements_]);
  }
  bool same_bits(const rows& other) const {
    for (std::uint32_t r = 0; r < count_; ++r) {
      if (std::memcmp(row(r), other.row(r), cols_ * sizeof(float)) != 0) return false;
    }
    return true;
  }

 private:
  struct aligned_delete {
    void operator()(float* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  std::uint32_t count_ = 0, cols_ = 0, padded_ = 0, stride_ = 0;
  std::size_t elements_ = 0;
  std::unique_ptr<float, aligned_delete> block_;
};

/// A packed weight [n, k] and its scales in a block that ends with the last byte of them, `misalign` bytes off.
class packed_weight {
 public:
  packed_weight(ocellus::weight_format format, std::uint32_t n, std::uint32_t k,
                const std::vector<float>& values, std::size_t misalign = 0)
      : format_(format),
        n_(n),
        k_(k),
        misalign_(misalign),
        scales_at_(misalign + ocellus::packed_bytes(format, n, k).value()) {
    const std::size_t panel = ocellus::panel_bytes(format, k).value(),
                      scales = is_quantized(format) ? ocellus::panel_scale_bytes(k).value() : 0;
    bytes_.resize(scales_at_ + (n + 15) / 16 * scales);
    for (std::uint32_t row = 0; row < n; row += 16) {
      REQUIRE(ocellus::pack_panel(format, values.data() + std::size_t{row} * k, k, (std::min)(16u, n - row),
                                  k, bytes_.data() + misalign + row / 16 * panel,
                                  bytes_.data() + scales_at_ + row / 16 * scales));
    }
  }
  ocellus::packed_matrix matrix() const {
    return {const_cast<std::byte*>(bytes_.data()), misalign_, format_, n_, k_, scales_at_};
  }
  double at(std::uint32_t row, std::uint32_t column) const {
    return static_cast<double>(
        ocellus::packed_at(format_, bytes_.data() + misalign_, bytes_.data() + scales_at_, k_, row, column));
  }

 private:
  ocellus::weight_format format_;
  std::uint32_t n_, k_;
  std::size_t misalign_, scales_at_;
  std::vector<std::byte> bytes_;  // codes, then scales
};

/// A context with scratch for one table, the scratch full of NaN and ending where the table said.
/// input_values: of the padded input of a linear() that is to be run.
class kernel_run {
 public:
  explicit kernel_run(const ocellus::kernels& table, const ocellus::host& hooks = {},
                      std::uint64_t input_values = 0)
      : context(hooks) {
    const std::size_t bytes = table.scratch_bytes_per_worker * hooks.tasks.workers;
    REQUIRE(table.scratch_bytes_per_worker % 64 == 0);
    scratch_ = rows(1, static_cast<std::uint32_t>((std::max)(bytes / sizeof(float), std::size_t{64})));
    context.set_scratch(scratch_.row(0), table.scratch_bytes_per_worker);
    const std::uint64_t shared = input_values * table.scratch_bytes_per_value / sizeof(float);
    shared_scratch_ = rows(1, static_cast<std::uint32_t>((std::max)(shared, std::uint64_t{64})));
    context.set_shared_scratch(shared_scratch_.row(0));
  }
  ocellus::context context;

 private:
  rows scratch_, shared_scratch_;
};

/// Runs body(table) for every table of this processor but the reference, and for the one with modelled tiles.
template <class Body>
void for_each_target(const Body& body, ocellus::precision mode = ocellus::precision::exact) {
  for (const ocellus::kernels* table : ocellus::cpu_kernels(mode)) {
    if (table == &ocellus::reference_kernels(mode)) continue;
    CAPTURE(std::string(table->name));
    body(*table);
  }
#if defined(OCELLUS_MODEL_TILES)
  const ocellus::kernels* modelled = ocellus::detail::model_tiles_kernels();
  if (mode == ocellus::precision::fast && modelled != nullptr) {
    CAPTURE(std::string(modelled->name));
    body(*modelled);
  }
#endif
}

/// Largest |a - b| / tolerance(row, column) over all values; NaN counts as infinity.
template <class Tolerance>
double worst_ratio(const rows& a, const rows& b, const Tolerance& tolerance) {
  double worst = 0;
  for (std::uint32_t r = 0; r < a.count(); ++r) {
    for (std::uint32_t c = 0; c < a.cols(); ++c) {
      const double difference = std::abs(static_cast<double>(a.row(r)[c]) - static_cast<double>(b.row(r)[c]));
      const double ratio = difference / tolerance(r, c);
      if (!(ratio <= worst)) worst = std::isnan(ratio) ? std::numeric_limits<double>::infinity() : ratio;
    }
  }
  return worst;
}

inline constexpr double f32_ulp = 0x1p-23;

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_KERNEL_FIXTURES_HPP
