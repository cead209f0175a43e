// What a chat has in its context: turns, what does not fit, and what is left after a stop.
#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "ocellus/text/prompt.hpp"
#include "support/chat_fixture.hpp"
#include "support/counting_memory.hpp"

using namespace ocellus_tests;
using ocellus::chat;
using ocellus::error_code;
using ocellus::finish;
using ocellus::host;

TEST_CASE("chat: what stays of an answer is its visible text, token by token") {
  struct way {
    const char* name;
    std::vector<std::uint32_t> answer;
    std::size_t kept, carried;  // positions, and tokens that the next question begins with
  };
  const std::vector<std::uint32_t> done = bytes_of("done");
  for (const way& w :
       {way{"one token", done + std::vector<std::uint32_t>{tiny_token::stop}, 4, 0},
        way{"with a space", done + std::vector<std::uint32_t>{tiny_token::space_stop}, 4, 0},
        way{"two tokens", done + std::vector<std::uint32_t>{tiny_token::two_hashes, '#'}, 4, 0},
        way{"begun inside a token", {'d', tiny_token::ok_hash, tiny_token::two_hashes}, 1, 1},
        way{"end of text", done + std::vector<std::uint32_t>{tiny_token::end_of_text}, 4, 0},
        way{"end of text behind the beginning of a stop",
            done + std::vector<std::uint32_t>{'#', tiny_token::end_of_text}, 5, 0},
        way{"after white space", done + std::vector<std::uint32_t>{'\n', '\t', tiny_token::stop}, 4, 0},
        way{"nothing but a stop", {tiny_token::stop}, 0, 0}}) {
    INFO(w.name);
    const tiny_model model(says(w.answer));
    chat c = open_chat(model.get());
    REQUIRE(c.ask("hi"));
    const std::size_t turn = encode(model.get(), "###Human: hi ###Assistant: ").size();
    CHECK(c.inner().length() == turn + w.kept);
    const auto second = c.ask("hi");
    REQUIRE(second);
    CHECK(second->prompt_tokens == turn + w.carried);
  }
}

TEST_CASE("chat: the next turn is computed as if the stop string had never been there") {
  tiny_options o;
  o.letters_only = true;
  ocellus::chat_options options;
  options.max_tokens = 6;
  const tiny_model unstopped(o);
  const auto whole = std::string(open_chat(unstopped.get(), options).ask("hi")->text);
  REQUIRE(whole.size() == 6);
  for (const std::size_t length :
       {1u, 2u, 3u}) {  // of the stop string, which begins with the third letter or before
    o.stops = {whole.substr(2, length)};
    const tiny_model model(o);
    chat c = open_chat(model.get(), options);
    const auto reply = c.ask("hi");
    REQUIRE(reply);
    CHECK(reply->end == finish::stop);
    const std::string said = whole.substr(0, whole.find(o.stops[0]));
    CHECK(reply->text == said);
    const auto context = encode(model.get(), "###Human: hi ###Assistant: ") + bytes_of(said) +
                         encode(model.get(), "###Human: Q ###Assistant: ");
    CHECK(close(after_next_question(c), logits_of(model.get(), context)));
  }
}

TEST_CASE("chat: answers stay in the context") {
  const tiny_model model;  // noise: what it says depends on everything before
  ocellus::chat_options options;
  options.max_tokens = 6;
  chat c = open_chat(model.get(), options);
  std::vector<std::uint32_t> context;
  for (const char* question : {"one", "two"}) {
    context = context + encode(model.get(), std::string("###Human: ") + question + " ###Assistant: ");
    const auto reply = c.ask(question);
    REQUIRE(reply);
    CHECK(reply->end == finish::length);
    CHECK(reply->tokens == 6);
    for (std::uint32_t i = 0; i < reply->tokens; ++i) {  // greedy, among ids that have a token
      const auto logits = logits_of(model.get(), context);
      std::uint32_t best = 0;
      for (std::uint32_t id = 1; id < 262; ++id) best = logits[id] > logits[best] ? id : best;
      context.push_back(best);
    }
  }
  const auto logits = after_next_question(c);
  CHECK(close(logits, logits_of(model.get(), context + encode(model.get(), "###Human: Q ###Assistant: "))));
  context.pop_back();  // the test sees it if one token is missing
  CHECK(!close(logits, logits_of(model.get(), context + encode(model.get(), "###Human: Q ###Assistant: "))));
}

