// The system calls that the library makes, failing on demand. On Linux the linker puts the functions of system_faults.cpp
// between this program's own files and libc (--wrap, wrapped_calls.txt); libc and libstdc++ keep theirs. Elsewhere
// OCELLUS_TEST_SYSTEM_FAULTS is not defined, nothing stands here, and tests that need it leave themselves out.
#ifndef OCELLUS_TESTS_SUPPORT_SYSTEM_FAULTS_HPP
#define OCELLUS_TESTS_SUPPORT_SYSTEM_FAULTS_HPP

#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "support/skip.hpp"

/// Instead of the body of a test case.
#define OCELLUS_SKIP_SYSTEM_FAULTS() OCELLUS_SKIP("system calls cannot be made to fail on this platform")

#if defined(OCELLUS_TEST_SYSTEM_FAULTS)

namespace ocellus_tests {

enum class system_call : std::uint8_t {
  open,
  close,
  stat,
  fstat,
  fstatfs,
  mmap,
  munmap,
  read,
  write,
  fsync,
  rename,
  unlink,
  pthread_attr_init,
  pthread_attr_setstacksize,
  pthread_create,
  sched_getaffinity,
  arch_prctl,
  count
};
inline constexpr auto system_calls = static_cast<std::size_t>(system_call::count);

/// What is to happen to calls first, first + 1, ... (1 is the next) of one kind.
struct system_fault {
  static constexpr std::size_t for_ever = SIZE_MAX;

  system_call call = system_call::count;
  std::size_t first = 1;
  std::size_t times = 1;
  int error = 0;  ///< the call fails with this errno (close, munmap and unlink do their work all the same)
  /// Without an error the call succeeds, and: read and write do half of it; fstat adds this to the size; fstatfs tells of
  /// a file system of this type; arch_prctl grants what was asked for (1) or asks the system (0).
  std::int64_t change = 0;
};

/// While it lives, calls are counted and the fault happens; fsync does not wait for the disk. One at a time.
class system_faults {
 public:
  explicit system_faults(const system_fault& fault = {});
  system_faults(const system_faults&) = delete;
  system_faults& operator=(const system_faults&) = delete;
  ~system_faults();

  /// Calls so far.
  [[nodiscard]] std::size_t calls(system_call which) const;
  /// Those among them that the fault happened to.
  [[nodiscard]] std::size_t hits() const;
};

/// Descriptors that this process has open.
inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd"), end;
  return static_cast<std::size_t>(std::distance(all, end));
}

