// The scalar reference against numbers worked out by hand, so that the oracle is not only its own witness.
#include <doctest/doctest.h>

#include "support/kernel_fixtures.hpp"

using namespace ocellus_tests;

TEST_CASE("reference: linear is act(x W^T + bias) + residual") {
  // W = [[1, 2], [3, 4]], x = [5, 6], bias = [0.5, -1], residual = [100, 200]
  const packed_weight w(ocellus::weight_format::f32, 2, 2, {1, 2, 3, 4});
  const rows x = rows::of(1, 2, {5, 6}), bias = rows::of(1, 2, {0.5f, -1}),
             residual = rows::of(1, 2, {100, 200});
  rows out(1, 2);
  kernel_run run(ocellus::reference_kernels());
  ocellus::linear_output o;
  o.weight = w.matrix();
  o.out = out.matrix();
  ocellus::reference_kernels().linear(run.context, x.matrix(), &o, 1);
  CHECK(out.row(0)[0] == 17);
  CHECK(out.row(0)[1] == 39);
  o.bias = bias.matrix();
  o.residual = residual.matrix();
  ocellus::reference_kernels().linear(run.context, x.matrix(), &o, 1);
  CHECK(out.row(0)[0] == 117.5f);
  CHECK(out.row(0)[1] == 238);
  CHECK(out.tails_are_zero());
}

TEST_CASE("reference: activations have their textbook values") {
  // x Phi(x) at 1: Phi(1) = 0.8413447460685429; at -3: Phi(-3) = 0.0013498980316300933.
  // The tanh form at 1: tanh(sqrt(2/pi) 1.044715) = 0.6823833...; known value 0.8411919906.
  const packed_weight one(ocellus::weight_format::f32, 1, 1, {1});
  const rows x = rows::of(4, 1, {1, -3, 0, 30});
  rows out(4, 1);
  kernel_run run(ocellus::reference_kernels());
  ocellus::linear_output o;
  o.weight = one.matrix();
  o.out = out.matrix();
  o.act = ocellus::activation::gelu;
  ocellus::reference_kernels().linear(run.context, x.matrix(), &o, 1);
  CHECK(out.row(0)[0] == doctest::Approx(0.8413447460685429).epsilon(1e-7));
  CHECK(out.row(1)[0] == doctest::Approx(-3 * 0.0013498980316300933).epsilon(1e-6));
  CHECK(out.row(2)[0] == 0);
  CHECK(out.row(3)[0] == 30);
  o.act = ocellus::activation::gelu_tanh;
  ocellus::reference_kernels().linear(run.context, x.matrix(), &o, 1);
  CHECK(out.row(0)[0] == doctest::Approx(0.8411919906082768).epsilon(1e-7));
  CHECK(out.row(2)[0] == 0);
  CHECK(out.row(3)[0] == 30);
}

TEST_CASE("reference: the norms divide by the biased deviation and by the root mean square") {
  // x = [1, 3]: mean 2, variance 1; root mean square sqrt(5).
  const rows x = rows::of(1, 2, {1, 3}), weight = rows::of(1, 2, {10, 100}), add = rows::of(1, 2, {7, 8});
  rows out(1, 2);
  kernel_run run(ocellus::reference_kernels());
  ocellus::reference_kernels().layer_norm(run.context,
                                          {x.matrix(), weight.matrix(), add.matrix(), 0, out.matrix()});
  CHECK(out.row(0)[0] == -3);
  CHECK(out.row(0)[1] == 108);
  ocellus::reference_kernels().layer_norm(run.context,
                                          {x.matrix(), weight.matrix(), add.matrix(), 3, out.matrix()});
  CHECK(out.row(0)[0] == 2);  // deviation sqrt(1 + 3)
  ocellus::reference_kernels().rms_norm(run.context,
                                        {x.matrix(), weight.matrix(), add.matrix(), 0, out.matrix()});
  CHECK(out.row(0)[0] == doctest::Approx(10 / std::sqrt(5.0) + 7).epsilon(1e-6));
  CHECK(out.row(0)[1] == doctest::Approx(300 / std::sqrt(5.0) + 8).epsilon(1e-6));
}

TEST_CASE("reference: attention mixes values by the softmax of scaled scores, causal from its position on") {
  // Scores of q = 1 with k = 0 and ln 3 are 1 : 3; values 8 and 16 mix to 14. Causal at position 0: the first alone.
  const rows q = rows::of(2, 1, {1, 2});
  float k[] = {0, 1.0986122886681098f}, v[] = {8, 16};
  ocellus::attention_sequence s;
  s.rows = 2;
  s.segments[0] = {{k, 0, ocellus::dtype::f32, 2, 1, 1}, {v, 0, ocellus::dtype::f32, 2, 1, 1}, 2};
  s.segment_count = 1;
  rows out(2, 1);
  kernel_run run(ocellus::reference_kernels());
  ocellus::attention_args args{q.matrix(), out.matrix(), 1, 1, 1.0f, false, &s, 1};
  ocellus::reference_kernels().attention(run.context, args);
  CHECK(out.row(0)[0] == doctest::Approx(14).epsilon(1e-6));
  CHECK(out.row(1)[0] == doctest::Approx(8 * 0.1 + 16 * 0.9).epsilon(1e-6));  // 1 : 9
  args.causal = true;
  ocellus::reference_kernels().attention(run.context, args);
  CHECK(out.row(0)[0] == 8);
  CHECK(out.row(1)[0] == doctest::Approx(8 * 0.1 + 16 * 0.9).epsilon(1e-6));
  args.scale = 0;  // all keys alike
  ocellus::reference_kernels().attention(run.context, args);
  CHECK(out.row(1)[0] == 12);
}

TEST_CASE("reference: rotary_append rotates the halves of the leading part and keeps the rest") {
  // One head of 6 values, 4 of them rotated by 90 degrees: (a, b | c, d) becomes (-c, -d | a, b).
  const rows qkv = rows::of(1, 18, {1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16, 21, 22, 23, 24, 25, 26});
  const rows cosines = rows::of(1, 2, {0, 0}), sines = rows::of(1, 2, {1, 1});
  float k[6], v[6];
  ocellus::attention_sequence s;
  s.rows = 1;
  s.segments[0] = {{k, 0, ocellus::dtype::f32, 1, 6, 6}, {v, 0, ocellus::dtype::f32, 1, 6, 6}, 6};
  s.segment_count = 1;
  rows q(1, 6);
  ocellus::rotary_append_args args;
  args.qkv = qkv.matrix();
  args.heads = 1;
  args.head_size = 6;
  args.rotary_size = 4;
  args.cosines = cosines.matrix();
  args.sines = sines.matrix();
  args.q_out = q.matrix();
  args.sequences = &s;
  args.sequence_count = 1;
  kernel_run run(ocellus::reference_kernels());
  ocellus::reference_kernels().rotary_append(run.context, args);
  const float right[] = {-3, -4, 1, 2, 5, 6};
  for (int i = 0; i < 6; ++i) {
    CHECK(q.row(0)[i] == right[i]);
    CHECK(k[i] == (i < 4 ? right[i] + (i < 2 ? -10.0f : 10.0f) : right[i] + 10.0f));
    CHECK(v[i] == static_cast<float>(21 + i));
  }
}
