// same_file: do two paths lead to one file?
#ifndef OCELLUS_IO_SAME_FILE_HPP
#define OCELLUS_IO_SAME_FILE_HPP

#include <string_view>

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// True if both exist and are the same file, by whatever names (links, "./", letter case). Errors: bad_path,
/// open_failed (the system does not tell whether there is such a file), out_of_memory.
[[nodiscard]] result<bool> same_file(std::string_view a, std::string_view b,
                                     const memory_hooks& memory = {}) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_SAME_FILE_HPP
