#include "peaks.hpp"

#include <memory>

#include "measure.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace ocellus_bench {
namespace {

constexpr int steps = 1 << 19;

#if defined(__x86_64__)
#define BENCH_TARGET(text) __attribute__((target(text)))
#else
#define BENCH_TARGET(text)
#endif

// clang-format off
/// f32: 12 chains of multiply-adds, all different, or the compiler would make one of them.
#define BENCH_F32(name, flags, bytes)                                                              \
  BENCH_TARGET(flags) void name(volatile float* sink) {                                            \
    typedef float vec __attribute__((vector_size(bytes)));                                         \
    vec a0 = vec{} + *sink, a1 = a0 + 1, a2 = a0 + 2, a3 = a0 + 3, a4 = a0 + 4, a5 = a0 + 5;       \
    vec a6 = a0 + 6, a7 = a0 + 7, a8 = a0 + 8, a9 = a0 + 9, aa = a0 + 10, ab = a0 + 11;            \
    const vec m = vec{} + 0.999f, c = vec{} + 0.001f;                                              \
    for (int i = 0; i < steps; ++i) {                                                              \
      a0 = a0 * m + c; a1 = a1 * m + c; a2 = a2 * m + c; a3 = a3 * m + c;                          \
      a4 = a4 * m + c; a5 = a5 * m + c; a6 = a6 * m + c; a7 = a7 * m + c;                          \
      a8 = a8 * m + c; a9 = a9 * m + c; aa = aa * m + c; ab = ab * m + c;                          \
    }                                                                                              \
    a0 += a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + aa + ab;                                    \
    *sink = a0[0];                                                                                 \
  }

/// Chains of STEP(accumulator), which multiplies x and y. Assembler, so that no compiler sees that all chains compute the
/// same, and that nobody looks at the sums.
#define BENCH_12(S)                                                                                \
  S(a[0]) S(a[1]) S(a[2]) S(a[3]) S(a[4]) S(a[5]) S(a[6]) S(a[7]) S(a[8]) S(a[9]) S(a[10]) S(a[11])
#define BENCH_20(S)                                                                                \
  BENCH_12(S) S(a[12]) S(a[13]) S(a[14]) S(a[15]) S(a[16]) S(a[17]) S(a[18]) S(a[19])
#define BENCH_DOT(name, flags, vec, CHAINS, STEP)                                                  \
  BENCH_TARGET(flags) void name(volatile float* sink) {                                            \
    const vec x = {}, y = {};                                                                      \
    vec a[20] = {}, p = {};                                                                        \
    for (int i = 0; i < steps; ++i) {                                                              \
      CHAINS(STEP)                                                                                 \
    }                                                                                              \
    static_cast<void>(p);                                                                          \
    *sink = 0;                                                                                     \
  }

#if defined(__x86_64__)
BENCH_F32(f32_sse4, "sse4.2", 16)
BENCH_F32(f32_avx2, "avx2,fma", 32)
BENCH_F32(f32_avx512, "avx512f", 64)

// Bytes by bytes to sums of 32 bits, in three instructions; p is for what is between them.
#define STEP_SSE(a)                                                                                \
  __asm__ volatile("movdqa %2, %1\n\tpmaddubsw %3, %1\n\tpmaddwd %3, %1\n\tpaddd %1, %0"            \
                   : "+x"(a), "+x"(p) : "x"(x), "x"(y));
#define STEP_AVX(a)                                                                                \
  __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpmaddwd %3, %1, %1\n\tvpaddd %1, %0, %0"             \
                   : "+x"(a), "+x"(p) : "x"(x), "x"(y));
#define STEP_VNNI(a) __asm__ volatile("vpdpbusd %2, %1, %0" : "+x"(a) : "x"(x), "x"(y));
#define STEP_AVX_VNNI(a) __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(a) : "x"(x), "x"(y));
#define STEP_BF16(a) __asm__ volatile("vdpbf16ps %2, %1, %0" : "+v"(a) : "v"(x), "v"(y));
BENCH_DOT(int8_sse4, "sse4.2", __m128i, BENCH_12, STEP_SSE)
BENCH_DOT(int8_avx2, "avx2", __m256i, BENCH_12, STEP_AVX)
BENCH_DOT(int8_avx512, "avx512f,avx512bw", __m512i, BENCH_12, STEP_AVX)
BENCH_DOT(int8_vnni256, "avx2,avxvnni", __m256i, BENCH_12, STEP_AVX_VNNI)
BENCH_DOT(int8_vnni512, "avx512f,avx512vnni", __m512i, BENCH_12, STEP_VNNI)
BENCH_DOT(bf16_avx512, "avx512f,avx512bf16", __m512i, BENCH_20, STEP_BF16)  // two a cycle, each takes six
#else
BENCH_F32(f32_128, "", 16)
#if defined(__aarch64__)
typedef int int_128 __attribute__((vector_size(16)));
#undef BENCH_TARGET
#define BENCH_TARGET(text) __attribute__((target(text)))
#if defined(__clang__)
#define BENCH_DOTPROD "dotprod"
#else
#define BENCH_DOTPROD "arch=armv8.2-a+dotprod"
#endif
#define STEP_SDOT(a) __asm__ volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(a) : "w"(x), "w"(y));
BENCH_DOT(int8_sdot, BENCH_DOTPROD, int_128, BENCH_20, STEP_SDOT)
#endif
#endif
// clang-format on

#if defined(__x86_64__) && defined(__linux__)
/// Tiles need a permission that a process asks for once.
bool tiles_allowed() {
  constexpr int request_permission = 0x1023, tile_data = 18;  // of arch_prctl
  return ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

/// 2 x 2 tiles of sums, as in a product.
BENCH_TARGET("amx-tile,amx-bf16") void bf16_tiles(volatile float* sink) {
  struct alignas(64) {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } const config;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int i = 0; i < steps / 16; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  *sink = 0;
}
#endif

}  // namespace

peak peak_of(std::string_view table, arithmetic what) {
  const bool f32 = what == arithmetic::f32, bf16 = what == arithmetic::bf16;
  const auto chains = [](int values, int count = 12) { return 2.0 * steps * count * values; };
#if defined(__x86_64__)
#if defined(__linux__)
  if (table == "AVX3_AMX" && !f32 && tiles_allowed()) {
    return {"tdpbf16ps", bf16_tiles, 2.0 * (steps / 16) * 4 * 16 * 16 * 32};
  }
#endif
  if (f32) {
    if (table.starts_with("AVX3")) return {"vfmadd zmm", f32_avx512, chains(16)};
    if (table.starts_with("AVX2")) return {"vfmadd ymm", f32_avx2, chains(8)};
    return {"mulps addps xmm", f32_sse4, chains(4)};
  }
  if (bf16) {
    if (table == "AVX3_BF16") return {"vdpbf16ps zmm", bf16_avx512, chains(32, 20)};
    return {};
  }
  if (table == "AVX3_VNNI" || table == "AVX3_BF16") return {"vpdpbusd zmm", int8_vnni512, chains(64)};
  if (table.starts_with("AVX3")) return {"vpmaddubsw zmm", int8_avx512, chains(64)};
  if (table == "AVX2_VNNI") return {"vpdpbusd ymm", int8_vnni256, chains(32)};
  if (table == "AVX2") return {"vpmaddubsw ymm", int8_avx2, chains(32)};
  return {"pmaddubsw xmm", int8_sse4, chains(16)};
#else
  if (f32) return {"fmla 128", f32_128, chains(4)};
#if defined(__aarch64__)
  if (!bf16 && table.ends_with("_DOT")) return {"sdot 128", int8_sdot, chains(16, 20)};
#endif
  static_cast<void>(table), static_cast<void>(bf16);
  return {};
#endif
}

arithmetic arithmetic_of(const ocellus::kernels& table, ocellus::weight_format format) {
  if (table.mode == ocellus::precision::exact) return arithmetic::f32;
  arithmetic what = arithmetic::f32;
  // A table without int8 kernels asks for no room for rounded inputs.
  if (is_quantized(format) && table.scratch_bytes_per_value != 0) what = arithmetic::int8;
  if (format == ocellus::weight_format::bf16) what = arithmetic::bf16;
  return peak_of(table.name, what).run != nullptr ? what : arithmetic::f32;
}

double measure_peak(const ocellus::task_hooks& tasks, const peak& p) {
  if (p.run == nullptr) return 0;
  struct call {
    void (*run)(volatile float*);
    volatile float sinks[64 * 64];  // a line for each task
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
  return p.operations * tasks.workers / seconds;
}

}  // namespace ocellus_bench
