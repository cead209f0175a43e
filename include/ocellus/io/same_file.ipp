// same_file: compares what identifies a file to the system: device and inode, or volume and index.
#ifndef OCELLUS_IO_SAME_FILE_IPP
#define OCELLUS_IO_SAME_FILE_IPP

#include "ocellus/io/file.ipp"
#include "ocellus/io/same_file.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

struct file_identity {
  std::uint64_t device = 0;
  std::uint64_t number = 0;
  bool exists = false;
};

[[nodiscard]] inline result<file_identity> identify_file(std::string_view path,
                                                         const memory_hooks& memory) noexcept {
  OCELLUS_TRY(check_path(path));
  file_identity found;
#if defined(_WIN32)
  OCELLUS_ASSIGN(const array<wchar_t> name, windows_path(path, memory));
  const windows_handle file(::CreateFileW(name.data(), 0,
                                          FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                                          OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, nullptr));
  BY_HANDLE_FILE_INFORMATION info;
  if (!file.valid() || ::GetFileInformationByHandle(file.handle, &info) == 0) {
    const DWORD number = ::GetLastError();
    const error_code code = windows_open_code(number);
    if (!file.valid() && code == error_code::not_found) return found;
    return windows_error(code, "look at", path, number);
  }
  found = {info.dwVolumeSerialNumber, std::uint64_t{info.nFileIndexHigh} << 32 | info.nFileIndexLow, true};
#else
  OCELLUS_ASSIGN(const array<char> name, posix_path(path, "", memory));
  struct ::stat info;
  if (::stat(name.data(), &info) != 0) {
    const error_code code = posix_open_code(errno);
    if (code == error_code::not_found) return found;
    return posix_error(code, "look at", path, errno);
  }
  found = {static_cast<std::uint64_t>(info.st_dev), static_cast<std::uint64_t>(info.st_ino), true};
#endif
  return found;
}

}  // namespace detail

result<bool> same_file(std::string_view a, std::string_view b, const memory_hooks& memory) noexcept {
  OCELLUS_ASSIGN(const detail::file_identity first, detail::identify_file(a, memory));
  OCELLUS_ASSIGN(const detail::file_identity second, detail::identify_file(b, memory));
  return first.exists && second.exists && first.device == second.device && first.number == second.number;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_SAME_FILE_IPP
