// What the pickle machine builds: tuples, lists, dictionaries, references to storages, tensors.
#ifndef OCELLUS_IO_PICKLE_BUILDER_IPP
#define OCELLUS_IO_PICKLE_BUILDER_IPP

#include <algorithm>

#include "ocellus/io/pickle.hpp"
#include "ocellus/io/pickle_globals.hpp"
#include "ocellus/io/utf8.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// The machine's state and what can be built with it.
struct pickle_builder {
  using kind = pickle_kind;
  using global = detail::pickle_global;

  std::span<const std::byte> source;
  pickle& out;
  array<pickle_value> stack;
  array<pickle_value> memo;
  std::size_t at = 0;            // the next byte
  std::size_t operation_at = 0;  // the operation that runs
  std::string_view unknown;      // the first name of code that is not known

  // -- reading

  template <class... Parts>
  [[nodiscard]] error fail(error_code code, const Parts&... what) const noexcept {
    return error(code, "pickle, byte ", operation_at, ": ", what...);
  }
  [[nodiscard]] error underflow() const noexcept {
    return fail(error_code::pickle_underflow, "a value is missing");
  }
  [[nodiscard]] error wrong(std::string_view expected, const pickle_value& got) const noexcept {
    return fail(error_code::pickle_type, "expected ", expected, ", found ", name_of(got.kind));
  }
  [[nodiscard]] error unknown_global() const noexcept {
    return fail(error_code::pickle_global, "not a name that a checkpoint needs: ", quoted{unknown});
  }
  [[nodiscard]] error full(std::string_view what) const noexcept {
    return fail(error_code::pickle_limit, "too many ", what);
  }

  /// A little-endian number; the bytes must be there.
  [[nodiscard]] result<std::uint64_t> number(std::size_t bytes) noexcept {
    if (bytes > source.size() - at)
      return fail(error_code::pickle_truncated, "the pickle ends inside a number");
    std::uint64_t n = 0;
    for (std::size_t i = bytes; i-- > 0;) n = n << 8 | static_cast<std::uint64_t>(source[at + i]);
    at += bytes;
    return n;
  }

  // -- the stack

  [[nodiscard]] result<void> push(const pickle_value& value) noexcept {
    if (stack.size() >= pickle::max_stack) return full("values on the stack");
    if (!stack.push_back(value)) return no_memory("the pickle's stack");
    return {};
  }
  /// The top n values, none of them a mark.
  [[nodiscard]] result<std::span<const pickle_value>> top(std::size_t n) const noexcept {
    if (stack.size() < n) return underflow();
    const std::span<const pickle_value> values = stack.span().last(n);
    for (const pickle_value& v : values) {
      if (v.kind == kind::mark) return fail(error_code::pickle_mark, "a mark stands where a value should");
    }
    return values;
  }
  /// The index of the topmost mark.
  [[nodiscard]] result<std::size_t> mark() const noexcept {
    for (std::size_t i = stack.size(); i-- > 0;) {
      if (stack[i].kind == kind::mark) return i;
    }
    return fail(error_code::pickle_mark, "no mark");
  }
  [[nodiscard]] std::span<const pickle_value> tuple(const pickle_value& v) const noexcept {
    return out.items_.span().subspan(static_cast<std::size_t>(v.number), v.index);
  }
  [[nodiscard]] std::uint8_t depth_of(const pickle_value& v) const noexcept {
    if (v.kind == kind::list || v.kind == kind::dict) return out.containers_[v.index].depth;
    return v.depth;
  }
  /// The depth of something that holds these values.
  [[nodiscard]] result<std::uint8_t> depth_around(std::span<const pickle_value> values) const noexcept {
    std::uint8_t deepest = 0;
    for (const pickle_value& v : values) deepest = (std::max)(deepest, depth_of(v));
    if (deepest >= pickle::max_depth)
      return fail(error_code::pickle_limit_depth, "values are nested too deeply");
    return static_cast<std::uint8_t>(deepest + 1);
  }

  // -- building

