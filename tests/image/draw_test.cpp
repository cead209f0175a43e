// Drawing: the right pixels, clipped, with legible labels; nothing else changes.
#include "ocellus/image/draw.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>

using ocellus::image;
using ocellus::labelled_box;
using ocellus::rgb_color;

namespace {

image gray_picture(std::uint32_t width, std::uint32_t height) {
  auto made = image::make(width, height);
  REQUIRE(made);
  for (auto& byte : made->pixels()) byte = 100;
  return std::move(*made);
}

/// '#' for a pixel of that colour, '.' for one that was never drawn on, '?' for anything else.
std::string picture_text(const image& picture, rgb_color color) {
  std::string text;
  for (std::uint32_t y = 0; y < picture.height(); ++y) {
    for (std::uint32_t x = 0; x < picture.width(); ++x) {
      const std::uint8_t* p = picture.row(y) + 3 * x;
      const bool drawn = p[0] == color.red && p[1] == color.green && p[2] == color.blue;
      text += drawn ? '#' : p[0] == 100 && p[1] == 100 && p[2] == 100 ? '.' : '?';
    }
    text += '\n';
  }
  return text;
}

}  // namespace

TEST_CASE("draw: a box is a frame inside its borders") {
  image picture = gray_picture(10, 8);
  const labelled_box box{0.2f, 0.25f, 0.8f, 0.875f, {}, 1};
  REQUIRE(ocellus::draw_boxes(picture, {&box, 1}));
  CHECK(picture_text(picture, ocellus::distinct_color(1)) ==
        "..........\n..........\n..######..\n..#....#..\n..#....#..\n..#....#..\n..######..\n..........\n");
}

TEST_CASE("draw: swapped corners, outside parts, NaN and infinity") {
  const float nan = std::nanf(""), huge = std::numeric_limits<float>::infinity();
  image one = gray_picture(10, 8), two = gray_picture(10, 8);
  const labelled_box straight{0.2f, 0.25f, 0.8f, 0.875f, "x", 0}, swapped{0.8f, 0.875f, 0.2f, 0.25f, "x", 0};
  REQUIRE(ocellus::draw_boxes(one, {&straight, 1}));
  REQUIRE(ocellus::draw_boxes(two, {&swapped, 1}));
  CHECK(picture_text(one, ocellus::distinct_color(0)) == picture_text(two, ocellus::distinct_color(0)));

  image picture = gray_picture(10, 8);
  const labelled_box outside[] = {
      {-3, -3, -2, -2, {}, 0}, {5, 5, 6, 6, {}, 0}, {-huge, -huge, huge, huge, {}, 0}};
  REQUIRE(ocellus::draw_boxes(picture, outside));
  CHECK(picture_text(picture, ocellus::distinct_color(0)).find('#') == std::string::npos);
  const labelled_box odd[] = {{nan, nan, nan, nan, "NaN", 0},
                              {0, 0, 0, 0, "point", 1},
                              {0.5f, -1, 0.5f, 2, "line", 2},
                              {1, 1, 1, 1, "corner", 3},
                              {0.9f, 0.9f, 3e38f, -3e38f, "label wider than the picture", 4}};
  REQUIRE(ocellus::draw_boxes(picture, odd));
}

TEST_CASE("draw: text is made of its letters' dots") {
  image picture = gray_picture(13, 9);
  ocellus::draw_text(picture, 1, 1, "Hi", 1, {1, 2, 3});
  CHECK(picture_text(picture, {1, 2, 3}) ==
        ".............\n.#...#...#...\n.#...#.......\n.#...#..##...\n.#####...#...\n.#...#...#...\n.#...#...#"
        "...\n"
        ".#...#..###..\n.............\n");
  CHECK(ocellus::text_width("Hi", 1) == 11);
  CHECK(ocellus::text_width("Hi", 3) == 33);
  CHECK(ocellus::text_width("", 3) == 0);
  CHECK(ocellus::text_width("\xc3\xa4\xe2\x82\xac", 1) == 11);  // two characters
}

TEST_CASE("draw: every printable character but the space has a look of its own") {
  std::set<std::string> looks;
  for (char c = ' '; c < 127; ++c) {
    image picture = gray_picture(5, 7);
    ocellus::draw_text(picture, 0, 0, {&c, 1}, 1, {0, 0, 0});
    looks.insert(picture_text(picture, {0, 0, 0}));
  }
  CHECK(looks.size() == 95);
}

TEST_CASE("draw: lines and labels grow with the picture, the label stays inside") {
  image picture = gray_picture(900, 600);
  const labelled_box boxes[] = {{0.9f, 0.0f, 1.0f, 0.5f, "a red circle", 0},
                                {0.1f, 0.5f, 0.4f, 0.9f, "yellow", 9}};
  REQUIRE(ocellus::draw_boxes(picture, boxes));
  const rgb_color red = ocellus::distinct_color(0);
  const auto is_red = [&](std::uint32_t x, std::uint32_t y) {
    return picture.row(y)[3 * x] == red.red && picture.row(y)[3 * x + 1] == red.green;
  };
  CHECK(is_red(810, 200));
  CHECK(is_red(813, 200));
  CHECK(!is_red(815, 200));
  CHECK(is_red(899, 200));
  CHECK(is_red(899, 0));
  const auto label_width = static_cast<std::uint32_t>(ocellus::text_width("a red circle", 2)) + 6;
  CHECK(is_red(900 - label_width, 10));
  CHECK(!is_red(900 - label_width - 1, 10));
  bool white = false, black = false;
  for (std::uint32_t y = 0; y < 600; ++y) {
    for (std::uint32_t x = 0; x < 900; ++x) {
      white |= picture.row(y)[3 * x] == 255 && picture.row(y)[3 * x + 2] == 255;
      black |= picture.row(y)[3 * x] == 0 && picture.row(y)[3 * x + 2] == 0;
    }
  }
  CHECK(white);
  CHECK(black);
}

TEST_CASE("draw: only RGB pictures") {
  image none;
  CHECK(!ocellus::draw_boxes(none, {}));
  auto gray = image::make(4, 4, {}, ocellus::pixel_format::gray);
  REQUIRE(gray);
  CHECK(ocellus::draw_boxes(*gray, {}).error().code() == ocellus::error_code::invalid_argument);
  ocellus::fill_rectangle(*gray, 0, 0, 4, 4, {9, 9, 9});
  for (auto byte : gray->pixels()) CHECK(byte == 0);
}
