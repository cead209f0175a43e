// tokenizer: checking and indexing its arrays, encoding, decoding. Reading files is in tokenizer_files.ipp.
#ifndef OCELLUS_TEXT_TOKENIZER_IPP
#define OCELLUS_TEXT_TOKENIZER_IPP

#include <cstring>

#include "ocellus/text/pretokenizer.hpp"
#include "ocellus/text/tokenizer.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

// A hash table is built again with another seed when a probe gets too long; a file that defeats all of these
// was made for that.
inline constexpr std::uint64_t tokenizer_seeds = 8;

// Only tokens of at most this many bytes are tried for the shortcut in encode_words: longer ones are rare in
// text.
inline constexpr std::size_t longest_whole_token = 48;

inline bool copy_words(std::span<const std::byte> from, array<std::uint32_t>& to) noexcept {
  if (!to.resize(from.size() / 4)) return false;
  if (!from.empty()) std::memcpy(to.data(), from.data(), to.size() * 4);
  return true;
}

}  // namespace detail

tokenizer::tokenizer(const memory_hooks& memory) noexcept
    : bytes_(memory),
      offsets_(memory),
      merges_(memory),
      added_(memory),
      ordinary_(memory),
      merge_table_(memory),
      first_added_(memory),
      second_added_(memory),
      whole_(memory) {}

result<tokenizer> tokenizer::from_data(const tokenizer_data& data, const memory_hooks& memory) noexcept {
  const auto invalid = [](const auto&... parts) noexcept {
    return error(error_code::tokenizer_data, parts...);
  };
  const std::size_t ids =
      data.offsets.size() / 4 - 1;  // wraps for an empty span, which the next test refuses
  if (data.offsets.size() % 4 != 0 || data.offsets.size() < 8 || ids > max_ids) {
    return invalid("tokenizer.offsets has ", data.offsets.size(), " bytes");
  }
  if (data.bytes.size() > max_all_bytes) return invalid("tokenizer.bytes has ", data.bytes.size(), " bytes");
  if (data.merges.size() % 8 != 0 || data.merges.size() / 8 > max_merges) {
    return invalid("tokenizer.merges has ", data.merges.size(), " bytes");
  }
  if (data.added.size() % 8 != 0 || data.added.size() / 8 > ids) {
    return invalid("tokenizer.added has ", data.added.size(), " bytes");
  }
  if (data.special.size() != 4)
    return invalid("tokenizer.special has ", data.special.size(), " bytes, not 4");

  tokenizer made(memory);
  const std::string_view bytes(reinterpret_cast<const char*>(data.bytes.data()), data.bytes.size());
  if (!made.bytes_.append(bytes) || !detail::copy_words(data.offsets, made.offsets_) ||
      !detail::copy_words(data.merges, made.merges_) || !detail::copy_words(data.added, made.added_)) {
    return no_memory("a tokenizer of ", ids, " tokens");
  }
  std::memcpy(&made.end_of_text_, data.special.data(), 4);
  OCELLUS_TRY(made.check_tokens());
  OCELLUS_TRY(made.index_tokens());
  OCELLUS_TRY(made.index_added());
  OCELLUS_TRY(made.index_merges());
  if (!made.has_token(made.end_of_text_)) return invalid("tokenizer.special names id ", made.end_of_text_);
  return made;
}

tokenizer_data tokenizer::data() const noexcept {
  return {std::as_bytes(std::span<const char>(bytes_.data(), bytes_.size())), std::as_bytes(offsets_.span()),
          std::as_bytes(merges_.span()), std::as_bytes(added_.span()),
          std::as_bytes(std::span<const std::uint32_t>(&end_of_text_, 1))};
}

// After this every id below vocab_size() can be asked for its bytes.
result<void> tokenizer::check_tokens() const noexcept {
  const std::span<const std::uint32_t> offsets = offsets_.span();
  if (offsets[0] != 0 || offsets[offsets.size() - 1] != bytes_.size()) {
    return error(error_code::tokenizer_data, "tokenizer.offsets goes from ", offsets[0], " to ",
                 offsets[offsets.size() - 1], " but there are ", bytes_.size(), " bytes");
  }
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    if (offsets[i] < offsets[i - 1]) {
      return error(error_code::tokenizer_data, "tokenizer.offsets falls at token ", i - 1);
    }
    if (offsets[i] - offsets[i - 1] > max_token_bytes) {
      return error(error_code::token_too_long, "token ", i - 1, " has ", offsets[i] - offsets[i - 1],
                   " bytes");
    }
  }
  return {};
}

