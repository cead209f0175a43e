// What stands between the library and libc: see system_faults.hpp.
#include "support/system_faults.hpp"

#if defined(OCELLUS_TEST_SYSTEM_FAULTS)

#include <atomic>
#include <cstdarg>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace ocellus_tests {
namespace {

struct {
  std::atomic<bool> armed = false;
  system_fault fault;  // written while it is not armed
  std::atomic<std::size_t> calls[system_calls] = {};
  std::atomic<std::size_t> hits = 0;
} watch;

/// Counts a call; the fault if it is to happen to this one, else null.
const system_fault* fault_of(system_call which) {
  if (!watch.armed.load(std::memory_order_acquire)) return nullptr;
  const std::size_t n = ++watch.calls[static_cast<std::size_t>(which)];
  const system_fault& fault = watch.fault;
  if (which != fault.call || n < fault.first || n - fault.first >= fault.times) return nullptr;
  ++watch.hits;
  return &fault;
}

/// The errno that a call is to fail with, or 0.
int error_of(system_call which) {
  const system_fault* fault = fault_of(which);
  return fault != nullptr ? fault->error : 0;
}

/// -1 with errno set, as system calls fail.
int failed(int error) {
  errno = error;
  return -1;
}

}  // namespace

system_faults::system_faults(const system_fault& fault) {
  watch.fault = fault;
  for (auto& n : watch.calls) n = 0;
  watch.hits = 0;
  watch.armed.store(true, std::memory_order_release);
}
system_faults::~system_faults() { watch.armed.store(false, std::memory_order_release); }
std::size_t system_faults::calls(system_call which) const {
  return watch.calls[static_cast<std::size_t>(which)];
}
std::size_t system_faults::hits() const { return watch.hits; }

extern "C" {

int __real_open(const char* path, int flags, ...);
int __wrap_open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  const int error = error_of(system_call::open);
  return error != 0 ? failed(error) : __real_open(path, flags, mode);
}

int __real_close(int file);
int __wrap_close(int file) {
  const int error = error_of(system_call::close);
  const int done = __real_close(file);  // on Linux the descriptor is gone, whatever close() says
  return error != 0 ? failed(error) : done;
}

int __real_stat(const char* path, struct stat* to);
int __wrap_stat(const char* path, struct stat* to) {
  const int error = error_of(system_call::stat);
  return error != 0 ? failed(error) : __real_stat(path, to);
}

int __real_fstat(int file, struct stat* to);
int __wrap_fstat(int file, struct stat* to) {
  const system_fault* fault = fault_of(system_call::fstat);
  if (fault != nullptr && fault->error != 0) return failed(fault->error);
  const int done = __real_fstat(file, to);
  if (fault != nullptr && done == 0) to->st_size += fault->change;
  return done;
}

int __real_fstatfs(int file, struct statfs* to);
int __wrap_fstatfs(int file, struct statfs* to) {
  const system_fault* fault = fault_of(system_call::fstatfs);
  if (fault != nullptr && fault->error != 0) return failed(fault->error);
  const int done = __real_fstatfs(file, to);
  if (fault != nullptr && done == 0) to->f_type = static_cast<decltype(to->f_type)>(fault->change);
  return done;
}

void* __real_mmap(void* place, std::size_t bytes, int protection, int flags, int file, off_t offset);
void* __wrap_mmap(void* place, std::size_t bytes, int protection, int flags, int file, off_t offset) {
  const int error = error_of(system_call::mmap);
  if (error == 0) return __real_mmap(place, bytes, protection, flags, file, offset);
  errno = error;
  return MAP_FAILED;
}

int __real_munmap(void* place, std::size_t bytes);
int __wrap_munmap(void* place, std::size_t bytes) {
  const int error = error_of(system_call::munmap);
  const int done = __real_munmap(place, bytes);
  return error != 0 ? failed(error) : done;
}

