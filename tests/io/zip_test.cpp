// zip_archive: what torch.save writes is read; everything that two readers could understand differently is refused.
#include "ocellus/io/zip.hpp"

#include <doctest/doctest.h>

#include "ocellus/io/crc32.hpp"
#include "support/counting_memory.hpp"
#include "support/torch_archive.hpp"

using namespace ocellus;
using ocellus_tests::exact_bytes;
using ocellus_tests::little;
using ocellus_tests::make_zip;
using ocellus_tests::zip_end;
using ocellus_tests::zip_member;

namespace {

std::vector<zip_member> three() {
  return {{"a/data.pkl", "program"}, {"a/data/0", "0123456789"}, {"a/version", "3\n"}};
}

/// The verdict on an archive: the error's name, or "ok" if all checksums are right as well.
std::string verdict(const std::string& file) {
  const exact_bytes bytes(file);
  const auto archive = zip_archive::open(bytes.span());
  if (!archive) return std::string(name_of(archive.error().code()));
  for (const zip_entry& entry : archive->entries()) {
    if (auto right = zip_archive::verify(entry); !right) return std::string(name_of(right.error().code()));
  }
  return "ok";
}

/// With the second entry edited.
std::string verdict_with(const std::function<void(zip_member&)>& edit) {
  auto members = three();
  edit(members[1]);
  return verdict(make_zip(members));
}

}  // namespace

TEST_CASE("crc32: the check value of the standard, any length and split") {
  const std::string digits = "123456789";
  CHECK(crc32(std::as_bytes(std::span(digits))) == 0xcbf43926u);
  CHECK(crc32({}) == 0);
  std::string bytes;
  for (int i = 0; i < 300; ++i) bytes += static_cast<char>(i * 37 + i / 7);
  for (std::size_t n = 0; n <= bytes.size(); ++n) {
    const std::string part = bytes.substr(0, n);
    const auto span = std::as_bytes(std::span(part));
    REQUIRE(crc32(span) == ocellus_tests::slow_crc32(part));
    REQUIRE(crc32(span.subspan(n / 3), crc32(span.first(n / 3))) == ocellus_tests::slow_crc32(part));
  }
}

TEST_CASE("zip: entries are found by their name in the folder and lie where they should") {
  const exact_bytes file(make_zip(three()));
  const auto archive = zip_archive::open(file.span());
  REQUIRE(archive);
  CHECK(archive->folder() == "a");
  CHECK(archive->entries().size() == 3);
  const zip_entry* entry = archive->find("data/0");
  REQUIRE(entry != nullptr);
  CHECK(entry->name == "a/data/0");
  CHECK(entry->bytes.size() == 10);
  CHECK(static_cast<char>(entry->bytes[9]) == '9');
  CHECK((entry->bytes.data() - file.span().data()) % 64 == 0);
  CHECK(archive->find("data") == nullptr);
  CHECK(archive->find("a/data/0") == nullptr);
  CHECK(archive->find("") == nullptr);
  CHECK(archive->find("zzz") == nullptr);
}

TEST_CASE("zip: archives with and without 64-bit records are read") {
  CHECK(verdict(make_zip(three())) == "ok");
  CHECK(verdict(make_zip(three(), [](zip_end& e) { e.with_64 = false; })) == "ok");
  const std::string sizes64 = little(1, 2) + little(16, 2) + little(10, 8) + little(10, 8);
  CHECK(verdict_with([&](zip_member& m) {
          m.size = m.packed_size = 0xffffffff;
          m.directory_extra = little(0x4646, 2) + little(3, 2) + "xyz" + sizes64;
        }) == "ok");
  CHECK(verdict_with([](zip_member& m) {  // sizes in the header, and right
          m.header_flags = 0x0800;
          m.header_size = 10;
          m.header_crc = m.crc;
        }) == "ok");
}

TEST_CASE("zip: the end must be the end, and only one") {
  const std::string good = make_zip(three());
  CHECK(verdict("") == "empty_file");
  CHECK(verdict("PK") == "zip_end");
  for (std::size_t n = 1; n < good.size(); ++n) REQUIRE(verdict(good.substr(0, n)) == "zip_end");
  CHECK(verdict(good + "x") == "zip_trailing");
  CHECK(verdict(good + std::string(60000, 'x')) == "zip_trailing");
  CHECK(verdict("x" + good) == "zip64_range");  // the locator is wrong before anything else
  const std::string plain = make_zip(three(), [](zip_end& e) { e.with_64 = false; });
  CHECK(verdict("junk" + plain) == "zip_leading");
  CHECK(verdict(plain + plain) == "zip_ambiguous");
  CHECK(verdict(make_zip({}, [](zip_end& e) { e.with_64 = false; })) == "zip_end");
  CHECK(verdict(make_zip(three(), [](zip_end& e) { e.comment = 1; })) == "zip_end");
}

