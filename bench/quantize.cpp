// ocellus-bench quantize: what q8 and q4 lose and cost: relative errors on random weights of several distributions, bits a weight, and the time
// of the search. With --ggml LIBRARY the formats of llama.cpp do the same on the same numbers, by its own code; the
// library is libggml-base.so (Debian unstable: package libggml0).
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>
#if !defined(_WIN32)
#include <dlfcn.h>
#endif

#include "commands.hpp"
#include "measure.hpp"
#include "ocellus/kernels/packed.hpp"

namespace ocellus_bench {
namespace {

constexpr std::uint32_t columns = 2560;

/// A way to store rows of `columns` weights: quantizes and gives back what is then read.
struct storage {
  std::string name;
  double bits;  // a weight
  std::function<std::vector<float>(const std::vector<float>&)> round_trip;
};

storage ours(ocellus::weight_format format) {
  const std::size_t panel = ocellus::panel_bytes(format, columns).value(),
                    scales = ocellus::panel_scale_bytes(columns).value();
  return {std::string(name_of(format)), 8.0 * static_cast<double>(panel + scales) / (16 * columns),
          [=](const std::vector<float>& from) {
            std::vector<std::byte> codes(panel), scale(scales);
            std::vector<float> to(from.size());
            for (std::size_t first = 0; first < from.size(); first += 16 * columns) {
              if (!ocellus::pack_panel(format, from.data() + first, columns, 16, columns, codes.data(),
                                       scale.data())) {
                std::abort();
              }
              for (std::uint32_t i = 0; i < 16 * columns; ++i) {
                to[first + i] =
                    ocellus::packed_at(format, codes.data(), scale.data(), columns, i / columns, i % columns);
              }
            }
            return to;
          }};
}

#if !defined(_WIN32)
/// The beginning of what ggml.h calls ggml_type_traits.
struct ggml_traits {
  const char* name;
  std::int64_t block_size, interleaved;
  std::size_t block_bytes;
  bool quantized;
  void (*to_float)(const void* from, float* to, std::int64_t count);
};

std::vector<storage> of_ggml(const char* library) {
  void* handle = dlopen(library, RTLD_NOW);
  if (handle == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    std::exit(1);
  }
  using quantize_function =
      std::size_t (*)(int, const float*, void*, std::int64_t, std::int64_t, std::int64_t, const float*);
  const auto quantize = reinterpret_cast<quantize_function>(dlsym(handle, "ggml_quantize_chunk"));
  const auto traits_of = reinterpret_cast<const ggml_traits* (*)(int)>(dlsym(handle, "ggml_get_type_traits"));
  if (quantize == nullptr || traits_of == nullptr) {
    std::fprintf(stderr, "%s is not the library expected\n", library);
    std::exit(1);
  }
  std::vector<storage> all;
  constexpr int q8_0 = 8, q4_0 = 2, q4_k = 12;  // as ggml.h numbers them
  for (const int type : {q8_0, q4_0, q4_k}) {
    const ggml_traits* traits = traits_of(type);
    const double bits =
        8.0 * static_cast<double>(traits->block_bytes) / static_cast<double>(traits->block_size);
    all.push_back({traits->name, bits, [=](const std::vector<float>& from) {
                     std::vector<std::byte> codes(from.size() * 2);
                     std::vector<float> to(from.size());
                     const auto rows = static_cast<std::int64_t>(from.size() / columns);
                     quantize(type, from.data(), codes.data(), 0, rows, columns, nullptr);
                     traits->to_float(codes.data(), to.data(), static_cast<std::int64_t>(from.size()));
                     return to;
                   }});
  }
  return all;
}
#endif

struct distribution {
  const char* name;
  std::function<double(std::mt19937&)> draw;
};

double normal(std::mt19937& bits) { return std::normal_distribution<double>()(bits); }

double student(std::mt19937& bits, int freedom) {
  double squares = 0;
  for (int i = 0; i < freedom; ++i) squares += std::pow(normal(bits), 2);
  return normal(bits) / std::sqrt(squares / freedom);
}

}  // namespace

usage declare_quantize() {
  return {"quantize",
          "",
          "What q8 and q4 lose and cost, on random weights of several distributions.",
          {{"--rows", "N", "of 2560 weights; default 256"},
           {"--ggml", "LIBRARY", "the formats of llama.cpp too, by its libggml-base.so"}}};
}

int run_quantize(arguments& given) {
  const std::size_t rows = (given.number<std::size_t>("--rows", 256, 1, 1 << 20) + 15) / 16 * 16;
  if (!given.positionals().empty()) given.complain("quantize takes no file");
  if (!given.problem().empty()) return exit_usage;
  std::vector<storage> all = {ours(ocellus::weight_format::q8), ours(ocellus::weight_format::q4)};
#if !defined(_WIN32)
  if (given.has("--ggml")) {
    for (storage& s : of_ggml(std::string(given.text("--ggml")).c_str())) all.push_back(std::move(s));
  }
#endif
  const distribution distributions[] = {
      {"normal", normal},
      {"Laplace",
       [](std::mt19937& bits) {
         return std::exponential_distribution<double>()(bits) * (bits() % 2 == 0 ? 1 : -1);
       }},
      {"t, 4", [](std::mt19937& bits) { return student(bits, 4); }},
      {"t, 3", [](std::mt19937& bits) { return student(bits, 3); }},
      {"uniform", [](std::mt19937& bits) { return std::uniform_real_distribution<double>(-1, 1)(bits); }}};

  std::vector<std::vector<float>> weights;
  std::printf("%-6s %5s", "format", "bits");
  for (const distribution& d : distributions) {
    std::printf(" %8s", d.name);
    std::mt19937 bits(1);
    weights.emplace_back(rows * columns);
    for (float& w : weights.back()) w = static_cast<float>(0.02 * d.draw(bits));
  }
  std::printf("  ns a weight, both ways\n");
  for (const storage& s : all) {
    std::printf("%-6s %5.2f", s.name.c_str(), s.bits);
    const double seconds = seconds_of([&] {
      for (const std::vector<float>& w : weights) {
        const std::vector<float> read = s.round_trip(w);
        double error = 0, size = 0;
        for (std::size_t i = 0; i < w.size(); ++i) {
          error += std::pow(static_cast<double>(w[i]) - static_cast<double>(read[i]), 2);
          size += std::pow(static_cast<double>(w[i]), 2);
        }
        std::printf(" %8.5f", std::sqrt(error / size));
      }
    });
    std::printf("  %.1f\n", seconds * 1e9 / static_cast<double>(rows * columns * weights.size()));
  }
  return exit_ok;
}

}  // namespace ocellus_bench
