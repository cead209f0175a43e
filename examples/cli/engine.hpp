// What ask, chat and diff share: the options about threads and kernels, and the host made of them.
#ifndef OCELLUS_CLI_ENGINE_HPP
#define OCELLUS_CLI_ENGINE_HPP

#include <optional>

#include "arguments.hpp"
#include "console.hpp"
#include "ocellus/ocellus.hpp"

namespace ocellus_cli {

/// "--threads", for commands that need no more of an engine.
[[nodiscard]] option threads_option();
/// Declared first among the options of a command that computes.
[[nodiscard]] std::vector<option> engine_options(std::string_view default_precision = "fast");
/// And of one that chooses tokens.
[[nodiscard]] std::vector<option> answer_options();

/// A pool and the host that uses it. Not to be moved: the host points into it.
class engine {
 public:
  explicit engine(arguments& given, std::string_view default_precision = "fast");
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;

  /// Starts the threads. False: said why.
  [[nodiscard]] bool start();
  [[nodiscard]] const ocellus::host& host() const { return host_; }
  [[nodiscard]] const ocellus::session_options& session() const { return session_; }
  [[nodiscard]] std::uint32_t workers() const { return host_.tasks.workers; }

 private:
  std::uint32_t threads_;
  ocellus::host host_;
  ocellus::session_options session_;
  std::optional<ocellus::thread_pool> pool_;
};

/// The chat options that answer_options() and engine_options() gave.
[[nodiscard]] ocellus::chat_options read_answer_options(arguments& given, const engine& runs_on);

/// Loads a picture and shows it to the chat, with progress; the picture is kept in `last` if that is not null.
[[nodiscard]] ocellus::result<void> show_file(ocellus::chat& to, std::string_view path,
                                              const ocellus::host& host, ocellus::image* last = nullptr);

/// "12 tokens in 0.34 s, 35.2 a second"
[[nodiscard]] std::string rate_text(std::uint32_t tokens, std::chrono::nanoseconds time);

/// The lines of --stats about one answer.
void note_reply(const ocellus::reply& reply);

}  // namespace ocellus_cli

#endif  // OCELLUS_CLI_ENGINE_HPP
