// zip_archive: the end record, the directory, then each entry's own header. Numbers of the format's records are read
// byte by byte; all arithmetic on them is done on 64 bits after they were found to be smaller than the file.
#ifndef OCELLUS_IO_ZIP_IPP
#define OCELLUS_IO_ZIP_IPP

#include <algorithm>

#include "ocellus/io/crc32.hpp"
#include "ocellus/io/utf8.hpp"
#include "ocellus/io/zip.hpp"

namespace ocellus::inline OCELLUS_ABI {

struct zip_reader {
  static constexpr std::uint32_t header_signature = 0x04034b50;
  static constexpr std::uint32_t directory_signature = 0x02014b50;
  static constexpr std::uint32_t end_signature = 0x06054b50;
  static constexpr std::uint32_t end64_signature = 0x06064b50;
  static constexpr std::uint32_t locator_signature = 0x07064b50;
  static constexpr std::size_t header_bytes = 30;
  static constexpr std::size_t directory_bytes = 46;
  static constexpr std::size_t end_bytes = 22;
  static constexpr std::size_t end64_bytes = 56;
  static constexpr std::size_t locator_bytes = 20;
  static constexpr std::size_t longest_comment = 0xffff;
  static constexpr std::uint16_t encrypted_flags =
      0x2041;  // encrypted, strong encryption, encrypted directory
  static constexpr std::uint16_t sizes_follow_flag = 0x0008;

  /// An entry while it is checked: where its header begins and its bytes end.
  struct extent {
    std::uint64_t begin;
    std::uint64_t end;
  };

  std::span<const std::byte> file;
  zip_archive& archive;
  array<extent> extents;
  std::uint64_t directory_begin = 0;
  std::uint64_t directory_end = 0;
  std::uint64_t count = 0;

  [[nodiscard]] std::uint64_t number(std::uint64_t at, std::size_t bytes) const noexcept {
    std::uint64_t n = 0;
    for (std::size_t i = bytes; i-- > 0;)
      n = n << 8 | static_cast<std::uint64_t>(file[static_cast<std::size_t>(at) + i]);
    return n;
  }
  [[nodiscard]] std::uint16_t u16(std::uint64_t at) const noexcept {
    return static_cast<std::uint16_t>(number(at, 2));
  }
  [[nodiscard]] std::uint32_t u32(std::uint64_t at) const noexcept {
    return static_cast<std::uint32_t>(number(at, 4));
  }
  [[nodiscard]] std::uint64_t u64(std::uint64_t at) const noexcept { return number(at, 8); }
  [[nodiscard]] std::string_view chars(std::uint64_t at, std::size_t bytes) const noexcept {
    return {reinterpret_cast<const char*>(file.data()) + at, bytes};
  }

  [[nodiscard]] result<void> read() noexcept {
    OCELLUS_TRY(read_end());
    OCELLUS_TRY(read_directory());
    OCELLUS_TRY(check_overlap());
    return sort_entries();
  }

  /// Why the last 22 bytes are no end record: look for one further up, where junk or a comment may have pushed it.
  [[nodiscard]] error no_end() const noexcept {
    const std::size_t search = (std::min)(file.size(), end_bytes + longest_comment);
    for (std::size_t back = end_bytes + 1; back <= search; ++back) {
      if (u32(file.size() - back) == end_signature) {
        return error(error_code::zip_trailing, back - end_bytes, " bytes follow the end of the zip archive");
      }
    }
    return error(error_code::zip_end, "no zip end record: not a zip archive, or cut short");
  }

