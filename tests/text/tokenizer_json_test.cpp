// tokenizer.json: what is accepted, and that nothing which would change the ids is passed over.
#include <doctest/doctest.h>

#include <string>

#include "ocellus/text/tokenizer.hpp"
#include "support/small_tokenizer.hpp"

namespace {

using ocellus::error_code;
using ocellus::tokenizer;
using namespace ocellus_tests;

const std::vector<std::uint32_t> expected = {257, ' ', 'a', 261, 300, '<', '|', 'e', 'n',
                                             'd', 'o', 'f', 't', 'e', 'x', 't', '|', '>'};

void accepts(const small_tokenizer& files) {
  const auto loaded = tokenizer::from_json(files.tokenizer_json());
  REQUIRE_MESSAGE(loaded, (loaded ? "" : std::string(loaded.error().message())));
  CHECK(ids_of(*loaded, "the abc  <|endoftext|>") == expected);
  CHECK(ids_of(*loaded, "<|endoftext|>", true) == std::vector<std::uint32_t>{264});
  CHECK(loaded->end_of_text() == 264);
}

void refuses(const small_tokenizer& files, error_code code) {
  const auto loaded = tokenizer::from_json(files.tokenizer_json());
  REQUIRE_FALSE(loaded);
  const std::string message(loaded.error().message());
  CHECK_MESSAGE(name_of(loaded.error().code()) == name_of(code), message);
}

small_tokenizer with(std::string small_tokenizer::*part, const std::string& value) {
  small_tokenizer files;
  files.*part = value;
  return files;
}

small_tokenizer with_added_token(const std::string& fields) {
  small_tokenizer files;
  files.json_added.insert(files.json_added.size() - 1, ", {" + fields + "}");
  return files;
}

}  // namespace

TEST_CASE("tokenizer json: merges are strings or pairs, not both") {
  small_tokenizer files;
  accepts(files);  // t46
  files.json_merges = files.merge_pairs();
  accepts(files);                                                                                     // t47
  refuses(with(&small_tokenizer::json_merges, R"(["t h", ["th", "e"]])"), error_code::merge_syntax);  // t48
  refuses(with(&small_tokenizer::json_merges, R"([["t", "h"], "th e"])"), error_code::merge_syntax);
  refuses(with(&small_tokenizer::json_merges, R"([["t"]])"), error_code::merge_syntax);  // t49
  refuses(with(&small_tokenizer::json_merges, R"([["t", "h", "e"]])"), error_code::merge_syntax);
  refuses(with(&small_tokenizer::json_merges, R"([["t", 5]])"), error_code::merge_syntax);
  refuses(with(&small_tokenizer::json_merges, R"([5])"), error_code::merge_syntax);
  refuses(with(&small_tokenizer::json_merges, R"(["t h e"])"), error_code::merge_syntax);  // t50
  refuses(with(&small_tokenizer::json_merges, R"(["th"])"), error_code::merge_syntax);
  refuses(with(&small_tokenizer::json_merges, R"([["t", ""]])"), error_code::merge_syntax);
  refuses(with(&small_tokenizer::json_merges, R"([["t", "h e"]])"), error_code::merge_unknown);
}

