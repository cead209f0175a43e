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

/// 12 chains of STEP(accumulator), which uses x and y. The empty assembler hides that all chains compute the same.
#define BENCH_HIDE(v) __asm__("" : "+x"(v))
#define BENCH_DOT(name, flags, vec, operand, STEP)                                                 \
  BENCH_TARGET(flags) void name(volatile float* sink) {                                            \
    operand x = {}, y = {};                                                                        \
    vec a0 = {}, a1 = {}, a2 = {}, a3 = {}, a4 = {}, a5 = {};                                      \
    vec a6 = {}, a7 = {}, a8 = {}, a9 = {}, aa = {}, ab = {};                                      \
    BENCH_HIDE(x); BENCH_HIDE(y);                                                                  \
    for (int i = 0; i < steps; ++i) {                                                              \
      BENCH_HIDE(a0); BENCH_HIDE(a1); BENCH_HIDE(a2); BENCH_HIDE(a3);                              \
      BENCH_HIDE(a4); BENCH_HIDE(a5); BENCH_HIDE(a6); BENCH_HIDE(a7);                              \
      BENCH_HIDE(a8); BENCH_HIDE(a9); BENCH_HIDE(aa); BENCH_HIDE(ab);                              \
      STEP(a0) STEP(a1) STEP(a2) STEP(a3) STEP(a4) STEP(a5)                                        \
      STEP(a6) STEP(a7) STEP(a8) STEP(a9) STEP(aa) STEP(ab)                                        \
    }                                                                                              \
    BENCH_HIDE(a0); BENCH_HIDE(a1); BENCH_HIDE(a2); BENCH_HIDE(a3);                                \
    BENCH_HIDE(a4); BENCH_HIDE(a5); BENCH_HIDE(a6); BENCH_HIDE(a7);                                \
    BENCH_HIDE(a8); BENCH_HIDE(a9); BENCH_HIDE(aa); BENCH_HIDE(ab);                                \
    *sink = 0;                                                                                     \
  }

#if defined(__x86_64__)
BENCH_F32(f32_sse4, "sse4.2", 16)
BENCH_F32(f32_avx2, "avx2,fma", 32)
BENCH_F32(f32_avx512, "avx512f", 64)

// Bytes by bytes to sums of 32 bits, in three instructions.
#define STEP_128(a) { __m128i p = _mm_maddubs_epi16(x, y); BENCH_HIDE(p); a = _mm_add_epi32(a, _mm_madd_epi16(p, x)); }
#define STEP_256(a) { __m256i p = _mm256_maddubs_epi16(x, y); BENCH_HIDE(p); a = _mm256_add_epi32(a, _mm256_madd_epi16(p, x)); }
#define STEP_512(a) { __m512i p = _mm512_maddubs_epi16(x, y); BENCH_HIDE(p); a = _mm512_add_epi32(a, _mm512_madd_epi16(p, x)); }
BENCH_DOT(int8_sse4, "sse4.2", __m128i, __m128i, STEP_128)
BENCH_DOT(int8_avx2, "avx2", __m256i, __m256i, STEP_256)
BENCH_DOT(int8_avx512, "avx512f,avx512bw", __m512i, __m512i, STEP_512)

#define STEP_VNNI_256(a) a = _mm256_dpbusd_avx_epi32(a, x, y);
#define STEP_VNNI_512(a) a = _mm512_dpbusd_epi32(a, x, y);
#define STEP_BF16_512(a) a = _mm512_dpbf16_ps(a, (__m512bh)x, (__m512bh)y);
BENCH_DOT(int8_vnni256, "avx2,avxvnni", __m256i, __m256i, STEP_VNNI_256)
BENCH_DOT(int8_vnni512, "avx512f,avx512vnni", __m512i, __m512i, STEP_VNNI_512)
BENCH_DOT(bf16_avx512, "avx512f,avx512bf16", __m512, __m512i, STEP_BF16_512)
#else
BENCH_F32(f32_128, "", 16)
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
  const auto chains = [](int values) { return 2.0 * steps * 12 * values; };
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
    if (table == "AVX3_BF16") return {"vdpbf16ps zmm", bf16_avx512, chains(32)};
    return {};
  }
  if (table == "AVX3_VNNI" || table == "AVX3_BF16") return {"vpdpbusd zmm", int8_vnni512, chains(64)};
  if (table.starts_with("AVX3")) return {"vpmaddubsw zmm", int8_avx512, chains(64)};
  if (table == "AVX2_VNNI") return {"vpdpbusd ymm", int8_vnni256, chains(32)};
  if (table == "AVX2") return {"vpmaddubsw ymm", int8_avx2, chains(32)};
  return {"pmaddubsw xmm", int8_sse4, chains(16)};
#else
  static_cast<void>(table), static_cast<void>(bf16);
  if (f32) return {"fmla 128", f32_128, chains(4)};
  return {};
#endif
}

arithmetic arithmetic_of(const ocellus::kernels& table, ocellus::weight_format format) {
  if (table.mode == ocellus::precision::exact) return arithmetic::f32;
  arithmetic what = arithmetic::f32;
  if (is_quantized(format)) what = arithmetic::int8;
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
