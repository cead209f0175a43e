// The structure of a PNG file (W3C PNG specification, third edition, section 5 and 11): every chunk is
// visited, none is inflated.
#ifndef OCELLUS_IMAGE_PNG_HEADER_IPP
#define OCELLUS_IMAGE_PNG_HEADER_IPP

#include "ocellus/image/exif.ipp"
#include "ocellus/image/view.ipp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

constexpr std::uint32_t png_chunk(char a, char b, char c, char d) noexcept {
  return static_cast<std::uint32_t>(a) << 24 | static_cast<std::uint32_t>(b) << 16 |
         static_cast<std::uint32_t>(c) << 8 | static_cast<std::uint32_t>(d);
}

/// The 13 bytes of IHDR.
result<image_info> read_png_ihdr(const picture_bytes& in, std::size_t at,
                                 const decode_options& options) noexcept {
  image_info info;
  info.type = image_file_type::png;
  info.width = in.u32(at);
  info.height = in.u32(at + 4);
  const std::uint32_t bits = in.u8(at + 8);
  const std::uint32_t color = in.u8(at + 9);
  // Allowed bit depths of colour types 0 to 6, as sets.
  constexpr std::uint32_t any = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8, deep = 1 << 8 | 1 << 16;
  constexpr std::uint32_t depths[7] = {any | deep, 0, deep, any, deep, 0, deep};
  if (color > 6 || bits > 16 || (depths[color] >> bits & 1) == 0) {
    return error(error_code::image_corrupt, "PNG: colour type ", color, " with ", bits,
                 " bits does not exist");
  }
  if (in.u8(at + 10) != 0 || in.u8(at + 11) != 0 || in.u8(at + 12) > 1) {
    return error(error_code::image_corrupt, "PNG: unknown compression, filter or interlace method");
  }
  OCELLUS_TRY(check_image_size(info.width, info.height, options.max_axis, options.max_area));
  info.bits = static_cast<std::uint8_t>(bits);
  info.palette = color == 3;
  info.components = static_cast<std::uint8_t>(color == 3 ? 1 : (color & 2 ? 3 : 1) + (color & 4 ? 1 : 0));
  return info;
}

result<image_info> read_png_header(std::span<const std::byte> file, const decode_options& options,
                                   image_file_patch& patch) noexcept {
  constexpr std::size_t first_chunk = 8;    // after the signature
  constexpr std::size_t around_chunk = 12;  // length, type and checksum
  const picture_bytes in{file};
  image_info info;
  bool has_palette = false, has_data = false;
  std::uint32_t previous = 0;  // type of chunk
  std::size_t at = first_chunk;
  while (in.size() - at >= around_chunk) {
    const std::uint32_t length = in.u32(at), type = in.u32(at + 4);
    const std::string_view name(reinterpret_cast<const char*>(file.data()) + at + 4, 4);
    const std::size_t payload = at + 8;
    if (at == first_chunk && type == png_chunk('C', 'g', 'B', 'I')) {
      return error(error_code::image_unsupported, "PNG of Apple's CgBI variant");
    }
    if ((at == first_chunk) != (type == png_chunk('I', 'H', 'D', 'R'))) {
      return error(error_code::image_corrupt, "PNG: chunk ", quoted{name}, " at byte ", at,
                   at == first_chunk ? " instead of IHDR" : " stands twice");
    }
    if (length > in.size() - at - around_chunk) {
      return error(error_code::image_truncated, "PNG: chunk ", quoted{name}, " at byte ", at, " has ", length,
                   " bytes, the file ends before");
    }
    switch (type) {
      case png_chunk('I', 'H', 'D', 'R'): {
        if (length != 13)
          return error(error_code::image_corrupt, "PNG: IHDR has ", length, " bytes instead of 13");
        OCELLUS_ASSIGN(info, read_png_ihdr(in, payload, options));
        break;
      }
      case png_chunk('P', 'L', 'T', 'E'):
        if (length % 3 != 0 || length == 0 || length > 768 || has_palette || has_data) {
          return error(error_code::image_corrupt, "PNG: a palette of ", length,
                       " bytes, or twice, or too late");
        }
        has_palette = true;
        // Pillow shows indices beyond the palette as black; the decoder wants to be given those entries.
        if (info.palette && length < 768)
          patch = {at, around_chunk + length, image_file_patch::kind::long_palette};
        break;
      case png_chunk('I', 'D', 'A', 'T'):
        if (info.palette && !has_palette)
          return error(error_code::image_corrupt, "PNG: the palette is missing");
        if (has_data && previous != type) {
          return error(error_code::image_corrupt, "PNG: chunks between the pixels (IDAT), before byte ", at);
        }
        has_data = true;
        break;
      case png_chunk('e', 'X', 'I', 'f'):
        info.orientation = read_exif_orientation(file.subspan(payload, length));
        break;
      case png_chunk('I', 'E', 'N', 'D'):
        if (!has_data) return error(error_code::image_corrupt, "PNG: no pixels (no IDAT chunk)");
        return info;
      default:
        // Bit 5 of the first letter is clear in chunks that must be understood.
        if ((type >> 29 & 1) == 0) {
          return error(error_code::image_unsupported, "PNG: unknown critical chunk ", quoted{name},
                       " at byte ", at);
        }
    }
    at = payload + length + 4;
    previous = type;
  }
  return error(error_code::image_truncated, "PNG: the file ends at byte ", in.size(),
               " without an IEND chunk");
}

}  // namespace detail

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_PNG_HEADER_IPP
