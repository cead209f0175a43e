// Decoding with stb_image behind our own reading of the header, on the host's memory with a budget.
#ifndef OCELLUS_IMAGE_DECODE_IPP
#define OCELLUS_IMAGE_DECODE_IPP

#include "ocellus/image/decode.hpp"
#include "ocellus/image/header.ipp"
#include "ocellus/io/file.hpp"
#if !defined(OCELLUS_NO_IMAGE_FILES)
#include "ocellus/image/decoder_memory.ipp"
#include "ocellus/image/stb_image.ipp"
#endif

namespace ocellus::inline OCELLUS_ABI {

#if defined(OCELLUS_NO_IMAGE_FILES)

result<image> decode_image(std::span<const std::byte>, const decode_options&, const memory_hooks&) noexcept {
  return error(error_code::unsupported, "built without picture decoding (OCELLUS_NO_IMAGE_FILES)");
}

#else

namespace detail {

/// A copy of the file with what the decoder needs to be told.
result<void> patch_image_file(std::span<const std::byte> file, const image_file_patch& patch,
                              array<std::byte>& patched) noexcept {
  const std::span<const std::byte> before = file.first(patch.offset);
  const std::span<const std::byte> after = file.subspan(patch.offset + patch.removed);
  bool fits = patched.reserve(file.size() + 1024) && patched.append(before);
  if (patch.what == image_file_patch::kind::long_palette) {
    constexpr std::size_t around = 8, checksum = 4, entries = 768;
    constexpr unsigned char head[around] = {0, 0, 3, 0, 'P', 'L', 'T', 'E'};
    const std::size_t given = patch.removed - around - checksum;
    fits =
        fits && patched.append(std::as_bytes(std::span(head))) &&
        patched.append(file.subspan(patch.offset + around, given)) &&
        patched.resize(patched.size() + entries - given + checksum);  // zeros; nobody looks at the checksum
  } else {
    // APP14, version 100, no flags, transform 0: four components are CMYK.
    constexpr unsigned char marker[16] = {0xff, 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0};
    fits = fits && patched.append(std::as_bytes(std::span(marker)));
  }
  if (!fits || !patched.append(after)) return no_memory("a picture file of ", file.size(), " bytes");
  return {};
}

/// The largest block that decoding an honest PNG asks for: the file's compressed bytes or the inflated rows,
/// both in buffers that grow by doubling, or the pixels.
std::size_t largest_png_block(const image_info& info, std::size_t file_bytes) noexcept {
  const std::size_t row = (std::size_t{info.width} * info.bits + 7) / 8 * info.components + 1;
  const std::size_t pixels = std::size_t{info.width} * info.height * (info.bits == 16 ? 8 : 4);
  constexpr std::size_t slack = 65536;
  return slack + (std::max)({2 * file_bytes, 2 * row * info.height, pixels});
}

error decode_error(const decoder_memory& used, const image_info& info) noexcept {
  const char* type = info.type == image_file_type::png ? "PNG" : "JPEG";
  switch (used.refusal()) {
    case decoder_memory::reason::host:
      return no_memory("decoding a ", type, " of ", info.width, " x ", info.height, " pixels");
    case decoder_memory::reason::budget:
      return error(error_code::image_too_large, type, " of ", info.width, " x ", info.height,
                   " pixels needs more than ", used.budget(), " bytes to decode");
    case decoder_memory::reason::block:
      return error(error_code::image_extra_data, type, " of ", info.width, " x ", info.height,
                   " pixels inflates to far more than that");
    case decoder_memory::reason::none:
      break;
  }
  return error(error_code::image_corrupt, type, " of ", info.width, " x ", info.height,
               " pixels: the compressed data is damaged");
}

/// Where pixel (x, y) of the stored picture lies in the upright one, as EXIF numbers orientations.
struct upright {
  std::uint8_t orientation;
  std::uint32_t width, height;  // as stored

