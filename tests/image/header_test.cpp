// What picture files say about themselves: formats told apart, limits, truncation, every damaged header named.
#include "ocellus/image/header.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "support/picture_files.hpp"

using ocellus::error_code;
using ocellus_tests::as_file;
using ocellus_tests::big_endian;
using ocellus_tests::png;
using ocellus_tests::png_chunk;
using ocellus_tests::png_parts;
using ocellus_tests::png_signature;

namespace {

using namespace std::string_literals;

std::string code_of(const std::string& file, const ocellus::decode_options& options = {}) {
  const auto info = ocellus::read_image_info(as_file(file), options);
  return std::string(info ? "accepted" : name_of(info.error().code()));
}

std::string segment(int marker, const std::string& payload) {
  const std::size_t length = payload.size() + 2;
  return "\xff"s + static_cast<char>(marker) + static_cast<char>(length >> 8) +
         static_cast<char>(length & 255) + payload;
}

struct jpeg_parts {
  int sof = 0xc0, precision = 8, width = 16, height = 16, components = 1;
  std::string sampling = "\x11\x11\x11\x11";
  std::string ids = "\1\2\3\4";
  std::string quantization = "\0"s + std::string(64, 1);
  std::string huffman =
      "\0"s + "\1"s + std::string(15, '\0') + "\0"s + "\x10"s + "\1"s + std::string(15, '\0') + "\0"s;
  std::string before_scan;
  std::string scan_end = "\0\x3f\0"s;
  std::string data = "\0\0\0\0"s;
  int scans = 1;
};

std::string sof(const jpeg_parts& p) {
  std::string payload;
  for (int byte : {p.precision, p.height >> 8, p.height & 255, p.width >> 8, p.width & 255, p.components}) {
    payload += static_cast<char>(byte);
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(p.components); ++i) {
    payload += p.ids[i % 4];
    payload += p.sampling[i % 4];
    payload += '\0';
  }
  return segment(p.sof, payload);
}

std::string jpeg(const jpeg_parts& p) {
  std::string file = "\xff\xd8";
  if (!p.quantization.empty()) file += segment(0xdb, p.quantization);
  file += sof(p);
  if (!p.huffman.empty()) file += segment(0xc4, p.huffman);
  file += p.before_scan;
  std::string scan(1, static_cast<char>(p.components));
  for (std::size_t i = 0; i < static_cast<std::size_t>(p.components); ++i)
    scan += p.ids.substr(i % 4, 1) + "\0"s;
  for (int i = 0; i < p.scans; ++i) file += segment(0xda, scan + p.scan_end) + p.data;
  return file + "\xff\xd9";
}

/// The same with one thing changed.
template <class Parts, class Change>
Parts with(Change change) {
  Parts parts;
  change(parts);
  return parts;
}

#define JPEG_WITH(...) jpeg(with<jpeg_parts>([]([[maybe_unused]] jpeg_parts& p) { __VA_ARGS__; }))
#define PNG_WITH(...)                    \
  png(with<png_parts>([](png_parts& p) { \
    p.rows = "\0\1\2\3"s;                \
    __VA_ARGS__;                         \
  }))

std::string tiff_with_orientation(int value, bool little) {
  if (little) return "II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0"s + static_cast<char>(value) + "\0\0\0\0\0\0\0"s;
  return "MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0"s + static_cast<char>(value) + "\0\0\0\0\0\0"s;
}

}  // namespace

TEST_CASE("header: a PNG and a JPEG are described") {
  const auto one =
      ocellus::read_image_info(as_file(PNG_WITH(p.width = 700; p.height = 3; p.color = 6; p.bits = 16)));
  REQUIRE(one);
  CHECK(one->type == ocellus::image_file_type::png);
  CHECK(one->width == 700);
  CHECK(one->height == 3);
  CHECK(one->components == 4);
  CHECK(one->bits == 16);
  CHECK(!one->palette);
  const auto two =
      ocellus::read_image_info(as_file(JPEG_WITH(p.width = 300; p.height = 258; p.components = 3)));
  REQUIRE(two);
  CHECK(two->type == ocellus::image_file_type::jpeg);
  CHECK(two->width == 300);
  CHECK(two->height == 258);
  CHECK(two->components == 3);
  CHECK(!two->progressive);
}

