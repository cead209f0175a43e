// Files as bytes: byte_source (a mapped or read file, a borrowed span, a host's virtual file) and
// output_file.
#ifndef OCELLUS_IO_FILE_HPP
#define OCELLUS_IO_FILE_HPP

#include <span>
#include <string_view>

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {
#if defined(_WIN32)
using path_char = wchar_t;
#else
using path_char = char;
#endif
}  // namespace detail

/// How the bytes of a file come into memory.
/// map: shared with the system's file cache, no copy. Nobody may write to the file or shorten it meanwhile:
/// reading
///      beyond a new end kills the process (SIGBUS; on Windows the file is locked against it).
/// read: copied once into the host's memory, immune to later changes.
/// automatic: map on a local disk; read on a network or FUSE file system and where mapping fails.
enum class load_mode : std::uint8_t { automatic, map, read };

struct load_options {
  load_mode mode = load_mode::automatic;
  std::uint64_t max_bytes = UINT64_MAX;  ///< a longer file is too_large, before anything is read
};

/// A file of the host's own making (an archive of a game engine, an Android asset). `read` copies `bytes`
/// bytes from `offset` on to `to` and returns false if it cannot; it is called from one thread, in pieces,
/// offsets ascending.
struct file_reader {
  void* context = nullptr;
  std::uint64_t size = 0;
  bool (*read)(void* context, std::uint64_t offset, void* to, std::size_t bytes) = nullptr;
};

/// Owns, or borrows, the bytes of a file. Move-only; bytes() stay where they are until it is destroyed or
/// assigned to. Memory that was read into is 64-byte aligned; mapped memory starts at a page.
class byte_source {
 public:
  byte_source() noexcept = default;
  byte_source(byte_source&& other) noexcept { swap(other); }
  byte_source& operator=(byte_source&& other) noexcept {
    byte_source(std::move(other)).swap(*this);
    return *this;
  }
  ~byte_source() { close(); }
  void swap(byte_source& other) noexcept;

  /// Opens a regular file; the path is UTF-8. Never blocks on a FIFO. Errors, all naming the path: bad_path,
  /// not_found, not_regular, empty_file, open_failed, read_failed, file_changed, too_large, out_of_memory.
  [[nodiscard]] static result<byte_source> open(std::string_view path, const memory_hooks& memory = {},
                                                const load_options& options = {}) noexcept;
  /// The caller keeps the memory alive and unchanged. Any alignment will do.
  [[nodiscard]] static byte_source borrow(std::span<const std::byte> bytes) noexcept;
  /// Reads all of a virtual file. Errors: invalid_argument, empty_file, too_large, read_failed,
  /// out_of_memory.
  [[nodiscard]] static result<byte_source> load(const file_reader& reader, const memory_hooks& memory = {},
                                                const load_options& options = {}) noexcept;

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  [[nodiscard]] bool is_mapped() const noexcept { return kind_ == kind::mapped; }
  /// Says that a part of bytes() will not be read soon. If the file is mapped, its pages leave this process's memory,
  /// where the system does as it is told, and come back when they are read all the same; otherwise nothing happens.
  void evict(std::span<const std::byte> part) const noexcept;
  /// The bytes as characters.
  [[nodiscard]] std::string_view chars() const noexcept {
    return {reinterpret_cast<const char*>(data_), size_};
  }

 private:
  enum class kind : std::uint8_t { borrowed, allocated, mapped };

  void close() noexcept;
  /// Memory for a file of that many bytes; data_ may be written to until the source is handed out.
  [[nodiscard]] result<void> allocate(std::uint64_t bytes, const memory_hooks& memory) noexcept;
  // Of the system at hand; for mapped files only.
  void unmap() noexcept;
  void evict_pages(std::span<const std::byte> part) const noexcept;

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  memory_hooks memory_;
  std::intptr_t lock_ = -1;  // Windows: the open file, which keeps writers away while it is mapped
  kind kind_ = kind::borrowed;
};

/// Where bytes are written to, one after another.
struct byte_sink {
  void* context = nullptr;
  result<void> (*write)(void* context, std::span<const std::byte> bytes) noexcept = nullptr;
};

/// A file that appears whole or not at all: written under another name beside the target and renamed by
/// commit(). Destroyed before that, it leaves nothing behind and an older target untouched. Move-only.
class output_file {
 public:
  output_file() noexcept = default;
  output_file(output_file&& other) noexcept { swap(other); }
  output_file& operator=(output_file&& other) noexcept {
    output_file(std::move(other)).swap(*this);
    return *this;
  }
  ~output_file() { discard(); }
  void swap(output_file& other) noexcept;

  /// Errors, all naming the path: bad_path, not_found (of the folder), not_regular (what is there already),
  /// open_failed, out_of_memory.
  [[nodiscard]] static result<output_file> create(std::string_view path,
                                                  const memory_hooks& memory = {}) noexcept;
  /// Appends. Errors: write_failed (a full disk, ...).
  [[nodiscard]] result<void> write(std::span<const std::byte> bytes) noexcept;
  [[nodiscard]] result<void> write(std::string_view chars) noexcept {
    return write(std::as_bytes(std::span<const char>(chars.data(), chars.size())));
  }
  /// Flushes to the disk, closes, and puts the file in the target's place. Errors: write_failed.
  [[nodiscard]] result<void> commit() noexcept;
  /// Closes and removes what was written so far. Nothing to do after commit().
  void discard() noexcept;

  /// For code that writes anywhere; valid while this object stays where it is.
  [[nodiscard]] byte_sink sink() noexcept;

 private:
  static constexpr std::intptr_t closed = -1;

  text path_;                           // as given, for messages
  array<detail::path_char> target_;     // the same as the system wants it, with a NUL
  array<detail::path_char> temporary_;  // beside it
  std::intptr_t handle_ = closed;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_FILE_HPP
