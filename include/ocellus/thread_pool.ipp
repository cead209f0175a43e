// The thread pool: a few slots that hold one parallel region each, joined by workers without a lock. The
// mutex is for going to sleep and waking up only.
#ifndef OCELLUS_THREAD_POOL_IPP
#define OCELLUS_THREAD_POOL_IPP

#include <algorithm>
#include <atomic>
#include <chrono>

#include "ocellus/memory.hpp"
#include "ocellus/thread_pool.hpp"
#include "ocellus/thread_pool_os.ipp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

/// One parallel region. `state` counts the pool's threads inside it and carries three flags; everything else
/// is written by the caller between `claimed` and `open` and read by threads that joined while it was open.
struct alignas(64) pool_region {
  static constexpr std::uint32_t claimed = 1u << 31;  ///< a caller owns the slot
  static constexpr std::uint32_t open = 1u << 30;     ///< there may be tasks left: threads may join
  static constexpr std::uint32_t waited = 1u << 29;   ///< the caller sleeps until the last thread leaves
  static constexpr std::uint32_t inside = waited - 1;

  std::atomic<std::uint32_t> state = 0;
  std::uint32_t tasks = 0;
  void (*run)(void* arg, std::uint32_t task, std::uint32_t worker) = nullptr;
  void* arg = nullptr;
  alignas(64) std::atomic<std::uint64_t> next = 0;  ///< the first task that nobody took

  void work(std::uint32_t worker) noexcept {
    for (;;) {
      const std::uint64_t task = next.fetch_add(1, std::memory_order_relaxed);
      if (task >= tasks) return;
      run(arg, static_cast<std::uint32_t>(task), worker);
    }
  }
};

struct pool_state;

struct pool_worker {
  pool_state* pool = nullptr;
  std::uint32_t index = 0;
  pool_thread thread;
};

struct pool_state {
  static constexpr int slots = 4;

  explicit pool_state(const memory_hooks& hooks) noexcept : memory(hooks), threads(hooks) {}

  memory_hooks memory;
  array<pool_worker> threads;
  std::int64_t process = pool_process();
  bool spins = true;

  pool_region regions[slots];
  alignas(64) std::atomic<std::uint64_t> epoch = 0;  ///< counts regions opened, and the end
  std::atomic<std::uint32_t> asleep = 0;
  std::atomic<bool> ending = false;
  pool_mutex mutex;
  pool_condition wake;  ///< epoch went on
  pool_condition left;  ///< a region that is waited for has no more threads inside
};

/// Loops until done() or for 100 microseconds; says whether it is done.
template <class Done>
bool pool_spin(const pool_state& pool, Done done) noexcept {
  constexpr auto longest = std::chrono::microseconds(100);
  if (done()) return true;
  if (!pool.spins) return false;
  const auto began = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pool_pause();
    }
  } while (std::chrono::steady_clock::now() - began < longest);
  return false;
}

/// Joins a region if it is still open, works until no task is left, leaves.
bool pool_help(pool_state& pool, pool_region& region, std::uint32_t worker) noexcept {
  std::uint32_t state = region.state.load(std::memory_order_relaxed);
  do {
    if ((state & pool_region::open) == 0) return false;
  } while (!region.state.compare_exchange_weak(state, state + 1, std::memory_order_acquire,
                                               std::memory_order_relaxed));
  // Nobody else need join: this thread stays until the last task is taken.
  region.work(worker);
  region.state.fetch_and(~pool_region::open, std::memory_order_relaxed);
  state = region.state.fetch_sub(1, std::memory_order_acq_rel);
  if ((state & pool_region::waited) != 0 && (state & pool_region::inside) == 1) {
    pool.mutex.lock();
    pool.left.wake_all();
    pool.mutex.unlock();
  }
  return true;
}

void pool_thread_main(void* arg) noexcept {
  const pool_worker& self = *static_cast<const pool_worker*>(arg);
  pool_state& pool = *self.pool;
  for (;;) {
    const std::uint64_t seen = pool.epoch.load(std::memory_order_seq_cst);
    if (pool.ending.load(std::memory_order_acquire)) return;
    bool helped = false;
    // Threads begin at different slots, so that concurrent callers share them.
    for (std::uint32_t i = 0; i < pool_state::slots; ++i) {
      helped |= pool_help(pool, pool.regions[(i + self.index) % pool_state::slots], self.index);
    }
    const auto moved_on = [&] { return pool.epoch.load(std::memory_order_seq_cst) != seen; };
    if (helped || pool_spin(pool, moved_on)) continue;
    pool.mutex.lock();
    pool.asleep.fetch_add(1, std::memory_order_seq_cst);
    while (!moved_on()) pool.wake.wait(pool.mutex);
    pool.asleep.fetch_sub(1, std::memory_order_relaxed);
    pool.mutex.unlock();
  }
}

