// A program's own copy of stb_image, with external symbols, in a file that knows nothing of ocellus.
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
