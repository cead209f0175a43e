// ocellus ask: a question about a picture, or several that are answered together.
#include <algorithm>
#include <filesystem>

#include "commands.hpp"
#include "engine.hpp"
#include "picture_file.hpp"

namespace ocellus_cli {
namespace {

/// Questions that are answered in one computation.
constexpr std::size_t together = 8;

/// Is a word a picture and not a question? By its ending, or because there is a file of that name.
bool names_picture(std::string_view word) {
  for (const std::string_view ending : {".png", ".PNG", ".jpg", ".JPG", ".jpeg", ".JPEG"}) {
    if (word.ends_with(ending)) return true;
  }
  std::error_code none;
  return std::filesystem::is_regular_file(std::filesystem::path(word), none);
}

/// Answers all questions about what was shown, a line each. What they have in common is computed once.
ocellus::result<void> answer_all(ocellus::chat& about, std::span<const std::string_view> questions,
                                 std::uint32_t answer_tokens, bool stats) {
  for (std::size_t first = 0; first < questions.size(); first += together) {
    std::vector<ocellus::chat> chats;
    std::vector<ocellus::chat*> pointers;
    for (const std::string_view question :
         questions.subspan(first, std::min(together, questions.size() - first))) {
      // A token is a byte or more; the template adds less than 64 of them.
      const std::size_t room = question.size() + 64 + answer_tokens;
      const bool small = room < about.inner().context();
      OCELLUS_ASSIGN(auto chat, about.fork(small ? static_cast<std::uint32_t>(room) : 0));
      OCELLUS_TRY(chat.begin(question));
      chats.push_back(std::move(chat));
    }
    for (ocellus::chat& chat : chats) pointers.push_back(&chat);
    OCELLUS_TRY(ocellus::chat::step(pointers));
    for (const ocellus::chat& chat : chats) {
      say(std::string(chat.last().text) + "\n");
      if (stats) note_reply(chat.last());
    }
  }
  return {};
}

}  // namespace

usage declare_ask() {
  usage u{
      "ask", "MODEL IMAGE... TEXT...",
      "Answers a question about a picture (or several, or none); several questions are answered together, "
      "each for itself.",
      engine_options()};
  for (const option& o : answer_options()) u.options.push_back(o);
  u.options.push_back({"--boxes", "OUT.png", "draw the boxes of the answer into the (last) picture"});
  return u;
}

int run_ask(arguments& given) {
  engine runs_on(given);
  ocellus::chat_options options = read_answer_options(given, runs_on);
  const auto& words = given.positionals();
  std::size_t pictures = 0;  // the words behind the model's, but never the last
  while (pictures + 2 < words.size() && names_picture(words[pictures + 1])) ++pictures;
  const std::size_t questions = words.size() < 2 ? 0 : words.size() - 1 - pictures;
  options.session.batch = static_cast<std::uint32_t>(std::clamp(questions, std::size_t{1}, together));
  const bool boxes = given.has("--boxes");
  if (words.size() < (boxes ? 3u : 2u))
    given.complain(boxes ? "--boxes needs a picture to draw into" : "a model and a question are needed");
  if (boxes && questions > 1) given.complain("--boxes takes one question");
  if (!given.problem().empty()) return exit_usage;
  if (!runs_on.start()) return exit_error;

  const auto start = std::chrono::steady_clock::now();
  const auto model = ocellus::model::open(words.front(), runs_on.host());
  if (!model) return fail(model.error());
  auto chat = ocellus::chat::open(*model, options, runs_on.host());
  if (!chat) return fail(chat.error());
  const auto opened = std::chrono::steady_clock::now();
  ocellus::image picture;
  for (std::size_t i = 1; i <= pictures; ++i) {
    if (const auto shown = show_file(*chat, words[i], runs_on.host(), &picture); !shown)
      return fail(shown.error());
  }
  const auto seen = std::chrono::steady_clock::now();

  if (questions > 1) {
    const auto layout = ocellus::find_template(options.template_name.empty() ? model->default_template()
                                                                             : options.template_name);
    const std::uint32_t tokens = options.max_tokens != 0 ? options.max_tokens : (*layout)->max_tokens;
    const auto answered =
        answer_all(*chat, std::span(words).subspan(1 + pictures), tokens, given.has("--stats"));
    return answered ? exit_ok : fail(answered.error());
  }
  const auto reply = chat->ask(words.back(), [](std::string_view piece) { say(piece); });
  if (!reply && chat->last().tokens != 0) say("\n");  // the line that was begun
  if (!reply) return fail(reply.error());
  say("\n");
  if (given.has("--stats")) {
    note("kernels: " + std::string(chat->inner().target()) + ", " + std::to_string(runs_on.workers()) +
         " workers");
    note("opening: " + seconds_text(opened - start) + "; pictures: " + seconds_text(seen - opened));
    note_reply(*reply);
  }
  if (!boxes) return exit_ok;
  const auto drawn = draw_answer(picture, reply->text, given.text("--boxes"));
  if (!drawn) return fail(drawn.error());
  note(std::to_string(*drawn) + (*drawn == 1 ? " box" : " boxes") + " drawn into " +
       std::string(given.text("--boxes")));
  return exit_ok;
}

}  // namespace ocellus_cli
