// What all fuzz targets share: how they say that something is wrong, an allocator with limits, and bytes taken apart.
#ifndef OCELLUS_TESTS_FUZZ_FUZZ_HPP
#define OCELLUS_TESTS_FUZZ_FUZZ_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ocellus/host.hpp"

namespace ocellus_fuzz {

[[noreturn]] inline void fail(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, what);
  std::abort();
}

// OCELLUS_HOLDS(condition): a finding if it is false.
#define OCELLUS_HOLDS(...) \
  ((__VA_ARGS__) ? static_cast<void>(0) : ::ocellus_fuzz::fail(__FILE__, __LINE__, #__VA_ARGS__))

/// Defined by each target: hands the bytes to the library and uses everything that it accepts of them. Returns whether
/// it accepted anything; main.cpp counts. `bytes` fill a heap block of exactly their size, so that a read beyond them is
/// seen, and whatever is cut out of them must be copied into one of its own (see input::take).
bool run(std::span<const std::byte> bytes);

/// Memory for one input. Refuses what would make more than `most` bytes be in use at once, as a host may. More than
/// `promised` is a finding, and so is a block that does not come back.
class limited_memory {
 public:
  static constexpr std::size_t most = std::size_t{256} << 20;

  explicit limited_memory(std::size_t promised) : promised_(promised) {}
  limited_memory(const limited_memory&) = delete;
  limited_memory& operator=(const limited_memory&) = delete;
  ~limited_memory() { OCELLUS_HOLDS(used_ == 0); }

  ocellus::memory_hooks hooks() { return {this, allocate, release}; }
  [[nodiscard]] std::size_t used() const { return used_; }

 private:
  static void* allocate(void* context, std::size_t bytes, std::size_t alignment) {
    auto& self = *static_cast<limited_memory*>(context);
    OCELLUS_HOLDS(bytes != 0);
    const bool within_promise = bytes <= self.promised_ - self.used_;
    if (!within_promise)
      std::fprintf(stderr, "%zu bytes more to %zu in use; %zu were promised\n", bytes, self.used_,
                   self.promised_);
    OCELLUS_HOLDS(within_promise);
    if (bytes > most - self.used_) return nullptr;
    self.used_ += bytes;
    // Unlike aligned_alloc, blocks of exactly this size: the sanitizer sees the first byte beyond.
    return ::operator new(bytes, std::align_val_t(alignment));
  }
  static void release(void* context, void* block, std::size_t bytes, std::size_t alignment) {
    auto& self = *static_cast<limited_memory*>(context);
    OCELLUS_HOLDS(bytes <= self.used_);
    self.used_ -= bytes;
    ::operator delete(block, std::align_val_t(alignment));
  }

  std::size_t promised_;
  std::size_t used_ = 0;
};

constexpr std::size_t kib(std::size_t n) { return n << 10; }
constexpr std::size_t mib(std::size_t n) { return n << 20; }

/// The fuzzer's bytes, taken from the front; beyond the end everything is 0 or empty.
class input {
 public:
  explicit input(std::span<const std::byte> bytes) : rest_(bytes) {}

  [[nodiscard]] std::span<const std::byte> rest() const { return rest_; }
  std::uint32_t byte() { return number(1); }
  /// Little-endian, of up to four bytes.
  std::uint32_t number(std::size_t bytes) {
    std::uint32_t value = 0;
    const std::size_t n = std::min(bytes, rest_.size());
    if (n != 0) std::memcpy(&value, rest_.data(), n);
    rest_ = rest_.subspan(n);
    return value;
  }
  /// A copy of the next bytes in a block of exactly their size.
  std::vector<std::byte> take(std::size_t n) {
    const auto part = rest_.first(std::min(n, rest_.size()));
    rest_ = rest_.subspan(part.size());
    return {part.begin(), part.end()};
  }
  std::vector<std::byte> take_rest() { return take(rest_.size()); }
  /// Everything up to the next byte 0xff, which is no part of UTF-8, and that byte with it.
  std::vector<std::byte> take_part() {
    const auto end = std::find(rest_.begin(), rest_.end(), std::byte{0xff});
    auto part = take(static_cast<std::size_t>(end - rest_.begin()));
    byte();
    return part;
  }

 private:
  std::span<const std::byte> rest_;
};

inline std::string_view chars(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::span<const std::byte> bytes_of(std::string_view chars) {
  return std::as_bytes(std::span<const char>(chars.data(), chars.size()));
}

/// Reads every byte, so that a sanitizer sees any that may not be read.
inline void touch(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const std::byte b : bytes) sum = sum * 31 + static_cast<unsigned>(b);
  asm volatile("" ::"r"(sum));  // as if it were of use
}
inline void touch(std::string_view chars) { touch(bytes_of(chars)); }

/// Do two spans hold the same bytes?
inline bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace ocellus_fuzz

#endif  // OCELLUS_TESTS_FUZZ_FUZZ_HPP
