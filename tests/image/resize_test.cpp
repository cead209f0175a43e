// The resize, byte by byte: against Pillow's results, and against a slow resize written from the formula.
#include "ocellus/image/resize.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "ocellus/image/decode.hpp"
#include "ocellus/io/file.hpp"
#include "ocellus/io/safetensors.hpp"
#include "support/counting_memory.hpp"
#include "support/skip.hpp"

using ocellus::error_code;
using ocellus::image_view;
using ocellus::pixel_format;

namespace {

using bytes = std::vector<std::uint8_t>;

/// Every tensor "name.size" of the folder's expected.safetensors against name.png; how many there were.
int compare_with_pillow(const std::string& folder) {
  auto file = ocellus::byte_source::open(folder + "/expected.safetensors");
  REQUIRE(file);
  auto expected = ocellus::safetensors::parse(file->bytes());
  REQUIRE(expected);
  int compared = 0;
  for (const auto& tensor : expected->tensors()) {
    const std::string name(tensor.name);
    CAPTURE(name);
    auto source = ocellus::load_image(folder + "/" + name.substr(0, name.rfind('.')) + ".png");
    REQUIRE(source);
    auto resized = ocellus::resize_bicubic(source->view(), static_cast<std::uint32_t>(tensor.dims[1]),
                                           static_cast<std::uint32_t>(tensor.dims[0]));
    REQUIRE(resized);
    REQUIRE(resized->pixels().size() == tensor.bytes.size());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < tensor.bytes.size(); ++i) {
      wrong += resized->pixels()[i] != static_cast<std::uint8_t>(tensor.bytes[i]);
    }
    CHECK(wrong == 0);
    ++compared;
  }
  return compared;
}

double keys(double x) {
  x = std::fabs(x);
  if (x < 1) return 1.5 * x * x * x - 2.5 * x * x + 1;
  if (x < 2) return -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2;
  return 0;
}

/// One axis of the resize: src[size][inner] to [out][inner], all of it, the plainest way.
bytes slow_axis(const bytes& src, int size, int inner, int out) {
  bytes to;
  const double scale = static_cast<double>(size) / out, stretch = scale > 1 ? scale : 1;
  for (int i = 0; i < out; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - 2 * stretch + 0.5));
    const int last = std::min(size, static_cast<int>(centre + 2 * stretch + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (int s = first; s < last; ++s) {
      weights.push_back(keys((s - centre + 0.5) / stretch));
      sum += weights.back();
    }
    for (int x = 0; x < inner; ++x) {
      long long total = 1 << 21;
      for (int s = first; s < last; ++s) {
        const double w = weights[static_cast<std::size_t>(s - first)] / sum * (1 << 22);
        total += std::lround(w) * src[static_cast<std::size_t>(s * inner + x)];
      }
      to.push_back(static_cast<std::uint8_t>(std::clamp(total >> 22, 0ll, 255ll)));
    }
  }
  return to;
}

bytes transposed(const bytes& from, int rows, int columns) {
  bytes to;
  for (int c = 0; c < columns; ++c) {
    for (int r = 0; r < rows; ++r) {
      for (int k = 0; k < 3; ++k) to.push_back(from[static_cast<std::size_t>((r * columns + c) * 3 + k)]);
    }
  }
  return to;
}

bytes slow_resize(const bytes& from, int width, int height, int to_width, int to_height) {
  if (to_height < height && height - to_height > 2 * (width - to_width)) {  // Pillow 13's order
    const bytes down = slow_axis(from, height, width * 3, to_height);
    return transposed(slow_axis(transposed(down, to_height, width), width, to_height * 3, to_width), to_width,
                      to_height);
  }
  bytes across = slow_axis(transposed(from, height, width), width, height * 3, to_width);
  return slow_axis(transposed(across, to_width, height), height, to_width * 3, to_height);
}

bytes noise(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  bytes made(count);
  for (auto& b : made) b = static_cast<std::uint8_t>(random() >> 13);
  return made;
}

}  // namespace

TEST_CASE("resize: every byte equals Pillow's") {
  CHECK(compare_with_pillow(OCELLUS_TEST_DATA "/resize") == 8);
}

TEST_CASE("resize: every byte equals Pillow's, all pictures of the goldens") {
  const char* goldens = ocellus_tests::goldens_folder();
  if (goldens == nullptr) OCELLUS_SKIP("OCELLUS_GOLDENS is not set");
  CHECK(compare_with_pillow(std::string(goldens) + "/goldens/resize") == 12);
}

