// tensor<T>: a dense row-major array in host memory, and tensor_view<T>, the same without ownership. For pixels,
// conversion, the reference kernels and tests; what the model computes with lives in backend buffers (kernels/).
#ifndef OCELLUS_TENSOR_HPP
#define OCELLUS_TENSOR_HPP

#include <initializer_list>

#include "ocellus/checked.hpp"
#include "ocellus/dtype.hpp"
#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Up to eight dimensions, outermost first. The empty shape is a scalar.
class shape {
 public:
  static constexpr std::size_t max_rank = 8;

  constexpr shape() noexcept = default;
  constexpr shape(std::initializer_list<std::uint64_t> dims) noexcept {
    for (std::uint64_t d : dims) {
      if (!push_back(d)) return;
    }
  }
  /// False, and unchanged, when there are eight dimensions already.
  constexpr bool push_back(std::uint64_t dim) noexcept {
    if (rank_ == max_rank) return false;
    dims_[rank_++] = dim;
    return true;
  }
  [[nodiscard]] constexpr std::size_t rank() const noexcept { return rank_; }
  [[nodiscard]] constexpr std::uint64_t operator[](std::size_t i) const noexcept { return dims_[i]; }
  [[nodiscard]] constexpr std::uint64_t& operator[](std::size_t i) noexcept { return dims_[i]; }
  [[nodiscard]] constexpr std::span<const std::uint64_t> dims() const noexcept { return {dims_, rank_}; }
  /// The number of elements, 1 for a scalar.
  [[nodiscard]] constexpr checked count() const noexcept {
    checked n(1);
    for (std::size_t i = 0; i < rank_; ++i) n = n * dims_[i];
    return n;
  }
  friend constexpr bool operator==(const shape& a, const shape& b) noexcept {
    if (a.rank_ != b.rank_) return false;
    for (std::size_t i = 0; i < a.rank_; ++i) {
      if (a.dims_[i] != b.dims_[i]) return false;
    }
    return true;
  }

 private:
  std::uint64_t dims_[max_rank] = {};
  std::size_t rank_ = 0;
};

/// Elements of somebody else's memory, row-major without gaps. T may be const.
template <class T>
class tensor_view {
 public:
  tensor_view() noexcept = default;
  tensor_view(T* data, const shape& dims) noexcept
      : data_(data), shape_(dims), size_(static_cast<std::size_t>(dims.count().value())) {}
  // NOLINTNEXTLINE(google-explicit-constructor): a view to const from a view.
  operator tensor_view<const T>() const noexcept { return {data_, shape_}; }

  [[nodiscard]] const shape& dims() const noexcept { return shape_; }
  [[nodiscard]] std::size_t dim(std::size_t i) const noexcept { return static_cast<std::size_t>(shape_[i]); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] T* data() const noexcept { return data_; }
  [[nodiscard]] std::span<T> span() const noexcept { return {data_, size_}; }
  [[nodiscard]] T* begin() const noexcept { return data_; }
  [[nodiscard]] T* end() const noexcept { return data_ + size_; }
  [[nodiscard]] T& operator[](std::size_t flat) const noexcept { return data_[flat]; }

  /// Element (i, j, ...): as many indices as dimensions.
  template <std::convertible_to<std::size_t>... Index>
  [[nodiscard]] T& operator()(Index... index) const noexcept {
    std::size_t flat = 0, axis = 0;
    ((flat = flat * dim(axis++) + static_cast<std::size_t>(index)), ...);
    return data_[flat];
  }
  /// The i-th part along the first dimension, one dimension less.
  [[nodiscard]] tensor_view row(std::size_t i) const noexcept {
    shape inner;
    for (std::size_t d = 1; d < shape_.rank(); ++d) inner.push_back(shape_[d]);
    const auto step = static_cast<std::size_t>(inner.count().value());
    return {data_ + i * step, inner};
  }

 private:
  T* data_ = nullptr;
  shape shape_{0};
  std::size_t size_ = 0;
};

/// A dense row-major array that owns its memory, on the host's allocator, 64-byte aligned. Move-only.
template <class T>
class tensor {
  static_assert(std::is_trivially_copyable_v<T>);
  struct alignas(64) line {
    unsigned char bytes[64];
  };

 public:
  tensor() noexcept = default;

  /// All elements 0.
  [[nodiscard]] static result<tensor> make(const shape& dims, const memory_hooks& memory = {}) noexcept {
    tensor made;
    const checked bytes = dims.count() * sizeof(T);
    const checked padded = bytes.align_up(sizeof(line));
    if (!padded.fits<std::size_t>())
      return error(error_code::overflow, "a tensor of shape ", shape_text{dims.dims()});
    made.lines_ = array<line>(memory);
    if (!made.lines_.resize(static_cast<std::size_t>(padded.value() / sizeof(line)))) {
      return no_memory("a tensor of shape ", shape_text{dims.dims()});
    }
    made.shape_ = dims;
    return made;
  }

  [[nodiscard]] tensor_view<T> view() noexcept { return {data(), shape_}; }
  [[nodiscard]] tensor_view<const T> view() const noexcept { return {data(), shape_}; }
  [[nodiscard]] const shape& dims() const noexcept { return shape_; }
  [[nodiscard]] std::size_t dim(std::size_t i) const noexcept { return static_cast<std::size_t>(shape_[i]); }
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(shape_.count().value()); }
  [[nodiscard]] T* data() noexcept { return reinterpret_cast<T*>(lines_.data()); }
  [[nodiscard]] const T* data() const noexcept { return reinterpret_cast<const T*>(lines_.data()); }
  [[nodiscard]] std::span<T> span() noexcept { return {data(), size()}; }
  [[nodiscard]] std::span<const T> span() const noexcept { return {data(), size()}; }
  [[nodiscard]] T& operator[](std::size_t flat) noexcept { return data()[flat]; }
  [[nodiscard]] const T& operator[](std::size_t flat) const noexcept { return data()[flat]; }

 private:
  array<line> lines_;
  shape shape_{0};
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TENSOR_HPP
