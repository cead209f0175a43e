// The same bits, however the work is divided, ordered, interrupted or shared.
#include "ocellus/chat/session.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "ocellus/thread_pool.hpp"
#include "support/counting_memory.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace ocellus_tests;
using ocellus::error_code;
using ocellus::host;
using ocellus::image_embedding;
using ocellus::session;
using ocellus::step_state;

ocellus::time_budget none() { return {std::chrono::nanoseconds(0)}; }

session open(const ocellus::model& model, const ocellus::session_options& options = {},
             const host& hooks = {}) {
  auto opened = session::open(model, options, hooks);
  INFO((opened ? std::string_view() : opened.error().message()));
  REQUIRE(opened);
  return std::move(*opened);
}

std::vector<std::uint32_t> some_tokens(std::size_t n, std::uint32_t seed = 3) {
  std::vector<std::uint32_t> tokens(n);
  for (std::size_t i = 0; i < n; ++i)
    tokens[i] = static_cast<std::uint32_t>(ocellus_tests::detail::mix(i + seed * 1000) % tiny_vocabulary);
  return tokens;
}

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

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

bool same_bits(const transcript& a, const transcript& b) {
  return same_bits(a.embedding, b.embedding) && same_bits(a.logits, b.logits);
}

void reverse_for(void*, std::uint32_t tasks, void (*run)(void*, std::uint32_t, std::uint32_t), void* arg) {
  for (std::uint32_t task = tasks; task-- > 0;) run(arg, task, 0);
}

std::string target_of(std::size_t i) { return ocellus::cpu_kernels()[i]->name; }

}  // namespace

TEST_CASE("session: the same bits with any workers, any order of tasks, any budget, on every target") {
  const tiny_model model;
  for (std::size_t t = 0; t < ocellus::cpu_kernels().size(); ++t) {
    const std::string target = target_of(t);
    INFO(target);
    ocellus::session_options options;
    options.target = target;
    session plain = open(model.get(), options);
    CHECK(plain.target() == target);
    const transcript expected(plain);
    CHECK(expected.calls == 0);

    for (std::uint32_t workers : {1u, 2u, 3u, 7u}) {
      auto pool = ocellus::thread_pool::make(workers);
      REQUIRE(pool);
      host hooks;
      hooks.tasks = pool->hooks();
      session s = open(model.get(), options, hooks);
      CHECK(same_bits(transcript(s), expected));
    }
    host reversed;
    reversed.tasks = {nullptr, reverse_for, 1};
    session backwards = open(model.get(), options, reversed);
    CHECK(same_bits(transcript(backwards), expected));

    session patient = open(model.get(), options);
    const transcript piecewise(patient, none());
    CHECK(piecewise.calls > 50);  // each call does one unit of work only
    CHECK(same_bits(piecewise, expected));
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
    session s = open(model.get(), {}, hooks);
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
    CHECK(same_bits(run(once), expected));
    CHECK(once.stops == 1);
  }
  stopper often;
  often.next = 3;
  often.longest_gap = 5;
  CHECK(same_bits(run(often), expected));
  CHECK(often.stops > 10);
}

TEST_CASE("session: several at once on one model and one pool give what each gives alone") {
  const tiny_model model;
  session plain = open(model.get());
  const transcript expected(plain);
  auto pool = ocellus::thread_pool::make(3);
  REQUIRE(pool);
  host hooks;
  hooks.tasks = pool->hooks();
  std::atomic<int> equal{0};
  std::vector<session> sessions;
  for (int i = 0; i < 4; ++i) sessions.push_back(open(model.get(), {}, hooks));
  std::vector<std::thread> threads;
  for (session& s : sessions) {
    threads.emplace_back([&] { equal += same_bits(transcript(s), expected); });
  }
  for (std::thread& t : threads) t.join();
  CHECK(equal == 4);
}
