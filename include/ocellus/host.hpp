// What the program that embeds the library lends to it: memory, workers, a log, a way to stop. Plain hooks, each a
// context pointer with function pointers, each with a default; the library owns none of these things itself.
#ifndef OCELLUS_HOST_HPP
#define OCELLUS_HOST_HPP

#include <string_view>

#include "ocellus/config.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

void* default_allocate(void*, std::size_t bytes, std::size_t alignment) noexcept;
void default_release(void*, void* block, std::size_t bytes, std::size_t alignment) noexcept;
/// Does default_allocate give memory of this size that reads as 0?
[[nodiscard]] bool default_memory_is_zeroed(std::size_t bytes, std::size_t alignment) noexcept;

}  // namespace detail

/// Where all memory comes from. `allocate` returns null when there is none; alignment is a power of two of at least
/// sizeof(void*); bytes is never 0. `release` gets the same bytes and alignment again. Both may be called from any
/// thread that uses the library.
struct memory_hooks {
  void* context = nullptr;
  void* (*allocate)(void* context, std::size_t bytes, std::size_t alignment) = detail::default_allocate;
  void (*release)(void* context, void* block, std::size_t bytes,
                  std::size_t alignment) = detail::default_release;
};

/// Runs run(arg, task, worker) once for every task in [0, tasks), in any order, on any threads, and returns when all
/// are done. `worker` is below `workers` and no two running tasks share one. May run all of it on the calling thread.
/// Never called from inside a task; two sessions may be in it at once.
using parallel_for_function = void (*)(void* context, std::uint32_t tasks,
                                       void (*run)(void* arg, std::uint32_t task, std::uint32_t worker),
                                       void* arg);

namespace detail {

inline void serial_for(void*, std::uint32_t tasks, void (*run)(void*, std::uint32_t, std::uint32_t),
                       void* arg) noexcept {
  for (std::uint32_t task = 0; task < tasks; ++task) run(arg, task, 0);
}

}  // namespace detail

/// Who does the work: the calling thread alone unless the host lends workers (see thread_pool).
struct task_hooks {
  void* context = nullptr;
  parallel_for_function parallel_for = detail::serial_for;
  std::uint32_t workers = 1;

  /// Is there anybody to work? What needs workers refuses a host that has none: invalid_argument.
  [[nodiscard]] bool has_workers() const noexcept { return workers != 0 && parallel_for != nullptr; }
};

enum class log_level : std::uint8_t { info, warning };

/// Where notes go (a choice that a conversion made, a slow layout); by default nowhere.
struct log_hooks {
  void* context = nullptr;
  void (*write)(void* context, log_level level, std::string_view message) = nullptr;

  void operator()(log_level level, std::string_view message) const noexcept {
    if (write != nullptr) write(context, level, message);
  }
};

/// Asked often, from any worker, whether to give up: true ends the current call with error_code::cancelled.
struct stop_hooks {
  void* context = nullptr;
  bool (*should_stop)(void* context) = nullptr;

  [[nodiscard]] bool operator()() const noexcept { return should_stop != nullptr && should_stop(context); }
};

/// Called now and then during a long piece of work that is given them, from the calling thread.
struct progress_hooks {
  void* context = nullptr;
  void (*report)(void* context, std::uint64_t bytes_done, std::uint64_t bytes_total) = nullptr;
};

/// Everything at once. The default host allocates with the C library, works on the caller's thread, is silent and
/// never stops. Hooks are copied by value; what their contexts point to must outlive every object made with them.
struct host {
  memory_hooks memory;
  task_hooks tasks;
  log_hooks log;
  stop_hooks stop;
  /// May the library ask the system for permission to use AMX tiles? (Linux then wants alternate signal stacks, sigaltstack,
  /// of at least getauxval(AT_MINSIGSTKSZ) bytes from the whole process.)
  bool allow_amx = true;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_HOST_HPP
