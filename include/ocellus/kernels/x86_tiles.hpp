// The tiles of x86-64 processors with AMX: eight registers of up to 16 rows of 64 bytes, and products of bf16 between them.
// Who may use them, and the instructions, as an object whose member functions are a tile each: linear_tiles-inl.h is
// written against it and runs on model_tiles, which does the same in ordinary code, where there is no AMX.
//
// The state of the tiles is 8 KiB of every thread that the system saves when it takes the thread off its processor. So
// Linux (from 5.16 on) wants to be asked once by the process, and a thread should not hold configured tiles when it has no
// use for them: each task loads its configuration and releases it. From the permission on, the kernel also refuses alternate
// signal stacks (sigaltstack) that could not hold that state: a process that has set one of less than about 11 KiB (
// getauxval(AT_MINSIGSTKSZ) tells) is not given the permission. It is inherited by threads and by fork(), not over exec().
#ifndef OCELLUS_KERNELS_X86_TILES_HPP
#define OCELLUS_KERNELS_X86_TILES_HPP

#include <cstddef>
#include <cstdint>

#include "ocellus/kernels/x86_features.hpp"

// Tiles can be had: the compiler takes assembly of its processor, and we know how to ask the system.
#if OCELLUS_X86_64 && defined(__linux__) && defined(__LP64__) && (defined(__GNUC__) || defined(__clang__))
#define OCELLUS_X86_TILES 1
#include <unistd.h>

#include <sys/syscall.h>
#else
#define OCELLUS_X86_TILES 0
#endif

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// Asks the system whether this process may use tiles. It may be asked again, with the same answer.
[[nodiscard]] inline bool x86_ask_for_tiles() noexcept {
#if OCELLUS_X86_TILES
  constexpr long request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM; headers before Linux 5.16 lack it
  constexpr long tile_data = 18;
  return ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

/// The features that tables may use: those of the processor, but tiles only if the host lets us ask and ask() is granted.
template <class Ask>
[[nodiscard]] std::uint32_t x86_usable_features(std::uint32_t found, bool allow_tiles,
                                                const Ask& ask) noexcept {
  if ((found & x86_amx_bf16) == 0) return found;
  return allow_tiles && ask() ? found : found & ~std::uint32_t{x86_amx_bf16};
}

/// What LDTILECFG reads: how many rows of how many bytes each tile has.
struct tile_shapes {
  std::uint8_t palette = 0;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};  // of 8 tiles; the rest is reserved
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(tile_shapes) == 64);

#if OCELLUS_X86_TILES

/// The instructions. Written in assembly: compilers' own functions for them need not know what memory they touch (GCC 12), and
/// want their target's attribute on everything around.
class x86_tiles {
 public:
  x86_tiles() noexcept = default;
  x86_tiles(const x86_tiles&) = delete;
  x86_tiles& operator=(const x86_tiles&) = delete;
  ~x86_tiles() { asm volatile("tilerelease" ::: "memory"); }

  /// Sets the shapes of all tiles, which become 0.
  void configure(const tile_shapes& shapes) noexcept { asm volatile("ldtilecfg %0" ::"m"(shapes)); }
  template <int Tile>
  void zero() noexcept {
    asm volatile("tilezero {%%tmm%c0|tmm%c0}" ::"i"(Tile));
  }
  /// Rows `stride` bytes apart.
  template <int Tile>
  void load(const void* rows, std::size_t stride) noexcept {
    asm volatile("tileloadd {(%0,%1), %%tmm%c2|tmm%c2, [%0+%1]}" ::"r"(rows), "r"(stride), "i"(Tile)
                 : "memory");
  }
  template <int Tile>
  void store(void* rows, std::size_t stride) const noexcept {
    asm volatile("tilestored {%%tmm%c2, (%0,%1)|[%0+%1], tmm%c2}" ::"r"(rows), "r"(stride), "i"(Tile)
                 : "memory");
  }
  /// Sums += A B: sums [m][n] f32, A [m][2 k] bf16, B [k][n][2] bf16.
  template <int Sums, int A, int B>
  void dot() noexcept {
    asm volatile("tdpbf16ps {%%tmm%c2, %%tmm%c1, %%tmm%c0|tmm%c0, tmm%c1, tmm%c2}" ::"i"(Sums), "i"(A),
                 "i"(B));
  }
};

#endif  // OCELLUS_X86_TILES

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_X86_TILES_HPP
