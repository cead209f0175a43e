// What a picture file says about itself, read by code of our own before any decoder sees the bytes.
#ifndef OCELLUS_IMAGE_HEADER_HPP
#define OCELLUS_IMAGE_HEADER_HPP

#include "ocellus/image/view.hpp"

namespace ocellus::inline OCELLUS_ABI {

enum class image_file_type : std::uint8_t { png, jpeg };

/// What decoding may cost, and what it shall do.
struct decode_options {
  std::uint64_t max_file_bytes = std::uint64_t{64} << 20;  ///< of the encoded picture
  std::uint64_t max_memory = std::uint64_t{512} << 20;     ///< in use at once while decoding
  std::uint64_t max_area = max_image_area;                 ///< width * height; at most max_image_area
  std::uint32_t max_axis = max_image_axis;                 ///< width and height; at most max_image_axis
  bool apply_orientation = false;                          ///< turn the picture upright as its EXIF data says
};

/// width and height are as stored, before any turn.
struct image_info {
  image_file_type type = image_file_type::png;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint8_t components = 0;   ///< JPEG: 1 gray, 3 colour, 4 CMYK. PNG: 1 gray or palette, 2, 3, 4
  std::uint8_t bits = 8;         ///< a component (of a palette index): 1, 2, 4, 8, 16
  std::uint8_t orientation = 1;  ///< EXIF, 1 to 8 (1: upright; also when the file does not say)
  bool palette = false;          ///< PNG with a palette
  bool progressive = false;      ///< JPEG in several passes
};

/// "GIF", "WebP", ... for a file that begins as one; "PNG" and "JPEG" too; empty when it looks like none of
/// them.
[[nodiscard]] std::string_view image_format_name(std::span<const std::byte> file) noexcept;

/// Reads the file's structure from end to end without decoding it. After success the decoder may still find
/// damage inside the compressed data, but no surprise in size: the errors are image_format (naming what it is
/// instead), image_size, image_too_large, image_truncated, image_corrupt, image_unsupported. A PNG must reach
/// its IEND chunk, a JPEG its EOI marker; what follows them is not looked at. Checksums are not verified (nor
/// does Pillow refuse a picture for a wrong IDAT checksum). Unsupported: JPEG with 12 bits, arithmetic
/// coding, lossless or hierarchical coding, 2 or more than 4 components, fractional sampling ratios, a height
/// that only a later DNL marker gives, or without its own Huffman tables; PNG of Apple's CgBI variant or with
/// an unknown critical chunk.
[[nodiscard]] result<image_info> read_image_info(std::span<const std::byte> file,
                                                 const decode_options& options = {}) noexcept;

namespace detail {

/// What must be put into a copy of the file so that the decoder reads it as Pillow does.
struct image_file_patch {
  std::size_t offset = 0;   ///< where
  std::size_t removed = 0;  ///< bytes of the file that give way
  enum class kind : std::uint8_t { none, long_palette, adobe_marker } what = kind::none;
};

[[nodiscard]] result<image_info> read_image_info(std::span<const std::byte> file,
                                                 const decode_options& options,
                                                 image_file_patch& patch) noexcept;

}  // namespace detail

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_HEADER_HPP
