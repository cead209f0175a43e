// Reading and writing whole files, and everything that a path may turn out to be.
#include "ocellus/io/file.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "support/counting_memory.hpp"
#include "support/skip.hpp"
#include "support/temporary_folder.hpp"

#if !defined(_WIN32)
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#endif

using namespace ocellus;
using ocellus_tests::counting_memory;
using ocellus_tests::read_text;
using ocellus_tests::temporary_folder;
using ocellus_tests::write_text;

namespace {

const load_mode all_modes[] = {load_mode::automatic, load_mode::map, load_mode::read};

std::string verdict(const result<byte_source>& made) {
  return made ? "ok" : std::string(name_of(made.error().code()));
}

// The code for a path, the same in every mode.
std::string opened(std::string_view path, std::uint64_t max_bytes = UINT64_MAX) {
  std::string all;
  for (const load_mode mode : all_modes) {
    const std::string one = verdict(byte_source::open(path, {}, {mode, max_bytes}));
    if (!all.empty() && all != one) return all + " and " + one;
    all = one;
  }
  return all;
}

}  // namespace

TEST_CASE("file: a file's bytes are the same in every mode") {
  const temporary_folder folder;
  for (std::size_t size :
       {std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{4097}, std::size_t{1'000'000}}) {
    std::string content(size, '\0');
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 31 + i / 257);
    write_text(folder / "file", content);
    for (const load_mode mode : all_modes) {
      counting_memory memory;
      {
        const auto made = byte_source::open(folder / "file", memory.hooks(), {mode});
        REQUIRE(made);
        CHECK(made->chars() == content);
        CHECK(reinterpret_cast<std::uintptr_t>(made->bytes().data()) % 64 == 0);
        if (mode == load_mode::map) CHECK(made->is_mapped());
        if (mode == load_mode::read) CHECK(!made->is_mapped());
        CHECK((memory.current() == size) == !made->is_mapped());
      }
      CHECK(memory.live() == 0);
    }
  }
}

TEST_CASE("file: a source is moved with its bytes") {
  const temporary_folder folder;
  write_text(folder / "a", "aaaa");
  write_text(folder / "b", "bb");
  for (const load_mode mode : all_modes) {
    auto a = byte_source::open(folder / "a", {}, {mode});
    auto b = byte_source::open(folder / "b", {}, {mode});
    REQUIRE(a);
    REQUIRE(b);
    const std::byte* place = a->bytes().data();
    byte_source moved = std::move(*a);
    CHECK(a->bytes().empty());
    CHECK(moved.bytes().data() == place);
    moved = std::move(*b);
    CHECK(moved.chars() == "bb");
    moved = byte_source();
    CHECK(moved.bytes().empty());
  }
}

TEST_CASE("file: the same file may be open twice, and replaced while it is open") {
  const temporary_folder folder;
  const std::string path = folder / "file";
  write_text(path, "old content");
  const auto first = byte_source::open(path);
  REQUIRE(first);
  {
    const auto second = byte_source::open(path);
    REQUIRE(second);
    CHECK(second->chars() == first->chars());
  }
#if !defined(_WIN32)  // where a mapped file can be replaced
  auto out = output_file::create(path);
  REQUIRE(out);
  REQUIRE(out->write("new"));
  REQUIRE(out->commit());
  CHECK(read_text(path) == "new");
#endif
  CHECK(first->chars() == "old content");
}

