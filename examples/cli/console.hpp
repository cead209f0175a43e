// The terminal: answers to standard output, everything else to standard error.
#ifndef OCELLUS_CLI_CONSOLE_HPP
#define OCELLUS_CLI_CONSOLE_HPP

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "ocellus/error.hpp"
#include "ocellus/host.hpp"

namespace ocellus_cli {

inline constexpr int exit_ok = 0, exit_error = 1, exit_usage = 2;

/// To standard output, at once.
void say(std::string_view text);
/// A line to standard error.
void note(std::string_view line);
/// "ocellus: message (code)" to standard error; returns exit_error.
int fail(const ocellus::error& why);
int fail(std::string_view why);

/// Is somebody looking at standard error / typing at standard input?
[[nodiscard]] bool error_is_terminal();
[[nodiscard]] bool input_is_terminal();

/// Standard input to its end, byte by byte as it is.
[[nodiscard]] std::string read_input();
/// One line of standard input without its end; false at the end.
[[nodiscard]] bool read_line(std::string& line);
/// Bytes go through standard output unchanged (Windows would turn newlines into two bytes).
void make_streams_binary();

/// A line on the terminal that is written over, for what takes a while; nothing where nobody looks.
void progress(std::string_view line);
void progress_done();

/// "1.23 s", "45 ms"
[[nodiscard]] std::string seconds_text(std::chrono::nanoseconds time);
/// "7.8 GB", "320 KB"
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);
/// Text from a file or a path, fit for a terminal: bytes other than printable ASCII, and backslashes, become \xHH; what
/// is longer than `longest` is cut.
[[nodiscard]] std::string printable(std::string_view text, std::size_t longest = 96);
/// A number with so many digits behind the point, and in scientific notation.
[[nodiscard]] std::string fixed_text(double value, int digits);
[[nodiscard]] std::string scientific_text(double value, int digits);

/// From now on Ctrl-C does not end the program but is told by the hooks; a second one before reset ends it.
[[nodiscard]] ocellus::stop_hooks catch_interrupts();
[[nodiscard]] bool interrupted();
void reset_interrupt();

}  // namespace ocellus_cli

#endif  // OCELLUS_CLI_CONSOLE_HPP
