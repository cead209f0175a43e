// ocellus-bench kernels: speed of the CPU kernels. Checks each result against the scalar reference, then prints GB/s and
// GFLOP/s, and per cent of what this machine gave in the same run to a plain read loop and to loops of the instruction
// that the kernel is made of.
//
// One-row products run through --mib of weights, so that no cache holds them. Rounds of all measurements are interleaved
// and each figure is the median of its rounds, since other programs share the machine.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "commands.hpp"
#include "measure.hpp"
#include "ocellus/kernels/kernels.hpp"
#include "ocellus/thread_pool.hpp"
#include "peaks.hpp"
#include "reading.hpp"

namespace ocellus_bench {
namespace {

using ocellus::precision;
using ocellus::weight_format;

struct options {
  std::string_view target;  // empty: all
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

// --- the kernels --------------------------------------------------------------------------------------------------

/// The most values that an input of linear() has here, padding included.
constexpr std::uint64_t most_values = 256 * 10240;

struct machine {
  const ocellus::kernels& table;
  ocellus::context ctx;
  block scratch, shared_scratch;
  machine(const ocellus::kernels& t, const ocellus::host& hooks)
      : table(t),
        ctx(hooks),
        scratch(t.scratch_bytes_per_worker * hooks.tasks.workers + 64),
        shared_scratch(t.scratch_bytes_per_value * most_values + 64) {
    ctx.set_scratch(scratch.data(), t.scratch_bytes_per_worker);
    ctx.set_shared_scratch(shared_scratch.data());
  }
  /// How far from the reference its results may be; in `fast` that is the rounding of activations and of the cache.
  [[nodiscard]] double tolerance() const { return table.mode == precision::exact ? 1e-6 : 1e-2; }
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
  constexpr std::uint32_t outputs = 48;
  const linear_case part{c.format, c.t, outputs, c.k};
  const block x(std::size_t{4} * c.t * ocellus::round_up(c.k, 64u)), out(4 * 64 * c.t), right(4 * 64 * c.t);
  fill_random(x, std::size_t{c.t} * ocellus::round_up(c.k, 64u));
  run_linear(m, part, weights, 1, rows_at(x, c.t, c.k), rows_at(out, c.t, outputs));
  machine reference(ocellus::reference_kernels(), {});
  run_linear(reference, part, weights, 1, rows_at(x, c.t, c.k), rows_at(right, c.t, outputs));
  must_be_right("linear", relative_error(rows_at(out, c.t, outputs), rows_at(right, c.t, outputs)),
                m.tolerance());
}

struct attention_case {
  std::uint32_t t, keys, heads, size;
  bool cached;  // Phi: causal, over a cache of the table's type; or the ViT's, over activations
};

/// Queries and what they look at. qkv: [keys, 3 * H * D] f32
struct attention_memory {
  ocellus::matrix qkv;
  block cache;

  attention_memory(const block& random, const attention_case& c)
      : qkv{rows_at(random, c.keys, 3 * c.heads * c.size)},
        cache(std::size_t{2} * c.heads * c.keys * padded_size(c) * sizeof(float)) {}
  static std::uint32_t padded_size(const attention_case& c) { return ocellus::round_up(c.size, 16u); }

