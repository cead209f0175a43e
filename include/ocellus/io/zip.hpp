// zip_archive: the entries of a zip file in memory as PyTorch writes it: stored, in one folder, nothing before or behind.
#ifndef OCELLUS_IO_ZIP_HPP
#define OCELLUS_IO_ZIP_HPP

#include <span>
#include <string_view>

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// One stored entry. `bytes` lie in the file at any alignment; they are proven to lie inside it and to be shared with
/// no other entry, but their checksum is only looked at by verify().
struct zip_entry {
  std::string_view name;  ///< in full, as it stands in the file: "archive/data/0"
  std::span<const std::byte> bytes;
  std::uint32_t crc = 0;
};

/// A strict reader. Other zip readers disagree about damaged or ambiguous archives (two ends, two entries of a name,
/// headers that contradict the directory); here everything that leaves room for two readings is an error. Compressed
/// entries are refused: there is nothing that could inflate to more than the file. Move-only, immutable.
class zip_archive {
 public:
  /// Reads the directory of an archive that the caller keeps in memory, unchanged. Every header is checked against it.
  /// Errors: empty_file, zip_*, zip64_*, utf8, out_of_memory.
  [[nodiscard]] static result<zip_archive> open(std::span<const std::byte> file,
                                                const memory_hooks& memory = {}) noexcept;

  /// Sorted by name.
  [[nodiscard]] std::span<const zip_entry> entries() const noexcept { return entries_.span(); }
  /// The folder that everything lies in, without a slash: "archive".
  [[nodiscard]] std::string_view folder() const noexcept { return folder_; }
  /// By its name within the folder ("data/0"); null if there is none. Logarithmic.
  [[nodiscard]] const zip_entry* find(std::string_view name) const noexcept;

  /// Reads all bytes of an entry. Errors: zip_crc, naming it.
  [[nodiscard]] static result<void> verify(const zip_entry& entry) noexcept;

 private:
  zip_archive() noexcept = default;

  array<zip_entry> entries_;
  std::string_view folder_;

  friend struct zip_reader;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_ZIP_HPP
