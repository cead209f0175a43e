// What a kernel may use while it runs: workers, scratch, and the one place where failure and cancellation are noted.
#ifndef OCELLUS_KERNELS_CONTEXT_HPP
#define OCELLUS_KERNELS_CONTEXT_HPP

#include <atomic>

#include "ocellus/error_code.hpp"
#include "ocellus/host.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// One a session: kernels of one session never run at the same time as each other.
class context {
 public:
  context() noexcept = default;
  explicit context(const host& hooks) noexcept : host_(hooks) {}
  context(context&& other) noexcept
      : host_(other.host_),
        scratch_(other.scratch_),
        scratch_stride_(other.scratch_stride_),
        shared_scratch_(other.shared_scratch_),
        failure_(other.failure_.load(std::memory_order_relaxed)) {}
  context& operator=(context&& other) noexcept {
    host_ = other.host_;
    scratch_ = other.scratch_;
    scratch_stride_ = other.scratch_stride_;
    shared_scratch_ = other.shared_scratch_;
    failure_.store(other.failure_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    return *this;
  }

  [[nodiscard]] const host& hooks() const noexcept { return host_; }
  [[nodiscard]] std::uint32_t workers() const noexcept { return host_.tasks.workers; }

  /// Lends `bytes_per_worker` for each worker; 64-byte aligned, as is the number of bytes.
  void set_scratch(void* memory, std::uint64_t bytes_per_worker) noexcept {
    scratch_ = static_cast<std::byte*>(memory);
    scratch_stride_ = bytes_per_worker;
  }
  [[nodiscard]] void* scratch(std::uint32_t worker) const noexcept {
    return scratch_ + worker * scratch_stride_;
  }
  /// Lends memory that all workers of a call share, 64-byte aligned.
  void set_shared_scratch(void* memory) noexcept { shared_scratch_ = static_cast<std::byte*>(memory); }
  [[nodiscard]] std::byte* shared_scratch() const noexcept { return shared_scratch_; }

  /// Notes the first failure; later ones are dropped.
  void fail(error_code code) noexcept {
    std::uint16_t none = 0;
    failure_.compare_exchange_strong(none, static_cast<std::uint16_t>(code), std::memory_order_relaxed);
  }
  [[nodiscard]] bool failed() const noexcept { return failure_.load(std::memory_order_relaxed) != 0; }
  [[nodiscard]] error_code failure() const noexcept {
    return static_cast<error_code>(failure_.load(std::memory_order_relaxed));
  }
  void clear_failure() noexcept { failure_.store(0, std::memory_order_relaxed); }

  /// Asks the host whether to stop. True once anything failed; kernels then return as soon as they can.
  [[nodiscard]] bool stopped() noexcept {
    if (failed()) return true;
    if (!host_.stop()) return false;
    fail(error_code::cancelled);
    return true;
  }

  /// Runs body(task, worker) for tasks [0, tasks) on the host's workers, asking before each whether to stop.
  template <class Body>
  void parallel(std::uint32_t tasks, const Body& body) noexcept {
    struct call {
      context* self;
      const Body* body;
    } arg{this, &body};
    const auto run = [](void* p, std::uint32_t task, std::uint32_t worker) {
      const call& c = *static_cast<const call*>(p);
      if (!c.self->stopped()) (*c.body)(task, worker);
    };
    if (tasks == 1) {
      run(&arg, 0, 0);
    } else if (tasks != 0) {
      host_.tasks.parallel_for(host_.tasks.context, tasks, run, &arg);
    }
  }

 private:
  host host_;
  std::byte* scratch_ = nullptr;
  std::uint64_t scratch_stride_ = 0;
  std::byte* shared_scratch_ = nullptr;
  std::atomic<std::uint16_t> failure_{0};
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_CONTEXT_HPP