ssize_t __real_read(int file, void* to, std::size_t bytes);
ssize_t __wrap_read(int file, void* to, std::size_t bytes) {
  const system_fault* fault = fault_of(system_call::read);
  if (fault == nullptr) return __real_read(file, to, bytes);
  return fault->error != 0 ? failed(fault->error) : __real_read(file, to, (bytes + 1) / 2);
}

ssize_t __real_write(int file, const void* from, std::size_t bytes);
ssize_t __wrap_write(int file, const void* from, std::size_t bytes) {
  const system_fault* fault = fault_of(system_call::write);
  if (fault == nullptr) return __real_write(file, from, bytes);
  return fault->error != 0 ? failed(fault->error) : __real_write(file, from, (bytes + 1) / 2);
}

int __real_fsync(int file);
int __wrap_fsync(int file) {
  const int error = error_of(system_call::fsync);
  if (error != 0) return failed(error);
  return watch.armed ? 0 : __real_fsync(file);
}

int __real_rename(const char* from, const char* to);
int __wrap_rename(const char* from, const char* to) {
  const int error = error_of(system_call::rename);
  return error != 0 ? failed(error) : __real_rename(from, to);
}

int __real_unlink(const char* path);
int __wrap_unlink(const char* path) {
  const int error = error_of(system_call::unlink);
  const int done = __real_unlink(path);
  return error != 0 ? failed(error) : done;
}

int __real_pthread_attr_init(pthread_attr_t* attributes);
int __wrap_pthread_attr_init(pthread_attr_t* attributes) {
  const int error = error_of(system_call::pthread_attr_init);
  return error != 0 ? error : __real_pthread_attr_init(attributes);
}

int __real_pthread_attr_setstacksize(pthread_attr_t* attributes, std::size_t bytes);
int __wrap_pthread_attr_setstacksize(pthread_attr_t* attributes, std::size_t bytes) {
  const int error = error_of(system_call::pthread_attr_setstacksize);
  return error != 0 ? error : __real_pthread_attr_setstacksize(attributes, bytes);
}

int __real_pthread_create(pthread_t* made, const pthread_attr_t* attributes, void* (*run)(void*), void* arg);
int __wrap_pthread_create(pthread_t* made, const pthread_attr_t* attributes, void* (*run)(void*), void* arg) {
  const int error = error_of(system_call::pthread_create);
  return error != 0 ? error : __real_pthread_create(made, attributes, run, arg);
}

int __real_sched_getaffinity(pid_t process, std::size_t bytes, cpu_set_t* to);
int __wrap_sched_getaffinity(pid_t process, std::size_t bytes, cpu_set_t* to) {
  const int error = error_of(system_call::sched_getaffinity);
  return error != 0 ? failed(error) : __real_sched_getaffinity(process, bytes, to);
}

// syscall() is how the library reaches arch_prctl, and nothing else.
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  const long first = va_arg(rest, long), second = va_arg(rest, long);
  va_end(rest);
  const system_fault* fault = fault_of(system_call::arch_prctl);
  if (fault != nullptr && fault->error != 0) return failed(fault->error);
  return fault != nullptr && fault->change != 0 ? 0 : __real_syscall(number, first, second);
}

// What the calls are called where files are asked to be large (_FILE_OFFSET_BITS=64, as Meson does). They are the same
// where addresses have 64 bits.
static_assert(sizeof(off_t) == 8);
int __wrap_open64(const char* path, int flags, ...) __attribute__((alias("__wrap_open")));
int __wrap_stat64(const char* path, struct stat* to) __attribute__((alias("__wrap_stat")));
int __wrap_fstat64(int file, struct stat* to) __attribute__((alias("__wrap_fstat")));
int __wrap_fstatfs64(int file, struct statfs* to) __attribute__((alias("__wrap_fstatfs")));
void* __wrap_mmap64(void* place, std::size_t bytes, int protection, int flags, int file, off_t offset)
    __attribute__((alias("__wrap_mmap")));

}  // extern "C"

}  // namespace ocellus_tests

#endif  // OCELLUS_TEST_SYSTEM_FAULTS
