// The list of CPU tables, their memory, and the promise that results do not depend on who works.
#include <doctest/doctest.h>

#include <atomic>
#include <iostream>
#include <thread>

#include "support/counting_memory.hpp"
#include "support/kernel_fixtures.hpp"

using namespace ocellus_tests;

TEST_CASE("cpu: every target that this processor has is in the list, and tests run it") {
  const auto tables = ocellus::cpu_kernels();
  REQUIRE(tables.size() != 0);
  CHECK(tables[0] == &ocellus::reference_kernels());
  std::string names;
  for (const ocellus::kernels* table : tables) names += std::string(names.empty() ? "" : " ") + table->name;
  std::cout << "CPU tables tested: " << names << std::endl;
  CAPTURE(names);
  const auto has = [&](const char* name) { return ocellus::find_cpu_kernels(name) != nullptr; };
#if defined(OCELLUS_STATIC_DISPATCH)
  CHECK(tables.size() <= 2);
#elif defined(__x86_64__)
  // What the compiler's flags promise already has no slower table beside it.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#if !defined(__SSSE3__)
  CHECK(has("SSE4") == static_cast<bool>(__builtin_cpu_supports("sse4.2")));
#endif
#if !defined(__AVX2__)
  CHECK(has("AVX2") == avx2);
#endif
  CHECK((std::string(tables.back()->name).rfind("AVX3", 0) == 0) == (avx2 && avx512));
  const bool bf16 =
      avx2 && avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
  CHECK((ocellus::find_cpu_kernels("AVX3_BF16", ocellus::precision::fast) != nullptr) == bf16);
  CHECK(!has("AVX3_BF16"));  // nothing in it is exact
#elif defined(__aarch64__)
  CHECK((has("NEON") || has("NEON_WITHOUT_AES")));
#endif
  static_cast<void>(has);
}

TEST_CASE("cpu: tables are found by name, the fastest without one, and none by a name that is none") {
  const auto tables = ocellus::cpu_kernels();
  for (const ocellus::kernels* table : tables) CHECK(ocellus::find_cpu_kernels(table->name) == table);
  CHECK(ocellus::find_cpu_kernels("") == tables.back());
  CHECK(ocellus::find_cpu_kernels("reference") == &ocellus::reference_kernels());
  for (const char* name : {"avx2", "AVX", "AVX2 ", "x"}) CHECK(ocellus::find_cpu_kernels(name) == nullptr);
}

TEST_CASE("cpu: memory is the host's, zeroed and aligned, and all of it comes back") {
  counting_memory memory;
  ocellus::host hooks;
  hooks.memory = memory.hooks();
  ocellus::context ctx(hooks);
  for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
    for (std::uint64_t bytes : {0u, 1u, 64u, 65u, 100000u}) {
      ocellus::buffer b = table->allocate(ctx, bytes);
      REQUIRE(b.handle != nullptr);
      CHECK(b.bytes == bytes);
      CHECK(reinterpret_cast<std::uintptr_t>(b.handle) % 64 == 0);
      const auto* p = static_cast<const unsigned char*>(b.handle);
      CHECK(std::all_of(p, p + bytes, [](unsigned char c) { return c == 0; }));
      table->release(ctx, b);
      CHECK(b.handle == nullptr);
      table->release(ctx, b);  // nothing to release
    }
    CHECK(memory.live() == 0);
  }
  CHECK(!ctx.failed());
}

TEST_CASE("cpu: large blocks of the default host are zeroed too, also where a dirty one was before") {
  ocellus::context ctx;
  const ocellus::kernels& table = ocellus::reference_kernels();
  for (const std::uint64_t bytes : {(4u << 20) - 64, 4u << 20, (4u << 20) + 1, 9u << 20}) {
    for (int time = 0; time < 3; ++time) {
      ocellus::buffer b = table.allocate(ctx, bytes);
      REQUIRE(b.handle != nullptr);
      auto* p = static_cast<unsigned char*>(b.handle);
      CHECK(std::all_of(p, p + bytes, [](unsigned char c) { return c == 0; }));
      std::fill_n(p, bytes, static_cast<unsigned char>(7));
      table.release(ctx, b);
    }
  }
  CHECK(!ctx.failed());
}