// The ordinary tokens: all that are not added ones alone.
result<void> tokenizer::index_tokens() noexcept {
  array<bool> added_only(bytes_.memory());
  if (!added_only.resize(vocab_size()) || !whole_.resize(vocab_size())) return no_memory("a tokenizer");
  for (std::size_t i = 0; i < added_.size(); i += 2) {
    const std::uint32_t id = added_[i], flags = added_[i + 1];
    if (!has_token(id) || (flags & ~std::uint32_t{added_known_flags}) != 0) {
      return error(error_code::tokenizer_data, "added token ", i / 2, " has id ", id, " and flags ", flags);
    }
    added_only[id] = (flags & added_ordinary) == 0;
  }
  auto placed = detail::table_insert::crowded;
  for (std::uint64_t seed = 0; placed == detail::table_insert::crowded; ++seed) {
    if (seed == detail::tokenizer_seeds) {
      return error(error_code::tokenizer_data, "too many tokens with the same hash");
    }
    if (!ordinary_.reset(vocab_size(), seed)) return no_memory("a tokenizer of ", vocab_size(), " tokens");
    placed = detail::table_insert::done;
    for (std::uint32_t id = 0; id < vocab_size() && placed == detail::table_insert::done; ++id) {
      if (!has_token(id) || added_only[id]) continue;
      placed = ordinary_.insert(tokens(), id);
      if (placed == detail::table_insert::exists) {
        return error(error_code::token_duplicate, "token ", id, ", ", quoted{token_bytes(id)},
                     ", stands twice");
      }
    }
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    byte_ids_[byte] = ordinary_.find(tokens(), std::string_view(&c, 1));
    if (byte_ids_[byte] == detail::no_token) {
      return error(error_code::byte_missing, "no token for byte ", byte, ", ",
                   quoted{std::string_view(&c, 1)});
    }
  }
  return {};
}

result<void> tokenizer::index_added() noexcept {
  for (std::size_t i = 0; i < added_.size(); i += 2) {
    const std::uint32_t id = added_[i], flags = added_[i + 1];
    if (token_bytes(id).size() > max_added_bytes) {
      return error(error_code::token_too_long, "added token ", id, " has ", token_bytes(id).size(), " bytes");
    }
    if (!((flags & added_raw) != 0 ? first_added_ : second_added_).add(id, flags)) {
      return no_memory("added tokens");
    }
  }
  std::uint32_t twice = first_added_.index(tokens());
  if (twice == detail::no_token) twice = second_added_.index(tokens());
  for (std::size_t i = 0; twice == detail::no_token && i < first_added_.size(); ++i) {
    twice = second_added_.find_exact(tokens(), token_bytes(first_added_.id(i)));
  }
  if (twice != detail::no_token) {
    return error(error_code::token_duplicate, "added token ", quoted{token_bytes(twice)}, " stands twice");
  }
  return {};
}

result<void> tokenizer::index_merges() noexcept {
  const auto count = static_cast<std::uint32_t>(merges_.size() / 2);
  auto placed = detail::table_insert::crowded;
  for (std::uint64_t seed = 0; placed == detail::table_insert::crowded; ++seed) {
    if (seed == detail::tokenizer_seeds) {
      return error(error_code::tokenizer_data, "too many merges with the same hash");
    }
    if (!merge_table_.reset(count, seed)) return no_memory("a tokenizer of ", count, " merges");
    placed = detail::table_insert::done;
    for (std::uint32_t rank = 0; rank < count && placed == detail::table_insert::done; ++rank) {
      const std::uint32_t ids[2] = {merges_[rank * 2], merges_[rank * 2 + 1]};
      char joined[2 * max_token_bytes];
      std::size_t length = 0;
      for (const std::uint32_t id : ids) {
        const std::string_view part = token_bytes(id);
        if (part.empty() || ordinary_.find(tokens(), part) != id) {
          return error(error_code::merge_unknown, "merge ", rank, " names id ", id,
                       ", which is no ordinary token");
        }
        std::memcpy(joined + length, part.data(), part.size());
        length += part.size();
      }
      const std::uint32_t result_id = ordinary_.find(tokens(), {joined, length});
      if (result_id == detail::no_token) {
        return error(error_code::merge_result, "merge ", rank, " would make ", quoted{{joined, length}},
                     ", which is no token");
      }
      placed = merge_table_.insert(ids[0], ids[1], {rank, result_id});
      if (placed == detail::table_insert::exists) {
        return error(error_code::merge_duplicate, "merge ", rank, ", ", quoted{token_bytes(ids[0])}, " with ",
                     quoted{token_bytes(ids[1])}, ", stands twice");
      }
    }
  }
  return {};
}

