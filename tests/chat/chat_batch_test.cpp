// Chats that go on from one place, and chats that answer together.
#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "ocellus/image/decode.hpp"
#include "ocellus/text/prompt.hpp"
#include "support/chat_fixture.hpp"
#include "support/counting_memory.hpp"

using namespace ocellus_tests;
using ocellus::chat;
using ocellus::chat_options;
using ocellus::error_code;
using ocellus::finish;
using ocellus::host;
using ocellus::step_state;

namespace {

constexpr std::chrono::nanoseconds no_time{0};

chat fork(chat& from, std::uint32_t positions = 0) {
  auto made = from.fork(positions);
  INFO((made ? std::string_view() : made.error().message()));
  REQUIRE(made);
  return std::move(*made);
}

std::vector<chat> fork_times(chat& from, std::size_t count) {
  std::vector<chat> all;
  while (all.size() < count) all.push_back(fork(from));
  return all;
}

std::vector<chat*> pointers(std::vector<chat>& chats) {
  std::vector<chat*> all;
  for (chat& c : chats) all.push_back(&c);
  return all;
}

struct answer {
  std::string text;
  finish end;
  std::uint32_t tokens, prompt_tokens;
  explicit answer(const ocellus::reply& r)
      : text(r.text), end(r.end), tokens(r.tokens), prompt_tokens(r.prompt_tokens) {}
  bool operator==(const answer&) const = default;
};

std::vector<answer> answers_of(const std::vector<chat>& chats) {
  std::vector<answer> all;
  for (const chat& c : chats) all.emplace_back(c.last());
  return all;
}

/// A model that says letters, and questions of different lengths.
struct talk {
  tiny_model model{{.letters_only = true, .max_positions = 400}};
  std::vector<std::string> questions{"what?", "", "and how many of them are there in it, if any?", "Q"};
  chat_options options;

  talk() {
    options.max_tokens = 7;
    options.session.batch = 4;
  }
  chat open(const host& hooks = {}) const { return open_chat(model.get(), options, hooks); }
  /// Each question asked in a chat of its own, after `before` has been done to it.
  template <class Before>
  std::vector<answer> alone(const Before& before) const {
    std::vector<answer> all;
    for (const std::string& q : questions) {
      chat c = open();
      before(c);
      const auto reply = c.ask(q);
      REQUIRE(reply);
      all.emplace_back(*reply);
    }
    return all;
  }
  std::vector<chat> begun(chat& from) const {
    std::vector<chat> all = fork_times(from, questions.size());
    for (std::size_t i = 0; i < all.size(); ++i) REQUIRE(all[i].begin(questions[i]));
    return all;
  }
};

}  // namespace

TEST_CASE("chat: questions asked together about what was shown are answered as each would be alone") {
  talk t;
  const auto show_one = [](chat& c) { REQUIRE(c.show(tiny_picture().view)); };
  const auto show_two = [&](chat& c) {
    show_one(c);
    REQUIRE(c.show(tiny_picture(2).view));
  };
  const auto show_nothing = [](chat&) {};
  const auto one_turn = [&](chat& c) {
    show_one(c);
    REQUIRE(c.ask("what is it?"));
  };
  const auto a_turn_and_a_picture = [&](chat& c) {
    one_turn(c);
    REQUIRE(c.show(tiny_picture(3).view));
  };
  for (const ocellus::prompt_template& layout : ocellus::prompt_templates()) {
    INFO(layout.name);
    t.options.template_name = layout.name;
    const auto check = [&](const auto& before) {
      const std::vector<answer> expected = t.alone(before);
      chat c = t.open();
      before(c);
      const std::uint32_t pictures = c.pictures(), turns = c.turns();
      std::vector<chat> all = t.begun(c);
      CHECK(*chat::step(pointers(all)) == step_state::done);
      CHECK(answers_of(all) == expected);
      CHECK(c.pictures() == pictures);
      CHECK(c.turns() == turns);
      CHECK(all[0].turns() == turns + 1);
      CHECK(all[0].pictures() == 0);
      // The chat itself can still be asked, the first question and then another one; the forks as well.
      CHECK(answer(*c.ask(t.questions[0])) == expected[0]);
      const auto later = c.ask("why?");
      REQUIRE(later);
      CHECK(answer(*all[0].ask("why?")) == answer(*later));
    };
    check(show_one);
    check(show_nothing);
    if (layout.name != "micro") continue;
    check(show_two);
    check(one_turn);
    check(a_turn_and_a_picture);
  }
}

