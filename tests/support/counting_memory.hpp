// A host allocator for tests: counts bytes and live blocks, checks that every block comes back as it was
// asked for, and can fail the n-th request, once or from then on.
#ifndef OCELLUS_TESTS_SUPPORT_COUNTING_MEMORY_HPP
#define OCELLUS_TESTS_SUPPORT_COUNTING_MEMORY_HPP

#include <doctest/doctest.h>

#include <cstddef>
#include <functional>
#include <map>
#include <mutex>

#include "ocellus/error_code.hpp"
#include "ocellus/host.hpp"

namespace ocellus_tests {

class counting_memory {
 public:
  enum class failing { never, once, for_ever };

  counting_memory() = default;
  counting_memory(const counting_memory&) = delete;
  counting_memory& operator=(const counting_memory&) = delete;
  ~counting_memory() { CHECK(blocks_.empty()); }

  /// The hooks point to this object, which must outlive what is made with them.
  ocellus::memory_hooks hooks() { return {this, allocate, release}; }

  /// Fails the n-th request from now on (1 is the next), and with for_ever all after it.
  void fail(std::size_t n, failing how) {
    fail_at_ = n == 0 ? 0 : requests_ + n;
    how_ = how;
  }
  /// Called before every request is served; for tests that change the world at that moment.
  std::function<void()> before_allocate;

  std::size_t current() const { return current_; }    ///< bytes out now
  std::size_t peak() const { return peak_; }          ///< most bytes out at once
  std::size_t requests() const { return requests_; }  ///< so far
  std::size_t live() const { return blocks_.size(); }
  bool failed() const { return failed_; }  ///< was a request refused since the last reset?
  void reset_peak() {
    peak_ = current_;
    failed_ = false;
  }

 private:
  struct block {
    std::size_t bytes;
    std::size_t alignment;
  };

  static void* allocate(void* context, std::size_t bytes, std::size_t alignment) {
    auto& self = *static_cast<counting_memory*>(context);
    const std::lock_guard<std::mutex> lock(self.mutex_);
    if (self.before_allocate) self.before_allocate();
    // (CHECK is slow, and this is called millions of times.)
    const bool sound = bytes != 0 && alignment >= sizeof(void*) && (alignment & (alignment - 1)) == 0;
    if (!sound) CHECK_MESSAGE(sound, bytes, " bytes aligned to ", alignment);
    ++self.requests_;
    const bool refuse =
        (self.how_ == failing::once && self.requests_ == self.fail_at_) ||
        (self.how_ == failing::for_ever && self.fail_at_ != 0 && self.requests_ >= self.fail_at_);
    if (refuse) {
      self.failed_ = true;
      return nullptr;
    }
    void* made = ocellus::detail::default_allocate(nullptr, bytes, alignment);
    if (made == nullptr) return nullptr;
    self.blocks_[made] = {bytes, alignment};
    self.current_ += bytes;
    if (self.current_ > self.peak_) self.peak_ = self.current_;
    return made;
  }

  static void release(void* context, void* place, std::size_t bytes, std::size_t alignment) {
    auto& self = *static_cast<counting_memory*>(context);
    const std::lock_guard<std::mutex> lock(self.mutex_);
    const auto found = self.blocks_.find(place);
    const bool known = found != self.blocks_.end();
    if (!known) REQUIRE_MESSAGE(known, "a block that is not out comes back");
    const bool same = found->second.bytes == bytes && found->second.alignment == alignment;
    if (!same) CHECK_MESSAGE(same, "a block of ", found->second.bytes, " bytes comes back as ", bytes);
    self.current_ -= found->second.bytes;
    self.blocks_.erase(found);
    ocellus::detail::default_release(nullptr, place, bytes, alignment);
  }

  std::mutex mutex_;
  std::map<void*, block> blocks_;
  std::size_t current_ = 0, peak_ = 0, requests_ = 0, fail_at_ = 0;
  failing how_ = failing::never;
  bool failed_ = false;
};

/// Runs attempt(memory hooks) with the 1st, 2nd, ... request refused, once and for ever, until none is. Every
/// refused run must end in out_of_memory and leave nothing allocated. attempt returns a result<...>.
template <class Attempt>
void fail_every_allocation(Attempt&& attempt) {
  for (const auto how : {counting_memory::failing::once, counting_memory::failing::for_ever}) {
    for (std::size_t n = 1;; ++n) {
      REQUIRE(n < 100'000);
      counting_memory memory;
      memory.fail(n, how);
      bool good = false;
      {
        const auto made = attempt(memory.hooks());
        good = bool(made);
        // A request that was refused may have been made good by a smaller one (growth is tried twice).
        if (!good) {
          CHECK(memory.failed());
          CHECK(ocellus::name_of(made.error().code()) == "out_of_memory");
        }
      }
      CHECK(memory.live() == 0);
      if (good && !memory.failed()) break;
    }
  }
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_COUNTING_MEMORY_HPP
