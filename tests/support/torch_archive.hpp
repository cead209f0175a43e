// Checkpoints made in memory for tests: zip archives and pickles as torch.save writes them, and wrong ones.
#ifndef OCELLUS_TESTS_SUPPORT_TORCH_ARCHIVE_HPP
#define OCELLUS_TESTS_SUPPORT_TORCH_ARCHIVE_HPP

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ocellus_tests {

/// A number of so many bytes, little-endian.
inline std::string little(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 255);
  return out;
}

inline std::uint32_t slow_crc32(const std::string& bytes) {
  std::uint32_t crc = 0xffffffff;
  for (char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1)));
  }
  return ~crc;
}

/// One entry of an archive. What stands in the header and what in the directory can differ.
struct zip_member {
  std::string name;
  std::string data;
  std::string directory_name = name;
  std::uint32_t signature = 0x04034b50;
  std::uint16_t flags = 0x0800;
  std::uint16_t header_flags = 0x0808;  // sizes and checksum follow the data, as torch writes it
  std::uint16_t method = 0;
  std::uint32_t crc = slow_crc32(data);
  std::uint32_t header_crc = 0;
  std::uint64_t size = data.size();
  std::uint64_t packed_size = data.size();
  std::uint64_t header_size = 0;
  std::uint64_t moved = 0;  // what the directory's offset is wrong by
  std::string directory_extra = {};
};

struct zip_end {
  std::uint64_t count, size, offset;
  std::uint16_t disk = 0, comment = 0;
  bool with_64 = true;
  std::uint64_t locator_offset = 0;  // what the locator's offset is wrong by
};

/// An archive with data at multiples of 64. `edit` may falsify the end records.
inline std::string make_zip(
    const std::vector<zip_member>& members, const std::function<void(zip_end&)>& edit = [](zip_end&) {}) {
  std::string out, directory;
  for (const zip_member& m : members) {
    const std::size_t begin = out.size();
    const std::size_t pad = (64 - (begin + 30 + m.name.size() + 4) % 64) % 64;
    out += little(m.signature, 4) + little(0, 2) + little(m.header_flags, 2) + little(m.method, 2) +
           little(0, 4) + little(m.header_crc, 4) + little(m.header_size, 4) + little(m.header_size, 4) +
           little(m.name.size(), 2) + little(pad + 4, 2) + m.name + "FB" + little(pad, 2) +
           std::string(pad, 'Z') + m.data;
    directory += little(0x02014b50, 4) + little(0, 4) + little(m.flags, 2) + little(m.method, 2) +
                 little(0, 4) + little(m.crc, 4) + little(m.packed_size, 4) + little(m.size, 4) +
                 little(m.directory_name.size(), 2) + little(m.directory_extra.size(), 2) + little(0, 2) +
                 little(0, 2) + little(0, 2) + little(0, 4) + little(begin + m.moved, 4) + m.directory_name +
                 m.directory_extra;
  }
  zip_end end{members.size(), directory.size(), out.size()};
  edit(end);
  out += directory;
  if (end.with_64) {
    const std::size_t at = out.size();
    out += little(0x06064b50, 4) + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 4) +
           little(0, 4) + little(end.count, 8) + little(end.count, 8) + little(end.size, 8) +
           little(end.offset, 8);
    out += little(0x07064b50, 4) + little(0, 4) + little(at + end.locator_offset, 8) + little(1, 4);
  }
  out += little(0x06054b50, 4) + little(end.disk, 2) + little(end.disk, 2) + little(end.count, 2) +
         little(end.count, 2) + little(end.size, 4) + little(end.offset, 4) + little(end.comment, 2);
  return out;
}

// Pieces of pickles.

inline std::string py_string(const std::string& s) { return "X" + little(s.size(), 4) + s; }
inline std::string py_int(std::int64_t n) { return "\x8a\x08" + little(static_cast<std::uint64_t>(n), 8); }
inline std::string py_global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string py_tuple(const std::vector<std::string>& parts) {
  std::string out = "(";
  for (const std::string& part : parts) out += part;
  return out + "t";
}
inline std::string py_ints(const std::vector<std::int64_t>& numbers) {
  std::vector<std::string> parts;
  for (std::int64_t n : numbers) parts.push_back(py_int(n));
  return py_tuple(parts);
}
/// Begins with the protocol and ends with the stop.
inline std::string py_program(const std::string& body) { return std::string("\x80\x02", 2) + body + "."; }
inline std::string py_dict(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string out = "}(";
  for (const auto& [key, value] : members) out += py_string(key) + value;
  return out + "u";
}
inline const std::string py_no_hooks = "ccollections\nOrderedDict\n)R";

inline std::string py_storage(const std::string& key, std::int64_t count,
                              const std::string& type = "FloatStorage", const std::string& module = "torch") {
  return py_tuple({py_string("storage"), py_global(module, type), py_string(key), py_string("cpu"),
                   py_int(count)}) +
         "Q";
}
inline std::string py_tensor(const std::string& storage, std::int64_t offset,
                             const std::vector<std::int64_t>& dims,
                             const std::vector<std::int64_t>& strides) {
  return py_global("torch._utils", "_rebuild_tensor_v2") +
         py_tuple({storage, py_int(offset), py_ints(dims), py_ints(strides), "\x89", py_no_hooks}) + "R";
}

/// The entries of a checkpoint: its program and its storages.
inline std::vector<zip_member> torch_members(const std::string& program,
                                             const std::vector<std::string>& storages) {
  std::vector<zip_member> members{{"archive/data.pkl", program}, {"archive/byteorder", "little"}};
  for (std::size_t i = 0; i < storages.size(); ++i)
    members.push_back({"archive/data/" + std::to_string(i), storages[i]});
  members.push_back({"archive/version", "3\n"});
  return members;
}
inline std::string make_torch_file(const std::string& program, const std::vector<std::string>& storages) {
  return make_zip(torch_members(program, storages));
}

/// A weight of a checkpoint to be made.
struct torch_weight {
  std::string name;
  std::vector<std::int64_t> dims;
  std::vector<float> values;
};

inline std::string floats(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// A checkpoint of f32 tensors, inside {"model": ...} if asked for.
inline std::string make_checkpoint(const std::vector<torch_weight>& weights, bool inside_model = false) {
  std::vector<std::pair<std::string, std::string>> members;
  std::vector<std::string> storages;
  for (const torch_weight& w : weights) {
    std::vector<std::int64_t> strides(w.dims.size(), 1);
    for (std::size_t i = w.dims.size(); i-- > 1;) strides[i - 1] = strides[i] * w.dims[i];
    const std::string key = std::to_string(storages.size());
    members.emplace_back(
        w.name, py_tensor(py_storage(key, static_cast<std::int64_t>(w.values.size())), 0, w.dims, strides));
    storages.push_back(floats(w.values));
  }
  const std::string dict = py_dict(members);
  return make_torch_file(py_program(inside_model ? py_dict({{"model", dict}, {"epoch", py_int(3)}}) : dict),
                         storages);
}

/// The bytes in a heap block of exactly their size, so that sanitizers see a read beyond it.
class exact_bytes {
 public:
  explicit exact_bytes(const std::string& from) : bytes_(new std::byte[from.size()]), size_(from.size()) {
    if (!from.empty()) std::memcpy(bytes_.get(), from.data(), from.size());
  }
  std::span<const std::byte> span() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_;
};

}  // namespace ocellus_tests

#endif  // OCELLUS_TESTS_SUPPORT_TORCH_ARCHIVE_HPP