  [[nodiscard]] result<void> push_integer(std::int64_t n) noexcept {
    return push({kind::integer, 0, 0, static_cast<std::uint64_t>(n)});
  }
  [[nodiscard]] result<void> push_container(kind what, bool ordered) noexcept {
    if (out.containers_.size() >= pickle::max_items) return full("lists and dictionaries");
    const auto index = static_cast<std::uint32_t>(out.containers_.size());
    pickle::container made;
    made.ordered = ordered;
    if (!out.containers_.push_back(made)) return no_memory("the pickle's dictionaries");
    return push({what, 0, index, 0});
  }
  /// Replaces everything from `first` on by one tuple of the values from `begin` on.
  [[nodiscard]] result<void> make_tuple(std::size_t first, std::size_t begin) noexcept {
    const std::span<const pickle_value> values = stack.span().subspan(begin);
    OCELLUS_ASSIGN(const std::uint8_t depth, depth_around(values));
    if (values.size() > pickle::max_items - out.items_.size()) return full("elements of tuples");
    const pickle_value made{kind::tuple, depth, static_cast<std::uint32_t>(values.size()), out.items_.size()};
    if (!out.items_.append(values)) return no_memory("the pickle's tuples");
    stack.truncate(first);
    return push(made);
  }
  /// Appends the values from `begin` on to the list before them; all that is kept of them is how deep they are.
  [[nodiscard]] result<void> append(std::size_t first, std::size_t begin) noexcept {
    if (first == 0) return underflow();
    const pickle_value list = stack[first - 1];
    if (list.kind != kind::list) return wrong("a list to append to", list);
    OCELLUS_ASSIGN(const std::uint8_t depth, depth_around(stack.span().subspan(begin)));
    std::uint8_t& whole = out.containers_[list.index].depth;
    whole = (std::max)(whole, depth);
    stack.truncate(first);
    return {};
  }
  /// Puts the keys and values from `begin` on into the dictionary before them.
  [[nodiscard]] result<void> set_items(std::size_t first, std::size_t begin) noexcept {
    if (first == 0) return underflow();
    const pickle_value dict = stack[first - 1];
    if (dict.kind != kind::dict) return wrong("a dictionary to set items of", dict);
    const std::span<const pickle_value> items = stack.span().subspan(begin);
    if (items.size() % 2 != 0) return fail(error_code::pickle_odd_items, "a key has no value");
    OCELLUS_ASSIGN(const std::uint8_t depth, depth_around(items));
    if (items.size() / 2 > pickle::max_items - out.entries_.size()) return full("dictionary members");
    pickle::container& whole = out.containers_[dict.index];
    whole.depth = (std::max)(whole.depth, depth);
    for (std::size_t i = 0; i < items.size(); i += 2) {
      const auto index = static_cast<std::uint32_t>(out.entries_.size());
      if (!out.entries_.push_back({{items[i], items[i + 1]}, pickle::nil}))
        return no_memory("the pickle's dictionaries");
      (whole.last == pickle::nil ? whole.first : out.entries_[whole.last].next) = index;
      whole.last = index;
    }
    stack.truncate(first);
    return {};
  }

  [[nodiscard]] result<void> push_string() noexcept {
    OCELLUS_ASSIGN(const std::uint64_t bytes, number(4));
    if (bytes > source.size() - at)
      return fail(error_code::pickle_truncated, "the pickle ends inside a string");
    if (!is_utf8(std::string_view(out.source_.data() + at, static_cast<std::size_t>(bytes)))) {
      return fail(error_code::utf8, "a string is not UTF-8");
    }
    const pickle_value made{kind::string, 0, static_cast<std::uint32_t>(bytes), at};
    at += static_cast<std::size_t>(bytes);
    return push(made);
  }
  [[nodiscard]] result<void> push_long() noexcept {
    OCELLUS_ASSIGN(const std::uint64_t bytes, number(1));
    if (bytes > source.size() - at)
      return fail(error_code::pickle_truncated, "the pickle ends inside a number");
    if (bytes > 8) return fail(error_code::int_range, "an integer of ", bytes, " bytes");
    OCELLUS_ASSIGN(std::uint64_t n, number(static_cast<std::size_t>(bytes)));
    if (bytes != 0 && bytes < 8 && (n >> (8 * bytes - 1)) != 0) n |= ~std::uint64_t{0} << (8 * bytes);
    return push_integer(static_cast<std::int64_t>(n));
  }
  [[nodiscard]] result<std::string_view> line() noexcept {
    const std::string_view rest(out.source_.data() + at,
                                (std::min)(out.source_.size() - at, pickle::max_global_bytes + 1));
    const std::size_t length = rest.find('\n');
    if (length == std::string_view::npos) {
      unknown = rest;
      if (rest.size() > pickle::max_global_bytes) return unknown_global();
      return fail(error_code::pickle_truncated, "the pickle ends inside a name");
    }
    at += length + 1;
    return std::string_view(rest.data(), length);
  }
  [[nodiscard]] result<void> push_global() noexcept {
    const std::size_t begin = at;
    OCELLUS_ASSIGN(const std::string_view module, line());
    OCELLUS_ASSIGN(const std::string_view name, line());
    for (const detail::pickle_global_name& g : detail::pickle_globals) {
      if (g.name.size() == module.size() + 1 + name.size() && g.name.starts_with(module) &&
          g.name[module.size()] == ' ' && g.name.ends_with(name)) {
        return push(
            {kind::global, 0, static_cast<std::uint32_t>(g.what), static_cast<std::uint64_t>(g.type)});
      }
    }
    if (module == "torch" && name.ends_with("Storage")) {
      return fail(error_code::storage_type, "storages of type ", quoted{name}, " are not read");
    }
    // Refused as soon as anything is done with it, and at the end in any case.
    if (unknown.empty()) unknown = {out.source_.data() + begin, at - begin - 1};
    return push({kind::global, 0, static_cast<std::uint32_t>(global::unknown), 0});
  }

