// Telling file formats apart, and what PNG and JPEG share: bounded big-endian reading and EXIF orientation.
#ifndef OCELLUS_IMAGE_HEADER_IPP
#define OCELLUS_IMAGE_HEADER_IPP

#include <algorithm>

#include "ocellus/image/header.hpp"
#include "ocellus/image/jpeg_header.ipp"
#include "ocellus/image/png_header.ipp"

namespace ocellus::inline OCELLUS_ABI {

std::string_view image_format_name(std::span<const std::byte> file) noexcept {
  const std::string_view head(reinterpret_cast<const char*>(file.data()),
                              (std::min)(file.size(), std::size_t{64}));
  const auto at = [head](std::size_t offset, std::string_view magic) {
    return head.size() >= offset + magic.size() &&
           std::memcmp(head.data() + offset, magic.data(), magic.size()) == 0;
  };
  if (at(0, {"\x89PNG\r\n\x1a\n", 8})) return "PNG";
  if (at(0, "\xff\xd8")) return "JPEG";
  if (at(0, "GIF87a") || at(0, "GIF89a")) return "GIF";
  if (at(0, "RIFF") && at(8, "WEBP")) return "WebP";
  if (at(0, {"II*\0", 4}) || at(0, {"MM\0*", 4})) return "TIFF";
  if (at(0, "BM")) return "BMP";
  if (at(0, "8BPS")) return "PSD";
  if (at(0, "%PDF")) return "PDF";
  if (at(0, "#?RADIANCE") || at(0, "#?RGBE")) return "Radiance HDR";
  if (at(0, "qoif")) return "QOI";
  if (at(0, "DDS ")) return "DDS";
  if (at(0, {"\0\0\1\0", 4})) return "ICO";
  if (at(0, "\xff\x0a") || at(0, {"\0\0\0\x0cJXL ", 8})) return "JPEG XL";
  if (at(0, {"\0\0\0\x0cjP  ", 8}) || at(0, "\xff\x4f\xff\x51")) return "JPEG 2000";
  if (at(4, "ftyp")) {
    if (at(8, "avi")) return "AVIF";
    if (at(8, "hei") || at(8, "hev") || at(8, "mif1") || at(8, "msf1")) return "HEIF";
    return "MP4";
  }
  if (at(0, "<svg") || at(0, "<?xml")) return "SVG";
  if (head.size() > 2 && head[0] == 'P' && head[1] >= '1' && head[1] <= '6' &&
      (head[2] == '\n' || head[2] == ' ' || head[2] == '\r' || head[2] == '\t')) {
    return "PNM";
  }
  return {};
}

namespace detail {

result<image_info> read_image_info(std::span<const std::byte> file, const decode_options& options,
                                   image_file_patch& patch) noexcept {
  if (file.size() > options.max_file_bytes) {
    return error(error_code::image_too_large, "a picture file of ", file.size(), " bytes; the limit is ",
                 options.max_file_bytes);
  }
  const std::string_view format = image_format_name(file);
  decode_options limits = options;
  limits.max_axis = (std::min)(limits.max_axis, max_image_axis);
  limits.max_area = (std::min)(limits.max_area, max_image_area);
  if (format == "PNG") return read_png_header(file, limits, patch);
  if (format == "JPEG") return read_jpeg_header(file, limits, patch);
  if (!format.empty()) {
    return error(error_code::image_format, "the picture is ", format, "; only PNG and JPEG are decoded");
  }
  if (file.empty()) return error(error_code::image_format, "not a picture: no bytes");
  return error(error_code::image_format, "not a PNG or JPEG picture");
}

}  // namespace detail

result<image_info> read_image_info(std::span<const std::byte> file, const decode_options& options) noexcept {
  detail::image_file_patch patch;
  return detail::read_image_info(file, options, patch);
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_HEADER_IPP