TEST_CASE("header: other formats are named") {
  const std::pair<std::string, std::string> heads[] = {{"GIF89a", "GIF"},
                                                       {"RIFF\1\2\3\4WEBPVP8 "s, "WebP"},
                                                       {"BM\1\2", "BMP"},
                                                       {"II*\0"s, "TIFF"},
                                                       {"8BPS", "PSD"},
                                                       {"%PDF-1.4", "PDF"},
                                                       {"qoif", "QOI"},
                                                       {"\0\0\1\0"s, "ICO"},
                                                       {"\0\0\0\x1c"
                                                        "ftypavif"s,
                                                        "AVIF"},
                                                       {"\0\0\0\x1c"
                                                        "ftypheic"s,
                                                        "HEIF"},
                                                       {"\0\0\0\x1c"
                                                        "ftypisom"s,
                                                        "MP4"},
                                                       {"<svg xmlns", "SVG"},
                                                       {"P6\n", "PNM"},
                                                       {"#?RADIANCE\n", "Radiance HDR"},
                                                       {"\xff\x0a", "JPEG XL"}};
  for (const auto& [head, name] : heads) {
    CHECK(std::string(ocellus::image_format_name(as_file(head))) == name);
    const auto info = ocellus::read_image_info(as_file(head + std::string(50, 'x')));
    REQUIRE(!info);
    CHECK(info.error().code() == error_code::image_format);
    CHECK(std::string(info.error().message()).find(name) != std::string::npos);
  }
}

TEST_CASE("header: what is no picture at all") {
  for (const auto& file :
       {""s, "\0"s, "\x89PN"s, "hello"s, std::string(1 << 20, '\xff'), " " + PNG_WITH(), "\xff"s}) {
    CHECK(code_of(file) == "image_format");
  }
  CHECK(code_of(png_signature) == "image_truncated");
  CHECK(code_of("\xff\xd8") == "image_truncated");
  CHECK(code_of("\xff\xd8" + std::string(3 << 20, '\xff')) == "image_truncated");
}

