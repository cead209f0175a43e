// Sessions computed together, and sessions that begin with what another one has computed.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "ocellus/thread_pool.hpp"
#include "support/counting_memory.hpp"
#include "support/session_fixture.hpp"

using namespace ocellus_tests;
using ocellus::error_code;
using ocellus::host;
using ocellus::image_embedding;
using ocellus::kv_prefix;
using ocellus::session;
using ocellus::session_options;
using ocellus::step_state;
using ocellus::time_budget;

namespace {

constexpr std::chrono::nanoseconds no_time{0};

std::vector<float> logits_of(const session& s) { return {s.logits().begin(), s.logits().end()}; }

/// |a - b| / |b|
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double square = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    square += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  REQUIRE(norm > 0);
  return std::sqrt(square / norm);
}

std::uint32_t greedy(const session& s) {
  return static_cast<std::uint32_t>(std::max_element(s.logits().begin(), s.logits().end()) -
                                    s.logits().begin());
}

session beside(const session& first, const session_options& options = {}) {
  auto opened = session::open(first, options);
  INFO((opened ? std::string_view() : opened.error().message()));
  REQUIRE(opened);
  return std::move(*opened);
}

kv_prefix share(const session& s, std::uint32_t positions) {
  auto shared = s.share(positions);
  REQUIRE(shared);
  return std::move(*shared);
}

std::vector<session*> pointers(std::vector<session>& sessions) {
  std::vector<session*> all;
  for (session& s : sessions) all.push_back(&s);
  return all;
}

/// The first session of a batch and those beside it.
std::vector<session> open_batch(const ocellus::model& model, std::size_t count, session_options options = {},
                                const host& hooks = {}, ocellus::precision mode = ocellus::precision::exact) {
  options.mode = mode;
  std::vector<session> all;
  all.push_back(open_session(model, options, hooks));
  while (all.size() < count) all.push_back(beside(all[0], {.context = options.context}));
  return all;
}

/// What a batch computes: prompts of several lengths, one of them with a picture and one of several blocks of rows, then
/// tokens chosen greedily.
struct batch_run {
  std::vector<std::vector<float>> logits;
  std::vector<std::uint32_t> ids;
  int calls = 0;

  template <class Step>
  void run(std::span<session* const> sessions, const image_embedding& picture, const Step& step) {
    const std::size_t lengths[] = {5, 70, 1, 33};
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      const auto tokens = some_tokens(lengths[i % 4], static_cast<std::uint32_t>(i));
      REQUIRE(sessions[i]->append(tokens));
      if (i % 4 == 2) REQUIRE(sessions[i]->append(picture));
    }
    for (int round = 0; round < 4; ++round) {
      for (;; ++calls) {
        const ocellus::result<step_state> state = step();
        if (!state && state.error().code() == error_code::cancelled) continue;
        REQUIRE(state);
        if (*state == step_state::done) break;
      }
      for (session* s : sessions) {
        CHECK(s->position() == s->length());
        logits.push_back(logits_of(*s));
        ids.push_back(greedy(*s));
        REQUIRE(s->append(std::span<const std::uint32_t>(&ids.back(), 1)));
      }
    }
  }
  bool same_as(const batch_run& other) const {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (!same_bits(logits[i], other.logits[i])) return false;
    }
    return logits.size() == other.logits.size() && ids == other.ids;
  }
  /// Each of them computed alone.
  static batch_run alone(std::vector<session>& sessions, const image_embedding& picture) {
    batch_run made;
    const auto all = pointers(sessions);
    made.run(all, picture, [&]() -> ocellus::result<step_state> {
      for (session* s : all) OCELLUS_TRY(s->step());
      return step_state::done;
    });
    return made;
  }
  static batch_run together(std::vector<session>& sessions, const image_embedding& picture,
                            time_budget budget = {}) {
    batch_run made;
    const auto all = pointers(sessions);
    made.run(all, picture, [&] { return session::step(all, budget); });
    return made;
  }
};

image_embedding some_picture(const ocellus::model& model) {
  session s = open_exact(model);
  image_embedding e;
  REQUIRE(s.encode(tiny_picture().view, e));
  return e;
}

}  // namespace

TEST_CASE(
    "session: together is one after the other, but for rounding, on every target and at every size of a "
    "batch") {
  for (const auto format : {ocellus::weight_format::f32, ocellus::weight_format::q4}) {
    const tiny_model model({.format = format});
    const image_embedding picture = some_picture(model.get());
    for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
      for (const std::uint32_t batch : {1u, 2u, 3u, 8u}) {
        if (batch != 3 && table != ocellus::cpu_kernels().back()) continue;
        INFO(std::string(table->name) << ", memory for " << batch);
        session_options options;
        options.target = table->name;
        std::vector<session> each = open_batch(model.get(), 6, options);
        const batch_run expected = batch_run::alone(each, picture);
        options.batch = batch;
        std::vector<session> all = open_batch(model.get(), 6, options);
        const batch_run got = batch_run::together(all, picture);
        CHECK(got.ids == expected.ids);
        REQUIRE(got.logits.size() == expected.logits.size());
        for (std::size_t i = 0; i < got.logits.size(); ++i)
          CHECK(difference(got.logits[i], expected.logits[i]) < 2e-5);
        if (batch == 1) CHECK(got.same_as(expected));  // one at a time is the same computation
      }
    }
  }
}

