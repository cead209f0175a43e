// Files on POSIX systems: open, fstat, mmap or read; write beside the target and rename.
#ifndef OCELLUS_IO_FILE_POSIX_IPP
#define OCELLUS_IO_FILE_POSIX_IPP

#include "ocellus/io/file.ipp"

#if !defined(_WIN32)

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/vfs.h>
#elif defined(__APPLE__) || defined(__FreeBSD__)
#include <sys/mount.h>
#include <sys/param.h>
#endif

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

/// Closes on leaving the scope.
struct posix_descriptor {
  int number = -1;
  explicit posix_descriptor(int open_number) noexcept : number(open_number) {}
  posix_descriptor(const posix_descriptor&) = delete;
  posix_descriptor& operator=(const posix_descriptor&) = delete;
  ~posix_descriptor() {
    if (number >= 0) ::close(number);
  }
};

/// strerror is neither thread-safe nor free of the locale.
inline std::string_view posix_reason(int number) noexcept {
  switch (number) {
    case ENOENT:
      return "no such file";
    case ENOTDIR:
      return "a part of the path is not a folder";
    case EACCES:
    case EPERM:
      return "permission denied";
    case EMFILE:
    case ENFILE:
      return "too many open files";
    case ELOOP:
      return "too many symbolic links";
    case ENAMETOOLONG:
      return "the path is too long";
    case ENOSPC:
      return "the disk is full";
    case EDQUOT:
      return "the disk quota is used up";
    case EFBIG:
      return "larger than the system allows";
    case EROFS:
      return "the file system is read-only";
    case EIO:
      return "input/output error";
    case EISDIR:
      return "a folder";
    default:
      return "system error";
  }
}

inline error posix_error(error_code code, std::string_view doing, std::string_view path,
                         int number) noexcept {
  return error(code, "cannot ", doing, " ", quoted{path}, ": ", posix_reason(number), " (errno ", number,
               ")");
}

inline error_code posix_open_code(int number) noexcept {
  switch (number) {
    case ENOENT:
    case ENOTDIR:
      return error_code::not_found;
    case ELOOP:
    case ENAMETOOLONG:
      return error_code::bad_path;
    case ENXIO:  // a socket, or a device without a driver
    case ENODEV:
    case EISDIR:
      return error_code::not_regular;
    case EOVERFLOW:
      return error_code::too_large;
    case ENOMEM:
      return error_code::out_of_memory;
    default:
      return error_code::open_failed;
  }
}

/// The path, and what is to follow it, with a NUL.
inline result<array<char>> posix_path(std::string_view path, std::string_view suffix,
                                      const memory_hooks& memory) noexcept {
  array<char> made(memory);
  if (!made.reserve(path.size() + suffix.size() + 1) || !made.append({path.data(), path.size()}) ||
      !made.append({suffix.data(), suffix.size()}) || !made.push_back('\0')) {
    return no_memory("a path of ", path.size(), " bytes");
  }
  return made;
}

enum class posix_place : std::uint8_t { local, remote, pseudo };

/// What kind of file system a file is on. Mapped files of remote and FUSE systems can vanish under the
/// reader, and are slow to fault in; "files" of pseudo systems have no bytes of their own.
inline posix_place posix_place_of([[maybe_unused]] int file) noexcept {
#if defined(__linux__)
  struct statfs about;
  if (::fstatfs(file, &about) != 0) return posix_place::remote;  // unknown: read, which always works
  switch (static_cast<std::uint32_t>(about.f_type)) {            // numbers: statfs(2), linux/magic.h
    case 0x9fa0:                                                 // proc
    case 0x62656572:                                             // sysfs
    case 0x64626720:                                             // debugfs
      return posix_place::pseudo;
    case 0x6969:      // NFS
    case 0x517b:      // SMB
    case 0xff534d42:  // CIFS
    case 0xfe534d42:  // SMB 2
    case 0x65735546:  // FUSE
    case 0x01021997:  // 9P
    case 0x0bd00bd0:  // Lustre
    case 0x00c36400:  // Ceph
    case 0x5346414f:  // AFS
    case 0x73757245:  // Coda
    case 0x47504653:  // GPFS
      return posix_place::remote;
    default:
      return posix_place::local;
  }
#elif defined(__APPLE__) || defined(__FreeBSD__)
  struct statfs about;
  return ::fstatfs(file, &about) == 0 && (about.f_flags & MNT_LOCAL) != 0 ? posix_place::local
                                                                          : posix_place::remote;
#else
  return posix_place::local;
#endif
}

inline bool posix_same_file(const struct stat& before, const struct stat& after) noexcept {
#if defined(__linux__)
  if (before.st_mtim.tv_nsec != after.st_mtim.tv_nsec) return false;
#endif
  return before.st_size == after.st_size && before.st_mtime == after.st_mtime;
}

/// Reads a whole file of `size` bytes from where it stands.
inline result<void> posix_read(int file, std::byte* to, std::size_t size, std::string_view path) noexcept {
  for (std::size_t at = 0; at < size;) {
    const ssize_t got = ::read(file, to + at, (std::min)(size - at, file_step));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return posix_error(error_code::read_failed, "read", path, errno);
    if (got == 0) {
      return error(error_code::file_changed, quoted{path}, " became shorter while it was read: ", at,
                   " bytes, not ", size);
    }
    at += static_cast<std::size_t>(got);
  }
  return {};
}

}  // namespace detail

