// Prompt templates, byte for byte.
#include "ocellus/text/prompt.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "ocellus/text/stop_matcher.hpp"
#include "support/counting_memory.hpp"

namespace {

using ocellus::find_template;
using ocellus::prompt;
using ocellus::prompt_part;

// Pictures as {I}, the end-of-text token as {E}, borders of texts as nothing: they can only be at those.
std::string laid_out(std::string_view name, prompt::turn which, unsigned images, std::string_view text) {
  const auto layout = find_template(name);
  REQUIRE(layout);
  const auto made = prompt::make(**layout, which, images, text);
  REQUIRE(made);
  std::string all;
  bool text_before = false;
  for (std::size_t i = 0; i < made->size(); ++i) {
    const ocellus::prompt_segment segment = (*made)[i];
    const bool is_text = segment.part == prompt_part::text;
    CHECK_FALSE((is_text && text_before));
    CHECK(segment.text.empty() != is_text);
    text_before = is_text;
    all += is_text ? std::string(segment.text) : segment.part == prompt_part::image ? "{I}" : "{E}";
  }
  return all;
}

std::string first(std::string_view name, std::string_view text = "What is it?", unsigned images = 1) {
  return laid_out(name, prompt::turn::first, images, text);
}
std::string later(std::string_view name, unsigned images = 0) {
  return laid_out(name, prompt::turn::later, images, "And why?");
}

}  // namespace

TEST_CASE("prompt: first turns are those of the training and the demonstrations") {
  CHECK(first("caption", "") == "{E}{I}");
  CHECK(first("alignment") == "{E}###Human: <Img>{I}</Img> What is it? ###Assistant: ");
  CHECK(first("chat_v0") ==
        "Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I provide "
        "it to "
        "you. Please answer my questions.###Human: <Img>{I}</Img> What is it?###Assistant: ");
  CHECK(first("inst") == "{E}[INST] <Img>{I}</Img> What is it?  [/INST]");
  CHECK(first("chat_v2") == "<s>[INST] <Img>{I}</Img> What is it? [/INST]");
  CHECK(first("eval") == "###Human: <Img>{I}</Img> What is it?###Assistant: ");
  CHECK(first("micro") == "###Human: <Img>{I}</Img> What is it? ###Assistant: ");
}

TEST_CASE("prompt: later turns go on where the answer ended, without its stop string") {
  CHECK(later("caption") == "\nAnd why?");
  CHECK(later("alignment") == "###Human: And why? ###Assistant: ");
  CHECK(later("chat_v0") == "###Human: And why?###Assistant: ");
  CHECK(later("inst") == "###{E}[INST] And why?  [/INST]");
  CHECK(later("chat_v2") == "<s>[INST] And why? [/INST]");
  CHECK(later("eval") == "###Human: And why?###Assistant: ");
  CHECK(later("micro", 1) == "###Human: <Img>{I}</Img> And why? ###Assistant: ");
}

TEST_CASE("prompt: no picture, several pictures, no text") {
  CHECK(first("micro", "Hello.", 0) == "###Human: Hello. ###Assistant: ");
  CHECK(first("micro", "Which?", 2) == "###Human: <Img>{I}</Img><Img>{I}</Img> Which? ###Assistant: ");
  CHECK(first("micro", "", 1) == "###Human: <Img>{I}</Img> ###Assistant: ");
  CHECK(first("micro", "", 0) == "###Human:  ###Assistant: ");
  CHECK(first("caption", "a photo of", 1) == "{E}{I}a photo of");
  CHECK(first("caption", "", 0) == "{E}");
  const auto layout = find_template("micro");
  REQUIRE(layout);
  CHECK(prompt::make(**layout, prompt::turn::first, prompt::max_images, ""));
  CHECK(prompt::make(**layout, prompt::turn::first, prompt::max_images + 1, "").error().code() ==
        ocellus::error_code::invalid_argument);
}

TEST_CASE("prompt: templates are found by name and have usable stop strings") {
  CHECK(ocellus::prompt_templates().size() == 7);
  std::set<std::string_view> names;
  for (const ocellus::prompt_template& known : ocellus::prompt_templates()) {
    names.insert(known.name);
    REQUIRE(find_template(known.name));
    CHECK(*find_template(known.name) == &known);
    CHECK(ocellus::stop_matcher::make({&known.stop, 1}));
    CHECK(known.max_tokens > 0);
    CHECK_FALSE(known.use.empty());
  }
  CHECK(names.size() == 7);
  CHECK((*find_template("caption"))->stop == "\n");
  CHECK((*find_template("inst"))->stop == "###");
  CHECK((*find_template("eval"))->max_tokens == 20);
  CHECK((*find_template("chat_v2"))->temperature == 0.6f);
  for (const std::string_view name : {"", "Micro", "micro ", "chat\nv0"}) {
    const auto none = find_template(name);
    REQUIRE_FALSE(none);
    CHECK(none.error().code() == ocellus::error_code::template_unknown);
    CHECK(none.error().message().find("alignment") != std::string_view::npos);
    CHECK(none.error().message().find('\n') == std::string_view::npos);
  }
}

TEST_CASE("prompt: task tags") {
  using ocellus::task;
  const auto text_of = [](task what, std::string_view subject) {
    ocellus::text out;
    REQUIRE(ocellus::append_task(what, subject, out));
    return std::string(out.view());
  };
  CHECK(text_of(task::none, "Hi") == "Hi");
  CHECK(text_of(task::vqa, "what color is the car?") == "[vqa] what color is the car?");
  CHECK(text_of(task::caption, "") == "[caption] please describe this image?");
  CHECK(text_of(task::caption, "briefly") == "[caption] briefly");
  CHECK(text_of(task::grounding, "") == "[grounding] please describe this image in details");
  CHECK(text_of(task::refer, "the man's hat") == "[refer] give me the location of the man's hat");
  CHECK(text_of(task::identify, "{<12><34><56><78>}") ==
        "[identify] what object is in this location {<12><34><56><78>}");
  CHECK(text_of(task::detection, "circle") == "[detection] circle");
  ocellus_tests::fail_every_allocation([](const ocellus::memory_hooks& memory) {
    ocellus::text out(memory);
    auto done = ocellus::append_task(task::refer, "a thing", out);
    if (!done) CHECK(out.empty());
    return done;
  });
}

TEST_CASE("prompt: out of memory is an error") {
  ocellus_tests::fail_every_allocation([](const ocellus::memory_hooks& memory) {
    return prompt::make(ocellus::prompt_templates()[2], prompt::turn::first, 3, "What is this?", memory);
  });
}