TEST_CASE("session: together, the same bits with any workers and any budget, on every target") {
  const auto check = [](const tiny_model& model, const ocellus::kernels& table) {
    INFO(std::string(table.name));
    const image_embedding picture = some_picture(model.get());
    session_options options;
    options.target = table.name;
    options.batch = 5;
    std::vector<session> plain = open_batch(model.get(), 5, options, {}, table.mode);
    const batch_run expected = batch_run::together(plain, picture);
    CHECK(expected.calls == 0);
    for (const std::uint32_t workers : {2u, 3u, 7u}) {
      auto pool = ocellus::thread_pool::make(workers);
      REQUIRE(pool);
      host hooks;
      hooks.tasks = pool->hooks();
      std::vector<session> all = open_batch(model.get(), 5, options, hooks, table.mode);
      CHECK(batch_run::together(all, picture).same_as(expected));
    }
    std::vector<session> patient = open_batch(model.get(), 5, options, {}, table.mode);
    const batch_run piecewise = batch_run::together(patient, picture, no_time);
    CHECK(piecewise.calls > 50);
    CHECK(piecewise.same_as(expected));
  };
  const tiny_model model;
  for (const ocellus::kernels* table : ocellus::cpu_kernels()) check(model, *table);
  for (const auto format : {ocellus::weight_format::bf16, ocellus::weight_format::q4}) {
    const tiny_model packed({.format = format});
    for (const ocellus::kernels* table : ocellus::cpu_kernels(ocellus::precision::fast))
      check(packed, *table);
  }
}

TEST_CASE("session: together in fast precision is near one after the other, on every target") {
  const tiny_model model({.format = ocellus::weight_format::q4});
  const image_embedding picture = some_picture(model.get());
  for (const ocellus::kernels* table : ocellus::cpu_kernels(ocellus::precision::fast)) {
    INFO(std::string(table->name));
    session_options options;
    options.target = table->name;
    options.batch = 6;
    std::vector<session> each = open_batch(model.get(), 6, options, {}, table->mode);
    std::vector<session> all = open_batch(model.get(), 6, options, {}, table->mode);
    // The prompts alone: what is chosen after them may differ.
    const auto expected = batch_run::alone(each, picture), got = batch_run::together(all, picture);
    for (std::size_t i = 0; i < 6; ++i) CHECK(difference(got.logits[i], expected.logits[i]) < 4e-2);
  }
}

TEST_CASE("session: together, cancelled at any place, they go on to the same bits") {
  const tiny_model model;
  const image_embedding picture = some_picture(model.get());
  struct stopper {
    std::uint64_t polls = 0, at = UINT64_MAX;
    static bool stop(void* self) {
      auto& s = *static_cast<stopper*>(self);
      return ++s.polls == s.at;
    }
  } stop;
  host hooks;
  hooks.stop = {&stop, stopper::stop};
  const session_options options{.batch = 4};
  std::vector<session> plain = open_batch(model.get(), 4, options, hooks);
  stop.polls = 0;
  const batch_run expected = batch_run::together(plain, picture);
  const std::uint64_t polls = stop.polls;
  REQUIRE(polls > 200);
  for (std::uint64_t i = 0; i < 40; ++i) {
    stop.at = UINT64_MAX;
    std::vector<session> all = open_batch(model.get(), 4, options, hooks);
    stop.polls = 0;
    stop.at = 1 + i * (polls - 1) / 39;
    INFO("stopped at poll " << stop.at << " of " << polls);
    const batch_run got = batch_run::together(all, picture);
    CHECK(got.calls == 1);
    CHECK(got.same_as(expected));
  }
}