TEST_CASE("chat: what was prepared is not computed again, and stays when a question is dropped") {
  const talk t;
  chat c = t.open(), plain = t.open();
  CHECK(*c.prepare() == step_state::done);  // nothing is certain about a question without a picture
  CHECK(c.inner().length() == 0);
  for (chat* each : {&c, &plain}) REQUIRE(each->show(tiny_picture().view));
  int calls = 1;
  for (; *c.prepare(no_time) == step_state::more; ++calls) {
  }
  CHECK(calls > 10);
  const std::uint32_t ready = c.inner().position();
  CHECK(ready == encode(t.model.get(), "###Human: <Img>").size() + 3);
  CHECK(*c.prepare(no_time) == step_state::done);
  CHECK(c.pictures() == 1);

  const auto score = c.score("what?", "it"), expected_score = plain.score("what?", "it");
  REQUIRE(score);
  REQUIRE(expected_score);
  CHECK(score->log_probability == doctest::Approx(expected_score->log_probability).epsilon(1e-5));
  CHECK(c.inner().position() == ready);
  CHECK(plain.inner().position() == 0);
  REQUIRE(c.begin("something else"));
  REQUIRE(c.drop());
  CHECK(c.inner().position() == ready);
  const auto reply = c.ask("what?"), expected = plain.ask("what?");
  REQUIRE(reply);
  CHECK(answer(*reply) == answer(*expected));
  CHECK(c.turns() == 1);

  // A second picture behind a prepared first one; then everything is forgotten.
  REQUIRE(c.clear());
  REQUIRE(plain.clear());
  for (const std::uint32_t seed : {1u, 2u}) {
    REQUIRE(c.show(tiny_picture(seed).view));
    REQUIRE(c.prepare());
    REQUIRE(plain.show(tiny_picture(seed).view));
  }
  CHECK(close(after_next_question(c), after_next_question(plain)));
  // What was shared is not what comes after clear(), though it is as long.
  REQUIRE(c.clear());
  REQUIRE(plain.clear());
  for (const std::uint32_t seed : {1u, 2u}) {
    REQUIRE(c.clear());
    REQUIRE(c.show(tiny_picture(seed).view));
    chat forked = fork(c);
    REQUIRE(plain.clear());
    REQUIRE(plain.show(tiny_picture(seed).view));
    CHECK(close(after_next_question(forked), after_next_question(plain)));
  }
  REQUIRE(c.clear());
  CHECK(c.inner().length() == 0);
  REQUIRE(c.begin("Q"));
  CHECK(c.prepare().error().code() == error_code::turn_state);
  CHECK(c.fork().error().code() == error_code::turn_state);
}

TEST_CASE("chat: together, with next to no time or cancelled at any place, they say the same") {
  const talk t;
  struct stopper {
    std::uint64_t polls = 0, at = UINT64_MAX;
    static bool stop(void* self) {
      auto& s = *static_cast<stopper*>(self);
      return ++s.polls == s.at;
    }
  } stop;
  host hooks;
  hooks.stop = {&stop, stopper::stop};
  chat c = t.open(hooks);
  REQUIRE(c.show(tiny_picture().view));
  std::vector<chat> plain = t.begun(c);
  stop.polls = 0;
  REQUIRE(chat::step(pointers(plain)));
  const std::uint64_t polls = stop.polls;
  const std::vector<answer> expected = answers_of(plain);

  std::vector<chat> patient = t.begun(c);
  int calls = 0;
  std::string streamed;
  while (*chat::step(pointers(patient), no_time) == step_state::more) {
    ++calls;
    streamed += patient[0].take();
  }
  streamed += patient[0].take();
  CHECK(calls > 100);
  CHECK(answers_of(patient) == expected);
  CHECK(streamed == expected[0].text);

  for (std::uint64_t i = 0; i < 12; ++i) {
    std::vector<chat> all = t.begun(c);
    stop.polls = 0;
    stop.at = 1 + i * (polls - 1) / 11;
    INFO("stopped at poll " << stop.at << " of " << polls);
    const auto cancelled = chat::step(pointers(all));
    REQUIRE(!cancelled);
    CHECK(cancelled.error().code() == error_code::cancelled);
    REQUIRE(chat::step(pointers(all)));
    CHECK(answers_of(all) == expected);
    stop.at = UINT64_MAX;
  }

  // Cancelled in the middle of a fork: nothing is lost, the next one goes on.
  chat other = t.open(hooks);
  REQUIRE(other.show(tiny_picture().view));
  stop.polls = 0;
  stop.at = 5;
  const auto refused = other.fork();
  REQUIRE(!refused);
  CHECK(refused.error().code() == error_code::cancelled);
  std::vector<chat> all = t.begun(other);
  REQUIRE(chat::step(pointers(all)));
  CHECK(answers_of(all) == expected);
}

