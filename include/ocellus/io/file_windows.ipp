// Files on Windows: wide paths, CreateFileW, a file mapping or ReadFile; write beside the target and move.
#ifndef OCELLUS_IO_FILE_WINDOWS_IPP
#define OCELLUS_IO_FILE_WINDOWS_IPP

#include "ocellus/io/file.ipp"

#if defined(_WIN32)

#include <algorithm>

#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#if !defined(WIN32_LEAN_AND_MEAN)
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

/// Closes on leaving the scope, unless it was kept.
struct windows_handle {
  HANDLE handle = INVALID_HANDLE_VALUE;
  explicit windows_handle(HANDLE open_handle) noexcept : handle(open_handle) {}
  windows_handle(const windows_handle&) = delete;
  windows_handle& operator=(const windows_handle&) = delete;
  ~windows_handle() {
    if (valid()) ::CloseHandle(handle);
  }
  [[nodiscard]] bool valid() const noexcept { return handle != nullptr && handle != INVALID_HANDLE_VALUE; }
  HANDLE keep() noexcept { return std::exchange(handle, INVALID_HANDLE_VALUE); }
};

inline std::string_view windows_reason(DWORD number) noexcept {
  switch (number) {
    case ERROR_FILE_NOT_FOUND:
      return "no such file";
    case ERROR_PATH_NOT_FOUND:
      return "no such folder";
    case ERROR_ACCESS_DENIED:
      return "access denied";
    case ERROR_TOO_MANY_OPEN_FILES:
      return "too many open files";
    case ERROR_SHARING_VIOLATION:
      return "open elsewhere";
    case ERROR_USER_MAPPED_FILE:
      return "mapped elsewhere";
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
      return "the disk is full";
    case ERROR_INVALID_NAME:
    case ERROR_BAD_PATHNAME:
      return "no valid path";
    default:
      return "system error";
  }
}

inline error windows_error(error_code code, std::string_view doing, std::string_view path,
                           DWORD number) noexcept {
  return error(code, "cannot ", doing, " ", quoted{path}, ": ", windows_reason(number), " (error ",
               static_cast<std::uint64_t>(number), ")");
}

inline error_code windows_open_code(DWORD number) noexcept {
  switch (number) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME:
      return error_code::not_found;
    case ERROR_INVALID_NAME:
    case ERROR_BAD_PATHNAME:
    case ERROR_FILENAME_EXCED_RANGE:
    case ERROR_CANT_RESOLVE_FILENAME:
      return error_code::bad_path;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
      return error_code::out_of_memory;
    default:
      return error_code::open_failed;
  }
}

/// UTF-8 to an absolute wide path with a NUL. Long paths get the prefix that lifts the limit of 260
/// characters.
inline result<array<wchar_t>> windows_path(std::string_view path, const memory_hooks& memory) noexcept {
  const int bytes = static_cast<int>(path.size());  // check_path bounds it
  const int units = ::MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), bytes, nullptr, 0);
  if (units <= 0) return error(error_code::bad_path, "the path ", quoted{path}, " is not UTF-8");
  array<wchar_t> given(memory), full(memory);
  if (!given.resize(static_cast<std::size_t>(units) + 1)) return no_memory("a path");
  ::MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), bytes, given.data(), units);
  const auto starts = [](const array<wchar_t>& text, const wchar_t* with) noexcept {
    std::size_t i = 0;
    while (with[i] != 0 && i < text.size() && text[i] == with[i]) ++i;
    return with[i] == 0;
  };
  if (starts(given, L"\\\\?\\") || starts(given, L"\\\\.\\")) return given;

  const DWORD wanted = ::GetFullPathNameW(given.data(), 0, nullptr, nullptr);  // counts the NUL
  if (wanted == 0) return windows_error(error_code::bad_path, "resolve", path, ::GetLastError());
  if (!full.resize(wanted)) return no_memory("a path");
  const DWORD length = ::GetFullPathNameW(given.data(), wanted, full.data(), nullptr);
  if (length == 0 || length >= wanted) {
    return windows_error(error_code::bad_path, "resolve", path, ::GetLastError());
  }
  full.truncate(length);
  if (!full.push_back(L'\0')) return no_memory("a path");
  constexpr std::size_t safe_length = 240;  // leaves room for the suffix of a temporary file
  if (length < safe_length) return full;

  const bool share = starts(full, L"\\\\");
  const wchar_t* prefix = share ? L"\\\\?\\UNC\\" : L"\\\\?\\";
  const std::size_t skip = share ? 2 : 0;
  array<wchar_t> made(memory);
  std::size_t prefix_length = 0;
  while (prefix[prefix_length] != 0) ++prefix_length;
  if (!made.append({prefix, prefix_length}) || !made.append(full.span().subspan(skip))) {
    return no_memory("a path");
  }
  return made;
}