TEST_CASE("session: a batch that was interrupted begins anew when anything in it changed") {
  const tiny_model model;
  const auto prompt = [](std::uint32_t seed) { return some_tokens(20, seed); };
  const auto open_two = [&] {
    std::vector<session> two = open_batch(model.get(), 2, {.batch = 2});
    REQUIRE(two[0].append(prompt(1)));
    REQUIRE(two[1].append(prompt(2)));
    return two;
  };
  std::vector<session> plain = open_two();
  REQUIRE(session::step(pointers(plain)));
  const auto expected = [&](const session& s, std::size_t which) {
    return same_bits(logits_of(s), logits_of(plain[which]));
  };
  const auto interrupted = [&] {
    std::vector<session> two = open_two();
    for (int i = 0; i < 7; ++i) CHECK(*session::step(pointers(two), no_time) == step_state::more);
    CHECK(two[0].position() == 0);
    CHECK(two[1].logits().empty());
    return two;
  };
  SUBCASE("one was rewound and says something else") {
    std::vector<session> two = interrupted();
    REQUIRE(two[1].rewind(0));
    REQUIRE(two[1].append(prompt(3)));
    REQUIRE(session::step(pointers(two)));
    CHECK(expected(two[0], 0));
    CHECK(!expected(two[1], 1));
    REQUIRE(two[1].rewind(0));
    REQUIRE(two[1].append(prompt(2)));
    session alone = open_exact(model.get());
    REQUIRE(alone.append(prompt(2)));
    REQUIRE(alone.step());
    REQUIRE(two[1].step());
    CHECK(same_bits(logits_of(two[1]), logits_of(alone)));
  }
  SUBCASE("one was computed alone, in the same work memory") {
    std::vector<session> two = interrupted();
    REQUIRE(two[1].step());
    REQUIRE(two[0].append(std::span<const std::uint32_t>()));
    REQUIRE(session::step(pointers(two)));
    CHECK(difference(logits_of(two[0]), logits_of(plain[0])) < 2e-5);
    CHECK(difference(logits_of(two[1]), logits_of(plain[1])) < 2e-5);
  }
  SUBCASE("one was computed alone, in its own work memory") {
    std::vector<session> two = open_two();
    session stranger = open_exact(model.get());
    REQUIRE(stranger.append(prompt(2)));
    session* both[] = {&two[0], &stranger};
    for (int i = 0; i < 7; ++i) CHECK(*session::step(both, no_time) == step_state::more);
    REQUIRE(stranger.step());
    const auto before = logits_of(stranger);
    REQUIRE(session::step(both));
    CHECK(same_bits(logits_of(stranger), before));
    CHECK(difference(logits_of(two[0]), logits_of(plain[0])) < 2e-5);
  }
  SUBCASE("one is gone and another stands in its place") {
    std::vector<session> two = interrupted();
    two[1] = beside(two[0]);
    REQUIRE(two[1].append(prompt(3)));
    REQUIRE(session::step(pointers(two)));
    CHECK(expected(two[0], 0));
    session alone = open_exact(model.get());
    REQUIRE(alone.append(prompt(3)));
    REQUIRE(alone.step());
    CHECK(difference(logits_of(two[1]), logits_of(alone)) < 2e-5);
  }
  SUBCASE("a picture was encoded in between") {
    std::vector<session> two = interrupted();
    image_embedding e;
    REQUIRE(two[1].encode(tiny_picture().view, e));
    REQUIRE(session::step(pointers(two)));
    CHECK(expected(two[0], 0));
    CHECK(expected(two[1], 1));
  }
  SUBCASE("more was taken: the pass goes on, then comes the rest") {
    std::vector<session> two = interrupted();
    REQUIRE(two[1].append(some_tokens(3, 9)));
    REQUIRE(session::step(pointers(two)));
    CHECK(expected(two[0], 0));
    REQUIRE(plain[1].append(some_tokens(3, 9)));
    REQUIRE(plain[1].step());
    CHECK(expected(two[1], 1));
  }
  SUBCASE("others joined: they come after it") {
    std::vector<session> two = interrupted();
    session third = beside(two[0]);
    REQUIRE(third.append(prompt(3)));
    session* three[] = {&third, &two[0], &two[1]};
    REQUIRE(session::step(three));
    CHECK(expected(two[0], 0));
    CHECK(expected(two[1], 1));
    CHECK(third.logits().size() == tiny_vocabulary);
  }
}

TEST_CASE("session: prompts that do not fit into the work memory together go in turns") {
  const tiny_model model;
  session_options options;
  options.context = 30;  // work memory for 60 rows
  options.batch = 2;
  std::vector<session> all;
  all.push_back(open_exact(model.get(), options));
  for (int i = 0; i < 4; ++i) all.push_back(beside(all[0], {.context = 150}));
  std::vector<session> each;
  for (int i = 0; i < 5; ++i) each.push_back(open_exact(model.get()));
  for (std::uint32_t i = 0; i < 5; ++i) {
    const auto tokens = some_tokens(i == 0 ? 30 : 150 - 20 * i, i);
    for (auto* sessions : {&all, &each}) REQUIRE((*sessions)[i].append(tokens));
    REQUIRE(each[i].step());
  }
  REQUIRE(session::step(pointers(all)));
  for (std::size_t i = 0; i < 5; ++i) CHECK(difference(logits_of(all[i]), logits_of(each[i])) < 2e-5);
}

