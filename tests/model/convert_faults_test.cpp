// convert when any one allocation or system call fails, once or from then on: the right code, the old output untouched, no
// temporary file, and converting again gives the same bytes.
#include <doctest/doctest.h>

#include <string>

#include "ocellus/model/convert.hpp"
#include "support/counting_memory.hpp"
#include "support/published_files.hpp"
#include "support/small_tokenizer.hpp"
#include "support/system_faults.hpp"

using namespace ocellus;
using namespace ocellus_tests;

namespace {

using form = published_files::phi_form;

/// Published files with a tokenizer in one of its two forms.
published_files with_tokenizer(bool one_file) {
  published_files files;
  const small_tokenizer words;
  if (one_file) {
    files.other_files = {{"tokenizer.json", words.tokenizer_json()}};
  } else {
    files.other_files = {{"vocab.json", words.vocab_json()},
                         {"merges.txt", words.merges_txt()},
                         {"added_tokens.json", words.added}};
  }
  published_files::add(files.phi_file, "model.embed_tokens.weight", {400, 16});
  published_files::add_linear(files.phi_file, "lm_head", 400, 16);
  const std::string few = "\"vocab_size\": 20";
  files.config.replace(files.config.find(few), few.size(), "\"vocab_size\": 400");
  return files;
}

/// The files in a folder, all of them or Phi-2's alone, converted over and over to one output.
struct workplace {
  temporary_folder folder;
  std::string output = folder / "model.safetensors";
  published_files::paths paths;
  convert_options options;
  std::string expected;
  std::size_t things;

  workplace(const published_files& files, form phi, bool whole) : paths(files.write(folder, phi)) {
    options.phi = paths.phi;
    options.output = output;
    if (whole) {
      options.vit = paths.vit;
      options.qformer = paths.qformer;
      options.stage = paths.stage;
      options.image_size = 6;  // the position table is resized
    }
    REQUIRE(convert(options));
    expected = read_text(output);
    things = folder.size();
  }
  /// Converts over an older output and checks what is there afterwards.
  result<convert_report> run(const memory_hooks& memory) const {
    write_text(output, "old");
    host hooks;
    hooks.memory = memory;
    auto done = convert(options, hooks);
    CHECK(read_text(output) == (done ? expected : "old"));
    CHECK(folder.size() == things);
    return done;
  }
};

}  // namespace

TEST_CASE("convert faults: every allocation may fail") {
  const auto survive = [](const published_files& files, form phi, bool whole) {
    const workplace w(files, phi, whole);
#if defined(OCELLUS_TEST_SYSTEM_FAULTS)
    const system_faults no_waiting_for_the_disk;
#endif
    const auto attempt = [&w](const memory_hooks& memory) { return w.run(memory); };
    fail_every_allocation(attempt);
  };
  SUBCASE("all four files") { survive(with_tokenizer(false), form::safetensors, true); }
  SUBCASE("shards, tokenizer.json") { survive(with_tokenizer(true), form::shards, false); }
  SUBCASE("a checkpoint of torch.save") {
    survive(published_files(phi_layout::first, false), form::bin, false);
  }
  SUBCASE("shards of torch.save") { survive(published_files(phi_layout::separate), form::bin_shards, false); }
}

#if !defined(OCELLUS_TEST_SYSTEM_FAULTS)
TEST_CASE("convert faults: every system call may fail") { OCELLUS_SKIP_SYSTEM_FAULTS(); }
#else
TEST_CASE("convert faults: every system call may fail") {
  const auto survive = [](const published_files& files, form phi, bool whole) {
    const workplace w(files, phi, whole);
    const auto attempt = [&w] {
      counting_memory memory;
      const auto done = w.run(memory.hooks());
      return std::string(done ? "ok" : name_of(done.error().code()));
    };
    std::size_t closes = 0;
    {
      const system_faults faults;
      REQUIRE(attempt() == "ok");
      closes = faults.calls(system_call::close);
    }
    const auto expected = [closes](const system_fault& fault) -> std::string {
      // The last file that is closed is the output: what was written may not have fitted.
      if (fault.call == system_call::close && fault.error != EINTR &&
          (fault.first == closes || fault.times == system_fault::for_ever)) {
        return "write_failed";
      }
      return code_of(fault);
    };
    fail_every_system_call(attempt, expected, fault_variety::in_turn);
    const system_faults network({system_call::fstatfs, 1, system_fault::for_ever, 0, 0x6969});
    CHECK(attempt() == "ok");
    CHECK(network.calls(system_call::mmap) == 0);
  };
  SUBCASE("all four files") { survive(with_tokenizer(false), form::safetensors, true); }
  SUBCASE("shards, tokenizer.json") { survive(with_tokenizer(true), form::shards, false); }
  SUBCASE("shards of torch.save") { survive(published_files(), form::bin_shards, false); }
}
#endif
