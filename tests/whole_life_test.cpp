// The whole life of the library, from opening files to closing everything, when any one allocation or system call fails,
// once or from then on: the error says what happened, nothing is left behind, and the same call made again goes on to the
// same bits.
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "ocellus/chat/chat.hpp"
#include "ocellus/image/decode.hpp"
#include "ocellus/kernels/x86_tiles.hpp"
#include "ocellus/text/tokenizer.hpp"
#include "ocellus/thread_pool.hpp"
#include "support/counting_memory.hpp"
#include "support/system_faults.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_model.hpp"

using namespace ocellus;
using namespace ocellus_tests;

namespace {

/// What a life starts from.
struct belongings {
  std::vector<std::byte> file = tiny_model_file();
  temporary_folder folder;
  std::string model_path = folder / "model.safetensors";
  std::string png = OCELLUS_TEST_DATA "/resize/palette.png";
  std::string jpeg = OCELLUS_TEST_DATA "/image/color_420.jpg";

  belongings() { write_text(model_path, {reinterpret_cast<const char*>(file.data()), file.size()}); }
};

using open_function = std::function<result<model>(const belongings&, const host&)>;

result<model> open_mapped(const belongings& b, const host& hooks) {
  return model::open(b.model_path, hooks, {load_mode::map});
}
result<model> open_read(const belongings& b, const host& hooks) {
  return model::open(b.model_path, hooks, {load_mode::read});
}
result<model> open_automatic(const belongings& b, const host& hooks) {
  return model::open(b.model_path, hooks);
}
result<model> open_memory(const belongings& b, const host& hooks) { return model::open(b.file, hooks); }
result<model> open_virtual(const belongings& b, const host& hooks) {
  const auto read = [](void* context, std::uint64_t offset, void* to, std::size_t bytes) {
    std::memcpy(to, static_cast<const std::byte*>(context) + offset, bytes);
    return true;
  };
  return model::open(file_reader{const_cast<std::byte*>(b.file.data()), b.file.size(), read}, hooks);
}

/// Makes a call once.
struct plainly {
  template <class Call>
  auto operator()(Call&& call) const {
    return call();
  }
  template <class Call, class State>
  auto operator()(Call&& call, State&&) const {
    return call();
  }
};

/// Makes a call again, with all the memory that it wants, when it ran out of memory. state() is what such a call leaves as
/// it was.
struct again {
  counting_memory& memory;