  // -- tensors

  [[nodiscard]] result<std::uint64_t> natural(const pickle_value& v, std::string_view what) const noexcept {
    if (v.kind != kind::integer) return wrong("an integer", v);
    if (static_cast<std::int64_t>(v.number) < 0) {
      return fail(error_code::negative, what, " is ", static_cast<std::int64_t>(v.number));
    }
    return v.number;
  }
  [[nodiscard]] result<shape> naturals(const pickle_value& v, std::string_view what) const noexcept {
    if (v.kind != kind::tuple) return wrong("a tuple of sizes", v);
    if (v.index > shape::max_rank) return fail(error_code::rank, "a tensor has ", v.index, " dimensions");
    shape dims;
    for (const pickle_value& item : tuple(v)) {
      OCELLUS_ASSIGN(const std::uint64_t n, natural(item, what));
      dims.push_back(n);
    }
    return dims;
  }

  /// ("storage", type, key, location, count): the location, a device, is of no interest.
  [[nodiscard]] result<void> push_storage() noexcept {
    OCELLUS_ASSIGN(const auto id, top(1));
    const auto malformed = [this](std::string_view why) noexcept {
      return fail(error_code::persistent_id, "not a reference to a storage: ", why);
    };
    if (id[0].kind != kind::tuple || id[0].index != 5) return malformed("not a tuple of five");
    const std::span<const pickle_value> parts = tuple(id[0]);
    if (out.string(parts[0]) != "storage") return malformed("it is not called so");
    if (parts[1].kind != kind::global || parts[2].kind != kind::string || parts[3].kind != kind::string) {
      return malformed("a part has the wrong type");
    }
    pickle_storage s;
    switch (static_cast<global>(parts[1].index)) {
      case global::unknown:
        return unknown_global();
      case global::storage:
        s.type = static_cast<dtype>(parts[1].number);
        break;
      case global::untyped_storage:
        break;
      default:
        return malformed("its type is none");
    }
    s.key = out.string(parts[2]);
    const bool digits = s.key.find_first_not_of("0123456789") == std::string_view::npos;
    if (s.key.empty() || s.key.size() > 10 || !digits) {
      return fail(error_code::storage_key, "a storage is named ", quoted{s.key});
    }
    OCELLUS_ASSIGN(s.count, natural(parts[4], "a storage's size"));
    if (out.storages_.size() >= pickle::max_tensors)
      return fail(error_code::limit_tensors, "too many storages");
    const auto index = static_cast<std::uint32_t>(out.storages_.size());
    if (!out.storages_.push_back(s)) return no_memory("the checkpoint's storages");
    stack.pop_back();
    return push({kind::storage, 0, index, 0});
  }

  /// No entries: hooks are code.
  [[nodiscard]] result<void> check_hooks(const pickle_value& v) const noexcept {
    if (v.kind == kind::none) return {};
    if (v.kind != kind::dict) return wrong("a dictionary of hooks", v);
    if (out.containers_[v.index].first != pickle::nil)
      return fail(error_code::pickle_hooks, "a tensor has hooks");
    return {};
  }

