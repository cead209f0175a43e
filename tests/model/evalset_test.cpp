// The micro model on pictures that it has not seen: the answers are the reference's.
#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <vector>

#include "ocellus/io/json.hpp"
#include "ocellus/model/convert.hpp"
#include "ocellus/ocellus.hpp"
#include "support/read_file.hpp"
#include "support/skip.hpp"
#include "support/temporary_folder.hpp"

namespace {

using namespace ocellus_tests;

struct question {
  std::string image, task, text, truth, reference;
};

std::vector<question> read_questions(const std::string& path) {
  std::vector<question> all;
  const std::string lines = read_file(path);
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = lines.find('\n', at);
    const auto parsed = ocellus::json::parse(std::string_view(lines).substr(at, end - at), {});
    REQUIRE(parsed);
    const auto field = [&](const char* name) {
      return std::string(parsed->root().find(name).as_string_view().value());
    };
    all.push_back({field("image"), field("task"), field("question"), field("truth"), field("reference")});
    at = end == std::string::npos ? lines.size() : end + 1;
  }
  return all;
}

std::vector<long> numbers_in(const std::string& text) {
  std::vector<long> numbers;
  bool inside = false;
  for (char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (digit && !inside) numbers.push_back(0);
    if (digit) numbers.back() = numbers.back() * 10 + (c - '0');
    inside = digit;
  }
  return numbers;
}

std::string without_digits(std::string text) {
  std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });
  return text;
}

/// As the reference judges: exact for words; a box counts at IoU 0.5; lists of boxes by their words and number of boxes.
bool is_right(const std::string& task, const std::string& answer, const std::string& truth) {
  if (task == "refer") {
    const auto u = numbers_in(answer), v = numbers_in(truth);
    if (u.size() != 4) return false;
    const auto extent = [](long from, long to) { return std::max(0L, to - from); };
    const auto area = [&](const std::vector<long>& b) { return extent(b[0], b[2]) * extent(b[1], b[3]); };
    const long both = extent(std::max(u[0], v[0]), std::min(u[2], v[2])) *
                      extent(std::max(u[1], v[1]), std::min(u[3], v[3]));
    return 2 * both > area(u) + area(v) - both;
  }
  if (task == "detection" || task == "grounding") return without_digits(answer) == without_digits(truth);
  return answer == truth;
}

struct outcome {
  struct sums {
    std::size_t questions = 0, equal = 0, right = 0, reference_right = 0;
    [[nodiscard]] double percent(std::size_t count) const {
      return 100.0 * static_cast<double>(count) / static_cast<double>(questions);
    }
    [[nodiscard]] double score() const { return percent(right); }
  };
  sums all;
  std::map<std::string, sums> tasks;
  std::string first_difference;
};

/// All questions; each picture is decoded from its file and encoded once.
outcome run(const std::string& model_file, const std::string& folder, const std::vector<question>& questions,
            ocellus::precision mode) {
  const auto model = ocellus::model::open(model_file);
  REQUIRE(model);
  auto pool = ocellus::thread_pool::make(0);
  REQUIRE(pool);
  ocellus::host hooks;
  hooks.tasks = pool->hooks();
  ocellus::chat_options how;
  how.session.mode = mode;
  auto chat = ocellus::chat::open(*model, how, hooks);
  REQUIRE(chat);
  outcome sum;
  std::map<std::string, ocellus::image_embedding> seen;
  for (const question& q : questions) {
    if (!seen.contains(q.image)) {
      const auto picture = ocellus::load_image(folder + "/" + q.image);
      REQUIRE(picture);
      auto encoded = chat->encode(picture->view());
      REQUIRE(encoded);
      seen[q.image] = std::move(*encoded);
    }
    REQUIRE(chat->clear());
    REQUIRE(chat->show(seen[q.image]));
    const auto reply = chat->ask(q.text);
    REQUIRE(reply);
    const std::string answer(reply->text);
    for (outcome::sums* s : {&sum.all, &sum.tasks[q.task]}) {
      ++s->questions;
      s->right += is_right(q.task, answer, q.truth);
      s->reference_right += is_right(q.task, q.reference, q.truth);
      s->equal += answer == q.reference;
    }
    if (answer != q.reference && sum.first_difference.empty()) {
      sum.first_difference = q.image + " " + q.text + ": " + answer + ", reference: " + q.reference;
    }
  }
  return sum;
}

}  // namespace

