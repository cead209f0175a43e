// kv_prefix: the keys and values of the first positions of a session, computed once, for any number of sessions to begin
// with: many questions about one picture, many ways to go on from one place of a conversation.
#ifndef OCELLUS_CHAT_KV_PREFIX_HPP
#define OCELLUS_CHAT_KV_PREFIX_HPP

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {
struct kv_prefix_state;
}

/// Immutable, a counted handle that may be copied and dropped on any thread: its memory lives as long as any handle or any
/// session that began with it. Made by session::share(). Belongs to the model and the kernels of that session. With the
/// logits behind its last position, if that session had them.
class kv_prefix {
 public:
  /// Of no positions; every session can begin with it.
  kv_prefix() noexcept = default;

  [[nodiscard]] std::uint32_t length() const noexcept { return length_; }
  /// Its first positions, in the same memory; at most length() of them.
  [[nodiscard]] kv_prefix first(std::uint32_t positions) const noexcept {
    kv_prefix part = *this;
    if (positions < length_) part.length_ = positions;
    return part;
  }
  /// The memory that is kept, shorter handles to it notwithstanding.
  [[nodiscard]] std::uint64_t bytes() const noexcept;

 private:
  friend class session;
  kv_prefix(shared<detail::kv_prefix_state> state, std::uint32_t length) noexcept
      : state_(std::move(state)), length_(length) {}

  shared<detail::kv_prefix_state> state_;
  std::uint32_t length_ = 0;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_KV_PREFIX_HPP
