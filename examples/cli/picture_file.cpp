#include "picture_file.hpp"

#include <vector>

#include "ocellus/image/draw.hpp"
#include "ocellus/io/file.hpp"
#include "ocellus/text/boxes.hpp"

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#if __has_include(<stb/stb_image_write.h>)
#include <stb/stb_image_write.h>
#else
#include <stb_image_write.h>
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace ocellus_cli {

ocellus::result<void> write_png(const ocellus::image& picture, std::string_view path) {
  std::vector<std::byte> bytes;
  const auto append = [](void* to, void* from, int size) {
    const auto* first = static_cast<const std::byte*>(from);
    static_cast<std::vector<std::byte>*>(to)->insert(static_cast<std::vector<std::byte>*>(to)->end(), first,
                                                     first + size);
  };
  const int done = stbi_write_png_to_func(append, &bytes, static_cast<int>(picture.width()),
                                          static_cast<int>(picture.height()), 3, picture.pixels().data(),
                                          static_cast<int>(picture.row_bytes()));
  if (done == 0) return ocellus::no_memory("a PNG");
  OCELLUS_ASSIGN(auto file, ocellus::output_file::create(path));
  OCELLUS_TRY(file.write(bytes));
  return file.commit();
}

ocellus::result<std::size_t> draw_answer(ocellus::image& picture, std::string_view answer,
                                         std::string_view path) {
  ocellus::array<ocellus::answer_box> boxes;
  OCELLUS_TRY(ocellus::parse_boxes(answer, boxes));
  std::vector<ocellus::labelled_box> drawn;
  for (const ocellus::answer_box& b : boxes) {
    if (!b.valid) continue;
    const auto part = [](std::uint32_t hundredths) { return static_cast<float>(hundredths) / 100.0f; };
    drawn.push_back({part(b.x0), part(b.y0), part(b.x1), part(b.y1), b.phrase, drawn.size()});
  }
  OCELLUS_TRY(ocellus::draw_boxes(picture, drawn));
  OCELLUS_TRY(write_png(picture, path));
  return drawn.size();
}

}  // namespace ocellus_cli
