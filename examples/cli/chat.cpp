// ocellus chat: a conversation, a line of standard input a question.
#include "commands.hpp"
#include "engine.hpp"

namespace ocellus_cli {
namespace {

constexpr std::string_view chat_help =
    "A line is a question. /show FILE shows another picture with the next one, /clear begins anew, /quit "
    "ends.\n"
    "Ctrl-C ends an answer.";

/// One question; false if it failed.
bool answer_line(ocellus::chat& chat, std::string_view question, bool stats) {
  reset_interrupt();
  const auto reply = chat.ask(question, [](std::string_view piece) { say(piece); });
  if (reply) {
    say("\n");
    if (stats) note_reply(*reply);
    return true;
  }
  if (!chat.last().text.empty()) say("\n");
  fail(reply.error());
  if (const auto dropped = chat.drop(); !dropped) fail(dropped.error());
  return false;
}

}  // namespace

usage declare_chat() {
  usage u{"chat", "MODEL IMAGE...",
          "A conversation about a picture: each line of standard input is a question.", engine_options()};
  for (const option& o : answer_options()) u.options.push_back(o);
  return u;
}

int run_chat(arguments& given) {
  engine runs_on(given);
  const ocellus::chat_options options = read_answer_options(given, runs_on);
  const auto& words = given.positionals();
  if (words.empty()) given.complain("a model is needed");
  if (!given.problem().empty()) return exit_usage;
  if (!runs_on.start()) return exit_error;

  const auto model = ocellus::model::open(words.front(), runs_on.host());
  if (!model) return fail(model.error());
  auto chat = ocellus::chat::open(*model, options, runs_on.host());
  if (!chat) return fail(chat.error());
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (const auto shown = show_file(*chat, words[i], runs_on.host()); !shown) return fail(shown.error());
  }
  const bool typed = input_is_terminal();
  if (typed) note(chat_help);
  int code = exit_ok;
  std::string line;
  for (;;) {
    if (typed) {
      note("");
      progress("> ");
    }
    if (!read_line(line)) break;
    const std::string_view words_of_line(line);
    reset_interrupt();
    if (line == "/quit") break;
    if (line.empty()) continue;
    if (line == "/help") {
      note(chat_help);
    } else if (line == "/clear") {
      if (const auto cleared = chat->clear(); !cleared) code = fail(cleared.error());
    } else if (words_of_line.starts_with("/show ")) {
      if (const auto shown = show_file(*chat, words_of_line.substr(6), runs_on.host()); !shown)
        code = fail(shown.error());
    } else if (!answer_line(*chat, line, given.has("--stats"))) {
      code = exit_error;
    }
  }
  return code;
}

}  // namespace ocellus_cli
