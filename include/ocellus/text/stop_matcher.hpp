// stop_matcher: ends an answer at a stop string, however the string is cut into chunks of text.
#ifndef OCELLUS_TEXT_STOP_MATCHER_HPP
#define OCELLUS_TEXT_STOP_MATCHER_HPP

#include "ocellus/memory.hpp"
#include "ocellus/slice.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Passes text through, holding back what may still turn out to be the beginning of a stop string. The stop
/// string that is complete first ends the text (of several complete at once, the longest): what stands before
/// it is released, it and all that follows is not. The outcome does not depend on how the text is cut.
/// Allocates in make() only, except for the growth of the caller's text.
class stop_matcher {
 public:
  static constexpr std::size_t max_strings = 16;
  static constexpr std::size_t max_bytes = 256;  ///< of one stop string

  /// Without stop strings everything passes.
  stop_matcher() noexcept = default;
  /// Copies the stop strings. Errors: stop_string (an empty one, which would stop at once, a long one, too
  /// many), out_of_memory.
  [[nodiscard]] static result<stop_matcher> make(std::span<const std::string_view> stops,
                                                 const memory_hooks& memory = {}) noexcept;

  /// Appends what is certain to belong to the answer. True: a stop string is complete, or was before; nothing
  /// more comes. After an error (out_of_memory) nothing has happened.
  [[nodiscard]] result<bool> push(std::string_view chunk, text& out) noexcept;
  /// The end of the text: releases what is held back, unless a stop string was found. The matcher is then as
  /// new.
  [[nodiscard]] result<void> finish(text& out) noexcept;
  /// Ready for another text.
  void reset() noexcept;
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }
  /// Bytes held back.
  [[nodiscard]] std::size_t held() const noexcept { return held_.size(); }

 private:
  [[nodiscard]] std::string_view stop(std::size_t i) const noexcept {
    return detail::slice(bytes_.view(), begin_[i], begin_[i + 1] - begin_[i]);
  }
  void find_held() noexcept;

  text bytes_;                     // of all stop strings, joined
  array<std::uint16_t> fallback_;  // for each byte: the longest proper border of the string up to it
  std::uint32_t begin_[max_strings + 1] = {};
  std::uint16_t matched_[max_strings] = {};  // how many bytes of each stop string the text ends with
  std::uint8_t count_ = 0;
  bool stopped_ = false;
  std::string_view held_;  // the end of the text so far that begins a stop string: part of bytes_
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_STOP_MATCHER_HPP
