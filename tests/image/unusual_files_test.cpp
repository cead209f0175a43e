// PNG and JPEG files that are rare but right, and such that readers disagree about: what Pillow makes of them decides,
// unless a row says otherwise.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "ocellus/image/decode.hpp"
#include "support/picture_files.hpp"
#include "support/temporary_folder.hpp"

using ocellus_tests::as_file;
using ocellus_tests::png;
using ocellus_tests::png_chunk;
using ocellus_tests::png_parts;
using ocellus_tests::zlib_stored;

namespace {

using namespace std::string_literals;

std::string code_of(const std::string& file) {
  const auto made = ocellus::decode_image(as_file(file));
  return std::string(made ? "decoded" : name_of(made.error().code()));
}
std::string pixels_of(const std::string& file) {
  const auto made = ocellus::decode_image(as_file(file));
  REQUIRE_MESSAGE(made, std::string(made ? "" : made.error().message()));
  return {made->pixels().begin(), made->pixels().end()};
}
std::string data_file(const std::string& name) {
  return ocellus_tests::read_text(OCELLUS_TEST_DATA "/image/" + name);
}

/// Two pixels in one row; `before` stands between IHDR and IDAT.
std::string two_pixels(int color, const std::string& samples, const std::string& before) {
  png_parts p;
  p.width = 2;
  p.color = color;
  p.before_data = before;
  p.rows = "\0"s + samples;
  return png(p);
}
std::string rgb_png(const std::string& before = "") { return two_pixels(2, "\1\2\3\4\5\6", before); }

struct pixel {
  std::uint32_t x, y;
  int rgb[3];
};
/// The largest difference of chosen pixels.
int difference(const std::string& file, const std::vector<pixel>& expected) {
  const auto made = ocellus::decode_image(as_file(file));
  REQUIRE(made);
  int largest = 0;
  for (const pixel& p : expected) {
    for (std::size_t c = 0; c < 3; ++c)
      largest = (std::max)(largest, std::abs(int{made->row(p.y)[3 * p.x + c]} - p.rgb[c]));
  }
  return largest;
}

/// A JPEG with segments put behind its first marker.
std::string with_segments(const std::string& jpeg, const std::string& segments) {
  return jpeg.substr(0, 2) + segments + jpeg.substr(2);
}
std::string segment(int marker, const std::string& payload) {
  const std::size_t length = payload.size() + 2;
  return "\xff"s + static_cast<char>(marker) + static_cast<char>(length >> 8) +
         static_cast<char>(length & 255) + payload;
}
std::string adobe(int transform) {
  return segment(0xee, "Adobe\0\x64\0\0\0\0"s + static_cast<char>(transform));
}

/// color_444.jpg without its JFIF header, so that an Adobe marker counts.
std::string without_jfif() {
  const std::string file = data_file("color_444.jpg");
  REQUIRE(file.substr(2, 2) == "\xff\xe0");
  return file.substr(0, 2) + file.substr(4 + static_cast<unsigned char>(file[5]));
}

}  // namespace

