// What inspect found, as JSON for scripts.
#ifndef OCELLUS_CLI_INSPECT_JSON_HPP
#define OCELLUS_CLI_INSPECT_JSON_HPP

#include <string>
#include <string_view>

#include "ocellus/io/json_writer.hpp"
#include "ocellus/model/inspect.hpp"

namespace ocellus_cli {

/// One object: what was found, or the error.
void write_description(ocellus::json_writer& out, std::string_view path,
                       const ocellus::result<ocellus::file_description>& file);

/// The same JSON text in printable ASCII.
[[nodiscard]] std::string ascii_json(std::string_view json);

}  // namespace ocellus_cli

#endif  // OCELLUS_CLI_INSPECT_JSON_HPP
