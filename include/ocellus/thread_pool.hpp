// thread_pool: workers for programs that have no scheduler of their own. An object that the user makes and
// passes on as host.tasks; the library itself starts no thread.
#ifndef OCELLUS_THREAD_POOL_HPP
#define OCELLUS_THREAD_POOL_HPP

#include <utility>

#include "ocellus/error.hpp"
#include "ocellus/host.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {
struct pool_state;
}

/// A fixed set of sleeping threads. Idle workers wait for the next region without sleeping for 100
/// microseconds at most (not at all when there are more workers than processors). Several threads may be in
/// parallel_for at once: the pool's threads spread over up to four such calls, further ones run on their
/// caller alone. After fork() the child's copy works on the calling thread alone, and may be destroyed.
/// Move-only; the hooks stay valid when it is moved.
class thread_pool {
 public:
  static constexpr std::uint32_t max_workers = 1024;

  /// An empty pool: its hooks work on the calling thread.
  thread_pool() noexcept = default;
  /// workers counts the calling thread, so workers - 1 threads are started; 0 means one worker for each
  /// processor that this process may use. Threads have 1 MiB of stack and receive no signals. Errors:
  /// invalid_argument, out_of_memory, no_thread.
  [[nodiscard]] static result<thread_pool> make(std::uint32_t workers = 0,
                                                const memory_hooks& memory = {}) noexcept;

  thread_pool(thread_pool&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  thread_pool& operator=(thread_pool&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  /// Ends and joins the threads. No parallel_for may be running.
  ~thread_pool();

  /// The workers, the calling thread among them.
  [[nodiscard]] std::uint32_t workers() const noexcept;
  /// What to put into host.tasks. The pool must outlive its use.
  [[nodiscard]] task_hooks hooks() const noexcept;

 private:
  detail::pool_state* state_ = nullptr;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_THREAD_POOL_HPP