TEST_CASE("unusual files: PNG chunks that say little or contradict each other") {
  const std::string palette = png_chunk("PLTE", "abcdef"), zero(1, '\0');
  const std::string frame = "\0\0\0\2\0\0\0\1\0\0\0\0\0\0\0\0\0\1\0\x0a\0\0"s;  // 2 x 1 pixels at 0, 0
  const std::string good = rgb_png();
  const std::string stream = zlib_stored("\0\1\2\3\4\5\6"s);
  std::string wrong_adler = stream;
  wrong_adler.back() ^= 1;
  const auto with_data = [&](const std::string& chunks) {
    return good.substr(0, 33) + chunks + png_chunk("IEND", "");
  };
  struct row {
    std::string what, file, code;
  };
  const row rows[] = {
      {"text between two parts of the pixels",
       with_data(png_chunk("IDAT", stream.substr(0, 5)) + png_chunk("tEXt", "a\0b"s) +
                 png_chunk("IDAT", stream.substr(5))),
       "image_corrupt"},
      {"parts of the pixels one after another",
       with_data(png_chunk("IDAT", stream.substr(0, 5)) + png_chunk("IDAT", "") +
                 png_chunk("IDAT", stream.substr(5)) + png_chunk("tEXt", "a\0b"s)),
       "decoded"},
      {"a palette in a picture of true colours", rgb_png(palette), "decoded"},
      {"a palette in a gray picture", two_pixels(0, "\1\2", palette), "decoded"},
      {"transparency of RGB cut short", rgb_png(png_chunk("tRNS", "\0\1"s)), "image_corrupt"},
      {"transparency of gray cut short", two_pixels(0, "\1\2", png_chunk("tRNS", zero)), "image_corrupt"},
      {"no transparency at all in its chunk", rgb_png(png_chunk("tRNS", "")), "image_corrupt"},
      {"more transparent entries than the palette has (Pillow takes it)",
       two_pixels(3, "\0\1"s, palette + png_chunk("tRNS", "\1\2\3")), "decoded"},
      {"more transparent entries than any palette has (Pillow takes it)",
       two_pixels(3, "\0\1"s, palette + png_chunk("tRNS", std::string(257, '\1'))), "image_corrupt"},
      {"transparency before the palette (Pillow takes it)",
       two_pixels(3, "\0\1"s, png_chunk("tRNS", zero) + palette), "image_corrupt"},
      {"transparency beside an alpha channel (Pillow takes it)",
       two_pixels(4, "\1\2\3\4", png_chunk("tRNS", "\0\1"s)), "image_corrupt"},
      {"a wrong checksum of the pixels (Pillow refuses it)", with_data(png_chunk("IDAT", wrong_adler)),
       "decoded"},
      {"an animation whose first picture is the default one",
       rgb_png(png_chunk("acTL", "\0\0\0\1\0\0\0\0"s) + png_chunk("fcTL", "\0\0\0\0"s + frame)), "decoded"},
      {"an animation with frames behind the default picture",
       with_data(png_chunk("acTL", "\0\0\0\2\0\0\0\0"s) + png_chunk("fcTL", "\0\0\0\0"s + frame) +
                 png_chunk("IDAT", stream) + png_chunk("fcTL", "\0\0\0\1"s + frame) +
                 png_chunk("fdAT", "\0\0\0\2"s + zlib_stored("\0abcdef"s))),
       "decoded"},
      {"a picture with a zip archive behind it", good + "PK\3\4 and so on PK\5\6"s + std::string(18, '\0'),
       "decoded"},
  };
  for (const row& r : rows) {
    CAPTURE(r.what);
    CHECK(code_of(r.file) == r.code);
    if (r.code == "decoded" && r.file[25] == 2) CHECK(pixels_of(r.file) == "\1\2\3\4\5\6");
  }
}

TEST_CASE("unusual files: colour spaces of JPEG") {
  // Expected: Pillow 13 with libjpeg-turbo, on the same bytes.
  const std::vector<pixel> usual{
      {3, 4, {36, 54, 188}}, {22, 15, {134, 116, 132}}, {40, 5, {220, 59, 109}}, {5, 26, {45, 187, 141}}};
  const std::vector<pixel> as_rgb{
      {3, 4, {64, 198, 108}}, {22, 15, {123, 133, 136}}, {40, 5, {113, 126, 204}}, {5, 26, {139, 129, 61}}};
  const std::vector<pixel> ycck{
      {3, 4, {139, 236, 255}}, {22, 15, {125, 124, 140}}, {40, 5, {60, 0, 155}}, {5, 26, {196, 237, 107}}};
  const std::string jfif = data_file("color_444.jpg"), plain = without_jfif();
  CHECK(difference(jfif, usual) <= 3);
  CHECK(difference(plain, usual) <= 3);
  CHECK(difference(with_segments(plain, adobe(0)), as_rgb) <= 3);
  CHECK(difference(with_segments(plain, adobe(1)), usual) <= 3);
  CHECK(difference(with_segments(jfif, adobe(0)), usual) <= 3);  // JFIF is always YCbCr

  std::string named = plain;  // components called R, G and B
  const std::size_t frame = named.find("\xff\xc0"), scan = named.find("\xff\xda");
  for (std::size_t i = 0; i < 3; ++i) named[frame + 10 + 3 * i] = named[scan + 5 + 2 * i] = "RGB"[i];
  CHECK(difference(named, as_rgb) <= 3);

  std::string four = data_file("cmyk.jpg");
  const std::size_t marker = four.find("Adobe");
  REQUIRE(marker != std::string::npos);
  four[marker + 11] = 2;
  CHECK(difference(four, ycck) <= 3);
}