TEST_CASE("session: a short session at the head of a batch does not limit the positions of a long one") {
  const tiny_model model;
  session first = open_exact(model.get(), {.context = 4, .batch = 2}),
          second = beside(first, {.context = 150});
  session alone = open_exact(model.get());
  for (session* s : {&second, &alone}) {
    REQUIRE(s->append(some_tokens(140)));
    REQUIRE(s->step());
    REQUIRE(s->append(some_tokens(2, 5)));
  }
  REQUIRE(alone.step());
  REQUIRE(first.append(some_tokens(1)));
  session* both[] = {&first, &second};
  REQUIRE(session::step(both));
  CHECK(difference(logits_of(second), logits_of(alone)) < 2e-5);
}

TEST_CASE("session: of a batch, those with nothing to compute stay as they are") {
  const tiny_model model;
  std::vector<session> all = open_batch(model.get(), 3, {.batch = 3});
  CHECK(*session::step(pointers(all)) == step_state::done);
  CHECK(*session::step(std::span<session* const>()) == step_state::done);
  REQUIRE(all[1].append(some_tokens(9)));
  REQUIRE(session::step(pointers(all)));
  const auto before = logits_of(all[1]);
  REQUIRE(all[2].append(some_tokens(4)));
  REQUIRE(session::step(pointers(all)));
  CHECK(same_bits(before, logits_of(all[1])));
  CHECK(all[0].logits().empty());
  CHECK(all[2].position() == 4);
}

TEST_CASE(
    "session: what cannot be computed together is an error that names the session, and changes nothing") {
  const tiny_model model, other;
  std::vector<session> two = open_batch(model.get(), 2, {.batch = 2});
  for (session& s : two) REQUIRE(s.append(some_tokens(9)));
  const auto refused = [&](session* second, error_code code, std::string_view says) {
    session* both[] = {&two[0], second};
    const auto state = session::step(both);
    REQUIRE(!state);
    CHECK(state.error().code() == code);
    INFO(state.error().message());
    CHECK(state.error().message().find(says) != std::string_view::npos);
    CHECK(state.error().message().starts_with("session 2 of 2"));
    CHECK(two[0].position() == 0);
  };
  refused(nullptr, error_code::invalid_argument, "null");
  refused(&two[0], error_code::invalid_argument, "also session 1");
  session of_other = open_exact(other.get());
  refused(&of_other, error_code::invalid_argument, "another model");
  session by_reference = open_exact(model.get(), {.target = "reference"});
  refused(&by_reference, error_code::invalid_argument, "other kernels");
  session fast = open_session(model.get(), {.mode = ocellus::precision::fast});
  refused(&fast, error_code::invalid_argument, "other kernels");
  session_options watching;
  watching.watch = {nullptr,
                    [](void*, std::string_view, std::uint32_t, ocellus::tensor_view<const float>) {}};
  session watched = open_exact(model.get(), watching);
  refused(&watched, error_code::unsupported, "observer");
  session* alone[] = {&watched};
  CHECK(session::step(alone));
  CHECK(session::step(pointers(two)));

  for (const bool of_pictures : {true, false}) {
    session_options wrong;
    std::uint32_t& number = of_pictures ? wrong.pictures : wrong.batch;
    number = 0;
    CHECK(session::open(model.get(), wrong).error().code() == error_code::invalid_argument);
    CHECK(session::estimate(model.get().config(), wrong).error().code() == error_code::invalid_argument);
    number = UINT32_MAX;
    counting_memory memory;  // the second request would be for terabytes
    memory.fail(2, counting_memory::failing::for_ever);
    host hooks;
    hooks.memory = memory.hooks();
    const auto too_many = session::open(model.get(), wrong, hooks);
    REQUIRE(!too_many);
    CHECK(too_many.error().code() == (of_pictures ? error_code::overflow : error_code::out_of_memory));
  }
}

TEST_CASE("session: a busy session of a batch is named, the others can be used at once") {
  const tiny_model model;
  struct probe {
    session* first = nullptr;
    session* second = nullptr;
    session* stranger = nullptr;
    int batches = 0, beside = 0;
    bool armed = false;
    static bool stop(void* self) {
      auto& p = *static_cast<probe*>(self);
      if (!p.armed) return false;
      p.armed = false;
      session* both[] = {p.stranger, p.second};
      const auto batch = session::step(both);
      p.batches += !batch && batch.error().code() == error_code::busy &&
                   batch.error().message().starts_with("session 2 of 2");
      const auto alone = p.stranger->step();  // its own work memory
      p.batches += alone.has_value();
      image_embedding e;
      const auto encoded = p.first->encode(tiny_picture().view, e);
      p.beside += !encoded && encoded.error().code() == error_code::busy;
      return false;
    }
  } p;
  host hooks;
  hooks.stop = {&p, probe::stop};
  session first = open_exact(model.get(), {.batch = 2}, hooks), second = beside(first),
          stranger = open_exact(model.get());
  p.first = &first, p.second = &second, p.stranger = &stranger;
  REQUIRE(second.append(some_tokens(3)));
  p.armed = true;
  REQUIRE(second.step());
  CHECK(p.batches == 2);
  CHECK(p.beside == 1);  // first is not in use, but its work memory is
  session* both[] = {&first, &second};
  CHECK(session::step(both));
}

