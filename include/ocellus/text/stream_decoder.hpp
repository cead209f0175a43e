// stream_decoder: turns the bytes of tokens, as they come, into text that never breaks off inside a code
// point.
#ifndef OCELLUS_TEXT_STREAM_DECODER_HPP
#define OCELLUS_TEXT_STREAM_DECODER_HPP

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// What comes out is well-formed UTF-8 after every call. Up to 3 bytes are held back until their code point
/// is complete; bytes that can never become one are written as U+FFFD, one for each maximal subpart, as
/// WHATWG's decoders do. The chunks joined are the same wherever the bytes were cut.
class stream_decoder {
 public:
  /// Appends what is certain. After an error (out_of_memory) nothing has happened.
  [[nodiscard]] result<void> push(std::string_view bytes, text& out) noexcept;
  /// The end: bytes still held back become one U+FFFD. The decoder is then as new.
  [[nodiscard]] result<void> finish(text& out) noexcept;
  /// Forgets what is held back.
  void reset() noexcept { held_size_ = 0; }
  [[nodiscard]] std::size_t held() const noexcept { return held_size_; }

 private:
  [[nodiscard]] bool append(std::string_view bytes, text& out) noexcept;

  char held_[4] = {};
  std::uint8_t held_size_ = 0;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_STREAM_DECODER_HPP