TEST_CASE("cpu: memory that cannot be had is a sticky out_of_memory, not a crash") {
  counting_memory memory;
  ocellus::host hooks;
  hooks.memory = memory.hooks();
  const ocellus::kernels& table = ocellus::reference_kernels();
  ocellus::context ctx(hooks);
  memory.fail(1, counting_memory::failing::once);
  CHECK(table.allocate(ctx, 100).handle == nullptr);
  CHECK(ctx.failure() == ocellus::error_code::out_of_memory);
  ctx.clear_failure();
  CHECK(table.allocate(ctx, ~std::uint64_t{0}).handle == nullptr);
  CHECK(ctx.failure() == ocellus::error_code::out_of_memory);
}

TEST_CASE("cpu: upload and download move rows without gaps and keep tails zero") {
  ocellus::context ctx;
  for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
    rows m(3, 70, 64);
    const std::vector<float> values = random_values(3 * 70, 1);
    table->upload(ctx, values.data(), m.matrix());
    CHECK(m.same_bits(rows::of(3, 70, values)));
    CHECK(m.tails_are_zero());
    std::vector<float> back(values.size() + 1, poison);
    table->download(ctx, m.matrix(), back.data());
    CHECK(std::equal(values.begin(), values.end(), back.begin()));
    CHECK(std::isnan(back.back()));
    const ocellus::buffer wrapped = table->wrap(ctx, values.data(), 280);
    CHECK(wrapped.handle == values.data());
  }
}

namespace {

/// Hosts that run the tasks of a region in different ways.
void reversed(void*, std::uint32_t tasks, void (*run)(void*, std::uint32_t, std::uint32_t), void* arg) {
  while (tasks-- > 0) run(arg, tasks, 0);
}
void threaded(void* context, std::uint32_t tasks, void (*run)(void*, std::uint32_t, std::uint32_t),
              void* arg) {
  const std::uint32_t workers = *static_cast<std::uint32_t*>(context);
  std::atomic<std::uint32_t> next{0};
  std::vector<std::thread> threads;
  for (std::uint32_t worker = 0; worker < workers; ++worker) {
    threads.emplace_back([&, worker] {
      for (std::uint32_t task = next++; task < tasks; task = next++) run(arg, task, worker);
    });
  }
  for (std::thread& t : threads) t.join();
}

/// Every entry once, small and large; all outputs in one row of numbers.
std::vector<float> everything(const ocellus::kernels& table, const ocellus::host& hooks) {
  std::vector<float> all;
  const auto keep = [&](const rows& out) {
    for (std::uint32_t r = 0; r < out.count(); ++r)
      all.insert(all.end(), out.row(r), out.row(r) + out.cols());
  };
  const std::uint32_t k = 320, n = 200, most_rows = 210;
  kernel_run run(table, hooks, std::uint64_t{most_rows} * k);
  for (std::uint32_t t : {1u, 3u, 40u, most_rows}) {
    const rows x = rows::random(t, k, t), bias = rows::random(1, k, 1), weight = rows::random(1, k, 2);
    for (auto format : ocellus::weight_formats) {
      const packed_weight a(format, n, k, random_values(n * k, 3)),
          b(format, 33, k, random_values(33 * k, 4));
      rows out_a(t, n), out_b(t, 33);
      ocellus::linear_output outputs[2];
      outputs[0].weight = a.matrix(), outputs[0].out = out_a.matrix();
      outputs[0].act = ocellus::activation::gelu;
      outputs[1].weight = b.matrix(), outputs[1].out = out_b.matrix();
      table.linear(run.context, x.matrix(), outputs, 2);
      keep(out_a);
      keep(out_b);
    }
    rows normed(t, k);
    table.layer_norm(run.context, {x.matrix(), weight.matrix(), bias.matrix(), 1e-6f, normed.matrix()});
    keep(normed);
    table.rms_norm(run.context, {x.matrix(), weight.matrix(), {}, 1e-6f, normed.matrix()});
    keep(normed);
    table.add(run.context, x.matrix(), x.matrix(), normed.matrix());
    keep(normed);

    const std::uint32_t heads = 4, size = 80, keys = 300;
    const rows kv = rows::random(keys * heads, size, 5, 0);
    ocellus::attention_sequence s;
    s.rows = t;
    s.position = keys - t;
    s.segments[0] = {{kv.row(0), 0, ocellus::dtype::f32, keys, size, 128},
                     {kv.row(0), 0, ocellus::dtype::f32, keys, size, 128},
                     std::uint64_t{128} * keys};
    s.segment_count = 1;
    rows out(t, k);
    for (bool causal : {false, true}) {
      table.attention(run.context, {x.matrix(), out.matrix(), heads, size, 0.1f, causal, &s, 1});
      keep(out);
    }
    // Through a cache of the table's own type; the largest heads, so that few rows make several tasks.
    const std::uint32_t large = 256, rows_of_large = t == 40 ? 300 : t;
    std::vector<std::byte> cache(std::size_t{2} * rows_of_large * large * sizeof(float));
    const std::uint64_t half = cache.size() / 2;
    s = {0, rows_of_large, 0, {}, 1};
    s.segments[0] = {{cache.data(), 0, table.cache_type, rows_of_large, large, large},
                     {cache.data(), half, table.cache_type, rows_of_large, large, large},
                     0};
    const rows qkv = rows::random(rows_of_large, 3 * large, 6);
    rows q(rows_of_large, large), mixed(rows_of_large, large);
    ocellus::rotary_append_args append;
    append.qkv = qkv.matrix();
    append.heads = 1;
    append.head_size = large;
    append.q_out = q.matrix();
    append.sequences = &s;
    append.sequence_count = 1;
    table.rotary_append(run.context, append);
    keep(q);
    table.attention(run.context, {q.matrix(), mixed.matrix(), 1, large, 0.1f, true, &s, 1});
    keep(mixed);
  }
  CHECK(!run.context.failed());
  return all;
}

}  // namespace

