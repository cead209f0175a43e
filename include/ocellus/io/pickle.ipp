// The pickle machine: a stack, a memo and the thirty operations that torch.save uses.
#ifndef OCELLUS_IO_PICKLE_IPP
#define OCELLUS_IO_PICKLE_IPP

#include "ocellus/io/pickle_builder.ipp"

namespace ocellus::inline OCELLUS_ABI {

std::string_view name_of(pickle_kind kind) noexcept {
  constexpr std::string_view names[] = {
      "nothing", "a mark", "None",         "a boolean",           "an integer", "a number", "a string",
      "a tuple", "a list", "a dictionary", "a function or class", "a storage",  "a tensor"};
  return names[static_cast<std::size_t>(kind)];
}

/// The operations, and the run through them.
struct pickle_machine : pickle_builder {
  // -- the memo

  [[nodiscard]] result<void> put(std::uint64_t index) noexcept {
    OCELLUS_ASSIGN(const auto value, top(1));
    // Picklers count from 0 and spend at least two bytes on each, so an index is below the number of bytes as well.
    if (index >= pickle::max_memo || index >= source.size())
      return fail(error_code::pickle_limit_memo, "value ", index, " of the memo");
    const auto i = static_cast<std::size_t>(index);
    if (i >= memo.size() && !memo.resize(i + 1)) return no_memory("the pickle's memo");
    memo[i] = value[0];
    return {};
  }
  [[nodiscard]] result<void> get(std::uint64_t index) noexcept {
    if (index >= memo.size() || memo[static_cast<std::size_t>(index)].kind == kind::unset) {
      return fail(error_code::pickle_memo, "value ", index, " was never stored");
    }
    return push(memo[static_cast<std::size_t>(index)]);
  }
  template <auto Use>
  [[nodiscard]] result<void> with_number(std::size_t bytes) noexcept {
    OCELLUS_ASSIGN(const std::uint64_t n, number(bytes));
    return (this->*Use)(n);
  }

  // -- the operations

  [[nodiscard]] result<void> push_number(std::size_t bytes) noexcept {
    OCELLUS_ASSIGN(const std::uint64_t n, number(bytes));
    return push_integer(bytes == 4 ? static_cast<std::int32_t>(static_cast<std::uint32_t>(n))
                                   : static_cast<std::int64_t>(n));
  }
  [[nodiscard]] result<void> push_real() noexcept {
    OCELLUS_ASSIGN(const std::uint64_t n, number(8));
    return push({kind::real, 0, 0, n});  // big-endian, and nobody asks
  }
  template <auto Use>
  [[nodiscard]] result<void> with_mark() noexcept {
    OCELLUS_ASSIGN(const std::size_t m, mark());
    return (this->*Use)(m, m + 1);
  }
  template <auto Use>
  [[nodiscard]] result<void> with_top(std::size_t n) noexcept {
    OCELLUS_ASSIGN(const auto values, top(n));
    return (this->*Use)(stack.size() - values.size(), stack.size() - values.size());
  }
  [[nodiscard]] result<void> new_object() noexcept {
    OCELLUS_ASSIGN(const auto values, top(2));
    if (values[0].kind == kind::global && static_cast<global>(values[0].index) == global::unknown)
      return unknown_global();
    return wrong("a class", values[0]);
  }

  [[nodiscard]] result<void> run_operation(unsigned code) noexcept {
    using m = pickle_machine;
    // clang-format off
    switch (code) {
      case '}': return push_container(kind::dict, false);
      case ']': return push_container(kind::list, false);
      case ')': return make_tuple(stack.size(), stack.size());
      case 0x85: return with_top<&m::make_tuple>(1);
      case 0x86: return with_top<&m::make_tuple>(2);
      case 0x87: return with_top<&m::make_tuple>(3);
      case '(': return push({kind::mark});
      case 't': return with_mark<&m::make_tuple>();
      case 'e': return with_mark<&m::append>();
      case 'a': return with_top<&m::append>(1);
      case 'u': return with_mark<&m::set_items>();
      case 's': return with_top<&m::set_items>(2);
      case 'q': return with_number<&m::put>(1);
      case 'r': return with_number<&m::put>(4);
      case 'h': return with_number<&m::get>(1);
      case 'j': return with_number<&m::get>(4);
      case 'N': return push({kind::none});
      case 0x88: return push({kind::boolean, 0, 1, 0});
      case 0x89: return push({kind::boolean, 0, 0, 0});
      case 'K': return push_number(1);
      case 'M': return push_number(2);
      case 'J': return push_number(4);
      case 0x8a: return push_long();
      case 'G': return push_real();
      case 'X': return push_string();
      case 'c': return push_global();
      case 'Q': return push_storage();
      case 'R': return reduce();
      case 'b': return build();
      case 0x81: return new_object();
      default: break;
    }
    // clang-format on
    return fail(error_code::pickle_opcode, "operation ", code, " is not one that checkpoints need");
  }

  [[nodiscard]] result<void> run() noexcept {
    OCELLUS_ASSIGN(const std::uint64_t first, number(1));
    if (first != 0x80) return fail(error_code::pickle_opcode, "the pickle does not start with its protocol");
    OCELLUS_ASSIGN(const std::uint64_t protocol, number(1));
    if (protocol < 2 || protocol > 5) return fail(error_code::pickle_protocol, "protocol ", protocol);
    for (std::uint64_t count = 0;; ++count) {
      operation_at = at;
      if (count == pickle::max_operations) return full("operations");
      if (at == source.size()) return fail(error_code::pickle_truncated, "the pickle has no end");
      const auto code = static_cast<unsigned>(source[at++]);
      if (code == '.') return stop();
      OCELLUS_TRY(run_operation(code));
    }
  }

  /// Values below the top one are left behind, as Python leaves them.
  [[nodiscard]] result<void> stop() noexcept {
    OCELLUS_ASSIGN(const auto value, top(1));
    if (at != source.size())
      return fail(error_code::pickle_trailing, source.size() - at, " bytes follow the end");
    if (!unknown.empty()) return unknown_global();
    out.root_ = value[0];
    return {};
  }
};

result<pickle> pickle::parse(std::span<const std::byte> source, const memory_hooks& memory) noexcept {
  pickle made(memory);
  made.source_ = {reinterpret_cast<const char*>(source.data()), source.size()};
  pickle_machine machine{{source, made, array<pickle_value>(memory), array<pickle_value>(memory), 0, 0, {}}};
  OCELLUS_TRY(machine.run());
  return made;
}

std::optional<pickle_value> pickle::find(const pickle_value& dict, std::string_view key) const noexcept {
  if (dict.kind != pickle_kind::dict) return std::nullopt;
  for (std::uint32_t i = containers_[dict.index].first; i != nil; i = entries_[i].next) {
    const member& m = entries_[i].what;
    if (m.key.kind == pickle_kind::string && string(m.key) == key) return m.value;
  }
  return std::nullopt;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_PICKLE_IPP
