// What the thread pool needs of the system: threads, a mutex, a condition, the process id, the number of
// processors.
#ifndef OCELLUS_THREAD_POOL_OS_IPP
#define OCELLUS_THREAD_POOL_OS_IPP

#include "ocellus/config.hpp"

#if defined(_WIN32)
#if !defined(WIN32_LEAN_AND_MEAN)
#define WIN32_LEAN_AND_MEAN
#endif
#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>
#endif
#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#endif

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

inline constexpr std::size_t pool_stack_bytes = std::size_t{1} << 20;

using pool_thread_function = void (*)(void* arg) noexcept;

#if defined(_WIN32)

class pool_mutex {
 public:
  pool_mutex() noexcept = default;
  pool_mutex(const pool_mutex&) = delete;
  pool_mutex& operator=(const pool_mutex&) = delete;
  void lock() noexcept { AcquireSRWLockExclusive(&lock_); }
  void unlock() noexcept { ReleaseSRWLockExclusive(&lock_); }
  [[nodiscard]] SRWLOCK* native() noexcept { return &lock_; }

 private:
  SRWLOCK lock_ = SRWLOCK_INIT;
};

class pool_condition {
 public:
  pool_condition() noexcept = default;
  pool_condition(const pool_condition&) = delete;
  pool_condition& operator=(const pool_condition&) = delete;
  void wait(pool_mutex& mutex) noexcept {
    SleepConditionVariableSRW(&condition_, mutex.native(), INFINITE, 0);
  }
  void wake_one() noexcept { WakeConditionVariable(&condition_); }
  void wake_all() noexcept { WakeAllConditionVariable(&condition_); }

 private:
  CONDITION_VARIABLE condition_ = CONDITION_VARIABLE_INIT;
};

/// A started thread; arg outlives it.
struct pool_thread {
  HANDLE handle = nullptr;
  pool_thread_function function = nullptr;
  void* arg = nullptr;

  [[nodiscard]] bool start(pool_thread_function run, void* with) noexcept {
    function = run;
    arg = with;
    handle = CreateThread(nullptr, pool_stack_bytes, entry, this, STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr);
    return handle != nullptr;
  }
  void join() noexcept {
    WaitForSingleObject(handle, INFINITE);
    CloseHandle(handle);
  }
  static DWORD WINAPI entry(void* self) {
    static_cast<pool_thread*>(self)->function(static_cast<pool_thread*>(self)->arg);
    return 0;
  }
};

inline std::int64_t pool_process() noexcept { return 0; }  // there is no fork

inline std::uint32_t pool_processors() noexcept {
  const DWORD count = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
  return count != 0 ? static_cast<std::uint32_t>(count) : 1;
}

#else

class pool_mutex {
 public:
  pool_mutex() noexcept = default;
  pool_mutex(const pool_mutex&) = delete;
  pool_mutex& operator=(const pool_mutex&) = delete;
  ~pool_mutex() { pthread_mutex_destroy(&mutex_); }
  void lock() noexcept { pthread_mutex_lock(&mutex_); }
  void unlock() noexcept { pthread_mutex_unlock(&mutex_); }
  [[nodiscard]] pthread_mutex_t* native() noexcept { return &mutex_; }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};

class pool_condition {
 public:
  pool_condition() noexcept = default;
  pool_condition(const pool_condition&) = delete;
  pool_condition& operator=(const pool_condition&) = delete;
  ~pool_condition() { pthread_cond_destroy(&condition_); }
  void wait(pool_mutex& mutex) noexcept { pthread_cond_wait(&condition_, mutex.native()); }
  void wake_one() noexcept { pthread_cond_signal(&condition_); }
  void wake_all() noexcept { pthread_cond_broadcast(&condition_); }

 private:
  pthread_cond_t condition_ = PTHREAD_COND_INITIALIZER;
};

/// A started thread; this object and arg outlive it.
struct pool_thread {
  pthread_t handle = {};
  pool_thread_function function = nullptr;
  void* arg = nullptr;

  /// The new thread inherits the mask of blocked signals: all of them, so the host's handlers run on its own
  /// threads.
  [[nodiscard]] bool start(pool_thread_function run, void* with) noexcept {
    function = run;
    arg = with;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return false;
    sigset_t all, before;
    sigfillset(&all);
    bool started = pthread_attr_setstacksize(&attributes, pool_stack_bytes) == 0 &&
                   pthread_sigmask(SIG_SETMASK, &all, &before) == 0;
    if (started) {
      started = pthread_create(&handle, &attributes, entry, this) == 0;
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    pthread_attr_destroy(&attributes);
    return started;
  }
  void join() noexcept { pthread_join(handle, nullptr); }
  static void* entry(void* self) {
    static_cast<pool_thread*>(self)->function(static_cast<pool_thread*>(self)->arg);
    return nullptr;
  }
};

inline std::int64_t pool_process() noexcept { return getpid(); }

/// Those that this process may run on, where the system tells.
inline std::uint32_t pool_processors() noexcept {
#if defined(__linux__)
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    const int count = CPU_COUNT(&allowed);
    if (count > 0) return static_cast<std::uint32_t>(count);
  }
#endif
  const long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? static_cast<std::uint32_t>(count) : 1;
}

#endif

/// Tells the processor that this thread is waiting in a loop.
inline void pool_pause() noexcept {
#if defined(__SSE2__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  __asm__ volatile("yield");
#endif
}

}  // namespace detail

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_THREAD_POOL_OS_IPP
