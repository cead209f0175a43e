// attention() of every target against the scalar reference.
#include <doctest/doctest.h>

#include "support/kernel_fixtures.hpp"

using namespace ocellus_tests;

namespace {

struct test_case {
  std::uint32_t heads, size, rows, keys;
  bool causal;
  std::uint32_t prefix = 0;  ///< keys of a segment in front
  float spread = 1.0f;       ///< deviation of q: large values make one key win
};

/// Keys or values of `count` positions, each head alone in a block that ends with its last value; NaN between heads.
struct side {
  side(ocellus::dtype element_type, std::uint32_t heads, std::uint32_t count, std::uint32_t size,
       unsigned seed)
      : type(element_type), head_stride(std::uint64_t{count} * size + 3), row(size) {
    const std::size_t elements = heads * head_stride - 3;
    bytes.resize(elements * (ocellus::bits_of(type) / 8));
    for (std::size_t i = 0; i < elements; ++i) set(i, poison);
    const std::vector<float> random = random_values(std::size_t{heads} * count * size, seed);
    for (std::uint32_t h = 0; h < heads; ++h) {
      for (std::size_t i = 0; i < std::size_t{count} * size; ++i)
        set(h * head_stride + i, random[std::size_t{h} * count * size + i]);
    }
  }
  void set(std::size_t element, float value) {
    if (type == ocellus::dtype::f32) {
      std::memcpy(bytes.data() + element * sizeof(float), &value, sizeof(float));
    } else {
      const ocellus::f16 half = ocellus::to_f16(value);
      std::memcpy(bytes.data() + element * sizeof half, &half, sizeof half);
    }
  }
  ocellus::dtype type;
  std::uint64_t head_stride;
  std::uint32_t row;
  std::vector<std::byte> bytes;
};

struct segment {
  segment(std::uint32_t heads, std::uint32_t positions, std::uint32_t head_size, unsigned seed,
          ocellus::dtype type = ocellus::dtype::f32)
      : k(type, heads, positions, head_size, seed),
        v(type, heads, positions, head_size, seed + 1),
        count(positions),
        size(head_size) {}
  ocellus::kv_segment view() {
    return {{k.bytes.data(), 0, k.type, count, size, size},
            {v.bytes.data(), 0, v.type, count, size, size},
            k.head_stride};
  }
  side k, v;
  std::uint32_t count, size;
};

rows run(const ocellus::kernels& table, const ocellus::attention_args& args) {
  rows out(args.q.rows, args.q.cols, 64);
  ocellus::attention_args copy = args;
  copy.out = out.matrix();
  kernel_run context(table);
  table.attention(context.context, copy);
  CHECK(!context.context.failed());
  CHECK(out.tails_are_zero());
  return out;
}

/// Does a call with so many rows take the bf16 way?
bool multiplies_bf16(const ocellus::kernels& table, std::uint32_t row_count) {
  const std::string name = table.name;
  const bool has_bf16 = name.find("_BF16") != std::string::npos || name.find("_AMX") != std::string::npos;
  return table.mode == ocellus::precision::fast && row_count > 3 && has_bf16;
}

/// How far off a result in f32 may be. A score of D products of size `spread`, each off by a few ulp, is off by about
/// spread times that (its deviation spread * sqrt(D), times the scale), which is the relative error of its weight; values
/// are of size 1, a few of them larger.
double f32_tolerance(const test_case& c) {
  return f32_ulp * (6 + 1 + static_cast<double>(c.spread) * std::sqrt(static_cast<double>(c.size)) / 4) * 4;
}

/// Deviations of the results when q, k, weights and values are rounded to bf16, each off by u = 2^-8 / sqrt(3) of itself
/// (uniform, relative to its power of two): that of a score is u * scale * sqrt(2 sum (q k)^2), which is the relative one of
/// its weight, beside the weight's own u. With weights p and results o, sum p^2 ((v - o)^2 (score^2 + u^2) + v^2 u^2).
rows bf16_deviations(const ocellus::attention_args& args, const rows& results) {
  const ocellus::attention_sequence& s = *args.sequences;
  const std::uint32_t size = args.head_size;
  const double u = 0x1p-8 / std::sqrt(3.0), scale = static_cast<double>(args.scale);
  const auto element = [](const ocellus::matrix& m, std::uint64_t i) {
    return static_cast<double>(
        ocellus::load_as_f32(m.type, static_cast<const std::byte*>(m.handle) + m.offset, i));
  };
  rows deviations(results.count(), results.cols());
  for (std::uint32_t r = 0; r < s.rows; ++r) {
    for (std::uint32_t h = 0; h < args.heads; ++h) {
      const float* q =
          static_cast<const float*>(args.q.handle) + (s.first_row + r) * args.q.stride + h * size;
      std::vector<double> variance(size);
      double total = 0;
      std::uint32_t position = 0;
      for (std::uint32_t i = 0; i < s.segment_count; ++i) {
        const ocellus::kv_segment& segment = s.segments[i];
        for (std::uint32_t p = 0; p < segment.k.rows; ++p, ++position) {
          if (args.causal && position > s.position + r) continue;
          double score = 0, squares = 0;
          for (std::uint32_t d = 0; d < size; ++d) {
            const double product = static_cast<double>(q[d]) *
                                   element(segment.k, h * segment.head_stride + p * segment.k.stride + d);
            score += product;
            squares += product * product;
          }
          const double weight = std::exp(score * scale), of_score = 2 * squares * scale * scale + 1;
          total += weight;
          for (std::uint32_t d = 0; d < size; ++d) {
            const double v = element(segment.v, h * segment.head_stride + p * segment.v.stride + d);
            const double off = v - static_cast<double>(results.row(s.first_row + r)[h * size + d]);
            variance[d] += weight * weight * u * u * (off * off * of_score + v * v);
          }
        }
      }
      for (std::uint32_t d = 0; d < size; ++d) {
        deviations.row(s.first_row + r)[h * size + d] = static_cast<float>(std::sqrt(variance[d]) / total);
      }
    }
  }
  return deviations;
}

void check(const test_case& c, ocellus::precision mode, ocellus::dtype type) {
  CAPTURE(ocellus::name_of(type));
  CAPTURE(c.heads);
  CAPTURE(c.size);
  CAPTURE(c.rows);
  CAPTURE(c.keys);
  CAPTURE(c.causal);
  CAPTURE(c.prefix);
  rows q = rows::random(c.rows, c.heads * c.size, 1, 64);
  for (std::uint32_t r = 0; r < c.rows; ++r) {
    for (std::uint32_t i = 0; i < c.heads * c.size; ++i) q.row(r)[i] *= c.spread;
  }
  segment prefix(c.heads, (std::max)(c.prefix, 1u), c.size, 2, type), tail(c.heads, c.keys, c.size, 4, type);
  ocellus::attention_sequence sequence;
  sequence.rows = c.rows;
  sequence.position = c.prefix + c.keys - (std::min)(c.rows, c.prefix + c.keys);
  if (c.prefix != 0) sequence.segments[sequence.segment_count++] = prefix.view();
  sequence.segments[sequence.segment_count++] = tail.view();
  ocellus::attention_args args;
  args.q = q.matrix();
  args.heads = c.heads;
  args.head_size = c.size;
  args.scale = 1 / std::sqrt(static_cast<float>(c.size));
  args.causal = c.causal;
  args.sequences = &sequence;
  args.sequence_count = 1;
  const rows expected = run(ocellus::reference_kernels(), args);
  const rows deviations =
      c.rows > 3 && mode == ocellus::precision::fast ? bf16_deviations(args, expected) : rows();
  for_each_target(
      [&](const ocellus::kernels& table) {
        const rows got = run(table, args);
        // The worst of 10^5 outputs is 4.5 deviations off.
        const bool bf16 = multiplies_bf16(table, c.rows);
        const auto tolerance = [&](std::uint32_t row, std::uint32_t column) {
          return f32_tolerance(c) + (bf16 ? 4.5 * static_cast<double>(deviations.row(row)[column]) : 0.0);
        };
        CHECK(worst_ratio(got, expected, tolerance) <= 1.0);
      },
      mode);
}

/// Exact with an f32 cache, fast with an f16 one and, as the ViT has it, with f32 keys.
void check(const test_case& c) {
  check(c, ocellus::precision::exact, ocellus::dtype::f32);
  check(c, ocellus::precision::fast, ocellus::dtype::f32);
  check(c, ocellus::precision::fast, ocellus::dtype::f16);
}

}  // namespace