  [[nodiscard]] bool turned() const noexcept { return orientation >= 5; }
  [[nodiscard]] std::size_t index(std::uint32_t x, std::uint32_t y) const noexcept {
    const std::uint32_t right = width - 1 - x, below = height - 1 - y;
    const auto at = [](std::uint32_t column, std::uint32_t row, std::uint32_t columns) {
      return std::size_t{row} * columns + column;
    };
    switch (orientation) {
      case 2:
        return at(right, y, width);
      case 3:
        return at(right, below, width);
      case 4:
        return at(x, below, width);
      case 5:
        return at(y, x, height);
      case 6:
        return at(below, x, height);
      case 7:
        return at(below, right, height);
      case 8:
        return at(y, right, height);
      default:
        return at(x, y, width);
    }
  }
};

/// Copies the decoder's pixels, RGB bytes or 16-bit gray, into a picture of ours.
template <class Sample>
result<image> take_pixels(const Sample* from, const image_info& info, bool turn,
                          const memory_hooks& memory) noexcept {
  const upright to{turn ? info.orientation : std::uint8_t{1}, info.width, info.height};
  OCELLUS_ASSIGN(image made, image::make(to.turned() ? info.height : info.width,
                                         to.turned() ? info.width : info.height, memory));
  std::uint8_t* pixels = made.pixels().data();
  if constexpr (sizeof(Sample) == 1) {
    if (to.orientation == 1) {
      std::memcpy(pixels, from, made.pixels().size());
      return made;
    }
  }
  for (std::uint32_t y = 0; y < info.height; ++y) {
    for (std::uint32_t x = 0; x < info.width; ++x) {
      std::uint8_t* pixel = pixels + 3 * to.index(x, y);
      if constexpr (sizeof(Sample) == 1) {
        for (int c = 0; c < 3; ++c) pixel[c] = *from++;
      } else {
        const auto gray = static_cast<std::uint8_t>((std::min)(*from++, Sample{255}));
        for (int c = 0; c < 3; ++c) pixel[c] = gray;
      }
    }
  }
  return made;
}

}  // namespace detail

result<image> decode_image(std::span<const std::byte> file, const decode_options& options,
                           const memory_hooks& memory) noexcept {
  detail::image_file_patch patch;
  OCELLUS_ASSIGN(const image_info info, detail::read_image_info(file, options, patch));
  array<std::byte> patched(memory);
  if (patch.what != detail::image_file_patch::kind::none) {
    OCELLUS_TRY(detail::patch_image_file(file, patch, patched));
    file = patched.span();
  }
  if (file.size() > INT_MAX)
    return error(error_code::image_too_large, "a picture file of ", file.size(), " bytes");

  const bool png = info.type == image_file_type::png;
  detail::decoder_memory blocks(memory, options.max_memory,
                                png ? detail::largest_png_block(info, file.size()) : SIZE_MAX);
  const detail::decoder_memory::scope current(blocks);
  const auto* bytes = reinterpret_cast<const unsigned char*>(file.data());
  const auto size = static_cast<int>(file.size());
  int width = 0, height = 0, components = 0;
  if (png && info.bits == 16 && info.components == 1) {
    const auto* samples = detail::stb::stbi_load_16_from_memory(bytes, size, &width, &height, &components, 1);
    if (samples == nullptr) return detail::decode_error(blocks, info);
    return detail::take_pixels(samples, info, options.apply_orientation, memory);
  }
  const auto* samples = detail::stb::stbi_load_from_memory(bytes, size, &width, &height, &components, 3);
  if (samples == nullptr) return detail::decode_error(blocks, info);
  return detail::take_pixels(samples, info, options.apply_orientation, memory);
}

#endif  // OCELLUS_NO_IMAGE_FILES

result<image> load_image(std::string_view path, const decode_options& options,
                         const memory_hooks& memory) noexcept {
  OCELLUS_ASSIGN(const byte_source file,
                 byte_source::open(path, memory, {load_mode::read, options.max_file_bytes}));
  result<image> decoded = decode_image(file.bytes(), options, memory);
  if (!decoded) return decoded.error().in(quoted{path});
  return decoded;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_DECODE_IPP