bool tokenizer::encode_words(std::string_view text, detail::bpe_scratch& scratch,
                             array<std::uint32_t>& out) const noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = piece_end(text, at);
    const std::string_view piece = detail::slice(text, at, end - at);
    at = end;
    // That a piece is a token does not mean that merging its bytes gives it: a merge on the way may be missing or have
    // a bad rank. So it is tried, until it was once so.
    std::uint32_t id = detail::no_token;
    if (piece.size() <= detail::longest_whole_token) id = ordinary_.find(tokens(), piece);
    if (id != detail::no_token && whole_[id].get()) {
      if (!out.push_back(id)) return false;
      continue;
    }
    const std::size_t before = out.size();
    if (!detail::merge_piece(merge_table_, byte_ids_, piece, scratch, out)) return false;
    if (id != detail::no_token && out.size() == before + 1 && out.back() == id) whole_[id].set();
  }
  return true;
}

// Text between added tokens of the first kind: split at those of the second, the rest is words.
bool tokenizer::encode_gap(std::string_view text, bool parse_special, detail::bpe_scratch& scratch,
                           array<std::uint32_t>& out) const noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const auto found = second_added_.find(tokens(), text, at, parse_special);
    if (!encode_words(detail::slice(text, at, found.begin - at), scratch, out)) return false;
    if (found.length != 0 && !out.push_back(found.id)) return false;
    at = found.begin + found.length;
  }
  return true;
}

result<void> tokenizer::encode(std::string_view text, const encode_options& options,
                               array<std::uint32_t>& out) const noexcept {
  if (text.size() > max_text_bytes) {
    return error(error_code::text_too_long, "a text of ", text.size(), " bytes; at most ", max_text_bytes);
  }
  if (vocab_size() == 0) return error(error_code::invalid_argument, "a tokenizer that was moved from");
  const std::size_t before = out.size();
  detail::bpe_scratch scratch(out.memory());
  for (std::size_t at = 0; at < text.size();) {
    const auto found = first_added_.find(tokens(), text, at, options.parse_special);
    if (!encode_gap(detail::slice(text, at, found.begin - at), options.parse_special, scratch, out) ||
        (found.length != 0 && !out.push_back(found.id))) {
      out.truncate(before);
      return no_memory("the tokens of a text of ", text.size(), " bytes");
    }
    at = found.begin + found.length;
  }
  return {};
}

result<void> tokenizer::decode(std::span<const std::uint32_t> ids, ocellus::text& out) const noexcept {
  const std::size_t before = out.size();
  for (const std::uint32_t id : ids) {
    if (out.append(token_bytes(id))) continue;
    out.truncate(before);
    return no_memory("the text of ", ids.size(), " tokens");
  }
  return {};
}

std::optional<std::uint32_t> tokenizer::find(std::string_view bytes) const noexcept {
  std::uint32_t id = ordinary_.find(tokens(), bytes);
  if (id == detail::no_token) id = first_added_.find_exact(tokens(), bytes);
  if (id == detail::no_token) id = second_added_.find_exact(tokens(), bytes);
  if (id == detail::no_token) return std::nullopt;
  return id;
}

bool tokenizer::is_special(std::uint32_t id) const noexcept {
  return has_token(id) && (first_added_.is_special(tokens(), id) || second_added_.is_special(tokens(), id));
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_TOKENIZER_IPP
