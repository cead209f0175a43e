// What is done with text once there is a tokenizer: the bytes are a text to encode and cut into pieces, ids to decode, an
// answer with boxes and stop strings. The vocabulary is CodeGen's.
#include <algorithm>
#include <array>

#include "fuzz/fuzz.hpp"
#include "ocellus/io/file.hpp"
#include "ocellus/io/utf8.hpp"
#include "ocellus/text/boxes.hpp"
#include "ocellus/text/pretokenizer.hpp"
#include "ocellus/text/prompt.hpp"
#include "ocellus/text/stop_matcher.hpp"
#include "ocellus/text/stream_decoder.hpp"
#include "ocellus/text/tokenizer.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

result<tokenizer> load_codegen() {
  const std::string folder = OCELLUS_TEST_DATA "/tokenizer/";
  OCELLUS_ASSIGN(const auto vocabulary, byte_source::open(folder + "vocab.json"));
  OCELLUS_ASSIGN(const auto merges, byte_source::open(folder + "merges.txt"));
  OCELLUS_ASSIGN(const auto added, byte_source::open(folder + "added_tokens.json"));
  return tokenizer::from_files({vocabulary.chars(), merges.chars(), added.chars()});
}

const tokenizer& codegen() {
  static const result<tokenizer> loaded = load_codegen();
  OCELLUS_HOLDS(loaded);
  return *loaded;
}

/// Cuts a text into pieces whose lengths the fuzzer chooses.
class cutter {
 public:
  cutter(std::string_view text, std::uint32_t seed) : rest_(text), seed_(seed) {}
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  std::string_view next() {
    seed_ = seed_ * 1664525 + 1013904223;
    const std::string_view piece = rest_.substr(0, seed_ >> 29);  // up to 7 bytes, none too
    rest_.remove_prefix(piece.size());
    return piece;
  }

 private:
  std::string_view rest_;
  std::uint32_t seed_;
};

void check_encoding(std::string_view bytes) {
  for (const bool parse_special : {false, true}) {
    array<std::uint32_t> ids;
    OCELLUS_HOLDS(codegen().encode(bytes, {parse_special}, ids));
    OCELLUS_HOLDS(ids.size() <= bytes.size());
    text decoded;
    OCELLUS_HOLDS(codegen().decode(ids.span(), decoded));
    OCELLUS_HOLDS(decoded.view() == bytes);
  }
}

void check_pieces(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = piece_end(bytes, at);
    OCELLUS_HOLDS(end > at && end <= bytes.size());
    at = end;
  }
}

/// The bytes as ids, most of which exist.
void check_ids(std::span<const std::byte> bytes) {
  input in(bytes);
  std::vector<std::uint32_t> ids;
  std::string joined;
  while (!in.rest().empty()) {
    ids.push_back(in.number(ids.size() % 16 == 15 ? 4 : 2));
    joined += codegen().token_bytes(ids.back());
  }
  text decoded;
  OCELLUS_HOLDS(codegen().decode(ids, decoded));
  OCELLUS_HOLDS(decoded.view() == joined);
}

/// What stream_decoder writes for text that is given to it all at once.
text decoded_at_once(std::string_view bytes) {
  stream_decoder decoder;
  text all;
  OCELLUS_HOLDS(decoder.push(bytes, all) && decoder.finish(all));
  return all;
}

void check_stream(std::string_view bytes, std::uint32_t seed) {
  stream_decoder decoder;
  text streamed;
  for (cutter cut(bytes, seed); !cut.empty();) {
    OCELLUS_HOLDS(decoder.push(cut.next(), streamed));
    OCELLUS_HOLDS(is_utf8(streamed.view()) && decoder.held() <= 3);
  }
  OCELLUS_HOLDS(decoder.finish(streamed) && decoder.held() == 0);
  OCELLUS_HOLDS(streamed.view() == decoded_at_once(bytes).view());
  OCELLUS_HOLDS(is_utf8(streamed.view()));
  if (is_utf8(bytes)) OCELLUS_HOLDS(streamed.view() == bytes);
}

/// Where the first stop string that is complete ends the text, of several the longest; by trying all.
std::size_t first_stop(std::string_view bytes, std::span<const std::string_view> stops) {
  for (std::size_t end = 1; end <= bytes.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string_view stop : stops) {
      if (bytes.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest != 0) return end - longest;
  }
  return std::string_view::npos;
}

void check_stops(std::string_view bytes, std::uint32_t seed) {
  // Stop strings out of the text itself, so that they occur.
  std::array<std::string_view, 3> stops;
  for (std::size_t i = 0; i < stops.size(); ++i)
    stops[i] = bytes.substr(std::min<std::size_t>(seed >> (8 * i) & 127, bytes.size()), 1 + i * 2);
  auto matcher = stop_matcher::make(stops);
  if (!matcher) {
    OCELLUS_HOLDS(matcher.error().code() == error_code::stop_string);
    return;
  }
  const std::size_t end = first_stop(bytes, stops);
  text passed;
  for (cutter cut(bytes, seed); !cut.empty();) OCELLUS_HOLDS(matcher->push(cut.next(), passed));
  OCELLUS_HOLDS(matcher->stopped() == (end != std::string_view::npos));
  OCELLUS_HOLDS(matcher->finish(passed));
  OCELLUS_HOLDS(passed.view() == bytes.substr(0, end));
}

void check_boxes(std::string_view bytes) {
  array<answer_box> boxes;
  OCELLUS_HOLDS(parse_boxes(bytes, boxes));
  for (const answer_box& box : boxes) {
    touch(box.phrase);
    OCELLUS_HOLDS(box.valid == (box.x0 <= box.x1 && box.x1 <= 100 && box.y0 <= box.y1 && box.y1 <= 100));
    text written;
    OCELLUS_HOLDS(append_box(box, written).has_value() == box.valid);
    if (!box.valid) continue;
    array<answer_box> again;
    OCELLUS_HOLDS(parse_boxes(written.view(), again) && again.size() == 1);
    answer_box alone = box;
    alone.phrase = again[0].phrase;
    OCELLUS_HOLDS(again[0] == alone && again[0].phrase.empty());
  }
}

void check_prompts(std::string_view bytes, std::uint32_t seed) {
  static_cast<void>(find_template(bytes));
  const std::uint32_t images = seed % 4;
  for (const prompt_template& layout : prompt_templates()) {
    for (const auto turn : {prompt::turn::first, prompt::turn::later}) {
      const auto made = prompt::make(layout, turn, images, bytes);
      OCELLUS_HOLDS(made);
      std::uint32_t seen = 0;
      bool user = false, after_text = false;
      for (std::size_t i = 0; i < made->size(); ++i) {
        const prompt_segment segment = (*made)[i];
        const bool is_text = segment.part == prompt_part::text;
        OCELLUS_HOLDS(!(is_text && after_text));
        if (is_text) user = user || segment.text.find(bytes) != std::string_view::npos;
        if (segment.part == prompt_part::image) ++seen;
        after_text = is_text;
      }
      OCELLUS_HOLDS(seen == images && (user || bytes.empty()));
    }
  }
}

}  // namespace

bool run(std::span<const std::byte> bytes) {
  input in(bytes);
  const std::uint32_t seed = in.number(4);
  const std::vector<std::byte> exact = in.take_rest();
  const std::string_view text = chars(exact);
  check_encoding(text);
  check_pieces(text);
  check_ids(exact);
  check_stream(text, seed);
  check_stops(text.substr(0, 1024), seed);
  check_boxes(text);
  check_prompts(text, seed);
  return true;
}

}  // namespace ocellus_fuzz
