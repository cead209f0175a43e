// slice: string_view's substr without the check that throws.
#ifndef OCELLUS_SLICE_HPP
#define OCELLUS_SLICE_HPP

#include <string_view>

#include "ocellus/config.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// `length` bytes from `begin`, both within the text; begin <= text.size().
constexpr std::string_view slice(std::string_view text, std::size_t begin, std::size_t length) noexcept {
  return {text.data() + begin, length};
}

/// All bytes from `begin`.
constexpr std::string_view slice(std::string_view text, std::size_t begin) noexcept {
  return {text.data() + begin, text.size() - begin};
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_SLICE_HPP