TEST_CASE("file: paths that are none") {
  const temporary_folder folder;
  CHECK(opened("") == "bad_path");
  CHECK(opened(std::string_view("a\0b", 3)) == "bad_path");
  CHECK(opened(std::string(100'000, 'x')) == "bad_path");
  CHECK(opened(folder / "missing") == "not_found");
  CHECK(opened(folder / "missing/file") == "not_found");
  CHECK(opened(folder.path()) == "not_regular");
  write_text(folder / "empty", "");
  CHECK(opened(folder / "empty") == "empty_file");
  write_text(folder / "ten", "0123456789");
  CHECK(opened(folder / "ten", 10) == "ok");
  CHECK(opened(folder / "ten", 9) == "too_large");
  const auto made = byte_source::open(folder / "missing\n");
  REQUIRE(!made);
  const std::string message(made.error().message());
  CHECK(message.find("missing\\x0a") != std::string::npos);  // named, and harmless
  CHECK(message.find("no such file") != std::string::npos);
}

TEST_CASE("file: names beyond ASCII") {
  const temporary_folder folder;
  const std::string name = "gr\xc3\xbc\xc3\x9f \xf0\x9f\x91\x81.bin";
  auto out = output_file::create(folder / name);
  REQUIRE(out);
  REQUIRE(out->write("x"));
  REQUIRE(out->commit());
  CHECK(opened(folder / name) == "ok");
}

#if !defined(_WIN32)
TEST_CASE("file: what is no regular file is refused without waiting") {
  const temporary_folder folder;
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  CHECK(opened(folder / "fifo") == "not_regular");
  CHECK(opened("/dev/null") == "not_regular");
  CHECK(opened("/dev/zero") == "not_regular");
  CHECK(opened(folder / "fifo/x") == "not_found");

  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = folder / "socket";
  REQUIRE(path.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  REQUIRE(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  CHECK(opened(path) == "not_regular");
  ::close(socket);

  std::filesystem::create_symlink(folder / "loop", folder / "loop");
  CHECK(opened(folder / "loop") == "bad_path");
  write_text(folder / "real", "x");
  std::filesystem::create_symlink("real", folder / "link");
  CHECK(opened(folder / "link") == "ok");
  CHECK(opened(folder / std::string(300, 'n')) == "bad_path");
}

TEST_CASE("file: a file of the kernel's making is no regular file") {
  if (::access("/proc/version", R_OK) != 0) OCELLUS_SKIP("no /proc");
  CHECK(opened("/proc/version") == "not_regular");
}

TEST_CASE("file: no permission, and no file numbers left") {
  const temporary_folder folder;
  write_text(folder / "secret", "x");
  ::chmod((folder / "secret").c_str(), 0);
  if (::geteuid() != 0) CHECK(opened(folder / "secret") == "open_failed");

  struct rlimit before;
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  write_text(folder / "file", "x");
  std::vector<int> taken;
  struct rlimit few = before;
  few.rlim_cur = 64;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (int number = ::dup(0); number >= 0; number = ::dup(0)) taken.push_back(number);
  const std::string code = opened(folder / "file");
  const auto made = byte_source::open(folder / "file");
  const auto out = output_file::create(folder / "out");
  for (int number : taken) ::close(number);
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(code == "open_failed");
  REQUIRE(!made);
  CHECK(std::string(made.error().message()).find("too many open files") != std::string::npos);
  REQUIRE(!out);
  CHECK(out.error().code() == error_code::open_failed);
  CHECK(opened(folder / "file") == "ok");
}

TEST_CASE("file: nothing stays open") {
  const temporary_folder folder;
  write_text(folder / "file", "x");
  write_text(folder / "empty", "");
  const int before = ::dup(0);
  ::close(before);
  for (const load_mode mode : all_modes) {
    for (const std::string& path : {folder / "file", folder / "empty", folder.path()}) {
      (void)byte_source::open(path, {}, {mode}).has_value();
    }
  }
  { (void)output_file::create(folder / "out").has_value(); }
  const int after = ::dup(0);
  ::close(after);
  CHECK(before == after);
}

TEST_CASE("file: a file that shrinks or changes while it is read") {
  const temporary_folder folder;
  const std::string path = folder / "file";
  for (const bool shrink : {true, false}) {
    write_text(path, std::string(10'000, 'a'));
    counting_memory memory;
    // The library asks for memory between its look at the size and its reading.
    memory.before_allocate = [&, asked = 0]() mutable {
      if (++asked == 2) std::filesystem::resize_file(path, shrink ? 5'000 : 20'000);
    };
    {
      const auto made = byte_source::open(path, memory.hooks(), {load_mode::read});
      CHECK(verdict(made) == "file_changed");
    }
    CHECK(memory.live() == 0);
  }
}

namespace {

/// Bytes of mapped files in this process's memory, nothing where the system does not tell.
std::size_t resident_file_bytes() {
  const std::string status = read_text("/proc/self/status");
  const std::size_t at = status.find("RssFile:");
  return at == std::string::npos ? 0 : std::stoul(status.substr(at + 8)) * 1024;
}

}  // namespace

TEST_CASE("file: evicted bytes leave memory and come back when they are read") {
  const temporary_folder folder;
  std::string content(std::size_t{16} << 20, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i / 4096 * 7 + i);
  write_text(folder / "file", content);
  for (const load_mode mode : all_modes) {
    const auto made = byte_source::open(folder / "file", {}, {mode});
    REQUIRE(made);
    CHECK(made->chars() == content);
    const std::size_t before = resident_file_bytes();
    made->evict(made->bytes().subspan(4097, content.size() - 10'000));  // at no page's beginning or end
    made->evict({});
    const std::size_t after = resident_file_bytes();
    if (made->is_mapped() && before != 0) CHECK(after + (std::size_t{15} << 20) < before);
    CHECK(made->chars() == content);
    made->evict(made->bytes());
    made->evict(made->bytes().last(1));
    CHECK(made->chars() == content);
  }
  const byte_source borrowed = byte_source::borrow(std::as_bytes(std::span(content)));
  borrowed.evict(borrowed.bytes());
  CHECK(borrowed.chars() == content);
}

TEST_CASE("file: a huge file of holes costs nothing to map and too much to read") {
  const temporary_folder folder;
  const std::string path = folder / "holes";
  write_text(path, "x");
  if (::truncate(path.c_str(), off_t{1} << 40) != 0) OCELLUS_SKIP("the file system has no sparse files");
  counting_memory memory;
  memory.fail(2, counting_memory::failing::for_ever);  // the first is the path
  {
    const auto mapped = byte_source::open(path, memory.hooks());
    if (mapped) {
      CHECK(mapped->bytes().size() == std::size_t{1} << 40);
      CHECK(mapped->chars().front() == 'x');
    }
  }
  for (int i = 0; i < 300; ++i) {  // more than an address space holds, were they not given back
    if (verdict(byte_source::open(path, {}, {load_mode::map})) != "ok") FAIL("mapping ", i);
  }
  memory.fail(2, counting_memory::failing::for_ever);
  CHECK(verdict(byte_source::open(path, memory.hooks(), {load_mode::read})) == "out_of_memory");
}

TEST_CASE("file: where mapping fails, a file is read") {
  const temporary_folder folder;
  const std::string path = folder / "file", content(300'000, 'c');
  write_text(path, content);
  // The host's memory is there already: the system has none to give.
  struct reserve {
    alignas(64) std::byte bytes[400'000];
    std::size_t used = 0;
  };
  const auto room = std::make_unique<reserve>();
  memory_hooks memory;
  memory.context = room.get();
  memory.allocate = [](void* context, std::size_t bytes, std::size_t) -> void* {
    auto& r = *static_cast<reserve*>(context);
    const std::size_t begin = (r.used + 63) / 64 * 64;
    if (bytes > sizeof(r.bytes) - begin) return nullptr;
    r.used = begin + bytes;
    return r.bytes + begin;
  };
  memory.release = [](void*, void*, std::size_t, std::size_t) {};
  struct rlimit before;
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  struct rlimit none = before;
  none.rlim_cur = 1;
  (void)opened(path);  // the stack that this takes is there then
  REQUIRE(::setrlimit(RLIMIT_AS, &none) == 0);
  const auto automatic = byte_source::open(path, memory);
  const auto mapped = byte_source::open(path, memory, {load_mode::map});
  const auto second = byte_source::open(path, memory);  // for which the reserve is too small
  ::setrlimit(RLIMIT_AS, &before);
  REQUIRE(automatic);
  CHECK(!automatic->is_mapped());
  CHECK(automatic->chars() == content);
  CHECK(verdict(mapped) == "read_failed");
  CHECK(verdict(second) == "out_of_memory");
}

TEST_CASE("file: what was read does not change with the file") {
  const temporary_folder folder;
  const std::string path = folder / "file", content(100'000, 'o');
  write_text(path, content);
  const auto made = byte_source::open(path, {}, {load_mode::read});
  REQUIRE(made);
  write_text(path, "new");
  CHECK(made->chars() == content);
  std::filesystem::remove(path);
  CHECK(made->chars() == content);
}

TEST_CASE("file: an output that cannot be completed leaves nothing and harms nothing") {
  const temporary_folder folder;
  const std::string path = folder / "out";
  write_text(path, "before");
  struct rlimit before;
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  {
    auto out = output_file::create(path);
    REQUIRE(out);
    CHECK(folder.size() == 2);
    struct rlimit little = before;
    little.rlim_cur = 1000;
    const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &little) == 0);
    const auto written = out->write(std::string(5000, 'x'));  // as on a full disk: a part, then an error
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, old_handler);
    REQUIRE(!written);
    CHECK(written.error().code() == error_code::write_failed);
    CHECK(std::string(written.error().message()).find("out") != std::string::npos);
  }
  CHECK(folder.size() == 1);
  CHECK(read_text(path) == "before");

  const auto device = output_file::create("/dev/null");
  REQUIRE(!device);
  CHECK(device.error().code() == error_code::not_regular);
}

TEST_CASE("file: a target that became a folder refuses the rename") {
  const temporary_folder folder;
  auto out = output_file::create(folder / "out");
  REQUIRE(out);
  REQUIRE(out->write("x"));
  std::filesystem::create_directory(folder / "out");
  write_text(folder / "out/inside", "y");
  const auto committed = out->commit();
  REQUIRE(!committed);
  CHECK(committed.error().code() == error_code::write_failed);
  CHECK(folder.size() == 1);
}
#endif

TEST_CASE("file: an output appears at commit and not before") {
  const temporary_folder folder;
  const std::string path = folder / "out";
  {
    auto out = output_file::create(path);
    REQUIRE(out);
    REQUIRE(out->write("abc"));
    CHECK(!std::filesystem::exists(path));
  }
  CHECK(folder.size() == 0);  // given up
  {
    auto out = output_file::create(path);
    REQUIRE(out);
    REQUIRE(out->write("abc"));
    output_file moved = std::move(*out);
    REQUIRE(moved.write("def"));
    REQUIRE(moved.write(""));
    REQUIRE(moved.commit());
    const auto again = moved.write("x");
    REQUIRE(!again);
    CHECK(again.error().code() == error_code::invalid_argument);
    CHECK(!moved.commit());
    CHECK(!out->write("x"));
  }
  CHECK(read_text(path) == "abcdef");
  CHECK(folder.size() == 1);
  {  // two at once to one target: the last wins
    auto a = output_file::create(path);
    auto b = output_file::create(path);
    REQUIRE(a);
    REQUIRE(b);
    REQUIRE(a->write("a"));
    REQUIRE(b->write("b"));
    REQUIRE(a->commit());
    REQUIRE(b->commit());
  }
  CHECK(read_text(path) == "b");
  CHECK(folder.size() == 1);
  const auto missing = output_file::create(folder / "no/such/folder");
  REQUIRE(!missing);
  CHECK(missing.error().code() == error_code::not_found);
  const auto is_folder = output_file::create(folder.path());
  REQUIRE(!is_folder);
  CHECK(is_folder.error().code() == error_code::not_regular);
  CHECK(!output_file::create(""));
}

TEST_CASE("file: a host's virtual file is read whole, once") {
  struct archive {
    std::string content = std::string(100'000, 'q');
    std::size_t asked = 0;
    bool broken = false;
  } inside;
  inside.content[99'999] = 'z';
  file_reader reader{&inside, inside.content.size(),
                     [](void* context, std::uint64_t offset, void* to, std::size_t bytes) {
                       auto& self = *static_cast<archive*>(context);
                       if (self.broken || offset + bytes > self.content.size()) return false;
                       std::memcpy(to, self.content.data() + offset, bytes);
                       self.asked += bytes;
                       return true;
                     }};
  counting_memory memory;
  {
    const auto made = byte_source::load(reader, memory.hooks());
    REQUIRE(made);
    CHECK(made->chars() == inside.content);
    CHECK(inside.asked == inside.content.size());
    CHECK(reinterpret_cast<std::uintptr_t>(made->bytes().data()) % 64 == 0);
    CHECK(!made->is_mapped());
    CHECK(memory.current() == inside.content.size());
  }
  inside.broken = true;
  CHECK(verdict(byte_source::load(reader, memory.hooks())) == "read_failed");
  CHECK(memory.live() == 0);
  CHECK(verdict(byte_source::load(reader, memory.hooks(), {load_mode::automatic, 10})) == "too_large");
  reader.size = 0;
  CHECK(verdict(byte_source::load(reader)) == "empty_file");
  CHECK(verdict(byte_source::load({})) == "invalid_argument");
  reader.size = UINT64_MAX;
  CHECK(verdict(byte_source::load(reader)) == "too_large");
  reader.size = std::uint64_t{1} << 40;
  memory.fail(1, counting_memory::failing::once);
  CHECK(verdict(byte_source::load(reader, memory.hooks())) == "out_of_memory");
}

TEST_CASE("file: borrowed bytes stay where they are") {
  const std::string content = "content";
  const byte_source made = byte_source::borrow(std::as_bytes(std::span(content)));
  CHECK(made.chars() == content);
  CHECK(made.chars().data() == content.data());
  CHECK(!made.is_mapped());
}

TEST_CASE("file: every allocation may fail") {
  const temporary_folder folder;
  write_text(folder / "file", "content");
  for (const load_mode mode : all_modes) {
    ocellus_tests::fail_every_allocation(
        [&](const memory_hooks& memory) { return byte_source::open(folder / "file", memory, {mode}); });
  }
  ocellus_tests::fail_every_allocation(
      [&](const memory_hooks& memory) { return output_file::create(folder / "out", memory); });
  CHECK(folder.size() == 1);
}