  /// The last t of the keys' rows, and what they see.
  [[nodiscard]] ocellus::attention_sequence sequence(const attention_case& c, ocellus::dtype cached) const {
    ocellus::attention_sequence s;
    s.rows = c.t;
    s.position = c.keys - c.t;
    s.segment_count = 1;
    ocellus::kv_segment& kv = s.segments[0];
    if (c.cached) {  // [k or v][head][P][D padded]
      const std::uint64_t stride = padded_size(c);
      kv.head_stride = stride * c.keys;
      kv.k = {cache.data(), 0, cached, c.keys, c.size, stride};
      kv.v = kv.k;
      kv.v.offset = kv.head_stride * c.heads * (bits_of(cached) / 8);
    } else {
      kv = {qkv.columns(c.heads * c.size, c.size), qkv.columns(2 * c.heads * c.size, c.size), c.size};
    }
    return s;
  }
  /// Keys and values of all rows go into the cache, as a table stores them.
  void fill_cache(machine& m, const attention_case& c) const {
    if (!c.cached) return;
    const block q(std::size_t{4} * c.keys * ocellus::round_up(c.heads * c.size, 64u));
    attention_case all = c;
    all.t = c.keys;
    const ocellus::attention_sequence s = sequence(all, m.table.cache_type);
    ocellus::rotary_append_args args;
    args.qkv = qkv;
    args.heads = c.heads;
    args.head_size = c.size;
    args.q_out = rows_at(q, c.keys, c.heads * c.size);
    args.sequences = &s;
    args.sequence_count = 1;
    m.table.rotary_append(m.ctx, args);
  }
};

double run_attention(machine& m, const attention_case& c, const attention_memory& memory,
                     const ocellus::matrix& out) {
  const ocellus::attention_sequence s = memory.sequence(c, m.table.cache_type);
  ocellus::attention_args args;
  args.q = memory.qkv.slice(c.keys - c.t, c.t).columns(0, c.heads * c.size);
  args.out = out;
  args.heads = c.heads;
  args.head_size = c.size;
  args.scale = 1 / std::sqrt(static_cast<float>(c.size));
  args.causal = c.cached;
  args.sequences = &s;
  args.sequence_count = 1;
  return seconds_of([&] { m.table.attention(m.ctx, args); });
}

/// With fewer keys and rows, but for both ways that there are: one by one, and in blocks. In `fast` the reference reads
/// keys and values that were not rounded.
void check_attention(machine& m, const attention_case& c, const block& random) {
  const attention_case few{(std::min)(c.t, 40u), (std::min)(c.keys, 200u), c.heads, c.size, c.cached};
  const std::uint32_t width = c.heads * c.size;
  const block out(std::size_t{4} * few.t * ocellus::round_up(width, 64u)),
      right(std::size_t{4} * few.t * ocellus::round_up(width, 64u));
  machine reference(ocellus::reference_kernels(), m.ctx.hooks());
  for (const auto& [on, to] : {std::pair{&m, &out}, {&reference, &right}}) {
    const attention_memory memory(random, few);
    memory.fill_cache(*on, few);
    run_attention(*on, few, memory, rows_at(*to, few.t, width));
  }
  must_be_right("attention", relative_error(rows_at(out, few.t, width), rows_at(right, few.t, width)),
                m.tolerance());
}

struct line {
  std::string what;
  double bytes, operations;
  arithmetic made_of;
  std::function<double()> run;  // seconds
  std::vector<double> seconds = {};
};

void bench_table(const ocellus::kernels& table, const ocellus::host& hooks, const options& o,
                 const block& weights) {
  machine m(table, hooks);
  const std::size_t bytes = o.mib << 20;
  const block x(std::size_t{4} * most_values), out(std::size_t{4} * most_values);
  fill_random(x, most_values);
  std::vector<line> lines;
  const auto add_linear = [&](weight_format f, std::uint32_t t, std::uint32_t k, std::uint32_t n,
                              std::size_t count) {
    const linear_case c{f, t, n, k};
    check_linear(m, c, weights);
    char text[96];
    std::snprintf(text, sizeof text, "linear %4u x %5u -> %5u %s", t, k, n, name_of(f).data());
    const double size = static_cast<double>(matrix_bytes(f, n, k));
    lines.push_back({text, size * static_cast<double>(count), 2.0 * t * n * k * static_cast<double>(count),
                     arithmetic_of(table, f),
                     [&m, &weights, c, count, in = rows_at(x, t, k), to = rows_at(out, t, n)] {
                       return run_linear(m, c, weights, count, in, to);
                     }});
  };
  using enum weight_format;
  for (weight_format f : ocellus::weight_formats)
    add_linear(f, 1, 2560, 10240, bytes / matrix_bytes(f, 10240, 2560));
  for (weight_format f : {bf16, q8, q4}) add_linear(f, 1, 10240, 2560, bytes / matrix_bytes(f, 2560, 10240));
  for (weight_format f : {bf16, q4}) add_linear(f, 8, 2560, 10240, 2);
  for (weight_format f : ocellus::weight_formats) add_linear(f, 64, 1408, 6144, 1);
  for (weight_format f : {f32, bf16, q8, q4}) add_linear(f, 64, 10240, 2560, 1);
  for (weight_format f : {f32, bf16, q8, q4}) add_linear(f, 256, 2560, 10240, 1);

  const block random(std::size_t{4} * 1900 * 3 * 2560);
  fill_random(random, std::size_t{1900} * 3 * 2560);
  std::vector<std::unique_ptr<attention_memory>> memories;
  for (const attention_case& c : {attention_case{257, 257, 16, 88, false},
                                  {1025, 1025, 16, 88, false},
                                  {64, 1024, 32, 80, true},
                                  {1, 100, 32, 80, true},
                                  {1, 1024, 32, 80, true},
                                  {1, 1900, 32, 80, true}}) {
    const std::uint32_t width = c.heads * c.size;
    check_attention(m, c, random);
    memories.push_back(std::make_unique<attention_memory>(random, c));
    memories.back()->fill_cache(m, c);
    char text[96];
    std::snprintf(text, sizeof text, "attention %4u x %4u, %2u heads of %u%s", c.t, c.keys, c.heads, c.size,
                  c.cached ? ", cache" : "");
    const double element = c.cached ? static_cast<double>(bits_of(table.cache_type)) / 8 : 4;
    lines.push_back({text, 2 * element * c.keys * width, 4.0 * c.t * c.keys * width, arithmetic::f32,
                     [&m, memory = memories.back().get(), c, to = rows_at(out, c.t, width)] {
                       return run_attention(m, c, *memory, to);
                     }});
  }

  std::vector<double> read, speeds[std::size(all_arithmetic)];
  peak peaks[std::size(all_arithmetic)];
  for (const arithmetic a : all_arithmetic) peaks[static_cast<int>(a)] = peak_of(table.name, a);
  for (int round = 0; round < o.rounds; ++round) {
    const double seconds = seconds_of([&] { read_all(hooks.tasks, weights.data(), bytes); });
    read.push_back(static_cast<double>(bytes) / seconds);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i % 4 == 0) {
        for (const arithmetic a : all_arithmetic) {
          speeds[static_cast<int>(a)].push_back(measure_peak(hooks.tasks, peaks[static_cast<int>(a)]));
        }
      }
      lines[i].seconds.push_back(lines[i].run());
    }
  }
  std::printf("\n%s, %s, %u threads: plain read %.1f GB/s", table.name,
              table.mode == precision::exact ? "exact" : "fast", hooks.tasks.workers, median(read) * 1e-9);
  for (const arithmetic a : all_arithmetic) {
    const peak& p = peaks[static_cast<int>(a)];
    const bool used = std::any_of(lines.begin(), lines.end(), [a](const line& l) { return l.made_of == a; });
    if (used && p.run != nullptr)
      std::printf(", %s %.0f GFLOP/s", p.instruction, median(speeds[static_cast<int>(a)]) * 1e-9);
  }
  std::printf("\n");
  for (const line& l : lines) {
    const double s = median(l.seconds), most = median(speeds[static_cast<int>(l.made_of)]);
    std::printf("  %-40s %9.3f ms %7.1f GB/s %4.0f %% %8.1f GFLOP/s %4.0f %% of %s\n", l.what.c_str(),
                s * 1e3, l.bytes / s * 1e-9, 100 * l.bytes / s / median(read), l.operations / s * 1e-9,
                100 * l.operations / s / most, peaks[static_cast<int>(l.made_of)].instruction);
  }
  std::fflush(stdout);
}

}  // namespace