TEST_CASE("chat: cancelled, an answer goes on as if nothing had happened, or is dropped without a trace") {
  const tiny_model model;
  struct stopper {
    std::uint64_t polls = 0, at = UINT64_MAX;
    static bool stop(void* self) {
      auto& s = *static_cast<stopper*>(self);
      return ++s.polls == s.at;
    }
  } stop;
  host hooks;
  hooks.stop = {&stop, stopper::stop};
  ocellus::chat_options options;
  options.max_tokens = 5;
  chat c = open_chat(model.get(), options, hooks);
  REQUIRE(c.show(tiny_picture().view));
  stop.polls = 0;
  const auto reply = c.ask("what?");
  REQUIRE(reply);
  const std::string expected(reply->text);
  const std::uint64_t polls = stop.polls;
  const auto after = after_next_question(c);
  const std::uint32_t length = c.inner().length();

  std::vector<std::uint64_t> places{1, 2, 3, 4};  // the question's own tokens are taken first
  for (std::uint64_t i = 1; i < 8; ++i) places.push_back(1 + i * (polls - 1) / 7);
  for (std::size_t i = 0; i < places.size(); ++i) {
    INFO("stopped at poll " << places[i] << " of " << polls);
    REQUIRE(c.clear());
    stop.at = UINT64_MAX;
    REQUIRE(c.show(tiny_picture().view));
    stop.polls = 0;
    stop.at = places[i];
    auto cancelled = c.ask("what?");
    REQUIRE(!cancelled);
    CHECK(cancelled.error().code() == error_code::cancelled);
    if (i % 2 == 0) {
      REQUIRE(c.drop());
      CHECK(c.inner().length() == 0);
      CHECK(c.last().text.empty());
      CHECK(c.pictures() == 1);  // it waits for the next question
      cancelled = c.ask("what?");
    } else if (c.inner().length() != 0) {
      cancelled = c.answer([](std::string_view) {});
    } else {
      cancelled = c.ask("what?");  // the question was not taken
    }
    REQUIRE(cancelled);
    CHECK(cancelled->text == expected);
    CHECK(after_next_question(c) == after);
    CHECK(c.inner().length() == length);
  }
  CHECK(c.drop());
  CHECK(c.drop());  // nothing to drop is no error
}

TEST_CASE("chat: what does not fit is refused before any work, with the numbers") {
  const tiny_model model;
  ocellus::chat_options options;
  options.session.context = 40;
  chat c = open_chat(model.get(), options);
  const std::string_view frame = "###Human:  ###Assistant: ";
  const std::size_t taken = encode(model.get(), frame).size();
  const std::string fits(39 - taken, 'x');
  const auto refused = c.ask(fits + "x");
  REQUIRE(!refused);
  CHECK(refused.error().code() == error_code::context_full);
  CHECK(refused.error().message() ==
        "the question takes 40 positions and its answer at least 1, but 40 of the context's 40 are left");
  CHECK(c.inner().length() == 0);
  REQUIRE(c.show(tiny_picture().view));
  CHECK(!c.ask(fits));
  CHECK(c.pictures() == 1);  // nothing is lost
  REQUIRE(c.clear());

  // A question that just fits: one position, two tokens, then the context is full.
  const auto reply = c.ask(fits);
  REQUIRE(reply);
  CHECK(reply->end == finish::context_full);
  CHECK(reply->tokens == 2);
  CHECK(c.inner().length() == 40);
  CHECK(c.ask("more").error().code() == error_code::context_full);
  REQUIRE(c.clear());
  CHECK(c.ask("short again"));
}

TEST_CASE(
    "chat: a context too small for any question is full, an answer without bound ends with the context") {
  const tiny_model model;
  ocellus::chat_options options;
  for (const std::uint32_t context : {1u, 2u, 3u}) {
    options.session.context = context;
    chat c = open_chat(model.get(), options);
    CHECK(c.ask("").error().code() == error_code::context_full);
    CHECK(c.show(tiny_picture().view));
    CHECK(c.ask("?").error().code() == error_code::context_full);
    CHECK(c.score("?", "!").error().code() == error_code::context_full);
    CHECK(c.inner().length() == 0);
  }
  options.session.context = 60;
  for (const std::uint32_t most : {59u, 0x80000000u, 0xffffffffu}) {
    tiny_options talkative;
    talkative.letters_only = true;
    const tiny_model never_stops(talkative);
    options.max_tokens = most;
    chat c = open_chat(never_stops.get(), options);
    const auto reply = c.ask("?");
    REQUIRE(reply);
    CHECK(reply->end == finish::context_full);
    CHECK(c.inner().length() == 60);
  }
}