result<byte_source> byte_source::open(std::string_view path, const memory_hooks& memory,
                                      const load_options& options) noexcept {
  OCELLUS_TRY(detail::check_path(path));
  OCELLUS_ASSIGN(const array<char> name, detail::posix_path(path, "", memory));
  int number = -1;
  do {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    number = ::open(name.data(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  } while (number < 0 && errno == EINTR);
  const detail::posix_descriptor file(number);
  if (number < 0) return detail::posix_error(detail::posix_open_code(errno), "open", path, errno);

  struct stat before;
  if (::fstat(number, &before) != 0) {
    return detail::posix_error(detail::posix_open_code(errno), "look at", path, errno);
  }
  const detail::posix_place place = detail::posix_place_of(number);
  if (!S_ISREG(before.st_mode) || place == detail::posix_place::pseudo) {
    return error(error_code::not_regular, quoted{path},
                 S_ISDIR(before.st_mode) ? " is a folder" : " is no regular file");
  }
  const auto bytes = static_cast<std::uint64_t>(before.st_size);
  OCELLUS_TRY(detail::check_file_size(bytes, path, options.max_bytes));

  byte_source made;
  if (options.mode == load_mode::map ||
      (options.mode == load_mode::automatic && place == detail::posix_place::local)) {
    void* mapped = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ, MAP_PRIVATE, number, 0);
    if (mapped != MAP_FAILED) {
      made.data_ = static_cast<const std::byte*>(mapped);
      made.size_ = static_cast<std::size_t>(bytes);
      made.kind_ = kind::mapped;
      return made;
    }
    if (options.mode == load_mode::map) {
      return detail::posix_error(error_code::read_failed, "map", path, errno);
    }
  }
  if (auto room = made.allocate(bytes, memory); !room) return room.error().in(quoted{path});
  OCELLUS_TRY(detail::posix_read(number, const_cast<std::byte*>(made.data_), made.size_, path));
  struct stat after;
  if (::fstat(number, &after) != 0) {
    return detail::posix_error(error_code::read_failed, "look again at", path, errno);
  }
  if (!detail::posix_same_file(before, after)) {
    return error(error_code::file_changed, quoted{path}, " changed while it was read");
  }
  return made;
}

void byte_source::unmap() noexcept { ::munmap(const_cast<std::byte*>(data_), size_); }

void byte_source::evict_pages(std::span<const std::byte> part) const noexcept {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  // From the beginning of its first page on; the mapping begins with a page, and the system rounds the end up.
  const auto before = static_cast<std::size_t>(part.data() - data_) % page;
  ::madvise(const_cast<std::byte*>(part.data() - before), part.size() + before, MADV_DONTNEED);
}

result<output_file> output_file::create(std::string_view path, const memory_hooks& memory) noexcept {
  OCELLUS_TRY(detail::check_path(path));
  output_file made;
  OCELLUS_ASSIGN(made.path_, copy_text(path, memory));
  OCELLUS_ASSIGN(made.target_, detail::posix_path(path, "", memory));
  struct stat old;
  if (::stat(made.target_.data(), &old) != 0) {
    if (errno != ENOENT) return detail::posix_error(detail::posix_open_code(errno), "look at", path, errno);
  } else if (!S_ISREG(old.st_mode)) {  // never put a file in place of /dev/null
    return error(error_code::not_regular, quoted{path}, " exists and is no regular file");
  }
  for (unsigned attempt = 0; attempt < 1000; ++attempt) {
    const message_text suffix(".", static_cast<std::int64_t>(::getpid()), "-", attempt, ".tmp");
    OCELLUS_ASSIGN(made.temporary_, detail::posix_path(path, suffix.view(), memory));
    int number = -1;
    do {
      number = ::open(made.temporary_.data(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (number < 0 && errno == EINTR);
    if (number >= 0) {
      made.handle_ = number;
      return made;
    }
    if (errno != EEXIST) return detail::posix_error(detail::posix_open_code(errno), "create", path, errno);
  }
  return detail::posix_error(error_code::open_failed, "create a temporary file beside", path, EEXIST);
}

result<void> output_file::write(std::span<const std::byte> bytes) noexcept {
  if (handle_ == closed) {
    return error(error_code::invalid_argument, quoted{path_.view()}, " is not open for writing");
  }
  while (!bytes.empty()) {
    const ssize_t put =
        ::write(static_cast<int>(handle_), bytes.data(), (std::min)(bytes.size(), detail::file_step));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      return detail::posix_error(error_code::write_failed, "write", path_.view(), put < 0 ? errno : ENOSPC);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

result<void> output_file::commit() noexcept {
  if (handle_ == closed) {
    return error(error_code::invalid_argument, quoted{path_.view()}, " is not open for writing");
  }
  const int number = static_cast<int>(handle_);
  int problem = 0;
  while (::fsync(number) != 0) {
    problem = errno;
    if (problem != EINTR) break;
    problem = 0;
  }
  handle_ = closed;
  if (::close(number) != 0 && problem == 0 && errno != EINTR) problem = errno;
  if (problem == 0 && ::rename(temporary_.data(), target_.data()) != 0) problem = errno;
  if (problem == 0) return {};
  ::unlink(temporary_.data());
  return detail::posix_error(error_code::write_failed, "write", path_.view(), problem);
}

void output_file::discard() noexcept {
  if (handle_ == closed) return;
  ::close(static_cast<int>(handle_));
  ::unlink(temporary_.data());
  handle_ = closed;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // !defined(_WIN32)

#endif  // OCELLUS_IO_FILE_POSIX_IPP
