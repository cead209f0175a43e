// Byte-pair merging: hash tables and the two ways to merge (a scan for short pieces, a queue for long ones).
#ifndef OCELLUS_TEXT_BPE_IPP
#define OCELLUS_TEXT_BPE_IPP

#include <algorithm>
#include <bit>
#include <functional>

#include "ocellus/text/bpe.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

// Pieces of up to this many bytes are merged by scanning for the lowest rank.
inline constexpr std::size_t short_piece = 48;

inline std::uint64_t bpe_mix(std::uint64_t x) noexcept {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93u;  // an odd constant with about as many ones as zeros, as any mixer needs
  x ^= x >> 29;
  x *= 0xd6e8feb86659fd93u;
  return x ^ (x >> 32);
}

template <class Word>
Word bpe_load(const char* from) noexcept {
  Word word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

// log2 of the number of slots: at most half of them are ever used.
inline unsigned bpe_table_bits(std::size_t entries) noexcept {
  return static_cast<unsigned>(std::bit_width((std::max)(entries, std::size_t{8}) * 2 - 1));
}

bool token_table::reset(std::size_t tokens, std::uint64_t seed) noexcept {
  slots_.clear();
  seed_ = bpe_mix(seed + 1);
  const unsigned bits = bpe_table_bits(tokens);
  shift_ = 64 - bits;
  return slots_.resize(std::size_t{1} << bits);
}

std::uint64_t token_table::hash(std::string_view bytes) const noexcept {
  const char* at = bytes.data();
  const std::size_t n = bytes.size();
  std::uint64_t h = seed_ ^ n * 0x9e3779b97f4a7c15u;
  if (n >= 8) {
    for (std::size_t i = 0; i + 8 < n; i += 8) h = bpe_mix(h ^ bpe_load<std::uint64_t>(at + i));
    return bpe_mix(h ^ bpe_load<std::uint64_t>(at + n - 8));
  }
  // Two overlapping loads cover 4 to 7 bytes; up to 3 are gathered one by one.
  std::uint64_t last = 0;
  if (n >= 4) {
    last = bpe_load<std::uint32_t>(at) | static_cast<std::uint64_t>(bpe_load<std::uint32_t>(at + n - 4))
                                             << 32;
  } else {
    for (std::size_t i = 0; i < n; ++i) last = last << 8 | static_cast<unsigned char>(at[i]);
  }
  return bpe_mix(h ^ last);
}

// The slot that holds these bytes or, if none does, the empty one where they belong; SIZE_MAX if the probe
// grew too long.
std::size_t token_table::find_slot(const token_list& tokens, std::string_view bytes) const noexcept {
  const std::uint64_t h = hash(bytes);
  const auto tag = static_cast<std::uint32_t>(h);
  auto at = static_cast<std::size_t>(h >> shift_);
  for (std::uint32_t probe = 0; probe < max_probe; ++probe, at = (at + 1) & (slots_.size() - 1)) {
    const slot& s = slots_[at];
    if (s.id == no_token) return at;
    if (s.tag == tag && tokens[s.id] == bytes) return at;
  }
  return SIZE_MAX;
}

table_insert token_table::insert(const token_list& tokens, std::uint32_t id) noexcept {
  const std::size_t at = find_slot(tokens, tokens[id]);
  if (at == SIZE_MAX) return table_insert::crowded;
  if (slots_[at].id != no_token) return table_insert::exists;
  slots_[at] = {static_cast<std::uint32_t>(hash(tokens[id])), id};
  return table_insert::done;
}

std::uint32_t token_table::find(const token_list& tokens, std::string_view bytes) const noexcept {
  if (slots_.empty()) return no_token;
  const std::size_t at = find_slot(tokens, bytes);
  return at == SIZE_MAX ? no_token : slots_[at].id;
}

bool merge_table::reset(std::size_t merges, std::uint64_t seed) noexcept {
  slots_.clear();
  seed_ = bpe_mix(seed + 1);
  const unsigned bits = bpe_table_bits(merges);
  shift_ = 64 - bits;
  return slots_.resize(std::size_t{1} << bits);
}

std::size_t merge_table::first_slot(std::uint64_t pair) const noexcept {
  return static_cast<std::size_t>(bpe_mix(pair ^ seed_) >> shift_);
}

table_insert merge_table::insert(std::uint32_t left, std::uint32_t right, merge made) noexcept {
  const std::uint64_t pair = static_cast<std::uint64_t>(left) << 32 | right;
  std::size_t at = first_slot(pair);
  for (std::uint32_t probe = 0; probe < max_probe; ++probe, at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].pair == pair) return table_insert::exists;
    if (slots_[at].made.rank == no_token) {
      slots_[at] = {pair, made};
      return table_insert::done;
    }
  }
  return table_insert::crowded;
}