TEST_CASE("session: two threads with a batch each on one model and one pool") {
  const tiny_model model;
  const image_embedding picture = some_picture(model.get());
  std::vector<session> plain = open_batch(model.get(), 3, {.batch = 3});
  const batch_run expected = batch_run::together(plain, picture);
  auto pool = ocellus::thread_pool::make(3);
  REQUIRE(pool);
  host hooks;
  hooks.tasks = pool->hooks();
  std::vector<session> batches[2] = {open_batch(model.get(), 3, {.batch = 3}, hooks),
                                     open_batch(model.get(), 3, {.batch = 3}, hooks)};
  bool same[2] = {};
  {
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] { same[i] = batch_run::together(batches[i], picture).same_as(expected); });
    }
    for (std::thread& t : threads) t.join();
  }
  CHECK(same[0]);
  CHECK(same[1]);
}

TEST_CASE("session: from a shared prefix of any length it goes on as if it had computed it itself") {
  const tiny_model model;
  const auto tokens = some_tokens(20), rest = some_tokens(9, 5);
  const std::span<const std::uint32_t> all(tokens);
  session origin = open_exact(model.get());
  REQUIRE(origin.append(all));
  REQUIRE(origin.step());
  const auto before = logits_of(origin);
  for (std::uint32_t length = 0; length <= 20; ++length) {
    INFO(length);
    const kv_prefix prefix = share(origin, length);
    CHECK(prefix.length() == length);
    session s = beside(origin, {.context = 40, .prefix = prefix});
    CHECK(s.context() == 40);
    CHECK(s.length() == length);
    CHECK(s.position() == length);
    CHECK(s.prefix_length() == length);
    // The origin knew the logits behind its last position alone.
    CHECK(same_bits(logits_of(s), length == 20 ? before : std::vector<float>()));
    CHECK(*s.step() == step_state::done);
    REQUIRE(s.append(all.subspan(length)));
    REQUIRE(s.append(rest));
    REQUIRE(s.step());
    session plain = open_exact(model.get());
    REQUIRE(plain.append(all));
    REQUIRE(plain.append(rest));
    REQUIRE(plain.step());
    CHECK(difference(logits_of(s), logits_of(plain)) < 2e-5);
    CHECK(greedy(s) == greedy(plain));
    // A piece of a longer one, a session that is reset to it, and one opened by itself: the same bits.
    session reset = open_exact(model.get());
    REQUIRE(reset.append(rest));
    REQUIRE(reset.start(share(origin, 20).first(length)));
    session own = open_exact(model.get(), {.prefix = prefix});
    for (session* same : {&reset, &own}) {
      REQUIRE(same->append(all.subspan(length)));
      REQUIRE(same->append(rest));
      REQUIRE(same->step());
      CHECK(same_bits(logits_of(*same), logits_of(s)));
    }
  }
  CHECK(same_bits(logits_of(origin), before));
  CHECK(share(origin, 7).first(9).length() == 7);
}

TEST_CASE("session: a prefix lives longer than what made it, and is shared on without a copy") {
  const tiny_model model;
  counting_memory memory;
  host hooks;
  hooks.memory = memory.hooks();
  const auto tokens = some_tokens(30), rest = some_tokens(5, 5);
  std::vector<float> expected;
  {
    kv_prefix prefix;
    {
      session origin = open_exact(model.get(), {}, hooks);
      REQUIRE(origin.append(tokens));
      REQUIRE(origin.step());
      prefix = share(origin, 30);
    }
    CHECK(memory.live() == 3);  // what handles share, keys and values, logits
    CHECK(prefix.bytes() > 0);
    CHECK(memory.current() < prefix.bytes() + 1024);
    session second = open_exact(model.get(), {.context = 60, .prefix = prefix}, hooks);
    prefix = {};
    REQUIRE(second.append(rest));
    REQUIRE(second.step());
    expected = logits_of(second);
    const std::size_t requests = memory.requests();
    for (const std::uint32_t length : {0u, 1u, 30u}) CHECK(share(second, length).length() == length);
    CHECK(memory.requests() == requests);
    // Both of its segments, as one.
    const kv_prefix longer = share(second, 35);
    CHECK(memory.requests() > requests);
    session third = beside(second, {.prefix = longer.first(34)});
    REQUIRE(third.append(std::span(rest).last(1)));
    REQUIRE(third.step());
    CHECK(difference(logits_of(third), expected) < 2e-5);
  }
  CHECK(memory.live() == 0);
}

