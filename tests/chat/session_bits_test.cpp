// The same bits, however the work is divided, ordered, interrupted or shared.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "ocellus/thread_pool.hpp"
#include "support/session_fixture.hpp"

using namespace ocellus_tests;
using ocellus::error_code;
using ocellus::host;
using ocellus::image_embedding;
using ocellus::session;
using ocellus::step_state;

namespace {

/// Every number that a short conversation with a picture computes: the embedding, and the logits behind the prompt and
/// behind each of three more tokens. Steps and encodings are repeated until they are done.
struct transcript {
  std::vector<float> embedding, logits;
  int calls = 0;

  template <class Call>
  void finish(Call&& call) {
    for (;; ++calls) {
      const auto state = call();
      if (!state && state.error().code() == error_code::cancelled) continue;
      REQUIRE(state);
      if (*state == step_state::done) return;
    }
  }
  explicit transcript(session& s, ocellus::time_budget budget = {}) {
    const tiny_picture picture;
    image_embedding e;
    finish([&] { return s.encode(picture.view, e, budget); });
    embedding.assign(e.values.span().begin(), e.values.span().end());
    const auto take = [&](auto&& what) {
      for (;;) {
        const auto took = s.append(what);
        if (took) return;
        REQUIRE(took.error().code() == error_code::cancelled);
      }
    };
    const auto before = some_tokens(5), after = some_tokens(80, 4);  // more than one block of 64 rows
    take(std::span<const std::uint32_t>(before));
    take(e);
    take(std::span<const std::uint32_t>(after));
    for (std::uint32_t next = 7; next < 11; ++next) {
      finish([&] { return s.step(budget); });
      logits.insert(logits.end(), s.logits().begin(), s.logits().end());
      const std::uint32_t token[] = {next};
      take(std::span<const std::uint32_t>(token));
    }
  }
};

bool same_transcript(const transcript& a, const transcript& b) {
  return same_bits(a.embedding, b.embedding) && same_bits(a.logits, b.logits);
}

void reverse_for(void*, std::uint32_t tasks, void (*run)(void*, std::uint32_t, std::uint32_t), void* arg) {
  for (std::uint32_t task = tasks; task-- > 0;) run(arg, task, 0);
}

}  // namespace

TEST_CASE("session: the same bits with any workers, any order of tasks, any budget, on every target") {
  const auto check = [](const tiny_model& model, const ocellus::kernels& table) {
    const std::string_view target = table.name;
    INFO(target);
    ocellus::session_options options;
    options.target = target;
    options.mode = table.mode;
    session plain = open_session(model.get(), options);
    CHECK(plain.target() == target);
    const transcript expected(plain);
    CHECK(expected.calls == 0);

    for (std::uint32_t workers : {1u, 2u, 3u, 7u}) {
      auto pool = ocellus::thread_pool::make(workers);
      REQUIRE(pool);
      host hooks;
      hooks.tasks = pool->hooks();
      session s = open_session(model.get(), options, hooks);
      CHECK(same_transcript(transcript(s), expected));
    }
    host reversed;
    reversed.tasks = {nullptr, reverse_for, 1};
    session backwards = open_session(model.get(), options, reversed);
    CHECK(same_transcript(transcript(backwards), expected));

    session patient = open_session(model.get(), options);
    const transcript piecewise(patient, ocellus::time_budget{std::chrono::nanoseconds(0)});
    CHECK(piecewise.calls > 50);  // each call does one unit of work only
    CHECK(same_transcript(piecewise, expected));
  };
  const tiny_model model;
  for (const ocellus::kernels* table : ocellus::cpu_kernels()) check(model, *table);
  for (const auto format : ocellus::weight_formats) {
    CAPTURE(std::string(name_of(format)));
    tiny_options options;
    options.format = format;
    const tiny_model packed(options);
    for (const ocellus::kernels* table : ocellus::cpu_kernels(ocellus::precision::fast))
      check(packed, *table);
  }
}

TEST_CASE("session: cancelled at any place, it goes on to the same bits") {
  const tiny_model model;
  // Stops at one poll, then lets some pass before the next: more and more, because a unit of work polls once a task
  // and starts again when it was stopped.
  struct stopper {
    std::uint64_t polls = 0, next = UINT64_MAX, longest_gap = 0;
    int stops = 0;
    static bool stop(void* self) {
      auto& s = *static_cast<stopper*>(self);
      if (++s.polls < s.next) return false;
      ++s.stops;
      s.next = s.longest_gap == 0 ? UINT64_MAX
                                  : s.polls + 1 + ocellus_tests::detail::mix(s.polls) % s.longest_gap++;
      return true;
    }
  };
  const auto run = [&](stopper& stop) {
    host hooks;
    hooks.stop = {&stop, stopper::stop};
    session s = open_session(model.get(), {}, hooks);
    return transcript(s);
  };
  stopper silent;
  const transcript expected = run(silent);
  CHECK(expected.calls == 0);
  REQUIRE(silent.polls > 100);
  const int places = 8;
  for (std::uint64_t i = 0; i < places; ++i) {
    stopper once;
    once.next = 1 + i * (silent.polls - 1) / (places - 1);
    INFO("a stop at poll " << once.next << " of " << silent.polls);
    CHECK(same_transcript(run(once), expected));
    CHECK(once.stops == 1);
  }
  stopper often;
  often.next = 3;
  often.longest_gap = 5;
  CHECK(same_transcript(run(often), expected));
  CHECK(often.stops > 10);
}

TEST_CASE("session: several at once on one model and one pool give what each gives alone") {
  const tiny_model model;
  session plain = open_session(model.get());
  const transcript expected(plain);
  auto pool = ocellus::thread_pool::make(3);
  REQUIRE(pool);
  host hooks;
  hooks.tasks = pool->hooks();
  std::atomic<int> equal{0};
  std::vector<session> sessions;
  for (int i = 0; i < 4; ++i) sessions.push_back(open_session(model.get(), {}, hooks));
  std::vector<std::thread> threads;
  for (session& s : sessions) {
    threads.emplace_back([&] { equal += same_transcript(transcript(s), expected); });
  }
  for (std::thread& t : threads) t.join();
  CHECK(equal == 4);
}