TEST_CASE("kernels: attention over all keys agrees with the reference at the model's head sizes") {
  for (std::uint32_t size : {64u, 80u, 88u}) {
    for (std::uint32_t t : {1u, 2u, 3u, 4u, 31u, 32u, 33u, 64u, 65u}) check({2, size, t, 64, false});
  }
  for (std::uint32_t keys : {1u, 15u, 16u, 17u, 127u, 128u, 129u, 257u}) {
    check({1, 88, 5, keys, false});
    check({1, 80, 1, keys, false});
  }
}

TEST_CASE("kernels: attention takes odd head sizes and reads nothing beside a head") {
  for (std::uint32_t size : {1u, 3u, 4u, 7u, 8u, 12u, 16u, 20u, 33u, 100u, 256u}) {
    check({3, size, 1, 20, true});
    check({3, size, 6, 20, false});
  }
}

TEST_CASE("kernels: causal attention hides what comes later") {
  for (std::uint32_t t : {1u, 2u, 3u, 4u, 5u, 16u, 17u, 33u, 64u, 100u, 130u}) {
    check({2, 80, t, t, true});        // a prompt from its beginning
    check({1, 80, t, t + 131, true});  // after what is in the cache
  }
}

TEST_CASE("kernels: attention runs over a prefix and a tail as over one sequence of keys") {
  for (std::uint32_t prefix : {1u, 127u, 128u, 130u}) {
    check({2, 80, 1, 9, true, prefix});
    check({2, 80, 9, 9, true, prefix});
    check({2, 64, 40, 50, false, prefix});
  }
}