TEST_CASE("tokenizer json: the model must be a BPE without options that change it") {
  using s = small_tokenizer;
  const auto options = [](const std::string& more) {
    return with(&s::json_options, "\"type\": \"BPE\"" + more);
  };
  accepts(options(""));
  refuses(with(&s::json_options, R"("type": "WordPiece")"), error_code::tokenizer_unsupported);  // t45
  refuses(with(&s::json_options, R"("type": 5)"), error_code::tokenizer_unsupported);
  accepts(with(&s::json_options, R"("dropout": 0.0)"));  // t67, and old files have no type
  refuses(options(R"(, "dropout": 0.1)"), error_code::tokenizer_unsupported);
  accepts(options(R"(, "unk_token": "<|endoftext|>", "fuse_unk": true)"));
  refuses(options(R"(, "unk_token": 5)"), error_code::tokenizer_unsupported);
  accepts(options(R"(, "continuing_subword_prefix": "", "end_of_word_suffix": "")"));
  refuses(options(R"(, "continuing_subword_prefix": "##")"), error_code::tokenizer_unsupported);
  refuses(options(R"(, "end_of_word_suffix": "</w>")"), error_code::tokenizer_unsupported);
  refuses(options(R"(, "byte_fallback": true)"), error_code::tokenizer_unsupported);
  refuses(options(R"(, "ignore_merges": true)"), error_code::tokenizer_unsupported);
  refuses(options(R"(, "something_new": 1)"), error_code::tokenizer_unsupported);

  std::string json = s().tokenizer_json();
  const auto renamed = [&](const std::string& name) {
    std::string changed = json;
    changed.replace(changed.find("\"" + name + "\""), name.size() + 2, "\"xxx\"");
    const auto loaded = tokenizer::from_json(changed);
    REQUIRE_FALSE(loaded);
    return loaded.error().code();
  };
  CHECK(renamed("vocab") == error_code::field_missing);   // t51
  CHECK(renamed("merges") == error_code::field_missing);  // t52
  CHECK(renamed("model") == error_code::field_missing);
  CHECK(renamed("pre_tokenizer") == error_code::field_missing);
}

TEST_CASE("tokenizer json: top-level parts are what they must be") {
  using s = small_tokenizer;
  accepts(with(&s::json_head, R"("version": "1.0", "something": [1, {"new": 2}])"));       // t53
  refuses(with(&s::json_head, R"("version": "2.0")"), error_code::tokenizer_unsupported);  // t54
  refuses(with(&s::json_head, R"("version": 1)"), error_code::tokenizer_unsupported);
  refuses(with(&s::json_head, R"("truncation": {"max_length": 5})"),
          error_code::tokenizer_unsupported);  // t68
  refuses(with(&s::json_head, R"("padding": {"strategy": "BatchLongest"})"),
          error_code::tokenizer_unsupported);
  refuses(with(&s::json_head, R"("normalizer": {"type": "NFC"})"), error_code::tokenizer_unsupported);  // t66
  refuses(with(&s::json_head, R"("version": "1.0", "version": "1.0")"), error_code::duplicate_key);     // t72
  accepts(with(&s::json_post, R"("post_processor": null)"));
  refuses(with(&s::json_post, R"("post_processor": {"type": "TemplateProcessing"})"),
          error_code::tokenizer_unsupported);  // t69
  refuses(with(&s::json_decoder, R"("decoder": {"type": "WordPiece"})"),
          error_code::tokenizer_unsupported);  // t70
  refuses(with(&s::json_decoder, R"("decoder": null)"), error_code::tokenizer_unsupported);
  CHECK(tokenizer::from_json("").error().code() == error_code::empty_file);
  CHECK(tokenizer::from_json("[]").error().code() == error_code::root_not_object);
  CHECK(tokenizer::from_json(std::string(100 << 20, ' ')).error().code() == error_code::limit_tokens);  // t71
}

TEST_CASE("tokenizer json: only GPT-2's word pattern is accepted") {
  using s = small_tokenizer;
  const auto pre = [](const std::string& object) {
    return with(&s::json_pre, "\"pre_tokenizer\": " + object);
  };
  refuses(pre("null"), error_code::field_type);
  refuses(pre(R"({"type": "Whitespace"})"), error_code::tokenizer_unsupported);  // t62
  refuses(pre(R"({"type": "ByteLevel"})"), error_code::field_missing);
  refuses(pre(R"({"type": "ByteLevel", "add_prefix_space": true})"),
          error_code::tokenizer_unsupported);  // t64
  refuses(pre(R"({"type": "ByteLevel", "add_prefix_space": 0})"), error_code::field_type);
  accepts(pre(R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false})"));  // t65
  accepts(pre(R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true})"));
  refuses(pre(R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})"),
          error_code::tokenizer_unsupported);
  const auto sequence = [&](const std::string& pattern, const std::string& rest,
                            const std::string& use_regex) {
    return pre(R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": ")" +
               pattern + "\"}" + rest +
               R"(}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": )" + use_regex + "}]}");
  };
  const std::string gpt2 =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+)";
  const std::string isolated = R"(, "behavior": "Isolated", "invert": false)";
  accepts(sequence(gpt2, isolated, "false"));  // t63
  refuses(sequence(std::string(1'000'000, '^'), isolated, "false"), error_code::tokenizer_unsupported);
  refuses(sequence(".", isolated, "false"), error_code::tokenizer_unsupported);
  refuses(sequence(gpt2, isolated, "true"), error_code::tokenizer_unsupported);
  refuses(sequence(gpt2, R"(, "behavior": "Removed")", "false"), error_code::tokenizer_unsupported);
  refuses(sequence(gpt2, R"(, "behavior": "Isolated", "invert": true)", "false"),
          error_code::tokenizer_unsupported);
  refuses(pre(R"({"type": "Sequence", "pretokenizers": []})"), error_code::tokenizer_unsupported);
}

