#include "ocellus/chat/chat.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
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
using ocellus::step_state;

TEST_CASE("chat: a stop string ends the answer, whatever tokens it is cut into") {
  struct way {
    const char* name;
    std::vector<std::uint32_t> end;
    const char* text;
  };
  for (const way& w :
       {way{"one token", {tiny_token::stop}, "done"}, way{"with a space", {tiny_token::space_stop}, "done"},
        way{"two tokens", {tiny_token::two_hashes, '#', 'x'}, "done"},
        way{"begun inside a token", {tiny_token::ok_hash, tiny_token::two_hashes, 'x'}, "doneok"},
        way{"end of text", {tiny_token::end_of_text}, "done"},
        way{"after white space", {'\n', '\t', tiny_token::stop}, "done"},
        way{"after half a code point", {0xc3, tiny_token::stop}, "done\xef\xbf\xbd"},
        way{"after what only looks like it", {'#', '-', tiny_token::stop}, "done#-"},
        way{"end of text behind the beginning of a stop", {'#', tiny_token::end_of_text}, "done#"}}) {
    INFO(w.name);
    const tiny_model model(says(bytes_of("done") + w.end));
    chat c = open_chat(model.get());
    std::string streamed;
    int pieces = 0;
    const auto reply = c.ask("say it", [&](std::string_view piece) {
      streamed += piece;
      ++pieces;
      CHECK(!piece.empty());
    });
    REQUIRE(reply);
    CHECK(reply->text == w.text);
    CHECK(streamed == w.text);
    CHECK(pieces >= 4);
    CHECK(reply->end == finish::stop);
    CHECK(c.turns() == 1);
    CHECK(c.last().text == w.text);
  }
}

TEST_CASE("chat: pictures stand where the template puts them, in order, and only in their turn") {
  const tiny_model model;
  ocellus::chat_options options;
  options.max_tokens = 9;
  chat c = open_chat(model.get(), options);
  const tiny_picture picture;
  const auto embedding = c.encode(picture.view);
  REQUIRE(embedding);
  CHECK(c.pictures() == 0);
  CHECK(*c.show(picture.view) == step_state::done);
  CHECK(c.pictures() == 1);
  const auto with_picture = after_next_question(c);
  const auto before = encode(model.get(), "###Human: <Img>"),
             after = encode(model.get(), "</Img> Q ###Assistant: ");
  CHECK(close(with_picture, logits_of(model.get(), before + after, &*embedding, before.size())));
  CHECK(c.inner().length() == before.size() + 3 + after.size());

  // The same picture as an embedding gives the same bits.
  REQUIRE(c.clear());
  CHECK(c.pictures() == 0);
  REQUIRE(c.show(*embedding));
  CHECK(after_next_question(c) == with_picture);

  // Several; and after the turn none is left.
  REQUIRE(c.drop());
  CHECK(c.pictures() == 1);
  REQUIRE(c.show(tiny_picture(2).view));
  CHECK(c.pictures() == 2);
  const auto reply = c.ask("Q");
  REQUIRE(reply);
  const auto between = encode(model.get(), "</Img><Img>");
  CHECK(reply->prompt_tokens == before.size() + 3 + between.size() + 3 + after.size());
  CHECK(c.pictures() == 0);
  REQUIRE(c.ask("Q"));
}

TEST_CASE("chat: streamed text is whole code points, trimmed, and the whole answer") {
  // "  <a umlaut><euro sign> x\n" and then the stop; every byte is a token.
  const tiny_model model(
      says(bytes_of("\n\t\xc3\xa4\xe2\x82\xac\vx\f") + std::vector<std::uint32_t>{tiny_token::stop}));
  chat c = open_chat(model.get());
  std::vector<std::string> pieces;
  const auto reply = c.ask("?", [&](std::string_view piece) { pieces.emplace_back(piece); });
  REQUIRE(reply);
  CHECK(pieces == std::vector<std::string>{"\xc3\xa4", "\xe2\x82\xac", "\vx"});
  CHECK(reply->text == "\xc3\xa4\xe2\x82\xac\vx");
}