TEST_CASE("chat: the template's end-of-text token, opening and answer end are where they belong") {
  tiny_options o;
  o.max_positions = 400;
  const tiny_model model(o);
  for (const ocellus::prompt_template& t : ocellus::prompt_templates()) {
    INFO(t.name);
    ocellus::chat_options options;
    options.template_name = t.name;
    options.max_tokens = 1;
    chat c = open_chat(model.get(), options);
    const auto turn = [&](std::string_view opening) {
      return encode(model.get(),
                    std::string(opening) + std::string(t.turn_begin) + "Q" + std::string(t.turn_end));
    };
    const std::size_t first = turn(t.opening).size() + (t.begins_with_end_of_text ? 1 : 0);
    const auto reply = c.ask("Q");
    REQUIRE(reply);
    CHECK(reply->prompt_tokens == first);
    const auto second = c.ask("Q");
    REQUIRE(second);
    const std::size_t between = t.later_end_of_text
                                    ? encode(model.get(), t.answer_end).size() + 1 + turn("").size()
                                    : turn(t.answer_end).size();
    CHECK(second->prompt_tokens == between + 1);  // and the last answer's token
  }
}

TEST_CASE("chat: refused memory for a question changes nothing") {
  const tiny_model model;
  ocellus::chat_options options;
  options.max_tokens = 4;
  chat plain = open_chat(model.get(), options);
  REQUIRE(plain.ask("first"));
  const std::string expected(plain.ask("second")->text);
  for (std::size_t n = 1; n < 6; ++n) {
    counting_memory memory;
    host hooks;
    hooks.memory = memory.hooks();
    chat c = open_chat(model.get(), options, hooks);
    REQUIRE(c.ask("first"));
    const std::uint32_t length = c.inner().length();
    memory.fail(n, counting_memory::failing::for_ever);
    const auto refused = c.ask("second");
    memory.fail(0, counting_memory::failing::never);
    if (!refused) {
      CHECK(refused.error().code() == error_code::out_of_memory);
      CHECK(c.inner().length() == length);
      CHECK(c.ask("second")->text == expected);
    }
  }
}

TEST_CASE("chat: refused memory at the end of an answer leaves a turn that can be dropped and asked again") {
  // The stop string begins inside a token of so many bytes that encoding the rest of it takes memory.
  const tiny_model model(says({'a', tiny_token::long_hash, tiny_token::two_hashes}));
  counting_memory memory;
  host hooks;
  hooks.memory = memory.hooks();
  chat c = open_chat(model.get(), {}, hooks);
  REQUIRE(c.begin("one"));
  memory.fail(1, counting_memory::failing::for_ever);
  const auto refused = c.answer(ocellus::text_sink{});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == error_code::out_of_memory);
  CHECK(c.answer(ocellus::text_sink{}).error().code() == error_code::turn_state);
  memory.fail(0, counting_memory::failing::never);
  REQUIRE(c.drop());
  CHECK(c.inner().length() == 0);
  CHECK(c.turns() == 0);
  const auto reply = c.ask("one");
  REQUIRE(reply);
  CHECK(reply->text == "a" + std::string(60, 'x'));
  CHECK(reply->end == finish::stop);
}

TEST_CASE("chat: nothing of a dropped answer is in the next one") {
  // The first token begins a code point that the second does not go on with; dropped between the two.
  const tiny_model model(says({0xc3, 'x', tiny_token::stop}));
  chat c = open_chat(model.get());
  REQUIRE(c.begin("one"));
  while (c.last().tokens == 0) REQUIRE(c.step({std::chrono::nanoseconds(0)}));
  REQUIRE(c.drop());
  CHECK(c.take().empty());
  const auto reply = c.ask("two");
  REQUIRE(reply);
  CHECK(reply->text == "\xef\xbf\xbdx");
  CHECK(reply->tokens == 3);
}