TEST_CASE("kernels: attention survives large scores: one key takes all") {
  check({1, 64, 1, 300, false, 0, 30.0f});
  check({1, 64, 20, 300, false, 0, 30.0f});
  check({1, 80, 20, 300, true, 0, 30.0f});
}

TEST_CASE("kernels: attention at 64, 1025 and 2048 positions") {
  check({1, 88, 64, 64, false});
  check({1, 88, 1025, 1025, false});
  check({1, 80, 64, 2048, true});
  check({1, 80, 1, 2048, true});
  check({1, 88, 800, 300, false});  // more than one task of queries
  check({1, 256, 300, 310, true});
}

TEST_CASE("kernels: attention without keys is 0") {
  for (std::uint32_t t : {1u, 5u, 40u}) {
    const rows q = rows::random(t, 20, 1);
    ocellus::attention_sequence sequence;
    sequence.rows = t;
    for (std::uint32_t segments : {0u, 1u, 2u}) {
      sequence.segment_count = segments;
      for (const auto mode : {ocellus::precision::exact, ocellus::precision::fast}) {
        for (const ocellus::kernels* table : ocellus::cpu_kernels(mode)) {
          CAPTURE(std::string(table->name));
          const rows out = run(*table, {q.matrix(), {}, 1, 20, 0.25f, false, &sequence, 1});
          for (std::uint32_t r = 0; r < t; ++r)
            CHECK(std::all_of(out.row(r), out.row(r) + 20, [](float v) { return v == 0; }));
        }
      }
    }
  }
}

TEST_CASE("kernels: attention serves several sequences in one call, each its own keys") {
  const std::uint32_t heads = 2, size = 20;
  const rows q = rows::random(9, heads * size, 1);
  segment a(heads, 30, size, 2), b(heads, 12, size, 4), shared(heads, 7, size, 6);
  ocellus::attention_sequence sequences[3];
  sequences[0] = {0, 1, 29, {a.view(), {}}, 1};
  sequences[1] = {1, 6, 13, {shared.view(), b.view()}, 2};
  sequences[2] = {7, 2, 17, {shared.view(), a.view()}, 2};
  ocellus::attention_args args;
  args.q = q.matrix();
  args.heads = heads;
  args.head_size = size;
  args.scale = 0.25f;
  args.causal = true;
  args.sequences = sequences;
  args.sequence_count = 3;
  const rows expected = run(ocellus::reference_kernels(), args);
  ocellus::attention_args second = args;
  second.sequences = sequences + 1;
  const rows deviations = bf16_deviations(second, expected);
  for (const auto mode : {ocellus::precision::exact, ocellus::precision::fast}) {
    for_each_target(
        [&](const ocellus::kernels& table) {
          // The second sequence alone has rows enough for products of bf16.
          const auto tolerance = [&](std::uint32_t r, std::uint32_t column) {
            const bool bf16 = r >= 1 && r < 7 && multiplies_bf16(table, 6);
            return 16 * f32_ulp + (bf16 ? 4.5 * static_cast<double>(deviations.row(r)[column]) : 0.0);
          };
          CHECK(worst_ratio(run(table, args), expected, tolerance) <= 1.0);
        },
        mode);
  }
}

