// What a processor can compute at most: loops of one instruction on registers, which is what a kernel's speed is
// compared with.
#ifndef OCELLUS_BENCH_PEAKS_HPP
#define OCELLUS_BENCH_PEAKS_HPP

#include <string_view>

#include "ocellus/host.hpp"
#include "ocellus/kernels/kernels.hpp"

namespace ocellus_bench {

/// What the products of a call are made of.
enum class arithmetic : std::uint8_t { f32, int8, bf16 };
inline constexpr arithmetic all_arithmetic[] = {arithmetic::f32, arithmetic::int8, arithmetic::bf16};

/// A loop that multiplies and adds.
struct peak {
  const char* instruction = nullptr;  ///< null: there is none for this arithmetic
  void (*run)(volatile float* sink) = nullptr;
  double operations = 0;  ///< of one run; a multiplication and an addition are two
};

/// The fastest of the instructions that a table of this name stands for. Only for tables that this processor can run.
[[nodiscard]] peak peak_of(std::string_view table, arithmetic what);

/// What a table multiplies weights of this format in.
[[nodiscard]] arithmetic arithmetic_of(const ocellus::kernels& table, ocellus::weight_format format);

/// Operations a second of all workers together.
[[nodiscard]] double measure_peak(const ocellus::task_hooks& tasks, const peak& p);

}  // namespace ocellus_bench

#endif  // OCELLUS_BENCH_PEAKS_HPP
