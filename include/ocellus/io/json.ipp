// Building the flat form of a JSON text, and looking things up in it.
#ifndef OCELLUS_IO_JSON_IPP
#define OCELLUS_IO_JSON_IPP

#include "ocellus/io/json.hpp"

#include <algorithm>
#include <charconv>

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

// The number that all of `from` spells, if from_chars finds one that fits.
template <class Number>
std::optional<Number> json_number(std::string_view from) noexcept {
  Number number{};
  const auto [end, problem] = std::from_chars(from.data(), from.data() + from.size(), number);
  if (problem != std::errc() || end != from.data() + from.size() || from.empty()) return std::nullopt;
  return number;
}

}  // namespace detail

std::string_view name_of(json_kind kind) noexcept {
  switch (kind) {
    case json_kind::missing:
      return "nothing";
    case json_kind::null:
      return "null";
    case json_kind::boolean:
      return "a boolean";
    case json_kind::number:
      return "a number";
    case json_kind::string:
      return "a string";
    case json_kind::array:
      return "an array";
    case json_kind::object:
      return "an object";
  }
  return "nothing";
}

result<json> json::parse(std::string_view source, const memory_hooks& memory,
                         const json_limits& limits) noexcept {
  json made;
  made.nodes_ = array<detail::json_node>(memory);
  made.order_ = array<std::uint32_t>(memory);
  json_limits bounded = limits;
  bounded.bytes = (std::min)(limits.bytes, static_cast<std::size_t>(UINT32_MAX));
  bounded.nodes = (std::min)(limits.nodes, UINT32_MAX - 1);
  if (source.size() <= bounded.bytes) {  // else the reader says so
    OCELLUS_ASSIGN(made.text_, copy_text(source, memory));
  } else {
    return error(error_code::json_limit, "the JSON text has ", source.size(), " bytes, more than ",
                 bounded.bytes);
  }
  OCELLUS_TRY(made.build(bounded));
  return made;
}

// One pass: a node for every value and key. An open container's `next` holds its parent, its `length` counts.
result<void> json::build(const json_limits& limits) noexcept {
  using kind = json_event::kind;
  constexpr std::uint32_t none = UINT32_MAX;
  json_reader reader(text_.view(), limits);
  std::uint32_t parent = none;
  for (;;) {
    OCELLUS_ASSIGN(const json_event event, reader.next());
    if (event.what == kind::end) return {};
    if (event.what == kind::end_object || event.what == kind::end_array) {
      const std::uint32_t closed = parent;
      parent = nodes_[closed].next;
      nodes_[closed].next = static_cast<std::uint32_t>(nodes_.size());
      if (event.what == kind::end_object) OCELLUS_TRY(sort_members(closed));
      continue;
    }
    if (nodes_.size() == limits.nodes) {
      return error(error_code::json_limit, "the JSON text has more than ", limits.nodes, " values and keys");
    }
    const auto index = static_cast<std::uint32_t>(nodes_.size());
    detail::json_node node{0, 0, index + 1, json_kind::null};
    switch (event.what) {
      case kind::begin_object:
      case kind::begin_array:
        node.kind = event.what == kind::begin_object ? json_kind::object : json_kind::array;
        node.next = parent;
        break;
      case kind::key:
      case kind::string:
      case kind::number: {
        node.kind = event.what == kind::number ? json_kind::number : json_kind::string;
        const auto begin = static_cast<std::size_t>(event.text.data() - text_.data());
        node.begin = static_cast<std::uint32_t>(begin);
        node.length = static_cast<std::uint32_t>(event.text.size());
        // The reader is past these bytes already, so they may change under it.
        if (event.escaped) {
          node.length = static_cast<std::uint32_t>(unescape_json(event.text, text_.data() + begin));
        }
        break;
      }
      case kind::true_value:
      case kind::false_value:
        node.kind = json_kind::boolean;
        node.length = event.what == kind::true_value ? 1 : 0;
        break;
      default:
        break;
    }
    if (event.what != kind::key && parent != none) ++nodes_[parent].length;
    if (!nodes_.push_back(node)) return no_memory("the values of a JSON text");
    if (event.what == kind::begin_object || event.what == kind::begin_array) parent = index;
  }
}

result<void> json::sort_members(std::uint32_t object) noexcept {
  detail::json_node& node = nodes_[object];
  const std::size_t first = order_.size();
  node.begin = static_cast<std::uint32_t>(first);
  for (std::uint32_t key = object + 1; key != node.next; key = nodes_[key + 1].next) {
    if (!order_.push_back(key)) return no_memory("the members of a JSON object");
  }
  const auto key_text = [this](std::uint32_t key) noexcept {
    return std::string_view(text_.data() + nodes_[key].begin, nodes_[key].length);
  };
  std::sort(order_.begin() + first, order_.end(),
            [&](std::uint32_t a, std::uint32_t b) noexcept { return key_text(a) < key_text(b); });
  for (std::size_t i = first + 1; i < order_.size(); ++i) {
    if (key_text(order_[i - 1]) == key_text(order_[i])) {
      return error(error_code::duplicate_key, "the key ", quoted{key_text(order_[i])},
                   " stands twice in one JSON object");
    }
  }
  return {};
}

json::value json::root() const noexcept { return nodes_.empty() ? value() : value(tape(), 0); }

json::value json::value::find(std::string_view key) const noexcept {
  if (!is_object()) return {};
  const std::uint32_t* first = tape_.order + node().begin;
  const std::uint32_t* last = first + node().length;
  const std::uint32_t* found = std::lower_bound(
      first, last, key,
      [this](std::uint32_t index, std::string_view wanted) { return node_text(index) < wanted; });
  if (found == last || node_text(*found) != key) return {};
  return {tape_, *found + 1};
}

json::value json::value::at(std::size_t i) const noexcept {
  if (!is_array() || i >= node().length) return {};
  std::uint32_t index = index_ + 1;
  for (; i > 0; --i) index = tape_.nodes[index].next;
  return {tape_, index};
}

json::range<json::member> json::value::members() const noexcept {
  if (!is_object()) return {};
  return {tape_, index_ + 1, node().next};
}

json::range<json::value> json::value::elements() const noexcept {
  if (!is_array()) return {};
  return {tape_, index_ + 1, node().next};
}

std::optional<std::string_view> json::value::as_string_view() const noexcept {
  if (kind() != json_kind::string) return std::nullopt;
  return node_text(index_);
}

std::optional<bool> json::value::as_bool() const noexcept {
  if (kind() != json_kind::boolean) return std::nullopt;
  return node().length != 0;
}

std::optional<std::uint64_t> json::value::as_uint64() const noexcept {
  return detail::json_number<std::uint64_t>(number_text());
}

std::optional<std::int64_t> json::value::as_int64() const noexcept {
  return detail::json_number<std::int64_t>(number_text());
}

std::optional<double> json::value::as_double() const noexcept {
  return detail::json_number<double>(number_text());
}

std::string_view json::value::number_text() const noexcept {
  return kind() == json_kind::number ? node_text(index_) : std::string_view();
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_JSON_IPP