TEST_CASE("chat: together, each ends for its own reason while the others go on") {
  // "ab" and then the stop, or letters until the room is used up.
  const tiny_model model(says(bytes_of("ab") + std::vector<std::uint32_t>{tiny_token::stop}));
  chat_options options;
  options.session.batch = 2;
  chat c = open_chat(model.get(), options);
  const auto turn = static_cast<std::uint32_t>(encode(model.get(), "###Human: hi ###Assistant: ").size());
  chat stops = fork(c), full = fork(c, turn + 1), waits = fork(c);
  CHECK(full.inner().context() == turn + 1);
  REQUIRE(stops.begin("hi"));
  REQUIRE(full.begin("hi"));
  chat* all[] = {&waits, &full, &stops};
  CHECK(*chat::step(all) == step_state::done);
  CHECK(stops.last().end == finish::stop);
  CHECK(stops.last().text == "ab");
  CHECK(full.last().end == finish::context_full);
  CHECK(full.last().text == "ab");
  CHECK(full.last().tokens == 2);
  CHECK(waits.last().end == finish::open);
  CHECK(waits.turns() == 0);
  CHECK(full.begin("hi").error().code() == error_code::context_full);
  CHECK(*chat::step(all) == step_state::done);
  CHECK(*chat::step(std::span<chat* const>()) == step_state::done);
}

TEST_CASE("chat: one whose logits are no numbers fails alone and is named") {
  const talk t;
  chat c = t.open();
  chat good = fork(c), bad = fork(c);
  auto embedding = c.encode(tiny_picture().view);
  REQUIRE(embedding);
  REQUIRE(good.show(*embedding));
  embedding->values[5] = std::nanf("");
  REQUIRE(bad.show(*embedding));
  REQUIRE(good.begin("what?"));
  REQUIRE(bad.begin("what?"));
  chat* both[] = {&good, &bad};
  const auto failed = chat::step(both);
  REQUIRE(!failed);
  CHECK(failed.error().code() == error_code::numeric);
  CHECK(failed.error().message().starts_with("chat 2 of 2: "));
  CHECK(*chat::step(both) == step_state::done);
  chat plain = t.open();
  REQUIRE(plain.show(tiny_picture().view));
  CHECK(answer(good.last()) == answer(*plain.ask("what?")));
  CHECK(bad.last().end == finish::open);
  CHECK(bad.step().error().code() == error_code::turn_state);
  REQUIRE(bad.drop());
}

TEST_CASE("chat: what cannot answer together is an error that names the chat") {
  const talk t, other;
  chat c = t.open(), stranger = other.open();
  REQUIRE(c.begin("Q"));
  REQUIRE(stranger.begin("Q"));
  const auto refused = [&](chat* second, error_code code, std::string_view says) {
    chat* both[] = {&c, second};
    const auto state = chat::step(both);
    REQUIRE(!state);
    CHECK(state.error().code() == code);
    INFO(state.error().message());
    CHECK(state.error().message().find(says) != std::string_view::npos);
  };
  refused(nullptr, error_code::invalid_argument, "chat 2 of 2 is null");
  refused(&c, error_code::invalid_argument, "chat 2 of 2 is also chat 1");
  refused(&stranger, error_code::invalid_argument, "2 of 2 is of another model");
  int busy = 0;
  chat inside = t.open();
  REQUIRE(inside.ask("Q", [&](std::string_view) {
    chat* both[] = {&c, &inside};
    const auto state = chat::step(both);
    busy += !state && state.error().code() == error_code::busy &&
            state.error().message().starts_with("chat 2 of 2");
  }));
  CHECK(busy > 0);
  REQUIRE(c.answer(ocellus::text_sink{}));
}

