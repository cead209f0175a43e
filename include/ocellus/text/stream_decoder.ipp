// stream_decoder: bytes to text without broken code points.
#ifndef OCELLUS_TEXT_STREAM_DECODER_IPP
#define OCELLUS_TEXT_STREAM_DECODER_IPP

#include "ocellus/slice.hpp"
#include "ocellus/text/stream_decoder.hpp"
#include "ocellus/text/unicode.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

inline constexpr std::string_view replacement_character = "\xef\xbf\xbd";

}  // namespace detail

bool stream_decoder::append(std::string_view bytes, text& out) noexcept {
  using kind = utf8_step::kind;
  // What is held back begins a sequence, so with one byte more it is complete, still incomplete, or all of it
  // is one maximal subpart and the new byte begins something else.
  while (held_size_ != 0 && !bytes.empty()) {
    held_[held_size_] = bytes.front();
    const kind what = read_utf8({held_, held_size_ + std::size_t{1}}).what;
    if (what == kind::invalid) {
      if (!out.append(detail::replacement_character)) return false;
      held_size_ = 0;
      break;
    }
    bytes.remove_prefix(1);
    ++held_size_;
    if (what == kind::code_point) {
      if (!out.append({held_, held_size_})) return false;
      held_size_ = 0;
    }
  }
  std::size_t valid = 0;  // bytes from the front that are well-formed
  while (valid < bytes.size()) {
    const utf8_step step = read_utf8(detail::slice(bytes, valid));
    if (step.what == kind::code_point) {
      valid += step.length;
      continue;
    }
    if (!out.append(detail::slice(bytes, 0, valid))) return false;
    bytes.remove_prefix(valid);
    valid = 0;
    if (step.what == kind::incomplete) {
      held_size_ = step.length;
      std::memcpy(held_, bytes.data(), held_size_);
      return true;
    }
    if (!out.append(detail::replacement_character)) return false;
    bytes.remove_prefix(step.length);
  }
  return out.append(bytes);
}

result<void> stream_decoder::push(std::string_view bytes, text& out) noexcept {
  const stream_decoder before = *this;
  const std::size_t size = out.size();
  if (append(bytes, out)) return {};
  *this = before;
  out.truncate(size);
  return no_memory("decoded text");
}

result<void> stream_decoder::finish(text& out) noexcept {
  if (held_size_ != 0 && !out.append(detail::replacement_character)) return no_memory("decoded text");
  held_size_ = 0;
  return {};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_STREAM_DECODER_IPP
