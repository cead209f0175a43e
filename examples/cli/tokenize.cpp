// ocellus tokenize: text to token ids and back.
#include <charconv>
#include <filesystem>

#include "commands.hpp"
#include "console.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/model/phi_folder.hpp"
#include "ocellus/text/tokenizer.hpp"

namespace ocellus_cli {
namespace {

int print_ids(const ocellus::tokenizer& words, const std::string& text, bool special) {
  ocellus::array<std::uint32_t> ids;
  if (const auto done = words.encode(text, {.parse_special = special}, ids); !done) return fail(done.error());
  std::string line;
  for (const std::uint32_t id : ids) {
    if (!line.empty()) line += ' ';
    line += std::to_string(id);
  }
  say(line + "\n");
  return exit_ok;
}

int print_text(const ocellus::tokenizer& words, const std::string& input) {
  ocellus::array<std::uint32_t> ids;
  for (const char *at = input.data(), *end = at + input.size(); at != end;) {
    if (std::string_view(" \t\r\n").find(*at) != std::string_view::npos) {
      ++at;
      continue;
    }
    std::uint32_t id = 0;
    const auto read = std::from_chars(at, end, id);
    if (read.ec != std::errc()) {
      return fail(ocellus::error(
          ocellus::error_code::invalid_argument, "not a token id: ",
          ocellus::quoted{{at, static_cast<std::size_t>((std::min)(end - at, std::ptrdiff_t{16}))}}));
    }
    if (!words.has_token(id))
      return fail(ocellus::error(ocellus::error_code::token_unknown, "id ", id, " has no token"));
    if (!ids.push_back(id)) return fail(ocellus::no_memory("the ids"));
    at = read.ptr;
  }
  ocellus::text text;
  if (const auto done = words.decode(ids.span(), text); !done) return fail(done.error());
  say(text.view());
  return exit_ok;
}

}  // namespace

usage declare_tokenize() {
  return {"tokenize",
          "MODEL|FOLDER",
          "Turns standard input, taken whole, into token ids; the tokenizer is a model's or a folder's.",
          {{"--decode", "", "the other way: ids to text"},
           {"--plain", "", "\"<|endoftext|>\" is text like any other, as in questions"}}};
}

int run_tokenize(arguments& given) {
  if (given.positionals().size() != 1) given.complain("one model or folder is needed");
  if (!given.problem().empty()) return exit_usage;
  const std::string path(given.positionals()[0]);
  const auto run = [&](const ocellus::tokenizer& words) {
    const std::string input = read_input();
    return given.has("--decode") ? print_text(words, input) : print_ids(words, input, !given.has("--plain"));
  };
  std::error_code none;
  if (std::filesystem::is_directory(path, none)) {
    auto words = ocellus::read_tokenizer_folder(path);
    if (!words) return fail(words.error());
    if (!*words)
      return fail(path + " holds no tokenizer: neither vocab.json and merges.txt nor tokenizer.json");
    return run(**words);
  }
  const auto model = ocellus::model::open(path);
  if (!model) return fail(model.error());
  if (model->tokenizer() == nullptr) return fail(path + " holds no tokenizer (no_tokenizer)");
  return run(*model->tokenizer());
}

}  // namespace ocellus_cli