  template <class Call, class State>
  auto operator()(Call&& call, State&& state) const {
    const auto before = state();
    auto done = call();
    if (done) return done;
    CHECK(memory.failed());
    CHECK(name_of(done.error().code()) == "out_of_memory");
    CHECK(state() == before);
    memory.fail(0, counting_memory::failing::never);
    return call();
  }
  template <class Call>
  auto operator()(Call&& call) const {
    return (*this)(call, [] { return 0; });
  }
};

/// Everything that a program does, every call of the library made by `call`. What was computed, as bytes.
template <class Call>
result<std::string> live(const belongings& b, const open_function& open, std::uint32_t workers,
                         const memory_hooks& memory, const Call& call) {
  std::string computed;
  const auto keep = [&](const session& s) {
    computed.append(reinterpret_cast<const char*>(s.logits().data()), s.logits().size_bytes());
  };
  host hooks;
  hooks.memory = memory;
  thread_pool pool;
  if (workers > 1) {
    OCELLUS_ASSIGN(pool, call([&] { return thread_pool::make(workers, memory); }));
    hooks.tasks = pool.hooks();
  }
  OCELLUS_ASSIGN(const image first, call([&] { return load_image(b.png, {}, memory); }));
  OCELLUS_ASSIGN(const image second, call([&] { return load_image(b.jpeg, {}, memory); }));
  OCELLUS_ASSIGN(const model m, call([&] { return open(b, hooks); }));

  // A session: a picture, a prompt of several chunks of rows, three tokens.
  session_options room;
  room.context = 120;
  OCELLUS_ASSIGN(session s, call([&] { return session::open(m, room, hooks); }));
  const auto place = [&] { return std::pair(s.position(), s.length()); };
  image_embedding picture;
  OCELLUS_TRY(call([&] { return s.encode(first.view(), picture); }, place));
  array<std::uint32_t> ids(memory);
  const std::string text = "what is it? " + std::string(60, 'x');  // a long word takes memory of its own
  OCELLUS_TRY(call([&] { return m.tokenizer()->encode(text, ids); }, [&] { return ids.size(); }));
  OCELLUS_TRY(call([&] { return s.append(picture); }, place));
  OCELLUS_TRY(call([&] { return s.append(ids.span()); }, place));
  OCELLUS_TRY(call([&] { return s.step(); }, place));
  keep(s);
  const sampling choices{.temperature = 1.5f, .top_k = 20, .top_p = 0.9f, .seed = 7};
  OCELLUS_ASSIGN(sampler chooser,
                 call([&] { return sampler::make(choices, tiny_vocabulary, m.tokenizer(), memory); }));
  ids.clear();
  for (int i = 0; i < 3; ++i) {
    OCELLUS_ASSIGN(const std::uint32_t id, call([&] { return chooser.next(s.logits(), ids.span()); }));
    if (!ids.push_back(id)) return no_memory("an id");
    OCELLUS_TRY(call([&] { return s.append(ids.span().last(1)); }, place));
    OCELLUS_TRY(call([&] { return s.step(); }, place));
    keep(s);
  }
  ocellus::text words(memory);
  OCELLUS_TRY(call([&] { return m.tokenizer()->decode(ids.span(), words); }, [&] { return words.size(); }));
  computed += words.view();

  // A chat: two turns, the first with two pictures.
  OCELLUS_ASSIGN(chat c, call([&] { return chat::open(m, {.max_tokens = 3}, hooks); }));
  const auto turn = [&] { return std::tuple(c.turns(), c.pictures(), c.inner().length()); };
  OCELLUS_TRY(call([&] { return c.show(second); }, turn));
  OCELLUS_TRY(call([&] { return c.show(picture); }, turn));
  OCELLUS_TRY(call([&] { return c.ask("what is it?"); }, turn));
  computed += c.last().text;
  OCELLUS_TRY(call([&] { return c.ask("why?"); }, turn));
  computed += c.last().text;
  keep(c.inner());
  // Two that go on from there together, about two more pictures that were encoded in one pass.
  image_embedding both[2];
  OCELLUS_ASSIGN(session eyes, call([&] { return session::open(m, {.context = 1, .pictures = 2}, hooks); }));
  const image_view views[] = {first.view(), second.view()};
  OCELLUS_TRY(call([&] { return eyes.encode(views, both); },
                   [&] { return both[0].values.size() + both[1].values.size(); }));
  OCELLUS_TRY(call([&] { return c.show(both[0]); }, turn));
  OCELLUS_TRY(call([&] { return c.show(both[1]); }, turn));
  const auto shown = [&] { return std::pair(c.turns(), c.pictures()); };
  OCELLUS_ASSIGN(chat left, call([&] { return c.fork(); }, shown));
  OCELLUS_ASSIGN(chat right, call([&] { return c.fork(30); }, shown));
  OCELLUS_TRY(call([&] { return left.begin("and this?"); }, turn));
  OCELLUS_TRY(call([&] { return right.begin("so?"); }, turn));
  chat* pair[] = {&left, &right};
  OCELLUS_TRY(call([&] { return chat::step(pair); }, turn));
  for (const chat* one : pair) {
    computed += one->last().text;
    keep(one->inner());
  }
  OCELLUS_TRY(call([&] { return c.clear(); }));
  OCELLUS_ASSIGN(const answer_score score, call([&] { return c.score("and?", "no"); }, turn));
  computed.append(reinterpret_cast<const char*>(&score.log_probability), sizeof score.log_probability);
  return computed;
}

std::string undisturbed(const belongings& b) {
  counting_memory memory;
  const auto done = live(b, open_memory, 1, memory.hooks(), plainly{});
  REQUIRE(done);
  return *done;
}

}  // namespace

