// vocab.json, merges.txt, added_tokens.json: what is accepted and which error the rest is.
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "ocellus/text/tokenizer.hpp"
#include "support/small_tokenizer.hpp"

namespace {

using ocellus::error_code;
using ocellus::tokenizer;
using namespace ocellus_tests;

struct parts {
  std::string vocabulary, merges, added;
};

ocellus::result<tokenizer> load(const parts& p) {
  return tokenizer::from_files({p.vocabulary, p.merges, p.added});
}

parts good() {
  const small_tokenizer files;
  return {files.vocab_json(), files.merges_txt(), files.added};
}

parts with_vocabulary(const std::string& json) { return {json, good().merges, good().added}; }
parts with_merges(const std::string& text) { return {good().vocabulary, text, good().added}; }
parts with_added(const std::string& json) { return {good().vocabulary, good().merges, json}; }
parts with_entry(const std::string& entry) {
  small_tokenizer files;
  files.more_vocabulary = "," + entry;
  return {files.vocab_json(), files.merges_txt(), files.added};
}

void accepts(const parts& p) {
  const auto loaded = load(p);
  REQUIRE_MESSAGE(loaded, (loaded ? "" : std::string(loaded.error().message())));
  CHECK(ids_of(*loaded, "the abc") == std::vector<std::uint32_t>{257, ' ', 'a', 261});
}

void refuses(const parts& p, error_code code) {
  const auto loaded = load(p);
  REQUIRE_FALSE(loaded);
  const std::string message(loaded.error().message());
  CHECK_MESSAGE(name_of(loaded.error().code()) == name_of(code), message);
  CHECK(message.size() > 4);
}

}  // namespace

TEST_CASE("tokenizer files: a good set gives the merges in order of rank") {
  accepts(good());
  const auto words = load(good());
  using ids = std::vector<std::uint32_t>;
  CHECK(words->vocab_size() == 302);
  CHECK(words->end_of_text() == 264);
  CHECK(ids_of(*words, "abcbc") == ids{'a', 261, 261});  // abc is a token, but b c ranks before a b
  CHECK(ids_of(*words, "ab") == ids{259});
  CHECK(ids_of(*words, " the") == ids{258});
  CHECK(ids_of(*words, "aaaaaaa") == ids{263, 262, 'a'});  // t39: a token merged with itself, leftmost first
  CHECK(ids_of(*words, "a    b") == ids{'a', 301, ' ', 'b'});
  // t10: ids without tokens between 264 and 300.
  CHECK_FALSE(words->has_token(270));
  CHECK(words->token_bytes(270).empty());
  CHECK(words->has_token(300));
}

