// The structure of a JPEG file (ITU-T T.81, annex B): every marker is visited up to EOI, no scan is decoded.
#ifndef OCELLUS_IMAGE_JPEG_HEADER_IPP
#define OCELLUS_IMAGE_JPEG_HEADER_IPP

#include <algorithm>

#include "ocellus/image/exif.ipp"
#include "ocellus/image/view.ipp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

/// Scans over a picture, times its pixels: beyond this a progressive file is an attack on time, not a photo
/// (encoders make about ten scans; 50 megapixels may have 20).
inline constexpr std::uint64_t max_jpeg_scan_work = 1'000'000'000;
inline constexpr std::uint32_t max_jpeg_scans = 200;

/// Walks over the markers of one file.
class jpeg_walk {
 public:
  jpeg_walk(std::span<const std::byte> file, const decode_options& options) noexcept
      : in_{file}, options_(options) {
    info_.type = image_file_type::jpeg;
  }

  result<image_info> run(image_file_patch& patch) noexcept;

 private:
  struct component {
    std::uint32_t id, table;
  };

  result<void> frame(std::uint32_t marker, std::size_t at, std::size_t length) noexcept;
  result<void> huffman_tables(std::size_t at, std::size_t length) noexcept;
  result<void> quantization_tables(std::size_t at, std::size_t length) noexcept;
  result<void> scan(std::size_t at, std::size_t length) noexcept;
  [[nodiscard]] bool next_marker(std::uint32_t& marker) noexcept;
  void skip_scan_data() noexcept;

  picture_bytes in_;
  const decode_options& options_;
  image_info info_;
  std::size_t at_ = 2;  // after SOI
  bool framed_ = false, adobe_ = false;
  std::uint32_t scans_ = 0;
  component components_[4] = {};
  std::uint32_t tables_ = 0;           // quantization tables defined so far, a bit each
  std::uint32_t huffman_[2] = {0, 0};  // DC and AC tables, a bit each
};

/// Leaves at_ behind the marker. Stray bytes before it are skipped, as all decoders do.
bool jpeg_walk::next_marker(std::uint32_t& marker) noexcept {
  while (at_ < in_.size()) {
    const void* found = std::memchr(in_.bytes.data() + at_, 0xff, in_.size() - at_);
    if (found == nullptr) break;
    at_ = static_cast<std::size_t>(static_cast<const std::byte*>(found) - in_.bytes.data());
    while (at_ < in_.size() && in_.u8(at_) == 0xff) ++at_;
    if (at_ < in_.size() && in_.u8(at_) != 0) {
      marker = in_.u8(at_++);
      return true;
    }
  }
  at_ = in_.size();
  return false;
}

/// Leaves at_ before the marker that ends the entropy-coded data.
void jpeg_walk::skip_scan_data() noexcept {
  std::uint32_t marker = 0;
  while (next_marker(marker)) {
    if (marker < 0xd0 || marker > 0xd7) {  // not a restart
      at_ -= 2;
      return;
    }
  }
}