TEST_CASE("whole life: every allocation may fail, and the failed call can be made again") {
  const belongings b;
  const std::string expected = undisturbed(b);
  const auto survive = [&](const open_function& open, std::uint32_t workers) {
    CAPTURE(workers);
    for (const auto how : {counting_memory::failing::once, counting_memory::failing::for_ever}) {
      for (std::size_t n = 1;; ++n) {
        CAPTURE(n);
        counting_memory memory;  // checks at its end that nothing is left
        memory.fail(n, how);
        const auto done = live(b, open, workers, memory.hooks(), again{memory});
        REQUIRE(done);
        REQUIRE(*done == expected);
        if (!memory.failed()) {
          CHECK(n > 50);
          break;
        }
      }
    }
  };
  SUBCASE("a mapped file") { survive(open_mapped, 1); }
  SUBCASE("a file that is read") { survive(open_read, 1); }
  SUBCASE("memory") { survive(open_memory, 1); }
  SUBCASE("a virtual file") { survive(open_virtual, 1); }
  SUBCASE("threads") { survive(open_mapped, 3); }
}

TEST_CASE("whole life: every allocation may fail, and everything is given back") {
  const belongings b;
  for (const std::uint32_t workers : {1u, 3u}) {
    fail_every_allocation(
        [&](const memory_hooks& memory) { return live(b, open_automatic, workers, memory, plainly{}); });
  }
}

#if !defined(OCELLUS_TEST_SYSTEM_FAULTS)
TEST_CASE("whole life: every system call may fail") { OCELLUS_SKIP_SYSTEM_FAULTS(); }
#else
TEST_CASE("whole life: every system call may fail") {
  const belongings b;
  const std::string expected = undisturbed(b);
  const auto survive = [&](const open_function& open, const std::string& without_map) {
    fail_every_system_call(
        [&] {
          counting_memory memory;
          const auto done = live(b, open, 3, memory.hooks(), plainly{});
          if (done) CHECK(*done == expected);
          return std::string(done ? "ok" : name_of(done.error().code()));
        },
        [&](const system_fault& fault) -> std::string {
          if (fault.call == system_call::mmap) return without_map;
          // A file that is read is looked at twice, the second time to see whether it changed.
          if (fault.call == system_call::fstat && fault.first % 2 == 0) return "read_failed";
          return code_of(fault);
        });
  };
  SUBCASE("a mapped file") { survive(open_mapped, "read_failed"); }
  SUBCASE("a file that is read") { survive(open_read, "ok"); }
  SUBCASE("a file that is mapped if possible") { survive(open_automatic, "ok"); }
}

TEST_CASE("whole life: no system call goes past the faults") {
  const temporary_folder folder;
  write_text(folder / "file", "content");
  const system_faults faults;
  CHECK(thread_pool::make(2));
  CHECK(byte_source::open(folder / "file", {}, {load_mode::map}));
  CHECK(byte_source::open(folder / "file", {}, {load_mode::read}));
  for (const bool commit : {true, false}) {
    auto out = output_file::create(folder / "out");
    REQUIRE(out);
    REQUIRE(out->write("x"));
    if (commit) REQUIRE(out->commit());
  }
  static_cast<void>(ocellus::detail::x86_ask_for_tiles());  // sessions do so where the processor has tiles
  for (const call_name& kind : failing_calls()) {
    if (kind.call == system_call::arch_prctl && !OCELLUS_X86_TILES) continue;
    CHECK_MESSAGE(faults.calls(kind.call) > 0, std::string(kind.name));
  }
}
#endif