TEST_CASE("unusual files: what stands beside the pixels of a JPEG does not change them") {
  const std::string file = data_file("color_420.jpg"), expected = pixels_of(file);
  const std::string thumbnail = "JFIF\0\1\2\0\0\1\0\1\2\2"s + std::string(12, '\x80');  // 2 x 2 pixels
  CHECK(pixels_of(with_segments(file, segment(0xe2, "ICC_PROFILE\0\1\1not a profile"s))) == expected);
  CHECK(pixels_of(with_segments(file, segment(0xe0, thumbnail))) == expected);
  CHECK(pixels_of(with_segments(file, segment(0xfe, std::string(65533, 'c')))) == expected);
  // Two pictures in one file, as stereo cameras write them: the first one.
  CHECK(pixels_of(file + data_file("gray.jpg")) == expected);
  CHECK(code_of(with_segments(file, "\xff\xe1\0\0"s)) == "image_corrupt");  // a length of 0
}

TEST_CASE("unusual files: restart markers that are wrong, missing or too many end in a picture or an error") {
  const std::string file = data_file("color_422_restart.jpg");
  const std::size_t interval = file.find("\xff\xdd") + 4, first = file.find("\xff\xd0");
  REQUIRE(interval < file.size());
  REQUIRE(first < file.size());
  CHECK(code_of(file) == "decoded");
  for (const unsigned every : {0u, 1u, 2u, 65535u}) {
    std::string changed = file;
    changed[interval] = static_cast<char>(every >> 8);
    changed[interval + 1] = static_cast<char>(every & 255);
    const std::string code = code_of(changed);
    CHECK((code == "decoded" || code == "image_corrupt"));
  }
  std::string other = file, missing = file;
  other[first + 1] = '\xd5';
  missing.erase(first, 2);
  for (const std::string& changed : {other, missing}) {
    const std::string code = code_of(changed);
    CHECK((code == "decoded" || code == "image_corrupt"));
  }
}

TEST_CASE("unusual files: every sampling of a JPEG's components is decoded or refused") {
  const std::string file = data_file("color_444.jpg");
  const std::size_t frame = file.find("\xff\xc0");
  REQUIRE(frame < file.size());
  int decoded = 0;
  for (unsigned component = 0; component < 3; ++component) {
    for (unsigned sampling = 0; sampling < 256; ++sampling) {
      std::string changed = file;
      changed[frame + 11 + 3 * component] = static_cast<char>(sampling);
      const unsigned across = sampling >> 4, down = sampling & 15;
      const bool possible = across >= 1 && across <= 4 && down >= 1 && down <= 4;
      const std::string code = code_of(changed);
      CAPTURE(sampling);
      // (What is decoded is too little data for the picture, which shows as such or as nonsense.)
      CHECK((possible ? code != "image_unsupported" : code == "image_corrupt"));
      decoded += code == "decoded" ? 1 : 0;
    }
  }
  CHECK(decoded >= 3);
}

TEST_CASE("unusual files: a scan's range of coefficients and its precision are checked") {
  const std::string file = data_file("progressive.jpg");
  const std::size_t scan = file.find("\xff\xda");
  REQUIRE(scan < file.size());
  const std::size_t range = scan + 5 + 2 * static_cast<unsigned char>(file[scan + 4]);
  for (const std::string& bad :
       {"\x40\x40\0"s, "\0\x40\0"s, "\5\4\0"s, "\0\0\xe0"s, "\0\0\x0e"s, "\0\0\xff"s}) {
    std::string changed = file;
    changed.replace(range, 3, bad);
    CAPTURE(static_cast<int>(static_cast<unsigned char>(bad[2])));
    CHECK(code_of(changed) == "image_corrupt");
  }
}

TEST_CASE("unusual files: contents decide, not names, and formats without a mark are no pictures") {
  const ocellus_tests::temporary_folder folder;
  ocellus_tests::write_text(folder / "picture.jpg", rgb_png());
  CHECK(ocellus::load_image(folder / "picture.jpg"));
  for (const std::string& head :
       {"\0\0\2\0\0\0\0\0\0\0\0\0\2\0\2\0\x18\0"s, "\x53\x80\xf6\x34"s}) {  // TGA, PIC
    CHECK(code_of(head + std::string(100, '\x10')) == "image_format");
  }
  std::mt19937 random(5);
  for (int i = 0; i < 200; ++i) {
    std::string noise(65536, '\0');
    for (std::size_t at = 0; at < noise.size(); at += 4) {
      const auto four = static_cast<std::uint32_t>(random());
      std::memcpy(noise.data() + at, &four, 4);
    }
    if (i % 2 == 0) noise.replace(0, 3, "\xff\xd8\xff");
    if (i % 2 == 1) noise.replace(0, 33, rgb_png().substr(0, 33));
    CHECK(code_of(noise) != "decoded");
  }
}
