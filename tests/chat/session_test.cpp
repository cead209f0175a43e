#include "ocellus/chat/session.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "ocellus/chat/sampler.hpp"
#include "ocellus/thread_pool.hpp"
#include "support/counting_memory.hpp"
#include "support/session_fixture.hpp"

using namespace ocellus_tests;
using ocellus::error_code;
using ocellus::host;
using ocellus::image_embedding;
using ocellus::session;
using ocellus::step_state;

TEST_CASE("session: a cancelled step says so, keeps its position, and can be dropped instead of finished") {
  const tiny_model model;
  bool stop = false;
  host hooks;
  hooks.stop = {&stop, [](void* flag) { return *static_cast<bool*>(flag); }};
  session s = open_session(model.get(), {}, hooks);
  const auto first = some_tokens(9), second = some_tokens(20, 8);
  REQUIRE(s.append(first));
  REQUIRE(s.step());
  const std::vector<float> before(s.logits().begin(), s.logits().end());
  REQUIRE(s.append(second));
  stop = true;
  const auto cancelled = s.step();
  REQUIRE(!cancelled);
  CHECK(cancelled.error().code() == error_code::cancelled);
  CHECK(s.position() == 9);
  CHECK(s.length() == 29);
  stop = false;
  // Dropped: as if the second part had never been there.
  REQUIRE(s.rewind(9));
  CHECK(s.length() == 9);
  const std::uint32_t next[] = {42};
  REQUIRE(s.append(next));
  REQUIRE(s.step());
  session fresh = open_session(model.get());
  REQUIRE(fresh.append(first));
  REQUIRE(fresh.step());
  CHECK(same_bits(before, {fresh.logits().begin(), fresh.logits().end()}));
  REQUIRE(fresh.append(next));
  REQUIRE(fresh.step());
  CHECK(same_bits({s.logits().begin(), s.logits().end()}, {fresh.logits().begin(), fresh.logits().end()}));
}

TEST_CASE("session: rewinding forgets everything behind, and nothing before") {
  const tiny_model model;
  session s = open_session(model.get());
  const auto tokens = some_tokens(12);
  const std::span<const std::uint32_t> all(tokens);
  REQUIRE(s.append(all.first(11)));
  REQUIRE(s.step());
  REQUIRE(s.append(all.last(1)));
  REQUIRE(s.step());
  const std::vector<float> expected(s.logits().begin(), s.logits().end());
  REQUIRE(s.append(some_tokens(30, 9)));
  REQUIRE(s.step());
  REQUIRE(s.rewind(11));
  REQUIRE(s.append(all.last(1)));
  REQUIRE(s.step());
  CHECK(same_bits(expected, {s.logits().begin(), s.logits().end()}));
  CHECK(s.rewind(13).error().code() == error_code::invalid_argument);
  REQUIRE(s.rewind(0));
  CHECK(s.length() == 0);
  CHECK(s.position() == 0);
  CHECK(*s.step() == step_state::done);  // nothing to do
}

TEST_CASE("session: logits are those behind the last computed position, or none") {
  const tiny_model model;
  session s = open_session(model.get());
  CHECK(s.logits().empty());
  REQUIRE(s.step());  // nothing to do
  CHECK(s.logits().empty());
  REQUIRE(s.append(some_tokens(70)));
  CHECK(s.logits().empty());
  CHECK(*s.step({std::chrono::nanoseconds(0)}) == step_state::more);
  CHECK(s.logits().empty());
  REQUIRE(s.step());
  CHECK(s.logits().size() == tiny_vocabulary);
  REQUIRE(s.append(some_tokens(3)));
  CHECK(s.logits().size() == tiny_vocabulary);  // only taken so far
  REQUIRE(s.rewind(70));
  CHECK(s.logits().size() == tiny_vocabulary);
  REQUIRE(s.rewind(69));
  CHECK(s.logits().empty());
  REQUIRE(s.append(some_tokens(1)));
  REQUIRE(s.step({(std::chrono::nanoseconds::min)()}));  // a deadline long gone is no time at all
  CHECK(s.logits().empty());
  REQUIRE(s.step());
  CHECK(s.logits().size() == tiny_vocabulary);
}

