// Memory of the CPU tables, on the host's allocator.
#ifndef OCELLUS_KERNELS_CPU_MEMORY_IPP
#define OCELLUS_KERNELS_CPU_MEMORY_IPP

#include <cstring>

#include "ocellus/kernels/cpu_memory.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

inline constexpr std::size_t cpu_alignment = 64;

buffer cpu_allocate(context& ctx, std::uint64_t bytes) noexcept {
  const checked padded = checked(bytes == 0 ? 1 : bytes).align_up(cpu_alignment);
  const memory_hooks& memory = ctx.hooks().memory;
  void* block = nullptr;
  if (padded.fits<std::size_t>()) {
    block = memory.allocate(memory.context, static_cast<std::size_t>(padded.value()), cpu_alignment);
  }
  if (block == nullptr) {
    ctx.fail(error_code::out_of_memory);
    return {};
  }
  const auto size = static_cast<std::size_t>(padded.value());
  if (memory.allocate != default_allocate || !default_memory_is_zeroed(size, cpu_alignment)) {
    std::memset(block, 0, size);
  }
  return {block, bytes, true};
}

void cpu_release(context& ctx, buffer& memory) noexcept {
  if (memory.owned) {
    const checked padded = checked(memory.bytes == 0 ? 1 : memory.bytes).align_up(cpu_alignment);
    const memory_hooks& hooks = ctx.hooks().memory;
    hooks.release(hooks.context, memory.handle, static_cast<std::size_t>(padded.value()), cpu_alignment);
  }
  memory = {};
}

buffer cpu_wrap(context&, const void* memory, std::uint64_t bytes) noexcept {
  return {const_cast<void*>(memory), bytes, false};  // entries only read weights
}

void cpu_upload(context&, const void* rows, const matrix& to) noexcept {
  const std::size_t element = bits_of(to.type) / 8;
  const std::size_t bytes = to.cols * element;
  const std::size_t padded = round_up<std::size_t>(to.cols, column_pad) * element;
  for (std::uint32_t i = 0; i < to.rows && bytes != 0; ++i) {
    std::byte* row = cpu_row_bytes(to, i);
    std::memcpy(row, static_cast<const std::byte*>(rows) + i * bytes, bytes);
    std::memset(row + bytes, 0, padded - bytes);
  }
}

void cpu_download(context&, const matrix& from, void* rows) noexcept {
  const std::size_t bytes = from.cols * (bits_of(from.type) / 8);
  for (std::uint32_t i = 0; i < from.rows && bytes != 0; ++i) {
    std::memcpy(static_cast<std::byte*>(rows) + i * bytes, cpu_row_bytes(from, i), bytes);
  }
}

void cpu_copy(context& ctx, const matrix& from, const matrix& to) noexcept {
  const std::size_t bytes = from.cols * (bits_of(from.type) / 8);
  if (bytes == 0) return;
  ctx.parallel(from.rows, [&](std::uint32_t i, std::uint32_t) {
    std::memcpy(cpu_row_bytes(to, i), cpu_row_bytes(from, i), bytes);
  });
}

void cpu_embed(context& ctx, const embed_args& args) noexcept {
  const gathered_table& table = args.table;
  ctx.parallel(args.out.rows, [&](std::uint32_t t, std::uint32_t) {
    unpack_row(table.format, cpu_table_row(table, args.ids[t]), cpu_table_scales(table, args.ids[t]),
               table.cols, cpu_row(args.out, t));  // [K]
    cpu_zero_tail(args.out, t);
  });
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_CPU_MEMORY_IPP
