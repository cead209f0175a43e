// Byte-pair merging: the two hash tables (bytes to token, pair of tokens to merge) and the merging of one
// piece.
#ifndef OCELLUS_TEXT_BPE_HPP
#define OCELLUS_TEXT_BPE_HPP

#include <atomic>

#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

inline constexpr std::uint32_t no_token = 0xffffffffu;

/// The bytes of every token of a vocabulary: those of token i are bytes[offsets[i] .. offsets[i + 1]), none
/// if there is no token i.
struct token_list {
  const char* bytes = nullptr;
  const std::uint32_t* offsets = nullptr;
  std::uint32_t size = 0;

  [[nodiscard]] std::string_view operator[](std::uint32_t id) const noexcept {
    return {bytes + offsets[id], offsets[id + 1] - offsets[id]};
  }
};

/// Set and read by any threads at once; once set it stays so.
class shared_flag {
 public:
  shared_flag() noexcept = default;
  shared_flag(shared_flag&& other) noexcept : set_(other.get()) {}
  [[nodiscard]] bool get() const noexcept { return set_.load(std::memory_order_relaxed); }
  void set() noexcept { set_.store(true, std::memory_order_relaxed); }

 private:
  std::atomic<bool> set_{false};
};

enum class table_insert : std::uint8_t { done, exists, crowded };

/// Bytes to token, open addressing. A probe is never longer than max_probe, whoever made the vocabulary.
class token_table {
 public:
  static constexpr std::uint32_t max_probe = 128;

  token_table() noexcept = default;
  explicit token_table(const memory_hooks& memory) noexcept : slots_(memory) {}

  /// Empties the table and makes room for that many tokens. Another seed puts the tokens elsewhere.
  [[nodiscard]] bool reset(std::size_t tokens, std::uint64_t seed) noexcept;
  /// exists: a token of the same bytes is in the table. crowded: try again with another seed.
  [[nodiscard]] table_insert insert(const token_list& tokens, std::uint32_t id) noexcept;
  /// The token of exactly these bytes, or no_token.
  [[nodiscard]] std::uint32_t find(const token_list& tokens, std::string_view bytes) const noexcept;

 private:
  struct slot {
    std::uint32_t tag = 0;  // more bits of the hash: spares most comparisons of bytes
    std::uint32_t id = no_token;
  };
  [[nodiscard]] std::uint64_t hash(std::string_view bytes) const noexcept;
  [[nodiscard]] std::size_t find_slot(const token_list& tokens, std::string_view bytes) const noexcept;

  array<slot> slots_;
  std::uint64_t seed_ = 0;
  unsigned shift_ = 63;
};

/// Pair of neighbours to the token that they merge into and the merge's rank. Open addressing, as above.
class merge_table {
 public:
  static constexpr std::uint32_t max_probe = 128;
  struct merge {
    std::uint32_t rank = no_token;  // no_token: these two do not merge
    std::uint32_t id = no_token;
  };

  merge_table() noexcept = default;
  explicit merge_table(const memory_hooks& memory) noexcept : slots_(memory) {}

  [[nodiscard]] bool reset(std::size_t merges, std::uint64_t seed) noexcept;
  [[nodiscard]] table_insert insert(std::uint32_t left, std::uint32_t right, merge made) noexcept;
  [[nodiscard]] merge find(std::uint32_t left, std::uint32_t right) const noexcept;

 private:
  struct slot {
    std::uint64_t pair = ~std::uint64_t{0};
    merge made;
  };
  [[nodiscard]] std::size_t first_slot(std::uint64_t pair) const noexcept;

  array<slot> slots_;
  std::uint64_t seed_ = 0;
  unsigned shift_ = 63;
};

/// Working memory for pieces of more than 48 bytes.
struct bpe_scratch {
  struct symbol {
    std::uint32_t id;
    std::uint32_t previous;
    std::uint32_t next;
    std::uint32_t rank;  // of the merge with the next one
  };

  bpe_scratch() noexcept = default;
  explicit bpe_scratch(const memory_hooks& memory) noexcept : symbols(memory), queue(memory) {}

  array<symbol> symbols;
  array<std::uint64_t> queue;
};

/// Appends the tokens of one piece: begins with one token a byte and carries out, as long as there is any,
/// the merge of the lowest rank, of equal ones the leftmost. bytes.size() * log time. False when memory is
/// out.
[[nodiscard]] bool merge_piece(const merge_table& merges, const std::uint32_t (&byte_ids)[256],
                               std::string_view bytes, bpe_scratch& scratch,
                               array<std::uint32_t>& out) noexcept;

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_BPE_HPP
