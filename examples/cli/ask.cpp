// ocellus ask: one question about a picture.
#include "commands.hpp"
#include "engine.hpp"
#include "picture_file.hpp"

namespace ocellus_cli {

usage declare_ask() {
  usage u{"ask", "MODEL IMAGE... TEXT", "Answers a question about a picture (or several, or none).",
          engine_options()};
  for (const option& o : answer_options()) u.options.push_back(o);
  u.options.push_back({"--boxes", "OUT.png", "draw the boxes of the answer into the (last) picture"});
  return u;
}

int run_ask(arguments& given) {
  engine runs_on(given);
  const ocellus::chat_options options = read_answer_options(given, runs_on);
  const auto& words = given.positionals();
  const bool boxes = given.has("--boxes");
  if (words.size() < (boxes ? 3u : 2u))
    given.complain(boxes ? "--boxes needs a picture to draw into" : "a model and a question are needed");
  if (!given.problem().empty()) return exit_usage;
  if (!runs_on.start()) return exit_error;

  const auto start = std::chrono::steady_clock::now();
  const auto model = ocellus::model::open(words.front(), runs_on.host());
  if (!model) return fail(model.error());
  auto chat = ocellus::chat::open(*model, options, runs_on.host());
  if (!chat) return fail(chat.error());
  const auto opened = std::chrono::steady_clock::now();
  ocellus::image picture;
  for (std::size_t i = 1; i + 1 < words.size(); ++i) {
    if (const auto shown = show_file(*chat, words[i], runs_on.host(), &picture); !shown)
      return fail(shown.error());
  }
  const auto seen = std::chrono::steady_clock::now();

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
