// The default host's memory.
#ifndef OCELLUS_HOST_IPP
#define OCELLUS_HOST_IPP

#include <cstdlib>
#if defined(_WIN32)
#include <malloc.h>
#else
#include <sys/mman.h>
#endif

#include "ocellus/host.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

#if defined(_WIN32)

bool default_memory_is_zeroed(std::size_t, std::size_t) noexcept { return false; }

void* default_allocate(void*, std::size_t bytes, std::size_t alignment) noexcept {
  return _aligned_malloc(bytes, alignment);
}

void default_release(void*, void* block, std::size_t, std::size_t) noexcept { _aligned_free(block); }

#else

// Large blocks are mapped: the system hands out their pages as they are first touched, and zeroed. So a session costs
// the part of its memory that it comes to use, and opens without writing all of it.
bool default_memory_is_zeroed(std::size_t bytes, std::size_t alignment) noexcept {
  constexpr std::size_t large = std::size_t{4} << 20, page = 4096;
  return bytes >= large && alignment <= page;
}

void* default_allocate(void*, std::size_t bytes, std::size_t alignment) noexcept {
  if (bytes > SIZE_MAX - alignment) return nullptr;
  if (default_memory_is_zeroed(bytes, alignment)) {
    void* block = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return block == MAP_FAILED ? nullptr : block;
  }
  return std::aligned_alloc(alignment, (bytes + alignment - 1) & ~(alignment - 1));
}

void default_release(void*, void* block, std::size_t bytes, std::size_t alignment) noexcept {
  if (default_memory_is_zeroed(bytes, alignment)) {
    ::munmap(block, bytes);
  } else {
    std::free(block);
  }
}

#endif

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_HOST_IPP
