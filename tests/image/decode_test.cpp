// Decoding: PNG of every kind exactly, JPEG near Pillow's, hostile files refused within bounds.
#include "ocellus/image/decode.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "ocellus/io/file.hpp"
#include "ocellus/io/safetensors.hpp"
#include "support/counting_memory.hpp"
#include "support/picture_files.hpp"
#include "support/temporary_folder.hpp"

using ocellus::error_code;
using ocellus_tests::as_file;
using ocellus_tests::counting_memory;
using ocellus_tests::png;
using ocellus_tests::png_chunk;
using ocellus_tests::png_parts;

namespace {

using namespace std::string_literals;
using bytes = std::vector<int>;

// Made with Pillow 13 (libjpeg-turbo), as were the expected pixels beside them.
const std::string data_folder = OCELLUS_TEST_DATA "/image/";

bytes rgb_of(const std::string& file, const ocellus::decode_options& options = {}) {
  const auto made = ocellus::decode_image(as_file(file), options);
  REQUIRE_MESSAGE(made, (made ? "" : std::string(made.error().message())));
  return {made->pixels().begin(), made->pixels().end()};
}

std::string code_of(const std::string& file, const ocellus::decode_options& options = {}) {
  counting_memory memory;  // checks that nothing is left
  const auto made = ocellus::decode_image(as_file(file), options, memory.hooks());
  return std::string(made ? "decoded" : name_of(made.error().code()));
}

/// A row of samples of `bits` bits each, with its filter byte.
std::string row_of(const std::vector<int>& samples, int bits) {
  std::string row(1, '\0');
  int held = 0, hold = 0;
  for (int sample : samples) {
    if (bits == 16) {
      row += static_cast<char>(sample >> 8);
      row += static_cast<char>(sample & 255);
      continue;
    }
    hold = hold << bits | sample;
    held += bits;
    if (held == 8) {
      row += static_cast<char>(hold);
      held = hold = 0;
    }
  }
  if (held > 0) row += static_cast<char>(hold << (8 - held));
  return row;
}

/// The rows of a gray 8-bit picture whose pixel (x, y) is x * 16 + y, in Adam7 order.
std::string adam7_rows(int width, int height) {
  constexpr int passes[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
  std::string rows;
  for (const auto& pass : passes) {
    if (pass[0] >= width) continue;
    for (int y = pass[1]; y < height; y += pass[3]) {
      rows += '\0';
      for (int x = pass[0]; x < width; x += pass[2]) rows += static_cast<char>(x * 16 + y);
    }
  }
  return rows;
}

ocellus::safetensors expected_jpegs(const ocellus::byte_source& file) {
  auto parsed = ocellus::safetensors::parse(file.bytes());
  REQUIRE(parsed);
  return std::move(*parsed);
}

/// The largest and the mean difference of two pictures, in steps of 255.
struct difference {
  int largest = 0;
  double mean = 0;
};

difference compare(const ocellus::image& made, const ocellus::tensor_info& expected) {
  REQUIRE(made.height() == expected.dims[0]);
  REQUIRE(made.width() == expected.dims[1]);
  difference d;
  for (std::size_t i = 0; i < expected.bytes.size(); ++i) {
    const int step = std::abs(int{made.pixels()[i]} - static_cast<int>(expected.bytes[i]));
    d.largest = std::max(d.largest, step);
    d.mean += step / static_cast<double>(expected.bytes.size());
  }
  return d;
}

}  // namespace

TEST_CASE("decode: all fifteen kinds of PNG, exactly") {
  const std::string palette = png_chunk("PLTE", "\1\2\3\4\5\6\7\x08\x09"s);
  struct kind {
    int color, bits;
    std::vector<int> samples;  // of two pixels
    bytes expected;
  };
  const kind kinds[] = {{0, 1, {1, 0}, {255, 255, 255, 0, 0, 0}},
                        {0, 2, {1, 2}, {85, 85, 85, 170, 170, 170}},
                        {0, 4, {5, 15}, {85, 85, 85, 255, 255, 255}},
                        {0, 8, {7, 200}, {7, 7, 7, 200, 200, 200}},
                        {0, 16, {80, 0x1234}, {80, 80, 80, 255, 255, 255}},  // clipped, as Pillow does
                        {2, 8, {1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6}},
                        {2, 16, {0x0180, 0x02ff, 0x0300, 0, 0xffff, 0x80ff}, {1, 2, 3, 0, 255, 128}},
                        {3, 1, {1, 0}, {4, 5, 6, 1, 2, 3}},
                        {3, 2, {2, 1}, {7, 8, 9, 4, 5, 6}},
                        {3, 4, {0, 2}, {1, 2, 3, 7, 8, 9}},
                        {3, 8, {2, 0}, {7, 8, 9, 1, 2, 3}},
                        {4, 8, {9, 0, 8, 255}, {9, 9, 9, 8, 8, 8}},
                        {4, 16, {0x0980, 0, 0x0810, 0xffff}, {9, 9, 9, 8, 8, 8}},
                        {6, 8, {1, 2, 3, 0, 4, 5, 6, 7}, {1, 2, 3, 4, 5, 6}},
                        {6, 16, {0x100, 0x200, 0x300, 0, 0x400, 0x500, 0x600, 0x700}, {1, 2, 3, 4, 5, 6}}};
  for (const auto& k : kinds) {
    CAPTURE(k.color);
    CAPTURE(k.bits);
    png_parts p;
    p.width = 2;
    p.color = k.color;
    p.bits = k.bits;
    p.before_data = k.color == 3 ? palette : "";
    p.rows = row_of(k.samples, k.bits);
    CHECK(rgb_of(png(p)) == k.expected);
  }
}

TEST_CASE("decode: transparency is dropped, the colours beneath it stay") {
  png_parts p;
  p.width = 2;
  p.rows = row_of({1, 2, 3, 4, 5, 6}, 8);
  p.before_data = png_chunk("tRNS", "\0\1\0\2\0\3"s);
  CHECK(rgb_of(png(p)) == bytes{1, 2, 3, 4, 5, 6});
  p.color = 3;
  p.rows = row_of({0, 1}, 8);
  p.before_data = png_chunk("PLTE", "abcdef") + png_chunk("tRNS", "\0"s);
  CHECK(rgb_of(png(p)) == bytes{'a', 'b', 'c', 'd', 'e', 'f'});
  p.color = 0;
  p.bits = 16;
  p.rows = row_of({80, 300}, 16);
  p.before_data = png_chunk("tRNS", "\0\x50"s);
  CHECK(rgb_of(png(p)) == bytes{80, 80, 80, 255, 255, 255});
}

TEST_CASE("decode: palette indices beyond the palette are black") {
  png_parts p;
  p.width = 4;
  p.color = 3;
  p.before_data = png_chunk("PLTE", "abcdef");
  p.rows = row_of({1, 2, 255, 0}, 8);
  CHECK(rgb_of(png(p)) == bytes{'d', 'e', 'f', 0, 0, 0, 0, 0, 0, 'a', 'b', 'c'});
}

TEST_CASE("decode: interlaced PNGs of all small sizes") {
  for (int width = 1; width <= 9; ++width) {
    for (int height = 1; height <= 9; ++height) {
      png_parts p;
      p.width = static_cast<std::uint32_t>(width);
      p.height = static_cast<std::uint32_t>(height);
      p.color = 0;
      p.interlace = 1;
      p.rows = adam7_rows(width, height);
      bytes expected;
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) expected.insert(expected.end(), 3, (x * 16 + y) & 255);
      }
      CHECK(rgb_of(png(p)) == expected);
    }
  }
}