merge_table::merge merge_table::find(std::uint32_t left, std::uint32_t right) const noexcept {
  const std::uint64_t pair = static_cast<std::uint64_t>(left) << 32 | right;
  std::size_t at = first_slot(pair);
  for (std::uint32_t probe = 0; probe < max_probe; ++probe, at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].pair == pair) return slots_[at].made;
    if (slots_[at].made.rank == no_token) return {};
  }
  return {};
}

// Quadratic in the length, which is at most short_piece; the constant is small.
inline std::size_t merge_short_piece(const merge_table& merges, std::uint32_t* ids, std::size_t n) noexcept {
  merge_table::merge pairs[short_piece];  // pairs[i]: what ids[i] and ids[i + 1] merge into
  for (std::size_t i = 0; i + 1 < n; ++i) pairs[i] = merges.find(ids[i], ids[i + 1]);
  while (n > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == no_token) break;
    ids[best] = pairs[best].id;
    --n;
    for (std::size_t i = best + 1; i < n; ++i) ids[i] = ids[i + 1];
    for (std::size_t i = best; i + 1 < n; ++i) pairs[i] = pairs[i + 1];
    if (best > 0) pairs[best - 1] = merges.find(ids[best - 1], ids[best]);
    if (best + 1 < n) pairs[best] = merges.find(ids[best], ids[best + 1]);
  }
  return n;
}

// A queue of (rank, position), lowest first, over a linked list. An entry is stale when the symbol at its
// position does not have that rank any more. Symbols only grow, so an old entry never becomes true again for
// another pair.
inline bool merge_long_piece(const merge_table& merges, const std::uint32_t (&byte_ids)[256],
                             std::string_view bytes, bpe_scratch& scratch) noexcept {
  const auto n = static_cast<std::uint32_t>(bytes.size());
  // A merge takes one entry out and puts at most two in, and there are less than n merges.
  scratch.queue.clear();
  if (!scratch.symbols.resize(n) || !scratch.queue.reserve(std::size_t{n} * 2)) return false;
  const std::span<bpe_scratch::symbol> symbols = scratch.symbols.span();
  array<std::uint64_t>& queue = scratch.queue;
  const auto rank_pair = [&](std::uint32_t left) noexcept {
    bpe_scratch::symbol& s = symbols[left];
    s.rank = s.next == n ? no_token : merges.find(s.id, symbols[s.next].id).rank;
    return s.rank == no_token || queue.push_back(static_cast<std::uint64_t>(s.rank) << 32 | left);
  };
  for (std::uint32_t i = 0; i < n; ++i) {
    symbols[i] = {byte_ids[static_cast<unsigned char>(bytes[i])], i - 1, i + 1, no_token};
  }
  for (std::uint32_t i = 0; i < n; ++i) {
    if (!rank_pair(i)) return false;
  }
  std::make_heap(queue.begin(), queue.end(), std::greater<>());
  const auto push = [&](std::uint32_t left) noexcept {
    const std::size_t before = queue.size();
    if (!rank_pair(left)) return false;
    if (queue.size() != before) std::push_heap(queue.begin(), queue.end(), std::greater<>());
    return true;
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const std::uint64_t entry = queue.back();
    queue.pop_back();
    const auto at = static_cast<std::uint32_t>(entry);
    bpe_scratch::symbol& left = symbols[at];
    if (left.rank != entry >> 32) continue;
    bpe_scratch::symbol& right = symbols[left.next];
    left.id = merges.find(left.id, right.id).id;
    right.rank = no_token;
    left.next = right.next;
    if (left.next != n) symbols[left.next].previous = at;
    if (!push(at)) return false;
    if (at != 0 && !push(left.previous)) return false;
  }
  return true;
}

bool merge_piece(const merge_table& merges, const std::uint32_t (&byte_ids)[256], std::string_view bytes,
                 bpe_scratch& scratch, array<std::uint32_t>& out) noexcept {
  if (bytes.size() <= short_piece) {
    std::uint32_t ids[short_piece];
    for (std::size_t i = 0; i < bytes.size(); ++i) ids[i] = byte_ids[static_cast<unsigned char>(bytes[i])];
    const std::size_t n = merge_short_piece(merges, ids, bytes.size());
    return out.append(std::span<const std::uint32_t>(ids, n));
  }
  if (!merge_long_piece(merges, byte_ids, bytes, scratch)) return false;
  const auto n = static_cast<std::uint32_t>(bytes.size());
  for (std::uint32_t i = 0; i != n; i = scratch.symbols[i].next) {
    if (!out.push_back(scratch.symbols[i].id)) return false;
  }
  return true;
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_BPE_IPP