TEST_CASE("session: rewound into its prefix it keeps what stands before, and room for as much as it had") {
  const tiny_model model;
  const auto tokens = some_tokens(30);
  const std::span<const std::uint32_t> all(tokens);
  session origin = open_exact(model.get());
  REQUIRE(origin.append(all));
  REQUIRE(origin.step());
  const kv_prefix prefix = share(origin, 20);
  session s = beside(origin, {.context = 50, .prefix = prefix});
  CHECK(s.append(some_tokens(31)).error().code() == error_code::context_full);
  REQUIRE(s.append(some_tokens(30, 7)));
  REQUIRE(s.step());
  CHECK(s.append(some_tokens(1)).error().code() == error_code::context_full);
  for (const std::uint32_t to : {20u, 19u, 8u, 1u, 0u}) {
    INFO(to);
    REQUIRE(s.rewind(to));
    CHECK(s.length() == to);
    CHECK(s.prefix_length() == to);
    CHECK(s.context() == 30 + to);
    CHECK(s.logits().empty());
    CHECK(s.append(some_tokens(31)).error().code() == error_code::context_full);
    REQUIRE(s.append(all.subspan(to, 30 - to)));
    REQUIRE(s.step());
    CHECK(difference(logits_of(s), logits_of(origin)) < 2e-5);
  }
  CHECK(s.rewind(31).error().code() == error_code::invalid_argument);
  REQUIRE(s.start(prefix));
  CHECK(s.context() == 50);
  REQUIRE(s.append(all.last(10)));
  REQUIRE(s.step());
  CHECK(difference(logits_of(s), logits_of(origin)) < 2e-5);
  REQUIRE(s.start({}));
  CHECK(s.length() == 0);
  CHECK(s.context() == 30);
}

TEST_CASE("session: one that is all prefix has no room of its own, and a shorter one some") {
  const tiny_model model;
  session origin = open_exact(model.get(), {.context = 12});
  REQUIRE(origin.append(some_tokens(12)));
  REQUIRE(origin.step());
  session full = beside(origin, {.context = 12, .prefix = share(origin, 12)});
  CHECK(full.append(some_tokens(1)).error().code() == error_code::context_full);
  CHECK(*full.step() == step_state::done);
  REQUIRE(full.rewind(11));
  CHECK(full.context() == 11);
  CHECK(full.append(some_tokens(1)).error().code() == error_code::context_full);
  REQUIRE(full.start(share(origin, 3)));
  CHECK(full.context() == 3);
  session roomy = beside(origin, {.context = 12});
  REQUIRE(roomy.start(share(origin, 12)));
  CHECK(roomy.context() == 12);
}

TEST_CASE("session: prefixes that do not belong here are refused") {
  const tiny_model model, other;
  session origin = open_exact(model.get());
  REQUIRE(origin.append(some_tokens(9)));
  CHECK(origin.share(1).error().code() == error_code::invalid_argument);  // taken, but not computed
  REQUIRE(origin.step());
  const auto too_long = origin.share(10);
  REQUIRE(!too_long);
  CHECK(too_long.error().code() == error_code::invalid_argument);
  CHECK(too_long.error().message() == "sharing 10 of 9 positions");
  const kv_prefix prefix = share(origin, 9);

  session of_other = open_exact(other.get()), by_reference = open_exact(model.get(), {.target = "reference"}),
          fast = open_session(model.get(), {.mode = ocellus::precision::fast}),
          narrow = open_exact(model.get(), {.context = 8});
  for (session* s : {&of_other, &by_reference, &fast}) {
    REQUIRE(s->append(some_tokens(2)));
    CHECK(s->start(prefix).error().code() == error_code::invalid_argument);
    CHECK(s->length() == 2);
    CHECK(session::open(*s, {.prefix = prefix}).error().code() == error_code::invalid_argument);
    CHECK(s->start({}));
  }
  CHECK(session::open(other.get(), {.prefix = prefix}).error().code() == error_code::invalid_argument);
  CHECK(narrow.start(prefix).error().code() == error_code::context_full);
  CHECK(session::open(narrow, {.context = 8, .prefix = prefix}).error().code() == error_code::context_full);
  CHECK(session::open(model.get(), {.context = 8, .prefix = prefix}).error().code() ==
        error_code::context_full);
  CHECK(session::open(narrow, {.context = 201}).error().code() == error_code::invalid_argument);
  CHECK(session::estimate(narrow, {.context = 201}).error().code() == error_code::invalid_argument);
  CHECK(narrow.start(prefix.first(8)));
}

