// Planned memory: matrices laid out one behind the other in a buffer whose size is known before it is allocated. The
// same code runs twice: first without memory, to add up the sizes, then with it.
#ifndef OCELLUS_MODEL_WORKSPACE_HPP
#define OCELLUS_MODEL_WORKSPACE_HPP

#include "ocellus/kernels/kernels.hpp"

namespace ocellus::inline OCELLUS_ABI {

class workspace {
 public:
  workspace() noexcept = default;
  explicit workspace(const buffer& memory) noexcept : handle_(memory.handle) {}

  /// The next [rows, cols] of activations: f32, 64-byte aligned rows with room for the zero tail.
  [[nodiscard]] matrix activations(std::uint32_t rows, std::uint32_t cols) noexcept {
    const auto stride = round_up<std::uint64_t>(cols, column_pad);
    const matrix m{handle_, bytes_.value(), dtype::f32, rows, cols, stride};
    bytes_ = (bytes_ + checked(rows) * stride * sizeof(float)).align_up(line_bytes);
    return m;
  }
  /// What was taken so far.
  [[nodiscard]] checked bytes() const noexcept { return bytes_; }

 private:
  void* handle_ = nullptr;
  checked bytes_ = 0;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_WORKSPACE_HPP
