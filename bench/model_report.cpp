#include "model_report.hpp"

#include <cstdio>

#include "measure.hpp"

namespace ocellus_bench {
namespace {

std::string quoted(const std::string& text) {
  std::string written = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') written += '\\';
    written += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  }
  return written + '"';
}

std::string list(const std::vector<double>& values) {
  std::string written = "[";
  for (std::size_t i = 0; i < values.size(); ++i) {
    char text[32];
    std::snprintf(text, sizeof text, i == 0 ? "%.6g" : ",%.6g", values[i]);
    written += text;
  }
  return written + ']';
}

/// How many times as fast as on one thread.
double speed_up(const report& r, const figure& f) {
  for (const figure& one : r.figures) {
    if (one.group != f.group || one.what != f.what || one.threads != 1) continue;
    const double more = f.machine_amount != 0 ? f.machine_amount / one.machine_amount : 1;
    return more * median(one.seconds) / median(f.seconds);
  }
  return 0;
}

void print_figure(const report& r, const figure& f) {
  const double s = median(f.seconds);
  std::string what = f.what;
  if (f.tokens != 0) what += ", " + std::to_string(f.tokens) + " tokens";
  if (f.group == "threads")
    what += ", " + std::to_string(f.threads) + (f.threads == 1 ? " thread" : " threads");
  std::printf("  %-38s %9.1f ms", what.c_str(), s * 1e3);
  f.tokens != 0 ? std::printf(" %8.1f tokens/s", f.tokens / s) : std::printf("%18s", "");
  if (!f.shares.empty()) {
    const double amount = f.by_reading ? f.least.bytes : f.least.operations;
    std::printf(" %7.1f %s, %3.0f %%", amount / s * 1e-9, f.by_reading ? "GB/s" : "GFLOP/s",
                100 * median(f.shares));
  }
  if (f.machine_amount != 0) std::printf(" %7.1f G/s", f.machine_amount / s * 1e-9);
  if (f.group == "threads" && f.threads != 1) std::printf("  x %.2f", speed_up(r, f));
  std::printf("\n");
}

}  // namespace

void report::print_table() const {
  std::printf("%s: %s, %s, %s, %u threads, context %u\n", file.c_str(), format.c_str(), target.c_str(),
              precision.c_str(), threads, context);
  if (read_bytes_per_second != 0) {
    std::printf("the machine: reads %.1f GB/s, %s %.0f GFLOP/s\n", read_bytes_per_second * 1e-9,
                instruction.c_str(), operations_per_second * 1e-9);
  }
  double load = 0;
  std::string group;
  for (const figure& f : figures) {
    if (f.group != group) std::printf("%s\n", f.group.c_str());
    group = f.group;
    print_figure(*this, f);
    if (group == "load") load += median(f.seconds);
  }
  if (load != 0) {
    std::printf(
        "from the file to its first layer's work %.1f ms; touching all of the session's %.2f GB takes %.0f "
        "ms, as "
        "it is used\n",
        load * 1e3, session_bytes * 1e-9, touch_seconds * 1e3);
  }
  std::printf("file %.2f GB; peak memory %.2f GB with the mapped file's pages, %.2f GB without\n",
              file_bytes * 1e-9, peak_resident_bytes * 1e-9, anonymous_bytes * 1e-9);
  std::printf("idle for %.1f s: %.1f ms of processor time\n", idle_wall_seconds, idle_seconds * 1e3);
}

void report::print_json() const {
  std::printf(
      "{\"file\":%s,\"format\":%s,\"vision_format\":%s,\"image_size\":%u,\"target\":%s,\"precision\":%s,",
      quoted(file).c_str(), quoted(format).c_str(), quoted(vision_format).c_str(), image_size,
      quoted(target).c_str(), quoted(precision).c_str());
  std::printf(
      "\"threads\":%u,\"context\":%u,\"file_bytes\":%.0f,\"peak_resident_bytes\":%.0f,\"anonymous_bytes\":%."
      "0f,",
      threads, context, file_bytes, peak_resident_bytes, anonymous_bytes);
  std::printf(
      "\"session_bytes\":%.0f,\"touch_seconds\":%.6g,\"idle_seconds\":%.6g,\"idle_wall_seconds\":%.6g,",
      session_bytes, touch_seconds, idle_seconds, idle_wall_seconds);
  std::printf(
      "\"read_bytes_per_second\":%.6g,\"instruction\":%s,\"operations_per_second\":%.6g,\"figures\":[",
      read_bytes_per_second, quoted(instruction).c_str(), operations_per_second);
  const char* comma = "";
  for (const figure& f : figures) {
    std::printf("%s\n{\"group\":%s,\"what\":%s,\"tokens\":%u,\"at\":%u,\"threads\":%u,", comma,
                quoted(f.group).c_str(), quoted(f.what).c_str(), f.tokens, f.at, f.threads);
    std::printf("\"bytes\":%.0f,\"operations\":%.0f,\"machine_amount\":%.0f,\"limit\":%s,", f.least.bytes,
                f.least.operations, f.machine_amount,
                f.shares.empty() ? "null"
                : f.by_reading   ? "\"reading\""
                                 : "\"computing\"");
    std::printf("\"seconds\":%s,\"shares\":%s}", list(f.seconds).c_str(), list(f.shares).c_str());
    comma = ",";
  }
  std::printf("]}\n");
}

}  // namespace ocellus_bench
