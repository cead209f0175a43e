// The thread pool: every task once, concurrent callers, tiny regions, early destruction, fork.
#include "ocellus/thread_pool.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "support/counting_memory.hpp"
#include "support/system_faults.hpp"

#if !defined(_WIN32)
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

/// Counts how often each task ran, and whether two running tasks ever had one worker.
struct tally {
  explicit tally(std::uint32_t tasks, std::uint32_t workers) : ran(tasks), busy(workers) {}
  std::vector<std::atomic<int>> ran;
  std::vector<std::atomic<int>> busy;
  std::atomic<int> clashes = 0;

  static void run(void* arg, std::uint32_t task, std::uint32_t worker) {
    auto& self = *static_cast<tally*>(arg);
    if (worker >= self.busy.size() || self.busy[worker].fetch_add(1) != 0) self.clashes.fetch_add(1);
    self.ran[task].fetch_add(1);
    if (worker < self.busy.size()) self.busy[worker].fetch_sub(1);
  }
};

/// True if each of the tasks ran once and no worker was used twice at a time.
bool each_ran_once(const ocellus::task_hooks& hooks, std::uint32_t tasks) {
  tally counts(tasks, hooks.workers);
  hooks.parallel_for(hooks.context, tasks, tally::run, &counts);
  for (auto& ran : counts.ran) {
    if (ran.load() != 1) return false;
  }
  return counts.clashes.load() == 0;
}

}  // namespace

TEST_CASE("thread_pool: every task runs once, whatever the numbers of workers and tasks") {
  for (std::uint32_t workers : {1u, 2u, 3u, 7u}) {
    auto pool = ocellus::thread_pool::make(workers);
    REQUIRE(pool);
    CHECK(pool->workers() == workers);
    CHECK(pool->hooks().workers == workers);
    for (std::uint32_t tasks : {0u, 1u, 2u, 1000u}) {
      CAPTURE(workers);
      CAPTURE(tasks);
      CHECK(each_ran_once(pool->hooks(), tasks));
    }
  }
}