/// Is it on a disk of this machine? Pages of other drives can fail to come in, which only read() can report.
inline bool windows_is_local(const wchar_t* path) noexcept {
  wchar_t volume[MAX_PATH + 1];
  if (::GetVolumePathNameW(path, volume, MAX_PATH + 1) == 0) return false;
  const UINT drive = ::GetDriveTypeW(volume);
  return drive == DRIVE_FIXED || drive == DRIVE_RAMDISK;
}

inline result<void> windows_read(HANDLE file, std::byte* to, std::size_t size,
                                 std::string_view path) noexcept {
  for (std::size_t at = 0; at < size;) {
    DWORD got = 0;
    const auto step = static_cast<DWORD>((std::min)(size - at, file_step));
    if (::ReadFile(file, to + at, step, &got, nullptr) == 0) {
      return windows_error(error_code::read_failed, "read", path, ::GetLastError());
    }
    if (got == 0) {
      return error(error_code::file_changed, quoted{path}, " became shorter while it was read: ", at,
                   " bytes, not ", size);
    }
    at += got;
  }
  return {};
}

}  // namespace detail

result<byte_source> byte_source::open(std::string_view path, const memory_hooks& memory,
                                      const load_options& options) noexcept {
  OCELLUS_TRY(detail::check_path(path));
  OCELLUS_ASSIGN(const array<wchar_t> name, detail::windows_path(path, memory));
  const DWORD attributes = ::GetFileAttributesW(name.data());
  if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
    return error(error_code::not_regular, quoted{path}, " is a folder");
  }
  // Others may read, but not write, shorten or remove the file while it is open here.
  detail::windows_handle file(::CreateFileW(name.data(), GENERIC_READ, FILE_SHARE_READ, nullptr,
                                            OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr));
  if (!file.valid()) {
    const DWORD number = ::GetLastError();
    return detail::windows_error(detail::windows_open_code(number), "open", path, number);
  }
  if (::GetFileType(file.handle) != FILE_TYPE_DISK) {
    return error(error_code::not_regular, quoted{path}, " is no regular file");
  }
  LARGE_INTEGER size;
  if (::GetFileSizeEx(file.handle, &size) == 0) {
    return detail::windows_error(error_code::open_failed, "look at", path, ::GetLastError());
  }
  const auto bytes = static_cast<std::uint64_t>(size.QuadPart);
  OCELLUS_TRY(detail::check_file_size(bytes, path, options.max_bytes));

  byte_source made;
  if (options.mode == load_mode::map ||
      (options.mode == load_mode::automatic && detail::windows_is_local(name.data()))) {
    const detail::windows_handle mapping(
        ::CreateFileMappingW(file.handle, nullptr, PAGE_READONLY, 0, 0, nullptr));
    const void* view = mapping.valid() ? ::MapViewOfFile(mapping.handle, FILE_MAP_READ, 0, 0, 0) : nullptr;
    if (view != nullptr) {
      made.data_ = static_cast<const std::byte*>(view);
      made.size_ = static_cast<std::size_t>(bytes);
      made.kind_ = kind::mapped;
      made.lock_ = reinterpret_cast<std::intptr_t>(file.keep());
      return made;
    }
    if (options.mode == load_mode::map) {
      return detail::windows_error(error_code::read_failed, "map", path, ::GetLastError());
    }
  }
  if (auto room = made.allocate(bytes, memory); !room) return room.error().in(quoted{path});
  OCELLUS_TRY(detail::windows_read(file.handle, const_cast<std::byte*>(made.data_), made.size_, path));
  return made;
}