  /// _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]); v3 has the type behind hooks.
  [[nodiscard]] result<pickle_value> rebuild_tensor(std::span<const pickle_value> a, bool typed) noexcept {
    const std::size_t least = typed ? 7 : 6;
    if (a.size() < least || a.size() > least + 1) {
      return fail(error_code::pickle_arguments, "a tensor is built from ", a.size(), " arguments");
    }
    if (a[0].kind != kind::storage) return wrong("a storage", a[0]);
    if (a[4].kind != kind::boolean) return wrong("a boolean", a[4]);
    pickle_tensor t;
    t.storage = a[0].index;
    OCELLUS_ASSIGN(t.offset, natural(a[1], "a tensor's offset"));
    OCELLUS_ASSIGN(t.dims, naturals(a[2], "a tensor's size"));
    OCELLUS_ASSIGN(t.strides, naturals(a[3], "a tensor's stride"));
    if (t.dims.rank() != t.strides.rank()) {
      return fail(error_code::rank_mismatch, "a tensor has ", t.dims.rank(), " dimensions and ",
                  t.strides.rank(), " strides");
    }
    OCELLUS_TRY(check_hooks(a[5]));
    const std::optional<dtype> storage_type = out.storages_[t.storage].type;
    if (typed) {
      if (a[6].kind != kind::global || static_cast<global>(a[6].index) != global::element_type) {
        return wrong("an element type", a[6]);
      }
      t.type = static_cast<dtype>(a[6].number);
    } else if (storage_type) {
      t.type = *storage_type;
    } else {
      return wrong("a storage with a type", a[0]);
    }
    if (out.tensors_.size() >= pickle::max_tensors)
      return fail(error_code::limit_tensors, "too many tensors");
    const auto index = static_cast<std::uint32_t>(out.tensors_.size());
    if (!out.tensors_.push_back(t)) return no_memory("the checkpoint's tensors");
    return pickle_value{kind::tensor, 0, index, 0};
  }

  /// Calls what is known; there are four functions.
  [[nodiscard]] result<void> reduce() noexcept {
    OCELLUS_ASSIGN(const auto call, top(2));
    const pickle_value function = call[0], arguments = call[1];
    if (function.kind != kind::global) return wrong("a function", function);
    if (arguments.kind != kind::tuple) return wrong("a tuple of arguments", arguments);
    const std::span<const pickle_value> a = tuple(arguments);
    stack.truncate(stack.size() - 2);
    switch (static_cast<global>(function.index)) {
      case global::unknown:
        return unknown_global();
      case global::ordered_dict:
        if (!a.empty()) return wrong("no arguments for OrderedDict", a[0]);
        return push_container(kind::dict, true);
      case global::rebuild_tensor:
      case global::rebuild_tensor_typed: {
        OCELLUS_ASSIGN(
            const pickle_value made,
            rebuild_tensor(a, function.index == static_cast<std::uint32_t>(global::rebuild_tensor_typed)));
        return push(made);
      }
      case global::rebuild_parameter:  // (tensor, requires_grad, hooks)
        if (a.size() != 3)
          return fail(error_code::pickle_arguments, "a parameter is built from ", a.size(), " arguments");
        if (a[0].kind != kind::tensor) return wrong("a tensor", a[0]);
        OCELLUS_TRY(check_hooks(a[2]));
        return push(a[0]);
      case global::storage:
      case global::untyped_storage:
      case global::element_type:
        break;
    }
    return wrong("a function", function);
  }

  /// Attributes of a state dict (its version table) are dropped; nothing else has any.
  [[nodiscard]] result<void> build() noexcept {
    OCELLUS_ASSIGN(const auto values, top(2));
    const pickle_value object = values[0];
    if (object.kind == kind::global && static_cast<global>(object.index) == global::unknown)
      return unknown_global();
    if (object.kind != kind::dict || !out.containers_[object.index].ordered)
      return wrong("an OrderedDict", object);
    if (values[1].kind != kind::dict) return wrong("a dictionary of attributes", values[1]);
    stack.pop_back();
    return {};
  }
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_PICKLE_BUILDER_IPP