result<void> jpeg_walk::frame(std::uint32_t marker, std::size_t at, std::size_t length) noexcept {
  if (framed_) return error(error_code::image_corrupt, "JPEG: two frames (SOF) in one picture");
  if (marker != 0xc0 && marker != 0xc1 && marker != 0xc2) {
    return error(error_code::image_unsupported, "JPEG: SOF", marker - 0xc0,
                 " (lossless, hierarchical or arithmetic coding)");
  }
  if (length < 6) return error(error_code::image_corrupt, "JPEG: SOF has ", length, " bytes");
  const std::uint32_t precision = in_.u8(at), count = in_.u8(at + 5);
  info_.height = in_.u16(at + 1);
  info_.width = in_.u16(at + 3);
  info_.progressive = marker == 0xc2;
  if (precision != 8) return error(error_code::image_unsupported, "JPEG: ", precision, " bits a component");
  if (count != 1 && count != 3 && count != 4) {
    return error(error_code::image_unsupported, "JPEG: ", count, " components");
  }
  if (length != 6 + 3 * count) {
    return error(error_code::image_corrupt, "JPEG: SOF of ", count, " components has ", length, " bytes");
  }
  if (info_.height == 0 && info_.width != 0) {
    return error(error_code::image_unsupported, "JPEG: the height is not in the header (DNL)");
  }
  OCELLUS_TRY(check_image_size(info_.width, info_.height, options_.max_axis, options_.max_area));
  std::uint32_t across[4] = {}, down[4] = {}, most_across = 1, most_down = 1;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::size_t entry = at + 6 + 3 * i;
    components_[i] = {in_.u8(entry), in_.u8(entry + 2)};
    across[i] = in_.u8(entry + 1) >> 4;
    down[i] = in_.u8(entry + 1) & 15;
    if (across[i] < 1 || across[i] > 4 || down[i] < 1 || down[i] > 4 || components_[i].table > 3) {
      return error(error_code::image_corrupt, "JPEG: component ", i, " is sampled ", across[i], " x ",
                   down[i], " with table ", components_[i].table);
    }
    for (std::uint32_t j = 0; j < i; ++j) {
      if (components_[j].id == components_[i].id) {
        return error(error_code::image_corrupt, "JPEG: two components have the id ", components_[i].id);
      }
    }
    most_across = (std::max)(most_across, across[i]);
    most_down = (std::max)(most_down, down[i]);
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    if (most_across % across[i] != 0 || most_down % down[i] != 0) {
      return error(error_code::image_unsupported, "JPEG: component ", i, " is sampled at a fractional ratio");
    }
  }
  info_.components = static_cast<std::uint8_t>(count);
  framed_ = true;
  return {};
}

result<void> jpeg_walk::huffman_tables(std::size_t at, std::size_t length) noexcept {
  const std::size_t end = at + length;
  while (at < end) {
    const std::uint32_t kind = in_.u8(at) >> 4, id = in_.u8(at) & 15;
    if (kind > 1 || id > 3 || end - at < 17) {
      return error(error_code::image_corrupt, "JPEG: bad Huffman table at byte ", at);
    }
    std::uint32_t symbols = 0, room = 1;  // room: free codes at this length
    for (std::size_t bits = 1; bits <= 16; ++bits) {
      const std::uint32_t codes = in_.u8(at + bits);
      room *= 2;
      symbols += codes;
      if (codes > room || symbols > 256) {
        return error(error_code::image_corrupt, "JPEG: over-full Huffman table at byte ", at);
      }
      room -= codes;
    }
    at += 17;
    if (symbols > end - at) return error(error_code::image_corrupt, "JPEG: cut Huffman table at byte ", at);
    at += symbols;
    huffman_[kind] |= 1u << id;
  }
  return {};
}

result<void> jpeg_walk::quantization_tables(std::size_t at, std::size_t length) noexcept {
  const std::size_t end = at + length;
  while (at < end) {
    const std::uint32_t wide = in_.u8(at) >> 4, id = in_.u8(at) & 15;
    const std::size_t bytes = 1 + 64 * std::size_t{wide + 1};
    if (wide > 1 || id > 3 || bytes > end - at) {
      return error(error_code::image_corrupt, "JPEG: bad quantization table at byte ", at);
    }
    at += bytes;
    tables_ |= 1u << id;
  }
  return {};
}