TEST_CASE("cpu: results have the same bits for any number of workers and any order of tasks") {
  const auto check = [](const ocellus::kernels& table) {
    const std::vector<float> alone = everything(table, {});
    ocellus::host hooks;
    hooks.tasks.parallel_for = reversed;
    CHECK(everything(table, hooks) == alone);
    for (std::uint32_t workers : {2u, 3u, 7u}) {
      CAPTURE(workers);
      hooks.tasks = {&workers, threaded, workers};
      CHECK(everything(table, hooks) == alone);
    }
  };
  for (const auto mode : {ocellus::precision::exact, ocellus::precision::fast}) {
    // (The reference is slow, and trivial.)
    if (ocellus::cpu_kernels(mode).size() == 1) check(ocellus::reference_kernels(mode));
    for_each_target(check, mode);
  }
}

TEST_CASE("cpu: a host that wants to stop is asked in every entry, and the call is marked as cancelled") {
  const std::uint32_t t = 20, k = 128;
  const rows x = rows::random(t, k, 1), vector = rows::random(1, k, 2);
  const packed_weight w(ocellus::weight_format::f32, 256, k, random_values(256 * k, 3));
  for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
    CAPTURE(std::string(table->name));
    ocellus::host hooks;
    hooks.stop = {nullptr, [](void*) { return true; }};
    kernel_run run(*table, hooks);
    rows out(t, 256), same(t, k);
    ocellus::linear_output o;
    o.weight = w.matrix();
    o.out = out.matrix();
    table->linear(run.context, x.matrix(), &o, 1);
    CHECK(run.context.failure() == ocellus::error_code::cancelled);
    CHECK(std::isnan(out.row(0)[0]));
    run.context.clear_failure();
    table->layer_norm(run.context, {x.matrix(), vector.matrix(), vector.matrix(), 1e-6f, same.matrix()});
    CHECK(run.context.failure() == ocellus::error_code::cancelled);
    run.context.clear_failure();
    table->add(run.context, x.matrix(), x.matrix(), same.matrix());
    CHECK(run.context.failure() == ocellus::error_code::cancelled);
    CHECK(std::isnan(same.row(0)[0]));
  }
}