  /// The end record is the last thing in the file; behind the directory there is only it and, in 64-bit archives, its
  /// two companions.
  [[nodiscard]] result<void> read_end() noexcept {
    if (file.empty()) return error(error_code::empty_file, "the file is empty");
    if (file.size() < end_bytes) return error(error_code::zip_end, "the file is too short for a zip archive");
    const std::uint64_t end = file.size() - end_bytes;
    if (u32(end) != end_signature || u16(end + 20) != 0) return no_end();
    if (u16(end + 4) != 0 || u16(end + 6) != 0)
      return error(error_code::zip_multi_disk, "the zip archive names other disks");
    count = u16(end + 10);
    std::uint64_t size = u32(end + 12);
    std::uint64_t offset = u32(end + 16);
    directory_end = end;
    if (u16(end + 8) != count)
      return error(error_code::zip_count, "the zip end record gives two numbers of entries");
    if (end >= locator_bytes && u32(end - locator_bytes) == locator_signature) {
      OCELLUS_TRY(read_end64(end - locator_bytes, size, offset));
    }
    if (offset > directory_end || size > directory_end) {
      return error(error_code::zip_directory_range, "the zip directory, ", size, " bytes at ", offset,
                   ", lies outside the file");
    }
    if (size > directory_end - offset) {
      return error(error_code::zip_directory_range, "the zip directory is longer than the file");
    }
    if (offset + size != directory_end) {
      if (file.size() >= 4 && u32(0) == header_signature) {
        return error(error_code::zip_ambiguous, directory_end - offset - size,
                     " bytes stand between the zip directory and its end: more than one archive");
      }
      return error(error_code::zip_leading, directory_end - offset - size,
                   " bytes stand before the zip archive");
    }
    if (count == 0) return error(error_code::zip_end, "the zip archive is empty");
    directory_begin = offset;
    return {};
  }

  [[nodiscard]] result<void> read_end64(std::uint64_t locator, std::uint64_t& size,
                                        std::uint64_t& offset) noexcept {
    const std::uint64_t at = u64(locator + 8);
    if (u32(locator + 4) != 0 || u32(locator + 16) != 1) {
      return error(error_code::zip_multi_disk, "the zip archive names other disks");
    }
    if (locator < end64_bytes || at > locator - end64_bytes || u32(at) != end64_signature ||
        u64(at + 4) != locator - at - 12) {
      return error(error_code::zip64_range, "the zip locator points at ", at,
                   " where no 64-bit end record is");
    }
    if (u32(at + 16) != 0 || u32(at + 20) != 0) {
      return error(error_code::zip_multi_disk, "the zip archive names other disks");
    }
    const std::uint64_t count64 = u64(at + 32), size64 = u64(at + 40), offset64 = u64(at + 48);
    if (u64(at + 24) != count64 || (count != 0xffff && count != count64)) {
      return error(error_code::zip_count, "the two zip end records give different numbers of entries");
    }
    if ((size != 0xffffffff && size != size64) || (offset != 0xffffffff && offset != offset64)) {
      return error(error_code::zip_directory_range,
                   "the two zip end records place the directory differently");
    }
    count = count64;
    size = size64;
    offset = offset64;
    directory_end = at;
    return {};
  }

  [[nodiscard]] result<void> read_directory() noexcept {
    const std::uint64_t bytes = directory_end - directory_begin;
    if (count > bytes / directory_bytes) {
      return error(error_code::zip_count, "the zip directory is too short for ", count, " entries");
    }
    if (!archive.entries_.reserve(static_cast<std::size_t>(count)) ||
        !extents.reserve(static_cast<std::size_t>(count))) {
      return no_memory("a zip directory of ", count, " entries");
    }
    std::uint64_t at = directory_begin;
    for (std::uint64_t i = 0; i < count; ++i) OCELLUS_TRY(read_entry(at));
    if (at != directory_end)
      return error(error_code::zip_count, "the zip directory holds more than ", count, " entries");
    return {};
  }

