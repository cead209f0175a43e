// Command lines: positional arguments and options that a command declares; anything else is a usage error.
#ifndef OCELLUS_CLI_ARGUMENTS_HPP
#define OCELLUS_CLI_ARGUMENTS_HPP

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ocellus_cli {

struct option {
  std::string_view name;   ///< "--threads"
  std::string_view value;  ///< what its value is called in the help; empty: it takes none
  std::string_view help;
};

/// What a command takes, for parsing and for its help.
struct usage {
  std::string_view command;      ///< "ask"
  std::string_view positionals;  ///< "MODEL IMAGE TEXT"
  std::string_view summary;      ///< one sentence
  std::vector<option> options;
};

/// A command line that was understood. What was not is in problem(), and the command ends with exit code 2.
class arguments {
 public:
  /// `words`: what stands behind the command's name. Options may stand anywhere before "--", as "--name value" or
  /// "--name=value"; the last of several counts.
  arguments(const usage& declared, const std::vector<std::string_view>& words);

  [[nodiscard]] const std::vector<std::string_view>& positionals() const { return positionals_; }
  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] std::string_view text(std::string_view name, std::string_view otherwise = {}) const;

  /// The number that follows an option; one outside [least, most], or with anything behind it, is a problem.
  template <class Number>
  [[nodiscard]] Number number(std::string_view name, Number otherwise, Number least, Number most) {
    const auto given = find(name);
    if (!given) return otherwise;
    Number value{};
    const char* const end = given->data() + given->size();
    const auto read = std::from_chars(given->data(), end, value);
    if (read.ec != std::errc() || read.ptr != end || !(value >= least && value <= most)) {
      complain(std::string(name) + " takes a number from " + written(least) + " to " + written(most) +
               ", not \"" + std::string(*given) + "\"");
      return otherwise;
    }
    return value;
  }

  /// Notes a usage error; the first one counts.
  void complain(std::string words);
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  template <class Number>
  static std::string written(Number value) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof(digits), value);
    return std::string(digits, end.ptr);
  }

  struct given_option {
    std::string_view name, value;
  };
  std::vector<std::string_view> positionals_;
  std::vector<given_option> options_;
  std::string problem_;
};

/// The help of one command of a program.
[[nodiscard]] std::string help_of(const usage& command, std::string_view program = "ocellus");

}  // namespace ocellus_cli

#endif  // OCELLUS_CLI_ARGUMENTS_HPP