TEST_CASE("session: a batch of questions behind one picture, each as if alone") {
  const tiny_model model;
  const image_embedding picture = some_picture(model.get());
  const auto opening = some_tokens(6);
  std::vector<session> alone;
  session first = open_exact(model.get(), {.batch = 8});
  REQUIRE(first.append(opening));
  REQUIRE(first.append(picture));
  REQUIRE(first.step());
  const kv_prefix prefix = share(first, first.position());
  std::vector<session> all;
  for (std::uint32_t i = 0; i < 8; ++i) {
    all.push_back(beside(first, {.context = 60, .prefix = prefix}));
    alone.push_back(open_exact(model.get()));
    REQUIRE(alone[i].append(opening));
    REQUIRE(alone[i].append(picture));
    const auto question = some_tokens(1 + i * 5, 20 + i);
    for (session* s : {&all[i], &alone[i]}) REQUIRE(s->append(question));
  }
  for (int round = 0; round < 5; ++round) {
    REQUIRE(session::step(pointers(all)));
    for (std::size_t i = 0; i < 8; ++i) {
      REQUIRE(alone[i].step());
      CHECK(difference(logits_of(all[i]), logits_of(alone[i])) < 2e-5);
      const std::uint32_t id = greedy(alone[i]);
      CHECK(greedy(all[i]) == id);
      for (session* s : {&all[i], &alone[i]}) REQUIRE(s->append(std::span<const std::uint32_t>(&id, 1)));
    }
  }
}

TEST_CASE("session: a batch allocates nothing while it is computed") {
  const tiny_model model;
  counting_memory memory;
  host hooks;
  hooks.memory = memory.hooks();
  {
    const image_embedding picture = some_picture(model.get());
    std::vector<session> all = open_batch(model.get(), 5, {.batch = 3}, hooks);
    const std::size_t requests = memory.requests();
    batch_run::together(all, picture);
    REQUIRE(all[0].rewind(3));
    CHECK(memory.requests() == requests);
  }
  CHECK(memory.live() == 0);
}

TEST_CASE(
    "session: sharing and opening beside fail cleanly at each allocation, and take what estimate says") {
  const tiny_model model;
  fail_every_allocation([&](const ocellus::memory_hooks& refusing) -> ocellus::result<void> {
    host hooks;
    hooks.memory = refusing;
    OCELLUS_ASSIGN(session first, session::open(model.get(), {.pictures = 2, .batch = 3}, hooks));
    REQUIRE(first.append(some_tokens(9)));
    REQUIRE(first.step());
    const auto before = logits_of(first);
    auto prefix = first.share(9);
    CHECK(same_bits(logits_of(first), before));
    if (!prefix) return prefix.error();
    OCELLUS_TRY(session::open(first, {.context = 30, .prefix = *prefix}));
    return {};
  });
  counting_memory memory;
  host hooks;
  hooks.memory = memory.hooks();
  session_options options;
  for (const std::uint32_t pictures : {1u, 4u}) {
    for (const std::uint32_t batch : {1u, 9u}) {
      options.pictures = pictures;
      options.batch = batch;
      const auto near = [&](std::size_t before, std::uint64_t estimate) {
        const auto taken = static_cast<double>(memory.current() - before);
        CHECK(taken <= static_cast<double>(estimate) * 1.02 + 1024);
        CHECK(taken >= static_cast<double>(estimate) * 0.98 - 1024);
      };
      const std::size_t none = memory.current();
      const auto estimate = session::estimate(model.get().config(), options, hooks);
      REQUIRE(estimate);
      session s = open_session(model.get(), options, hooks);
      near(none, *estimate);
      REQUIRE(s.append(some_tokens(40)));
      REQUIRE(s.step());
      const session_options behind{.context = 90, .prefix = share(s, 40)};
      const std::size_t before = memory.current();
      const auto more = session::estimate(s, behind);
      REQUIRE(more);
      CHECK(*more < *estimate);
      session second = beside(s, behind);
      near(before, *more);
    }
  }
}

TEST_CASE("session: several pictures in one pass are each as if alone, in turns or not") {
  const tiny_model model;
  std::vector<tiny_picture> pictures;
  for (std::uint32_t i = 0; i < 5; ++i) pictures.emplace_back(i, 30 + i, 20 + 3 * i);
  std::vector<ocellus::image_view> views;
  for (const tiny_picture& p : pictures) views.push_back(p.view);
  const auto values_of = [](const image_embedding& e) {
    return std::vector<float>(e.values.span().begin(), e.values.span().end());
  };
  for (const ocellus::kernels* table : ocellus::cpu_kernels()) {
    INFO(std::string(table->name));
    session alone = open_exact(model.get(), {.target = table->name});
    std::vector<std::vector<float>> expected;
    for (const ocellus::image_view& view : views) {
      image_embedding e;
      REQUIRE(alone.encode(view, e));
      expected.push_back(values_of(e));
    }
    for (const std::uint32_t room : {1u, 2u, 3u, 5u, 7u}) {
      INFO(room);
      session s = open_exact(model.get(), {.pictures = room, .target = table->name});
      std::vector<image_embedding> to(5);
      CHECK(*s.encode(views, to) == step_state::done);
      for (std::size_t i = 0; i < 5; ++i) {
        CHECK(difference(values_of(to[i]), expected[i]) < 2e-5);
        if (room == 1) CHECK(same_bits(values_of(to[i]), expected[i]));
      }
      // With next to no time, and only what is missing: the same bits where the passes are the same.
      session patient = open_exact(model.get(), {.pictures = room, .target = table->name});
      std::vector<image_embedding> again(5);
      int calls = 0;
      for (;; ++calls) {
        const auto state = patient.encode(views, again, no_time);
        REQUIRE(state);
        if (*state == step_state::done) break;
      }
      CHECK(calls > 10);
      for (std::size_t i = 0; i < 5; ++i) CHECK(same_bits(values_of(again[i]), values_of(to[i])));
      const auto kept = again[4].values.data();
      again[1] = {};
      REQUIRE(patient.encode(views, again));
      CHECK(again[4].values.data() == kept);
      CHECK(same_bits(values_of(again[1]), expected[1]));  // alone in its pass
      if (table != ocellus::cpu_kernels().back()) break;
    }
  }
}

