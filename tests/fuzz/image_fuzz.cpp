// Picture files: the bytes are a PNG or a JPEG. What is accepted is decoded within its memory, turned upright, resized,
// normalised and drawn on. The same bytes are also EXIF data, and boxes to draw.
#include <bit>
#include <cmath>

#include "fuzz/fuzz.hpp"
#include "ocellus/image/decode.hpp"
#include "ocellus/image/draw.hpp"
#include "ocellus/image/preprocess.hpp"
#include "ocellus/image/resize.hpp"

using namespace ocellus;

namespace ocellus::inline OCELLUS_ABI::detail {
std::uint8_t read_exif_orientation(std::span<const std::byte> tiff) noexcept;
}

namespace ocellus_fuzz {
namespace {

decode_options small_pictures(bool upright) {
  decode_options options;
  options.max_memory = mib(16);
  options.max_area = 1u << 20;
  options.apply_orientation = upright;
  return options;
}

result<image> decode(std::span<const std::byte> bytes, bool upright, limited_memory& memory) {
  return decode_image(bytes, small_pictures(upright), memory.hooks());
}

/// A picture that was turned has the same samples elsewhere.
void check_turned(const image& stored, const image& turned, bool sideways) {
  OCELLUS_HOLDS(turned.width() == (sideways ? stored.height() : stored.width()));
  OCELLUS_HOLDS(turned.height() == (sideways ? stored.width() : stored.height()));
  std::vector<std::uint8_t> a(stored.pixels().begin(), stored.pixels().end());
  std::vector<std::uint8_t> b(turned.pixels().begin(), turned.pixels().end());
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  OCELLUS_HOLDS(a == b);
}

void use(const image& picture, std::uint32_t seed) {
  touch(std::as_bytes(picture.pixels()));
  limited_memory memory(SIZE_MAX);
  const std::uint32_t width = 1 + seed % 61, height = 1 + seed / 61 % 67;
  const auto resized = resize_bicubic(picture.view(), width, height, memory.hooks());
  OCELLUS_HOLDS(resized && resized->width() == width && resized->height() == height);
  touch(std::as_bytes(resized->pixels()));
  const auto planar = preprocess(picture.view(), width, memory.hooks());
  OCELLUS_HOLDS(planar && planar->size() == std::size_t{3} * width * width);
  for (const float v : planar->span()) OCELLUS_HOLDS(std::abs(v) < 4);
  // A picture of its own size is itself.
  if (picture.width() <= 256 && picture.height() <= 256) {
    const auto same = resize_bicubic(picture.view(), picture.width(), picture.height(), memory.hooks());
    OCELLUS_HOLDS(same && same_bytes(std::as_bytes(same->pixels()), std::as_bytes(picture.pixels())));
  }
}

/// Boxes of any floats, with bytes of the file for labels.
void draw(image& picture, std::span<const std::byte> bytes) {
  input in(bytes.last(std::min<std::size_t>(bytes.size(), 64)));
  std::vector<labelled_box> boxes;
  while (in.rest().size() >= 16) {
    const std::string_view label = chars(in.rest().first(in.rest().size() % 16));
    float corners[4];
    for (float& c : corners) c = std::bit_cast<float>(in.number(4));
    boxes.push_back({corners[0], corners[1], corners[2], corners[3], label, boxes.size()});
  }
  OCELLUS_HOLDS(draw_boxes(picture, boxes));
}

}  // namespace

bool run(std::span<const std::byte> bytes) {
  const std::uint8_t orientation = detail::read_exif_orientation(bytes);
  OCELLUS_HOLDS(orientation >= 1 && orientation <= 8);
  touch(image_format_name(bytes));
  static_cast<void>(read_image_info(bytes));

  const auto info = read_image_info(bytes, small_pictures(false));
  // Besides what the decoder may use: a copy of the file that is mended for it, and the picture.
  const std::size_t area = info ? std::size_t{info->width} * info->height : 0;
  limited_memory memory(mib(16) + bytes.size() + kib(2) + 3 * area);
  auto stored = decode(bytes, false, memory);
  if (!info) OCELLUS_HOLDS(!stored && stored.error().code() == info.error().code());
  if (!stored) return false;
  OCELLUS_HOLDS(stored->width() == info->width && stored->height() == info->height);
  use(*stored, static_cast<std::uint32_t>(bytes.size()));
  if (info->orientation != 1 && area < 10000) {
    limited_memory more(SIZE_MAX);
    const auto turned = decode(bytes, true, more);
    OCELLUS_HOLDS(turned);
    check_turned(*stored, *turned, info->orientation >= 5);
  }
  draw(*stored, bytes);
  return true;
}

}  // namespace ocellus_fuzz
