// Speed of the CPU kernels. Checks each result against the scalar reference, then prints GB/s and GFLOP/s, and per cent
// of what this machine gave in the same run to a plain read loop and to a loop of multiply-adds.
//
//   kernels_bench [--threads N] [--target NAME] [--mib 1280] [--rounds 7] [--clock wall|cpu]
//
// --clock cpu --threads 1 counts the time that the program had a processor: on a busy machine the only clock by which
// arithmetic can be compared.
// One-row products run through --mib of weights, so that no cache holds them. Rounds of all measurements are interleaved
// and each figure is the median of its rounds, since other programs share the machine.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "measure.hpp"
#include "ocellus/kernels/kernels.hpp"
#include "ocellus/thread_pool.hpp"

namespace {

using namespace ocellus_bench;
using ocellus::weight_format;

struct options {
  std::uint32_t threads = 0;  // all
  std::string target;         // all
  std::size_t mib = 1280;
  int rounds = 7;
};

ocellus::matrix rows_at(const block& memory, std::uint32_t rows, std::uint32_t cols) {
  return {memory.data(), 0, ocellus::dtype::f32, rows, cols, ocellus::round_up(cols, 64u)};
}

void fill_random(const block& memory, std::size_t count) {
  std::mt19937 generator(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (std::size_t i = 0; i < count; ++i) memory.floats()[i] = uniform(generator);
}

// --- what the machine can do --------------------------------------------------------------------------------------

#if defined(__x86_64__)
#define BENCH_TARGET(text) __attribute__((target(text)))
#else
#define BENCH_TARGET(text)
#endif

constexpr int peak_steps = 1 << 20, peak_chains = 12;

// clang-format off
/// A function that multiplies and adds `peak_steps` times in 12 chains of vectors, all different, or the compiler would
/// make one of them.
#define BENCH_PEAK(name, flags, bytes)                                                             \
  BENCH_TARGET(flags) void name(volatile float* sink) {                                            \
    typedef float vec __attribute__((vector_size(bytes)));                                         \
    vec a0 = vec{} + *sink, a1 = a0 + 1, a2 = a0 + 2, a3 = a0 + 3, a4 = a0 + 4, a5 = a0 + 5;        \
    vec a6 = a0 + 6, a7 = a0 + 7, a8 = a0 + 8, a9 = a0 + 9, aa = a0 + 10, ab = a0 + 11;             \
    const vec m = vec{} + 0.999f, c = vec{} + 0.001f;                                              \
    for (int i = 0; i < peak_steps; ++i) {                                                         \
      a0 = a0 * m + c; a1 = a1 * m + c; a2 = a2 * m + c; a3 = a3 * m + c;                          \
      a4 = a4 * m + c; a5 = a5 * m + c; a6 = a6 * m + c; a7 = a7 * m + c;                          \
      a8 = a8 * m + c; a9 = a9 * m + c; aa = aa * m + c; ab = ab * m + c;                          \
    }                                                                                              \
    a0 += a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + aa + ab;                                    \
    *sink = a0[0];                                                                                 \
  }
#if defined(__x86_64__)
BENCH_PEAK(peak_sse4, "sse4.2", 16)
BENCH_PEAK(peak_avx2, "avx2,fma", 32)
BENCH_PEAK(peak_avx512, "avx512f", 64)
#else
BENCH_PEAK(peak_128, "", 16)
#endif
// clang-format on

struct peak {
  void (*run)(volatile float*);
  int lanes;
};
peak peak_of(const std::string& table) {
#if defined(__x86_64__)
  if (table.rfind("AVX3", 0) == 0) return {peak_avx512, 16};
  if (table == "AVX2") return {peak_avx2, 8};
  return {peak_sse4, 4};
#else
  static_cast<void>(table);
  return {peak_128, 4};
#endif
}

/// GFLOP/s of all workers together.
double measure_peak(const ocellus::task_hooks& tasks, const peak& p) {
  struct call {
    void (*run)(volatile float*);
    volatile float sinks[64 * 64];
  };
  const auto arg = std::make_unique<call>();
  arg->run = p.run;
  const double seconds = seconds_of([&] {
    tasks.parallel_for(
        tasks.context, tasks.workers,
        [](void* a, std::uint32_t task, std::uint32_t) {
          auto& c = *static_cast<call*>(a);
          c.run(&c.sinks[task % 64 * 64]);
        },
        arg.get());
  });
  return 2.0 * peak_steps * peak_chains * p.lanes * tasks.workers / seconds * 1e-9;
}

// --- the kernels --------------------------------------------------------------------------------------------------

struct machine {
  const ocellus::kernels& table;
  ocellus::context ctx;
  block scratch;
  machine(const ocellus::kernels& t, const ocellus::host& hooks)
      : table(t), ctx(hooks), scratch(t.scratch_bytes_per_worker * hooks.tasks.workers + 64) {
    ctx.set_scratch(scratch.data(), t.scratch_bytes_per_worker);
  }
};

/// |a - b| / |b|, norms over all values; infinity for NaN.
double relative_error(const ocellus::matrix& a, const ocellus::matrix& b) {
  double difference = 0, norm = 0;
  for (std::uint32_t r = 0; r < a.rows; ++r) {
    for (std::uint32_t c = 0; c < a.cols; ++c) {
      const double x = static_cast<const float*>(a.handle)[r * a.stride + c];
      const double y = static_cast<const float*>(b.handle)[r * b.stride + c];
      difference += (x - y) * (x - y);
      norm += y * y;
    }
  }
  const double error = std::sqrt(difference / norm);
  return error == error ? error : 1e300;
}

void must_be_right(const char* what, double error, double tolerance) {
  if (error <= tolerance) return;
  std::printf("%s is WRONG: relative error %g\n", what, error);
  std::exit(1);
}

struct linear_case {
  weight_format format;
  std::uint32_t t, n, k;
};

/// Bytes of a matrix and its scales.
std::uint64_t matrix_bytes(weight_format format, std::uint32_t n, std::uint32_t k) {
  const std::uint64_t scales =
      is_quantized(format) ? ocellus::panel_scale_bytes(k).value() * ((n + 15) / 16) : 0;
  return ocellus::packed_bytes(format, n, k).value() + scales;
}

/// Seconds for one call on each of `count` matrices that lie one behind the other in `weights`.
double run_linear(machine& m, const linear_case& c, const block& weights, std::size_t count,
                  const ocellus::matrix& x, const ocellus::matrix& out) {
  const std::uint64_t codes = ocellus::packed_bytes(c.format, c.n, c.k).value(),
                      size = matrix_bytes(c.format, c.n, c.k);
  return seconds_of([&] {
    for (std::size_t i = 0; i < count; ++i) {
      ocellus::linear_output o;
      o.weight = {weights.data(), i * size, c.format, c.n, c.k, i * size + codes};
      o.out = out;
      m.table.linear(m.ctx, x, &o, 1);
    }
  });
}

void check_linear(machine& m, const linear_case& c, const block& weights) {
  const linear_case few{c.format, (std::min)(c.t, 3u), 48, c.k};
  const block x(std::size_t{4} * few.t * c.k), out(4 * 64 * few.t), right(4 * 64 * few.t);
  fill_random(x, std::size_t{few.t} * c.k);
  run_linear(m, few, weights, 1, rows_at(x, few.t, c.k), rows_at(out, few.t, 48));
  machine reference(ocellus::reference_kernels(), {});
  run_linear(reference, few, weights, 1, rows_at(x, few.t, c.k), rows_at(right, few.t, 48));
  must_be_right("linear", relative_error(rows_at(out, few.t, 48), rows_at(right, few.t, 48)), 1e-6);
}

struct attention_case {
  std::uint32_t t, keys, heads, size;
  bool causal;
};

double run_attention(machine& m, const attention_case& c, const block& qkv, const ocellus::matrix& out) {
  const std::uint32_t width = c.heads * c.size, stride = ocellus::round_up(3 * width, 64u);
  ocellus::attention_sequence s;
  s.rows = c.t;
  s.position = c.keys - c.t;
  const auto part = [&](std::uint32_t first, std::uint32_t rows) {
    return ocellus::matrix{qkv.data(), std::uint64_t{4} * first, ocellus::dtype::f32, rows, width, stride};
  };
  s.segments[0] = {part(width, c.keys), part(2 * width, c.keys), c.size};
  s.segment_count = 1;
  ocellus::attention_args args{part(0, c.t), out, c.heads, c.size, 1 / std::sqrt(static_cast<float>(c.size)),
                               c.causal,     &s,  1};
  return seconds_of([&] { m.table.attention(m.ctx, args); });
}

struct line {
  std::string what;
  double bytes, flop;
  std::function<double()> run;  // seconds
  std::vector<double> seconds;
};

void bench_target(const ocellus::kernels& table, const ocellus::host& hooks, const options& o,
                  const block& weights) {
  machine m(table, hooks);
  const std::size_t bytes = o.mib << 20;
  const std::uint32_t most = 512 * 10240;
  const block x(std::size_t{4} * most), out(std::size_t{4} * most);
  fill_random(x, most);
  std::vector<line> lines;
  const auto add_linear = [&](const linear_case& c, std::size_t count) {
    check_linear(m, c, weights);
    char text[96];
    std::snprintf(text, sizeof text, "linear %4u x %5u -> %5u %s", c.t, c.k, c.n, name_of(c.format).data());
    const double size = static_cast<double>(matrix_bytes(c.format, c.n, c.k));
    lines.push_back({text,
                     size * static_cast<double>(count),
                     2.0 * c.t * c.n * c.k * static_cast<double>(count),
                     [&m, &weights, c, count, in = rows_at(x, c.t, c.k), to = rows_at(out, c.t, c.n)] {
                       return run_linear(m, c, weights, count, in, to);
                     },
                     {}});
  };
  for (weight_format f : ocellus::weight_formats) {
    add_linear({f, 1, 10240, 2560}, bytes / matrix_bytes(f, 10240, 2560));
  }
  add_linear({weight_format::bf16, 1, 2560, 10240}, bytes / matrix_bytes(weight_format::bf16, 2560, 10240));
  for (weight_format f : ocellus::weight_formats) add_linear({f, 64, 6144, 1408}, 1);
  add_linear({weight_format::f32, 64, 2560, 10240}, 1);
  add_linear({weight_format::bf16, 64, 10240, 2560}, 1);
  add_linear({weight_format::bf16, 8, 10240, 2560}, 2);
  add_linear({weight_format::f32, 512, 1408, 1408}, 1);
  const block qkv(std::size_t{4} * 1025 * 3 * 2560);
  fill_random(qkv, std::size_t{1025} * 3 * 2560);
  for (const attention_case& c : {attention_case{257, 257, 16, 88, false},
                                  {1025, 1025, 16, 88, false},
                                  {64, 1024, 32, 80, true},
                                  {1, 1024, 32, 80, true}}) {
    const std::uint32_t width = c.heads * c.size;
    machine reference(ocellus::reference_kernels(), hooks);
    const attention_case few{(std::min)(c.t, 5u), (std::min)(c.keys, 200u), c.heads, c.size, c.causal};
    const block right(std::size_t{4} * 5 * ocellus::round_up(width, 64u));
    run_attention(m, few, qkv, rows_at(out, few.t, width));
    run_attention(reference, few, qkv, rows_at(right, few.t, width));
    must_be_right("attention", relative_error(rows_at(out, few.t, width), rows_at(right, few.t, width)),
                  1e-6);
    char text[96];
    std::snprintf(text, sizeof text, "attention %4u x %4u, %2u heads of %u%s", c.t, c.keys, c.heads, c.size,
                  c.causal ? ", causal" : "");
    lines.push_back({text,
                     8.0 * c.keys * width,
                     4.0 * c.t * c.keys * width,
                     [&m, &qkv, c, to = rows_at(out, c.t, width)] { return run_attention(m, c, qkv, to); },
                     {}});
  }

  std::vector<double> read, fma;
  const peak p = peak_of(table.name);
  for (int round = 0; round < o.rounds; ++round) {
    read.push_back(static_cast<double>(bytes) / seconds_of([&] { read_all(hooks.tasks, weights, bytes); }) *
                   1e-9);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i % 4 == 0) fma.push_back(measure_peak(hooks.tasks, p));
      lines[i].seconds.push_back(lines[i].run());
    }
  }
  std::printf("\n%s, %u threads: plain read %.1f GB/s, multiply-add peak %.0f GFLOP/s\n", table.name,
              hooks.tasks.workers, median(read), median(fma));
  for (const line& l : lines) {
    const double s = median(l.seconds);
    std::printf("  %-40s %9.3f ms %7.1f GB/s %4.0f %% %8.1f GFLOP/s %4.0f %%\n", l.what.c_str(), s * 1e3,
                l.bytes / s * 1e-9, 100 * l.bytes / s * 1e-9 / median(read), l.flop / s * 1e-9,
                100 * l.flop / s * 1e-9 / median(fma));
  }
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--threads") o.threads = static_cast<std::uint32_t>(std::atoi(argv[i + 1]));
    if (name == "--target") o.target = argv[i + 1];
    if (name == "--mib") o.mib = static_cast<std::size_t>(std::atoi(argv[i + 1]));
    if (name == "--clock") cpu_clock = std::strcmp(argv[i + 1], "cpu") == 0;
    if (name == "--rounds") o.rounds = std::atoi(argv[i + 1]);
  }
  o.mib = (std::max)(o.mib, std::size_t{128});  // the largest matrix below takes 100
  auto pool = ocellus::thread_pool::make(o.threads);
  if (!pool) return std::fprintf(stderr, "%s\n", std::string(pool.error().message()).c_str()), 1;
  ocellus::host hooks;
  hooks.tasks = pool->hooks();

  // Halves that are small normal numbers both as bf16 and as f16, and as pairs in an f32; as codes they may be anything.
  const block weights((o.mib << 20) + 4096);
  std::mt19937 generator(1);
  auto* halves = static_cast<std::uint16_t*>(weights.data());
  for (std::size_t i = 0; i < (o.mib << 20) / 2; ++i) {
    halves[i] = static_cast<std::uint16_t>(0x3c00u | (generator() & 0x807fu));
  }
  for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
    const bool chosen = o.target.empty() ? table != &ocellus::reference_kernels() : o.target == table->name;
    if (chosen) bench_target(*table, hooks, o, weights);
  }
  return 0;
}