void byte_source::unmap() noexcept {
  ::UnmapViewOfFile(data_);
  ::CloseHandle(reinterpret_cast<HANDLE>(lock_));
  lock_ = -1;
}

// Unlocking pages that were never locked takes them out of the working set; the error that it reports says just that.
void byte_source::evict_pages(std::span<const std::byte> part) const noexcept {
  (void)::VirtualUnlock(const_cast<std::byte*>(part.data()), part.size());
}

result<output_file> output_file::create(std::string_view path, const memory_hooks& memory) noexcept {
  OCELLUS_TRY(detail::check_path(path));
  output_file made;
  OCELLUS_ASSIGN(made.path_, copy_text(path, memory));
  OCELLUS_ASSIGN(made.target_, detail::windows_path(path, memory));
  const DWORD attributes = ::GetFileAttributesW(made.target_.data());
  if (attributes != INVALID_FILE_ATTRIBUTES &&
      (attributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_DEVICE)) != 0) {
    return error(error_code::not_regular, quoted{path}, " exists and is no regular file");
  }
  for (unsigned attempt = 0; attempt < 1000; ++attempt) {
    const message_text suffix(".", static_cast<std::uint64_t>(::GetCurrentProcessId()), "-", attempt, ".tmp");
    made.temporary_ = array<wchar_t>(memory);
    bool fits = made.temporary_.append(made.target_.span().first(made.target_.size() - 1));
    for (char c : suffix.view()) fits = fits && made.temporary_.push_back(static_cast<wchar_t>(c));
    if (!fits || !made.temporary_.push_back(L'\0')) return no_memory("a path");
    HANDLE file = ::CreateFileW(made.temporary_.data(), GENERIC_WRITE, 0, nullptr, CREATE_NEW,
                                FILE_ATTRIBUTE_NORMAL, nullptr);
    if (file != INVALID_HANDLE_VALUE) {
      made.handle_ = reinterpret_cast<std::intptr_t>(file);
      return made;
    }
    const DWORD number = ::GetLastError();
    if (number != ERROR_FILE_EXISTS && number != ERROR_ALREADY_EXISTS) {
      return detail::windows_error(detail::windows_open_code(number), "create", path, number);
    }
  }
  return detail::windows_error(error_code::open_failed, "create a temporary file beside", path,
                               ERROR_FILE_EXISTS);
}

result<void> output_file::write(std::span<const std::byte> bytes) noexcept {
  if (handle_ == closed) {
    return error(error_code::invalid_argument, quoted{path_.view()}, " is not open for writing");
  }
  while (!bytes.empty()) {
    DWORD put = 0;
    const auto step = static_cast<DWORD>((std::min)(bytes.size(), detail::file_step));
    if (::WriteFile(reinterpret_cast<HANDLE>(handle_), bytes.data(), step, &put, nullptr) == 0 || put == 0) {
      return detail::windows_error(error_code::write_failed, "write", path_.view(), ::GetLastError());
    }
    bytes = bytes.subspan(put);
  }
  return {};
}

result<void> output_file::commit() noexcept {
  if (handle_ == closed) {
    return error(error_code::invalid_argument, quoted{path_.view()}, " is not open for writing");
  }
  HANDLE file = reinterpret_cast<HANDLE>(handle_);
  handle_ = closed;
  DWORD problem = ::FlushFileBuffers(file) != 0 ? ERROR_SUCCESS : ::GetLastError();
  ::CloseHandle(file);
  if (problem == ERROR_SUCCESS && ::MoveFileExW(temporary_.data(), target_.data(),
                                                MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH) == 0) {
    problem = ::GetLastError();
  }
  if (problem == ERROR_SUCCESS) return {};
  ::DeleteFileW(temporary_.data());
  return detail::windows_error(error_code::write_failed, "write", path_.view(), problem);
}

void output_file::discard() noexcept {
  if (handle_ == closed) return;
  ::CloseHandle(reinterpret_cast<HANDLE>(handle_));
  ::DeleteFileW(temporary_.data());
  handle_ = closed;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // defined(_WIN32)

#endif  // OCELLUS_IO_FILE_WINDOWS_IPP