TEST_CASE("session: taking tokens is never cancelled") {
  const tiny_model model;
  host hooks;
  hooks.stop.should_stop = [](void*) { return true; };
  session s = open_session(model.get(), {}, hooks);
  CHECK(s.append(some_tokens(70)));
  CHECK(s.length() == 70);
  CHECK(s.step().error().code() == error_code::cancelled);
}

TEST_CASE("session: tokens at once or one by one are the same conversation, but for rounding") {
  const tiny_model model;
  session at_once = open_exact(model.get()), one_by_one = open_exact(model.get());
  const auto tokens = some_tokens(70);
  REQUIRE(at_once.append(tokens));
  REQUIRE(at_once.step());
  for (const std::uint32_t& id : tokens) {
    REQUIRE(one_by_one.append(std::span<const std::uint32_t>(&id, 1)));
    REQUIRE(one_by_one.step());
  }
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < tiny_vocabulary; ++i) {
    const double a = at_once.logits()[i], b = one_by_one.logits()[i];
    difference += (a - b) * (a - b);
    norm += a * a;
  }
  CHECK(norm > 0);
  CHECK(difference <= 1e-10 * norm);
}

TEST_CASE("session: what does not fit is refused before any work") {
  const tiny_model model;
  ocellus::session_options options;
  options.context = 10;
  session s = open_session(model.get(), options);
  CHECK(s.context() == 10);
  const auto too_many = s.append(some_tokens(11));
  REQUIRE(!too_many);
  CHECK(too_many.error().code() == error_code::context_full);
  CHECK(too_many.error().message() == "11 tokens behind 0 do not fit into a context of 10");
  CHECK(s.length() == 0);
  REQUIRE(s.append(some_tokens(8)));
  image_embedding e;
  REQUIRE(s.encode(tiny_picture().view, e));
  CHECK(s.append(e).error().code() == error_code::context_full);
  REQUIRE(s.append(some_tokens(2)));
  REQUIRE(s.step());
  CHECK(s.position() == 10);
  CHECK(s.append(some_tokens(1)).error().code() == error_code::context_full);
  CHECK(s.append(std::span<const std::uint32_t>()));

  for (std::uint32_t context : {1u, 2u}) {
    options.context = context;
    session narrow = open_session(model.get(), options);
    REQUIRE(narrow.append(some_tokens(context)));
    CHECK(narrow.step());
  }
  options.context = 0;  // as many as the model was made for
  CHECK(open_session(model.get(), options).context() == 200);
  options.context = 201;
  CHECK(session::open(model.get(), options).error().code() == error_code::invalid_argument);
}

TEST_CASE("session: pixels that are no numbers go through, and what comes of them is told by the sampler") {
  const tiny_model model;
  session s = open_session(model.get());
  std::vector<float> pixels(3 * 42 * 42, 0.5f);
  for (const float odd : {std::nanf(""), INFINITY, -INFINITY, 3e38f}) {
    pixels[1000] = odd;
    image_embedding e;
    REQUIRE(s.encode(std::span<const float>(pixels), e));
    REQUIRE(s.rewind(0));
    REQUIRE(s.append(e));
    REQUIRE(s.step());
    auto choose = ocellus::sampler::make({}, tiny_vocabulary);
    REQUIRE(choose);
    const auto id = choose->next(s.logits(), {});
    if (odd == 3e38f) continue;  // large, and a number: anything may come of it
    REQUIRE(!id);
    CHECK(id.error().code() == error_code::numeric);
  }
  // The session is as it was.
  REQUIRE(s.rewind(0));
  REQUIRE(s.append(some_tokens(5)));
  REQUIRE(s.step());
  session fresh = open_session(model.get());
  REQUIRE(fresh.append(some_tokens(5)));
  REQUIRE(fresh.step());
  CHECK(same_bits({s.logits().begin(), s.logits().end()}, {fresh.logits().begin(), fresh.logits().end()}));
}

