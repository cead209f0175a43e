// stb_image's declarations before ocellus in one file: its macros and functions stay the program's own.
#define STBI_MAX_DIMENSIONS 77
#include <stb/stb_image.h>

#include <ocellus/implementation.hpp>

#if STBI_MAX_DIMENSIONS != 77 || defined(STBI_MALLOC) || defined(STBI_ASSERT) || \
    defined(STB_IMAGE_IMPLEMENTATION)
#error "ocellus changed macros of stb_image"
#endif

bool user_decodes(const unsigned char* file, int bytes) {
  int width = 0, height = 0, channels = 0;
  unsigned char* pixels = stbi_load_from_memory(file, bytes, &width, &height, &channels, 3);
  stbi_image_free(pixels);
  return pixels != nullptr && width == 1 && height == 1;
}
