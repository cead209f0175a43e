// Version, build switches and the namespace that every part of the library lives in.
#ifndef OCELLUS_CONFIG_HPP
#define OCELLUS_CONFIG_HPP

#include <bit>
#include <climits>
#include <cstddef>
#include <cstdint>

#define OCELLUS_VERSION_MAJOR 0
#define OCELLUS_VERSION_MINOR 1
#define OCELLUS_VERSION_PATCH 0
#define OCELLUS_VERSION_STRING "0.1.0"

// Switches, to be defined alike for every file that includes the library:
//   OCELLUS_STATIC_DISPATCH  build the CPU kernels for the compiler's -march alone and link to nothing;
//                            without it they are built for several targets and chosen at run time (needs libhwy).
//   OCELLUS_NO_IMAGE_FILES   leave out PNG/JPEG decoding, and with it the need for stb_image.
//   OCELLUS_OBSERVE_ERRORS   for tests: every error that is made is told to detail::observe_error, a function of the
//                            program.
//   OCELLUS_MODEL_TILES      for tests: a table of kernels more, whose AMX tiles are ordinary code.

// The version is part of every symbol, so that two versions can live in one program.
#define OCELLUS_ABI v0_1

static_assert(std::endian::native == std::endian::little, "ocellus reads little-endian files in place");
static_assert(CHAR_BIT == 8 && sizeof(float) == 4 && sizeof(double) == 8);

namespace ocellus::inline OCELLUS_ABI {

/// "0.1.0": the version of the headers that this file was compiled with.
inline constexpr const char* version = OCELLUS_VERSION_STRING;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CONFIG_HPP