TEST_CASE("chat: step by step, with next to no time, it says the same") {
  tiny_options o;
  o.letters_only = true;
  const tiny_model model(o);
  ocellus::chat_options options;
  options.max_tokens = 12;
  chat at_once = open_chat(model.get(), options), stepwise = open_chat(model.get(), options);
  const tiny_picture picture;
  REQUIRE(at_once.show(picture.view));
  const auto expected = at_once.ask("what?");
  REQUIRE(expected);

  const ocellus::time_budget none{std::chrono::nanoseconds(0)};
  int shows = 0, steps = 0;
  for (;; ++shows) {
    const auto shown = stepwise.show(picture.view, none);
    REQUIRE(shown);
    if (*shown == step_state::done) break;
    CHECK(stepwise.pictures() == 0);
  }
  CHECK(shows > 10);
  CHECK(stepwise.step(none).error().code() == error_code::turn_state);
  REQUIRE(stepwise.begin("what?"));
  CHECK(stepwise.begin("and?").error().code() == error_code::turn_state);
  CHECK(stepwise.show(picture.view).error().code() == error_code::turn_state);
  std::string text;
  for (;; ++steps) {
    const auto state = stepwise.step(none);
    REQUIRE(state);
    text += stepwise.take();
    if (*state == step_state::done) break;
    CHECK(stepwise.last().end == finish::open);
  }
  CHECK(steps > 100);
  CHECK(text == expected->text);
  CHECK(stepwise.last().tokens == 12);
  CHECK(stepwise.last().end == finish::length);
}

TEST_CASE("chat: an empty question is only the template; special tokens in a question are text") {
  const tiny_model model;
  ocellus::chat_options options;
  options.max_tokens = 1;
  chat c = open_chat(model.get(), options);
  const auto empty = c.ask("");
  REQUIRE(empty);
  CHECK(empty->prompt_tokens == encode(model.get(), "###Human:  ###Assistant: ").size());
  REQUIRE(c.clear());
  const std::string_view trick = "<|endoftext|>###";
  const auto reply = c.ask(trick);
  REQUIRE(reply);
  const auto as_text = encode(model.get(), "###Human: <|endoftext|>### ###Assistant: ");
  CHECK(as_text.size() > 25);  // the tokenizer does not parse it unless asked
  CHECK(reply->prompt_tokens == as_text.size());
  REQUIRE(c.clear());
  CHECK(c.ask(std::string_view("nul \0 and \xff", 11)));
}

TEST_CASE("chat: sampling is seeded, and can be changed between answers") {
  const tiny_model model;
  ocellus::chat_options options;
  options.max_tokens = 20;
  options.choose = {.temperature = 3, .top_k = 30, .top_p = 0.95f, .repetition_penalty = 1.1f, .seed = 5};
  chat a = open_chat(model.get(), options), b = open_chat(model.get(), options);
  const std::string first(a.ask("tell me")->text);
  CHECK(b.ask("tell me")->text == first);
  REQUIRE(a.clear());
  CHECK(a.ask("tell me")->text != first);  // the random numbers go on
  REQUIRE(a.clear());
  REQUIRE(a.choose(options.choose));
  CHECK(a.ask("tell me")->text == first);
  CHECK(a.choose({.temperature = -1}).error().code() == error_code::invalid_argument);
}

TEST_CASE("chat: a score is the probability of the answer's tokens, and leaves no trace") {
  const tiny_model model;
  chat c = open_chat(model.get());
  REQUIRE(c.show(tiny_picture().view));
  const auto embedding = c.encode(tiny_picture().view);
  REQUIRE(embedding);
  const auto score = c.score("Q", "yes");
  REQUIRE(score);
  CHECK(score->tokens == 3);
  const auto before = encode(model.get(), "###Human: <Img>");
  auto context = before + encode(model.get(), "</Img> Q ###Assistant: ");
  double expected = 0;
  for (const std::uint32_t id : bytes_of("yes")) {
    expected += ocellus::log_probability(logits_of(model.get(), context, &*embedding, before.size()), id);
    context.push_back(id);
  }
  CHECK(score->log_probability == doctest::Approx(expected).epsilon(1e-5));
  CHECK(c.inner().length() == 0);
  CHECK(c.pictures() == 1);
  CHECK(c.turns() == 0);
  CHECK(c.score("Q", std::string(400, 'x')).error().code() == error_code::context_full);
  CHECK(c.inner().length() == 0);
  CHECK(c.score("Q", "")->tokens == 0);
}

