// Files when system calls fail, are interrupted or do only a part: the right code, nothing left behind, and trying again
// works.
#include <doctest/doctest.h>

#include <string>

#include "ocellus/io/file.hpp"
#include "ocellus/io/same_file.hpp"
#include "support/counting_memory.hpp"
#include "support/system_faults.hpp"
#include "support/temporary_folder.hpp"

#if !defined(OCELLUS_TEST_SYSTEM_FAULTS)
TEST_CASE("file faults: every system call may fail") { OCELLUS_SKIP_SYSTEM_FAULTS(); }
#else

using namespace ocellus;
using namespace ocellus_tests;

namespace {

const std::string content(10'000, 'c');

template <class T>
std::string verdict(const result<T>& made) {
  return made ? "ok" : std::string(name_of(made.error().code()));
}

/// Opens and closes a file; its bytes must be the content.
std::string read_whole(const std::string& path, load_mode mode) {
  counting_memory memory;  // checks that nothing is left
  const auto made = byte_source::open(path, memory.hooks(), {mode});
  if (made) CHECK(made->chars() == content);
  return verdict(made);
}

/// Writes a file in three pieces, or gives up on it before the end.
result<void> write_file(const std::string& path, std::string_view bytes, bool commit,
                        const memory_hooks& memory) {
  OCELLUS_ASSIGN(auto out, output_file::create(path, memory));
  OCELLUS_TRY(out.write(bytes.substr(0, 10)));
  OCELLUS_TRY(out.write(bytes.substr(10, 4096)));
  OCELLUS_TRY(out.write(bytes.substr(4106)));
  if (commit) OCELLUS_TRY(out.commit());
  return {};
}

}  // namespace

TEST_CASE("file faults: reading a file") {
  const temporary_folder folder;
  const std::string path = folder / "file";
  write_text(path, content);
  for (const load_mode mode : {load_mode::automatic, load_mode::map, load_mode::read}) {
    CAPTURE(static_cast<int>(mode));
    fail_every_system_call([&] { return read_whole(path, mode); },
                           [&](const system_fault& fault) -> std::string {
                             // The second look at the file is to see whether it changed.
                             if (fault.call == system_call::fstat && fault.first == 2) return "read_failed";
                             if (fault.call == system_call::mmap && mode == load_mode::map)
                               return "read_failed";
                             return code_of(fault);
                           });
  }
}

TEST_CASE("file faults: a file is mapped where it may be, and read where it must be") {
  const temporary_folder folder;
  write_text(folder / "file", content);
  const auto mapped = [&](load_mode mode, const system_fault& fault) {
    const system_faults faults(fault);
    const auto made = byte_source::open(folder / "file", {}, {mode});
    REQUIRE(made);
    CHECK(made->chars() == content);
    CHECK(faults.calls(system_call::munmap) == 0);
    CHECK((faults.calls(system_call::read) == 0) == made->is_mapped());
    return made->is_mapped();
  };
  const auto on = [](std::int64_t type) { return system_fault{system_call::fstatfs, 1, 1, 0, type}; };
  constexpr std::int64_t ext4 = 0xef53, tmpfs = 0x01021994;
  for (const std::int64_t local : {ext4, tmpfs}) {
    CHECK(mapped(load_mode::automatic, on(local)));
    CHECK(mapped(load_mode::map, on(local)));
    CHECK_FALSE(mapped(load_mode::read, on(local)));
  }
  constexpr std::int64_t nfs = 0x6969, smb = 0x517b, cifs = 0xff534d42, smb2 = 0xfe534d42, fuse = 0x65735546,
                         plan9 = 0x01021997, lustre = 0x0bd00bd0, ceph = 0x00c36400, afs = 0x5346414f,
                         coda = 0x73757245, gpfs = 0x47504653;
  for (const std::int64_t remote : {nfs, smb, cifs, smb2, fuse, plan9, lustre, ceph, afs, coda, gpfs}) {
    CAPTURE(remote);
    CHECK_FALSE(mapped(load_mode::automatic, on(remote)));
    CHECK(mapped(load_mode::map, on(remote)));
  }
  CHECK_FALSE(mapped(load_mode::automatic, {system_call::fstatfs, 1, 1, ENOSYS}));
  CHECK_FALSE(mapped(load_mode::automatic, {system_call::mmap, 1, 1, ENODEV}));
  {
    const system_faults proc(on(0x9fa0));
    CHECK(verdict(byte_source::open(folder / "file")) == "not_regular");
  }
}

TEST_CASE("file faults: a file that is not as long as the system said") {
  const temporary_folder folder;
  write_text(folder / "file", content);
  const auto read = [&](std::size_t look, std::int64_t change) {
    const system_faults faults({system_call::fstat, look, 1, 0, change});
    return read_whole(folder / "file", load_mode::read);
  };
  CHECK(read(1, 1) == "file_changed");   // ends too early
  CHECK(read(1, -1) == "file_changed");  // is longer at the end than at the beginning
  CHECK(read(2, 1) == "file_changed");
  CHECK(read(2, 0) == "ok");
}

TEST_CASE("file faults: writing a file") {
  const temporary_folder folder;
  const std::string path = folder / "out";
  const auto attempt = [&](bool commit) {
    write_text(path, "before");
    counting_memory memory;
    const auto done = write_file(path, content, commit, memory.hooks());
    CHECK(read_text(path) == (done && commit ? content : "before"));
    CHECK(folder.size() == 1);
    return verdict(done);
  };
  fail_every_system_call([&] { return attempt(true); },
                         [](const system_fault& fault) -> std::string {
                           // Some file systems notice only at the end that what was written does not fit.
                           const bool lost = fault.call == system_call::close && fault.error != EINTR;
                           return lost ? "write_failed" : code_of(fault);
                         });
  fail_every_system_call([&] { return attempt(false); });
}

TEST_CASE("file faults: a file that the system will not tell about is not taken for another one") {
  const temporary_folder folder;
  write_text(folder / "a", "a");
  std::filesystem::create_hard_link(folder / "a", folder / "b");
  for (const char* other : {"b", "a", "./a"}) {
    fail_every_system_call([&] {
      counting_memory memory;
      const auto same = same_file(folder / "a", folder / other, memory.hooks());
      if (same) CHECK(*same);
      return verdict(same);
    });
  }
}
#endif
