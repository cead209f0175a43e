// What the benchmarks share: clocks, medians, memory.
#ifndef OCELLUS_BENCH_MEASURE_HPP
#define OCELLUS_BENCH_MEASURE_HPP

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <functional>
#include <new>
#include <vector>

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

}  // namespace ocellus_bench

#endif  // OCELLUS_BENCH_MEASURE_HPP