TEST_CASE("session: pictures that are exchanged in the middle of a pass are seen") {
  const tiny_model model;
  const tiny_picture a(1), b(2), c(3);
  session s = open_exact(model.get(), {.pictures = 2}), plain = open_exact(model.get(), {.pictures = 2});
  const ocellus::image_view first[] = {a.view, b.view}, second[] = {a.view, c.view};
  image_embedding begun[2], expected[2];
  for (int i = 0; i < 9; ++i) CHECK(*s.encode(first, begun, no_time) == step_state::more);
  REQUIRE(s.encode(second, begun));
  REQUIRE(plain.encode(second, expected));
  for (int i = 0; i < 2; ++i) {
    CHECK(std::memcmp(begun[i].values.data(), expected[i].values.data(),
                      expected[i].values.span().size_bytes()) == 0);
  }
}

TEST_CASE("session: a pass of two pictures is not taken up by one of them") {
  const tiny_model model;
  const tiny_picture a(1), b(2);
  session s = open_exact(model.get(), {.pictures = 2}), plain = open_exact(model.get());
  const ocellus::image_view both[] = {a.view, b.view};
  image_embedding begun[2], one, expected;
  for (int i = 0; i < 9; ++i) CHECK(*s.encode(both, begun, no_time) == step_state::more);
  REQUIRE(s.encode(a.view, one));
  REQUIRE(plain.encode(a.view, expected));
  CHECK(std::memcmp(one.values.data(), expected.values.data(), expected.values.span().size_bytes()) == 0);
}

TEST_CASE("session: pictures that cannot be encoded together say which and why") {
  const tiny_model model;
  session s = open_exact(model.get(), {.pictures = 2});
  const tiny_picture good;
  const ocellus::image_view views[] = {good.view, ocellus::image_view{}};
  image_embedding to[2];
  const auto bad = s.encode(views, to);
  REQUIRE(!bad);
  CHECK(bad.error().message().starts_with("picture 2 of 2: "));
  CHECK(to[0].values.size() == 0);
  CHECK(s.encode(views, std::span(to).first(1)).error().code() == error_code::invalid_argument);
  CHECK(*s.encode(std::span<const ocellus::image_view>(), std::span<image_embedding>()) == step_state::done);
  const tiny_model blind({.vision = false});
  session words_only = open_exact(blind.get());
  CHECK(words_only.encode(views, to).error().code() == error_code::no_vision);
  session_options watching;
  watching.watch = {nullptr,
                    [](void*, std::string_view, std::uint32_t, ocellus::tensor_view<const float>) {}};
  session watched = open_exact(model.get(), watching);
  CHECK(watched.encode(views, to).error().code() == error_code::unsupported);
  CHECK(watched.encode(std::span(views).first(1), std::span(to).first(1)));
}

TEST_CASE("session: refused memory for the embeddings of several pictures, and the call made again") {
  const tiny_model model;
  const tiny_picture a(1), b(2), c(3);
  const ocellus::image_view views[] = {a.view, b.view, c.view};
  image_embedding expected[3];
  session plain = open_exact(model.get(), {.pictures = 3});
  REQUIRE(plain.encode(views, expected));
  int refused = 0;
  for (std::size_t n = 1;; ++n) {
    counting_memory memory;
    host hooks;
    hooks.memory = memory.hooks();
    session s = open_exact(model.get(), {.pictures = 3}, hooks);
    image_embedding to[3];
    memory.fail(n, counting_memory::failing::once);
    const auto first = s.encode(views, to);
    if (!first) {
      ++refused;
      CHECK(first.error().code() == error_code::out_of_memory);
      for (const image_embedding& e : to) CHECK(e.values.size() == 0);
      REQUIRE(s.encode(views, to));
    }
    for (int i = 0; i < 3; ++i) {
      CHECK(std::memcmp(to[i].values.data(), expected[i].values.data(), to[i].values.span().size_bytes()) ==
            0);
    }
    if (!memory.failed()) break;
  }
  CHECK(refused >= 3);
}