TEST_CASE("header: limits are checked before anything is decoded") {
  CHECK(code_of(PNG_WITH(p.width = 0)) == "image_size");
  CHECK(code_of(PNG_WITH(p.height = 0)) == "image_size");
  CHECK(code_of(PNG_WITH(p.width = 0x80000000)) == "image_size");
  CHECK(code_of(PNG_WITH(p.width = 1 << 24)) == "image_size");
  CHECK(code_of(PNG_WITH(p.width = 32769)) == "image_size");
  CHECK(code_of(PNG_WITH(p.width = 32768)) == "accepted");
  CHECK(code_of(PNG_WITH(p.width = 16384; p.height = 16384)) == "image_too_large");
  CHECK(code_of(PNG_WITH(p.width = 5000; p.height = 10'000)) == "accepted");
  CHECK(code_of(PNG_WITH(p.width = 5000; p.height = 10'001)) == "image_too_large");
  CHECK(code_of(JPEG_WITH(p.width = 65500; p.height = 65500)) == "image_size");
  CHECK(code_of(JPEG_WITH(p.width = 26000; p.height = 26000)) == "image_too_large");
  CHECK(code_of(JPEG_WITH(p.width = 0)) == "image_size");
  CHECK(code_of(JPEG_WITH(p.height = 0)) == "image_unsupported");
  ocellus::decode_options tight;
  tight.max_axis = 10;
  tight.max_area = 50;
  CHECK(code_of(PNG_WITH(p.width = 11), tight) == "image_size");
  CHECK(code_of(PNG_WITH(p.width = 8; p.height = 7), tight) == "image_too_large");
  tight.max_file_bytes = 20;
  CHECK(code_of(PNG_WITH(), tight) == "image_too_large");
  ocellus::decode_options loose;  // the library's own limits stay
  loose.max_axis = 0xffffffff;
  loose.max_area = UINT64_MAX;
  CHECK(code_of(PNG_WITH(p.width = 0x7fffffff; p.height = 0x7fffffff), loose) == "image_size");
  CHECK(code_of(PNG_WITH(p.width = 30000; p.height = 30000), loose) == "image_too_large");
}

TEST_CASE("header: every prefix of a PNG and of a JPEG is truncated") {
  for (const auto& file : {PNG_WITH(p.before_data = png_chunk("tEXt", "a\0b"s)), JPEG_WITH()}) {
    CHECK(code_of(file) == "accepted");
    CHECK(code_of(file + "junk") == "accepted");
    for (std::size_t n = 8; n < file.size(); ++n) {
      CAPTURE(n);
      CHECK(code_of(file.substr(0, n)) == "image_truncated");
    }
  }
}

TEST_CASE("header: damaged PNGs") {
  for (int color = 0; color < 256; ++color) {
    for (int bits : {0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 32, 33, 255}) {
      const bool any = bits == 1 || bits == 2 || bits == 4 || bits == 8, deep = bits == 8 || bits == 16;
      const bool legal = color == 0   ? any || deep
                         : color == 3 ? any
                                      : (color == 2 || color == 4 || color == 6) && deep;
      png_parts p;
      p.color = color;
      p.bits = bits;
      p.before_data = png_chunk("PLTE", "abc");
      CAPTURE(color);
      CAPTURE(bits);
      CHECK(code_of(png(p)) == (legal ? "accepted" : "image_corrupt"));
    }
  }
  CHECK(code_of(PNG_WITH(p.compression = 1)) == "image_corrupt");
  CHECK(code_of(PNG_WITH(p.filter = 1)) == "image_corrupt");
  CHECK(code_of(PNG_WITH(p.interlace = 2)) == "image_corrupt");
  CHECK(code_of(PNG_WITH(p.before_data = ocellus_tests::png_ihdr(p))) == "image_corrupt");
  CHECK(code_of(PNG_WITH(p.before_data = png_chunk("ABCD", ""))) == "image_unsupported");
  CHECK(code_of(PNG_WITH(p.before_data = png_chunk("PLTE", ""))) == "image_corrupt");
  CHECK(code_of(PNG_WITH(p.before_data = png_chunk("PLTE", "abcd"))) == "image_corrupt");
  CHECK(code_of(PNG_WITH(p.before_data = png_chunk("PLTE", std::string(771, 'x')))) == "image_corrupt");
  CHECK(code_of(PNG_WITH(p.before_data = png_chunk("PLTE", "abc") + png_chunk("PLTE", "abc"))) ==
        "image_corrupt");
  CHECK(code_of(PNG_WITH(p.color = 3)) == "image_corrupt");  // no palette
  const std::string ihdr = ocellus_tests::png_ihdr({}), end = png_chunk("IEND", "");
  CHECK(code_of(png_signature + ihdr + end) == "image_corrupt");  // no IDAT
  CHECK(code_of(png_signature + png_chunk("gAMA", "1234") + ihdr + end) == "image_corrupt");
  CHECK(code_of(png_signature + png_chunk("CgBI", "1234") + ihdr + end) == "image_unsupported");
  CHECK(code_of(png_signature + png_chunk("IHDR", "short") + end) == "image_corrupt");
  CHECK(code_of(png_signature + ihdr + big_endian(0x7fffffff) + "IDATxxxxxxxx") == "image_truncated");
  CHECK(code_of(png_signature + ihdr + big_endian(0xffffffff) + "tEXtxxxxxxxx") == "image_truncated");
  std::string many;
  for (int i = 0; i < 200'000; ++i) many += "\0\0\0\0tEXt\0\0\0\0"s;
  png_parts p;
  p.rows = "\0\1\2\3"s;
  p.before_data = many;
  CHECK(code_of(png(p)) == "accepted");
}

TEST_CASE("header: damaged and unusual JPEGs") {
  CHECK(code_of(JPEG_WITH(p.precision = 12)) == "image_unsupported");
  for (int sof : {0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf}) {
    jpeg_parts p;
    p.sof = sof;
    CHECK(code_of(jpeg(p)) == "image_unsupported");
  }
  for (int components : {0, 2, 5, 255}) {
    jpeg_parts p;
    p.components = components;
    CHECK(code_of(jpeg(p)) == "image_unsupported");
  }
  CHECK(code_of(JPEG_WITH(p.sof = 0xc1; p.components = 4)) == "accepted");
  CHECK(code_of(JPEG_WITH(p.sampling = "\x01"s)) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.sampling = "\x15"s)) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.components = 3; p.sampling = "\x31\x21\x11\x11"s)) == "image_unsupported");
  CHECK(code_of(JPEG_WITH(p.components = 3; p.sampling = "\x44\x22\x11\x11"s)) == "accepted");
  CHECK(code_of(JPEG_WITH(p.components = 3; p.ids = "\1\1\2\2"s)) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.quantization = "")) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.quantization = "\x20"s + std::string(64, 1))) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.quantization = "\4"s + std::string(64, 1))) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.quantization = "\0"s + std::string(60, 1))) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.quantization = "\x10"s + std::string(128, 1))) == "accepted");
  CHECK(code_of(JPEG_WITH(p.huffman = "")) == "image_unsupported");
  CHECK(code_of(JPEG_WITH(p.huffman = "\0\3"s + std::string(15, '\0') + "abc")) ==
        "image_corrupt");  // over-full
  CHECK(code_of(JPEG_WITH(p.huffman = "\0"s + std::string(16, '\xff') + std::string(4080, 'x'))) ==
        "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.huffman = "\0"s + std::string(15, '\0') + "\5"s + "abc")) ==
        "image_corrupt");  // cut
  CHECK(code_of(JPEG_WITH(p.huffman = "\x20"s + std::string(16, '\0'))) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.before_scan = sof(p))) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.before_scan = "\xff\xe0\0\1"s)) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.before_scan = "\xff\xd8"s)) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.before_scan = "\xff\xe0\xff\xff"s)) == "image_truncated");
  CHECK(code_of(JPEG_WITH(p.scans = 0)) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.sof = 0xc2; p.scan_end = "\5\4\0"s)) == "image_corrupt");
  CHECK(code_of(JPEG_WITH(p.data = "a\xff\0b\xff\xd3"
                                   "c\xff\xff\0d"s)) == "accepted");
  // A scan of a component that the frame does not have.
  std::string file = JPEG_WITH();
  file[file.size() - 10] = 9;
  CHECK(code_of(file) == "image_corrupt");
}

