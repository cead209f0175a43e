// Pixel views: what is refused, and how every format and stride is read.
#include "ocellus/image/view.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "support/counting_memory.hpp"

using ocellus::error_code;
using ocellus::image;
using ocellus::image_view;
using ocellus::pixel_format;

namespace {

std::vector<std::uint8_t> rgb_of(const image_view& view) {
  auto copy = image::copy_rgb(view);
  REQUIRE(copy);
  CHECK(copy->format() == pixel_format::rgb);
  return {copy->pixels().begin(), copy->pixels().end()};
}

error_code code_of(const image_view& view) {
  const auto checked = ocellus::check_view(view);
  REQUIRE(!checked);
  return checked.error().code();
}

}  // namespace

TEST_CASE("view: every pixel format is read as RGB, alpha is dropped") {
  const std::uint8_t bytes[] = {10, 20, 30, 40, 50, 60, 70, 80};
  using rgb = std::vector<std::uint8_t>;
  CHECK(rgb_of({bytes, 2, 1, 0, pixel_format::rgb}) == rgb{10, 20, 30, 40, 50, 60});
  CHECK(rgb_of({bytes, 2, 1, 0, pixel_format::bgr}) == rgb{30, 20, 10, 60, 50, 40});
  CHECK(rgb_of({bytes, 2, 1, 0, pixel_format::rgba}) == rgb{10, 20, 30, 50, 60, 70});
  CHECK(rgb_of({bytes, 2, 1, 0, pixel_format::bgra}) == rgb{30, 20, 10, 70, 60, 50});
  CHECK(rgb_of({bytes, 2, 1, 0, pixel_format::gray}) == rgb{10, 10, 10, 20, 20, 20});
  CHECK(rgb_of({bytes, 2, 1, 0, pixel_format::gray_alpha}) == rgb{10, 10, 10, 30, 30, 30});
}

TEST_CASE("view: rows may have gaps and may lie bottom-up") {
  const std::uint8_t bytes[] = {1, 2, 99, 3, 4, 99, 5, 6};
  using rgb = std::vector<std::uint8_t>;
  const rgb down{1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6};
  const rgb up{5, 5, 5, 6, 6, 6, 3, 3, 3, 4, 4, 4, 1, 1, 1, 2, 2, 2};
  CHECK(rgb_of({bytes, 2, 3, 3, pixel_format::gray}) == down);
  CHECK(rgb_of({bytes + 6, 2, 3, -3, pixel_format::gray}) == up);
}

TEST_CASE("view: what cannot be a picture is refused") {
  const std::uint8_t bytes[16] = {};
  CHECK(code_of({nullptr, 1, 1}) == error_code::invalid_argument);
  CHECK(code_of({bytes, 0, 1}) == error_code::image_size);
  CHECK(code_of({bytes, 1, 0}) == error_code::image_size);
  CHECK(code_of({bytes, 32769, 1}) == error_code::image_size);
  CHECK(code_of({bytes, 1, 0xffffffff}) == error_code::image_size);
  CHECK(code_of({bytes, 7072, 7072}) == error_code::image_too_large);
  CHECK(code_of({bytes, 2, 2, 5}) == error_code::invalid_argument);
  CHECK(code_of({bytes, 2, 2, -5}) == error_code::invalid_argument);
  CHECK(code_of({bytes, 2, 2, PTRDIFF_MAX}) == error_code::invalid_argument);
  CHECK(code_of({bytes, 2, 2, PTRDIFF_MIN}) == error_code::invalid_argument);
  CHECK(code_of({bytes, 2, 2, 0, static_cast<pixel_format>(9)}) == error_code::invalid_argument);
  CHECK(ocellus::check_view({bytes, 1, 1}));
  CHECK(ocellus::check_view({bytes, 7071, 7071}));
}

TEST_CASE("view: view_pixels knows when the bytes are too few") {
  const std::vector<std::uint8_t> bytes(3 * 20 + 18);
  CHECK(ocellus::view_pixels(bytes, 6, 4, pixel_format::rgb, 20));
  CHECK(!ocellus::view_pixels(bytes, 6, 5, pixel_format::rgb, 20));
  CHECK(ocellus::view_pixels(bytes, 6, 4));
  CHECK(!ocellus::view_pixels(bytes, 6, 4, pixel_format::rgba));
  CHECK(!ocellus::view_pixels(bytes, 6, 4, pixel_format::rgb, 17));
  CHECK(!ocellus::view_pixels(bytes, 6, 4, pixel_format::rgb, SIZE_MAX));
  CHECK(!ocellus::view_pixels({}, 6, 4));
}

TEST_CASE("view: a picture is zero at first; no memory is an error") {
  auto made = image::make(3, 2, {}, pixel_format::rgba);
  REQUIRE(made);
  CHECK(made->pixels().size() == 24);
  for (auto byte : made->pixels()) CHECK(byte == 0);
  CHECK(!image::make(0, 5));
  CHECK(!image::make(1, 1, {}, static_cast<pixel_format>(77)));
  ocellus_tests::fail_every_allocation(
      [](const ocellus::memory_hooks& memory) { return image::make(9, 9, memory); });
}