TEST_CASE("decode: row filters, split data, harmless extras") {
  png_parts p;
  p.width = 2;
  p.height = 5;
  p.color = 0;
  p.rows = "\0\x0a\x14\1\5\5\2\1\1\3\2\2\4\1\1"s;
  const bytes gray{10, 20, 5, 10, 6, 11, 5, 10, 6, 11};
  bytes expected;
  for (int g : gray) expected.insert(expected.end(), 3, g);
  CHECK(rgb_of(png(p)) == expected);

  const std::string stream = ocellus_tests::zlib_stored(p.rows);
  std::string split = ocellus_tests::png_signature + ocellus_tests::png_ihdr(p) + png_chunk("IDAT", "");
  for (char c : stream) split += png_chunk("IDAT", std::string(1, c));
  split += png_chunk("IEND", "");
  CHECK(rgb_of(split) == expected);
  CHECK(rgb_of(split + "and more") == expected);
  p.before_data =
      png_chunk("iCCP", "name\0\0junk"s) + png_chunk("zTXt", "bomb\0\0\x78\x9c"s) + png_chunk("gAMA", "1234");
  CHECK(rgb_of(png(p)) == expected);
  std::string wrong_sum = png(p);
  wrong_sum[wrong_sum.size() - 13] ^= 1;  // the checksum of IDAT
  CHECK(rgb_of(wrong_sum) == expected);
}

