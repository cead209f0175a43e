#include "inspect_table.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "console.hpp"

namespace ocellus_cli {
namespace {

/// A name around the first part that is a number, without zeros before it: "blocks.", "12", ".norm1.weight".
struct layer_name {
  std::string before, number, after;

  explicit layer_name(std::string_view name) : before(name) {
    for (std::size_t begin = 0; begin < name.size();) {
      const std::size_t end = (std::min)(name.find('.', begin), name.size());
      const std::string_view part = name.substr(begin, end - begin);
      constexpr std::size_t longest = 9;  // fits an unsigned int
      if (!part.empty() && part.size() <= longest && (part[0] != '0' || part.size() == 1) &&
          part.find_first_not_of("0123456789") == std::string_view::npos) {
        before = name.substr(0, begin);
        number = part;
        after = name.substr(end);
        return;
      }
      begin = end + 1;
    }
  }
  std::string with(const std::string& other) const {
    return number.empty() ? before : before + other + after;
  }
};

/// "0-38", "0, 2, 4-6" of ascending numbers.
std::string ranges_text(const std::vector<unsigned>& numbers) {
  std::string out;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    out += (out.empty() ? "" : ",") + std::to_string(numbers[i]);
    if (last != i) out += "-" + std::to_string(numbers[last]);
    i = last + 1;
  }
  return out;
}

/// "[1408, 6144]"
std::string dims_text(const ocellus::shape& dims) {
  std::string out;
  for (const std::uint64_t d : dims.dims()) out += (out.empty() ? "" : ", ") + std::to_string(d);
  return "[" + out + "]";
}

std::string use_text(const ocellus::inspected_tensor& t, const std::string& target, ocellus::file_kind kind) {
  switch (t.use) {
    case ocellus::tensor_use::unknown:
      return kind == ocellus::file_kind::other ? "" : "UNKNOWN";
    case ocellus::tensor_use::weight:
      return kind == ocellus::file_kind::model ? "" : target;
    case ocellus::tensor_use::lora:
      return "LoRA of " + target;
    case ocellus::tensor_use::scales:
      return "scales of " + target;
    case ocellus::tensor_use::tokenizer:
      return "tokenizer";
    case ocellus::tensor_use::surplus:
      return "not used: " + std::string(t.surplus);
  }
  return "";
}

/// Tensors that differ in the layer alone.
struct row {
  layer_name name;
  std::vector<unsigned> layers;
  std::string type, dims, use;
  std::uint64_t bytes = 0;
  std::size_t count = 0;

  std::string title() const {
    const std::string numbers = count == 1 ? name.number : ranges_text(layers);
    return printable(name.with(numbers));
  }
};

std::vector<row> rows_of(const ocellus::file_description& file, bool every) {
  std::vector<row> rows;
  std::map<std::string, std::size_t> known;  // what makes a row: its index
  for (const ocellus::inspected_tensor& t : file.tensors()) {
    const bool packed = !t.format.empty();
    row one{layer_name(t.name),
            {},
            packed ? printable(t.format) + " packed" : std::string(name_of(t.type)),
            dims_text(t.dims),
            use_text(t, every ? std::string(t.target) : layer_name(t.target).with("#"), file.kind)};
    std::size_t at = rows.size();
    if (!every && !one.name.number.empty()) {
      const std::string key = one.name.with("#") + "\n" + one.type + "\n" + one.dims + "\n" + one.use;
      at = known.emplace(key, at).first->second;
    }
    if (at == rows.size()) rows.push_back(one);
    row& to = rows[at];
    if (!one.name.number.empty()) to.layers.push_back(static_cast<unsigned>(std::stoul(one.name.number)));
    to.bytes += t.bytes;
    ++to.count;
    // A row of one tensor tells of its own layer.
    if (to.count == 1) to.use = use_text(t, std::string(t.target), file.kind);
    if (to.count == 2) to.use = one.use;
  }
  return rows;
}

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

}  // namespace

void print_tensor_table(const ocellus::file_description& file, bool every) {
  struct column {
    std::string header;
    std::size_t width = header.size();
    void fit(const std::string& text) { width = (std::max)(width, text.size()); }
  };
  const std::vector<row> rows = rows_of(file, every);
  column names{"tensor"}, types{"type"}, shapes{"shape"}, sizes{"size"};
  bool uses = false;
  for (const row& r : rows) {
    names.fit(r.title());
    types.fit(r.type);
    shapes.fit(r.dims);
    sizes.fit(bytes_text(r.bytes));
    uses = uses || !r.use.empty();
  }
  const auto print = [&](const std::string& name, const std::string& type, const std::string& dims,
                         const std::string& size, const std::string& use) {
    std::string text = padded(name, names.width) + "  " + padded(type, types.width) + "  " +
                       padded(dims, shapes.width) + "  " +
                       std::string(sizes.width - (std::min)(sizes.width, size.size()), ' ') + size;
    if (uses && !use.empty()) text += "  " + use;
    say(text + "\n");
  };
  print(names.header, types.header, shapes.header, sizes.header, "used for");
  for (const row& r : rows) print(r.title(), r.type, r.dims, bytes_text(r.bytes), r.use);
}

}  // namespace ocellus_cli
