// What byte_source and output_file do alike on every system; the rest is in file_posix.ipp and
// file_windows.ipp.
#ifndef OCELLUS_IO_FILE_IPP
#define OCELLUS_IO_FILE_IPP

#include "ocellus/io/file.hpp"

#include <algorithm>

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

inline constexpr std::size_t file_alignment = 64;
inline constexpr std::size_t longest_path = 32'000;  // of bytes; systems allow less or about as much
inline constexpr std::size_t file_step = std::size_t{1}
                                         << 30;  // systems read and write at most 2 GiB at once

inline result<void> check_path(std::string_view path) noexcept {
  if (path.empty()) return error(error_code::bad_path, "the path is empty");
  if (path.find('\0') != std::string_view::npos) {
    return error(error_code::bad_path, "the path ", quoted{path}, " holds a NUL");
  }
  if (path.size() > longest_path) {
    return error(error_code::bad_path, "the path has ", path.size(), " bytes: ", quoted{path});
  }
  return {};
}

inline result<void> check_file_size(std::uint64_t size, std::string_view path,
                                    std::uint64_t max_bytes) noexcept {
  if (size == 0) return error(error_code::empty_file, quoted{path}, " has no bytes");
  if (size > max_bytes) {
    return error(error_code::too_large, quoted{path}, " has ", size, " bytes, more than ", max_bytes);
  }
  if (size > static_cast<std::uint64_t>(PTRDIFF_MAX)) {
    return error(error_code::too_large, quoted{path}, " has ", size, " bytes, more than the address space");
  }
  return {};
}

}  // namespace detail

void byte_source::swap(byte_source& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(memory_, other.memory_);
  std::swap(lock_, other.lock_);
  std::swap(kind_, other.kind_);
}

void byte_source::close() noexcept {
  if (data_ != nullptr && kind_ == kind::mapped) unmap();
  if (data_ != nullptr && kind_ == kind::allocated) {
    memory_.release(memory_.context, const_cast<std::byte*>(data_), size_, detail::file_alignment);
  }
  data_ = nullptr;
  size_ = 0;
  kind_ = kind::borrowed;
}

void byte_source::evict(std::span<const std::byte> part) const noexcept {
  if (kind_ == kind::mapped && !part.empty()) evict_pages(part);
}

result<void> byte_source::allocate(std::uint64_t bytes, const memory_hooks& memory) noexcept {
  const auto size = static_cast<std::size_t>(bytes);
  void* block = memory.allocate(memory.context, size, detail::file_alignment);
  if (block == nullptr) return no_memory("the ", bytes, " bytes of a file");
  data_ = static_cast<const std::byte*>(block);
  size_ = size;
  memory_ = memory;
  kind_ = kind::allocated;
  return {};
}

byte_source byte_source::borrow(std::span<const std::byte> bytes) noexcept {
  byte_source made;
  made.data_ = bytes.data();
  made.size_ = bytes.size();
  return made;
}

result<byte_source> byte_source::load(const file_reader& reader, const memory_hooks& memory,
                                      const load_options& options) noexcept {
  if (reader.read == nullptr) {
    return error(error_code::invalid_argument, "a file_reader without a read function");
  }
  OCELLUS_TRY(detail::check_file_size(reader.size, "the host's file", options.max_bytes));
  byte_source made;
  OCELLUS_TRY(made.allocate(reader.size, memory));
  auto* to = const_cast<std::byte*>(made.data_);
  for (std::size_t at = 0; at < made.size_;) {
    const std::size_t step = (std::min)(made.size_ - at, detail::file_step);
    if (!reader.read(reader.context, at, to + at, step)) {
      return error(error_code::read_failed, "the host could not read ", step, " bytes from ", at,
                   " of its file");
    }
    at += step;
  }
  return made;
}

void output_file::swap(output_file& other) noexcept {
  path_.swap(other.path_);
  target_.swap(other.target_);
  temporary_.swap(other.temporary_);
  std::swap(handle_, other.handle_);
}

byte_sink output_file::sink() noexcept {
  return {this, [](void* context, std::span<const std::byte> bytes) noexcept {
            return static_cast<output_file*>(context)->write(bytes);
          }};
}

}  // namespace ocellus::inline OCELLUS_ABI

#if defined(_WIN32)
#include "ocellus/io/file_windows.ipp"
#else
#include "ocellus/io/file_posix.ipp"
#endif

#endif  // OCELLUS_IO_FILE_IPP