TEST_CASE("zip: the end records and the directory agree") {
  CHECK(verdict(make_zip(three(), [](zip_end& e) { e.disk = 1; })) == "zip_multi_disk");
  CHECK(verdict(make_zip(three(), [](zip_end& e) { e.count = 4; })) == "zip_count");
  CHECK(verdict(make_zip(three(), [](zip_end& e) { e.count = 2; })) == "zip_count");
  CHECK(verdict(make_zip(three(), [](zip_end& e) { e.offset = 1u << 30; })) == "zip_directory_range");
  CHECK(verdict(make_zip(three(), [](zip_end& e) { e.size = 1u << 30; })) == "zip_directory_range");
  CHECK(verdict(make_zip(three(), [](zip_end& e) { e.locator_offset = 8; })) == "zip64_range");
  CHECK(verdict(make_zip(three(), [](zip_end& e) { e.locator_offset = ~std::uint64_t{0}; })) ==
        "zip64_range");
  std::string differs = make_zip(three());
  differs[differs.size() - 22 + 10] = 9;  // the number of entries in the old end record alone
  differs[differs.size() - 22 + 8] = 9;
  CHECK(verdict(differs) == "zip_count");
}

TEST_CASE("zip: an entry must be stored, whole, in bounds and as its header says") {
  CHECK(verdict_with([](zip_member& m) { m.method = 8; }) == "zip_compressed");
  CHECK(verdict_with([](zip_member& m) { m.method = 99; }) == "zip_method");
  CHECK(verdict_with([](zip_member& m) { m.flags = 0x0801; }) == "zip_encrypted");
  CHECK(verdict_with([](zip_member& m) { m.header_flags = 0x0801; }) == "zip_encrypted");
  CHECK(verdict_with([](zip_member& m) { m.size = 9; }) == "zip_size_mismatch");
  CHECK(verdict_with([](zip_member& m) { m.size = m.packed_size = 1 << 20; }) == "zip_data_range");
  CHECK(verdict_with([](zip_member& m) { m.moved = 1 << 30; }) == "zip_header_range");
  CHECK(verdict_with([](zip_member& m) { m.signature = 0x04034b51; }) == "zip_header");
  CHECK(verdict_with([](zip_member& m) { m.directory_name = "a/data/1"; }) == "zip_name_mismatch");
  CHECK(verdict_with([](zip_member& m) { m.crc ^= 1; }) == "zip_crc");
  CHECK(verdict_with([](zip_member& m) { m.header_flags = 0x0800; }) == "zip_size_mismatch");
  CHECK(verdict_with([](zip_member& m) {
          m.header_flags = 0x0800;
          m.header_size = 10;
          m.header_crc = m.crc ^ 1;
        }) == "zip_crc");
  CHECK(verdict_with([](zip_member& m) { m.size = m.packed_size = 0xffffffff; }) == "zip64_extra");
  CHECK(verdict_with([](zip_member& m) {
          m.size = m.packed_size = 0xffffffff;
          m.directory_extra = little(1, 2) + little(16, 2) + little(std::uint64_t{1} << 63, 8) +
                              little(std::uint64_t{1} << 63, 8);
        }) == "zip64_range");
  CHECK(verdict_with([](zip_member& m) {
          m.size = m.packed_size = 0xffffffff;
          m.directory_extra = little(1, 2) + little(99, 2);
        }) == "zip64_extra");
}

TEST_CASE("zip: two entries share neither bytes nor a name") {
  auto members = three();
  members.push_back({"a/data/0", "again"});
  CHECK(verdict(make_zip(members)) == "zip_duplicate");
  // A second directory entry for the same header.
  members = three();
  const std::string good = make_zip(members, [](zip_end& e) { e.with_64 = false; });
  const std::size_t directory = good.find("PK\x01\x02");
  const std::size_t first = good.find("PK\x01\x02", directory + 4) - directory;
  std::string twice = good.substr(0, good.size() - 22) + good.substr(directory, first);
  twice += little(0x06054b50, 4) + little(0, 4) + little(4, 2) + little(4, 2) +
           little(twice.size() - directory, 4) + little(directory, 4) + little(0, 2);
  CHECK(verdict(twice) == "zip_overlap");
  // A header that begins inside another entry's bytes.
  CHECK(verdict_with([](zip_member& m) { m.moved = static_cast<std::uint64_t>(-20); }) == "zip_overlap");
}

TEST_CASE("zip: names are plain paths in one folder") {
  for (const char* name : {"/a/b", "a/", "a", "", "../b", "a/../b", "a/./b", "a//b", "a\\b", "a/b\\c", "c:/b",
                           "a/b:c", "b/data", "a/\x01", "a/\x7f"}) {
    CAPTURE(name);
    CHECK(verdict_with([&](zip_member& m) { m.name = m.directory_name = name; }) == "zip_layout");
  }
  CHECK(verdict_with([](zip_member& m) { m.name = m.directory_name = std::string("a/x\0y", 5); }) ==
        "zip_layout");
  CHECK(verdict_with([](zip_member& m) { m.name = m.directory_name = "a/\xff"; }) == "utf8");
  CHECK(verdict_with([](zip_member& m) { m.name = m.directory_name = "a/\xc3\xa4"; }) == "ok");
}

TEST_CASE("zip: a broken byte anywhere gives a verdict, no crash") {
  const std::string good = make_zip(three());
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int flip : {1, 0x80, 0xff}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      (void)verdict(bad);
    }
  }
}

TEST_CASE("zip: out of memory is an error") {
  const exact_bytes file(make_zip(three()));
  ocellus_tests::fail_every_allocation(
      [&](const memory_hooks& memory) { return zip_archive::open(file.span(), memory); });
}