TEST_CASE("tokenizer files: vocab.json is refused for what is wrong with it") {
  refuses(with_vocabulary(""), error_code::empty_file);          // t01
  refuses(with_vocabulary("{"), error_code::json_syntax);        // t02
  refuses(with_vocabulary("nothing"), error_code::json_syntax);  // t02
  refuses(with_vocabulary("[]"), error_code::root_not_object);   // t03
  refuses(with_vocabulary("{}"), error_code::byte_missing);
  refuses(with_entry("\"x y\": 1"), error_code::token_id_duplicate);  // before its alphabet is looked at
  refuses(with_entry("\"zz\": -1"), error_code::token_id);            // t04
  refuses(with_entry("\"zz\": 1.5"), error_code::token_id);           // t05
  refuses(with_entry("\"zz\": 270.0"), error_code::token_id);
  refuses(with_entry("\"zz\": 27e1"), error_code::token_id);
  refuses(with_entry("\"zz\": \"270\""), error_code::token_id);  // t06
  refuses(with_entry("\"zz\": null"), error_code::token_id);
  refuses(with_entry("\"zz\": 4294967296"), error_code::token_id);  // t07
  refuses(with_entry("\"zz\": 18446744073709551616"), error_code::token_id);
  refuses(with_entry("\"the\": 270"), error_code::duplicate_key);    // t08
  refuses(with_entry("\"zz\": 7"), error_code::token_id_duplicate);  // t09
  refuses(with_entry("\"zz\": 2147483648"), error_code::token_id);   // t11
  refuses(with_entry("\"zz\": 1000000"), error_code::token_id);
  accepts(with_entry("\"zz\": 270"));  // t10
  accepts(with_entry("\"zz\": 999999"));
  refuses(with_entry("\"" + std::string(4097, 'z') + "\": 270"), error_code::token_too_long);  // t13
  refuses(with_entry("\"" + std::string(9000, 'z') + "\": 270"), error_code::token_too_long);
  accepts(with_entry("\"" + std::string(4096, 'z') + "\": 270"));
  refuses(with_entry("\"\": 270"), error_code::token_empty);             // t14
  refuses(with_entry("\"z\\u0000\": 270"), error_code::token_alphabet);  // t15
  refuses(with_entry("\"\\ud800\": 270"), error_code::json_string);      // t15
  refuses(with_entry("\"\xff\": 270"), error_code::utf8);                // t16
  refuses(with_entry("\"z z\": 270"), error_code::token_alphabet);       // t18
  refuses(with_entry("\"\u0144\": 270"), error_code::token_alphabet);
  refuses(with_entry("\"\u00ad\": 270"), error_code::token_alphabet);
  refuses(with_entry("\"\U0001f600\": 270"), error_code::token_alphabet);
  accepts(with_entry("\"<0x-1>\": 270"));  // t19: text like any other
  refuses(with_vocabulary(std::string(100'000, '{')), error_code::json_syntax);
  refuses(with_vocabulary(std::string(100'000, '[')), error_code::json_depth);            // t20
  refuses(with_vocabulary("\xef\xbb\xbf" + good().vocabulary), error_code::json_syntax);  // t21
  std::string crlf = good().vocabulary;
  crlf.replace(crlf.find(','), 1, ",\r\n");
  accepts(with_vocabulary(crlf));                           // t22
  for (const unsigned byte : {0u, 32u, 65u, 127u, 255u}) {  // t17
    small_tokenizer files;
    files.no_such_byte = in_byte_alphabet(byte);
    files.merges = {"b c"};
    refuses({files.vocab_json(), files.merges_txt(), files.added}, error_code::byte_missing);
  }
}

TEST_CASE("tokenizer files: a vocabulary of more than a million tokens is refused") {  // t12
  std::string json = "{\"a\":0";
  for (int i = 1; i <= 1'000'000; ++i) json += ",\"" + std::to_string(i) + "\":" + std::to_string(i);
  refuses(with_vocabulary(json + "}"), error_code::limit_tokens);
}

TEST_CASE("tokenizer files: merges.txt is refused for what is wrong with it") {
  const std::string body = good().merges.substr(good().merges.find('\n') + 1);
  refuses(with_merges(""), error_code::empty_file);  // t23
  accepts(with_merges(body));                        // t24
  {
    const auto none = load(with_merges("#version: 0.2\n"));  // no merges at all: bytes
    REQUIRE(none);
    CHECK(ids_of(*none, "the") == std::vector<std::uint32_t>{'t', 'h', 'e'});
  }
  refuses(with_merges(body + "#version x\n"), error_code::merge_unknown);  // t25: a merge like any other
  refuses(with_merges(body + "th\n"), error_code::merge_syntax);           // t26
  refuses(with_merges(body + "t h e\n"), error_code::merge_syntax);        // t27
  refuses(with_merges(body + "t  e\n"), error_code::merge_syntax);         // t28
  refuses(with_merges(body + " e\n"), error_code::merge_syntax);
  refuses(with_merges(body + "t \n"), error_code::merge_syntax);
  refuses(with_merges(body + "t\te\n"), error_code::merge_syntax);  // t29
  accepts(with_merges(body + "\n\n"));                              // t30
  refuses(with_merges("\n" + body), error_code::merge_syntax);
  std::string crlf;
  for (const char c : "#version: 0.2\n" + body) crlf += c == '\n' ? "\r\n" : std::string(1, c);
  accepts(with_merges(crlf));                                             // t31
  refuses(with_merges("\xef\xbb\xbf" + body), error_code::merge_syntax);  // t32
  accepts(with_merges(body.substr(0, body.size() - 1)));                  // t33
  refuses(with_merges(body + "t zz\n"), error_code::merge_unknown);       // t34
  refuses(with_merges(body + "th a\n"), error_code::merge_result);        // t35, t36
  refuses(with_merges(body + "t h\n"), error_code::merge_duplicate);      // t37, t38
  refuses(with_merges(body + "aa aaaa\n"), error_code::merge_result);     // t40: would go on for ever
  refuses(with_merges(body + std::string(1'000'000, 'a')), error_code::merge_syntax);  // t42
  refuses(with_merges(body + std::string(100'000, 'a') + " b"), error_code::merge_unknown);
  refuses(with_merges(std::string((std::size_t{64} << 20) + 1, 'a')), error_code::limit_tokens);
  refuses(with_merges(body + "\xff t\n"), error_code::utf8);                         // t43
  refuses(with_merges(body + std::string("\0 t\n", 4)), error_code::merge_unknown);  // t44
  // The special token is of the vocabulary, but no bytes are ever merged into it.
  refuses(with_merges(body + "<|endoftext|> a\n"), error_code::merge_result);
}

TEST_CASE("tokenizer files: a long list of merges ends at the first wrong one") {  // t41
  std::string merges = good().merges;
  for (int i = 0; i < 3'000'000; ++i) merges += "t h\n";
  const auto loaded = load(with_merges(merges));
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code() == error_code::limit_merges);
}

TEST_CASE("tokenizer files: added_tokens.json is refused for what is wrong with it") {
  accepts(with_added(""));
  accepts(with_added("{}"));
  refuses(with_added("[]"), error_code::root_not_object);
  refuses(with_added("{\"  \": \"300\"}"), error_code::token_id);  // t78
  refuses(with_added("{\"  \": -1}"), error_code::token_id);
  refuses(with_added("{\"\": 300}"), error_code::token_empty);  // t58
  refuses(with_added("{\"  \": 300, \"   \": 300}"), error_code::token_id_duplicate);
  refuses(with_added("{\"  \": 7}"), error_code::token_id_duplicate);  // t55
  refuses(with_added("{\"the\": 300}"),
          error_code::token_duplicate);  // t55: the vocabulary has it with another id
  refuses(with_added("{\"  \": 300, \"  \": 301}"), error_code::duplicate_key);  // t57
  refuses(with_added("{\"" + std::string(257, 'x') + "\": 300}"), error_code::token_too_long);
  // t77: a token inside the text of another; the longest of those that begin first wins.
  const auto words = load(with_added("{\"<Img>\": 300, \"a<Img>b\": 301, \"<I\": 302}"));
  REQUIRE(words);
  CHECK(ids_of(*words, "a<Img>b<Img>a<Im") == std::vector<std::uint32_t>{301, 300, 'a', 302, 'm'});
  // An added token that is of the vocabulary too: still merged inside words.
  const auto both = load(with_added("{\"the\": 257}"));
  REQUIRE(both);
  CHECK(ids_of(*both, "the the") == std::vector<std::uint32_t>{257, ' ', 257});
}

TEST_CASE("tokenizer files: there must be an end-of-text token") {  // t76
  parts p = good();
  p.vocabulary.replace(p.vocabulary.find("<|endoftext|>"), 13, "<|endoftex2|>");
  refuses(p, error_code::end_of_text_missing);
  p.added = R"({"<|endoftext|>": 320})";
  const auto loaded = load(p);
  REQUIRE(loaded);
  CHECK(loaded->end_of_text() == 320);
  CHECK(ids_of(*loaded, "a<|endoftext|>", true) == std::vector<std::uint32_t>{'a', 320});
  CHECK(ids_of(*loaded, "<|endoftext|>").size() == 13);
}