usage declare_kernels() {
  return {"kernels",
          "",
          "Speed of the CPU kernels, after a check of their results, against what the machine can do.",
          {{"--precision", "P", "exact, fast or all (default)"},
           {"--target", "NAME",
            "one table alone: AVX2, AVX3_BF16, ...; default: all that run here but the reference"},
           {"--threads", "N", "default: one for each processor"},
           {"--rounds", "N", "of which each figure is the median; default 7"},
           {"--mib", "N", "of weights that one row is multiplied with; default 1280, at least 128"},
           {"--clock", "C",
            "wall (default), or cpu: the time that the program had a processor; with --threads 1 the "
            "only clock by which arithmetic can be compared on a busy machine"}}};
}

int run_kernels(arguments& given) {
  options o;
  o.target = given.text("--target");
  o.rounds = given.number("--rounds", 7, 1, 1000);
  o.mib = given.number<std::size_t>("--mib", 1280, 128, 1 << 20);  // the largest matrix takes 100
  cpu_clock = given.text("--clock", "wall") == "cpu";
  const std::string_view mode = given.text("--precision", "all");
  if (mode != "all" && mode != "exact" && mode != "fast") given.complain("--precision is exact, fast or all");
  const auto threads = given.number<std::uint32_t>("--threads", 0, 1, 1024);
  if (!given.positionals().empty()) given.complain("kernels takes no file");
  if (!given.problem().empty()) return exit_usage;

  auto pool = ocellus::thread_pool::make(threads);
  if (!pool) return std::fprintf(stderr, "%s\n", std::string(pool.error().message()).c_str()), exit_error;
  ocellus::host hooks;
  hooks.tasks = pool->hooks();

  // Halves that are small normal numbers both as bf16 and as f16, and as pairs in an f32; as codes they may be anything.
  const block weights((o.mib << 20) + 4096);
  std::mt19937 generator(1);
  auto* halves = static_cast<std::uint16_t*>(weights.data());
  for (std::size_t i = 0; i < (o.mib << 20) / 2; ++i) {
    halves[i] = static_cast<std::uint16_t>(0x3c00u | (generator() & 0x807fu));
  }
  bool found = false;
  for (const precision p : {precision::exact, precision::fast}) {
    if (mode != "all" && (mode == "exact") != (p == precision::exact)) continue;
    for (const ocellus::kernels* table : ocellus::cpu_kernels(p)) {
      if (o.target.empty() ? table == &ocellus::reference_kernels(p) : o.target != table->name) continue;
      found = true;
      bench_table(*table, hooks, o, weights);
    }
  }
  if (!found) given.complain("this processor runs no kernels of that name");
  return found ? exit_ok : exit_usage;
}

}  // namespace ocellus_bench
