// json, json_reader and json_writer: the bytes are a text. Every value that is accepted is walked, found by its key, and
// written again it parses to an equal one.
#include "ocellus/io/json.hpp"

#include <cmath>

#include "fuzz/fuzz.hpp"
#include "ocellus/io/json_writer.hpp"

using namespace ocellus;

namespace ocellus_fuzz {
namespace {

// (Recursion is fine here: what was accepted is at most json_limits::depth deep.)

void write(json::value v, json_writer& to) {
  switch (v.kind()) {
    case json_kind::object:
      to.begin_object();
      for (const json::member m : v.members()) write(m.value, to.key(m.key));
      to.end_object();
      break;
    case json_kind::array:
      to.begin_array();
      for (const json::value element : v.elements()) write(element, to);
      to.end_array();
      break;
    case json_kind::string:
      to.string(*v.as_string_view());
      break;
    case json_kind::number:
      if (v.as_uint64()) {
        to.integer(*v.as_uint64());
      } else if (v.as_int64() && v.as_int64() != 0) {  // not -0
        to.integer(*v.as_int64());
      } else if (v.as_double()) {
        to.number(*v.as_double());
      } else {
        to.string(v.number_text());  // beyond double
      }
      break;
    case json_kind::boolean:
      to.boolean(*v.as_bool());
      break;
    default:
      to.null();
  }
}

void check_number(json::value a, json::value b) {
  if (!a.as_double()) {
    OCELLUS_HOLDS(b.as_string_view() == a.number_text());
    return;
  }
  OCELLUS_HOLDS(b.as_double().has_value());
  OCELLUS_HOLDS(*a.as_double() == *b.as_double() &&
                std::signbit(*a.as_double()) == std::signbit(*b.as_double()));
  if (a.as_uint64()) {
    OCELLUS_HOLDS(b.as_uint64() == a.as_uint64());
    OCELLUS_HOLDS(static_cast<double>(*a.as_uint64()) == *a.as_double());
  }
  if (a.as_int64()) OCELLUS_HOLDS(static_cast<double>(*a.as_int64()) == *a.as_double());
}

void check_same(json::value a, json::value b) {
  if (a.kind() == json_kind::number) return check_number(a, b);
  OCELLUS_HOLDS(a.kind() == b.kind());
  OCELLUS_HOLDS(a.size() == b.size());
  OCELLUS_HOLDS(a.as_bool() == b.as_bool());
  OCELLUS_HOLDS(a.as_string_view() == b.as_string_view());
  OCELLUS_HOLDS(a.number_text().empty() && !a.as_double() && !a.as_int64());
  std::size_t members = 0;
  for (const json::member m : a.members()) {
    const json::value other = b.find(m.key);
    OCELLUS_HOLDS(static_cast<bool>(other) && static_cast<bool>(a.find(m.key)));
    check_same(m.value, other);
    ++members;
  }
  auto other = b.elements().begin();
  for (const json::value element : a.elements()) {
    check_same(element, *other);
    ++other;
    ++members;
  }
  OCELLUS_HOLDS(members == a.size());
  OCELLUS_HOLDS(!a.at(a.size()));
}

/// All events of the pull parser, with the value that begins at event number `skipped` passed over.
result<std::size_t> count_events(std::string_view text, std::size_t skipped) {
  json_reader reader(text);
  std::string unescaped;
  for (std::size_t events = 0;; ++events) {
    OCELLUS_ASSIGN(const json_event event, reader.next());
    if (event.what == json_event::kind::end) {
      OCELLUS_HOLDS(reader.depth() == 0);
      return events;
    }
    unescaped.resize(event.text.size());
    if (event.escaped) OCELLUS_HOLDS(unescape_json(event.text, unescaped.data()) <= event.text.size());
    if (events == skipped) OCELLUS_TRY(reader.skip(event));
  }
}

}  // namespace

bool run(std::span<const std::byte> bytes) {
  const std::string_view text = chars(bytes);
  limited_memory memory(kib(4) + 64 * bytes.size());
  const auto parsed = json::parse(text, memory.hooks());
  const auto events = count_events(text, SIZE_MAX);
  const auto with_skip = count_events(text, bytes.size() % 8);
  // The reader does not look for duplicate keys; in all else the two agree.
  if (!parsed) {
    if (events) OCELLUS_HOLDS(parsed.error().code() == error_code::duplicate_key);
    return false;
  }
  OCELLUS_HOLDS(events && with_skip && *with_skip <= *events);
  limited_memory more(SIZE_MAX);
  json_writer writer(more.hooks());
  write(parsed->root(), writer);
  const auto written = writer.finish();
  OCELLUS_HOLDS(written);
  const auto again = json::parse(written->view(), more.hooks());
  OCELLUS_HOLDS(again);
  check_same(parsed->root(), again->root());
  return true;
}

}  // namespace ocellus_fuzz