#if !defined(_WIN32)
TEST_CASE("session: a child of fork() goes on with model and session") {
  const tiny_model model;
  auto pool = ocellus::thread_pool::make(2);
  REQUIRE(pool);
  host hooks;
  hooks.tasks = pool->hooks();
  session s = open_session(model.get(), {}, hooks);
  REQUIRE(s.append(some_tokens(9)));
  REQUIRE(s.step());
  REQUIRE(s.append(some_tokens(20, 8)));
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::alarm(60);  // a hang ends the child
  const bool done = s.step().has_value();
  const std::vector<float> logits(s.logits().begin(), s.logits().end());
  if (child == 0) {
    // Compared with those of a session that never forked: the parent looks at the exit code alone.
    auto alone = session::open(model.get());
    bool same = alone && alone->append(some_tokens(9)) && alone->step() &&
                alone->append(some_tokens(20, 8)) && alone->step();
    same = same && same_bits(logits, {alone->logits().begin(), alone->logits().end()});
    ::_exit(done && same ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(done);
}
#endif

TEST_CASE("session: arguments that make no sense are errors") {
  const tiny_model model;
  session s = open_session(model.get());
  const std::uint32_t outside[] = {1, tiny_vocabulary};
  CHECK(s.append(outside).error().code() == error_code::token_unknown);
  CHECK(s.length() == 0);
  CHECK(s.append(image_embedding{}).error().code() == error_code::invalid_argument);
  image_embedding e;
  CHECK(s.encode(std::span<const float>(), e).error().code() == error_code::invalid_argument);
  CHECK(!s.encode(ocellus::image_view{}, e));

  ocellus::session_options options;
  options.target = "abacus";
  const auto unknown = session::open(model.get(), options);
  REQUIRE(!unknown);
  CHECK(unknown.error().code() == error_code::target_unknown);
  CHECK(unknown.error().message().find("abacus") != std::string_view::npos);
  host idle;
  idle.tasks.workers = 0;
  CHECK(session::open(model.get(), {}, idle).error().code() == error_code::invalid_argument);

  CHECK(session::estimate(ocellus::model_config{}).error().code() == error_code::config_range);

  const tiny_model blind({.vision = false});
  session words_only = open_session(blind.get());
  CHECK(words_only.encode(tiny_picture().view, e).error().code() == error_code::no_vision);
  CHECK(words_only.append(e).error().code() == error_code::no_vision);
  options = {};
  options.vision = false;  // the model could, the session was not to
  session closed_eyes = open_session(model.get(), options);
  CHECK(closed_eyes.encode(tiny_picture().view, e).error().code() == error_code::no_vision);
}

TEST_CASE("session: a second thread, or a call from inside, is told that it is busy") {
  const tiny_model model;
  session* self = nullptr;
  struct probe {
    session** s;
    int busy = 0;
    bool armed = false;
  } p{&self};
  host hooks;
  hooks.stop = {&p, [](void* context) {
                  auto& probing = *static_cast<probe*>(context);
                  if (!probing.armed) return false;
                  const auto inner = (*probing.s)->step();
                  if (!inner && inner.error().code() == error_code::busy) ++probing.busy;
                  return false;
                }};
  session s = open_session(model.get(), {}, hooks);
  self = &s;
  REQUIRE(s.append(some_tokens(3)));
  p.armed = true;
  REQUIRE(s.step());
  p.armed = false;
  CHECK(p.busy > 0);
  CHECK(s.step());
}

TEST_CASE("session: nothing is allocated while tokens are computed") {
  const tiny_model model;
  counting_memory memory;
  {
    host hooks;
    hooks.memory = memory.hooks();
    session s = open_session(model.get(), {}, hooks);
    image_embedding e;
    REQUIRE(s.encode(tiny_picture().view, e));
    const std::size_t requests = memory.requests();
    REQUIRE(s.append(some_tokens(70)));
    REQUIRE(s.append(e));
    for (std::uint32_t i = 0; i < 5; ++i) {
      REQUIRE(s.append(some_tokens(1, i)));
      REQUIRE(s.step());
    }
    REQUIRE(s.rewind(3));
    CHECK(memory.requests() == requests);
  }
  CHECK(memory.live() == 0);
}

TEST_CASE("session: open fails cleanly at each allocation, and asks for what estimate says") {
  const tiny_model model;
  fail_every_allocation([&](const ocellus::memory_hooks& memory) {
    host hooks;
    hooks.memory = memory;
    return session::open(model.get(), {}, hooks);
  });
  for (std::uint32_t context : {0u, 7u}) {
    for (bool vision : {true, false}) {
      counting_memory memory;
      host hooks;
      hooks.memory = memory.hooks();
      ocellus::session_options options;
      options.context = context;
      options.vision = vision;
      const auto estimate = session::estimate(model.get().config(), options, hooks);
      REQUIRE(estimate);
      session s = open_session(model.get(), options, hooks);
      CHECK(memory.peak() >= memory.current());
      CHECK(static_cast<double>(memory.current()) <= static_cast<double>(*estimate) * 1.02 + 1024);
      CHECK(static_cast<double>(memory.current()) >= static_cast<double>(*estimate) * 0.98 - 1024);
    }
  }
}

TEST_CASE("session: an embedding made by one session serves another one of the same model") {
  const tiny_model model;
  session a = open_session(model.get()), b = open_session(model.get());
  image_embedding e;
  REQUIRE(a.encode(tiny_picture().view, e));
  for (session* s : {&a, &b}) {
    REQUIRE(s->append(e));
    REQUIRE(s->step());
  }
  CHECK(same_bits({a.logits().begin(), a.logits().end()}, {b.logits().begin(), b.logits().end()}));
  image_embedding other;
  REQUIRE(b.encode(tiny_picture(2).view, other));
  REQUIRE(b.rewind(0));
  REQUIRE(b.append(other));
  REQUIRE(b.step());
  CHECK(!same_bits({a.logits().begin(), a.logits().end()}, {b.logits().begin(), b.logits().end()}));
}

TEST_CASE("session: an observer sees every stage, and all positions' logits") {
  const tiny_model model;
  struct seen {
    std::vector<std::string> stages;
    std::vector<float> logits;
  } all;
  ocellus::session_options options;
  options.watch = {&all, [](void* context, std::string_view stage, std::uint32_t first_row,
                            ocellus::tensor_view<const float> values) {
                     auto& to = *static_cast<seen*>(context);
                     if (stage == "logits") {
                       CHECK(to.logits.size() == std::size_t{first_row} * tiny_vocabulary);
                       to.logits.insert(to.logits.end(), values.begin(), values.end());
                     } else {
                       to.stages.emplace_back(stage);
                     }
                   }};
  session watched = open_session(model.get(), options), plain = open_session(model.get());
  image_embedding e;
  REQUIRE(watched.encode(tiny_picture().view, e));
  const auto tokens = some_tokens(75);
  for (session* s : {&watched, &plain}) {
    REQUIRE(s->append(tokens));
    REQUIRE(s->step());
  }
  CHECK(all.stages == std::vector<std::string>{"vit.patches", "vit.block.0", "vit.block.1", "ln_vision",
                                               "qformer.layer.0", "qformer.layer.1", "image_embeds",
                                               "prompt_embeds", "phi.layer.0", "phi.layer.1"});
  REQUIRE(all.logits.size() == 75 * tiny_vocabulary);
  // Rows of the last layer are computed alike however many there are at once, but for rounding.
  for (std::size_t i = 0; i < tiny_vocabulary; ++i) {
    CHECK(all.logits[74 * tiny_vocabulary + i] == doctest::Approx(plain.logits()[i]).epsilon(1e-4));
    CHECK(watched.logits()[i] == all.logits[74 * tiny_vocabulary + i]);
  }
}