TEST_CASE("resize: sizes of all kinds equal the slow formula") {
  const int sizes[][4] = {
      {1, 1, 1, 1},   {1, 1, 5, 7},     {1, 9, 4, 4},   {9, 1, 4, 4},     {2, 3, 3, 2},     {17, 5, 16, 6},
      {64, 64, 7, 7}, {200, 3, 10, 10}, {3, 200, 5, 1}, {31, 33, 31, 20}, {31, 33, 20, 33}, {40, 30, 1, 1},
      {8, 8, 16, 16}, {500, 2, 3, 64},  {9, 50, 20, 8}, {48, 48, 28, 7},  {48, 48, 27, 6},  {48, 48, 28, 6}};
  unsigned seed = 1;
  for (const auto& s : sizes) {
    CAPTURE(s[0]);
    CAPTURE(s[1]);
    CAPTURE(s[2]);
    CAPTURE(s[3]);
    const bytes source = noise(static_cast<std::size_t>(s[0] * s[1] * 3), seed++);
    const auto u = [](int v) { return static_cast<std::uint32_t>(v); };
    auto made = ocellus::resize_bicubic({source.data(), u(s[0]), u(s[1])}, u(s[2]), u(s[3]));
    REQUIRE(made);
    CHECK(bytes(made->pixels().begin(), made->pixels().end()) == slow_resize(source, s[0], s[1], s[2], s[3]));
  }
}

TEST_CASE("resize: the same size is a copy, a flat picture stays flat") {
  const bytes source = noise(20 * 10 * 3, 5);
  auto same = ocellus::resize_bicubic({source.data(), 20, 10}, 20, 10);
  REQUIRE(same);
  CHECK(bytes(same->pixels().begin(), same->pixels().end()) == source);
  const bytes flat(300 * 200 * 3, 201);
  for (std::uint32_t size : {1u, 3u, 112u, 448u}) {
    auto made = ocellus::resize_bicubic({flat.data(), 300, 200}, size, size);
    REQUIRE(made);
    CHECK(bytes(made->pixels().begin(), made->pixels().end()) == bytes(size * size * 3, 201));
  }
}

TEST_CASE("resize: every pixel format and stride gives the same bytes") {
  const std::uint32_t width = 23, height = 17;
  const bytes rgb = noise(width * height * 3, 9);
  auto expected = ocellus::resize_bicubic({rgb.data(), width, height}, 14, 14);
  REQUIRE(expected);
  bytes bgra;  // bottom-up, with a gap of 5 bytes
  for (std::uint32_t y = height; y-- > 0;) {
    for (std::uint32_t x = 0; x < width; ++x) {
      const std::uint8_t* p = rgb.data() + (y * width + x) * 3;
      bgra.insert(bgra.end(), {p[2], p[1], p[0], static_cast<std::uint8_t>(x)});
    }
    bgra.insert(bgra.end(), 5, 0xee);
  }
  const std::ptrdiff_t stride = width * 4 + 5;
  const image_view view{bgra.data() + (height - 1) * stride, width, height, -stride, pixel_format::bgra};
  auto made = ocellus::resize_bicubic(view, 14, 14);
  REQUIRE(made);
  CHECK(bytes(made->pixels().begin(), made->pixels().end()) ==
        bytes(expected->pixels().begin(), expected->pixels().end()));
}

TEST_CASE("resize: extreme shapes are bounded") {
  const bytes line(32768 * 3, 77);
  for (const auto& view : {image_view{line.data(), 32768, 1}, image_view{line.data(), 1, 32768}}) {
    ocellus_tests::counting_memory memory;
    auto made = ocellus::resize_bicubic(view, 224, 224, memory.hooks());
    REQUIRE(made);
    CHECK(made->pixels()[12345] == 77);
    CHECK(memory.peak() < 2'000'000);
  }
}

TEST_CASE("resize: bad arguments and no memory are errors") {
  const bytes source(12);
  bytes target(12);
  const image_view view{source.data(), 2, 2};
  CHECK(ocellus::resize_bicubic(view, 2, 2, target));
  for (const auto& failed : {ocellus::resize_bicubic(view, 0, 2, target).error(),
                             ocellus::resize_bicubic(view, 2, 4097, target).error(),
                             ocellus::resize_bicubic(view, 2, 3, target).error()}) {
    CHECK(failed.code() == error_code::invalid_argument);
  }
  CHECK(ocellus::resize_bicubic({nullptr, 2, 2}, 2, 2, target).error().code() ==
        error_code::invalid_argument);
  CHECK(ocellus::resize_bicubic(view, 5000, 1).error().code() == error_code::invalid_argument);
  ocellus_tests::fail_every_allocation(
      [&](const ocellus::memory_hooks& memory) { return ocellus::resize_bicubic(view, 5, 7, memory); });
}
