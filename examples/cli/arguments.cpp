#include "arguments.hpp"

#include <algorithm>

namespace ocellus_cli {

arguments::arguments(const usage& declared, const std::vector<std::string_view>& words) {
  bool only_positionals = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (only_positionals || !word.starts_with("--")) {
      positionals_.push_back(word);
      continue;
    }
    if (word == "--") {
      only_positionals = true;
      continue;
    }
    const std::size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const auto known = std::find_if(declared.options.begin(), declared.options.end(),
                                    [&](const option& o) { return o.name == name; });
    if (known == declared.options.end()) {
      complain("there is no option " + std::string(name));
    } else if (known->value.empty()) {
      if (equals != std::string_view::npos) complain(std::string(name) + " takes no value");
      options_.push_back({known->name, {}});
    } else if (equals != std::string_view::npos) {
      options_.push_back({known->name, word.substr(equals + 1)});
    } else if (i + 1 < words.size()) {
      options_.push_back({known->name, words[++i]});
    } else {
      complain(std::string(name) + " needs a value: " + std::string(known->value));
    }
  }
}

std::optional<std::string_view> arguments::find(std::string_view name) const {
  const auto last =
      std::find_if(options_.rbegin(), options_.rend(), [&](const given_option& o) { return o.name == name; });
  if (last == options_.rend()) return std::nullopt;
  return last->value;
}

bool arguments::has(std::string_view name) const { return find(name).has_value(); }

std::string_view arguments::text(std::string_view name, std::string_view otherwise) const {
  return find(name).value_or(otherwise);
}

void arguments::complain(std::string words) {
  if (problem_.empty()) problem_ = std::move(words);
}

std::string help_of(const usage& command, std::string_view program) {
  std::string help = "usage: " + std::string(program) + " " + std::string(command.command);
  if (!command.positionals.empty()) help += " " + std::string(command.positionals);
  help += command.options.empty() ? "\n" : " [options]\n";
  help += "  " + std::string(command.summary) + "\n";
  std::size_t widest = 0;
  for (const option& o : command.options) widest = (std::max)(widest, o.name.size() + o.value.size());
  for (const option& o : command.options) {
    const std::string left = std::string(o.name) + " " + std::string(o.value);
    help += "    " + left + std::string(widest + 3 - left.size(), ' ') + std::string(o.help) + "\n";
  }
  return help;
}

}  // namespace ocellus_cli
