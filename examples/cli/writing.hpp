// What the commands that write models share: the options about formats, the progress line, the last line.
#ifndef OCELLUS_CLI_WRITING_HPP
#define OCELLUS_CLI_WRITING_HPP

#include <optional>

#include "arguments.hpp"
#include "ocellus/model/model_writer.hpp"

namespace ocellus_cli {

/// Reads --format and --vision-format; what is not given is left as it is.
void read_formats(arguments& given, ocellus::weight_format& format,
                  std::optional<ocellus::weight_format>& vision_format);

/// For progress_hooks: "writing [#####     ] 17 % of 2.3 GB".
void report_writing(void*, std::uint64_t done, std::uint64_t total);

/// "wrote FILE, 2.3 GB; 3,899,000,000 weights in matrices, 4.63 bits each"
void note_written(std::string_view file, const ocellus::model_file_size& size);

}  // namespace ocellus_cli

#endif  // OCELLUS_CLI_WRITING_HPP