TEST_CASE("thread_pool: 0 workers means one a processor, too many are refused, an empty pool works") {
  auto pool = ocellus::thread_pool::make();
  REQUIRE(pool);
  CHECK(pool->workers() >= 1);
  CHECK(each_ran_once(pool->hooks(), 100));
  auto refused = ocellus::thread_pool::make(100'000);
  REQUIRE(!refused);
  CHECK(refused.error().code() == ocellus::error_code::invalid_argument);
  const ocellus::thread_pool none;
  CHECK(none.workers() == 1);
  CHECK(each_ran_once(none.hooks(), 10));
}

TEST_CASE("thread_pool: all workers take part, each under a number of its own, awake or asleep") {
  auto pool = ocellus::thread_pool::make(3);
  REQUIRE(pool);
  const auto hooks = pool->hooks();
  for (int pause : {0, 5, 5}) {  // milliseconds; the threads fall asleep after a tenth of one
    std::this_thread::sleep_for(std::chrono::milliseconds(pause));
    struct meeting {
      std::atomic<int> arrived = 0;
      std::atomic<int> tasks_of[3] = {};
    } all;
    // Each task waits until all three run, which takes three threads at once.
    hooks.parallel_for(
        hooks.context, 3,
        [](void* arg, std::uint32_t, std::uint32_t worker) {
          auto& m = *static_cast<meeting*>(arg);
          m.arrived.fetch_add(1);
          m.tasks_of[worker].fetch_add(1);
          const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
          while (m.arrived.load() < 3 && std::chrono::steady_clock::now() < deadline)
            std::this_thread::yield();
        },
        &all);
    for (auto& tasks : all.tasks_of) CHECK(tasks.load() == 1);
  }
}

TEST_CASE("thread_pool: many callers at once, more than it has slots for") {
  auto pool = ocellus::thread_pool::make(3);
  REQUIRE(pool);
  const auto hooks = pool->hooks();
  std::atomic<int> failures = 0;
  std::vector<std::thread> callers;
  for (int c = 0; c < 6; ++c) {
    callers.emplace_back([&, c] {
      for (std::uint32_t i = 0; i < 300; ++i) {
        if (!each_ran_once(hooks, (i * 7 + static_cast<std::uint32_t>(c)) % 23)) failures.fetch_add(1);
      }
    });
  }
  for (auto& caller : callers) caller.join();
  CHECK(failures.load() == 0);
}

TEST_CASE("thread_pool: many tiny regions, with pauses in which the workers fall asleep") {
  auto pool = ocellus::thread_pool::make(2);
  REQUIRE(pool);
  const auto hooks = pool->hooks();
  std::atomic<std::uint64_t> sum = 0;
  const auto add = [](void* arg, std::uint32_t task, std::uint32_t) {
    static_cast<std::atomic<std::uint64_t>*>(arg)->fetch_add(task + 1, std::memory_order_relaxed);
  };
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 20'000; ++i) hooks.parallel_for(hooks.context, 4, add, &sum);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
  MESSAGE("a region of 4 empty tasks on 2 workers: ", took.count() / 20'000, " microseconds");
  for (int i = 0; i < 200; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    hooks.parallel_for(hooks.context, 4, add, &sum);
  }
  CHECK(sum.load() == 20'200u * 10u);
}

TEST_CASE("thread_pool: a long last task is waited for asleep") {
  auto pool = ocellus::thread_pool::make(2);
  REQUIRE(pool);
  const auto hooks = pool->hooks();
  std::atomic<int> ended = 0;
  hooks.parallel_for(
      hooks.context, 2,
      [](void* arg, std::uint32_t, std::uint32_t worker) {
        std::this_thread::sleep_for(std::chrono::milliseconds(worker == 0 ? 1 : 20));
        static_cast<std::atomic<int>*>(arg)->fetch_add(1);
      },
      &ended);
  CHECK(ended.load() == 2);
}

TEST_CASE("thread_pool: may be destroyed right after work, moved, and assigned over") {
  for (int i = 0; i < 50; ++i) {
    auto pool = ocellus::thread_pool::make(3);
    REQUIRE(pool);
    CHECK(each_ran_once(pool->hooks(), 5));
  }
  auto first = ocellus::thread_pool::make(2);
  auto second = ocellus::thread_pool::make(3);
  REQUIRE(first);
  REQUIRE(second);
  const auto hooks = first->hooks();
  ocellus::thread_pool moved = std::move(*first);
  CHECK(each_ran_once(hooks, 50));
  moved = std::move(*second);
  CHECK(moved.workers() == 3);
  CHECK(each_ran_once(moved.hooks(), 50));
}

TEST_CASE("thread_pool: no memory is an error and leaves nothing behind") {
  struct counted {
    int live = 0, left = 0;
  } counts;
  ocellus::memory_hooks memory;
  memory.context = &counts;
  memory.allocate = [](void* context, std::size_t bytes, std::size_t alignment) -> void* {
    auto& c = *static_cast<counted*>(context);
    if (c.left-- <= 0) return nullptr;
    ++c.live;
    return ocellus::detail::default_allocate(nullptr, bytes, alignment);
  };
  memory.release = [](void* context, void* block, std::size_t bytes, std::size_t alignment) {
    --static_cast<counted*>(context)->live;
    ocellus::detail::default_release(nullptr, block, bytes, alignment);
  };
  for (int allowed = 0;; ++allowed) {
    REQUIRE(allowed < 10);
    counts.left = allowed;
    auto pool = ocellus::thread_pool::make(3, memory);
    if (pool) break;
    CHECK(pool.error().code() == ocellus::error_code::out_of_memory);
    CHECK(counts.live == 0);
  }
  CHECK(counts.live == 0);
}

#if !defined(OCELLUS_TEST_SYSTEM_FAULTS)
TEST_CASE("thread_pool: threads that the system refuses are an error") { OCELLUS_SKIP_SYSTEM_FAULTS(); }
#else
TEST_CASE("thread_pool: threads that the system refuses are an error, and those before them end") {
  ocellus_tests::fail_every_system_call([] {
    ocellus_tests::counting_memory memory;
    const auto pool = ocellus::thread_pool::make(5, memory.hooks());
    if (pool) CHECK(each_ran_once(pool->hooks(), 20));
    return std::string(pool ? "ok" : name_of(pool.error().code()));
  });
}
#endif

#if !defined(_WIN32)
TEST_CASE("thread_pool: the child of fork() works alone and may destroy its copy") {
  auto pool = ocellus::thread_pool::make(3);
  REQUIRE(pool);
  CHECK(each_ran_once(pool->hooks(), 20));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // the threads sleep: their condition is in use
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(20);  // a hang ends the child
    const bool fine = each_ran_once(pool->hooks(), 20);
    { ocellus::thread_pool gone = std::move(*pool); }
    _exit(fine ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(each_ran_once(pool->hooks(), 20));
}

TEST_CASE("thread_pool: its threads block all signals") {
  auto pool = ocellus::thread_pool::make(2);
  REQUIRE(pool);
  const auto hooks = pool->hooks();
  struct seen {
    std::atomic<int> arrived = 0;
    std::atomic<int> blocked = 0;
  } both;
  hooks.parallel_for(
      hooks.context, 2,
      [](void* arg, std::uint32_t, std::uint32_t) {
        auto& s = *static_cast<seen*>(arg);
        s.arrived.fetch_add(1);
        while (s.arrived.load() < 2) std::this_thread::yield();
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        s.blocked.fetch_add(sigismember(&mask, SIGTERM) == 1 ? 1 : 0);
      },
      &both);
  CHECK(both.blocked.load() == 1);
}
#endif
