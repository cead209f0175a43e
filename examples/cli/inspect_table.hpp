// The tensors of a file as a table for people: what is the same in all layers stands in one row.
#ifndef OCELLUS_CLI_INSPECT_TABLE_HPP
#define OCELLUS_CLI_INSPECT_TABLE_HPP

#include "ocellus/model/inspect.hpp"

namespace ocellus_cli {

/// Writes it to standard output; `every`: a row for each tensor.
void print_tensor_table(const ocellus::file_description& file, bool every);

}  // namespace ocellus_cli

#endif  // OCELLUS_CLI_INSPECT_TABLE_HPP
