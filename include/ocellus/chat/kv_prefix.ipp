// kv_prefix: what its handles share.
#ifndef OCELLUS_CHAT_KV_PREFIX_IPP
#define OCELLUS_CHAT_KV_PREFIX_IPP

#include "ocellus/chat/kv_prefix.hpp"
#include "ocellus/model/model.hpp"
#include "ocellus/model/phi.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

struct kv_prefix_state {
  kv_prefix_state(const model& m, const kernels& k, const host& hooks) noexcept
      : source(m), table(&k), ctx(hooks) {}
  kv_prefix_state(kv_prefix_state&&) = delete;
  ~kv_prefix_state() { table->release(ctx, memory); }

  model source;
  const kernels* table;
  context ctx;
  buffer memory;
  kv_cache cache;
  std::uint32_t positions = 0;
  tensor<float> logits;  // [vocabulary] behind the last position, or none
};

}  // namespace detail

std::uint64_t kv_prefix::bytes() const noexcept {
  return state_ ? state_->memory.bytes + state_->logits.span().size_bytes() : 0;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_CHAT_KV_PREFIX_IPP