TEST_CASE("tokenizer json: added tokens are checked one by one") {
  using s = small_tokenizer;
  accepts(with_added_token(R"("id": 301, "content": "<x>", "special": true)"));
  refuses(with_added_token(R"("id": 7, "content": "<x>", "special": true)"),
          error_code::token_id_duplicate);  // t55
  refuses(with_added_token(R"("id": 301, "content": "the", "special": true)"), error_code::token_duplicate);
  refuses(with_added_token(R"("id": 1000000, "content": "<x>", "special": true)"),
          error_code::token_id);  // t56
  refuses(with_added_token(R"("id": 301, "content": "  ", "special": false)"),
          error_code::token_duplicate);  // t57
  refuses(with_added_token(R"("id": 301, "content": "  ", "special": true)"), error_code::token_duplicate);
  refuses(with_added_token(R"("id": 301, "content": "", "special": true)"), error_code::token_empty);  // t58
  refuses(with_added_token(R"("id": 301, "content": "<x>")"), error_code::field_missing);              // t61
  for (const std::string option : {"lstrip", "rstrip", "single_word"}) {                               // t60
    const std::string token = R"("id": 301, "content": "<x>", "special": true, ")" + option + "\": ";
    accepts(with_added_token(token + "false"));
    refuses(with_added_token(token + "true"), error_code::tokenizer_unsupported);
    refuses(with_added_token(token + "1"), error_code::field_type);
  }
  refuses(with_added_token(R"("id": 301, "content": "<x>", "special": 1)"), error_code::field_type);
  refuses(with_added_token(R"("id": 301, "content": "<x>", "special": true, "normalized": 0)"),
          error_code::field_type);
  refuses(with_added_token(R"("id": 301, "content": "<x>", "special": true, "new": true)"),
          error_code::field_unknown);
  refuses(with_added_token(R"("id": "301", "content": "<x>", "special": true)"), error_code::field_type);
  refuses(with(&s::json_added, "{}"), error_code::field_type);
  refuses(with(&s::json_added, "[5]"), error_code::field_type);

  // t59: the longest wins. Those that are not "normalized" are looked for first, in the whole text.
  const auto words = tokenizer::from_json(
      with_added_token(R"("id": 301, "content": "<x>", "normalized": true, "special": false},
                       {"id": 302, "content": "<x>y", "normalized": true, "special": false},
                       {"id": 303, "content": "y!", "normalized": false, "special": false)")
          .tokenizer_json());
  REQUIRE(words);
  CHECK(ids_of(*words, "<x><x>y<x") == std::vector<std::uint32_t>{301, 302, '<', 'x'});
  CHECK(ids_of(*words, "<x>y!") == std::vector<std::uint32_t>{301, 303});

  // A special token is passed over when it is not asked for, also where a plain one is looked for in the same walk.
  const auto mixed = tokenizer::from_json(
      with_added_token(R"("id": 301, "content": "<x>", "normalized": true, "special": true},
                       {"id": 302, "content": "<x", "normalized": true, "special": false)")
          .tokenizer_json());
  REQUIRE(mixed);
  CHECK(ids_of(*mixed, "<x>") == std::vector<std::uint32_t>{302, '>'});
  CHECK(ids_of(*mixed, "<x>", true) == std::vector<std::uint32_t>{301});
}