TEST_CASE("decode: PNG data that is damaged, too short or far too long") {
  png_parts p;
  p.width = p.height = 2;
  const std::string good = "\0\1\2\3\4\5\6\0\1\2\3\4\5\6"s;
  const auto changed = [&](const std::string& rows, const std::string& stream) {
    png_parts q = p;
    q.rows = rows;
    q.stream = stream;
    return code_of(png(q));
  };
  CHECK(changed(good, "") == "decoded");
  CHECK(changed(good + "a few bytes too many", "") == "decoded");
  CHECK(changed(good.substr(1), "") == "image_corrupt");
  for (int filter : {5, 9, 255})
    CHECK(changed(std::string(1, static_cast<char>(filter)) + good.substr(1), "") == "image_corrupt");
  CHECK(changed("", "x") == "image_corrupt");
  CHECK(changed("", "\x78"s) == "image_corrupt");
  CHECK(changed("", "\x78\x01\x07"s) == "image_corrupt");                      // block type 3
  CHECK(changed("", "\x78\x20\0\0\0\0"s) == "image_corrupt");                  // preset dictionary
  CHECK(changed("", "\x70\x01\1\0\0\xff\xff"s) == "image_corrupt");            // nothing in it
  CHECK(changed("", "\x78\x01\x63\x00\x01\x00\x00\x00"s) == "image_corrupt");  // distance too far

  // 64 x 64 pixels with 200 MB of zeros behind them.
  png_parts bomb;
  bomb.width = bomb.height = 64;
  bomb.stream = ocellus_tests::zlib_zeros(200'000'000);
  const std::string file = png(bomb);
  counting_memory memory;
  const auto made = ocellus::decode_image(as_file(file), {}, memory.hooks());
  REQUIRE(!made);
  CHECK(made.error().code() == error_code::image_extra_data);
  CHECK(memory.peak() < 8 * file.size());
}

TEST_CASE("decode: the memory of a decode is bounded") {
  png_parts p;
  p.width = 1000;
  p.height = 1000;
  p.color = 6;
  p.stream = ocellus_tests::zlib_zeros(4'001'300);
  const std::string file = png(p);
  CHECK(code_of(file) == "decoded");
  ocellus::decode_options tight;
  tight.max_memory = 5'000'000;
  CHECK(code_of(file, tight) == "image_too_large");
  counting_memory memory;
  {
    const auto made = ocellus::decode_image(as_file(file), {}, memory.hooks());
    REQUIRE(made);
    CHECK(memory.live() == 1);
  }
  CHECK(memory.peak() < 16'000'000);
}

TEST_CASE("decode: memory that was given back counts as free again") {
  png_parts p;
  p.width = p.height = 548;
  p.color = 0;
  const std::string stream = ocellus_tests::zlib_stored(std::string(549 * 548, '\0'));
  std::string file = ocellus_tests::png_signature + ocellus_tests::png_ihdr(p);
  for (std::size_t at = 0; at < stream.size(); at += 1000) file += png_chunk("IDAT", stream.substr(at, 1000));
  file += png_chunk("IEND", "");
  ocellus::decode_options options;
  options.max_memory = 1'600'000;  // 1.2 MB at once, 2.5 MB in all
  CHECK(code_of(file, options) == "decoded");
  options.max_memory = 1'100'000;
  CHECK(code_of(file, options) == "image_too_large");
}

TEST_CASE("decode: JPEGs are near what Pillow reads") {
  auto file = ocellus::byte_source::open(data_folder + "jpeg_expected.safetensors");
  REQUIRE(file);
  const auto expected = expected_jpegs(*file);
  int compared = 0;
  for (const auto& tensor : expected.tensors()) {
    std::string name(tensor.name);
    CAPTURE(name);
    ocellus::decode_options options;
    if (const auto dot = name.find('.'); dot != std::string::npos) {
      name.resize(dot);
      options.apply_orientation = true;
    }
    const auto made = ocellus::load_image(data_folder + name + ".jpg", options);
    REQUIRE(made);
    const difference d = compare(*made, tensor);
    // Halved colour is interpolated a little differently along edges.
    const bool halved = name.find("42") != std::string::npos || name == "progressive";
    CHECK(d.largest <= (halved ? 8 : 3));
    CHECK(d.mean < (halved ? 0.4 : 0.1));
    MESSAGE(name, ": largest difference ", d.largest, ", mean ", d.mean);
    ++compared;
  }
  CHECK(compared == 8);
}

TEST_CASE("decode: CMYK needs no Adobe marker") {
  const std::string file = ocellus_tests::read_text(data_folder + "cmyk.jpg");
  REQUIRE(file.substr(2, 2) == "\xff\xee");
  CHECK(rgb_of(file.substr(0, 2) + file.substr(18)) == rgb_of(file));
}

