// What stb_image allocates from while it decodes one picture: the host's memory, within a budget, all of it
// given back at the end whatever happened. stb knows no context, so the picture at hand is a thread-local
// pointer.
#ifndef OCELLUS_IMAGE_DECODER_MEMORY_IPP
#define OCELLUS_IMAGE_DECODER_MEMORY_IPP

#if !defined(OCELLUS_NO_IMAGE_FILES)

#include <algorithm>

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

class decoder_memory {
 public:
  enum class reason : std::uint8_t { none, host, budget, block };

  decoder_memory(const memory_hooks& memory, std::uint64_t budget, std::size_t largest_block) noexcept
      : memory_(memory), budget_(budget), largest_block_(largest_block) {}
  decoder_memory(const decoder_memory&) = delete;
  decoder_memory& operator=(const decoder_memory&) = delete;
  ~decoder_memory() {
    while (blocks_ != nullptr) release(blocks_ + 1);
  }

  /// Zeroed: stb reads some of its tables without having filled them when a file does not define them.
  [[nodiscard]] void* allocate(std::size_t bytes) noexcept {
    if (bytes > largest_block_) return refuse(reason::block);
    const std::uint64_t total = std::uint64_t{bytes} + sizeof(block);
    if (total > SIZE_MAX || total > budget_ - (std::min)(budget_, used_)) return refuse(reason::budget);
    void* place = memory_.allocate(memory_.context, static_cast<std::size_t>(total), alignof(block));
    if (place == nullptr) return refuse(reason::host);
    auto* made = ::new (place) block{nullptr, blocks_, bytes};
    if (blocks_ != nullptr) blocks_->newer = made;
    blocks_ = made;
    used_ += total;
    std::memset(static_cast<void*>(made + 1), 0, bytes);
    return made + 1;
  }
  [[nodiscard]] void* reallocate(void* old, std::size_t bytes) noexcept {
    void* fresh = allocate(bytes);
    if (fresh == nullptr || old == nullptr) return fresh;
    std::memcpy(fresh, old, (std::min)(bytes, (static_cast<block*>(old) - 1)->bytes));
    release(old);
    return fresh;
  }
  void release(void* old) noexcept {
    if (old == nullptr) return;
    block* gone = static_cast<block*>(old) - 1;
    (gone->newer != nullptr ? gone->newer->older : blocks_) = gone->older;
    if (gone->older != nullptr) gone->older->newer = gone->newer;
    const std::size_t total = gone->bytes + sizeof(block);
    used_ -= total;
    memory_.release(memory_.context, gone, total, alignof(block));
  }

  /// Why the last refused block was refused.
  [[nodiscard]] reason refusal() const noexcept { return refusal_; }
  [[nodiscard]] std::uint64_t budget() const noexcept { return budget_; }

  /// Makes it the one that stb uses on this thread.
  class scope;

 private:
  struct alignas(16) block {
    block* newer;
    block* older;
    std::size_t bytes;
  };

  void* refuse(reason why) noexcept {
    refusal_ = why;
    return nullptr;
  }

  memory_hooks memory_;
  std::uint64_t budget_;
  std::size_t largest_block_;
  std::uint64_t used_ = 0;
  block* blocks_ = nullptr;
  reason refusal_ = reason::none;
};

constinit thread_local decoder_memory* current_decoder_memory = nullptr;

class decoder_memory::scope {
 public:
  explicit scope(decoder_memory& memory) noexcept : outer_(current_decoder_memory) {
    current_decoder_memory = &memory;
  }
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;
  ~scope() { current_decoder_memory = outer_; }

 private:
  decoder_memory* outer_;
};

}  // namespace detail

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_NO_IMAGE_FILES

#endif  // OCELLUS_IMAGE_DECODER_MEMORY_IPP
