// What the benchmarks share: clocks, medians, memory, and how fast this machine reads.
#ifndef OCELLUS_BENCH_MEASURE_HPP
#define OCELLUS_BENCH_MEASURE_HPP

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <functional>
#include <new>
#include <vector>

#include "ocellus/host.hpp"

namespace ocellus_bench {

inline bool cpu_clock = false;  ///< time that the program had a processor, instead of time that passed

inline double seconds_of(const std::function<void()>& work) {
  if (cpu_clock) {
    const std::clock_t start = std::clock();
    work();
    return static_cast<double>(std::clock() - start) / static_cast<double>(CLOCKS_PER_SEC);
  }
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Memory for f32 rows or weights, 64-byte aligned.
class block {
 public:
  explicit block(std::size_t bytes) : p_(::operator new(bytes, std::align_val_t(64))) {}
  block(const block&) = delete;
  block& operator=(const block&) = delete;
  ~block() { ::operator delete(p_, std::align_val_t(64)); }
  void* data() const { return p_; }
  float* floats() const { return static_cast<float*>(p_); }

 private:
  void* p_;
};

inline std::uint64_t sum_words(const std::uint64_t* p, std::size_t words) {
  std::uint64_t sums[32] = {};  // enough independent vectors for any width
  for (std::size_t i = 0; i + 32 <= words; i += 32) {
    // Without it the loop reaches no more than about 85 per cent of what it does with it.
    for (std::size_t j = 0; j < 32; j += 8) __builtin_prefetch(p + i + 256 + j);
    for (std::size_t j = 0; j < 32; ++j) sums[j] += p[i + j];
  }
  std::uint64_t sum = 0;
  for (std::uint64_t s : sums) sum += s;
  return sum;
}

/// Reads all of the memory, 1 MiB a task. What is left over of the last MiB is not read.
inline void read_all(const ocellus::task_hooks& tasks, const void* memory, std::size_t bytes) {
  struct call {
    const std::byte* p;
    volatile std::uint64_t sink;
  } arg{static_cast<const std::byte*>(memory), 0};
  constexpr std::size_t piece = 1 << 20;
  tasks.parallel_for(
      tasks.context, static_cast<std::uint32_t>(bytes / piece),
      [](void* a, std::uint32_t task, std::uint32_t) {
        auto& c = *static_cast<call*>(a);
        const std::uint64_t sum = sum_words(reinterpret_cast<const std::uint64_t*>(c.p + task * piece),
                                            piece / sizeof(std::uint64_t));
        if (sum == 1) c.sink = sum;
      },
      &arg);
}

}  // namespace ocellus_bench

#endif  // OCELLUS_BENCH_MEASURE_HPP
