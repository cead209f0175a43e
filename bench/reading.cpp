#include "reading.hpp"

namespace ocellus_bench {
namespace {

constexpr std::size_t piece = 1 << 20;

// Four streams of one load each, and no prefetching but the processor's own: on one core of a Zen 5 this reads 41 GB/s with
// 64-byte loads, where one stream reads 40 and a loop of 16-byte loads with software prefetching 29 to 34.
#define BENCH_READ(name, flags, bytes)                                         \
  flags std::uint64_t name(const std::byte* from) {                            \
    typedef std::uint64_t vec __attribute__((vector_size(bytes), may_alias));  \
    constexpr std::size_t part = piece / 4 / sizeof(vec);                      \
    const auto* p = reinterpret_cast<const vec*>(from);                        \
    vec a = {}, b = {}, c = {}, d = {};                                        \
    for (std::size_t i = 0; i < part; ++i) {                                   \
      a += p[i], b += p[part + i], c += p[2 * part + i], d += p[3 * part + i]; \
    }                                                                          \
    a += b + c + d;                                                            \
    return a[0] + a[1];                                                        \
  }

BENCH_READ(read_16, , 16)
#if defined(__x86_64__)
BENCH_READ(read_32, __attribute__((target("avx2"))), 32)
BENCH_READ(read_64, __attribute__((target("avx512f"))), 64)
#endif

std::uint64_t (*widest())(const std::byte*) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return read_64;
  if (__builtin_cpu_supports("avx2")) return read_32;
#endif
  return read_16;
}

}  // namespace

void read_all(const ocellus::task_hooks& tasks, const void* memory, std::size_t bytes) {
  struct call {
    std::uint64_t (*read)(const std::byte*);
    const std::byte* from;
    volatile std::uint64_t sink;
  } arg{widest(), static_cast<const std::byte*>(memory), 0};
  tasks.parallel_for(
      tasks.context, static_cast<std::uint32_t>(bytes / piece),
      [](void* a, std::uint32_t task, std::uint32_t) {
        auto& c = *static_cast<call*>(a);
        const std::uint64_t sum = c.read(c.from + task * piece);
        if (sum == 1) c.sink = sum;  // so that the reading is not left out
      },
      &arg);
}

}  // namespace ocellus_bench
