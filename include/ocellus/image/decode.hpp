// Decoding PNG and JPEG files, bounded in time and memory. OCELLUS_NO_IMAGE_FILES leaves the decoder out.
#ifndef OCELLUS_IMAGE_DECODE_HPP
#define OCELLUS_IMAGE_DECODE_HPP

#include "ocellus/image/header.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// The picture as RGB, the way Pillow's Image.open(...).convert("RGB") reads it: alpha and tRNS dropped,
/// palette indices beyond the palette black, 16-bit gray clipped to 255 (not scaled), other 16-bit samples cut
/// to their high byte, CMYK as R = (255 - C) * (255 - K) / 255 of Adobe's inverted samples, gamma and colour
/// profiles ignored, of an animation the default picture. PNG pixels are equal to Pillow's; JPEG pixels differ
/// by rounding (measured: at most 5 of 255, 0.1 on average).
/// Errors: those of read_image_info; image_corrupt; image_extra_data (a PNG that inflates to more than twice
/// its pixels); image_too_large (more than options.max_memory needed); out_of_memory; unsupported (built
/// without the decoder).
[[nodiscard]] result<image> decode_image(std::span<const std::byte> file, const decode_options& options = {},
                                         const memory_hooks& memory = {}) noexcept;

/// The same from a file; the path is UTF-8. Errors also those of byte_source::open; all name the path.
[[nodiscard]] result<image> load_image(std::string_view path, const decode_options& options = {},
                                       const memory_hooks& memory = {}) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_DECODE_HPP