TEST_CASE(
    "chat: forks that sample go different ways with different seeds, and share the logits of a whole "
    "prompt") {
  const tiny_model model;
  chat_options options;
  options.template_name = "caption";  // nothing stands behind the picture: an empty question is all prefix
  options.max_tokens = 12;
  options.session.batch = 3;
  options.choose = {.temperature = 3, .seed = 5};
  chat c = open_chat(model.get(), options);
  REQUIRE(c.show(tiny_picture().view));
  std::vector<chat> all = fork_times(c, 3);
  REQUIRE(all[2].choose({.temperature = 3, .seed = 6}));
  for (chat& each : all) REQUIRE(each.begin(""));
  REQUIRE(chat::step(pointers(all)));
  const std::vector<answer> said = answers_of(all);
  CHECK(said[0] == said[1]);
  CHECK(said[0].text != said[2].text);
  // Greedily, the chat itself says the same. (What a seed chooses may hang on a rounding.)
  REQUIRE(c.choose({}));
  chat greedy = fork(c);
  REQUIRE(greedy.choose({}));
  CHECK(answer(*greedy.ask("")) == answer(*c.ask("")));
}

TEST_CASE("chat: refused memory for a fork leaves the chat as it was") {
  const talk t;
  chat plain = t.open();
  REQUIRE(plain.show(tiny_picture().view));
  const answer expected(*plain.ask("what?"));
  fail_every_allocation([&](const ocellus::memory_hooks& refusing) -> ocellus::result<void> {
    host hooks;
    hooks.memory = refusing;
    OCELLUS_ASSIGN(chat c, chat::open(t.model.get(), t.options, hooks));
    OCELLUS_TRY(c.show(tiny_picture().view));
    auto forked = c.fork();
    CHECK(c.pictures() == 1);
    if (!forked) {
      const auto reply = c.ask("what?");
      if (reply) CHECK(answer(*reply) == expected);
      return forked.error();
    }
    OCELLUS_TRY(forked->begin("what?"));
    chat* list[] = {&*forked};
    OCELLUS_TRY(chat::step(list));
    CHECK(answer(forked->last()) == expected);
    return {};
  });
}

TEST_CASE(
    "chat: an answer of several chats allocates nothing while it is computed, and a second fork copies "
    "nothing") {
  const talk t;
  counting_memory memory;
  host hooks;
  hooks.memory = memory.hooks();
  {
    chat c = t.open(hooks);
    REQUIRE(c.show(tiny_picture().view));
    std::vector<chat> all = t.begun(c);
    const std::size_t requests = memory.requests();
    REQUIRE(chat::step(pointers(all)));
    CHECK(memory.requests() == requests);
    const std::size_t before = memory.current();
    chat small = fork(c, 30);
    const std::size_t one = memory.current() - before;
    ocellus::session_options behind;
    behind.context = c.inner().length() + 30;
    behind.prefix = *c.inner().share(c.inner().length());
    const auto estimate = ocellus::session::estimate(c.inner(), behind);
    REQUIRE(estimate);
    CHECK(one < *estimate + 40'000);  // a sampler, buffers of text
  }
  CHECK(memory.live() == 0);
}

TEST_CASE("chat: the built-in model answers all questions about a picture together as it does one by one") {
  const std::string data(OCELLUS_EXAMPLE_DATA);
  const auto model = ocellus::model::open(data + "/micro.safetensors");
  REQUIRE(model);
  const auto picture = ocellus::load_image(data + "/circle_and_cross.png");
  REQUIRE(picture);
  const char* const questions[] = {"Describe this image in detail.",
                                   "[vqa] what color is the cross?",
                                   "[vqa] what color is the circle?",
                                   "[refer] the blue circle",
                                   "[detection] circle",
                                   "[grounding] please describe this image in details"};
  chat_options options;
  options.session.batch = 6;
  chat c = open_chat(*model, options);
  REQUIRE(c.show(*picture));
  std::vector<chat> all = fork_times(c, 6);
  for (std::size_t i = 0; i < 6; ++i) REQUIRE(all[i].begin(questions[i]));
  REQUIRE(chat::step(pointers(all)));
  const auto embedding = c.encode(picture->view());
  REQUIRE(embedding);
  for (std::size_t i = 0; i < 6; ++i) {
    INFO(questions[i]);
    chat alone = open_chat(*model);
    REQUIRE(alone.show(*embedding));
    const auto reply = alone.ask(questions[i]);
    REQUIRE(reply);
    CHECK(answer(all[i].last()) == answer(*reply));
    CHECK(reply->end == finish::stop);
  }
}