TEST_CASE("decode: every prefix of a JPEG is truncated, even by one byte") {
  for (const char* name : {"color_420", "progressive", "gray", "color_422_restart"}) {
    const std::string file = ocellus_tests::read_text(data_folder + name + ".jpg");
    REQUIRE(file.size() > 400);
    for (std::size_t n = 2; n < file.size(); ++n) CHECK(code_of(file.substr(0, n)) == "image_truncated");
    CHECK(code_of(file + "\xff\xd8 a second picture") == "decoded");
  }
}

TEST_CASE("decode: orientation is applied when asked for, and only then") {
  // 2 x 3 pixels 1 2 / 3 4 / 5 6, and how they look upright.
  const bytes upright[9] = {{},
                            {1, 2, 3, 4, 5, 6},
                            {2, 1, 4, 3, 6, 5},
                            {6, 5, 4, 3, 2, 1},
                            {5, 6, 3, 4, 1, 2},
                            {1, 3, 5, 2, 4, 6},
                            {5, 3, 1, 6, 4, 2},
                            {6, 4, 2, 5, 3, 1},
                            {2, 4, 6, 1, 3, 5}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    png_parts p;
    p.width = 2;
    p.height = 3;
    p.color = 0;
    p.rows = "\0\1\2\0\3\4\0\5\6"s;
    p.before_data = png_chunk("eXIf", "II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0"s +
                                          static_cast<char>(orientation) + "\0\0\0\0\0\0\0"s);
    for (bool apply : {false, true}) {
      ocellus::decode_options options;
      options.apply_orientation = apply;
      const auto made = ocellus::decode_image(as_file(png(p)), options);
      REQUIRE(made);
      const bool turned = apply && orientation >= 5;
      CHECK(made->width() == (turned ? 3 : 2));
      CHECK(made->height() == (turned ? 2 : 3));
      const bytes& expected = upright[apply ? orientation : 1];
      for (std::size_t i = 0; i < 6; ++i) CHECK(made->pixels()[3 * i + 1] == expected[i]);
    }
  }
}

TEST_CASE("decode: files are named in errors") {
  const auto missing = ocellus::load_image(data_folder + "no_such.png");
  REQUIRE(!missing);
  CHECK(missing.error().code() == error_code::not_found);
  CHECK(std::string(missing.error().message()).find("no_such.png") != std::string::npos);
  const auto other = ocellus::load_image(data_folder + "jpeg_expected.safetensors");
  REQUIRE(!other);
  CHECK(other.error().code() == error_code::image_format);
  CHECK(std::string(other.error().message()).find("jpeg_expected.safetensors") != std::string::npos);
}

TEST_CASE("decode: no memory is an error and leaves nothing behind") {
  png_parts p;
  p.width = 2;
  p.color = 3;
  p.before_data = png_chunk("PLTE", "abcdef");
  p.rows = row_of({0, 1}, 8);
  const std::string files[] = {png(p), ocellus_tests::read_text(data_folder + "color_420.jpg"),
                               ocellus_tests::read_text(data_folder + "progressive.jpg"),
                               ocellus_tests::read_text(data_folder + "cmyk.jpg")};
  for (const auto& file : files) {
    ocellus_tests::fail_every_allocation([&](const ocellus::memory_hooks& memory) {
      return ocellus::decode_image(as_file(file), {}, memory);
    });
  }
}

TEST_CASE("decode: damaged files end in a picture or an error, within the limits") {
  std::mt19937 random(3);
  std::vector<std::string> sources;
  for (const char* name : {"color_420", "color_444", "progressive", "gray", "color_422_restart", "cmyk"}) {
    sources.push_back(ocellus_tests::read_text(data_folder + name + ".jpg"));
  }
  png_parts p;
  p.width = p.height = 9;
  p.color = 0;
  p.interlace = 1;
  p.rows = adam7_rows(9, 9);
  sources.push_back(png(p));
  sources.push_back(ocellus_tests::read_text(OCELLUS_TEST_DATA "/resize/palette.png"));
  ocellus::decode_options options;
  options.max_area = 1'000'000;  // keeps the test quick
  int decoded = 0;
  for (int i = 0; i < 6000; ++i) {
    std::string file = sources[static_cast<std::size_t>(i) % sources.size()];
    for (auto changes = 1 + random() % 4; changes > 0; --changes) {
      const std::size_t at = 2 + random() % (file.size() - 2);
      if (random() % 2 == 0) {
        file[at] = static_cast<char>(random());
      } else {
        file[at] = static_cast<char>(file[at] ^ (1 << random() % 8));
      }
    }
    const std::vector<char> exact(file.begin(), file.end());
    const auto made = ocellus::decode_image(std::as_bytes(std::span(exact)), options);
    decoded += made ? 1 : 0;
  }
  CHECK(decoded > 0);
}