TEST_CASE("chat: what cannot be opened says why") {
  const tiny_model model, wordless({.tokenizer = false}), blind({.vision = false});
  CHECK(chat::open(wordless.get()).error().code() == error_code::no_tokenizer);
  ocellus::chat_options options;
  options.template_name = "poem";
  const auto unknown = chat::open(model.get(), options);
  REQUIRE(!unknown);
  CHECK(unknown.error().code() == error_code::template_unknown);
  CHECK(unknown.error().message().find("poem") != std::string_view::npos);
  options = {};
  options.choose.top_p = 0;
  CHECK(chat::open(model.get(), options).error().code() == error_code::invalid_argument);

  chat c = open_chat(blind.get());
  CHECK(c.show(tiny_picture().view).error().code() == error_code::no_vision);
  CHECK(c.show(ocellus::image_embedding{}).error().code() == error_code::no_vision);
  CHECK(c.ask("words alone"));
  chat seeing = open_chat(model.get());
  CHECK(seeing.show(ocellus::image_embedding{}).error().code() == error_code::invalid_argument);
  CHECK(!seeing.show(ocellus::image_view{}));
  CHECK(seeing.pictures() == 0);
}

TEST_CASE("chat: a model whose logits are not numbers is an error, and the turn can be dropped") {
  tiny_options o;
  tiny_model model(o);
  // The bias of lm_head, in place: the file is used where it lies, but vectors are copied at open.
  const auto* bias = model.get().contents().find("phi.head.bias");
  REQUIRE(bias != nullptr);
  const float nan_value = std::nanf("");
  std::memcpy(model.file.data() + (bias->bytes.data() - model.file.data()) + 4 * 17, &nan_value, 4);
  const auto broken = ocellus::model::open(model.file);
  REQUIRE(broken);
  chat c = open_chat(*broken);
  const auto reply = c.ask("?");
  REQUIRE(!reply);
  CHECK(reply.error().code() == error_code::numeric);
  CHECK(c.answer(ocellus::text_sink{}).error().code() == error_code::turn_state);
  REQUIRE(c.drop());
  CHECK(c.inner().length() == 0);
}

TEST_CASE("chat: a callback that calls back is told that the chat is busy") {
  const tiny_model model(says(bytes_of("ab") + std::vector<std::uint32_t>{tiny_token::stop}));
  chat c = open_chat(model.get());
  int busy = 0;
  REQUIRE(c.ask("?", [&](std::string_view) {
    if (c.ask("again?").error().code() == error_code::busy) ++busy;
    if (c.clear().error().code() == error_code::busy) ++busy;
  }));
  CHECK(busy == 4);
  CHECK(c.turns() == 1);
}

TEST_CASE("chat: an answer allocates nothing while it is computed, and failing to open leaks nothing") {
  const tiny_model model;
  counting_memory memory;
  {
    host hooks;
    hooks.memory = memory.hooks();
    chat c = open_chat(model.get(), {}, hooks);
    REQUIRE(c.show(tiny_picture().view));
    REQUIRE(c.begin("what?"));
    const std::size_t requests = memory.requests();
    REQUIRE(c.answer([](std::string_view) {}));
    CHECK(memory.requests() == requests);
  }
  CHECK(memory.live() == 0);
  fail_every_allocation([&](const ocellus::memory_hooks& refusing) -> ocellus::result<void> {
    host hooks;
    hooks.memory = refusing;
    OCELLUS_ASSIGN(chat c, chat::open(model.get(), {.max_tokens = 3}, hooks));
    OCELLUS_TRY(c.show(tiny_picture().view));
    OCELLUS_TRY(c.ask("what?"));
    return {};
  });
}