  [[nodiscard]] result<void> read_entry(std::uint64_t& at) noexcept {
    if (directory_end - at < directory_bytes || u32(at) != directory_signature) {
      return error(error_code::zip_count, "the zip directory holds fewer than ", count, " entries");
    }
    const std::uint16_t flags = u16(at + 8);
    const std::uint16_t method = u16(at + 10);
    const std::uint32_t crc = u32(at + 16);
    std::uint64_t packed = u32(at + 20), size = u32(at + 24), header = u32(at + 42);
    const std::uint16_t name_bytes = u16(at + 28), extra_bytes = u16(at + 30), comment_bytes = u16(at + 32);
    const std::uint64_t all = directory_bytes + std::uint64_t{name_bytes} + extra_bytes + comment_bytes;
    if (all > directory_end - at)
      return error(error_code::zip_count, "the zip directory ends inside an entry");
    const std::string_view name = chars(at + directory_bytes, name_bytes);
    const auto fail = [name](error_code code, std::string_view what) noexcept {
      return error(code, "zip entry ", quoted{name}, " ", what);
    };
    OCELLUS_TRY(check_name(name));
    if (u16(at + 34) != 0) return fail(error_code::zip_multi_disk, "lies on another disk");
    if ((flags & encrypted_flags) != 0) return fail(error_code::zip_encrypted, "is encrypted");
    if (method == 8) return fail(error_code::zip_compressed, "is compressed");
    if (method != 0) return fail(error_code::zip_method, "is stored by an unknown method");
    bool large = false;
    if (!widen(at + directory_bytes + name_bytes, extra_bytes, size, packed, header, large)) {
      return fail(error_code::zip64_extra, "lacks its 64-bit sizes");
    }
    at += all;

    if (packed != size)
      return fail(error_code::zip_size_mismatch, "has two sizes though it is not compressed");
    if (header > directory_begin || directory_begin - header < header_bytes) {
      return fail(error_code::zip_header_range, "has its header outside the file");
    }
    if (u32(header) != header_signature) {
      for (const extent& other : extents) {  // once: this is the end
        if (header > other.begin && header < other.end) {
          return fail(error_code::zip_overlap, "begins inside another entry");
        }
      }
      return fail(error_code::zip_header, "does not start with a header");
    }
    const std::uint64_t begin = header + header_bytes + u16(header + 26) + u16(header + 28);
    if (begin > directory_begin || size > directory_begin - begin) {
      return fail(large ? error_code::zip64_range : error_code::zip_data_range,
                  "reaches beyond the archive's data");
    }
    OCELLUS_TRY(check_header(header, name, size, crc));
    const zip_entry entry{name, file.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size)),
                          crc};
    if (!archive.entries_.push_back(entry) || !extents.push_back({header, begin + size})) {
      return no_memory("a zip directory");
    }
    return {};
  }

  /// Puts the 64-bit values of the extra field where the 32-bit ones say that they stand there, in their fixed order.
  [[nodiscard]] bool widen(std::uint64_t extra, std::uint64_t bytes, std::uint64_t& size,
                           std::uint64_t& packed, std::uint64_t& header, bool& large) const noexcept {
    constexpr std::uint16_t sizes64 = 1;
    std::uint64_t at = extra, end = extra + bytes;
    bool found = false;
    while (end - at >= 4) {
      const std::uint16_t length = u16(at + 2);
      if (length > end - at - 4) return false;
      if (u16(at) == sizes64) {
        end = at + 4 + length;
        found = true;
        at += 4;
        break;
      }
      at += 4u + length;
    }
    for (std::uint64_t* value : {&size, &packed, &header}) {
      if (*value != 0xffffffff) continue;
      large = true;
      if (!found || end - at < 8) return false;
      *value = u64(at);
      at += 8;
    }
    return true;
  }

  /// An entry's own header agrees with the directory; sizes and checksum may be left to a record behind the bytes.
  [[nodiscard]] result<void> check_header(std::uint64_t at, std::string_view name, std::uint64_t size,
                                          std::uint32_t crc) const noexcept {
    const auto fail = [name](error_code code, std::string_view what) noexcept {
      return error(code, "zip entry ", quoted{name}, " ", what);
    };
    if (u16(at + 26) != name.size() || chars(at + header_bytes, name.size()) != name) {
      return fail(error_code::zip_name_mismatch, "has another name in its header");
    }
    const std::uint16_t flags = u16(at + 6);
    if ((flags & encrypted_flags) != 0) return fail(error_code::zip_encrypted, "is encrypted");
    if (u16(at + 8) != 0) return fail(error_code::zip_compressed, "is compressed according to its header");
    if ((flags & sizes_follow_flag) != 0) return {};
    for (std::uint64_t field : {at + 18, at + 22}) {
      if (u32(field) != 0xffffffff && u32(field) != size) {
        return fail(error_code::zip_size_mismatch, "has another size in its header");
      }
    }
    if (u32(at + 14) != crc) return fail(error_code::zip_crc, "has another checksum in its header");
    return {};
  }

  /// "folder/part/part": no empty part, no "." or "..", no backslash, drive or control byte; one folder for all.
  [[nodiscard]] result<void> check_name(std::string_view name) noexcept {
    const auto fail = [name](std::string_view what) noexcept {
      return error(error_code::zip_layout, "zip entry ", quoted{name}, " ", what);
    };
    if (!is_utf8(name))
      return error(error_code::utf8, "zip entry ", quoted{name}, " has a name that is not UTF-8");
    for (char c : name) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte == 0x7f || c == '\\' || c == ':')
        return fail("has a forbidden character in its name");
    }
    std::size_t parts = 0;
    for (std::size_t begin = 0; begin <= name.size(); ++parts) {
      const std::size_t slash = (std::min)(name.find('/', begin), name.size());
      const std::string_view part = std::string_view(name.data() + begin, slash - begin);
      if (part.empty() || part == "." || part == "..") return fail("is not a plain path");
      if (parts == 0) {
        if (archive.folder_.empty()) archive.folder_ = part;
        if (part != archive.folder_) return fail("is not in the folder of the others");
      }
      begin = slash + 1;
    }
    if (parts < 2) return fail("is in no folder");
    return {};
  }

  [[nodiscard]] result<void> check_overlap() noexcept {
    std::sort(extents.begin(), extents.end(),
              [](const extent& a, const extent& b) noexcept { return a.begin < b.begin; });
    for (std::size_t i = 1; i < extents.size(); ++i) {
      if (extents[i].begin < extents[i - 1].end) {
        return error(error_code::zip_overlap, "two zip entries share the bytes at ", extents[i].begin);
      }
    }
    return {};
  }

  [[nodiscard]] result<void> sort_entries() noexcept {
    array<zip_entry>& entries = archive.entries_;
    std::sort(entries.begin(), entries.end(),
              [](const zip_entry& a, const zip_entry& b) noexcept { return a.name < b.name; });
    for (std::size_t i = 1; i < entries.size(); ++i) {
      if (entries[i].name == entries[i - 1].name) {
        return error(error_code::zip_duplicate, "two zip entries are named ", quoted{entries[i].name});
      }
    }
    return {};
  }
};

result<zip_archive> zip_archive::open(std::span<const std::byte> file, const memory_hooks& memory) noexcept {
  zip_archive archive;
  archive.entries_ = array<zip_entry>(memory);
  zip_reader reader{file, archive, array<zip_reader::extent>(memory)};
  OCELLUS_TRY(reader.read());
  return archive;
}

const zip_entry* zip_archive::find(std::string_view name) const noexcept {
  // Names are compared as if the folder stood before `name`; all share it, so the order by the rest is the same.
  const auto rest = [skip = folder_.size() + 1](const zip_entry& e) noexcept {
    return std::string_view(e.name.data() + skip, e.name.size() - skip);
  };
  const zip_entry* first = std::lower_bound(
      entries_.begin(), entries_.end(), name,
      [rest](const zip_entry& e, std::string_view wanted) noexcept { return rest(e) < wanted; });
  return first != entries_.end() && rest(*first) == name ? first : nullptr;
}

result<void> zip_archive::verify(const zip_entry& entry) noexcept {
  if (crc32(entry.bytes) == entry.crc) return {};
  return error(error_code::zip_crc, "the bytes of zip entry ", quoted{entry.name},
               " do not match their checksum");
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_ZIP_IPP
