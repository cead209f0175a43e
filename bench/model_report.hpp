// What ocellus-bench model has measured, as a table and as JSON.
#ifndef OCELLUS_BENCH_MODEL_REPORT_HPP
#define OCELLUS_BENCH_MODEL_REPORT_HPP

#include <string>
#include <vector>

#include "model_work.hpp"

namespace ocellus_bench {

/// One thing that was measured in every round.
struct figure {
  std::string group;         ///< load, picture, prefill, decode, first, threads
  std::string what;          ///< in words
  std::uint32_t tokens = 0;  ///< 0: not about tokens
  std::uint32_t at = 0;      ///< positions before them
  std::uint32_t threads = 0;
  work least = {};                   ///< what it must read and compute; nothing: no limit is known
  double machine_amount = 0;         ///< bytes or operations of a loop that shows what the machine can do
  std::vector<double> seconds = {};  ///< of each round
  std::vector<double> shares = {};   ///< the limit by the time, of each round
  bool by_reading = false;           ///< is the limit that of reading, not of computing?
};

struct report {
  std::string file, format, vision_format, target, precision, instruction;
  std::uint32_t image_size = 0, threads = 0, context = 0;
  double file_bytes = 0;
  double peak_resident_bytes = 0;  ///< of all that one session did, pages of the mapped file included
  double anonymous_bytes = 0;      ///< of these without the file
  double session_bytes = 0;        ///< what session::estimate says
  double touch_seconds = 0;        ///< that it takes to touch so much fresh memory
  double idle_seconds = 0;         ///< of processor time while nothing was asked
  double idle_wall_seconds = 0;
  double read_bytes_per_second = 0, operations_per_second = 0;  ///< the machine, medians
  std::vector<figure> figures;

  void print_table() const;
  void print_json() const;
};

}  // namespace ocellus_bench

#endif  // OCELLUS_BENCH_MODEL_REPORT_HPP
