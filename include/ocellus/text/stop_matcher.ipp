// stop_matcher: one Knuth-Morris-Pratt automaton for each stop string.
#ifndef OCELLUS_TEXT_STOP_MATCHER_IPP
#define OCELLUS_TEXT_STOP_MATCHER_IPP

#include "ocellus/text/stop_matcher.hpp"

namespace ocellus::inline OCELLUS_ABI {

result<stop_matcher> stop_matcher::make(std::span<const std::string_view> stops,
                                        const memory_hooks& memory) noexcept {
  if (stops.size() > max_strings) {
    return error(error_code::stop_string, stops.size(), " stop strings; at most ", max_strings);
  }
  stop_matcher made;
  made.bytes_ = text(memory);
  made.fallback_ = array<std::uint16_t>(memory);
  for (const std::string_view stop : stops) {
    if (stop.empty()) return error(error_code::stop_string, "stop string ", made.count_, " is empty");
    if (stop.size() > max_bytes) {
      return error(error_code::stop_string, "stop string ", quoted{stop}, " has ", stop.size(),
                   " bytes; at most ", max_bytes);
    }
    if (!made.bytes_.append(stop)) return no_memory("stop strings");
    std::uint16_t border = 0;
    for (std::size_t i = 0; i < stop.size(); ++i) {
      const std::uint16_t* fallback = made.fallback_.data() + made.begin_[made.count_];
      if (i != 0) {
        while (border != 0 && stop[border] != stop[i]) border = fallback[border - 1u];
        if (stop[border] == stop[i]) ++border;
      }
      if (!made.fallback_.push_back(border)) return no_memory("stop strings");
    }
    ++made.count_;
    made.begin_[made.count_] = static_cast<std::uint32_t>(made.bytes_.size());
  }
  return made;
}

void stop_matcher::find_held() noexcept {
  held_ = {};
  for (std::size_t i = 0; i < count_; ++i) {
    if (matched_[i] > held_.size()) held_ = detail::slice(stop(i), 0, matched_[i]);
  }
}

result<bool> stop_matcher::push(std::string_view chunk, text& out) noexcept {
  if (stopped_) return true;
  std::uint16_t matched[max_strings];
  std::memcpy(matched, matched_, sizeof(matched));
  std::size_t read = 0, stop_size = 0;
  while (read < chunk.size() && stop_size == 0) {
    const char c = chunk[read++];
    for (std::size_t i = 0; i < count_; ++i) {
      const std::string_view wanted = stop(i);
      std::uint16_t& n = matched[i];
      while (n != 0 && wanted[n] != c) n = fallback_[begin_[i] + n - 1];
      if (wanted[n] == c) ++n;
      if (n == wanted.size() && n > stop_size) stop_size = n;
    }
  }
  std::size_t keep = stop_size;  // bytes at the end of held_ + chunk that are not released
  if (stop_size == 0) {
    for (std::size_t i = 0; i < count_; ++i) keep = matched[i] > keep ? matched[i] : keep;
  }
  // What is kept began no earlier than what was held back, which was the longest beginning of any stop
  // string.
  const std::size_t release = held_.size() + read - keep;
  const std::size_t from_held = release < held_.size() ? release : held_.size();
  const std::size_t before = out.size();
  if (!out.append(detail::slice(held_, 0, from_held)) ||
      !out.append(detail::slice(chunk, 0, release - from_held))) {
    out.truncate(before);
    return no_memory("an answer");
  }
  std::memcpy(matched_, matched, sizeof(matched));
  stopped_ = stop_size != 0;
  if (stopped_) {
    held_ = {};
  } else {
    find_held();
  }
  return stopped_;
}

result<void> stop_matcher::finish(text& out) noexcept {
  if (!out.append(held_)) return no_memory("an answer");
  reset();
  return {};
}

void stop_matcher::reset() noexcept {
  std::memset(matched_, 0, sizeof(matched_));
  stopped_ = false;
  held_ = {};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_STOP_MATCHER_IPP
