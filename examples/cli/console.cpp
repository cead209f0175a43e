#include "console.hpp"

#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#else
#include <unistd.h>
#endif

namespace ocellus_cli {
namespace {

std::atomic<bool> interrupt_seen{false};
static_assert(std::atomic<bool>::is_always_lock_free);
bool progress_shown = false;

void on_interrupt(int) {
  if (interrupt_seen.exchange(true)) std::_Exit(130);
  std::signal(SIGINT, on_interrupt);
}

bool is_terminal(std::FILE* stream) {
#if defined(_WIN32)
  return _isatty(_fileno(stream)) != 0;
#else
  return isatty(fileno(stream)) != 0;
#endif
}

std::string number_text(double value, std::chars_format format, int digits) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof(text), value, format, digits);
  return std::string(text, end.ptr);
}

}  // namespace

void say(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void note(std::string_view line) {
  progress_done();
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fputc('\n', stderr);
}

int fail(const ocellus::error& why) {
  note("ocellus: " + std::string(why.message()) + " (" + std::string(ocellus::name_of(why.code())) + ")");
  return exit_error;
}

int fail(std::string_view why) {
  note("ocellus: " + std::string(why));
  return exit_error;
}

bool error_is_terminal() { return is_terminal(stderr); }
bool input_is_terminal() { return is_terminal(stdin); }

std::string read_input() {
  std::string all;
  char block[65536];
  for (std::size_t n; (n = std::fread(block, 1, sizeof(block), stdin)) != 0;) all.append(block, n);
  return all;
}

bool read_line(std::string& line) {
  line.clear();
  int c;
  while ((c = std::fgetc(stdin)) != EOF && c != '\n') line.push_back(static_cast<char>(c));
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return c != EOF || !line.empty();
}

void make_streams_binary() {
#if defined(_WIN32)
  _setmode(_fileno(stdin), _O_BINARY);
  _setmode(_fileno(stdout), _O_BINARY);
#endif
}

void progress(std::string_view line) {
  if (!error_is_terminal()) return;
  std::fprintf(stderr, "\r\x1b[K%.*s", static_cast<int>(line.size()), line.data());
  std::fflush(stderr);
  progress_shown = true;
}

void progress_done() {
  if (!progress_shown) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  progress_shown = false;
}

std::string seconds_text(std::chrono::nanoseconds time) {
  const double seconds = std::chrono::duration<double>(time).count();
  if (seconds < 1) return fixed_text(seconds * 1000, seconds < 0.1 ? 1 : 0) + " ms";
  return fixed_text(seconds, 2) + " s";
}

std::string bytes_text(std::uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= 1'000'000'000) return fixed_text(value / 1e9, 2) + " GB";
  if (bytes >= 1'000'000) return fixed_text(value / 1e6, 1) + " MB";
  if (bytes >= 1000) return fixed_text(value / 1e3, 1) + " KB";
  return std::to_string(bytes) + " B";
}

std::string printable(std::string_view text, std::size_t longest) {
  std::string out;
  for (const char c : text.substr(0, longest)) {
    if (c >= 0x20 && c < 0x7f && c != '\\') {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += "\\x";
      out += "0123456789abcdef"[byte >> 4];
      out += "0123456789abcdef"[byte & 15];
    }
  }
  return text.size() > longest ? out + "..." : out;
}

std::string fixed_text(double value, int digits) {
  return number_text(value, std::chars_format::fixed, digits);
}
std::string scientific_text(double value, int digits) {
  return number_text(value, std::chars_format::scientific, digits);
}

ocellus::stop_hooks catch_interrupts() {
  std::signal(SIGINT, on_interrupt);
  return {nullptr, [](void*) { return interrupt_seen.load(std::memory_order_relaxed); }};
}

bool interrupted() { return interrupt_seen.load(); }
void reset_interrupt() { interrupt_seen = false; }

}  // namespace ocellus_cli