/// Threads that this process has. The system counts one that was joined for a moment longer.
inline std::size_t running_threads() {
  const std::filesystem::directory_iterator all("/proc/self/task"), end;
  return static_cast<std::size_t>(std::distance(all, end));
}
inline bool threads_have_ended(std::size_t but_for) {
  for (int milliseconds = 0; running_threads() > but_for; ++milliseconds) {
    if (milliseconds == 5000) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

struct call_name {
  system_call call;
  const char* name;
  std::vector<int> errors;     ///< what it may fail with
  bool interruptible = false;  ///< may it end in EINTR, to be made again?
  bool divisible = false;      ///< may it do a part of its work?
};

/// The errors of each call that are told apart, or that are usual; EINTR apart.
inline const std::vector<call_name>& failing_calls() {
  static const std::vector<call_name> all = {
      {system_call::open, "open", {EIO, EACCES, EMFILE, ENFILE, ESTALE, ENOMEM}, true},
      {system_call::close, "close", {EIO, ENOSPC}, true},
      {system_call::stat, "stat", {EIO, EACCES, ESTALE, ENOMEM}},
      {system_call::fstat, "fstat", {EIO, ESTALE, ENOMEM}},
      {system_call::fstatfs, "fstatfs", {EIO, ENOSYS, EINTR}},
      {system_call::mmap, "mmap", {ENOMEM, ENODEV, EACCES, EAGAIN}},
      {system_call::munmap, "munmap", {EINVAL}},
      {system_call::read, "read", {EIO, ESTALE, EAGAIN}, true, true},
      {system_call::write, "write", {EIO, ENOSPC, EDQUOT, EFBIG, EAGAIN}, true, true},
      {system_call::fsync, "fsync", {EIO, ENOSPC, EDQUOT}, true},
      {system_call::rename, "rename", {EIO, ENOSPC, EACCES, EXDEV}},
      {system_call::unlink, "unlink", {EIO, EACCES}},
      {system_call::pthread_attr_init, "pthread_attr_init", {ENOMEM}},
      {system_call::pthread_attr_setstacksize, "pthread_attr_setstacksize", {EINVAL}},
      {system_call::pthread_create, "pthread_create", {EAGAIN, EPERM}},
      {system_call::sched_getaffinity, "sched_getaffinity", {EINVAL}},
      {system_call::arch_prctl, "arch_prctl", {EINVAL, EOPNOTSUPP, ENOSPC, EPERM, ENOSYS}},
  };
  return all;
}

/// The code that a failing call ends in: "ok" where the library can do without it.
inline std::string code_of(const system_fault& fault) {
  if (fault.error == 0 || fault.error == EINTR) return "ok";
  switch (fault.call) {
    case system_call::open:
    case system_call::stat:
    case system_call::fstat:
      return fault.error == ENOMEM ? "out_of_memory" : "open_failed";
    case system_call::read:
      return "read_failed";
    case system_call::write:
    case system_call::fsync:
    case system_call::rename:
      return "write_failed";
    case system_call::pthread_attr_init:
    case system_call::pthread_attr_setstacksize:
    case system_call::pthread_create:
      return "no_thread";
    default:
      return "ok";
  }
}

enum class fault_variety : std::uint8_t {
  every_error,  ///< every call with every errno
  in_turn       ///< every call with one errno, the next call with the next one: for attempts of many calls
};

/// Runs attempt() with every call that it makes failing, once and from then on, and interrupted or cut short.
/// It returns "ok" or the name of an error's code; that it did its work, or left none of it behind, is its own check. Here
/// it is checked that the code is expected(fault), that no descriptor and no thread is left, and that the same attempt
/// made again without a fault is "ok".
template <class Attempt, class Expected>
void fail_every_system_call(Attempt&& attempt, Expected&& expected,
                            fault_variety variety = fault_variety::every_error) {
  /// False when the attempt does not make that many calls.
  const auto run = [&](const call_name& kind, const system_fault& fault) {
    CAPTURE(std::string(kind.name));
    CAPTURE(fault.first);
    CAPTURE(fault.times);
    CAPTURE(fault.error);
    const std::size_t descriptors = open_descriptors(), threads = running_threads();
    std::size_t hits = 0;
    std::string code;
    {
      const system_faults faults(fault);
      code = attempt();
      hits = faults.hits();
    }
    CHECK(code == (hits == 0 ? "ok" : expected(fault)));
    CHECK(open_descriptors() == descriptors);
    CHECK(threads_have_ended(threads));
    if (code != "ok") {
      const system_faults none;
      CHECK(attempt() == "ok");
    }
    return hits != 0;
  };
  REQUIRE(attempt() == "ok");
  for (const call_name& kind : failing_calls()) {
    for (std::size_t n = 1; run(kind, {kind.call, n, 1, kind.errors[n % kind.errors.size()]}); ++n) {
      REQUIRE(n < 10'000);
      run(kind, {kind.call, n, system_fault::for_ever, kind.errors[n % kind.errors.size()]});
      if (kind.interruptible) run(kind, {kind.call, n, 3, EINTR});
      if (kind.divisible) run(kind, {kind.call, n, 1});
      if (variety == fault_variety::in_turn) continue;
      for (const int error : kind.errors) {
        run(kind, {kind.call, n, 1, error});
        run(kind, {kind.call, n, system_fault::for_ever, error});
      }
    }
    if (kind.divisible) run(kind, {kind.call, 1, system_fault::for_ever});
  }
}
template <class Attempt>
void fail_every_system_call(Attempt&& attempt) {
  fail_every_system_call(attempt, code_of);
}

}  // namespace ocellus_tests

#endif  // OCELLUS_TEST_SYSTEM_FAULTS

#endif  // OCELLUS_TESTS_SUPPORT_SYSTEM_FAULTS_HPP
