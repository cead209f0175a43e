#include "writing.hpp"

#include "console.hpp"

namespace ocellus_cli {

void read_formats(arguments& given, ocellus::weight_format& format,
                  std::optional<ocellus::weight_format>& vision_format) {
  const auto read = [&](std::string_view option, ocellus::weight_format& to) {
    if (ocellus::parse_weight_format(given.text(option), to)) return;
    given.complain(std::string(option) + " is f32, f16, bf16, q8 or q4, not \"" +
                   std::string(given.text(option)) + "\"");
  };
  if (given.has("--format")) read("--format", format);
  if (given.has("--vision-format")) read("--vision-format", vision_format.emplace());
}

void report_writing(void*, std::uint64_t done, std::uint64_t total) {
  constexpr std::size_t width = 30;
  const double part = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
  const auto full = static_cast<std::size_t>(part * width);
  progress("writing [" + std::string(full, '#') + std::string(width - full, ' ') + "] " +
           fixed_text(100 * part, 0) + " % of " + bytes_text(total));
}

void note_written(std::string_view file, const ocellus::model_file_size& size) {
  std::string weights = std::to_string(size.matrix_weights);
  for (std::size_t at = weights.size(); at > 3; at -= 3) weights.insert(at - 3, ",");
  note("wrote " + std::string(file) + ", " + bytes_text(size.bytes) + "; " + weights +
       " weights in matrices, " + fixed_text(size.bits_per_weight(), 2) + " bits each");
}

}  // namespace ocellus_cli