TEST_CASE("header: thousands of scans over a large picture are refused") {
  CHECK(code_of(JPEG_WITH(p.sof = 0xc2; p.scan_end = "\0\0\0"s; p.scans = 200)) == "accepted");
  CHECK(code_of(JPEG_WITH(p.sof = 0xc2; p.scan_end = "\0\0\0"s; p.scans = 201)) == "image_too_large");
  CHECK(code_of(JPEG_WITH(p.sof = 0xc2; p.scan_end = "\0\0\0"s; p.scans = 20; p.width = 5000;
                          p.height = 10000)) == "accepted");
  CHECK(code_of(JPEG_WITH(p.sof = 0xc2; p.scan_end = "\0\0\0"s; p.scans = 21; p.width = 5000;
                          p.height = 10000)) == "image_too_large");
}

TEST_CASE("header: EXIF orientation is read, and malformed EXIF means upright") {
  const auto orientation = [](const std::string& tiff) {
    jpeg_parts j;
    j.before_scan = segment(0xe1, "Exif\0\0"s + tiff);
    const auto from_jpeg = ocellus::read_image_info(as_file(jpeg(j)));
    REQUIRE(from_jpeg);
    png_parts p;
    p.rows = "\0\1\2\3"s;
    p.before_data = png_chunk("eXIf", tiff);
    const auto from_png = ocellus::read_image_info(as_file(png(p)));
    REQUIRE(from_png);
    CHECK(from_jpeg->orientation == from_png->orientation);
    return static_cast<int>(from_jpeg->orientation);
  };
  for (int value = 1; value <= 8; ++value) {
    CHECK(orientation(tiff_with_orientation(value, true)) == value);
    CHECK(orientation(tiff_with_orientation(value, false)) == value);
  }
  CHECK(orientation(tiff_with_orientation(0, true)) == 1);
  CHECK(orientation(tiff_with_orientation(9, false)) == 1);
  CHECK(orientation("") == 1);
  const std::string good = tiff_with_orientation(6, true);
  for (std::size_t n = 0; n < 22; ++n) CHECK(orientation(good.substr(0, n)) == 1);
  CHECK(orientation("II*\0\xff\xff\xff\xff\1\0"s) == 1);
  CHECK(orientation("II*\0\x08\0\0\0\xff\xff"s + std::string(40'000, '\0')) == 1);
}

TEST_CASE("header: random bytes and damaged files never do more than fail") {
  std::mt19937 random(11);
  const std::string sources[] = {
    PNG_WITH(p.before_data = png_chunk("PLTE", "abcdef") + png_chunk("eXIf", tiff_with_orientation(3, true))),
    JPEG_WITH(p.components = 3; p.before_scan = segment(0xe1, "Exif\0\0"s + tiff_with_orientation(3, false)))
  };
  for (int i = 0; i < 20'000; ++i) {
    std::string file = sources[i % 2];
    for (auto changes = random() % 6; changes > 0; --changes) {
      file[2 + random() % (file.size() - 2)] = static_cast<char>(random() % 3 == 0 ? 0xff : random());
    }
    if (random() % 4 == 0) file.resize(random() % file.size());
    const std::vector<char> exact(file.begin(), file.end());  // so that a read past the end is seen
    const auto info = ocellus::read_image_info(std::as_bytes(std::span(exact)));
    if (!info) CHECK(!info.error().message().empty());
  }
}