result<void> jpeg_walk::scan(std::size_t at, std::size_t length) noexcept {
  if (!framed_) return error(error_code::image_corrupt, "JPEG: pixels (SOS) before their frame (SOF)");
  const std::uint32_t count = in_.u8(at);
  if (count < 1 || count > 4 || length != 4 + 2 * count) {
    return error(error_code::image_corrupt, "JPEG: a scan of ", count, " components in ", length, " bytes");
  }
  const std::uint32_t first = in_.u8(at + 1 + 2 * count), last = in_.u8(at + 2 + 2 * count);
  const std::uint32_t refines = in_.u8(at + 3 + 2 * count) >> 4;
  const bool reads_dc = !info_.progressive || (first == 0 && refines == 0);
  const bool reads_ac = !info_.progressive || first != 0;
  if (info_.progressive && (first > last || last > 63)) {
    return error(error_code::image_corrupt, "JPEG: a scan of coefficients ", first, " to ", last);
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t id = in_.u8(at + 1 + 2 * i), coding = in_.u8(at + 2 + 2 * i);
    const component* named = nullptr;
    for (std::uint32_t c = 0; c < info_.components; ++c) {
      if (components_[c].id == id) named = &components_[c];
    }
    if (named == nullptr)
      return error(error_code::image_corrupt, "JPEG: a scan of component ", id, ", which is not there");
    if ((tables_ >> named->table & 1) == 0) {
      return error(error_code::image_corrupt, "JPEG: quantization table ", named->table, " is missing");
    }
    const std::uint32_t dc = coding >> 4, ac = coding & 15;
    if (dc > 3 || ac > 3)
      return error(error_code::image_corrupt, "JPEG: a scan with Huffman tables ", dc, ", ", ac);
    if ((reads_dc && (huffman_[0] >> dc & 1) == 0) || (reads_ac && (huffman_[1] >> ac & 1) == 0)) {
      return error(error_code::image_unsupported, "JPEG: a Huffman table is missing (frame of a video?)");
    }
  }
  ++scans_;
  if (scans_ > max_jpeg_scans || std::uint64_t{scans_} * info_.width * info_.height > max_jpeg_scan_work) {
    return error(error_code::image_too_large, "JPEG: more than ", scans_ - 1, " scans of ", info_.width,
                 " x ", info_.height, " pixels");
  }
  return {};
}

result<image_info> jpeg_walk::run(image_file_patch& patch) noexcept {
  std::uint32_t marker = 0;
  while (next_marker(marker)) {
    if (marker == 0xd9) {  // EOI
      if (scans_ == 0) return error(error_code::image_corrupt, "JPEG: no pixels (no SOS marker)");
      // Pillow reads four components without Adobe's marker as CMYK, the decoder only with it.
      if (info_.components == 4 && !adobe_) patch = {2, 0, image_file_patch::kind::adobe_marker};
      return info_;
    }
    if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue;  // TEM, stray restarts: no length
    if (marker < 0xc0 || marker == 0xd8) {
      return error(error_code::image_corrupt, "JPEG: marker ", marker, " at byte ", at_ - 1);
    }
    const std::size_t length = in_.u16(at_);
    if (in_.size() - at_ < 2 || in_.size() - at_ < length) break;
    if (length < 2)
      return error(error_code::image_corrupt, "JPEG: a segment of ", length, " bytes at byte ", at_);
    const std::size_t payload = at_ + 2, bytes = length - 2;
    at_ += length;
    const std::string_view tag(reinterpret_cast<const char*>(in_.bytes.data()) + payload,
                               (std::min)(bytes, std::size_t{6}));
    if (marker == 0xc4) {
      OCELLUS_TRY(huffman_tables(payload, bytes));
    } else if (marker == 0xdb) {
      OCELLUS_TRY(quantization_tables(payload, bytes));
    } else if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc8 && marker != 0xcc) {
      OCELLUS_TRY(frame(marker, payload, bytes));
    } else if (marker == 0xe1 && tag.starts_with(std::string_view("Exif\0\0", 6))) {
      info_.orientation = read_exif_orientation(in_.bytes.subspan(payload + 6, bytes - 6));
    } else if (marker == 0xee && tag.starts_with("Adobe") && bytes >= 12) {
      adobe_ = true;
    } else if (marker == 0xda) {
      OCELLUS_TRY(scan(payload, bytes));
      skip_scan_data();
    }
  }
  return error(error_code::image_truncated, "JPEG: the file ends at byte ", in_.size(),
               " before its picture does");
}

result<image_info> read_jpeg_header(std::span<const std::byte> file, const decode_options& options,
                                    image_file_patch& patch) noexcept {
  return jpeg_walk(file, options).run(patch);
}

}  // namespace detail

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IMAGE_JPEG_HEADER_IPP