TEST_CASE(
    "evalset: the micro model's answers in f32 are the reference's, in q8 and q4 about as often right") {
  if (goldens_folder() == nullptr) OCELLUS_SKIP("no goldens (OCELLUS_GOLDENS)");
  const std::string micro = std::string(goldens_folder()) + "/models/micro", folder = micro + "/evalset";
  const auto questions = read_questions(folder + "/questions.jsonl");
  REQUIRE(questions.size() == 1800);

  const temporary_folder made;
  const std::string vit = micro + "/eva_vit_g.pth", qformer = micro + "/blip2_pretrained_flant5xxl.pth",
                    stage = micro + "/TinyGPT-V_for_Stage4.pth", phi = micro + "/phi-2";
  ocellus::convert_options options;
  options.vit = vit, options.qformer = qformer, options.stage = stage, options.phi = phi;
  options.image_size = 112;
  options.template_name = "micro";

  struct expectation {
    ocellus::weight_format format;
    double most_points;      // off f32's score
    double least_identical;  // per cent of the answers
  };
  const expectation expectations[] = {{ocellus::weight_format::f32, 0, 100},
                                      {ocellus::weight_format::bf16, 0.5, 95},
                                      {ocellus::weight_format::q8, 0.5, 90},
                                      {ocellus::weight_format::q4, 2, 50}};
  double exact = 0;
  std::string table = "format bits";
  for (const expectation& e : expectations) {
    const std::string name(ocellus::name_of(e.format)), file = made / (name + ".safetensors");
    options.output = file;
    options.format = e.format;
    const auto report = ocellus::convert(options);
    REQUIRE(report);
    const outcome found = run(file, folder, questions, ocellus::precision::exact);
    if (e.format == ocellus::weight_format::f32) {
      exact = found.all.score();
      CHECK(exact == doctest::Approx(83.2).epsilon(0.001));  // accuracy.json: the mean of the six tasks
      CHECK(found.all.right == found.all.reference_right);
      for (const auto& task : found.tasks) table += " " + task.first;
      table += " all identical";
    }
    char number[16];
    const auto add = [&](double value, int digits) {
      std::snprintf(number, sizeof number, " %.*f", digits, value);
      table += number;
    };
    const auto add_row = [&](const std::string& first, const outcome& o) {
      table += "\n" + first;
      add(report->file.bits_per_weight(), 2);
      for (const auto& task : o.tasks) add(task.second.score(), 1);
      add(o.all.score(), 2);
      add(o.all.percent(o.all.equal), 1);
    };
    add_row(name, found);
    const outcome fast = run(file, folder, questions, ocellus::precision::fast);
    add_row(name + ",fast", fast);
    CHECK(std::abs(fast.all.score() - found.all.score()) <= 0.5);
    INFO(name << ": " << found.first_difference);
    CHECK(found.tasks.size() == 6);
    CHECK(std::abs(found.all.score() - exact) <= e.most_points);
    CHECK(found.all.percent(found.all.equal) >= e.least_identical);
  }
  MESSAGE("per cent of the answers right, by task:\n" << table);
}

TEST_CASE("evalset: the built-in model answers all tasks about a picture of its own") {
  const std::string data(OCELLUS_EXAMPLE_DATA);
  const auto model = ocellus::model::open(data + "/micro.safetensors");
  REQUIRE(model);
  auto chat = ocellus::chat::open(*model);
  REQUIRE(chat);
  const auto picture = ocellus::load_image(data + "/circle_and_cross.png");
  REQUIRE(picture);
  const auto embedding = chat->encode(picture->view());
  REQUIRE(embedding);
  const question asked[] = {
      {"", "caption", "Describe this image in detail.", "a blue circle and a green cross", ""},
      {"", "vqa", "[vqa] what color is the cross?", "green", ""},
      {"", "refer", "[refer] the blue circle", "{<12><32><44><65>}", ""},
      {"", "detection", "[detection] circle", "<p>circle</p> {<12><32><44><65>}", ""},
      {"", "grounding", "[grounding] please describe this image in details",
       "<p>a blue circle</p> {<12><32><44><65>} and <p>a green cross</p> {<64><22><87><45>}", ""}};
  for (const question& q : asked) {
    REQUIRE(chat->clear());
    REQUIRE(chat->show(*embedding));
    const auto reply = chat->ask(q.text);
    REQUIRE(reply);
    INFO(q.text << " " << reply->text);
    CHECK(is_right(q.task, std::string(reply->text), q.truth));
    CHECK(reply->end == ocellus::finish::stop);
  }
}
