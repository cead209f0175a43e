// Pictures out: PNG files, and the boxes of an answer drawn into one.
#ifndef OCELLUS_CLI_PICTURE_FILE_HPP
#define OCELLUS_CLI_PICTURE_FILE_HPP

#include <string_view>

#include "ocellus/image/view.hpp"

namespace ocellus_cli {

/// Writes an RGB picture as PNG; the file appears whole or not at all.
[[nodiscard]] ocellus::result<void> write_png(const ocellus::image& picture, std::string_view path);

/// Draws the boxes of an answer with their phrases and writes the picture; how many there were.
[[nodiscard]] ocellus::result<std::size_t> draw_answer(ocellus::image& picture, std::string_view answer,
                                                       std::string_view path);

}  // namespace ocellus_cli

#endif  // OCELLUS_CLI_PICTURE_FILE_HPP