TEST_CASE("kernels: a NaN in one query or one key spoils what it touches and nothing else") {
  const std::uint32_t size = 16;
  for (std::uint32_t t : {2u, 20u}) {
    rows q = rows::random(t, size, 1);
    q.row(t - 1)[3] = poison;
    segment keys(1, 10, size, 2);
    ocellus::attention_sequence sequence{0, t, 0, {keys.view(), {}}, 1};
    ocellus::attention_args args;
    args.q = q.matrix();
    args.heads = 1;
    args.head_size = size;
    args.scale = 0.25f;
    args.sequences = &sequence;
    args.sequence_count = 1;
    for (const auto mode : {ocellus::precision::exact, ocellus::precision::fast}) {
      for_each_target(
          [&](const ocellus::kernels& table) {
            const rows out = run(table, args);
            for (std::uint32_t r = 0; r < t; ++r) {
              for (std::uint32_t d = 0; d < size; ++d) CHECK(std::isnan(out.row(r)[d]) == (r + 1 == t));
            }
          },
          mode);
    }
  }
}

TEST_CASE("kernels: infinity and NaN in a key or a value do not reach the rows that do not see it") {
  // Sizes of one span of keys and of several; the spoilt key is seen by the last `behind` + 1 rows.
  for (std::uint32_t t : {1u, 2u, 3u, 5u, 40u, 150u}) {
    for (std::uint32_t behind : {0u, 1u, 4u, 33u, 149u}) {
      if (behind >= t) continue;
      for (const bool in_values : {false, true}) {
        for (const float bad : {poison, std::numeric_limits<float>::infinity()}) {
          for (const auto type : {ocellus::dtype::f32, ocellus::dtype::f16}) {
            const std::uint32_t size = 20, keys = t + 70;
            const rows q = rows::random(t, size, 1);
            segment all(1, keys, size, 2, type);
            (in_values ? all.v : all.k).set(std::size_t{keys - 1 - behind} * size + 7, bad);
            ocellus::attention_sequence sequence{0, t, keys - t, {all.view(), {}}, 1};
            const ocellus::attention_args args{q.matrix(), {}, 1, size, 0.25f, true, &sequence, 1};
            for (const auto mode : {ocellus::precision::exact, ocellus::precision::fast}) {
              for (const ocellus::kernels* table : ocellus::cpu_kernels(mode)) {
                CAPTURE(std::string(table->name));
                const rows out = run(*table, args);
                std::uint32_t finite = 0, spoilt = 0;
                for (std::uint32_t r = 0; r < t; ++r) {
                  bool all_finite = true;
                  for (std::uint32_t d = 0; d < size; ++d)
                    all_finite = all_finite && std::isfinite(out.row(r)[d]);
                  finite += all_finite;
                  spoilt += !all_finite && r + behind + 1 >= t;
                }
                // A key of minus infinity for some row has the weight 0 there.
                CHECK(finite + spoilt == t);
                CHECK(finite >= t - 1 - behind);
                if (in_values || std::isnan(bad)) CHECK(spoilt == behind + 1);
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE(
    "kernels: attention gives a row the same bits however the rows of its sequence are cut into calls") {
  const std::uint32_t heads = 2, size = 40, row_count = 230, key_count = 500;
  const rows q = rows::random(row_count, heads * size, 30);
  for (const bool causal : {true, false}) {
    for (const auto type : {ocellus::dtype::f32, ocellus::dtype::f16}) {
      segment keys(heads, key_count, size, 31, type);
      ocellus::attention_args args;
      args.heads = heads;
      args.head_size = size;
      args.scale = 0.2f;
      args.causal = causal;
      args.sequence_count = 1;
      const auto compute = [&](const ocellus::kernels& table, std::uint32_t first, std::uint32_t count) {
        ocellus::attention_sequence sequence;
        sequence.rows = count;
        sequence.position = key_count - row_count + first;
        sequence.segments[0] = keys.view();
        sequence.segment_count = 1;
        args.q = q.matrix().slice(first, count);
        args.sequences = &sequence;
        return run(table, args);
      };
      const auto check_table = [&](const ocellus::kernels& table) {
        CAPTURE(causal);
        CAPTURE(ocellus::name_of(type));
        const rows whole = compute(table, 0, row_count);
        const std::uint32_t cuts[] = {0, 64, 128, 150, 166, row_count};
        for (std::size_t i = 0; i + 1 < std::size(cuts); ++i) {
          const rows part = compute(table, cuts[i], cuts[i + 1] - cuts[i]);
          std::uint32_t equal = 0;
          for (std::uint32_t r = 0; r < part.count(); ++r)
            equal += std::memcmp(part.row(r), whole.row(cuts[i] + r), heads * size * sizeof(float)) == 0;
          CHECK(equal == part.count());
        }
      };
      for_each_target(check_table, ocellus::precision::fast);
      if (type == ocellus::dtype::f32) for_each_target(check_table, ocellus::precision::exact);
    }
  }
}