/// Makes sleeping threads look at the regions again: `wanted` of them or all.
void pool_announce(pool_state& pool, std::uint32_t wanted) noexcept {
  pool.epoch.fetch_add(1, std::memory_order_seq_cst);
  // A thread that counts itself as asleep after this load sees the new epoch before it waits.
  const std::uint32_t asleep = pool.asleep.load(std::memory_order_seq_cst);
  if (asleep == 0) return;
  pool.mutex.lock();
  if (wanted < asleep) {
    for (std::uint32_t i = 0; i < wanted; ++i) pool.wake.wake_one();
  } else {
    pool.wake.wake_all();
  }
  pool.mutex.unlock();
}

void pool_parallel_for(void* context, std::uint32_t tasks, void (*run)(void*, std::uint32_t, std::uint32_t),
                       void* arg) noexcept {
  pool_state& pool = *static_cast<pool_state*>(context);
  pool_region* region = nullptr;
  if (tasks > 1 && !pool.threads.empty() && pool_process() == pool.process) {
    for (pool_region& slot : pool.regions) {
      std::uint32_t free = 0;
      if (slot.state.compare_exchange_strong(free, pool_region::claimed, std::memory_order_acquire,
                                             std::memory_order_relaxed)) {
        region = &slot;
        break;
      }
    }
  }
  if (region == nullptr) return serial_for(nullptr, tasks, run, arg);

  region->tasks = tasks;
  region->run = run;
  region->arg = arg;
  region->next.store(0, std::memory_order_relaxed);
  region->state.store(pool_region::claimed | pool_region::open, std::memory_order_release);
  pool_announce(pool, tasks - 1);
  region->work(0);

  region->state.fetch_and(~pool_region::open, std::memory_order_relaxed);
  const auto empty = [&] {
    return (region->state.load(std::memory_order_acquire) & pool_region::inside) == 0;
  };
  if (!pool_spin(pool, empty)) {
    pool.mutex.lock();
    region->state.fetch_or(pool_region::waited, std::memory_order_relaxed);
    while (!empty()) pool.left.wait(pool.mutex);
    pool.mutex.unlock();
  }
  region->state.store(0, std::memory_order_release);
}

/// Ends and joins the first `started` threads, then frees the pool. A child of fork() has none of its
/// parent's threads; the mutex may be locked and the conditions waited for, so it leaves them as they are.
void pool_destroy(pool_state* pool, std::size_t started) noexcept {
  const memory_hooks memory = pool->memory;
  if (pool_process() == pool->process) {
    pool->ending.store(true, std::memory_order_release);
    pool_announce(*pool, UINT32_MAX);
    for (std::size_t i = 0; i < started; ++i) pool->threads[i].thread.join();
    std::destroy_at(pool);
  } else {
    std::destroy_at(&pool->threads);
  }
  memory.release(memory.context, pool, sizeof(pool_state), alignof(pool_state));
}

}  // namespace detail

result<thread_pool> thread_pool::make(std::uint32_t workers, const memory_hooks& memory) noexcept {
  if (workers > max_workers) {
    return error(error_code::invalid_argument, "a thread pool of ", workers, " workers; at most ",
                 max_workers);
  }
  const std::uint32_t processors = detail::pool_processors();
  if (workers == 0) workers = (std::min)(processors, max_workers);

  void* place = memory.allocate(memory.context, sizeof(detail::pool_state), alignof(detail::pool_state));
  if (place == nullptr) return no_memory("a thread pool");
  auto* pool = ::new (place) detail::pool_state(memory);
  pool->spins = workers <= processors;
  if (!pool->threads.resize(workers - 1)) {
    detail::pool_destroy(pool, 0);
    return no_memory("a thread pool of ", workers, " workers");
  }
  for (std::uint32_t i = 0; i + 1 < workers; ++i) {
    detail::pool_worker& worker = pool->threads[i];
    worker.pool = pool;
    worker.index = i + 1;
    if (!worker.thread.start(detail::pool_thread_main, &worker)) {
      detail::pool_destroy(pool, i);
      return error(error_code::no_thread, "the system refused thread ", i + 1, " of ", workers - 1);
    }
  }
  thread_pool made;
  made.state_ = pool;
  return made;
}

thread_pool::~thread_pool() {
  if (state_ != nullptr) detail::pool_destroy(state_, state_->threads.size());
}

std::uint32_t thread_pool::workers() const noexcept {
  return state_ != nullptr ? static_cast<std::uint32_t>(state_->threads.size()) + 1 : 1;
}

task_hooks thread_pool::hooks() const noexcept {
  if (state_ == nullptr) return {};
  return {state_, detail::pool_parallel_for, workers()};
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_THREAD_POOL_IPP
